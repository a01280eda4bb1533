//! `/batches`: the requests of a file, done in their own time, their results in another file.
//!
//! Nothing runs by itself: whenever a batch, the bill or a file is looked at, what is done by then on the simulator's
//! clock is done. A line is charged when it is completed, under its `custom_id`.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Map, Value, json};

use super::auth::Key;
use super::error::ApiError;
use super::files::{Content, File, find_file};
use super::image_request;
use super::images::{self, mentions};
use super::{Call, sizes, tokens_of};
use crate::answer::Answer;
use crate::bill::ChargeId;
use crate::fault::{FaultKind, Op, Provider, Stage};
use crate::server::Incoming;
use crate::state::{Shared, lock};

/// What a batch may ask here. The service takes edits too, which are not simulated, and no speech.
const ENDPOINT: &str = "/v1/images/generations";
const MOST_LINES: usize = 50_000;

/// Files and batches.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) files: Mutex<BTreeMap<String, File>>,
    /// In the order in which they were created.
    pub(super) batches: Mutex<Vec<Batch>>,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: String,
    key: usize,
    input: String,
    metadata: Value,
    created_ms: u64,
    cancelled_ms: Option<u64>,
    pub(super) lines: Vec<Line>,
    /// Why it failed, with the number of the line.
    refused: Option<(usize, String)>,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) custom_id: String,
    pub(super) body: Value,
    /// Its request id, once it is done.
    pub(super) done: Option<Done>,
}

#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) request_id: String,
    pub(super) outcome: Result<ChargeId, Value>,
}

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }

    fn is_over(self) -> bool {
        matches!(
            self,
            Status::Failed | Status::Completed | Status::Expired | Status::Cancelled
        )
    }
}

impl State {
    pub(crate) fn clear(&self) {
        lock(&self.files).clear();
        lock(&self.batches).clear();
    }
}

/// Does what is done by now.
pub(crate) fn settle(shared: &Arc<Shared>) {
    let now = shared.clock.now_ms();
    let mut batches = lock(&shared.openai.batches.batches);
    for batch in batches.iter_mut() {
        advance(shared, batch, now);
    }
}

/// When the work of a batch ends early.
fn cut_at(shared: &Shared, batch: &Batch) -> u64 {
    let expires = batch.created_ms + shared.scenario.openai.batch.expires_ms;
    batch
        .cancelled_ms
        .map_or(expires, |cancelled| cancelled.min(expires))
}

/// When the line of this number is done, if nothing ends the work before.
fn done_at(shared: &Shared, batch: &Batch, number: usize) -> u64 {
    let times = &shared.scenario.openai.batch;
    batch.created_ms + times.validating_ms + times.line_ms * (number as u64 + 1)
}

fn advance(shared: &Arc<Shared>, batch: &mut Batch, now: u64) {
    if batch.refused.is_some() {
        return;
    }
    let cut = cut_at(shared, batch);
    for number in 0..batch.lines.len() {
        let at = done_at(shared, batch, number);
        if at > now || at > cut {
            break;
        }
        if let Some(line) = batch.lines.get_mut(number).filter(|line| line.done.is_none()) {
            line.done = Some(work(shared, line));
        }
    }
}

fn status(shared: &Shared, batch: &Batch, now: u64) -> Status {
    let times = &shared.scenario.openai.batch;
    let valid = batch.created_ms + times.validating_ms;
    if now < valid && batch.cancelled_ms.is_none() {
        return Status::Validating;
    }
    if batch.refused.is_some() {
        return Status::Failed;
    }
    let end = done_at(shared, batch, batch.lines.len().saturating_sub(1));
    let cut = cut_at(shared, batch);
    if end > cut {
        return match batch.cancelled_ms {
            Some(cancelled) if now < cancelled + times.cancelling_ms => Status::Cancelling,
            Some(_) => Status::Cancelled,
            None if now < cut => Status::InProgress,
            None => Status::Expired,
        };
    }
    if now < end {
        Status::InProgress
    } else if now < end + times.finalizing_ms {
        Status::Finalizing
    } else {
        Status::Completed
    }
}

