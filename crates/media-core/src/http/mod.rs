//! Every send of every provider: permit, pace, journal, wire, judge, and again if it is allowed.

mod divert;
mod memory;
mod request;
#[cfg(feature = "http")]
mod reqwest;
mod transport;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;
use url::Url;

use self::divert::Diverter;
pub use self::divert::Payload;
pub use self::memory::{MemoryTransport, Recorded, Scripted};
pub use self::request::{Request, Resend};
#[cfg(feature = "http")]
pub use self::reqwest::ReqwestTransport;
pub use self::transport::{Body, Sent, Transport, TransportError};
use crate::error::{Charge, Error, ErrorKind, Result, Retry};
use crate::job::SendEnd;
use crate::journal::{Event, Journal, NoJournal};
use crate::limit::{self, Clock, Grant, Hold, HoldSlot, Limiter, MemoryQuota, QuotaStore, Slowed, SystemClock};
use crate::output::{StageWriter, Staged, Staging, defect_error};
use crate::secret::ApiKey;
use crate::settings::{ServiceSettings, SizeLimits};
use crate::stop::Stop;
use crate::validate::Defect;

/// What surrounds a provider: the wire, the journal, the quota store, the staging place. Shared by all of a run.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// How requests reach the wire.
    pub transport: Arc<dyn Transport>,
    /// Where paid attempts are written down.
    pub journal: Arc<dyn Journal>,
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

/// An answer as a provider judges it: its head, and its text without the media.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body's text, the key taken out: of media, what came in their place.
    pub body: &'a [u8],
    /// What was being done.
    pub op: &'static str,
}

impl Reply<'_> {
    /// The body as JSON, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(self.body).ok()
    }

    /// The least time to wait that the headers ask for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        limit::retry_after(self.headers, SystemTime::now())
    }

    /// What the status alone says. For answers that are not in the service's own words: proxies, gateways.
    ///
    /// A refusal (4xx) bills nothing, and neither do 429 and 503, which say that the request was not taken on. About
    /// other failures (500, 502, 504) nothing is known: the work may have been done behind the gateway.
    #[must_use]
    pub fn by_status(&self) -> Error {
        let status = self.status.as_u16();
        let shown = self.excerpt();
        let (kind, what) = match status {
            401 => (ErrorKind::Authentication, "the key was refused"),
            402 => (ErrorKind::InsufficientCredit, "the account has no credit left"),
            403 => (ErrorKind::PermissionDenied, "access was denied"),
            404 | 410 => (ErrorKind::NotFound, "there is no such thing"),
            408 => (ErrorKind::Timeout, "the service gave up waiting"),
            413 | 414 => (ErrorKind::InvalidRequest, "the request is too large"),
            429 => (ErrorKind::RateLimited, "too many requests"),
            300..=399 => (ErrorKind::BadResponse, "the service redirected the call"),
            400..=499 => (ErrorKind::InvalidRequest, "the service refused the request"),
            500..=599 => (ErrorKind::ProviderFault, "the service failed"),
            _ => (
                ErrorKind::BadResponse,
                "the service answered something unexpected",
            ),
        };
        let message = if shown.is_empty() {
            format!("{what} ({status})")
        } else {
            format!("{what} ({status}): {shown}")
        };
        let error = Error::new(kind, message)
            .in_op(self.op)
            .with_status(status)
            .after(self.retry_after());
        match status {
            429 | 503 => error.retryable().not_billed(),
            408 | 500..=599 => error.retryable(),
            400..=499 => error.not_billed(),
            _ => error,
        }
    }

    /// The beginning of the body for a message, on one line.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..self.body.len().min(400)).unwrap_or_default());
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(160).collect()
    }
}

/// Reads answers for what is wrong with them, by a service's own rules.
pub trait Judge: fmt::Debug + Send + Sync {
    /// Called for every answer; for media only when something else came in their place or the status is no success.
    ///
    /// # Errors
    /// What the answer says went wrong, and what it says about money. [`Reply::by_status`] serves for the rest.
    fn judge(&self, reply: &Reply<'_>) -> Result<()>;
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
    limiter: Limiter,
}

/// What is expected of an answer.
#[derive(Clone, Copy)]
enum Expect<'a> {
    Json,
    Media,
    JsonMedia(&'a [&'a str]),
}

