//! One provider joined with everything it leaves to others: limits, retries, downloads, checks, files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::error::{Charge, Error, ErrorKind, Result};
use crate::format::Format;
use crate::job::{Prior, Unfinished};
use crate::key::RequestHash;
use crate::lane::{self, Lane};
use crate::limit::Slowed;
use crate::provider::{Connection, MediaProvider, ProviderInfo, Resolved};
use crate::request::MediaRequest;
use crate::result::MediaResult;

/// How closely media are looked at before they get their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    /// The structure is walked from the first byte to the last.
    #[default]
    Structure,
    /// And everything is decoded, as far as the `decode-*` features are built in.
    Full,
}

/// A request on its way through a [`Client`], with what is known of its past.
#[derive(Clone, Debug)]
pub struct Order {
    /// Given back with the result, for the caller to know it by.
    pub tag: u64,
    /// What is asked.
    pub request: MediaRequest,
    /// The number of the take (from 1): another take of an equal request is another purchase.
    pub take: u32,
    /// The number of the attempt to begin with (from 1).
    pub attempt: u32,
    /// What happened to that attempt in an earlier process.
    pub prior: Prior,
    /// Ids of equal requests, under which it may have been bought too, where `prior` is [`Prior::Perhaps`].
    pub equals: Vec<String>,
    /// Whether it may be bought. Otherwise only what was bought earlier is fetched.
    pub buys: bool,
    /// Where what stands at the output path is moved when the new file is whole; without it a file is never replaced.
    pub replaces: Option<PathBuf>,
    /// What a check made of the request, where the caller has it at hand. Then the caller has also seen that the output path
    /// is free: it is not looked at again before the request is sent (a file that comes in between is still never replaced).
    pub checked: Option<Checked>,
}

/// A request that passed its check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What [`Client::check`] made of it.
    pub resolved: Resolved,
    /// What [`Client::hash`] made of that.
    pub hash: RequestHash,
}

impl Order {
    /// A request without a past.
    #[must_use]
    pub fn new(tag: u64, request: MediaRequest) -> Order {
        Order {
            tag,
            request,
            take: 1,
            attempt: 1,
            prior: Prior::Fresh,
            equals: Vec::new(),
            buys: true,
            replaces: None,
            checked: None,
        }
    }
}

/// The result of an order.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The tag of its order.
    pub tag: u64,
    /// What came of it.
    pub result: MediaResult,
}

/// A provider ready for use. Cheap to clone.
///
/// It reads no environment and writes nothing but the outputs. Equal requests with equal ids are one purchase within
/// one client: at services that know attempt keys the second gets what the first bought.
#[derive(Clone, Debug)]
pub struct Client {
    provider: Arc<dyn MediaProvider>,
    project: Arc<str>,
    level: CheckLevel,
    unfinished: Unfinished,
}

impl Client {
    /// A client of this provider.
    pub fn new(provider: impl MediaProvider + 'static) -> Client {
        Client::of(Arc::new(provider))
    }

    /// A client of a provider that a registry made.
    pub fn of(provider: Arc<dyn MediaProvider>) -> Client {
        Client {
            provider,
            project: Uuid::new_v4().to_string().into(),
            level: CheckLevel::default(),
            unfinished: Unfinished::default(),
        }
    }

    /// Computes attempt keys within this project, so that a later process with the same project asks with the same
    /// keys. By default every client is a project of its own.
    #[must_use]
    pub fn in_project(mut self, project: &str) -> Client {
        self.project = project.into();
        self
    }

    /// How closely media are checked.
    #[must_use]
    pub fn checking(mut self, level: CheckLevel) -> Client {
        self.level = level;
        self
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &Arc<dyn MediaProvider> {
        &self.provider
    }

    /// What its provider is and can do.
    pub fn info(&self) -> &ProviderInfo {
        self.provider.info()
    }

    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    pub(crate) fn unfinished(&self) -> &Unfinished {
        &self.unfinished
    }

    /// How many requests were sent and have not come to their end: what a stop still waits for.
    #[must_use]
    pub fn being_finished(&self) -> usize {
        self.unfinished.count().max(self.provider.http().in_flight())
    }

    pub(crate) fn level(&self) -> CheckLevel {
        self.level
    }

    /// The request as it would be sent. Offline.
    ///
    /// # Errors
    /// Why it cannot be sent: a kind or format that the provider does not give, or whatever the service would refuse.
    pub fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        let info = self.info();
        let refuse = |kind, message: String| Err(Error::new(kind, message).not_billed());
        let Some(formats) = info.formats.get(&request.kind) else {
            return refuse(
                ErrorKind::Unsupported,
                format!("{} makes no {}", info.name, request.kind),
            );
        };
        let wanted = format_of(&request.output_path)?;
        if !formats.contains(&wanted) {
            let known: Vec<_> = formats.iter().map(|format| format.name()).collect();
            return refuse(
                ErrorKind::Unsupported,
                format!(
                    "{} gives {} as {}, not as {wanted}",
                    info.name,
                    request.kind,
                    known.join(", ")
                ),
            );
        }
        if request.content.trim().is_empty() {
            return refuse(ErrorKind::InvalidRequest, "the content is empty".to_owned());
        }
        self.provider.check(request).map_err(Error::not_billed)
    }

