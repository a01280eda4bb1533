//! The Runware part of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Runware.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Runware {
    /// The valid keys.
    pub keys: Vec<RunwareKey>,
    /// Limits per key, all enforced.
    pub limits: RunwareLimits,
    /// How long generations take.
    pub latency_ms: RunwareLatency,
    /// The known models by AIR.
    pub models: BTreeMap<String, RunwareModel>,
    /// A prompt or text with one of these words ends in `contentPolicyViolation`; not charged.
    pub moderation: Vec<String>,
    /// With `safety.checkContent`, a prompt with one of these words gets `NSFWContent: true`.
    pub nsfw: Vec<String>,
    /// What `getResponse` and `getTaskDetails` say of a task they do not know.
    pub unknown_task: UnknownTask,
    /// The status of a body with both `data` and `errors`.
    pub mixed_status: u16,
    /// How `accountManagement` writes the balance.
    pub balance_shape: Shape,
    /// How long media links live without `ttl`, in seconds.
    pub media_ttl_s: u64,
    /// How many tasks one request may hold.
    pub max_tasks: usize,
}

/// A key and the account behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunwareKey {
    /// The key.
    pub key: String,
    /// The credit to begin with.
    pub balance_usd: f64,
    /// What is wrong with it.
    #[serde(default)]
    pub traits: Vec<RunwareTrait>,
}

impl RunwareKey {
    /// A key with a balance.
    #[must_use]
    pub fn new(key: impl Into<String>, balance_usd: f64, traits: Vec<RunwareTrait>) -> Self {
        Self {
            key: key.into(),
            balance_usd,
            traits,
        }
    }
}

/// What may be wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunwareTrait {
    /// 403 on every generation.
    NoInference,
    /// 403 on `accountManagement`.
    NoAccount,
}

/// Limits per key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunwareLimits {
    /// Requests in work at the same time; more get 429 `rateLimitExceeded`.
    pub concurrency: usize,
    /// Generations accepted and not finished; more get 429 `inferenceRateLimitExceeded`.
    pub queue: usize,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunwareLatency {
    /// A picture.
    pub image: u64,
    /// Speech.
    pub audio: u64,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RunwareModel {
    /// "imageInference" or "audioInference".
    pub task_type: String,
    /// Price of a result.
    pub usd: f64,
    /// Added per 1000 characters of text.
    pub usd_per_1000_chars: f64,
    /// Prices by `providerSettings.openai.quality` instead.
    pub usd_by_quality: BTreeMap<String, f64>,
    /// How far the price of a result is off the usual one, up or down, by its content: 0.5 is up to half.
    pub usd_spread: f64,
    /// Run by a partner: needs a balance of 5 USD.
    pub partner: bool,
    /// Smallest width and height.
    pub min_side: u64,
    /// Largest width and height.
    pub max_side: u64,
    /// Width and height are multiples of this.
    pub step: u64,
    /// The longest prompt or text, in characters.
    pub max_prompt: usize,
    /// Parameters of the generic reference that its own schema lacks: `unsupportedParameter`.
    pub lacks: Vec<String>,
}

/// What is said of an unknown task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownTask {
    /// `{"data":[]}`, as for a task that is still running.
    Empty,
    /// An error `taskNotFound`, 404.
    NotFound,
}

/// How a balance is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `126.95`
    Number,
    /// `{"amount":126.95,"currency":"USD"}`
    Object,
}

impl Default for Runware {
    fn default() -> Self {
        Self {
            keys: vec![RunwareKey::new("sim-runware", 1000.0, Vec::new())],
            limits: RunwareLimits::default(),
            latency_ms: RunwareLatency::default(),
            models: models(),
            moderation: super::refused_words(),
            nsfw: ["nude", "naked"].map(str::to_owned).to_vec(),
            unknown_task: UnknownTask::Empty,
            mixed_status: 200,
            balance_shape: Shape::Number,
            media_ttl_s: 7 * 24 * 3600,
            max_tasks: 100,
        }
    }
}

impl Default for RunwareLimits {
    fn default() -> Self {
        Self {
            concurrency: 8,
            queue: 500,
        }
    }
}

impl Default for RunwareLatency {
    fn default() -> Self {
        Self {
            image: 300,
            audio: 300,
        }
    }
}

impl Default for RunwareModel {
    /// The ranges of the generic reference: 128..2048 in steps of 64, prompts of 2..3000 characters.
    fn default() -> Self {
        Self {
            task_type: "imageInference".to_owned(),
            usd: 0.0013,
            usd_per_1000_chars: 0.0,
            usd_by_quality: BTreeMap::new(),
            usd_spread: 0.0,
            partner: false,
            min_side: 128,
            max_side: 2048,
            step: 64,
            max_prompt: 3000,
            lacks: Vec::new(),
        }
    }
}

/// What diffusion models are told, and a model that reads prompts is not.
const NOT_OF_GPT: [&str; 8] = [
    "negativePrompt",
    "steps",
    "scheduler",
    "CFGScale",
    "clipSkip",
    "promptWeighting",
    "vae",
    "lora",
];

/// The models of `runware.md` section 9. Prices that are not written there are invented, round and small.
fn models() -> BTreeMap<String, RunwareModel> {
    let image = |usd: f64, step: u64| RunwareModel {
        usd,
        step,
        ..RunwareModel::default()
    };
    let partner = |usd: f64| RunwareModel {
        usd,
        step: 16,
        partner: true,
        ..RunwareModel::default()
    };
    let speech = |usd_per_1000_chars: f64, partner: bool| RunwareModel {
        task_type: "audioInference".to_owned(),
        usd: 0.0,
        usd_per_1000_chars,
        partner,
        max_prompt: 10_000,
        ..RunwareModel::default()
    };
    let gpt = RunwareModel {
        usd: 0.053,
        usd_by_quality: [("low", 0.006), ("medium", 0.053), ("high", 0.211)]
            .map(|(quality, usd)| (quality.to_owned(), usd))
            .into(),
        partner: true,
        min_side: 480,
        max_side: 3840,
        step: 16,
        max_prompt: 32_000,
        lacks: NOT_OF_GPT.map(str::to_owned).to_vec(),
        ..RunwareModel::default()
    };
    [
        ("runware:100@1", image(0.0006, 64)),
        ("runware:101@1", image(0.0013, 64)),
        ("runware:97@1", image(0.009, 64)),
        ("runware:106@1", image(0.0105, 64)),
        ("runware:108@1", image(0.0058, 64)),
        ("runware:400@1", image(0.0051, 16)),
        ("runware:400@2", image(0.000_78, 16)),
        ("runware:400@4", image(0.0006, 16)),
        ("runware:z-image@turbo", image(0.0006, 16)),
        ("bfl:5@1", partner(0.03)),
        ("bfl:6@1", partner(0.06)),
        ("bfl:7@1", partner(0.07)),
        ("google:4@3", partner(0.15)),
        ("openai:gpt-image@2", gpt),
        ("inworld:tts@2", speech(0.01, true)),
        ("minimax:speech@2.8", speech(0.06, true)),
        ("xai:tts@0", speech(0.005, true)),
        ("alibaba:qwen@3-tts-1.7b-customvoice", speech(0.01, true)),
        // Not in the reference: an own model, so that speech works on a small balance.
        ("runware:tts@1", speech(0.01, false)),
    ]
    .into_iter()
    .map(|(air, model)| (air.to_owned(), model))
    .collect()
}