/// An answer, its media already staged.
struct Received {
    text: Vec<u8>,
    media: Vec<Staged>,
}

/// How much of an answer that is not media is kept to be read.
const TEXT_IN_PLACE_OF_MEDIA: usize = 64 << 10;
/// Media hosts redirect to their stores, but not for ever.
const MAX_HOPS: usize = 5;

const DEFAULT_USER_AGENT: &str = concat!("media/", env!("CARGO_PKG_VERSION"));

impl Http {
    /// Sets up the way to one service.
    #[must_use]
    pub fn new(options: HttpOptions) -> Http {
        let account = options
            .key
            .as_ref()
            .map_or_else(|| options.name.clone(), ApiKey::account);
        let limiter = Limiter::new(
            account,
            &options.settings.limits,
            Arc::clone(&options.wiring.quota),
            Arc::clone(&options.wiring.clock),
        );
        Http(Arc::new(Inner { options, limiter }))
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

    /// How long the service still wants this group to pause.
    #[must_use]
    pub fn paused_for(&self, group: &str) -> Option<Duration> {
        Some(
            self.0
                .limiter
                .paused_until(group)?
                .saturating_duration_since(Instant::now()),
        )
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
        Ok((self.read(&request, &received.text)?, received.media))
    }

    fn read<T: DeserializeOwned>(&self, request: &Request<'_>, text: &[u8]) -> Result<T> {
        serde_json::from_slice(text).map_err(|error| {
            let reply = Reply {
                status: StatusCode::OK,
                headers: &HeaderMap::new(),
                body: text,
                op: request.op,
            };
            self.scrub(
                Error::new(
                    ErrorKind::BadResponse,
                    format!("the answer is not as documented: {}", reply.excerpt()),
                )
                .in_op(request.op)
                .because(error),
            )
        })
    }

    /// The loop over one send: repeats it when it is free, proven not billed, or knows its key.
    async fn send(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let span = tracing::debug_span!(
            "send",
            provider = %self.0.options.name,
            op = request.op,
            jobs = request.jobs.len(),
            first = request.jobs.first().map(|job| tracing::field::display(&job.request().id)),
        );
        self.send_repeatedly(request, expect).instrument(span).await
    }

    async fn send_repeatedly(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let retry = &self.settings().retry;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(retry.first_delay.0)
            .with_max_delay(retry.max_delay.0)
            .with_factor(2.0)
            .with_max_times(retry.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build();
        let mut first_sent = None;
        loop {
            let error = match self.once(request, expect, &mut first_sent).await {
                Ok(received) => {
                    self.0.limiter.pacer(&request.group).succeeded();
                    return Ok(received);
                }
                Err(error) => error,
            };
            let may_repeat = match request.paid {
                None => true,
                Some(Resend::SameKey { .. }) => true,
                Some(Resend::Never) => error.charge() == Some(Charge::None) && !request.is_in_doubt(),
            };
            tracing::debug!(%error, charge = ?error.charge(), may_repeat, "send failed");
            let delay = delays.next().map(|delay| match error.retry_after() {
                // The service's hint is a lower bound; the jitter on top keeps waiters from waking together.
                Some(hint) => hint + delay.min(hint / 10 + retry.first_delay.0 / 10),
                None => delay,
            });
            if error.kind() == ErrorKind::RateLimited && error.retry() == Retry::Later {
                // Everybody waits, even when this request has no try left.
                let pause = delay.or(error.retry_after()).unwrap_or(retry.first_delay.0);
                self.0.limiter.pacer(&request.group).pause(pause);
            }
            if error.retry() != Retry::Later || !may_repeat {
                return Err(error);
            }
            let Some(delay) = delay else { return Err(error.with_retry(Retry::Spent)) };
            if error.kind() != ErrorKind::RateLimited && self.patiently(request, sleep(delay)).await.is_none() {
                return Err(error);
            }
        }
    }

    /// Waits for something, unless a stop is asked for and the request has nothing at stake yet.
    async fn patiently<T>(&self, request: &Request<'_>, wait: impl Future<Output = T>) -> Option<T> {
        if request.must_be_finished() {
            Some(wait.await)
        } else {
            self.wiring().stop.or(wait).await
        }
    }

    /// One send, from the permit to the verdict. Holds the permit no longer than the call takes.
    async fn once(
        &self,
        request: &Request<'_>,
        expect: Expect<'_>,
        first_sent: &mut Option<Instant>,
    ) -> Result<Received> {
        let result = self.once_charged(request, expect, first_sent).await;
        if request.is_paid() {
            return result;
        }
        // A question about something that was bought says nothing about the purchase, however it fails.
        result.map_err(Error::without_charge)
    }

    async fn once_charged(
        &self,
        request: &Request<'_>,
        expect: Expect<'_>,
        first_sent: &mut Option<Instant>,
    ) -> Result<Received> {
        let (_permit, grant) = self.patiently(request, self.turn(request)).await.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Cancelled, "it was stopped before it was sent").not_billed())
        })?;
        if let (Some(Resend::SameKey { window }), Some(first)) = (request.paid, *first_sent)
            && request.is_in_doubt()
            && first.elapsed() >= window
        {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "no answer within {}, after which the service may have forgotten the request",
                    humantime::format_duration(window)
                ),
            )
            .in_op(request.op));
        }
        if request.counted && !request.holds.iter().any(HoldSlot::spend_one) {
            self.0.limiter.count_call(&request.group).await.map_err(Error::not_billed)?;
        }
        if request.is_paid() {
            self.intend(request).await?;
        }
        grant.spend();
        first_sent.get_or_insert_with(Instant::now);
        let result = self.exchange(request, expect).await.map_err(|error| self.scrub(error));
        let result = self.settle(request, result);
        match result {
            Err(error) if error.kind() == ErrorKind::QuotaExhausted => {
                let until = self.0.limiter.mark_spent(&request.group).await;
                Err(if error.resets_at().is_none() { error.until(until) } else { error })
            }
            other => other,
        }
    }

    /// Waits for a place among the calls in flight, and then for the pace.
    async fn turn(&self, request: &Request<'_>) -> Result<(OwnedSemaphorePermit, Grant)> {
        let pacer = self.0.limiter.pacer(&request.group);
        // Waited out before the permit is taken: a paused group must not hold the places of another.
        while let Some(until) = pacer.paused_until() {
            sleep_until(until).await;
        }
        let permit = self
            .0
            .limiter
            .permit(request.foreign && !self.is_ours(&request.url))
            .await?;
        let grant = pacer
            .wait(&request.units)
            .await
            .map_err(|error| error.in_op(request.op))?;
        Ok((permit, grant))
    }

    /// Writes down, durably, that the jobs may have been billed from here on. The last thing before the wire:
    /// written any earlier, a kill would make false doubts of everything that waits.
    async fn intend(&self, request: &Request<'_>) -> Result<()> {
        let events: Vec<_> = request
            .jobs
            .iter()
            .map(|job| (job.key(), Event::Sending { group: None }))
            .collect();
        self.journal().record(&events).await.map_err(Error::not_billed)?;
        for job in &request.jobs {
            job.sending();
        }
        Ok(())
    }

    /// Tells the jobs and the journal what the send came to.
    fn settle(&self, request: &Request<'_>, result: Result<Received>) -> Result<Received> {
        if !request.is_paid() {
            return result;
        }
        let end = match &result {
            Ok(_) => SendEnd::Answered,
            Err(error) if error.charge() == Some(Charge::None) => SendEnd::Refused,
            Err(_) => SendEnd::Lost,
        };
        for job in &request.jobs {
            job.sent(end);
            if end == SendEnd::Refused && !job.is_in_doubt() {
                self.journal().note(job.key(), Event::Refused);
            }
        }
        result
    }

    /// The call itself, under its time limits.
    async fn exchange(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let total = self.settings().timeouts.total.0;
        timeout(total, self.exchange_in_time(request, expect))
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    format!("not done within {}", humantime::format_duration(total)),
                )
                .in_op(request.op)
                .retryable())
            })
    }

    async fn exchange_in_time(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let mut url = request.url.clone();
        for _ in 0..MAX_HOPS {
            let message = self.message(request, &url)?;
            let first_byte = self.settings().timeouts.first_byte.0;
            let answer = within(first_byte, request.op, self.wiring().transport.send(message)).await?;
            let (head, body) = answer.into_parts();
            if let Some(id) = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
                tracing::debug!(status = head.status.as_u16(), request_id = id, "answered");
                request.jobs.iter().for_each(|job| job.answered_as(id));
            }
            let pacer = self.0.limiter.pacer(&request.group);
            if !request.foreign || self.is_ours(&url) {
                limit::rate_reports(&head.headers)
                    .iter()
                    .for_each(|report| pacer.learn(report));
            }
            match redirect(request, &url, head.status, &head.headers)? {
                Some(next) => url = next,
                None => return self.receive(request, expect, &head, body).await,
            }
        }
        Err(Error::new(ErrorKind::BadResponse, "the media link redirects in circles").in_op(request.op))
    }

    fn message(&self, request: &Request<'_>, url: &Url) -> Result<http::Request<bytes::Bytes>> {
        let failed = |error: http::Error| {
            Error::new(ErrorKind::InvalidRequest, "the request cannot be built")
                .in_op(request.op)
                .because(error)
                .not_billed()
        };
        let mut message = http::Request::builder()
            .method(request.method.clone())
            .uri(url.as_str())
            .body(request.body.clone())
            .map_err(failed)?;
        let headers = message.headers_mut();
        let named = self.0.options.headers.get(USER_AGENT).cloned();
        headers.insert(USER_AGENT, named.unwrap_or(HeaderValue::from_static(DEFAULT_USER_AGENT)));
        if request.foreign && url.scheme() != "https" && url.host() != self.0.options.base_url.host() {
            return Err(Error::new(
                ErrorKind::BadResponse,
                "the media link leads to an unprotected host",
            )
            .in_op(request.op));
        }
        if !request.foreign {
            if !self.is_ours(url) {
                return Err(
                    Error::new(ErrorKind::Config, "a call was about to leave for another host").not_billed(),
                );
            }
            headers.extend(self.0.options.headers.clone());
            self.authorise(headers)?;
        }
        headers.extend(request.headers.clone());
        Ok(message)
    }

    fn authorise(&self, headers: &mut HeaderMap) -> Result<()> {
        let Some(key) = self.key() else { return Ok(()) };
        let (name, value) = match &self.0.options.auth {
            Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Auth::Header(name) => (name.clone(), key.expose().to_owned()),
            Auth::None => return Ok(()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            Error::new(
                ErrorKind::Authentication,
                "the key holds characters that no key has",
            )
            .not_billed()
            .hint("check that the key was copied whole")
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    /// Whether an address is at the service itself.
    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.0.options.base_url.origin()
    }

    async fn receive(
        &self,
        request: &Request<'_>,
        expect: Expect<'_>,
        head: &http::response::Parts,
        body: Body,
    ) -> Result<Received> {
        let sizes = self.wiring().sizes;
        let mut pieces = Pieces {
            body,
            idle: self.settings().timeouts.idle.0,
            op: request.op,
        };
        if !head.status.is_success() {
            let text = self.redact(pieces.text(TEXT_IN_PLACE_OF_MEDIA, true).await?);
            self.judge(request, head, &text)?;
            // The judge saw nothing wrong in it: some services put results under other statuses.
            return match expect {
                Expect::Media => Err(self.reply(request, head, &text).by_status()),
                Expect::Json | Expect::JsonMedia(_) => Ok(Received {
                    text,
                    media: Vec::new(),
                }),
            };
        }
        match expect {
            Expect::Json => {
                let most = usize::try_from(sizes.text.0).unwrap_or(usize::MAX);
                let text = self.redact(pieces.text(most, false).await?);
                self.judge(request, head, &text)?;
                Ok(Received {
                    text,
                    media: Vec::new(),
                })
            }
            Expect::JsonMedia(fields) => {
                let staging = &self.wiring().staging;
                let mut diverter =
                    Diverter::new(fields, staging, request.output(), sizes.media.0, sizes.text.0);
                while let Some(piece) = pieces.next().await? {
                    diverter.push(&piece).await?;
                }
                let (text, media) = diverter.finish();
                let text = self.redact(text);
                self.judge(request, head, &text)?;
                Ok(Received { text, media })
            }
            Expect::Media => {
                let mut writer = StageWriter::new(&self.wiring().staging, request.output(), sizes.media.0);
                let mut text = Vec::new();
                while let Some(piece) = pieces.next().await? {
                    let room = TEXT_IN_PLACE_OF_MEDIA.saturating_sub(text.len()).min(piece.len());
                    text.extend_from_slice(piece.get(..room).unwrap_or_default());
                    writer.push(&piece).await?;
                }
                let staged = writer.finish().await?;
                if let Err(defect) = staged.inspection() {
                    // Something else came where media was due: the service may be saying why.
                    if matches!(defect, Defect::NotMedia { .. }) {
                        let text = self.redact(text);
                        self.judge(request, head, &text)?;
                    }
                    if !request.is_paid() {
                        return Err(defect_error(defect).in_op(request.op).retryable());
                    }
                }
                Ok(Received {
                    text: Vec::new(),
                    media: vec![staged],
                })
            }
        }
    }

    fn reply<'r>(&self, request: &Request<'_>, head: &'r http::response::Parts, text: &'r [u8]) -> Reply<'r> {
        Reply {
            status: head.status,
            headers: &head.headers,
            body: text,
            op: request.op,
        }
    }

    fn judge(&self, request: &Request<'_>, head: &http::response::Parts, text: &[u8]) -> Result<()> {
        self.0.options.judge.judge(&self.reply(request, head, text))
    }

    /// Takes the key out of what a service says: some repeat it, and what they say is quoted in messages.
    fn redact(&self, text: Vec<u8>) -> Vec<u8> {
        let Some(key) = self.key().map(ApiKey::expose).filter(|key| key.len() >= 4) else { return text };
        let places: Vec<usize> = memchr::memmem::find_iter(&text, key.as_bytes()).collect();
        if places.is_empty() {
            return text;
        }
        let mut clean = Vec::with_capacity(text.len());
        let mut from = 0;
        for place in places {
            clean.extend_from_slice(text.get(from..place).unwrap_or_default());
            clean.extend_from_slice(b"[key]");
            from = place + key.len();
        }
        clean.extend_from_slice(text.get(from..).unwrap_or_default());
        clean
    }

    pub(crate) fn scrub(&self, error: Error) -> Error {
        match self.key() {
            Some(key) => error.without(key.expose()),
            None => error,
        }
    }
}

