//! A server that only resembles OpenAI, as LocalAI does: no key, the `dall-e` dialect, links to pictures, integer
//! error codes, unknown fields ignored, `usage` all zero, always PNG. The links are served here, without a key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Map, Value, json};

use super::image_request::ImageRequest;
use super::speech_request::{self, SpeechRequest};
use super::{Call, content_of, images, sizes, speech};
use crate::answer::{Answer, Piece};
use crate::bill::ChargeId;
use crate::fault::{Op, Provider, Stage};
use crate::hash;
use crate::media::{self, PictureFormat, Print, length_of};
use crate::scenario::CompatDelivery;
use crate::server::{self, Incoming};
use crate::state::{Shared, lock};

/// A hosted picture.
#[derive(Debug, Clone)]
struct Hosted {
    print: Print,
    format: PictureFormat,
    prompt: String,
    charge: (ChargeId, Option<usize>),
}

/// The hosted pictures.
#[derive(Debug, Default)]
pub(crate) struct State(Mutex<HashMap<String, Hosted>>);

impl State {
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// Hosts a picture and gives its link.
pub(crate) fn host(
    call: &Call<'_>,
    print: &Print,
    format: PictureFormat,
    charge: (ChargeId, Option<usize>),
) -> String {
    let mut hosted = lock(&call.shared.openai.compat.0);
    let name = format!(
        "{}.png",
        hash::uuid(&["hosted", &call.id, &hosted.len().to_string()])
    );
    hosted.insert(
        name.clone(),
        Hosted {
            print: print.clone(),
            format,
            prompt: call.content.clone(),
            charge,
        },
    );
    format!("{}/openai-compat-media/{name}", call.shared.url)
}

fn error(status: u16, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": status, "message": message, "type": ""}}),
    )
}

fn default_error(status: u16) -> Answer {
    error(
        status,
        "rpc error: code = Unavailable desc = error reading from server: EOF",
    )
}

/// Answers a request under `/openai-compat/v1` or for a hosted picture.
pub(crate) async fn answer(shared: &Arc<Shared>, incoming: &Incoming) -> Answer {
    if let Some(name) = incoming.path.strip_prefix("/openai-compat-media/") {
        return media(shared, incoming, name).await;
    }
    let path = incoming
        .path
        .strip_prefix("/openai-compat/v1")
        .unwrap_or_default()
        .trim_end_matches('/');
    let op = match (&incoming.method, path) {
        (&Method::POST, "/images/generations") => Op::Image,
        (&Method::POST, "/audio/speech") => Op::Speech,
        (&Method::GET, "/models") => Op::Models,
        _ => Op::Other,
    };
    let content = content_of(&incoming.body);
    let id = shared.openai.request_id();
    let call = Call {
        shared,
        incoming,
        id,
        op,
        content,
        provider: Provider::OpenaiCompat,
    };
    if let Err(answer) = server::before(shared, &call.target(), default_error).await {
        return answer;
    }
    let keys = &shared.scenario.openai.compat.keys;
    let known = |token: &str| keys.iter().any(|key| key == token);
    let answer = if !keys.is_empty() && !incoming.bearer().is_some_and(known) {
        error(401, "Invalid API key")
    } else {
        match op {
            Op::Image => image(&call).await,
            Op::Speech => sound(&call).await,
            Op::Models => models(shared),
            _ => error(404, "Not Found"),
        }
    };
    server::after(shared, &call.target(), answer, default_error)
}

fn models(shared: &Shared) -> Answer {
    let models = &shared.scenario.openai.compat.models;
    let data: Vec<Value> = models
        .iter()
        .map(|id| json!({"id": id, "object": "model"}))
        .collect();
    Answer::json(200, &json!({"object": "list", "data": data}))
}

fn body_of(call: &Call<'_>) -> Result<Map<String, Value>, Answer> {
    match serde_json::from_slice(&call.incoming.body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(error(
            400,
            "failed parsing request body: unexpected end of JSON input",
        )),
    }
}

fn model_of(call: &Call<'_>, body: &Map<String, Value>) -> Result<String, Answer> {
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    if call
        .shared
        .scenario
        .openai
        .compat
        .models
        .iter()
        .any(|known| known == model)
    {
        return Ok(model.to_owned());
    }
    Err(error(404, &format!("model '{model}' not found")))
}

