//! The settings that every provider has: limits, timeouts, retries. Their values come from configuration.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use crate::error::{Error, Result};
use crate::limit::Window;
use crate::prices::Prices;
use crate::units::{DayStart, Size, Span};

/// What every provider's configuration holds beside its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSettings {
    /// How many at once, per minute, per day.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retry: RetrySettings,
    /// What things cost.
    pub prices: Prices,
    /// Whether a file that an earlier run made for an equal request may be copied instead of made again.
    pub reuse: bool,
}

/// More connections than a machine has ports for to one host are a slip of the pen.
const MOST_AT_ONCE: usize = 10_000;

/// `limits`: how many calls at once, and per group of calls the ceilings of each bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Calls in flight at once. 1 is one after the other.
    pub concurrency: NonZeroUsize,
    /// Downloads in flight at once from media hosts; twice `concurrency` when absent.
    pub downloads: Option<NonZeroUsize>,
    /// Ceilings per group: `image`, `speech`, `audio`.
    pub groups: BTreeMap<String, GroupLimits>,
}

impl Limits {
    pub(crate) fn downloads_at_once(&self) -> usize {
        let calls = self.concurrency.get();
        self.downloads.map_or(calls.saturating_mul(2), NonZeroUsize::get)
    }

    /// Checks that every ceiling is one of something that is counted. `known`: the groups of calls that a provider has, each
    /// with what its calls are counted by. A ceiling under another name would hold nothing back.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the key.
    pub fn check(&self, known: &[(&str, &[&str])]) -> Result<()> {
        let refuse = |key: String, message: String| Err(Error::config(format!("limits.{key}: {message}")));
        for (key, at_once) in [
            ("concurrency", Some(self.concurrency)),
            ("downloads", self.downloads),
        ] {
            if at_once.is_some_and(|at_once| at_once.get() > MOST_AT_ONCE) {
                let message = format!("at most {MOST_AT_ONCE} at once are possible");
                return refuse(key.to_owned(), message);
            }
        }
        for (group, limits) in &self.groups {
            let Some((_, buckets)) = known.iter().find(|(name, _)| name == group) else {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                let message = format!("there is no such group of calls; there is {}", names.join(", "));
                return refuse(group.clone(), message);
            };
            for ceiling in limits.ceilings.keys() {
                let bucket = ceiling
                    .split_once("_per_")
                    .map_or(ceiling.as_str(), |(bucket, _)| bucket);
                if !buckets.contains(&bucket) {
                    let message = format!("these calls are counted by {}", buckets.join(", "));
                    return refuse(format!("{group}.{ceiling}"), message);
                }
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    /// One call at a time, and no other ceiling.
    fn default() -> Limits {
        Limits {
            concurrency: NonZeroUsize::MIN,
            downloads: None,
            groups: BTreeMap::new(),
        }
    }
}

/// The ceilings of one group of calls: `requests_per_minute`, `images_per_minute`, `requests_per_day`, ...
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupLimits {
    ceilings: BTreeMap<String, u64>,
    /// A higher limit that the service reports replaces ours.
    pub raise_to_reported: bool,
    /// When the service's day begins.
    pub day_starts: DayStart,
}

const PERIODS: [(&str, u64); 3] = [("_per_second", 1), ("_per_minute", 60), ("_per_hour", 3600)];

impl GroupLimits {
    /// Sets one ceiling by its configured name, such as `requests_per_minute`. A name without a period is refused.
    #[must_use]
    pub fn with(mut self, name: &str, limit: u64) -> GroupLimits {
        if ceiling_name_is_valid(name) {
            self.ceilings.insert(name.to_owned(), limit);
        }
        self
    }

    /// Takes over the lower ceilings of another description of the same limits, and with that of a day when it begins.
    pub(crate) fn tighten(&mut self, other: &GroupLimits) {
        for (name, limit) in &other.ceilings {
            let is_lower = self.ceilings.get(name).is_none_or(|ours| limit < ours);
            if is_lower {
                self.ceilings.insert(name.clone(), *limit);
            }
            if is_lower && name.ends_with("_per_day") {
                self.day_starts = other.day_starts;
            }
        }
        self.raise_to_reported &= other.raise_to_reported;
    }

    /// The windows to pace by. Days are not among them: they are counted, not paced.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let window = |(name, limit): (&String, &u64)| {
            PERIODS.iter().find_map(|(suffix, seconds)| {
                Some(Window {
                    bucket: name.strip_suffix(suffix)?.to_owned(),
                    limit: *limit,
                    length: Duration::from_secs(*seconds),
                })
            })
        };
        self.ceilings.iter().filter_map(window).collect()
    }

    /// How many of `bucket` a day allows.
    #[must_use]
    pub fn per_day(&self, bucket: &str) -> Option<u64> {
        self.ceilings.get(&format!("{bucket}_per_day")).copied()
    }
}

fn ceiling_name_is_valid(name: &str) -> bool {
    let day = name
        .strip_suffix("_per_day")
        .is_some_and(|bucket| bucket == "requests");
    day || PERIODS
        .iter()
        .any(|(suffix, _)| name.strip_suffix(suffix).is_some_and(|bucket| !bucket.is_empty()))
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Limits;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with \"concurrency\" and one object per group of calls")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Limits, A::Error> {
                let mut concurrency = None;
                let mut downloads = None;
                let mut groups = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "concurrency" => concurrency = Some(map.next_value()?),
                        "downloads" => downloads = map.next_value()?,
                        _ => {
                            groups.insert(key, map.next_value()?);
                        }
                    }
                }
                let concurrency = concurrency.ok_or_else(|| A::Error::missing_field("concurrency"))?;
                Ok(Limits {
                    concurrency,
                    downloads,
                    groups,
                })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("concurrency", &self.concurrency)?;
        if let Some(downloads) = &self.downloads {
            map.serialize_entry("downloads", downloads)?;
        }
        for (group, limits) in &self.groups {
            map.serialize_entry(group, limits)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for GroupLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<GroupLimits, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = GroupLimits;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of ceilings such as \"requests_per_minute\": 60")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GroupLimits, A::Error> {
                let mut limits = GroupLimits::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "raise_to_reported" => limits.raise_to_reported = map.next_value()?,
                        "day_starts" => limits.day_starts = map.next_value()?,
                        name if ceiling_name_is_valid(name) => {
                            // null takes back a ceiling of a lower layer; 0 would be one that nothing ever gets under.
                            if let Some(limit) = map.next_value::<Option<NonZeroU64>>()? {
                                limits.ceilings.insert(key, limit.get());
                            }
                        }
                        _ => {
                            return Err(A::Error::custom(format!(
                                "unknown limit {key:?}: write BUCKET_per_second, _per_minute or _per_hour (requests, \
                                 images, tokens, ...), requests_per_day, day_starts or raise_to_reported"
                            )));
                        }
                    }
                }
                Ok(limits)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Serialize for GroupLimits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, limit) in &self.ceilings {
            map.serialize_entry(name, limit)?;
        }
        if self.raise_to_reported {
            map.serialize_entry("raise_to_reported", &true)?;
        }
        if self.per_day("requests").is_some() {
            map.serialize_entry("day_starts", &self.day_starts)?;
        }
        map.end()
    }
}

