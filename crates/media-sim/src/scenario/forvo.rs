//! The Forvo part of a scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Forvo. Every word has recordings, made from its text, unless a field here says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Forvo {
    /// The valid keys; the first one's quota is what an overlay tells.
    pub keys: Vec<ForvoKey>,
    /// Limits per key, enforced beside the daily quota.
    pub limits: ForvoLimits,
    /// How long answers take.
    pub latency_ms: ForvoLatency,
    /// Words without recordings.
    pub missing: Vec<String>,
    /// Which spellings exist of a word, by the word without accents. A query is compared without accents and
    /// answered with the recordings of all of these, even when its own spelling is not among them.
    pub siblings: BTreeMap<String, Vec<String>>,
    /// What a word without recordings is answered.
    pub not_found: ForvoNotFound,
    /// The HTTP status of a lookup beyond the quota: 400 today, 200 in older reports.
    pub quota_status: u16,
    /// Longer words get 414.
    pub max_word: usize,
    /// How long a link to a recording lives, in seconds.
    pub link_ttl_s: u64,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ForvoKey {
    /// The key.
    pub key: String,
    /// Lookups and recordings a day; a day begins at 22:00 UTC.
    #[serde(default = "per_day")]
    pub requests_per_day: u64,
    /// "Account disabled."
    #[serde(default)]
    pub disabled: bool,
    /// So many of today's calls are spent already when the simulator starts.
    #[serde(default)]
    pub used: u64,
}

impl ForvoKey {
    /// A key with a daily quota.
    #[must_use]
    pub fn new(key: impl Into<String>, requests_per_day: u64) -> Self {
        Self {
            key: key.into(),
            requests_per_day,
            disabled: false,
            used: 0,
        }
    }
}

fn per_day() -> u64 {
    100_000
}

/// Limits per key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForvoLimits {
    /// Requests in work at the same time; more get 429.
    pub concurrency: usize,
    /// Requests per minute; more get 429. The real service publishes none.
    pub requests_per_minute: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForvoLatency {
    /// A lookup.
    pub lookup: u64,
    /// A recording.
    pub audio: u64,
}

/// The shapes of "nothing found" (`forvo.md` fact 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForvoNotFound {
    /// 200 with `"items":[]`.
    Empty,
    /// 200 with a bare `false`.
    False,
    /// A redirect to `https://forvo.com/404`.
    Redirect,
    /// 403 with an HTML page, as after following that redirect.
    Html,
}

impl Default for Forvo {
    fn default() -> Self {
        let siblings = [
            ("papa", &["papa", "papá"][..]),
            ("esta", &["está", "esta"]),
            ("ano", &["año", "ano"]),
            // Asking for "sábana" finds only a near match, which a client must not take.
            ("sabana", &["sabana"]),
            ("reste", &["reste", "resté"]),
            // คล่อง without its tone mark, as seen in the wild.
            ("คลอง", &["คลอง"]),
        ];
        Self {
            keys: vec![ForvoKey::new("sim-forvo", per_day())],
            limits: ForvoLimits::default(),
            latency_ms: ForvoLatency::default(),
            missing: ["ojalá", "xylofón"].map(str::to_owned).to_vec(),
            siblings: siblings
                .map(|(word, spellings)| {
                    (
                        word.to_owned(),
                        spellings.iter().copied().map(str::to_owned).collect(),
                    )
                })
                .into(),
            not_found: ForvoNotFound::Empty,
            quota_status: 400,
            max_word: 100,
            link_ttl_s: 2 * 3600,
        }
    }
}

impl Default for ForvoLimits {
    fn default() -> Self {
        Self {
            concurrency: 4,
            requests_per_minute: 6000,
        }
    }
}

impl Default for ForvoLatency {
    fn default() -> Self {
        Self {
            lookup: 20,
            audio: 20,
        }
    }
}
