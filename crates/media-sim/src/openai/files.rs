//! `/files`: uploads for batches, and the results of batches as files.

use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};

use super::Call;
use super::auth::Key;
use super::batches::{Done, call_of, incoming_of};
use super::error::ApiError;
use super::fields::missing;
use super::image_request::{self, ImageRequest};
use super::images;
use crate::answer::{Answer, Piece};
use crate::hash;
use crate::state::lock;

const MOST_BYTES: usize = 200_000_000;

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) key: usize,
    pub(super) name: String,
    pub(super) purpose: String,
    pub(super) created_ms: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    /// The lines of this batch that went well, or the others.
    Results {
        batch: String,
        good: bool,
    },
}

/// Answers `/files` and what is below it.
pub(crate) async fn answer(call: &Call<'_>, key: &Key<'_>, path: &str) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match (call.incoming.method.clone(), parts.as_slice()) {
        (Method::POST, []) => upload(call, key),
        (Method::GET, [id, "content"]) => content(call, key, id).await,
        (Method::GET, [id]) => Ok(Answer::json(200, &file_object(id, &find_file(call, key, id)?))),
        (Method::DELETE, [id]) => {
            find_file(call, key, id)?;
            lock(&call.shared.openai.batches.files).remove(*id);
            Ok(Answer::json(
                200,
                &json!({"id": id, "object": "file", "deleted": true}),
            ))
        }
        (method, _) => Err(ApiError::no_such_url(&method, path)),
    }
}

pub(super) fn find_file(call: &Call<'_>, key: &Key<'_>, id: &str) -> Result<File, ApiError> {
    let files = lock(&call.shared.openai.batches.files);
    let file = files.get(id).filter(|file| file.key == key.index);
    file.cloned().ok_or_else(|| {
        ApiError::new(404, "invalid_request_error", format!("No such File object: {id}")).param("id")
    })
}

fn file_object(id: &str, file: &File) -> Value {
    let bytes = match &file.content {
        Content::Bytes(bytes) => bytes.len(),
        Content::Results { .. } => 0,
    };
    json!({
        "id": id, "object": "file", "bytes": bytes, "created_at": file.created_ms / 1000,
        "expires_at": file.created_ms / 1000 + 2_592_000, "filename": file.name, "purpose": file.purpose,
        "status": "processed",
    })
}

fn upload(call: &Call<'_>, key: &Key<'_>) -> Result<Answer, ApiError> {
    let form = form(call)?;
    let text = |name: &str| {
        let part = form.iter().find(|part| part.name == name);
        part.map(|part| String::from_utf8_lossy(&part.content).into_owned())
    };
    let purpose = text("purpose").ok_or_else(|| missing("purpose"))?;
    if purpose != "batch" {
        return Err(ApiError::value(
            "purpose",
            format!("'{purpose}' is not simulated as a purpose."),
        ));
    }
    let file = form
        .iter()
        .find(|part| part.name == "file")
        .ok_or_else(|| missing("file"))?;
    if !file.filename.ends_with(".jsonl") {
        return Err(ApiError::invalid("Invalid file format for Batch API. Must be .jsonl").param("file"));
    }
    if file.content.len() > MOST_BYTES {
        return Err(ApiError::invalid("The file is larger than 200 MB.").param("file"));
    }
    let id = format!("file-{}", &call.id.trim_start_matches("req_")[..24]);
    let kept = File {
        key: key.index,
        name: file.filename.clone(),
        purpose,
        created_ms: call.shared.clock.now_ms(),
        content: Content::Bytes(file.content.clone()),
    };
    let answer = file_object(&id, &kept);
    lock(&call.shared.openai.batches.files).insert(id, kept);
    Ok(Answer::json(200, &answer))
}

struct Part {
    name: String,
    filename: String,
    content: Bytes,
}

