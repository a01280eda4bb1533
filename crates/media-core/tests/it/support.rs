//! A small provider with a recording journal and small media: what all tests of the seam are made with.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use media_core::http::{
    Auth, Http, HttpOptions, Judge, MemoryTransport, Payload, Recorded, Reply, Request, Resend, Scripted, Wiring,
};
use media_core::limit::Units;
use media_core::{
    ApiKey, AttemptKey, Capabilities, Client, Connection, Error, ErrorKind, Event, Facts, Format, Generated, Job,
    Journal, Link, Media, MediaKind, MediaProvider, MediaRequest, MediaResult, ParamSpec, ParamType, Params,
    ProviderInfo, Resolved, Result, ServiceSettings, Span, Staging, Stop,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const KEY: &str = "sk-test-0123456789abcdef";
pub(crate) const BASE: &str = "https://api.acme.test/v1";
pub(crate) const FILE: &str = "https://files.cdn.test/one.png";

/// How the provider gets its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A paid call answers with the bytes.
    Media,
    /// A paid call answers with base64 in JSON.
    Base64,
    /// A paid call answers with a link, or with an error of the one task.
    Link,
    /// A paid call answers with an id; a free one, perhaps counted, with the link.
    Poll { serving: bool, counted: bool },
    /// Free counted calls, first for the link, then for the file.
    Word,
}

/// Everything a test may want to change before it makes its client.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
    pub(crate) transport: MemoryTransport,
    pub(crate) journal: Arc<Recorder>,
    pub(crate) wiring: Wiring,
    pub(crate) mode: Mode,
    pub(crate) resend: Resend,
    pub(crate) capabilities: Capabilities,
    pub(crate) settings: ServiceSettings,
    pub(crate) units: Units,
    pub(crate) calls: u32,
    pub(crate) checks: Arc<AtomicUsize>,
}

