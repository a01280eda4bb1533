//! The configuration of one Runware account, as it stands in `config/providers/runware.json`.

use std::num::{NonZeroU32, NonZeroUsize};

use media_core::{
    Error, Format, ImageRules, Limits, MediaKind, Prices, Result, RetrySettings, ServiceSettings, Span,
    Timeouts, Usd, check_base_url, read_shipped,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// The limit group of pictures.
pub(crate) const IMAGE_GROUP: &str = "image";
/// The limit group of speech.
pub(crate) const SPEECH_GROUP: &str = "speech";
/// The limit group of questions about results.
pub(crate) const POLL_GROUP: &str = "poll";

/// Everything that can be set about Runware beside its key.
///
/// [`Default`] is the shipped file. A key that is missing from a file is an error, never a silent default; those that
/// may be left out say so here by their `serde(default)`: then there is no such thing, or the service decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunwareConfig {
    /// The one address that takes all tasks.
    pub base_url: Url,
    /// What pictures are made with unless a request says otherwise.
    pub image: ImageDefaults,
    /// What speech is made with unless a request says otherwise.
    pub speech: SpeechDefaults,
    /// How results come back.
    pub delivery: Delivery,
    /// Tasks in one call. How many Runware takes is documented nowhere; small groups are advised.
    pub tasks_per_request: NonZeroUsize,
    /// How long Runware is trusted to remember a taskUUID; a lost submit is sent again only within it.
    pub resend_window: Span,
    /// `test_connection` warns below this balance. Models of partners want 5 USD or a paid invoice.
    pub minimum_balance_usd: Usd,
    /// The sizes that models draw; the first entry whose `model` the id begins with counts.
    pub image_rules: Vec<ImageRules>,
    /// How long prompts for pictures may be; the first entry whose `model` the id begins with counts.
    pub prompt_rules: Vec<PromptRules>,
    /// What other parameters of pictures may be; the first entry whose `model` the id begins with counts. Without one the
    /// service alone decides.
    #[serde(default)]
    pub parameter_rules: Vec<ParameterRules>,
    /// How many calls at once, per minute, per day. Groups: `image`, `speech`, and `poll` for questions about results.
    pub limits: Limits,
    /// How long to wait. `total` also bounds the wait for the result of an accepted task.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retry: RetrySettings,
    /// Estimates. Runware reports what each result cost, so these only plan and reserve.
    pub prices: Prices,
    /// Whether a file that an earlier run made for an equal request is copied instead of made again.
    #[serde(default)]
    pub reuse: bool,
}

/// `image`: defaults for pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageDefaults {
    /// The model as an AIR: `source:id@version`.
    pub model: String,
    /// The formats that can be asked for.
    pub formats: Vec<Format>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Steps, for this model only: a request for another model leaves them to that model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// How closely the prompt is followed, for this model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cfg_scale: Option<f64>,
    /// The scheduler, for this model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// The compression of JPEG and WebP; without it Runware's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u32>,
    /// Have results looked at for unsafe content.
    pub check_content: bool,
    /// What becomes of a picture that the check flags.
    pub when_flagged: WhenFlagged,
}

/// What becomes of a picture that Runware's content check flags. It only flags: the picture is made and billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenFlagged {
    /// It is delivered, and the result carries a warning.
    Warn,
    /// The request fails as rejected content, although it was billed.
    Reject,
}

/// `speech`: defaults for speech.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SpeechDefaults {
    /// The model as an AIR.
    pub model: String,
    /// The formats that can be asked for.
    pub formats: Vec<Format>,
    /// The voice, for this model only: another model has other voices, so a request for one must name its own.
    pub voice: String,
}

/// `delivery`: how results come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Ask for results until they are there, or hold the connection open for them.
    pub mode: Mode,
    /// From the acceptance to the first question.
    pub first_poll: Span,
    /// The longest pause between two questions.
    pub max_poll: Span,
    /// By what the pause grows each time.
    pub poll_growth: f64,
    /// How often a task that the service does not know is asked about before it counts as never made, and is sent again where
    /// that was wanted. Fewer questions than the service takes to know its tasks may buy one twice.
    pub unknown_rounds: NonZeroU32,
    /// How often at least a task is asked about that is still in progress.
    pub least_rounds: u32,
    /// Whether results come as links or in the answer itself.
    pub output: Output,
    /// How long links live; Runware's own default when null or absent.
    #[serde(default)]
    pub keep_url: Option<Span>,
    /// The shortest that it can be asked for; without it the service judges.
    #[serde(default)]
    pub shortest_keep_url: Option<Span>,
}

/// How results are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Accepted at once, fetched when ready. Survives every loss of connection.
    Async,
    /// The answer waits for the results.
    Sync,
}

/// How media come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// A link to download.
    Url,
    /// Base64 inside the answer.
    Base64,
}

/// How long a prompt may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PromptRules {
    /// The models it is for, by how their id begins; empty fits all.
    pub model: String,
    /// The fewest characters.
    pub min_characters: usize,
    /// The most characters.
    pub max_characters: usize,
}

/// The least and the most that parameters may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ParameterRules {
    /// The models it is for, by how their id begins; empty fits all.
    pub model: String,
    /// The steps.
    #[serde(default)]
    pub steps: Option<[i64; 2]>,
    /// The compression of JPEG and WebP.
    #[serde(default)]
    pub quality: Option<[i64; 2]>,
    /// How closely the prompt is followed.
    #[serde(default)]
    pub cfg_scale: Option<[f64; 2]>,
    /// The seed.
    #[serde(default)]
    pub seed: Option<[i64; 2]>,
}