/// Makes a line: refused, or charged at half the price.
fn work(shared: &Arc<Shared>, line: &Line) -> Done {
    let request_id = shared.openai.request_id();
    let incoming = incoming_of(&line.body);
    let call = call_of(shared, &incoming, &line.body, request_id.clone());
    let outcome = match image_request::read(&call) {
        Err(error) => Err(error.into_line()),
        Ok(request) if request.stream => {
            Err(ApiError::value("stream", "Streaming is not supported in batches.").into_line())
        }
        Ok(request) if request.n > 1 => Err(ApiError::value(
            "n",
            "This simulator makes one picture for each line of a batch.",
        )
        .into_line()),
        Ok(request) if mentions(&request.prompt, &shared.scenario.openai.moderation) => {
            Err(images::moderated(&call, "input").into_line())
        }
        Ok(request) => {
            let input = tokens_of(&request.prompt);
            let each = sizes::output_tokens(&request.family, &request.quality, request.width, request.height);
            let (per_input, per_output) = sizes::rates(&request.family);
            let usd = (input as f64 * per_input + each as f64 * per_output) / 2e6;
            // Only completed lines are charged, whatever was drawn for the others.
            match shared.faults.take(Stage::Task, &call.target()) {
                Some(FaultKind::TaskError { code, message, .. }) => {
                    Err(ApiError::new(500, "image_generation_server_error", message)
                        .code(code)
                        .into_line())
                }
                _ if mentions(&request.prompt, &shared.scenario.openai.moderation_output) => {
                    Err(images::moderated(&call, "output").into_line())
                }
                _ => Ok(shared.ledger.charge(
                    "openai",
                    &line.custom_id,
                    &request.model,
                    &request.prompt,
                    usd,
                    1,
                )),
            }
        }
    };
    Done { request_id, outcome }
}

pub(super) fn incoming_of(body: &Value) -> Incoming {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Incoming {
        method: Method::POST,
        path: "/openai/v1/images/generations".to_owned(),
        query: String::new(),
        headers,
        body: Bytes::from(body.to_string()),
    }
}

pub(super) fn call_of<'a>(
    shared: &'a Arc<Shared>,
    incoming: &'a Incoming,
    body: &Value,
    id: String,
) -> Call<'a> {
    Call {
        shared,
        incoming,
        id,
        op: Op::Batch,
        content: body
            .get("prompt")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        provider: Provider::Openai,
    }
}

/// Answers `/batches` and what is below it.
pub(crate) fn answer(call: &Call<'_>, key: &Key<'_>, path: &str) -> Result<Answer, ApiError> {
    settle(call.shared);
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match (call.incoming.method.clone(), parts.as_slice()) {
        (Method::POST, []) => create(call, key),
        (Method::GET, []) => Ok(list(call, key)),
        (Method::GET, [id]) => with(call, key, id, |batch| object(call.shared, batch)),
        (Method::POST, [id, "cancel"]) => {
            let now = call.shared.clock.now_ms();
            with(call, key, id, |batch| {
                if !status(call.shared, batch, now).is_over() {
                    batch.cancelled_ms.get_or_insert(now);
                }
                object(call.shared, batch)
            })
        }
        (method, _) => Err(ApiError::no_such_url(&method, path)),
    }
}

fn with(
    call: &Call<'_>,
    key: &Key<'_>,
    id: &str,
    tell: impl FnOnce(&mut Batch) -> Value,
) -> Result<Answer, ApiError> {
    let mut batches = lock(&call.shared.openai.batches.batches);
    let batch = batches
        .iter_mut()
        .find(|batch| batch.id == id && batch.key == key.index);
    let batch = batch.ok_or_else(|| {
        ApiError::new(
            404,
            "invalid_request_error",
            format!("No batch found with id '{id}'."),
        )
        .param("batch_id")
    })?;
    Ok(Answer::json(200, &tell(batch)))
}

fn create(call: &Call<'_>, key: &Key<'_>) -> Result<Answer, ApiError> {
    let object_of = call.object()?;
    let text = |name: &str| {
        object_of
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if text("endpoint") != ENDPOINT {
        return Err(ApiError::value(
            "endpoint",
            format!("Invalid value: '{}'.", text("endpoint")),
        ));
    }
    if text("completion_window") != "24h" {
        return Err(ApiError::value(
            "completion_window",
            "Invalid value: only '24h' is supported.",
        ));
    }
    let metadata = object_of.get("metadata").cloned().unwrap_or(Value::Null);
    if let Some(pairs) = metadata.as_object() {
        let fits = |(name, value): (&String, &Value)| {
            name.len() <= 64 && value.as_str().is_some_and(|value| value.len() <= 512)
        };
        if pairs.len() > 16 || !pairs.iter().all(fits) {
            return Err(ApiError::value("metadata", "Invalid metadata."));
        }
    }
    let input = text("input_file_id");
    let file = find_file(call, key, &input)?;
    let Content::Bytes(bytes) = &file.content else {
        return Err(ApiError::value(
            "input_file_id",
            "That file is not the input of a batch.",
        ));
    };
    let (lines, refused) = match lines_of(
        bytes,
        &text("endpoint"),
        &call.shared.scenario.openai.batch.models,
    ) {
        Ok(lines) => (lines, None),
        Err(refused) => (Vec::new(), Some(refused)),
    };
    let model = lines
        .first()
        .and_then(|line| line.body.get("model")?.as_str().map(str::to_owned));
    key.may_generate(model.as_deref().unwrap_or_default(), true)?;
    let batch = Batch {
        id: format!("batch_{}", call.id.trim_start_matches("req_")),
        key: key.index,
        input,
        metadata,
        created_ms: call.shared.clock.now_ms(),
        cancelled_ms: None,
        lines,
        refused,
    };
    let answer = object(call.shared, &batch);
    lock(&call.shared.openai.batches.batches).push(batch);
    Ok(Answer::json(200, &answer))
}

fn lines_of(bytes: &Bytes, endpoint: &str, models: &[String]) -> Result<Vec<Line>, (usize, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (mut lines, mut seen) = (Vec::new(), HashSet::new());
    let mut model: Option<String> = None;
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let wrong = |what: &str| (number + 1, what.to_owned());
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|_| wrong("This line is not parseable as valid JSON."))?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("custom_id").is_empty() || !seen.insert(text("custom_id").to_owned()) {
            return Err(wrong(
                "The custom_id for this request is missing or a duplicate of another request.",
            ));
        }
        if text("url") != endpoint || text("method") != "POST" {
            return Err(wrong(
                "The URL provided for this request does not match the batch endpoint.",
            ));
        }
        let body = object.get("body").cloned().unwrap_or_default();
        let its = body
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if *model.get_or_insert_with(|| its.clone()) != its {
            return Err(wrong("Batch requests must all use the same model."));
        }
        if !models.contains(&its) {
            return Err(wrong(&format!(
                "The provided model '{its}' is not supported by the Batch API."
            )));
        }
        lines.push(Line {
            custom_id: text("custom_id").to_owned(),
            body,
            done: None,
        });
    }
    if lines.is_empty() || lines.len() > MOST_LINES {
        return Err((
            0,
            "The input file is empty, or has more than 50,000 lines.".to_owned(),
        ));
    }
    Ok(lines)
}

