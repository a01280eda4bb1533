//! An answer as a provider judges it.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::lenient;
use crate::limit;
use crate::text::one_line;

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
    /// Whether it is an event of a stream, not an answer by itself.
    #[must_use]
    pub fn is_event(&self) -> bool {
        is_event_stream(self.headers)
    }

    /// The body as JSON, if it is JSON.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        lenient::json(self.body).ok()
    }

    /// The least time to wait that the headers ask for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        limit::retry_after(self.headers, SystemTime::now())
    }

    /// Whether its status is that of a failure which says nothing about the request and may be over soon.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429) || self.status.is_server_error()
    }

    /// What the status alone says. For answers that are not in the service's own words: proxies, gateways.
    ///
    /// A refusal (4xx, 429 among them) bills nothing. About other failures nothing is known: the work may have been done
    /// behind the gateway that says 500, 502, 503 or 504.
    #[must_use]
    pub fn by_status(&self) -> Error {
        self.by_status_saying(&self.excerpt())
    }

    /// The same for an answer whose words are known and mean nothing more than its status. `said`: those words, on one line.
    #[must_use]
    pub fn by_status_saying(&self, said: &str) -> Error {
        let status = self.status.as_u16();
        let (kind, what) = match status {
            401 => (ErrorKind::Authentication, "the key was refused"),
            402 => (ErrorKind::InsufficientCredit, "the account has no credit left"),
            403 => (ErrorKind::PermissionDenied, "access was denied"),
            // Not that the service lacks what is asked for: that would pass a request on in a chain.
            404 | 410 => (ErrorKind::Config, "the service does not know this address"),
            408 => (ErrorKind::Timeout, "the service gave up waiting"),
            409 => (
                ErrorKind::ProviderFault,
                "the service was busy with the same thing",
            ),
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
        let message = if said.is_empty() {
            format!("{what} ({status})")
        } else {
            format!("{what} ({status}): {said}")
        };
        let error = Error::new(kind, message).in_op(self.op).after(self.retry_after());
        match status {
            429 => error.retryable().not_billed(),
            408 | 409 | 500..=599 => error.retryable(),
            404 | 410 => error
                .not_billed()
                .hint("check base_url in the provider's configuration"),
            400..=499 => error.not_billed(),
            _ => error,
        }
    }

    /// What a media host says that is not the service: it knows neither the key nor the account, so its refusals are
    /// about the link alone.
    pub(crate) fn of_media_host(&self) -> Error {
        let error = self.by_status();
        if error.retry() == Retry::Later {
            return error.without_charge();
        }
        let status = self.status.as_u16();
        let shown = self.excerpt();
        let colon = if shown.is_empty() { "" } else { ": " };
        Error::new(
            ErrorKind::ProviderFault,
            format!("the media host refused the link ({status}){colon}{shown}"),
        )
        .in_op(self.op)
        .hint("the same command again asks for it again, and buys nothing")
    }

    /// The beginning of the body for a message, on one line.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..self.body.len().min(400)).unwrap_or_default());
        // With it the marks begin that stand where media stood (`divert.rs`).
        one_line(&text.replace("\\u0001", ""), 160)
    }
}

/// By the `Content-Type`, whatever its parameters.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        let name = kind.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Reads answers for what is wrong with them, by a service's own rules.
pub trait Judge: fmt::Debug + Send + Sync {
    /// Called for every answer; for media only when something else came in their place or the status is no success.
    ///
    /// # Errors
    /// What the answer says went wrong, and what it says about money. [`Reply::by_status`] serves for the rest.
    fn judge(&self, reply: &Reply<'_>) -> Result<()>;
}
