//! The OpenAI part of a scenario.

use serde::{Deserialize, Serialize};

/// OpenAI, and the server that resembles it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAi {
    /// The valid keys.
    pub keys: Vec<OpenAiKey>,
    /// Limits per key, all enforced.
    pub limits: OpenAiLimits,
    /// How long answers take.
    pub latency_ms: OpenAiLatency,
    /// The known models.
    pub models: Vec<OpenAiModel>,
    /// The day ("YYYY-MM-DD") whose list of models is simulated: models shut down by then are gone. Fixed by
    /// default, so that a test does not fail one morning; `null` follows the simulator's clock.
    pub as_of: Option<String>,
    /// A prompt with one of these words is refused before the picture is made (`moderation_stage` "input").
    pub moderation: Vec<String>,
    /// A prompt with one of these words is refused after the picture was made, and charged ("output").
    pub moderation_output: Vec<String>,
    /// The size of a picture asked for as `auto`.
    pub auto_size: String,
    /// The name of the bucket of pictures in `x-ratelimit-*` headers.
    pub image_bucket: String,
    /// The Batch API.
    pub batch: Batch,
    /// The server that resembles OpenAI, at `/openai-compat/v1`.
    pub compat: Compat,
}

/// The Batch API: how long the stages of a batch take, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Batch {
    /// Until the file is checked.
    pub validating_ms: u64,
    /// Each line, one after the other.
    pub line_ms: u64,
    /// Until the results can be fetched.
    pub finalizing_ms: u64,
    /// From the wish to cancel to the end.
    pub cancelling_ms: u64,
    /// From the creation: what is not done by then expires.
    pub expires_ms: u64,
    /// The models that can be asked in batches.
    pub models: Vec<String>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAiKey {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    #[serde(default)]
    pub traits: Vec<OpenAiTrait>,
    /// Its own limits instead of the common ones.
    #[serde(default)]
    pub limits: Option<OpenAiLimits>,
}

impl OpenAiKey {
    /// A key with traits and the common limits.
    #[must_use]
    pub fn new(key: impl Into<String>, traits: Vec<OpenAiTrait>) -> Self {
        Self {
            key: key.into(),
            traits,
            limits: None,
        }
    }
}

/// What may be wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenAiTrait {
    /// 401, missing scope `api.model.images.request`.
    NoImageScope,
    /// 401, missing scope `api.model.read` (generation still works).
    NoModelRead,
    /// 403 without a code: the organisation is not verified.
    Unverified,
    /// 403 `model_not_found`: the project's allow-list lacks the model.
    NoModelAccess,
    /// 429 `insufficient_quota`.
    NoCredit,
    /// 429 `credit_balance_exhausted`.
    CreditExhausted,
    /// 429 `project_spend_limit_exceeded`.
    SpendCap,
    /// 400 `billing_hard_limit_reached`.
    HardLimit,
    /// 429 "Limit 0, Requested 1": the tier includes no pictures and no speech.
    FreeTier,
    /// 403: the country is not supported.
    UnsupportedCountry,
}

/// Limits; a limit of requests, pictures or tokens is a bucket that holds one minute's worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAiLimits {
    /// Requests in work at the same time; more get 429 `slow_down`. The real service has no such number.
    pub concurrency: usize,
    /// Pictures; all image models share these.
    pub image: ImageLimits,
    /// Speech; per model.
    pub speech: SpeechLimits,
}

/// Limits for pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageLimits {
    /// Requests per minute.
    pub requests_per_minute: u64,
    /// Pictures per minute.
    pub images_per_minute: u64,
    /// Tokens per minute, input and output.
    pub tokens_per_minute: u64,
}

/// Limits for speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpeechLimits {
    /// Requests per minute.
    pub requests_per_minute: u64,
    /// Tokens per minute, input and output.
    pub tokens_per_minute: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiLatency {
    /// A picture.
    pub image: u64,
    /// Speech, to the first byte.
    pub speech: u64,
    /// The list of models.
    pub models: u64,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OpenAiModel {
    /// Its id.
    pub id: String,
    /// Whose parameters and prices it has: "dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5",
    /// "gpt-image-2", "gpt-image-2.5", "gpt-image-2.6", "tts-1", "tts-1-hd", "gpt-4o-mini-tts" or "other".
    pub family: String,
    /// The day ("YYYY-MM-DD") it is shut down.
    #[serde(default)]
    pub shutdown_date: Option<String>,
}

/// A server that resembles OpenAI: no key, unknown fields ignored, the `dall-e` dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Compat {
    /// Its models; any other is refused.
    pub models: Vec<String>,
    /// The valid keys; empty = it asks for none.
    pub keys: Vec<String>,
    /// What it answers when `response_format` is not given.
    pub delivery: CompatDelivery,
    /// How long answers take, in milliseconds.
    pub latency_ms: u64,
}