impl Lab {
    pub(crate) fn new(
        mode: Mode,
        handler: impl Fn(&http::Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> Lab {
        Lab::with(mode, Arc::default(), handler)
    }

    pub(crate) fn with(
        mode: Mode,
        journal: Arc<Recorder>,
        handler: impl Fn(&http::Request<Bytes>) -> Scripted + Send + Sync + 'static,
    ) -> Lab {
        let transport = MemoryTransport::new(handler);
        let mut wiring = Wiring::over(Arc::new(transport.clone()));
        wiring.journal = Arc::clone(&journal) as Arc<dyn Journal>;
        let free = mode == Mode::Word;
        let mut settings = ServiceSettings::default();
        settings.retry.first_delay = Span(Duration::from_millis(100));
        Lab {
            dir: tempfile::tempdir().unwrap(),
            transport,
            journal,
            wiring,
            mode,
            resend: Resend::Never,
            capabilities: Capabilities { batch_supported: false, max_batch: 1, recoverable: false, free },
            settings,
            units: Units::default(),
            calls: if free { 2 } else { 1 },
            checks: Arc::default(),
        }
    }

    pub(crate) fn script(mode: Mode, answers: Vec<Scripted>) -> Lab {
        let answers = Mutex::new(answers.into_iter());
        Lab::new(mode, move |_| {
            answers.lock().unwrap().next().unwrap_or_else(|| Scripted::new(599, "nothing more was expected"))
        })
    }

    pub(crate) fn same_key(mut self, window: Duration) -> Lab {
        self.resend = Resend::SameKey { window };
        self
    }

    pub(crate) fn concurrency(mut self, count: usize) -> Lab {
        self.settings.limits.concurrency = NonZeroUsize::new(count).unwrap();
        self
    }

    pub(crate) fn batches(mut self, most: usize) -> Lab {
        self.capabilities.batch_supported = true;
        self.capabilities.max_batch = most;
        self
    }

    pub(crate) fn staging_folder(&mut self) -> PathBuf {
        let folder = self.dir.path().join(".media");
        self.wiring.staging = Staging::Folder(folder.as_path().into());
        folder
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.wiring.stop
    }

    pub(crate) fn client(&self) -> Client {
        let formats = BTreeMap::from([
            (MediaKind::Image, vec![Format::Png, Format::Jpeg]),
            (MediaKind::Audio, vec![Format::Wav]),
        ]);
        let http = Http::new(HttpOptions {
            name: "acme".into(),
            base_url: BASE.parse().unwrap(),
            key: Some(ApiKey::new(KEY)),
            auth: Auth::Bearer,
            headers: HeaderMap::new(),
            settings: self.settings.clone(),
            judge: Arc::new(Words),
            wiring: self.wiring.clone(),
        });
        Client::new(Fake {
            info: ProviderInfo {
                name: "acme".into(),
                provider: "acme".into(),
                formats,
                capabilities: self.capabilities,
            },
            http,
            mode: self.mode,
            resend: self.resend,
            units: self.units.clone(),
            calls: self.calls,
            checks: Arc::clone(&self.checks),
        })
        .in_project("test")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn image(&self, name: &str) -> MediaRequest {
        MediaRequest::image(format!("a picture of {name}"), self.path(name))
    }

    pub(crate) fn images(&self, count: usize) -> Vec<MediaRequest> {
        (0..count).map(|i| self.image(&format!("{i:05}.png"))).collect()
    }

    pub(crate) async fn generate(&self, request: MediaRequest) -> MediaResult {
        self.client().generate(request).await
    }

    pub(crate) fn sent(&self) -> Vec<Recorded> {
        self.transport.sent()
    }

    /// The paths that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.sent().iter().map(|sent| sent.head.uri().path().to_owned()).collect()
    }

    /// The attempt keys that were sent, in order, calls without one left out.
    pub(crate) fn keys(&self) -> Vec<String> {
        let key = |sent: &Recorded| Some(sent.head.headers().get("x-key")?.to_str().unwrap().to_owned());
        self.sent().iter().filter_map(key).collect()
    }

    /// Every file below the folder, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        files_below(self.dir.path())
    }
}

pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}

/// A journal that takes a while to be durable, and remembers.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<(AttemptKey, Event)>>,
    /// Refuses to record events of this name.
    pub(crate) refuses: Mutex<Option<&'static str>>,
    /// Whether this file stood when an event came, event by event.
    pub(crate) watched: Mutex<PathBuf>,
    stood: Mutex<Vec<bool>>,
}

impl Recorder {
    pub(crate) fn events(&self) -> Vec<(AttemptKey, Event)> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events().iter().map(|(_, event)| name_of(event)).collect()
    }

    pub(crate) fn stood(&self) -> Vec<bool> {
        self.stood.lock().unwrap().clone()
    }

    /// How often this key was written down as about to be sent.
    pub(crate) fn intents(&self, key: &str) -> usize {
        let is = |(other, event): &(AttemptKey, Event)| other.to_string() == key && name_of(event) == "sending";
        self.events().iter().filter(|entry| is(entry)).count()
    }

    fn push(&self, key: AttemptKey, event: Event) {
        self.stood.lock().unwrap().push(self.watched.lock().unwrap().exists());
        self.events.lock().unwrap().push((key, event));
    }
}

pub(crate) fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Sending { .. } => "sending",
        Event::Refused => "refused",
        Event::Linked(_) => "linked",
        Event::Have { .. } => "have",
        Event::Done => "done",
    }
}

#[async_trait]
impl Journal for Recorder {
    async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()> {
        // What is on the wire meanwhile was not written down first.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let refuses = *self.refuses.lock().unwrap();
        if events.iter().any(|(_, event)| Some(name_of(event)) == refuses) {
            return Err(Error::new(ErrorKind::Storage, "the disk is full"));
        }
        for (key, event) in events {
            self.push(*key, event.clone());
        }
        Ok(())
    }

