//! The streamed form of an image answer: server-sent events.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use super::images::Made;
use crate::answer::{Answer, Piece};
use crate::fault::FaultKind;
use crate::media::Print;

/// `event: image_generation.…` with a picture in it; the base64 stays in shared pieces.
fn event(pieces: &mut Vec<Piece>, made: &Made, name: &str, print: &Print, last: &str) {
    let mut start = format!(
        "event: {name}\ndata: {{\"type\":\"{name}\",\"created_at\":{}",
        made.created
    );
    for (name, value) in made.echoes() {
        start.push_str(&format!(",\"{name}\":{value}"));
    }
    start.push_str(",\"b64_json\":\"");
    pieces.push(Piece::Bytes(Bytes::from(start)));
    pieces.extend(print.base64().into_iter().map(Piece::Bytes));
    pieces.push(Piece::Bytes(Bytes::from(format!("\"{last}}}\n\n"))));
}

fn error_event(error: &Value) -> Piece {
    Piece::Bytes(Bytes::from(format!("event: error\ndata: {error}\n\n")))
}

/// The events of a request: partial pictures, then `completed` for each picture.
pub(crate) fn answer(call: &Call<'_>, made: &Made) -> Answer {
    let mut pieces = Vec::new();
    let steps = made.request.partials + 1;
    let step = Duration::from_millis(call.shared.scenario.openai.latency_ms.image / steps);
    for print in &made.prints {
        for index in 0..made.request.partials {
            pieces.push(Piece::Pause(step));
            let last = format!(",\"partial_image_index\":{index}");
            event(&mut pieces, made, "image_generation.partial_image", print, &last);
        }
        pieces.push(Piece::Pause(step));
        match &made.fault {
            Some(FaultKind::StreamError) => {
                pieces.push(error_event(&json!({"type": "error", "error": {
                    "type": "image_generation_server_error", "code": "image_generation_failed",
                    "message": "Image generation failed.", "param": null}, "sequence_number": 0})));
                break;
            }
            Some(FaultKind::StreamUnfinished | FaultKind::EmptyData) => break,
            _ => {
                let last = format!(",\"usage\":{}", made.usage);
                event(&mut pieces, made, "image_generation.completed", print, &last);
            }
        }
    }
    let answer = Answer::of_pieces(200, "text/event-stream; charset=utf-8", pieces).chunked();
    if made.fault.is_some() {
        return answer;
    }
    answer.delivering(&call.shared.ledger, vec![(made.charge, None)])
}

/// A picture that was refused after it was made: the status is 200 already.
pub(crate) fn moderated() -> Answer {
    let piece = error_event(&json!({"type": "error", "error": {
        "type": "image_generation_user_error", "code": "moderation_blocked",
        "message": "Your request was rejected by the safety system. safety_violations=[violence].",
        "param": null}, "sequence_number": 0}));
    Answer::of_pieces(200, "text/event-stream; charset=utf-8", vec![piece]).chunked()
}
