//! The seam between the engine and a provider: a provider knows how to ask and how to read the answer, nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Format, MediaKind};
use crate::http::Http;
use crate::job::Job;
use crate::limit::Units;
use crate::money::Usd;
use crate::output::Staged;
use crate::params::ParamSpec;
use crate::request::MediaRequest;

/// One configured account at one service.
///
/// It does no pacing, retrying, downloading, validating, hashing or file naming: [`Http`] and
/// [`Client`](crate::Client) do, the same for all. What it must get right is `check` (refuse offline what the service
/// would refuse), the mapping, and what an answer says about money.
#[async_trait]
pub trait MediaProvider: fmt::Debug + Send + Sync {
    /// What it is and can do.
    fn info(&self) -> &ProviderInfo;

    /// The handle it sends through; the client downloads links, paces and retries with the same one.
    fn http(&self) -> &Http;

    /// The request as it would be sent. Offline and pure.
    ///
    /// # Errors
    /// `InvalidRequest` or `Unsupported` for what the service would refuse.
    fn check(&self, request: &MediaRequest) -> Result<Resolved>;

    /// Makes or fetches the media of one job. Only [`generate_batch`](Self::generate_batch) calls it: whoever has one of
    /// their own needs none of these.
    ///
    /// # Errors
    /// The service's refusal or the failure to reach it, with what it says about money.
    async fn generate(&self, job: &Job) -> Result<Generated> {
        let message = format!("{} takes its jobs in batches only", self.info().name);
        let _ = job;
        Err(Error::new(ErrorKind::Unsupported, message).not_billed())
    }

    /// Does several jobs, answering each by [`Job::finish`] as soon as its result is known.
    ///
    /// One after the other unless the service has something better.
    async fn generate_batch(&self, jobs: &[Job]) {
        for job in jobs {
            job.finish(self.generate(job).await);
        }
    }

    /// For jobs that were sent earlier or whose answer was lost: fetches what they made, and never buys.
    ///
    /// A job left unanswered means that the service knows nothing of it. One that is under way, or that could not be asked
    /// for, is answered with an error that leaves its charge open: nothing is then bought in its place.
    async fn recover(&self, jobs: &[Job]) {
        let _ = jobs;
    }

    /// What the service has for a request, in the order of preference, before one of them is chosen: recordings by
    /// several speakers. Only where [`Capabilities::candidates`] says so.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], or why it could not be asked.
    async fn candidates(&self, request: &MediaRequest) -> Result<Vec<Candidate>> {
        let message = format!(
            "{} makes what it is asked for: it has nothing to choose from",
            self.info().name
        );
        let _ = request;
        Err(Error::new(ErrorKind::Unsupported, message).not_billed())
    }

    /// Asks the service to end the remote batch of this key early; what is done by then is delivered, and the rest is not
    /// billed. Returns the batch's status after that. Only where [`Capabilities::remote_batch_seconds`] says so.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::Config`] where there are none, or why it could not be asked.
    async fn cancel_batch(&self, key: &str) -> Result<String> {
        let message = format!("{} has no remote batches, so none {key}", self.info().name);
        Err(Error::new(ErrorKind::Unsupported, message).not_billed())
    }

    /// Returns when the remote batch of this key, sent so long ago, is over, and at once where nobody wants to wait for it
    /// (any more). What became of it is told to its jobs, by [`recover`](Self::recover).
    async fn wait_for_batch(&self, key: &str, ago: Option<Duration>) {
        let _ = (key, ago);
    }

    /// Asks the service whether the key works. Nothing is bought; a call may be counted.
    ///
    /// # Errors
    /// Why it does not.
    async fn test_connection(&self) -> Result<Connection>;
}

/// What a provider instance is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderInfo {
    /// The name of the instance: the name of its configuration file.
    pub name: String,
    /// The type of the provider: `openai`, `runware`, `forvo`, ...
    pub provider: String,
    /// The formats it can give, by kind; a kind that is missing it cannot make.
    pub formats: BTreeMap<MediaKind, Vec<Format>>,
    /// What else it can do.
    pub capabilities: Capabilities,
}

/// Capability flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Several jobs in one call to the service, instead of one after the other.
    pub batch_supported: bool,
    /// The most jobs that one `generate_batch` takes.
    pub max_batch: usize,
    /// A lost answer can be fetched later without buying again.
    pub recoverable: bool,
    /// For so many seconds after its first send the service refuses to do an attempt key twice, so that the same key may
    /// be sent again, by a later process too. `None` where there is no such thing.
    pub resend_seconds: Option<u64>,
    /// Results are free (subscription or own server): money is never at stake.
    pub free: bool,
    /// Jobs are handed over in files and are done within so many seconds, which are hours: a batch is filled before it is
    /// sent, and nothing is tried out first. `None` where there is no such thing.
    #[serde(default)]
    pub remote_batch_seconds: Option<u64>,
    /// A request is answered with one of several things that are there, which can be listed.
    #[serde(default)]
    pub candidates: bool,
}

impl Default for Capabilities {
    /// One job after the other, each of them paid, and none of them to be had again.
    fn default() -> Capabilities {
        Capabilities {
            batch_supported: false,
            max_batch: 1,
            recoverable: false,
            resend_seconds: None,
            free: false,
            remote_batch_seconds: None,
            candidates: false,
        }
    }
}

/// One of several things that a service has for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The service's id of it.
    pub id: Option<String>,
    /// Who made it.
    pub speaker: String,
    /// `f` or `m`, where it is told.
    pub sex: Option<String>,
    /// Where they come from: an ISO 3166-1 alpha-2 code, or the country's name where that is not known.
    pub country: Option<String>,
    /// Positive votes minus negative ones.
    pub rate: i64,
    /// Votes in all.
    pub votes: i64,
    /// Whether the rules of the request would take it.
    pub fits: bool,
    /// Why it stands where it does.
    pub why: String,
    /// The parameters by which a request takes this one and no other.
    pub pin: BTreeMap<String, Value>,
}