/// `timeouts`: how long to wait for each part of one call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// For the connection.
    #[serde(deserialize_with = "some_time")]
    pub connect: Span,
    /// From the sent request to the head of the answer.
    #[serde(deserialize_with = "some_time")]
    pub first_byte: Span,
    /// Between two pieces of the answer's body.
    #[serde(deserialize_with = "some_time")]
    pub idle: Span,
    /// For the whole call.
    #[serde(deserialize_with = "some_time")]
    pub total: Span,
}

impl Timeouts {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        for (name, limit) in [("first_byte", self.first_byte), ("total", self.total)] {
            if limit <= self.connect {
                return Err(Error::config(format!(
                    "timeouts.{name}: it must be longer than timeouts.connect ({}), or a call that only waits for its connection \
                     would be taken for one that may be billed",
                    humantime::format_duration(self.connect.0)
                )));
            }
        }
        Ok(())
    }
}

/// Checks the address of a service: its scheme, that it names a host, and that nothing stands in it that is not part of
/// every call's address.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the key `base_url`.
pub fn check_base_url(url: &Url) -> Result<()> {
    check_address("base_url", url)
}

/// The same of another address of the configuration, such as a service's website.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) naming `key`.
pub fn check_address(key: &str, url: &Url) -> Result<()> {
    let refuse = |what: &str| Err(Error::config(format!("{key}: {what}")));
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return refuse("an http or https address is wanted, such as https://example.com/path");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a user name or password may not stand in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("nothing but host and path may stand in it");
    }
    Ok(())
}

/// No timeout at all cannot be had: a call that never ends would hold its place for ever. And none of no length: what is
/// given up as soon as it is sent may be billed.
fn some_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    if span.0.is_zero() {
        return Err(serde::de::Error::custom(
            "more than nothing is wanted, such as \"60s\"",
        ));
    }
    Ok(span)
}

