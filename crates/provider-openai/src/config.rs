//! The configuration of one OpenAI account or compatible server.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use media_core::{
    Error, Format, ImageRules, Limits, Prices, Result, RetrySettings, ServiceSettings, Size, Span, Timeouts,
    Usd, check_base_url, read_shipped, undated,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// The limit group of pictures.
pub(crate) const IMAGE_GROUP: &str = "image";
/// The limit group of speech.
pub(crate) const SPEECH_GROUP: &str = "speech";
/// The limit group of everything about batches, which the service counts apart.
pub(crate) const BATCH_GROUP: &str = "batch";

/// `config/providers/openai.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenAiConfig {
    /// Where the service is, up to and including `/v1` (which is added to a bare host).
    pub base_url: Url,
    /// How it wants to see the key.
    #[serde(default)]
    pub auth: Authorization,
    /// Sent with every call as query parameters, such as Azure's `api-version`.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// The `OpenAI-Organization` header.
    #[serde(default)]
    pub organization: Option<String>,
    /// The `OpenAI-Project` header.
    #[serde(default)]
    pub project: Option<String>,
    /// A server of one's own: nothing is ever billed, so everything may be asked again.
    #[serde(default)]
    pub free: bool,
    /// Pictures; without it this instance makes none.
    #[serde(default)]
    pub image: Option<ImageConfig>,
    /// Speech; without it this instance makes none.
    #[serde(default)]
    pub speech: Option<SpeechConfig>,
    /// How many at once, per minute, per day.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retry: RetrySettings,
    /// How the Batch API is used; without it this instance has none.
    #[serde(default)]
    pub batch: Option<BatchConfig>,
    /// What things cost.
    pub prices: Prices,
    /// How long before its end a connection test warns of a model in `prices.shut_down`.
    #[serde(default)]
    pub shutdown_notice: Option<Span>,
    /// Whether a file that an earlier run made for an equal request is copied instead of made again.
    #[serde(default)]
    pub reuse: bool,
}

/// How the service wants to see its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Authorization {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `api-key: KEY`, as Azure has it.
    ApiKey,
}

/// Which parameters the image models of a server understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// The GPT image models: `output_format`, `background`, ...; always answered as base64.
    GptImage,
    /// The older form that compatible servers speak: `response_format`, `style`; always PNG.
    DallE,
}

/// How pictures are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// One answer, when the picture is done.
    #[default]
    Direct,
    /// Server-sent events: the answer begins at once, so that proxies which cut silent connections let it live.
    Stream,
    /// In files by the Batch API: half the price, within 24 hours.
    Batch,
}

/// `batch`: how the Batch API is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Models that can be asked in batches.
    pub models: Vec<String>,
    /// Pictures in one file: its result holds all of them, so that it must be small enough to be fetched in one go.
    pub images_per_file: NonZeroUsize,
    /// The most bytes of one file of requests.
    pub file_size: Size,
    /// The wait before it is first asked how a batch stands.
    pub first_poll: Span,
    /// The longest wait between two such questions.
    pub max_poll: Span,
    /// By what the wait grows each time.
    pub poll_growth: f64,
    /// Pages of the account's list of batches, of 100 each, that are looked through for one whose id is not known.
    pub list_pages: NonZeroU32,
    /// How long the service may take, in whole hours.
    pub completion_window: Span,
    /// After this long a batch that the account does not list counts as never created, and a line that a finished batch
    /// says nothing of as lost.
    pub lost_after: Span,
    /// What a batch costs of the listed prices: a share, 0 to 1.
    pub price_factor: f64,
    /// Whether a run waits for its batches; else a later run fetches them.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
}

/// How a server of the older dialect gives its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// In the answer.
    #[default]
    B64Json,
    /// As a link.
    Url,
}

