//! One call on the wire: the message out, the answer in, its media straight to disk, the judge at the end.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use url::Url;

use super::divert::Diverter;
use super::events::{Event, Events};
use super::reply::is_event_stream;
use super::transport::{Body, Sent, TransportError};
use super::{Auth, Http, Reply, Request};
use crate::error::{Charge, Error, ErrorKind, Result};
use crate::limit;
use crate::output::{Intake, StageWriter, Staged, defect_error};
use crate::secret::ApiKey;
use crate::validate::Defect;

/// What is expected of an answer.
#[derive(Clone, Copy)]
pub(super) enum Expect<'a> {
    Json,
    /// Any bytes, into this file.
    File(&'a Path),
    Media,
    JsonMedia(&'a [&'a str]),
    /// Server-sent events: only that of this type is the result. A server that knows no streams answers as above.
    Events {
        fields: &'a [&'a str],
        last: &'a str,
    },
}

/// An answer, its media already staged.
pub(super) struct Received {
    pub(super) text: Vec<u8>,
    pub(super) media: Vec<Staged>,
}

impl Received {
    fn of_text(text: Vec<u8>) -> Received {
        Received {
            text,
            media: Vec::new(),
        }
    }

    fn of_media(staged: Staged) -> Received {
        Received {
            text: Vec::new(),
            media: vec![staged],
        }
    }
}

/// How much is kept to be read of a refusal, also of one that comes where media were due.
const TEXT_OF_REFUSAL: usize = 64 << 10;
/// Media hosts redirect to their stores, but not for ever.
const MAX_HOPS: usize = 5;

const DEFAULT_USER_AGENT: &str = concat!("media/", env!("CARGO_PKG_VERSION"));