/// How a picture comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompatDelivery {
    /// As a link.
    Url,
    /// In the answer.
    B64Json,
}

impl Default for OpenAi {
    fn default() -> Self {
        Self {
            keys: vec![OpenAiKey::new("sim-openai", Vec::new())],
            limits: OpenAiLimits::default(),
            latency_ms: OpenAiLatency::default(),
            models: models(),
            as_of: Some("2026-11-23".to_owned()),
            moderation: super::refused_words(),
            moderation_output: Vec::new(),
            auto_size: "1024x1024".to_owned(),
            image_bucket: "input-images".to_owned(),
            batch: Batch::default(),
            compat: Compat::default(),
        }
    }
}

impl Default for OpenAiLimits {
    fn default() -> Self {
        Self {
            concurrency: 32,
            image: ImageLimits::default(),
            speech: SpeechLimits::default(),
        }
    }
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: 3000,
            images_per_minute: 3000,
            tokens_per_minute: 30_000_000,
        }
    }
}

impl Default for SpeechLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: 3000,
            tokens_per_minute: 8_000_000,
        }
    }
}

impl Default for OpenAiLatency {
    fn default() -> Self {
        Self {
            image: 300,
            speech: 150,
            models: 10,
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            validating_ms: 500,
            line_ms: 50,
            finalizing_ms: 200,
            cancelling_ms: 200,
            expires_ms: 24 * 3600 * 1000,
            models: ["gpt-image-2", "gpt-image-2-2026-04-21", "gpt-image-1.5"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            models: ["local-image", "local-tts"].map(str::to_owned).to_vec(),
            keys: Vec::new(),
            delivery: CompatDelivery::Url,
            latency_ms: 100,
        }
    }
}

/// The models of the calendar in `openai.md` section 0.
fn models() -> Vec<OpenAiModel> {
    [
        ("dall-e-2", "dall-e-2", Some("2026-05-12")),
        ("dall-e-3", "dall-e-3", Some("2026-05-12")),
        ("gpt-image-1", "gpt-image-1", Some("2026-10-23")),
        ("gpt-image-1-mini", "gpt-image-1-mini", Some("2026-12-01")),
        ("gpt-image-1.5", "gpt-image-1.5", Some("2026-12-01")),
        ("gpt-image-1.5-2025-12-16", "gpt-image-1.5", Some("2026-12-01")),
        ("chatgpt-image-latest", "gpt-image-1.5", Some("2026-12-01")),
        ("gpt-image-2", "gpt-image-2", None),
        ("gpt-image-2-2026-04-21", "gpt-image-2", None),
        ("gpt-image-2.5-sunburst", "gpt-image-2.5", None),
        ("gpt-image-2.5-sunburst-2026-09-08", "gpt-image-2.5", None),
        ("gpt-image-2.5-flare", "gpt-image-2.5", None),
        ("gpt-image-2.5-flare-2026-09-08", "gpt-image-2.5", None),
        ("gpt-image-2.6-sunburst", "gpt-image-2.6", None),
        ("gpt-image-2.6-flare", "gpt-image-2.6", None),
        ("tts-1", "tts-1", Some("2027-01-06")),
        ("tts-1-hd", "tts-1-hd", Some("2027-01-06")),
        ("gpt-4o-mini-tts", "gpt-4o-mini-tts", Some("2027-01-06")),
        (
            "gpt-4o-mini-tts-2025-03-20",
            "gpt-4o-mini-tts",
            Some("2027-01-06"),
        ),
        (
            "gpt-4o-mini-tts-2025-12-15",
            "gpt-4o-mini-tts",
            Some("2027-01-06"),
        ),
        ("gpt-realtime-2.1-mini", "other", None),
    ]
    .into_iter()
    .map(|(id, family, shutdown)| OpenAiModel {
        id: id.to_owned(),
        family: family.to_owned(),
        shutdown_date: shutdown.map(str::to_owned),
    })
    .collect()
}