async fn image(call: &Call<'_>) -> Answer {
    let (body, model) = match body_of(call).and_then(|body| model_of(call, &body).map(|model| (body, model)))
    {
        Ok(parsed) => parsed,
        Err(answer) => return answer,
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let size = text("size").unwrap_or("1024x1024");
    // A size that cannot be read is silently 512x512.
    let (width, height) = sizes::parse(size)
        .filter(|(w, h)| (64..=4096).contains(w) && (64..=4096).contains(h))
        .unwrap_or((512, 512));
    let compat = &call.shared.scenario.openai.compat;
    let url = match text("response_format") {
        Some("b64_json") => false,
        Some("url") => true,
        Some(_) => return error(400, "response_format must be 'url' or 'b64_json'"),
        None => compat.delivery == CompatDelivery::Url,
    };
    let n = body.get("n").and_then(Value::as_u64).unwrap_or(1).clamp(1, 10);
    let request = ImageRequest {
        model,
        family: "compat".to_owned(),
        prompt: call.content.clone(),
        n,
        width,
        height,
        quality: text("quality").unwrap_or("standard").to_owned(),
        background: "opaque",
        format: PictureFormat::Png,
        compression: 100,
        stream: false,
        partials: 0,
        url,
        dall_e: true,
    };
    // Free, but on the bill: a test wants to see what was made twice.
    let charge = call.shared.ledger.charge(
        "openai-compat",
        &call.id,
        &request.model,
        &request.prompt,
        0.0,
        n as usize,
    );
    tokio::time::sleep(Duration::from_millis(compat.latency_ms)).await;
    let mut data = Vec::new();
    let mut carried = Vec::new();
    for index in 0..n {
        let print = images::print(call, &request, index).await;
        let result = (charge, Some(index as usize));
        data.push(if url {
            json!({"index": index, "url": host(call, &print, request.format, result)})
        } else {
            carried.push(result);
            json!({"index": index, "b64_json": STANDARD.encode(print.bytes())})
        });
    }
    if speech::emptied(call) {
        data.clear();
        carried.clear();
    }
    let created = call.shared.clock.now_ms() / 1000;
    let usage = json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0});
    Answer::json(
        200,
        &json!({"id": call.id, "created": created, "data": data, "usage": usage}),
    )
    .delivering(&call.shared.ledger, carried)
}

async fn sound(call: &Call<'_>) -> Answer {
    let (body, model) = match body_of(call).and_then(|body| model_of(call, &body).map(|model| (body, model)))
    {
        Ok(parsed) => parsed,
        Err(answer) => return answer,
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let format = text("response_format").unwrap_or("wav");
    let Some(format) = speech_request::format_of(format) else {
        return error(500, &format!("unsupported audio format: {format}"));
    };
    let request = SpeechRequest {
        family: "compat".to_owned(),
        input: call.content.clone(),
        voice: text("voice").unwrap_or_default().to_owned(),
        format,
        speed: 1.0,
        instructions: String::new(),
        events: false,
        model,
    };
    let charge = call
        .shared
        .ledger
        .charge("openai-compat", &call.id, &request.model, &request.input, 0.0, 1);
    tokio::time::sleep(Duration::from_millis(
        call.shared.scenario.openai.compat.latency_ms,
    ))
    .await;
    let (sound, mime) = speech::sound(call, &request, length_of(&request.input));
    speech::audio(sound, mime).delivering(&call.shared.ledger, vec![(charge, None)])
}

/// A hosted picture.
async fn media(shared: &Arc<Shared>, incoming: &Incoming, name: &str) -> Answer {
    let known = lock(&shared.openai.compat.0).get(name).cloned();
    let content = known
        .as_ref()
        .map(|hosted| hosted.prompt.clone())
        .unwrap_or_default();
    let call = Call {
        shared,
        incoming,
        id: String::new(),
        op: Op::Media,
        content,
        provider: Provider::OpenaiCompat,
    };
    let missing = |status| Answer::html(status, "<html><body>404 page not found</body></html>");
    if let Err(answer) = server::before(shared, &call.target(), missing).await {
        return answer;
    }
    if let Some(answer) = incoming.leaked_key() {
        return answer;
    }
    let Some(hosted) = known.filter(|_| incoming.method == Method::GET) else {
        return missing(404);
    };
    let answer = match shared.faults.take(Stage::Media, &call.target()) {
        None => Answer::of_pieces(
            200,
            hosted.format.mime(),
            hosted.print.pieces().into_iter().map(Piece::Bytes).collect(),
        ),
        Some(fault) => {
            let spoiled = media::spoil(&fault, hosted.print.bytes(), || b"RIFF\x04\0\0\0WEBP".to_vec());
            Answer::new(200, spoiled.mime.unwrap_or(hosted.format.mime()), spoiled.bytes)
        }
    };
    let answer = answer.delivering(&shared.ledger, vec![hosted.charge]);
    server::after(shared, &call.target(), answer, missing)
}
