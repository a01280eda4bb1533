//! Every send of every provider: pace, permit, journal, wire, judge, and again if it is allowed.

mod divert;
mod events;
mod exchange;
mod memory;
#[cfg(feature = "http")]
mod plain;
mod reply;
mod request;
#[cfg(feature = "http")]
mod reqwest;
mod send;
mod transport;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use url::Url;

pub use self::divert::Payload;
use self::exchange::{Expect, Received};
pub use self::memory::{MemoryTransport, Recorded, Scripted};
pub use self::reply::{Judge, Reply};
pub use self::request::{DOWNLOAD, Request, Resend};
#[cfg(feature = "http")]
pub use self::reqwest::ReqwestTransport;
pub use self::transport::{Body, Sent, Transport, TransportError};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Journal, NoJournal};
use crate::key::AttemptKey;
use crate::lenient;
use crate::limit::{
    Accounts, Clock, Hold, Limiter, MemoryQuota, QuotaStore, Slowed, SystemClock, Units, Waiting,
};
use crate::output::{Intake, Staged, Staging};
use crate::secret::ApiKey;
use crate::settings::{ServiceSettings, SizeLimits};
use crate::stop::Stop;

/// What surrounds a provider: the wire, the journal, the quota store, the staging place. Shared by all of a run.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// How requests reach the wire.
    pub transport: Arc<dyn Transport>,
    /// Where paid attempts are written down.
    pub journal: Arc<dyn Journal>,
    /// The accounts whose limits are shared.
    pub accounts: Accounts,
    /// Where daily allowances are counted.
    pub quota: Arc<dyn QuotaStore>,
    /// The wall clock that days are told by.
    pub clock: Arc<dyn Clock>,
    /// Where bytes wait until they are whole.
    pub staging: Staging,
    /// The largest answers that are taken.
    pub sizes: SizeLimits,
    /// The wish to stop.
    pub stop: Stop,
}

impl Wiring {
    /// The shipped transport and nothing that outlives the process: for library users.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when TLS cannot be set up.
    #[cfg(feature = "http")]
    pub fn new(connect: Duration) -> Result<Wiring> {
        Ok(Wiring::over(Arc::new(ReqwestTransport::new(connect)?)))
    }

    /// The same over a transport of one's own.
    pub fn over(transport: Arc<dyn Transport>) -> Wiring {
        Wiring {
            transport,
            journal: Arc::new(NoJournal),
            accounts: Accounts::default(),
            quota: Arc::new(MemoryQuota::default()),
            clock: Arc::new(SystemClock),
            staging: Staging::default(),
            sizes: SizeLimits::default(),
            stop: Stop::new(),
        }
    }
}

/// How a service wants to see its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The key alone in this header.
    Header(HeaderName),
    /// Not in a header: the provider puts it where it belongs, or there is none.
    None,
}

/// What a provider is set up with.
#[derive(Debug)]
pub struct HttpOptions {
    /// The name of the instance, for messages.
    pub name: String,
    /// Where the service is; the key goes nowhere else.
    pub base_url: Url,
    /// The key, if it needs one.
    pub key: Option<ApiKey>,
    /// How it wants to see the key.
    pub auth: Auth,
    /// Headers of every call.
    pub headers: HeaderMap,
    /// Limits, timeouts, retries, prices.
    pub settings: ServiceSettings,
    /// Who reads its answers.
    pub judge: Arc<dyn Judge>,
    /// What surrounds it.
    pub wiring: Wiring,
}

/// The one way to a service. Cheap to clone; all clones share limits.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    options: HttpOptions,
    limiter: Arc<Limiter>,
}

impl Http {
    /// Sets up the way to one service.
    #[must_use]
    pub fn new(options: HttpOptions) -> Http {
        let account = options
            .key
            .as_ref()
            .map_or_else(|| options.name.clone(), ApiKey::account);
        let wiring = &options.wiring;
        let limiter = wiring.accounts.limiter(
            &account,
            &options.base_url.origin().ascii_serialization(),
            &options.settings.limits,
            &wiring.quota,
            &wiring.clock,
        );
        Http(Arc::new(Inner { options, limiter }))
    }

    /// A name for the account that does not reveal its key; without a key, the name of the instance.
    #[must_use]
    pub fn account(&self) -> &str {
        self.0.limiter.account()
    }

