//! `POST /images/generations`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::auth::Key;
use super::error::ApiError;
use super::image_request::{self, ImageRequest};
use super::{Call, compat, limits, sizes, stream, tokens_of};
use crate::answer::{Answer, Piece};
use crate::bill::ChargeId;
use crate::fault::{FaultKind, Stage};
use crate::hash;
use crate::media::{self, PictureFormat, PictureSpec, Print};

/// Extra output tokens of a partial picture.
const PARTIAL_TOKENS: u64 = 100;

/// Pictures that were made and charged.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) request: ImageRequest,
    pub(crate) prints: Vec<Print>,
    pub(crate) usage: Value,
    pub(crate) charge: ChargeId,
    pub(crate) created: u64,
    /// Whether the result list is to be empty, or the stream to end badly.
    pub(crate) fault: Option<FaultKind>,
}

impl Made {
    /// What answers and events echo of the request.
    pub(crate) fn echoes(&self) -> [(&'static str, Value); 4] {
        let format = match self.request.format {
            PictureFormat::Png => "png",
            PictureFormat::Jpeg => "jpeg",
            PictureFormat::Webp => "webp",
        };
        [
            ("background", json!(self.request.background)),
            ("output_format", json!(format)),
            ("quality", json!(self.request.quality)),
            (
                "size",
                json!(format!("{}x{}", self.request.width, self.request.height)),
            ),
        ]
    }
}

pub(crate) async fn generate(call: &Call<'_>, key: &Key<'_>) -> Result<Answer, ApiError> {
    let request = image_request::read(call)?;
    key.may_generate(&request.model, true)?;
    let scenario = &call.shared.scenario.openai;
    let pass = call.shared.openai.busy.enter(key.index, key.limits.concurrency);
    let _pass = pass.ok_or_else(limits::slow_down)?;

    let input = tokens_of(&request.prompt);
    let each = sizes::output_tokens(&request.family, &request.quality, request.width, request.height);
    let output = request.n * (each + PARTIAL_TOKENS * request.partials);
    let want = limits::Want {
        images: Some(request.n),
        tokens: input + output,
    };
    let levels = match limits::admit(call, key, &request.model, want) {
        Ok(levels) => levels,
        Err(refusal) => return Ok(refusal),
    };
    if mentions(&request.prompt, &scenario.moderation) {
        return Err(moderated(call, "input"));
    }
    let (per_input, per_output) = sizes::rates(&request.family);
    let usd = if request.dall_e {
        0.04 * request.n as f64
    } else {
        (input as f64 * per_input + output as f64 * per_output) / 1e6
    };
    let bill = || {
        call.shared
            .ledger
            .charge("openai", &call.id, &request.model, &request.prompt, usd, 1)
    };
    if let Some(FaultKind::TaskError {
        code,
        message,
        billed,
    }) = call.shared.faults.take(Stage::Task, &call.target())
    {
        if billed {
            bill();
        }
        return Err(ApiError::new(500, "image_generation_server_error", message).code(code));
    }
    // From here on the work is paid for, whether the client waits for it or not.
    let charge = bill();
    let refused_late = mentions(&request.prompt, &scenario.moderation_output);
    let made = make(call, request, charge, usage(input, output)).await;
    if refused_late {
        let error = moderated(call, "output");
        return Ok(levels.tell(if made.request.stream {
            stream::moderated()
        } else {
            error.into_answer()
        }));
    }
    if made.request.stream {
        return Ok(levels.tell(stream::answer(call, &made)));
    }
    tokio::time::sleep(Duration::from_millis(scenario.latency_ms.image)).await;
    Ok(levels.tell(answer(call, &made)))
}

/// What one picture of a request uses, as the answer tells it.
pub(crate) fn usage_of(request: &ImageRequest) -> Value {
    let each = sizes::output_tokens(&request.family, &request.quality, request.width, request.height);
    usage(tokens_of(&request.prompt), each)
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "input_tokens": input,
        "input_tokens_details": {"text_tokens": input, "image_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
        "total_tokens": input + output,
    })
}