impl Default for Timeouts {
    /// 10 s, 5 min, 1 min, 10 min: the longest that the services document.
    fn default() -> Timeouts {
        Timeouts {
            connect: Span::secs(10),
            first_byte: Span::secs(300),
            idle: Span::secs(60),
            total: Span::secs(600),
        }
    }
}

/// `retry`: how often to begin again, and how long to wait in between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetrySettings {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The wait before the second try; it doubles with each further one, with jitter.
    pub first_delay: Span,
    /// The longest wait of our own; what the service asks for is always waited out.
    pub max_delay: Span,
}

impl RetrySettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        if self.attempts == 0 {
            return Err(Error::config(
                "retry.attempts: it counts the first try too, so that 1 is the least",
            ));
        }
        Ok(())
    }

    /// The waits between tries, each about twice the last, with jitter.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        self.growing(2.0)
    }

    /// The waits after refusals for pace. As many, but they grow faster: four tries span a minute, the usual window of a
    /// limit, because a run that begins in the minute of the last one has to wait that out.
    pub(crate) fn delays_of_pace(&self) -> ExponentialBackoff {
        self.growing(7.0)
    }

    fn growing(&self, factor: f32) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay.0)
            .with_max_delay(self.max_delay.0)
            .with_factor(factor)
            .with_max_times(self.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build()
    }
}

impl Default for RetrySettings {
    /// 4 tries, from 1 s to 60 s.
    fn default() -> RetrySettings {
        RetrySettings {
            attempts: 4,
            first_delay: Span::secs(1),
            max_delay: Span::secs(60),
        }
    }
}

/// The largest answers that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SizeLimits {
    /// One media file.
    pub media: Size,
    /// The text of an answer, its media taken out.
    pub text: Size,
}

impl Default for SizeLimits {
    /// 256 MiB of media, 8 MiB of text.
    fn default() -> SizeLimits {
        SizeLimits {
            media: Size::mib(256),
            text: Size::mib(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_that_would_hold_nothing_back_is_refused() {
        let known: &[(&str, &[&str])] = &[("image", &["requests", "images"]), ("speech", &["requests"])];
        let said = |limits: &str| {
            let limits: Limits = serde_json::from_str(limits).unwrap();
            limits.check(known).map_err(|error| error.to_string())
        };
        assert_eq!(
            said(
                r#"{"concurrency": 1, "image": {"images_per_minute": 5}, "speech": {"requests_per_day": 9}}"#
            ),
            Ok(())
        );
        assert_eq!(
            said(r#"{"concurrency": 1, "images": {"images_per_minute": 5}}"#).unwrap_err(),
            "limits.images: there is no such group of calls; there is image, speech"
        );
        assert_eq!(
            said(r#"{"concurrency": 1, "image": {"pictures_per_minute": 5}}"#).unwrap_err(),
            "limits.image.pictures_per_minute: these calls are counted by requests, images"
        );
        assert_eq!(
            said(r#"{"concurrency": 10000, "downloads": 10001}"#).unwrap_err(),
            "limits.downloads: at most 10000 at once are possible"
        );
    }

    #[test]
    fn a_lower_ceiling_of_the_day_brings_its_day_along() {
        let limits = |text: &str| serde_json::from_str::<GroupLimits>(text).unwrap();
        let evening = r#"{"requests_per_day": 500, "day_starts": "22:00 UTC"}"#;
        for (ours, starts) in [
            ("{}", "22:00 UTC"),
            (r#"{"requests_per_day": 600}"#, "22:00 UTC"),
            (r#"{"requests_per_day": 400}"#, "00:00 UTC"),
        ] {
            let mut ours = limits(ours);
            ours.tighten(&limits(evening));
            assert_eq!(ours.day_starts.to_string(), starts, "{ours:?}");
        }
    }

    #[test]
    fn limits_name_their_unit() {
        let text = r#"{"concurrency": 4, "image": {"requests_per_minute": 15, "tokens_per_minute": 100000}}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(limits.concurrency.get(), 4);
        assert_eq!(limits.groups["image"].windows().len(), 2);
        let error =
            serde_json::from_str::<Limits>(r#"{"concurrency": 4, "image": {"requests": 15}}"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown limit \"requests\""),
            "{error}"
        );
        assert!(serde_json::from_str::<Limits>(r#"{"concurrency": 0}"#).is_err());
        assert!(serde_json::from_str::<Limits>("{}").is_err());
    }
}