/// The parts of a multipart/form-data body.
fn form(call: &Call<'_>) -> Result<Vec<Part>, ApiError> {
    let bad = || ApiError::invalid("We could not parse the multipart body of your request.");
    let kind = call.incoming.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (form, rest) = kind.split_once("boundary=").ok_or_else(bad)?;
    if !form
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return Err(bad());
    }
    let mark = format!("--{}", rest.trim_matches('"'));
    let body = &call.incoming.body;
    let find = |from: usize, what: &[u8]| {
        let rest = body.get(from..)?;
        rest.windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at)
    };
    let mut parts = Vec::new();
    let mut at = find(0, mark.as_bytes()).ok_or_else(bad)? + mark.len();
    while !body.get(at..).is_some_and(|rest| rest.starts_with(b"--")) {
        let head_end = find(at, b"\r\n\r\n").ok_or_else(bad)?;
        let head = String::from_utf8_lossy(body.get(at..head_end).unwrap_or_default()).into_owned();
        let end = find(head_end, format!("\r\n{mark}").as_bytes()).ok_or_else(bad)?;
        let value = |name: &str| {
            let (_, rest) = head.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        parts.push(Part {
            name: value("name").ok_or_else(bad)?,
            filename: value("filename").unwrap_or_default(),
            content: body.slice(head_end + 4..end),
        });
        at = end + 2 + mark.len();
    }
    Ok(parts)
}

async fn content(call: &Call<'_>, key: &Key<'_>, id: &str) -> Result<Answer, ApiError> {
    let (batch, good) = match find_file(call, key, id)?.content {
        Content::Bytes(bytes) => return Ok(Answer::new(200, "application/octet-stream", bytes)),
        Content::Results { batch, good } => (batch, good),
    };
    let lines: Vec<(String, Value, Option<Done>)> = {
        let batches = lock(&call.shared.openai.batches.batches);
        let batch = batches.iter().find(|one| one.id == batch);
        let lines = batch.map(|batch| batch.lines.as_slice()).unwrap_or_default();
        let told = lines
            .iter()
            .map(|line| (line.custom_id.clone(), line.body.clone(), line.done.clone()));
        told.collect()
    };
    let mut lines = lines;
    // The real service promises no order, so it keeps none.
    lines.sort_by_cached_key(|(id, ..)| hash::of_parts(&["shuffle", id]));
    let (mut pieces, mut charges) = (Vec::new(), Vec::new());
    for (custom_id, body, done) in lines {
        let head = json!({"id": format!("batch_req_{custom_id}"), "custom_id": custom_id});
        let head = head.to_string();
        let head = head.trim_end_matches('}');
        match (done, good) {
            (
                Some(Done {
                    request_id,
                    outcome: Ok(charge),
                }),
                true,
            ) => {
                let incoming = incoming_of(&body);
                let line = call_of(call.shared, &incoming, &body, request_id.clone());
                let request: ImageRequest = image_request::read(&line)?;
                let print = images::print(&line, &request, 0).await;
                let usage = images::usage_of(&request);
                pieces.push(Piece::Bytes(Bytes::from(format!(
                    "{head},\"response\":{{\"status_code\":200,\"request_id\":\"{request_id}\",\"body\":{{\"created\":{},\
                     \"data\":[{{\"b64_json\":\"",
                    call.shared.clock.now_ms() / 1000
                ))));
                pieces.extend(print.base64().into_iter().map(Piece::Bytes));
                pieces.push(Piece::Bytes(Bytes::from(format!(
                    "\"}}],\"usage\":{usage}}}}},\"error\":null}}\n"
                ))));
                charges.push((charge, None));
            }
            (
                Some(Done {
                    request_id,
                    outcome: Err(error),
                }),
                false,
            ) => {
                let status = error.get("status").cloned().unwrap_or(json!(400));
                let response = json!({
                    "status_code": status, "request_id": request_id, "body": error.get("body"),
                });
                pieces.push(Piece::Bytes(Bytes::from(format!(
                    "{head},\"response\":{response},\"error\":null}}\n"
                ))));
            }
            (None, false) => {
                let error = json!({
                    "code": "batch_expired",
                    "message": "This request could not be executed before the completion window expired.",
                });
                pieces.push(Piece::Bytes(Bytes::from(format!(
                    "{head},\"response\":null,\"error\":{error}}}\n"
                ))));
            }
            _ => {}
        }
    }
    Ok(Answer::of_pieces(200, "application/octet-stream", pieces).delivering(&call.shared.ledger, charges))
}