    /// What makes two requests one purchase at this provider.
    #[must_use]
    pub fn hash(&self, request: &MediaRequest, resolved: &Resolved) -> RequestHash {
        RequestHash::of(&self.info().name, request, resolved)
    }

    /// Makes one file.
    pub async fn generate(&self, request: MediaRequest) -> MediaResult {
        let failed = MediaResult {
            request: request.clone(),
            outcome: Err(
                Error::new(ErrorKind::Cancelled, "the work was given up").with_charge(Charge::Unknown)
            ),
            take: 1,
            attempts: 0,
            elapsed: std::time::Duration::ZERO,
            cost: None,
            provenance: crate::result::Provenance::default(),
        };
        let mut results = self.generate_batch([request]);
        results.next().await.unwrap_or(failed)
    }

    /// Makes many files; results come as they arrive, in any order. One failure stops nothing but itself, except what
    /// would fail every other request the same way: a bad key, no credit, a spent quota.
    ///
    /// Must be called within a tokio runtime. Dropping the [`Results`] stops what has not been sent.
    pub fn generate_batch<I>(&self, requests: I) -> Results
    where
        I: IntoIterator<Item = MediaRequest>,
        I::IntoIter: Send + 'static,
    {
        // As many ahead as fill a batch: more would be taken from the list for nothing.
        let ahead = self.info().capabilities.max_batch.max(1);
        let (orders, lane_orders) = mpsc::channel(ahead);
        let requests = requests.into_iter();
        tokio::spawn(async move {
            for (tag, request) in (0..).zip(requests) {
                if orders.send(Order::new(tag, request)).await.is_err() {
                    break;
                }
            }
        });
        Results(self.run(lane_orders))
    }

    /// Runs orders as they come; the engine's way in. The lane ends when the sender of orders is dropped.
    #[must_use]
    pub fn run(&self, orders: mpsc::Receiver<Order>) -> mpsc::Receiver<Delivery> {
        self.start(orders, true)
    }

    /// Runs orders as they come, and waits for no remote batch: what was handed over in one is answered with
    /// [`ErrorKind::Pending`], and had later by an order whose [`Prior`] names that batch. So the memory that a list takes
    /// does not grow with its length.
    #[must_use]
    pub fn hand_over(&self, orders: mpsc::Receiver<Order>) -> mpsc::Receiver<Delivery> {
        self.start(orders, false)
    }

    fn start(&self, orders: mpsc::Receiver<Order>, waits: bool) -> mpsc::Receiver<Delivery> {
        let (results, deliveries) = mpsc::channel(lane::RESULTS_AHEAD);
        tokio::spawn(Lane::new(self.clone(), results, waits).run(orders));
        deliveries
    }

    /// Asks the service, for nothing, whether the key works.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn test_connection(&self) -> Result<Connection> {
        self.provider.test_connection().await
    }

    /// Ceilings of the configuration that made senders wait.
    #[must_use]
    pub fn slowed(&self) -> Vec<Slowed> {
        self.provider.http().slowed()
    }
}

/// The format that a path's extension asks for.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] for a missing extension, [`ErrorKind::Unsupported`] for one that cannot be checked.
pub fn format_of(path: &Path) -> Result<Format> {
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
        return Err(Error::invalid(format!(
            "the path {:?} has no extension, so the format is unknown",
            path.display().to_string()
        )));
    };
    Format::from_extension(extension).ok_or_else(|| {
        let known: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "files of type .{extension} cannot be checked; the known ones are {}",
                known.join(", ")
            ),
        )
        .not_billed()
    })
}

/// Results as they arrive.
#[derive(Debug)]
pub struct Results(mpsc::Receiver<Delivery>);

impl Results {
    /// The next result; `None` after the last.
    pub async fn next(&mut self) -> Option<MediaResult> {
        Some(self.0.recv().await?.result)
    }

    /// All that are left.
    pub async fn collect(mut self) -> Vec<MediaResult> {
        let mut results = Vec::new();
        while let Some(result) = self.next().await {
            results.push(result);
        }
        results
    }
}