/// Whether a text holds one of the words, in any case.
pub(crate) fn mentions(text: &str, words: &[String]) -> bool {
    let text = text.to_lowercase();
    words
        .iter()
        .any(|word| !word.is_empty() && text.contains(&word.to_lowercase()))
}

pub(crate) fn moderated(call: &Call<'_>, stage: &str) -> ApiError {
    let message = format!(
        "Your request was rejected by the safety system. If you believe this is an error, contact us at \
         help.openai.com and include the request ID {}. safety_violations=[violence].",
        call.id
    );
    ApiError::new(400, "image_generation_user_error", message)
        .code("moderation_blocked")
        .extra(
            "moderation_details",
            json!({"moderation_stage": stage, "categories": ["violence"]}),
        )
}

async fn make(call: &Call<'_>, request: ImageRequest, charge: ChargeId, usage: Value) -> Made {
    let mut prints = Vec::new();
    for index in 0..request.n {
        prints.push(print(call, &request, index).await);
    }
    let fault = call.shared.faults.take(Stage::Results, &call.target());
    Made {
        request,
        prints,
        usage,
        charge,
        created: call.shared.clock.now_ms() / 1000,
        fault,
    }
}

/// Makes a picture, damaged if a fault says so. The real service has no seed and never makes the same picture twice:
/// the request id stands in for chance.
pub(crate) async fn print(call: &Call<'_>, request: &ImageRequest, index: u64) -> Print {
    let number = index.to_string();
    let spec = PictureSpec {
        text: request.prompt.clone(),
        footer: format!("{} {}", request.model, request.quality),
        hash: hash::of_parts(&[&request.prompt, &request.model, &call.id, &number]),
        width: request.width,
        height: request.height,
        format: request.format,
        quality: request.compression.max(1),
        transparent: request.background == "transparent",
    };
    let print = media::picture(call.shared, spec.clone()).await;
    match call.shared.faults.take(Stage::Media, &call.target()) {
        None => print,
        Some(fault) => {
            let other = || {
                let format = spec.format.other();
                call.shared
                    .studio
                    .print(&PictureSpec {
                        format,
                        transparent: false,
                        ..spec.clone()
                    })
                    .bytes()
            };
            Print::whole(media::spoil(&fault, print.bytes(), other).bytes)
        }
    }
}

/// The JSON answer, with the base64 between its pieces.
fn answer(call: &Call<'_>, made: &Made) -> Answer {
    let mut text = format!("{{\"created\":{}", made.created);
    if !made.request.dall_e {
        for (name, value) in made.echoes() {
            text.push_str(&format!(",\"{name}\":{value}"));
        }
    }
    text.push_str(",\"data\":[");
    let mut pieces = Vec::new();
    if made.fault != Some(FaultKind::EmptyData) {
        for (index, print) in made.prints.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push('{');
            if made.request.dall_e {
                text.push_str(&format!("\"revised_prompt\":{},", json!(made.request.prompt)));
            }
            if made.request.url {
                let url = compat::host(call, print, made.request.format, (made.charge, None));
                text.push_str(&format!("\"url\":{}}}", json!(url)));
                continue;
            }
            text.push_str("\"b64_json\":\"");
            pieces.push(Piece::Bytes(Bytes::from(std::mem::take(&mut text))));
            pieces.extend(print.base64().into_iter().map(Piece::Bytes));
            text.push_str("\"}");
        }
    }
    text.push(']');
    if !made.request.dall_e {
        text.push_str(&format!(",\"usage\":{}", made.usage));
    }
    text.push('}');
    pieces.push(Piece::Bytes(Bytes::from(text)));
    let answer = Answer::of_pieces(200, "application/json", pieces);
    if made.fault == Some(FaultKind::EmptyData) || made.request.url {
        return answer;
    }
    answer.delivering(&call.shared.ledger, vec![(made.charge, None)])
}
