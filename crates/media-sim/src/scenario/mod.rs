//! The scenario: keys, limits, latencies, prices and habits of the simulated services, all with defaults.

mod forvo;
mod openai;
mod runware;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

pub use forvo::{Forvo, ForvoKey, ForvoLatency, ForvoLimits, ForvoNotFound};
pub use openai::{
    Batch, Compat, CompatDelivery, ImageLimits, OpenAi, OpenAiKey, OpenAiLatency, OpenAiLimits, OpenAiModel,
    OpenAiTrait, SpeechLimits,
};
pub use runware::{
    Runware, RunwareKey, RunwareLatency, RunwareLimits, RunwareModel, RunwareTrait, Shape, UnknownTask,
};

/// A scenario. `Default` is the demo: generous limits, short latencies, the three `sim-*` keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Scenario {
    /// The simulator's time.
    pub clock: Clock,
    /// The media it makes.
    pub media: Media,
    /// OpenAI, and the server that resembles it.
    pub openai: OpenAi,
    /// Runware.
    pub runware: Runware,
    /// Forvo.
    pub forvo: Forvo,
    /// Faults armed from the start.
    pub faults: Vec<Fault>,
}

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the scenario is not valid")]
pub struct ScenarioError(#[from] serde_json::Error);

impl Scenario {
    /// Reads a scenario; whatever is left out has its default, and an unknown field is an error.
    ///
    /// # Errors
    /// When the text is no JSON, or a field is unknown or has the wrong type.
    pub fn from_json(text: &str) -> Result<Self, ScenarioError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The demo without latencies and with plain pictures: for benchmarks and tests in a hurry.
    #[must_use]
    pub fn instant() -> Self {
        let mut scenario = Self::default();
        scenario.media.picture = Picture::Plain;
        scenario.openai.latency_ms = OpenAiLatency {
            image: 0,
            speech: 0,
            models: 0,
        };
        scenario.openai.limits.image = ImageLimits {
            requests_per_minute: 10_000_000,
            images_per_minute: 10_000_000,
            tokens_per_minute: 1 << 40,
        };
        scenario.openai.limits.speech = SpeechLimits {
            requests_per_minute: 10_000_000,
            tokens_per_minute: 1 << 40,
        };
        scenario.openai.batch.validating_ms = 0;
        scenario.openai.batch.line_ms = 0;
        scenario.openai.batch.finalizing_ms = 0;
        scenario.openai.batch.cancelling_ms = 0;
        scenario.openai.limits.concurrency = 1000;
        scenario.runware.latency_ms = RunwareLatency { image: 0, audio: 0 };
        scenario.runware.limits = RunwareLimits {
            concurrency: 1000,
            queue: 1_000_000,
        };
        scenario.forvo.latency_ms = ForvoLatency { lookup: 0, audio: 0 };
        scenario.forvo.limits = ForvoLimits {
            concurrency: 1000,
            requests_per_minute: 10_000_000,
        };
        for key in &mut scenario.forvo.keys {
            key.requests_per_day = 10_000_000;
        }
        scenario
    }
}

/// The simulator's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Clock {
    /// When the simulator believes to start, in milliseconds since 1970; `null` is the real time.
    pub start_unix_ms: Option<u64>,
}

/// The media that is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Media {
    /// What pictures look like.
    pub picture: Picture,
    /// Pictures are padded with a chunk that decoders skip to at least about this many bytes; 0 = not at all.
    pub bytes: u64,
}

/// What pictures look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// The prompt as text over a colour derived from it.
    #[default]
    Text,
    /// One colour; the pixels are made once per size and format, so this is cheap.
    Plain,
}

/// The default words that a provider refuses in a prompt.
pub(crate) fn refused_words() -> Vec<String> {
    ["forbidden", "gore", "bloody"].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_default_and_nothing_is_ignored() {
        assert_eq!(Scenario::from_json("{}").unwrap(), Scenario::default());
        assert!(Scenario::from_json(r#"{"openai":{"latencyms":1}}"#).is_err());
        let scenario = Scenario::from_json(r#"{"runware":{"latency_ms":{"image":5}}}"#).unwrap();
        assert_eq!(
            (
                scenario.runware.latency_ms.image,
                scenario.runware.latency_ms.audio
            ),
            (5, 300)
        );
        let text = serde_json::to_string(&Scenario::default()).unwrap();
        assert_eq!(Scenario::from_json(&text).unwrap(), Scenario::default());
    }

    #[test]
    fn the_readme_shows_the_defaults() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```json scenario\n").unwrap();
        let (json, _) = rest.split_once("```").unwrap();
        assert_eq!(Scenario::from_json(json).unwrap(), Scenario::default());
    }

    #[test]
    fn the_readmes_faults_can_be_armed() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("```json faults\n").unwrap();
        let (json, _) = rest.split_once("```").unwrap();
        let faults: Vec<Fault> = serde_json::from_str(json).unwrap();
        assert!(faults.len() > 15);
    }
}
