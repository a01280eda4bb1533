//! OpenAI: who asks, what for, and the headers that every answer carries.

mod auth;
pub(crate) mod batches;
pub(crate) mod compat;
mod error;
mod fields;
mod files;
mod image_request;
mod images;
mod limits;
mod models;
mod sizes;
mod speech;
mod speech_request;
mod stream;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::fault::{Op, Provider, Target};
use crate::gate::Gate;
use crate::server::{self, Incoming};
use crate::state::{Shared, lock};

use error::ApiError;
pub(crate) use images::mentions;

/// What the simulated OpenAI remembers.
#[derive(Debug, Default)]
pub(crate) struct State {
    requests: AtomicU64,
    lanes: Mutex<HashMap<(usize, String), limits::Lane>>,
    busy: Gate,
    pub(crate) compat: compat::State,
    pub(crate) batches: batches::State,
}

impl State {
    pub(crate) fn clear(&self) {
        lock(&self.lanes).clear();
        self.compat.clear();
        self.batches.clear();
    }

    /// Ids are unique within a simulator and look like the real ones.
    fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let hash = crate::hash::of_parts(&["request", &number.to_string()]);
        format!("req_{}", crate::hash::hex(&hash[..16]))
    }
}

/// A request with what is needed to serve it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) incoming: &'a Incoming,
    pub(crate) id: String,
    pub(crate) op: Op,
    /// The prompt or the text, when there is one.
    pub(crate) content: String,
    pub(crate) provider: Provider,
}

impl<'a> Call<'a> {
    pub(crate) fn target(&'a self) -> Target<'a> {
        Target {
            provider: self.provider,
            op: self.op,
            path: &self.incoming.path,
            content: &self.content,
        }
    }

    /// The body as a JSON object.
    fn object(&self) -> Result<Map<String, Value>, ApiError> {
        let kind = self
            .incoming
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if !kind.is_some_and(|kind| {
            kind.trim_start()
                .to_ascii_lowercase()
                .starts_with("application/json")
        }) {
            return Err(ApiError::invalid(format!(
                "Unsupported content type: '{}'. This API method only accepts 'application/json' requests, but you \
                 specified the header 'Content-Type: {}'. Please try again with a supported content type.",
                kind.unwrap_or_default(),
                kind.unwrap_or_default()
            ))
            .code("unsupported_content_type"));
        }
        match serde_json::from_slice(&self.incoming.body) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(ApiError::invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP \
                 library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
            )),
        }
    }
}

/// The prompt or text of a body, for faults that look at it.
pub(crate) fn content_of(body: &[u8]) -> String {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(body) else {
        return String::new();
    };
    ["prompt", "input"]
        .into_iter()
        .find_map(|name| object.get(name)?.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Answers a request under `/openai/v1`.
pub(crate) async fn answer(shared: &Arc<Shared>, incoming: &Incoming) -> Answer {
    let started = Instant::now();
    let path = incoming
        .path
        .strip_prefix("/openai/v1")
        .unwrap_or_default()
        .trim_end_matches('/');
    let op = match path {
        "/images/generations" => Op::Image,
        "/audio/speech" => Op::Speech,
        "/batches" if incoming.method == Method::POST => Op::Batch,
        path if path == "/batches" || path.starts_with("/batches/") => Op::Poll,
        path if path == "/files" || path.starts_with("/files/") => Op::File,
        path if path == "/models" || path.starts_with("/models/") => Op::Models,
        _ => Op::Other,
    };
    let content = content_of(&incoming.body);
    let call = Call {
        shared,
        incoming,
        id: shared.openai.request_id(),
        op,
        content,
        provider: Provider::Openai,
    };
    let mut answer = match server::before(shared, &call.target(), default_error).await {
        Err(answer) => answer,
        Ok(()) => {
            let answer = route(&call, path).await.unwrap_or_else(ApiError::into_answer);
            server::after(shared, &call.target(), answer, default_error)
        }
    };
    if !answer.cut {
        answer = answer
            .header("x-request-id", &call.id)
            .header("openai-version", "2020-10-01")
            .header("openai-organization", "org-sim")
            .header("openai-processing-ms", started.elapsed().as_millis().to_string());
    }
    answer
}

async fn route(call: &Call<'_>, path: &str) -> Result<Answer, ApiError> {
    let key = auth::key(call)?;
    let traced = call.incoming.headers.get("x-client-request-id");
    if traced.is_some_and(|id| id.len() > 512 || id.to_str().is_err()) {
        return Err(ApiError::invalid(
            "X-Client-Request-Id must be ASCII and at most 512 characters long.",
        ));
    }
    let method = &call.incoming.method;
    let allowed = match call.op {
        Op::Image | Op::Speech => Method::POST,
        Op::Models => Method::GET,
        Op::File | Op::Batch | Op::Poll => method.clone(),
        _ => {
            return Err(ApiError::no_such_url(method, path));
        }
    };
    if *method != allowed {
        let message = format!(
            "Not allowed to {method} on /v1{path}. (HINT: Perhaps you meant to use a different HTTP method?)"
        );
        return Err(ApiError::new(405, "invalid_request_error", message).code("method_not_supported"));
    }
    match call.op {
        Op::Image => images::generate(call, &key).await,
        Op::Speech => speech::speak(call, &key).await,
        Op::File => files::answer(call, &key, path).await,
        Op::Batch | Op::Poll => batches::answer(call, &key, path),
        _ => models::list(call, &key, path).await,
    }
}

/// The error of a status fault that brings no body of its own.
pub(crate) fn default_error(status: u16) -> Answer {
    let error = match status {
        401 => {
            ApiError::new(401, "invalid_request_error", "Incorrect API key provided.").code("invalid_api_key")
        }
        429 => ApiError::new(
            429,
            "requests",
            "Rate limit reached for requests. Please try again in 1s.",
        )
        .code("rate_limit_exceeded"),
        502 | 504 => {
            return Answer::html(
                status,
                "<html><head><title>Bad gateway</title></head><body>cloudflare</body></html>",
            );
        }
        503 => ApiError::new(
            503,
            "service_unavailable_error",
            "The server is currently overloaded with other requests.",
        )
        .code("server_is_overloaded"),
        status if status >= 500 => ApiError::new(
            status,
            "server_error",
            "The server had an error while processing your request. Sorry about that!",
        ),
        status => ApiError::new(status, "invalid_request_error", "The request was refused."),
    };
    error.into_answer()
}

/// Tokens of a text, as everybody estimates them: four letters each, one per letter beyond ASCII.
pub(crate) fn tokens_of(text: &str) -> u64 {
    let plain = text.chars().filter(char::is_ascii).count() as u64;
    let other = text.chars().count() as u64 - plain;
    (plain.div_ceil(4) + other).max(1)
}