/// `image`. What is null or left out is not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Which parameters the models understand.
    pub dialect: Dialect,
    /// The model id.
    pub model: String,
    /// What the models can give.
    pub formats: Vec<Format>,
    /// Those of them that `output_compression` is sent for.
    #[serde(default)]
    pub compressed_formats: Vec<Format>,
    /// Those of them that can be transparent.
    #[serde(default)]
    pub transparent_formats: Vec<Format>,
    /// `auto` or `WxH` in pixels.
    #[serde(default)]
    pub size: Option<String>,
    /// `low`, `medium`, `high`, ...
    #[serde(default)]
    pub quality: Option<String>,
    /// `opaque`, `transparent` or `auto`.
    #[serde(default)]
    pub background: Option<String>,
    /// `auto` or `low`.
    #[serde(default)]
    pub moderation: Option<String>,
    /// How little is thrown away, 0 to 100; sent for `compressed_formats` only.
    #[serde(default)]
    pub output_compression: Option<u8>,
    /// `vivid` or `natural`; the older dialect only.
    #[serde(default)]
    pub style: Option<String>,
    /// The older dialect only.
    #[serde(default)]
    pub response_format: ResponseFormat,
    /// How pictures are delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// Unfinished pictures on the way, with streams only: they break long silences and are never the result.
    #[serde(default)]
    pub partial_images: u8,
    /// The most of them that can be asked for.
    #[serde(default)]
    pub max_partial_images: u8,
    /// What each of them takes of the output tokens.
    #[serde(default)]
    pub tokens_per_partial: u64,
    /// What `output_compression` may be: the least and the most. Without it the service judges.
    #[serde(default)]
    pub compression_range: Option<[i64; 2]>,
    /// The longest prompt.
    pub max_characters: usize,
    /// What sizes which models draw.
    #[serde(default)]
    pub rules: Vec<ImageRules>,
}

/// `speech`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SpeechConfig {
    /// The model id.
    pub model: String,
    /// The voice's name, or `voice_...` for a custom one.
    pub voice: String,
    /// How to speak.
    #[serde(default)]
    pub instructions: Option<String>,
    /// How fast to speak: 1 is as the voice does.
    #[serde(default)]
    pub speed: Option<f64>,
    /// The slowest and the fastest that may be asked for; without it the service alone decides.
    #[serde(default)]
    pub speed_range: Option<[f64; 2]>,
    /// What the models can give.
    pub formats: Vec<Format>,
    /// The longest text.
    pub max_characters: usize,
    /// The longest instructions; without it the service alone decides.
    #[serde(default)]
    pub max_instruction_characters: Option<usize>,
    /// What models take; the service alone decides about those that no rule is for.
    #[serde(default)]
    pub rules: Vec<SpeechRules>,
}

/// `speech.rules`: what a model takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SpeechRules {
    /// The models it is for, by how their id begins; the first rule that fits counts.
    pub model: String,
    /// All of its voices, the custom ones apart; none named means that the service decides.
    #[serde(default)]
    pub voices: Vec<String>,
    /// The most tokens of text, estimated: what is longer may come back cut off, and paid.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// Whether it can be told how to speak.
    #[serde(default = "yes")]
    pub instructions: bool,
}

impl BatchConfig {
    /// Whether a model, or the one that it is a snapshot of, takes batches.
    pub(crate) fn takes(&self, model: &str) -> bool {
        let is_named = |name: &str| self.models.iter().any(|known| known == name);
        is_named(model) || undated(model).is_some_and(is_named)
    }
}

impl Default for OpenAiConfig {
    /// The shipped configuration.
    fn default() -> OpenAiConfig {
        #[expect(clippy::expect_used, reason = "compiled in, and read by a test")]
        read_shipped(crate::SHIPPED).expect("the shipped configuration fits its type")
    }
}

impl OpenAiConfig {
    /// For another server: `http://127.0.0.1:8080/v1`.
    #[must_use]
    pub fn base_url(mut self, base_url: Url) -> OpenAiConfig {
        self.base_url = base_url;
        self
    }