/// A request as it would be sent: everything that decides what comes back, and nothing else.
///
/// Hash, price, dedupe and pacing read only this, so nothing outside a provider needs to know its API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The model id, or what stands for it.
    pub model: String,
    /// The content as sent (normalised where the service wants it).
    pub content: String,
    /// The language as the service names it.
    pub language: Option<String>,
    /// Every parameter that decides the result, defaults filled in, under the provider's own names.
    pub params: BTreeMap<String, Value>,
    /// The format that is asked for.
    pub format: Format,
    /// The limit group it counts in: `image`, `speech`, `audio`.
    pub group: String,
    /// What one send of it takes from each bucket of the group.
    pub units: Units,
    /// How many counted calls it needs in all; it is only begun when the daily quota has that many left.
    pub calls: u32,
    /// The pixel size asked for, to warn when another one comes.
    pub dimensions: Option<(u32, u32)>,
}

impl Resolved {
    /// The resolved value that a price row's `when` is compared with.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        match name {
            "model" => Some(Value::from(self.model.as_str())),
            "format" => Some(Value::from(self.format.name())),
            _ => self.params.get(name).cloned(),
        }
    }
}

/// What a provider got for one job.
#[derive(Debug)]
pub struct Generated {
    /// The bytes, or where they are.
    pub media: Media,
    /// What the service said about them.
    pub facts: Facts,
}

/// The media of an answer.
#[derive(Debug)]
pub enum Media {
    /// Bytes that came with the answer, already on disk and walked.
    Staged(Staged),
    /// A link that the client downloads.
    Link(Link),
}

/// Where media can be fetched. Kept in the ledger, so that a failed download is downloaded again, never bought again.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The address. May hold a token, so it is never shown whole.
    pub url: Url,
    /// The limit group that the fetch counts in, for services that count downloads.
    pub group: Option<String>,
}

impl Link {
    /// A link whose fetch is not counted by the service.
    #[must_use]
    pub fn new(url: Url) -> Link {
        Link { url, group: None }
    }

    /// Counts the fetch as one request of this limit group.
    #[must_use]
    pub fn counted_in(mut self, group: impl Into<String>) -> Link {
        self.group = Some(group.into());
        self
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.url.host_str().unwrap_or("?"))
    }
}

/// What the service said beside the media.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Its own id of the result.
    pub remote_id: Option<String>,
    /// What it says it billed.
    pub cost: Option<Usd>,
    /// Tokens used, by the names of the price table: `text_in`, `image_in`, `image_out`, ...
    pub usage: BTreeMap<String, u64>,
    /// What the service takes of its token prices for this result, where that is not all: 0.5 in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_factor: Option<f64>,
    /// The seed used.
    pub seed: Option<u64>,
    /// The prompt as the service rewrote it.
    pub revised_prompt: Option<String>,
    /// Whom to name.
    pub credit: Option<String>,
    /// Under which terms it may be used.
    pub licence: Option<String>,
    /// What it was chosen from, in the order of preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// What is odd but no failure.
    pub warnings: Vec<String>,
}

impl Facts {
    /// These, and what only `earlier` ones tell.
    #[must_use]
    pub(crate) fn over(self, earlier: Facts) -> Facts {
        Facts {
            remote_id: self.remote_id.or(earlier.remote_id),
            cost: self.cost.or(earlier.cost),
            usage: if self.usage.is_empty() {
                earlier.usage
            } else {
                self.usage
            },
            price_factor: self.price_factor.or(earlier.price_factor),
            seed: self.seed.or(earlier.seed),
            revised_prompt: self.revised_prompt.or(earlier.revised_prompt),
            credit: self.credit.or(earlier.credit),
            licence: self.licence.or(earlier.licence),
            candidates: if self.candidates.is_empty() {
                earlier.candidates
            } else {
                self.candidates
            },
            warnings: if self.warnings.is_empty() {
                earlier.warnings
            } else {
                self.warnings
            },
        }
    }
}

/// The answer of `test_connection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// What was learnt, one line each: the account's name, the balance, the number of models.
    pub notes: Vec<String>,
    /// What needs attention soon: a model about to be shut down, a low balance.
    pub warnings: Vec<String>,
}

/// What a provider crate offers to a registry: how to make an instance from configuration and key.
#[derive(Clone, Copy)]
pub struct Factory {
    /// The type name, as written in `"type"`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The shipped configuration, complete, as JSON text.
    pub config: &'static str,
    /// The parameters it understands.
    pub params: &'static [ParamSpec],
    /// How its remote batches are switched on, where it has any.
    pub batches: Option<BatchSwitch>,
    /// Makes an instance.
    #[cfg(feature = "config")]
    pub build: fn(crate::config::Setup) -> Result<std::sync::Arc<dyn MediaProvider>>,
    /// Whether it understands this configuration; needs no key.
    #[cfg(feature = "config")]
    pub check_config: fn(&crate::config::Section) -> Result<()>,
    /// The JSON Schema of its configuration file: [`provider_schema`](crate::config::provider_schema) of its type.
    #[cfg(feature = "config")]
    pub schema: fn() -> Value,
}

/// What is laid over a configuration to have files made in remote batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchSwitch {
    /// To have them made so, as JSON.
    pub on: &'static str,
    /// And to leave when they are handed over, as JSON.
    pub leave: &'static str,
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