impl Default for RunwareConfig {
    /// The shipped configuration.
    fn default() -> RunwareConfig {
        #[expect(clippy::expect_used, reason = "compiled in, and read by a test")]
        read_shipped(crate::SHIPPED).expect("the shipped configuration is readable")
    }
}

impl RunwareConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](media_core::ErrorKind::Config) naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::config(message));
        check_base_url(&self.base_url)?;
        self.timeouts.check()?;
        self.retry.check()?;
        self.limits.check(&[
            (IMAGE_GROUP, &["requests", "images"]),
            (SPEECH_GROUP, &["requests"]),
            (POLL_GROUP, &["requests"]),
        ])?;
        if self.delivery.first_poll.0.is_zero() || self.delivery.first_poll > self.delivery.max_poll {
            return refuse(
                "delivery.first_poll: more than nothing and at most max_poll is wanted".to_owned(),
            );
        }
        if let Some(keep) = self.delivery.keep_url
            && let Some(least) = self.delivery.shortest_keep_url
            && keep < least
        {
            return refuse("delivery.keep_url: it is less than delivery.shortest_keep_url".to_owned());
        }
        if !(1.0..=10.0).contains(&self.delivery.poll_growth) {
            return refuse("delivery.poll_growth: 1 to 10 is wanted".to_owned());
        }
        let reversed = |rule: &ParameterRules| {
            let whole = [rule.steps, rule.quality, rule.seed].into_iter().flatten();
            whole.into_iter().any(|[least, most]| least > most)
                || rule.cfg_scale.is_some_and(|[least, most]| least > most)
        };
        if self.parameter_rules.iter().any(reversed) {
            return refuse("parameter_rules: the least comes before the most".to_owned());
        }
        if self
            .prompt_rules
            .iter()
            .any(|rule| rule.min_characters > rule.max_characters)
        {
            return refuse("prompt_rules: min_characters is more than max_characters".to_owned());
        }
        for (key, kind, formats) in [
            ("image.formats", MediaKind::Image, &self.image.formats),
            ("speech.formats", MediaKind::Audio, &self.speech.formats),
        ] {
            if let Some(stray) = formats.iter().find(|format| format.kind() != kind) {
                return refuse(format!("{key}: {stray} is not of that kind"));
            }
            if formats.is_empty() {
                return refuse(format!("{key}: at least one is wanted"));
            }
        }
        for (key, model) in [
            ("image.model", &self.image.model),
            ("speech.model", &self.speech.model),
        ] {
            if !is_air(model) {
                return refuse(format!(
                    "{key}: {model:?} is not an AIR; write it like source:id@version"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn settings(&self) -> ServiceSettings {
        ServiceSettings {
            limits: self.limits.clone(),
            timeouts: self.timeouts,
            retry: self.retry,
            prices: self.prices.clone(),
            reuse: self.reuse,
        }
    }
}

/// Whether a model id has the form `source:id@version`.
pub(crate) fn is_air(model: &str) -> bool {
    model.split_once(':').is_some_and(|(source, rest)| {
        !source.is_empty()
            && rest
                .split_once('@')
                .is_some_and(|(id, version)| !id.is_empty() && !version.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_complete_and_valid() {
        let config = RunwareConfig::default();
        config.validate().unwrap();
        assert_eq!(config.image.model, "runware:100@1");
        assert_eq!(config.tasks_per_request.get(), 8);
        assert_eq!(config.prices.items.len(), 6);
    }

    #[test]
    fn unknown_and_missing_keys_are_errors() {
        let mut value = serde_json::to_value(RunwareConfig::default()).unwrap();
        value["image"]["size"] = "1x1".into();
        let error = serde_json::from_value::<RunwareConfig>(value.clone()).unwrap_err();
        assert!(error.to_string().contains("unknown field `size`"), "{error}");
        value["image"].as_object_mut().unwrap().remove("size");
        value.as_object_mut().unwrap().remove("resend_window");
        let error = serde_json::from_value::<RunwareConfig>(value).unwrap_err();
        assert!(
            error.to_string().contains("missing field `resend_window`"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |change: fn(&mut RunwareConfig)| {
            let mut config = RunwareConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(refused(|c| c.delivery.first_poll = Span::secs(60)).starts_with("delivery.first_poll"));
        assert!(refused(|c| c.delivery.keep_url = Some(Span::secs(59))).starts_with("delivery.keep_url"));
        assert!(refused(|c| c.image.formats.clear()).starts_with("image.formats"));
        assert!(refused(|c| c.speech.formats.push(Format::Png)).starts_with("speech.formats"));
        let reversed = refused(|c| c.prompt_rules.iter_mut().for_each(|rule| rule.max_characters = 0));
        assert!(reversed.starts_with("prompt_rules"), "{reversed}");
        assert!(refused(|c| c.image.model = "schnell".into()).starts_with("image.model"));
        assert!(refused(|c| c.parameter_rules[0].steps = Some([100, 1])).starts_with("parameter_rules"));
        assert!(refused(|c| c.base_url = "ws://x/v1".parse().unwrap()).starts_with("base_url"));
    }
}