    /// Checks everything that types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](media_core::ErrorKind::Config) naming the key.
    pub fn validate(&self) -> Result<()> {
        check_base_url(&self.base_url)?;
        self.timeouts.check()?;
        self.retry.check()?;
        self.limits.check(&[
            (IMAGE_GROUP, &["requests", "images", "tokens"]),
            (SPEECH_GROUP, &["requests", "tokens"]),
            (BATCH_GROUP, &["requests"]),
        ])?;
        match self.contradiction() {
            Some(what) => Err(Error::config(what)),
            None => Ok(()),
        }
    }

    /// What does not fit together.
    fn contradiction(&self) -> Option<&'static str> {
        let speeds = self.speech.as_ref().and_then(|speech| speech.speed_range);
        if speeds.is_some_and(|[least, most]| least > most) {
            return Some("speech.speed_range is the slowest and then the fastest");
        }
        if let Some(batch) = &self.batch {
            if !(0.0..=1.0).contains(&batch.price_factor) {
                return Some("batch.price_factor is 0 to 1");
            }
            if batch.first_poll.0.is_zero() || batch.first_poll > batch.max_poll {
                return Some("batch.first_poll is more than nothing and at most batch.max_poll");
            }
            if !(1.0..=10.0).contains(&batch.poll_growth) {
                return Some("batch.poll_growth is 1 to 10");
            }
            let window = batch.completion_window.0.as_secs();
            if window == 0 || !window.is_multiple_of(3600) {
                return Some("batch.completion_window is one or more whole hours");
            }
        }
        let image = self.image.as_ref()?;
        if let Some([least, most]) = image.compression_range {
            if least > most {
                return Some("image.compression_range is the least and then the most");
            }
            let level = image.output_compression.map(i64::from);
            if level.is_some_and(|level| !(least..=most).contains(&level)) {
                return Some("image.output_compression is not within image.compression_range");
            }
        }
        if image.delivery == Delivery::Stream && image.dialect == Dialect::DallE {
            return Some(
                "image.delivery \"stream\" needs image.dialect \"gpt-image\": the older one has no streams",
            );
        }
        if image.partial_images > 0 && image.delivery != Delivery::Stream {
            return Some("image.partial_images needs image.delivery \"stream\"");
        }
        if image.delivery == Delivery::Batch && self.batch.is_none() {
            return Some("image.delivery \"batch\" needs a \"batch\" section");
        }
        (image.partial_images > image.max_partial_images)
            .then_some("image.partial_images is more than image.max_partial_images")
    }

    /// How pictures are asked for in batches, if they are.
    pub(crate) fn in_batches(&self) -> Option<&BatchConfig> {
        let image = self.image.as_ref()?;
        self.batch.as_ref().filter(|_| image.delivery == Delivery::Batch)
    }

    /// The prices: what models are expected to cost that are asked in batches. What a result did cost is told with it.
    fn prices(&self) -> Prices {
        let mut prices = self.prices.clone();
        let Some(batch) = self.in_batches() else {
            return prices;
        };
        let in_batches = |when: &BTreeMap<String, serde_json::Value>| {
            let model = when.get("model").and_then(serde_json::Value::as_str);
            model.is_some_and(|model| batch.takes(model))
        };
        for row in prices.items.iter_mut().filter(|row| in_batches(&row.when)) {
            let dollars = row.usd.dollars() * batch.price_factor;
            row.usd = Usd::from_dollars(dollars).unwrap_or(row.usd);
        }
        prices
    }

    /// What core needs to know.
    #[must_use]
    pub fn settings(&self) -> ServiceSettings {
        ServiceSettings {
            limits: self.limits.clone(),
            timeouts: self.timeouts,
            retry: self.retry,
            prices: self.prices(),
            reuse: self.reuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_fits_and_its_default_sizes_have_prices() {
        let config = OpenAiConfig::default();
        let image = config.image.unwrap();
        assert_eq!(image.dialect, Dialect::GptImage);
        assert!(
            config
                .prices
                .items
                .iter()
                .any(|row| row.when.get("model").is_some_and(|m| *m == image.model))
        );
        assert!(!config.prices.shut_down.contains_key(&image.model));
    }
}