fn object(shared: &Shared, batch: &Batch) -> Value {
    let now = shared.clock.now_ms();
    let status = status(shared, batch, now);
    let good = batch
        .lines
        .iter()
        .filter(|line| matches!(&line.done, Some(done) if done.outcome.is_ok()))
        .count();
    let bad = batch
        .lines
        .iter()
        .filter(|line| matches!(&line.done, Some(done) if done.outcome.is_err()))
        .count();
    let lost = batch.lines.iter().filter(|line| line.done.is_none()).count();
    let errors = batch.refused.as_ref().filter(|_| status == Status::Failed).map(|(line, message)| {
        json!({"object": "list", "data": [{"code": "invalid_request", "message": message, "param": null, "line": line}]})
    });
    let is_told = status.is_over() && status != Status::Failed;
    let file = |good: bool| {
        let id = format!(
            "file-{}{}",
            if good { "out" } else { "err" },
            batch.id.trim_start_matches("batch_")
        );
        let content = Content::Results {
            batch: batch.id.clone(),
            good,
        };
        let kept = File {
            key: batch.key,
            name: format!("{}.jsonl", batch.id),
            purpose: "batch_output".to_owned(),
            created_ms: now,
            content,
        };
        lock(&shared.openai.batches.files)
            .entry(id.clone())
            .or_insert(kept);
        id
    };
    let has_errors = bad > 0 || (status == Status::Expired && lost > 0);
    json!({
        "id": batch.id, "object": "batch", "endpoint": ENDPOINT, "errors": errors, "input_file_id": batch.input,
        "completion_window": "24h", "status": status.name(),
        "output_file_id": (is_told && good > 0).then(|| file(true)),
        "error_file_id": (is_told && has_errors).then(|| file(false)),
        "created_at": batch.created_ms / 1000,
        "expires_at": (batch.created_ms + shared.scenario.openai.batch.expires_ms) / 1000,
        "request_counts": {"total": batch.lines.len(), "completed": good, "failed": bad},
        "metadata": batch.metadata,
    })
}

/// The account's batches, newest first.
fn list(call: &Call<'_>, key: &Key<'_>) -> Answer {
    let query: BTreeMap<&str, &str> = call
        .incoming
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let limit = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(20_usize)
        .clamp(1, 100);
    let batches = lock(&call.shared.openai.batches.batches);
    let mine: Vec<&Batch> = batches
        .iter()
        .rev()
        .filter(|batch| batch.key == key.index)
        .collect();
    let from = query
        .get("after")
        .and_then(|after| mine.iter().position(|batch| batch.id == **after));
    let rest = mine.get(from.map_or(0, |from| from + 1)..).unwrap_or_default();
    let page: Vec<Value> = rest
        .iter()
        .take(limit)
        .map(|batch| object(call.shared, batch))
        .collect();
    let id = |value: Option<&Value>| {
        value
            .and_then(|value| value.get("id"))
            .cloned()
            .unwrap_or(Value::Null)
    };
    Answer::json(
        200,
        &json!({
            "object": "list", "first_id": id(page.first()), "last_id": id(page.last()),
            "has_more": rest.len() > limit, "data": page,
        }),
    )
}