/// An answer's body as it comes, under the time limit between two pieces.
struct Pieces {
    body: Body,
    idle: Duration,
    op: &'static str,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        let body = &mut self.body;
        within(self.idle, self.op, async move { body.piece().await.transpose() }).await
    }

    /// Collects text; beyond `most` bytes it is cut or refused.
    async fn text(&mut self, most: usize, cut: bool) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        while let Some(piece) = self.next().await? {
            let room = most.saturating_sub(text.len());
            if piece.len() > room && !cut {
                return Err(Error::new(
                    ErrorKind::BadResponse,
                    format!("the answer is longer than the allowed {most} bytes of text"),
                ));
            }
            text.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if cut && text.len() >= most {
                break;
            }
        }
        Ok(text)
    }
}

async fn within<T>(
    limit: Duration,
    op: &'static str,
    work: impl Future<Output = Result<T, TransportError>> + Send,
) -> Result<T> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(wire_error(op, &failure)),
        Err(_) => {
            let message = format!("nothing came for {}", humantime::format_duration(limit));
            Err(Error::new(ErrorKind::Timeout, message).in_op(op).retryable())
        }
    }
}

/// Where a media link leads on to; API calls follow no redirects.
fn redirect(
    request: &Request<'_>,
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Url>> {
    if !request.foreign || !status.is_redirection() {
        return Ok(None);
    }
    let target = headers
        .get(http::header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let Some(next) = target.and_then(|target| from.join(target).ok()) else {
        return Ok(None);
    };
    if next.scheme() != "https" && next.origin() != from.origin() {
        return Err(Error::new(
            ErrorKind::BadResponse,
            "the media link leads to an unprotected host",
        )
        .in_op(request.op));
    }
    Ok(Some(next))
}

fn wire_error(op: &'static str, failure: &TransportError) -> Error {
    let kind = if failure.timeout {
        ErrorKind::Timeout
    } else {
        ErrorKind::Network
    };
    let sent = failure.sent;
    let error = Error::new(kind, failure.to_string()).in_op(op).retryable();
    let error = match std::error::Error::source(failure) {
        Some(source) => error.because(source.to_string()),
        None => error,
    };
    if sent == Sent::No {
        error.not_billed()
    } else {
        error
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("name", &self.0.options.name)
            .finish_non_exhaustive()
    }
}
