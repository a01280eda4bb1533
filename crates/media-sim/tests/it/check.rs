//! Helpers: a started simulator with a client, and independent decoders for its media.

use media_sim::{Scenario, Sim};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::{TrackType, probe::Hint};
use symphonia::core::io::MediaSourceStream;

/// A simulator and a client without redirects.
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) client: Client,
}

impl Bench {
    /// The demo scenario without latencies, changed by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::default();
        scenario.openai.latency_ms.image = 0;
        scenario.openai.latency_ms.speech = 0;
        scenario.openai.compat.latency_ms = 0;
        scenario.runware.latency_ms.image = 0;
        scenario.runware.latency_ms.audio = 0;
        scenario.forvo.latency_ms.lookup = 0;
        scenario.forvo.latency_ms.audio = 0;
        change(&mut scenario);
        let sim = Sim::start(scenario).await.unwrap();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { sim, client }
    }

    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) fn openai(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}/openai/v1{path}", self.sim.url()))
            .bearer_auth("sim-openai")
            .json(body)
    }

    pub(crate) fn runware(&self, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}/runware/v1", self.sim.url()))
            .bearer_auth("sim-runware")
            .json(body)
    }

    pub(crate) fn forvo(&self, rest: &str) -> RequestBuilder {
        self.client.get(format!(
            "{}/forvo/key/sim-forvo/format/json/{rest}",
            self.sim.url()
        ))
    }

    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }
}

/// Status and JSON.
pub(crate) async fn json(request: RequestBuilder) -> (u16, Value) {
    json_of(request.send().await.unwrap()).await
}

pub(crate) async fn json_of(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
    )
}

/// Status, content type and bytes.
pub(crate) async fn bytes(request: RequestBuilder) -> (u16, String, Vec<u8>) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (status, kind, response.bytes().await.unwrap().to_vec())
}

/// Format and size of a picture that decodes fully.
pub(crate) fn picture(bytes: &[u8]) -> (image::ImageFormat, u32, u32) {
    let format = image::guess_format(bytes).unwrap();
    let decoded = image::load_from_memory(bytes).unwrap();
    (format, decoded.width(), decoded.height())
}

/// A decoded sound.
pub(crate) struct Heard {
    pub(crate) seconds: f64,
    /// Root mean square of the samples.
    pub(crate) loudness: f64,
    pub(crate) peak: f64,
}

/// Decodes a sound fully; panics if any of it cannot be decoded.
pub(crate) fn sound(bytes: &[u8], extension: &str) -> Heard {
    let mut hint = Hint::new();
    hint.with_extension(extension);
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(bytes.to_vec())), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&hint, stream, Default::default(), Default::default())
        .unwrap();
    let track = reader.default_track(TrackType::Audio).unwrap();
    let (id, parameters) = (
        track.id,
        track.codec_params.as_ref().unwrap().audio().unwrap().clone(),
    );
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &options)
        .unwrap();
    let (mut samples, mut rate) = (Vec::<f32>::new(), 0);
    while let Some(packet) = reader.next_packet().unwrap() {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).unwrap();
        rate = decoded.spec().rate();
        let mut part = Vec::<f32>::new();
        decoded.copy_to_vec_interleaved(&mut part);
        samples.extend(part);
    }
    assert_ne!(decoder.finalize().verify_ok, Some(false));
    let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let peak = samples
        .iter()
        .map(|sample| f64::from(sample.abs()))
        .fold(0.0, f64::max);
    Heard {
        seconds: samples.len() as f64 / f64::from(rate),
        loudness: (squares / samples.len().max(1) as f64).sqrt(),
        peak,
    }
}

/// A sound that can be heard and does not clip.
pub(crate) fn audible(bytes: &[u8], extension: &str) -> f64 {
    let heard = sound(bytes, extension);
    assert!(
        heard.loudness > 0.02 && heard.peak < 1.0,
        "{} {} of {extension}",
        heard.loudness,
        heard.peak
    );
    assert!(
        (0.3..2.5).contains(&heard.seconds),
        "{} s of {extension}",
        heard.seconds
    );
    heard.seconds
}