    /// The key, for services that want it elsewhere than in a header.
    #[must_use]
    pub fn key(&self) -> Option<&ApiKey> {
        self.0.options.key.as_ref()
    }

    /// Limits, timeouts, retries, prices.
    #[must_use]
    pub fn settings(&self) -> &ServiceSettings {
        &self.0.options.settings
    }

    /// What surrounds it.
    #[must_use]
    pub fn wiring(&self) -> &Wiring {
        &self.0.options.wiring
    }

    /// Ceilings of the configuration that made senders wait.
    #[must_use]
    pub fn slowed(&self) -> Vec<Slowed> {
        self.0.limiter.slowed()
    }

    /// Calls of the account that are on the wire.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.limiter.in_flight()
    }

    /// What senders wait for, by group.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        self.0.limiter.waiting()
    }

    /// Makes everybody of a group wait as after a refusal for pace. For answers that turn a part of what was sent away:
    /// those that are such a refusal as a whole are seen without this.
    pub fn slow_down(&self, group: &str) {
        let delay = self.settings().retry.first_delay.0;
        self.0.limiter.pacer(group).pause(delay);
    }

    /// How many calls of a limit group that is counted by the day were used today, as far as the quota store knows.
    ///
    /// # Errors
    /// The store failed.
    pub async fn used_today(&self, group: &str) -> Result<u64> {
        self.0.limiter.used_today(group).await
    }

    /// Counts a send in the windows of its limit group that an earlier process made so long ago, so that a run which is begun
    /// again keeps to the limits too. To be told of in the order of the sends, before the first of this process.
    pub fn sent_before(&self, group: &str, units: &Units, ago: Duration) {
        self.0.limiter.pacer(group).sent_before(units, ago);
    }

    /// The address of `path` (segments, each encoded whole) below the base URL.
    #[must_use]
    pub fn url(&self, path: &[&str]) -> Url {
        let mut url = self.0.options.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) async fn hold(&self, group: &str, calls: u32) -> Result<Option<Hold>> {
        self.0.limiter.hold(group, calls).await
    }

    pub(crate) async fn release(&self, hold: Option<Hold>) {
        self.0.limiter.release(hold).await;
    }

    pub(crate) fn journal(&self) -> &dyn Journal {
        self.0.options.wiring.journal.as_ref()
    }

    /// Sends a request whose answer is JSON.
    ///
    /// # Errors
    /// What the judge, the wire or serde makes of the answer.
    pub async fn json<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T> {
        let received = self.send(&request, Expect::Json).await?;
        self.read(&request, &received.text)
    }

    /// Sends a request whose answer is one media file.
    ///
    /// # Errors
    /// As [`json`](Http::json); media that fail their walk are given back staged, with what is wrong in
    /// [`Staged::inspection`].
    pub async fn media(&self, request: Request<'_>) -> Result<Staged> {
        let received = self.send(&request, Expect::Media).await?;
        received
            .media
            .into_iter()
            .next()
            .ok_or_else(|| Error::new(ErrorKind::BadResponse, "the answer holds no media").in_op(request.op))
    }

    /// Sends a request whose answer is JSON with media as base64 in `fields`, which `T` reads as [`Payload`].
    ///
    /// # Errors
    /// As [`json`](Http::json).
    pub async fn json_media<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        fields: &[&str],
    ) -> Result<(T, Vec<Staged>)> {
        let received = self.send(&request, Expect::JsonMedia(fields)).await?;
        self.read_with_media(&request, received)
    }

    /// Sends a request that is answered by server-sent events, of which the one of type `last` is the result, read as
    /// by [`json_media`](Http::json_media). A server that answers with plain JSON instead is understood.
    ///
    /// # Errors
    /// As [`json`](Http::json): every event is shown to the judge. A stream that ends without `last` is a failure.
    pub async fn event_media<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        fields: &[&str],
        last: &str,
    ) -> Result<(T, Vec<Staged>)> {
        let received = self.send(&request, Expect::Events { fields, last }).await?;
        self.read_with_media(&request, received)
    }

    /// Sends a request whose answer is a file of any sort, and writes it to `path`, over what may be there.
    ///
    /// # Errors
    /// As [`json`](Http::json), and the disk.
    pub async fn save(&self, request: Request<'_>, path: &Path) -> Result<()> {
        self.send(&request, Expect::File(path)).await.map(drop)
    }

    /// Reads JSON with media as base64 in `fields` out of a part of a file, as [`json_media`](Http::json_media) reads an
    /// answer: in little memory, the media staged for the path of `output`.
    ///
    /// # Errors
    /// The disk, or it is no such JSON.
    pub async fn file_media(
        &self,
        (file, part): (&Path, std::ops::Range<u64>),
        fields: &[&str],
        output: &Path,
    ) -> Result<(serde_json::Value, Vec<Staged>)> {
        let failed = |error| Error::storage("cannot read", file, error);
        let mut open = tokio::fs::File::open(file).await.map_err(failed)?;
        open.seek(std::io::SeekFrom::Start(part.start))
            .await
            .map_err(failed)?;
        let mut rest = open.take(part.end.saturating_sub(part.start));
        let sizes = self.wiring().sizes;
        let intake = Intake::new(&self.wiring().staging, output, sizes.media.0);
        let mut diverter = divert::Diverter::new(fields, intake, sizes.text.0);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = rest.read(&mut buffer).await.map_err(failed)?;
            if count == 0 {
                break;
            }
            diverter.push(buffer.get(..count).unwrap_or_default()).await?;
        }
        let (text, media) = diverter.finish();
        let value = lenient::json(&text).map_err(|error| {
            self.scrub(
                Error::new(ErrorKind::BadResponse, "a line of the result file is not JSON").because(error),
            )
        })?;
        Ok((value, media))
    }

    /// Writes down that the service took on the remote batch of these jobs, and by what it is found from now on. A failure
    /// loses only that: the batch is still found by its key.
    pub async fn in_batch(&self, jobs: &[&crate::job::Job], batch: &str) {
        let event = || crate::journal::Event::InBatch {
            batch: batch.to_owned(),
        };
        let events: Vec<_> = jobs.iter().map(|job| (job.key(), event())).collect();
        if let Err(error) = self.journal().record(&events).await {
            tracing::warn!(%error, batch, "the id of a batch could not be written down");
        }
    }

    /// What the provider's judge says of an answer that came inside another one.
    ///
    /// # Errors
    /// What it says went wrong.
    pub fn judge_part(&self, op: &'static str, status: u16, body: &[u8]) -> Result<()> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let reply = Reply {
            status,
            headers: &HeaderMap::new(),
            body,
            op,
        };
        self.0.options.judge.judge(&reply)?;
        if status.is_success() {
            Ok(())
        } else {
            Err(reply.by_status())
        }
    }

    fn read_with_media<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
        received: Received,
    ) -> Result<(T, Vec<Staged>)> {
        match self.read(request, &received.text) {
            Ok(answer) => Ok((answer, received.media)),
            Err(error) => {
                request.leave(received.media.into_iter().next());
                Err(self.keep_left(request, error))
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, request: &Request<'_>, text: &[u8]) -> Result<T> {
        lenient::json(text).map_err(|error| {
            let reply = Reply {
                status: StatusCode::OK,
                headers: &HeaderMap::new(),
                body: text,
                op: request.op,
            };
            // A page is worth quoting; JSON may hold links that whoever has them can use.
            let message = match reply.json() {
                Some(_) => "the answer is not as documented".to_owned(),
                None => format!("the answer is not JSON: {}", reply.excerpt()),
            };
            let error = Error::new(ErrorKind::BadResponse, message)
                .in_op(request.op)
                .because(error);
            self.scrub(error)
        })
    }

    /// Keeps what came with an answer that cannot be used, where it may have been paid for; the error says where.
    fn keep_left(&self, request: &Request<'_>, error: Error) -> Error {
        match request.take_left() {
            Some((staged, key)) => self.kept(staged, key, error),
            None => error,
        }
    }

    /// Keeps what was paid for and cannot be used; the error says where.
    pub(crate) fn kept(&self, staged: Staged, key: AttemptKey, error: Error) -> Error {
        match staged.reject(&self.wiring().staging, key, &error.full()) {
            Ok(Some(path)) => error.hint(format!("what came is kept as {}", path.display())),
            Ok(None) => error,
            Err(failure) => {
                tracing::error!(%key, error = %failure.full(), "what was paid for could not be kept");
                error
            }
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("name", &self.0.options.name)
            .finish_non_exhaustive()
    }
}