    fn note(&self, key: AttemptKey, event: Event) {
        self.push(key, event);
    }
}

#[derive(Debug)]
struct Words;

impl Judge for Words {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        let body = reply.json().unwrap_or_default();
        let said = |kind, what: &str| Err(Error::new(kind, what.to_owned()).in_op(reply.op).not_billed());
        match body["error"]["code"].as_str() {
            Some("quota") => said(ErrorKind::QuotaExhausted, "the calls of today are spent"),
            Some("says") => said(ErrorKind::InvalidRequest, body["error"]["message"].as_str().unwrap()),
            _ if reply.status.is_success() => Ok(()),
            _ => Err(reply.by_status()),
        }
    }
}

#[derive(Debug)]
struct Fake {
    info: ProviderInfo,
    http: Http,
    mode: Mode,
    resend: Resend,
    units: Units,
    calls: u32,
    checks: Arc<AtomicUsize>,
}

#[derive(Deserialize)]
struct Answer {
    url: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Answers {
    tasks: Vec<Answer>,
}

#[derive(Deserialize)]
struct Submitted {
    id: String,
}

#[derive(Deserialize)]
struct Encoded {
    b64: Payload,
}

const PARAMS: &[ParamSpec] = &[ParamSpec::image("model", ParamType::Text, "which model draws")];
const GROUP: &str = "image";

fn generated(media: Media) -> Generated {
    Generated { media, facts: Facts::default() }
}

impl Fake {
    fn buy<'a>(&self, path: &str, jobs: &[&'a Job]) -> Result<Request<'a>> {
        let tasks: Vec<Value> = jobs
            .iter()
            .map(|job| json!({"key": job.key().to_string(), "prompt": job.resolved().content}))
            .collect();
        let key = HeaderValue::try_from(jobs[0].key().to_string()).unwrap();
        Request::paid("generation", self.http.url(&[path]), jobs, self.resend)
            .in_group(GROUP, &self.units)
            .with_header(HeaderName::from_static("x-key"), key)
            .with_json(&tasks)
    }

    fn read(&self, answer: Answer) -> Result<Generated> {
        let counted = self.mode == Mode::Word;
        if let Some(url) = answer.url {
            let link = Link::new(url.parse().unwrap());
            return Ok(generated(Media::Link(if counted { link.counted_in(GROUP) } else { link })));
        }
        Err(match answer.error.as_deref() {
            Some("busy") => Error::new(ErrorKind::ProviderFault, "the task was not taken on").retryable().not_billed(),
            Some("credit") => Error::new(ErrorKind::InsufficientCredit, "no credit is left").not_billed(),
            other => Error::new(ErrorKind::ContentRejected, other.unwrap_or("nothing").to_owned()).not_billed(),
        })
    }
}

