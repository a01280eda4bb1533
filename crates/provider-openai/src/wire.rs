//! The API's own shapes. Everything that an answer may lack is optional, and of any type: compatible
//! servers lack most of it, and nothing beside a picture may cost the picture.

use std::collections::BTreeMap;

use media_core::http::Payload;
use media_core::lenient;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Body of `POST /images/generations`. What is `None` is not sent: unknown or unsuitable fields are refused.
#[derive(Debug, Serialize)]
pub(crate) struct ImageBody<'a> {
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a str,
    /// Everything else, by its own name.
    #[serde(flatten)]
    pub(crate) params: BTreeMap<String, Value>,
}

/// Body of `POST /audio/speech`.
#[derive(Debug, Serialize)]
pub(crate) struct SpeechBody<'a> {
    pub(crate) model: &'a str,
    pub(crate) input: &'a str,
    pub(crate) voice: Value,
    pub(crate) response_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<&'a str>,
}

/// Answer of `POST /images/generations`, or the event `image_generation.completed` of its stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Images {
    #[serde(default, deserialize_with = "lenient::list")]
    pub(crate) data: Vec<Image>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) usage: Option<Usage>,
    /// In an event of a stream it stands here.
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) b64_json: Option<Payload>,
}

/// What stands beside a picture that came as base64, or in its place: a link.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Image {
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) b64_json: Option<Payload>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) url: Option<Payload>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) revised_prompt: Option<String>,
}

/// Tokens used. LocalAI sends all zeros; `output_tokens_details` may be absent.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Usage {
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) input_tokens: u64,
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) output_tokens: u64,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) input_tokens_details: Option<InputTokens>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) output_tokens_details: Option<OutputTokens>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct InputTokens {
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) text_tokens: u64,
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) image_tokens: u64,
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) cached_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct OutputTokens {
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) text_tokens: u64,
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) image_tokens: u64,
}

/// Answer of `POST /files`.
#[derive(Debug, Deserialize)]
pub(crate) struct UploadedFile {
    pub(crate) id: String,
}

/// A batch, as every call about one answers it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Batch {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) errors: Option<BatchErrors>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) output_file_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) error_file_id: Option<String>,
    // Not leniently: from what is not there it would follow that nothing was billed, or that it is not ours.
    #[serde(default)]
    pub(crate) request_counts: Option<BatchCounts>,
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, Value>>,
    #[serde(default, deserialize_with = "lenient::optional")]
    completed_at: Option<i64>,
    #[serde(default, deserialize_with = "lenient::optional")]
    expired_at: Option<i64>,
    #[serde(default, deserialize_with = "lenient::optional")]
    cancelled_at: Option<i64>,
    #[serde(default, deserialize_with = "lenient::optional")]
    failed_at: Option<i64>,
}

impl Batch {
    /// When it came to its end, in seconds since 1970.
    pub(crate) fn ended_at(&self) -> Option<i64> {
        let ends = [
            self.completed_at,
            self.expired_at,
            self.cancelled_at,
            self.failed_at,
        ];
        ends.into_iter().flatten().next()
    }

    /// Whether it will change no more.
    pub(crate) fn is_over(&self) -> bool {
        ["completed", "failed", "expired", "cancelled"].contains(&self.status.as_str())
    }
}

/// Why a batch was refused.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct BatchErrors {
    #[serde(default, deserialize_with = "lenient::list")]
    pub(crate) data: Vec<BatchError>,
}

/// One reason.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct BatchError {
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) code: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) message: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) line: Option<u64>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct BatchCounts {
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) total: u64,
    #[serde(default, deserialize_with = "lenient::count")]
    pub(crate) completed: u64,
}

/// Answer of `GET /batches`.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchList {
    /// Must be there, for from a list without it would follow that a batch was never created; each is read by itself.
    pub(crate) data: Vec<Value>,
    #[serde(default)]
    pub(crate) has_more: bool,
}

/// Answer of `GET /models`.
#[derive(Debug, Deserialize)]
pub(crate) struct Models {
    #[serde(default, deserialize_with = "lenient::list")]
    pub(crate) data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient::optional")]
    pub(crate) shutdown_date: Option<String>,
}