impl Http {
    /// The call itself, under its time limits.
    pub(super) async fn exchange(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        if matches!(expect, Expect::File(_)) {
            // As long as it keeps coming: gigabytes over a slow line take their time, and each try would begin anew.
            return self.exchange_in_time(request, expect).await;
        }
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
        headers.insert(
            USER_AGENT,
            named.unwrap_or(HeaderValue::from_static(DEFAULT_USER_AGENT)),
        );
        if request.foreign && url.scheme() != "https" && url.host() != self.0.options.base_url.host() {
            return Err(Error::new(
                ErrorKind::BadResponse,
                "the media link leads to an unprotected host",
            )
            .in_op(request.op));
        }
        if !request.foreign {
            if !self.is_ours(url) {
                return Err(Error::config("a call was about to leave for another host"));
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
    pub(super) fn is_ours(&self, url: &Url) -> bool {
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
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let intake = Intake::new(&self.wiring().staging, request.output(), sizes.media.0).of_length(length);
        let mut pieces = Pieces {
            body,
            idle: self.settings().timeouts.idle.0,
            op: request.op,
        };
        let is_success = head.status.is_success();
        // Under whatever status: what was made may come beside an error, and then it may be billed.
        let may_hold_media =
            matches!(expect, Expect::JsonMedia(_) | Expect::Events { .. }) && is_of_service(request);
        if !is_success && !may_hold_media {
            return self.refused(request, expect, head, &mut pieces).await;
        }
        match expect {
            Expect::Json => {
                let most = usize::try_from(sizes.text.0).unwrap_or(usize::MAX);
                let text = self.redact(pieces.text(most, false).await?);
                self.judge(request, head, &text)?;
                Ok(Received::of_text(text))
            }
            Expect::File(path) => pieces
                .into_file(path)
                .await
                .map(|()| Received::of_text(Vec::new())),
            Expect::Events { fields, last } if is_success && is_event_stream(&head.headers) => {
                // A stream is open long before there is anything to send.
                pieces.idle = self.settings().timeouts.first_byte.0;
                let new_diverter = || Diverter::new(fields, intake, sizes.text.0);
                self.last_event(request, head, &mut pieces, new_diverter, last)
                    .await
            }
            Expect::JsonMedia(fields) | Expect::Events { fields, .. } => {
                let diverter = Diverter::new(fields, intake, sizes.text.0);
                self.json_with_media(request, head, &mut pieces, diverter).await
            }
            Expect::Media => self.all_media(request, head, &mut pieces, intake.writer()).await,
        }
    }

    /// A body under a status that is no success, where nothing that was made can be.
    async fn refused(
        &self,
        request: &Request<'_>,
        expect: Expect<'_>,
        head: &http::response::Parts,
        pieces: &mut Pieces,
    ) -> Result<Received> {
        let text = self.redact(pieces.text(TEXT_OF_REFUSAL, true).await?);
        if !is_of_service(request) {
            return Err(self.reply(request, head, &text).of_media_host());
        }
        let refused = match (self.judge(request, head, &text), expect) {
            // The judge saw nothing wrong in it: some services put results under other statuses.
            (Ok(()), Expect::Json) => return Ok(Received::of_text(text)),
            (Ok(()), _) => self.reply(request, head, &text).by_status(),
            (Err(error), _) => error,
        };
        Err(came_as(request, refused, &text))
    }

    /// A body of JSON that may hold media, under whatever status.
    async fn json_with_media(
        &self,
        request: &Request<'_>,
        head: &http::response::Parts,
        pieces: &mut Pieces,
        mut diverter: Diverter<'_>,
    ) -> Result<Received> {
        let is_success = head.status.is_success();
        let came = pieces.pour_into(&mut diverter).await;
        let (text, media) = diverter.finish();
        let text = self.redact(text);
        let judged = match came {
            // A refusal may be any text. Of JSON that is too long nobody has read what it holds.
            Err(error) if !is_success && error.kind() == ErrorKind::BadResponse => {
                let judged = self.judge(request, head, &text);
                let is_json = text.trim_ascii_start().starts_with(b"{");
                judged.map_err(|error| if is_json { error.without_charge() } else { error })
            }
            came => came.and_then(|()| self.judge(request, head, &text)),
        };
        match judged {
            Ok(()) => Ok(Received { text, media }),
            Err(error) if !is_success => Err(came_with(request, came_as(request, error, &text), media)),
            Err(error) => Err(came_with(request, error, media)),
        }
    }

    /// A body that is media themselves, or a text in their place.
    async fn all_media(
        &self,
        request: &Request<'_>,
        head: &http::response::Parts,
        pieces: &mut Pieces,
        mut writer: StageWriter,
    ) -> Result<Received> {
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await? {
            writer.push(&piece).await?;
            if writer.is_media() {
                text = Vec::new();
            } else {
                let room = TEXT_OF_REFUSAL.saturating_sub(text.len()).min(piece.len());
                text.extend_from_slice(piece.get(..room).unwrap_or_default());
            }
        }
        let staged = writer.finish().await?;
        let Err(defect) = staged.inspection() else {
            return Ok(Received::of_media(staged));
        };
        // Something else came where media was due: the service may be saying why.
        if matches!(defect, Defect::NotMedia { .. } | Defect::Empty) && is_of_service(request) {
            let is_whole = staged.len() <= text.len() as u64;
            let raw = text.clone();
            let text = self.redact(text);
            self.judge(request, head, &text)?;
            let shows_key = raw != text;
            if is_text(&text) || shows_key {
                // Of a gateway, most likely: whether the service made anything nobody can tell.
                let came = self.reply(request, head, &text).excerpt();
                let message = match came.as_str() {
                    "" => "nothing came where media was due".to_owned(),
                    came => format!("a text came where media was due: {came}"),
                };
                let error = Error::new(ErrorKind::BadResponse, message).in_op(request.op);
                // What may hold the key is not kept.
                let is_kept = request.is_paid() && !text.is_empty() && is_whole && !shows_key;
                request.leave(Some(staged).filter(|_| is_kept));
                return Err(error);
            }
        }
        if request.is_paid() {
            return Ok(Received::of_media(staged));
        }
        let error = defect_error(defect).in_op(request.op);
        let error = if request.counted { error } else { error.retryable() };
        if !matches!(defect, Defect::NotMedia { .. }) {
            request.leave(Some(staged));
        }
        Err(error)
    }

    /// Reads events up to the one that is the result. Others are progress: their media are let go.
    async fn last_event<'a>(
        &self,
        request: &Request<'_>,
        head: &http::response::Parts,
        pieces: &mut Pieces,
        new_diverter: impl Fn() -> Diverter<'a>,
        last: &str,
    ) -> Result<Received> {
        let mut events = Events::new(new_diverter);
        let mut is_open = true;
        while is_open {
            let piece = pieces.next().await?;
            let mut bytes = piece.as_deref().unwrap_or_default();
            is_open = piece.is_some();
            loop {
                let event = if is_open {
                    events.next(&mut bytes).await?
                } else {
                    // The last event may lack the empty line that should end it.
                    events.finish()
                };
                let Some(mut event) = event else { break };
                event.text = self.redact(event.text);
                if let Err(error) = self.judge(request, head, &event.text) {
                    return Err(came_with(request, error, event.media));
                }
                if event.is_end_mark() {
                    is_open = false;
                } else if event.kind() == last {
                    if is_open {
                        pieces.drain().await;
                    }
                    let Event { text, media, .. } = event;
                    return Ok(Received { text, media });
                }
            }
        }
        let message = format!("the stream ended without {last:?}: what came before is not a result");
        Err(Error::new(ErrorKind::BadResponse, message).in_op(request.op))
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
        // Shorter ones are of servers that want none, and may be words of JSON.
        let Some(key) = self.key().map(ApiKey::expose).filter(|key| key.len() >= 8) else {
            return text;
        };
        // Error pages of gateways repeat the address, which may hold it.
        let in_query: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let text = without(text, key.as_bytes());
        let in_path = in_path(key);
        [in_query, in_path]
            .into_iter()
            .filter(|encoded| encoded != key)
            .fold(text, |text, encoded| without(text, encoded.as_bytes()))
    }

    pub(crate) fn scrub(&self, error: Error) -> Error {
        match self.key() {
            Some(key) => error.without(key.expose()),
            None => error,
        }
    }
}

/// A text as a segment of a path, with everything encoded that may have to be.
fn in_path(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encoded = text.bytes().map(|byte| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

fn without(text: Vec<u8>, key: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = memchr::memmem::find_iter(&text, key).collect();
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

    async fn pour_into(&mut self, diverter: &mut Diverter<'_>) -> Result<()> {
        while let Some(piece) = self.next().await? {
            diverter.push(&piece).await?;
        }
        Ok(())
    }

    async fn into_file(mut self, path: &Path) -> Result<()> {
        let failed = |error| Error::storage("cannot write", path, error);
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        // Left to itself it collects 2 MiB.
        file.set_max_buf_size(crate::output::BUFFER);
        while let Some(piece) = self.next().await? {
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }

    /// Takes the rest of a body whose content is known, briefly: its connection can then serve again.
    async fn drain(&mut self) {
        let rest = async { while let Ok(Some(_)) = self.next().await {} };
        let _ = timeout(Duration::from_secs(1), rest).await;
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

/// A refusal in bytes that are no text: they may be what was made.
fn came_as(request: &Request<'_>, error: Error, body: &[u8]) -> Error {
    if is_text(body) || !request.is_paid() {
        return error;
    }
    error.without_charge()
}

/// An error that came with media: what was made may be billed, whatever the error says of money, and is kept for a look.
fn came_with(request: &Request<'_>, error: Error, media: Vec<Staged>) -> Error {
    let first = media.into_iter().next();
    let error = if first.is_some() && request.is_paid() && error.charge() == Some(Charge::None) {
        error.without_charge()
    } else {
        error
    };
    request.leave(first);
    error
}

/// Whether the beginning of a body is something to read, as far as it goes.
fn is_text(beginning: &[u8]) -> bool {
    let valid = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // It may have been cut in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            let valid = beginning.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.contains('\0')
}

/// Whether the service answers, in words that its judge knows, and not a media host, which sees no key.
fn is_of_service(request: &Request<'_>) -> bool {
    !request.foreign || request.counted
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
    // The innermost says what happened; those around it, where in the library.
    let mut cause = std::error::Error::source(failure);
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    let error = match cause {
        Some(cause) => error.because(cause.to_string()),
        None => error,
    };
    if sent == Sent::No {
        error.not_billed()
    } else {
        error
    }
}