#[async_trait]
impl MediaProvider for Fake {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        assert!(request.content != "panic in check", "the provider was told to panic");
        let params = Params::check("acme", request.kind, &request.params, PARAMS)?;
        Ok(Resolved {
            model: params.text("model").unwrap_or("m").to_owned(),
            content: request.content.clone(),
            language: None,
            params: BTreeMap::new(),
            format: media_core::format_of(&request.output_path)?,
            group: GROUP.into(),
            units: self.units.clone(),
            calls: self.calls,
            dimensions: None,
        })
    }

    async fn generate(&self, job: &Job) -> Result<Generated> {
        assert!(job.resolved().content != "panic", "the provider was told to panic");
        match self.mode {
            Mode::Media => Ok(generated(Media::Staged(self.http.media(self.buy("make", &[job])?).await?))),
            Mode::Base64 => {
                let request = self.buy("make", &[job])?;
                let (answer, media): (Encoded, _) = self.http.json_media(request, &["b64"]).await?;
                assert_eq!(answer.b64, Payload::Staged(0));
                Ok(generated(Media::Staged(media.into_iter().next().unwrap())))
            }
            Mode::Link => self.read(self.http.json(self.buy("make", &[job])?).await?),
            Mode::Poll { serving, counted } => {
                let submitted: Submitted = self.http.json(self.buy("submit", &[job])?).await?;
                let mut poll = Request::free("poll", self.http.url(&["poll", &submitted.id]))
                    .in_group(GROUP, &Units::default().with("requests", 0));
                if serving {
                    poll = poll.serving(&[job]);
                }
                if counted {
                    poll = poll.counted();
                }
                self.read(self.http.json(poll).await?)
            }
            Mode::Word => {
                let url = self.http.url(&["word", &job.resolved().content]);
                let lookup = Request::free("lookup", url).in_group(GROUP, &self.units).serving(&[job]).counted();
                self.read(self.http.json(lookup).await?)
            }
        }
    }

    async fn generate_batch(&self, jobs: &[Job]) {
        if !self.info.capabilities.batch_supported {
            for job in jobs.iter().filter(|job| job.resolved().content != "forget") {
                job.finish(self.generate(job).await);
            }
            return;
        }
        let all: Vec<&Job> = jobs.iter().collect();
        match self.http.json::<Answers>(self.buy("batch", &all).unwrap()).await {
            Ok(answers) => {
                for (job, answer) in jobs.iter().zip(answers.tasks) {
                    job.finish(self.read(answer));
                }
            }
            Err(error) => jobs.iter().for_each(|job| job.finish(Err(error.clone()))),
        }
    }

    async fn recover(&self, jobs: &[Job]) {
        for job in jobs {
            let request = Request::free("recovery", self.http.url(&["find", &job.key().to_string()])).serving(&[job]);
            if let Ok(answer) = self.http.json(request).await {
                job.finish(self.read(answer));
            }
        }
    }

    async fn test_connection(&self) -> Result<Connection> {
        self.http.json::<Value>(Request::free("connection test", self.http.url(&["me"]))).await?;
        Ok(Connection::default())
    }
}

/// The number of tasks in the body of a call.
pub(crate) fn tasks_in(body: &Bytes) -> usize {
    serde_json::from_slice::<Vec<Value>>(body).map_or(0, |tasks| tasks.len())
}

/// An answer to a batch call: a link for each task.
pub(crate) fn links_for(request: &http::Request<Bytes>) -> Scripted {
    let tasks = vec![json!({"url": FILE}); tasks_in(request.body())];
    Scripted::new(200, json!({"tasks": tasks}).to_string())
}

pub(crate) fn link() -> Scripted {
    Scripted::new(200, json!({"url": FILE}).to_string())
}

/// A picture of one pixel.
pub(crate) fn png() -> Vec<u8> {
    picture(1)
}

/// A picture of noise, so large that it does not stay in memory.
pub(crate) fn large_png() -> Vec<u8> {
    picture(300)
}

fn picture(edge: u32) -> Vec<u8> {
    let mut seed = 1_u32;
    let pixels = image::RgbImage::from_fn(edge, edge, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(seed >> 8) as u8, (seed >> 16) as u8, (seed >> 24) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A second of sound; `streamed`, its header does not know how long it is.
pub(crate) fn wav(streamed: bool) -> Vec<u8> {
    let data: Vec<u8> = (0..8000_u32).flat_map(|i| (((i % 80) * 300) as i16).to_le_bytes()).collect();
    let (riff, sound) = if streamed { (u32::MAX, u32::MAX) } else { (36 + data.len() as u32, data.len() as u32) };
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(riff.to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(sound.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Kind and charge of a failure.
pub(crate) fn failure(result: &MediaResult) -> (ErrorKind, media_core::Charge) {
    let error = result.outcome.as_ref().expect_err("it should have failed");
    (error.kind(), error.charge().expect("a result always says what it may have cost"))
}

/// The times between sends.
pub(crate) fn gaps(sent: &[Recorded]) -> Vec<Duration> {
    sent.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}
