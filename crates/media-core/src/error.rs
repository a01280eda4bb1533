//! The one error of every provider, transport, file and configuration failure, with what it may have cost.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use crate::money::Usd;
use crate::provider::Candidate;

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A configuration file, variable or flag is wrong or missing.
    Config,
    /// The environment variable that holds a key is not set.
    MissingApiKey,
    /// The request is malformed: found here before sending, or refused by the service.
    InvalidRequest,
    /// The provider cannot do this at all (a format, a kind, a model feature).
    Unsupported,
    /// The key is wrong, expired or revoked.
    Authentication,
    /// The key is good but may not do this (scope, unverified organisation, country).
    PermissionDenied,
    /// The account has no money left, or a spending limit at the service was reached.
    InsufficientCredit,
    /// A counted allowance (calls per day) is used up until it resets.
    QuotaExhausted,
    /// A cap of the caller's own would be exceeded.
    BudgetExceeded,
    /// Too fast; later it will be accepted.
    RateLimited,
    /// Moderation refused the text or the result.
    ContentRejected,
    /// There is no such thing: no recording of the word, no such task.
    NotFound,
    /// The connection failed or broke.
    Network,
    /// No answer within the configured time.
    Timeout,
    /// The service failed.
    ProviderFault,
    /// The service answered something that could not be understood.
    BadResponse,
    /// The bytes that came are not a whole, valid file of the wanted format.
    InvalidMedia,
    /// A local file, directory, ledger or disk failed.
    Storage,
    /// The service has it and is not done with it; it is asked again later.
    Pending,
    /// It was stopped before it was done.
    Cancelled,
}

impl ErrorKind {
    /// The name used in result lines and in `next_when` of chains: `not_found`, `rate_limited`, ...
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::MissingApiKey => "missing_api_key",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Authentication => "authentication",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::InsufficientCredit => "insufficient_credit",
            ErrorKind::QuotaExhausted => "quota_exhausted",
            ErrorKind::BudgetExceeded => "budget_exceeded",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::ContentRejected => "content_rejected",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Network => "network",
            ErrorKind::Timeout => "timeout",
            ErrorKind::ProviderFault => "provider_fault",
            ErrorKind::BadResponse => "bad_response",
            ErrorKind::InvalidMedia => "invalid_media",
            ErrorKind::Storage => "storage",
            ErrorKind::Pending => "pending",
            ErrorKind::Cancelled => "cancelled",
        }
    }

    /// The kind of this name, as [`ErrorKind::as_str`] writes it.
    #[must_use]
    pub fn named(name: &str) -> Option<ErrorKind> {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        ErrorKind::deserialize(name).ok()
    }

    /// Whether every further request to the same provider would fail the same way until a person or the clock acts.
    #[must_use]
    pub fn stops_lane(self) -> bool {
        matches!(
            self,
            ErrorKind::MissingApiKey
                | ErrorKind::Authentication
                | ErrorKind::InsufficientCredit
                | ErrorKind::QuotaExhausted
                | ErrorKind::BudgetExceeded
        )
    }

    /// Whether every further request for the same model would fail the same way: a model that is not there, or that
    /// the key may not use.
    #[must_use]
    pub fn stops_model(self) -> bool {
        matches!(self, ErrorKind::Config | ErrorKind::PermissionDenied)
    }

    /// Whether the same request fails the same way again, so that only a change of the request helps.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            ErrorKind::InvalidRequest
                | ErrorKind::Unsupported
                | ErrorKind::ContentRejected
                | ErrorKind::NotFound
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failure may have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Proven: nothing was billed.
    None,
    /// Nobody can tell: it may have been billed.
    Unknown,
    /// It was billed.
    Certain,
}

impl Charge {
    /// `none`, `unknown` or `certain`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Charge::None => "none",
            Charge::Unknown => "unknown",
            Charge::Certain => "certain",
        }
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request would fail the same way.
    Never,
    /// A later try may pass.
    Later,
    /// A later try might have passed, but the configured tries are used up: outer loops must not start over.
    Spent,
}

/// A failure of one operation.
///
/// `Display` prints one lower-case fragment of this level only; what caused it is in [`source`](StdError::source).
/// Small (one pointer) and cheap to clone, because one lost answer can fail every task of a batch.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    op: Option<Cow<'static, str>>,
    charge: Option<Charge>,
    retry: Retry,
    retry_after: Option<Duration>,
    until: Option<jiff::Timestamp>,
    code: Option<String>,
    next: Option<String>,
    candidates: Vec<Candidate>,
    cost: Option<Usd>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of this kind; `message` is a lower-case fragment without a full stop.
    ///
    /// Nothing is known about its charge (see [`charge`](Error::charge)), and it is not retried.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            op: None,
            charge: None,
            retry: Retry::Never,
            retry_after: None,
            until: None,
            code: None,
            next: None,
            candidates: Vec::new(),
            cost: None,
            source: None,
        }))
    }

    /// A mistake in the configuration or the command line, found before anything was sent: not billed.
    pub fn config(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, message).not_billed()
    }

    /// A mistake in the request, found before it was sent: not billed.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidRequest, message).not_billed()
    }

    /// The disk or its owner fails at a path. `what` is said before it: "cannot write in".
    pub fn storage(what: &str, path: &Path, error: io::Error) -> Error {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space and run the same command")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("make the folder writable")
            }
            io::ErrorKind::NotADirectory => {
                Some("a file stands where a folder is needed: move it away, or choose another folder")
            }
            _ => None,
        };
        let failure = Error::new(ErrorKind::Storage, format!("{what} {}", path.display())).because(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Error {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Says which operation failed: `image generation`, `lookup`, ...
    #[must_use]
    pub fn in_op(self, op: impl Into<Cow<'static, str>>) -> Error {
        let op = op.into();
        self.edit(|inner| inner.op = Some(op))
    }

    /// Says what is known about the money.
    #[must_use]
    pub fn with_charge(self, charge: Charge) -> Error {
        self.edit(|inner| inner.charge = Some(charge))
    }

    /// Says that nothing was billed.
    #[must_use]
    pub fn not_billed(self) -> Error {
        self.with_charge(Charge::None)
    }

    /// Says that it was billed, and with how much if the service told.
    #[must_use]
    pub fn billed(self, cost: Option<Usd>) -> Error {
        self.edit(|inner| {
            inner.charge = Some(Charge::Certain);
            inner.cost = cost;
        })
    }

    /// Says nothing about the money.
    #[must_use]
    pub fn without_charge(self) -> Error {
        self.edit(|inner| inner.charge = None)
    }

    /// Says whether a later try may pass.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Error {
        self.edit(|inner| inner.retry = retry)
    }

    /// Says that a later try may pass.
    #[must_use]
    pub fn retryable(self) -> Error {
        self.with_retry(Retry::Later)
    }

    /// The least time to wait before the next try, as the service said.
    #[must_use]
    pub fn after(self, delay: Option<Duration>) -> Error {
        self.edit(|inner| inner.retry_after = delay)
    }

    /// The moment at which a quota resets.
    #[must_use]
    pub fn until(self, moment: Option<jiff::Timestamp>) -> Error {
        self.edit(|inner| inner.until = moment)
    }

    /// The service's own error code.
    #[must_use]
    pub fn with_code(self, code: Option<String>) -> Error {
        self.edit(|inner| inner.code = code)
    }

    /// What the user can do about it, as a fragment: `set FORVO_API_KEY`, `change the word`.
    #[must_use]
    pub fn hint(self, next: impl Into<String>) -> Error {
        let next = next.into();
        self.edit(|inner| inner.next = Some(next))
    }

    /// What the service had, of which nothing was taken, best first.
    #[must_use]
    pub fn out_of(self, candidates: Vec<Candidate>) -> Error {
        self.edit(|inner| inner.candidates = candidates)
    }

    /// What caused it.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let source = source.into();
        self.edit(|inner| inner.source = Some(Arc::from(source)))
    }

    /// Replaces every occurrence of `secret` in what this error would show.
    ///
    /// Services echo keys in their messages; this is the last line of defence before a log.
    #[must_use]
    pub fn without(self, secret: &str) -> Error {
        let shows = |text: &str| without_secret(text, secret).is_some();
        let mut in_causes = false;
        let mut cause = self.source();
        while let Some(error) = cause {
            in_causes |= shows(&error.to_string()) || shows(&format!("{error:?}"));
            cause = error.source();
        }
        let texts = [
            self.0.code.as_deref(),
            self.0.next.as_deref(),
            Some(&self.0.message),
        ];
        if !in_causes && !texts.into_iter().flatten().any(shows) {
            return self;
        }
        let clean = |text: String| without_secret(&text, secret).unwrap_or(text);
        self.edit(|inner| {
            inner.message = clean(std::mem::take(&mut inner.message));
            inner.code = inner.code.take().map(clean);
            inner.next = inner.next.take().map(clean);
            if in_causes {
                inner.source = None;
            }
        })
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the service had, of which nothing was taken, best first.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// What the failure cost, where it was billed and the service told.
    #[must_use]
    pub fn cost(&self) -> Option<Usd> {
        self.0.cost
    }

    /// What is known about the money; `None` when the error itself does not say.
    ///
    /// A failed result of a [`Client`](crate::Client) always says: silence about a paid send means [`Charge::Unknown`].
    #[must_use]
    pub fn charge(&self) -> Option<Charge> {
        self.0.charge
    }

    /// Whether a later try may pass.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The least time to wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// When the quota that ran out resets.
    #[must_use]
    pub fn resets_at(&self) -> Option<jiff::Timestamp> {
        self.0.until
    }

    /// The service's own error code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What the user can do about it.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.0.next.as_deref()
    }

    /// The message without the operation.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// This level and every cause below it on one line, for a report or a terminal.
    #[must_use]
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let line = error.to_string();
            // Libraries repeat their source in their own message; saying it twice helps nobody.
            if !text.contains(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }
}

/// The text with `[key]` in place of the secret and of beginnings of it (excerpts are cut, and half a key is one too many);
/// `None` where it shows neither.
fn without_secret(text: &str, secret: &str) -> Option<String> {
    // Shorter ones are of servers that want none, and may be words.
    const LEAST: usize = 4;
    const LEAST_BEGINNING: usize = 6;
    let least = secret.len().min(LEAST_BEGINNING);
    let beginning = secret.get(..least).filter(|_| least >= LEAST)?;
    let (mut clean, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.find(beginning).and_then(|at| rest.split_at_checked(at)) {
        let same = secret
            .bytes()
            .zip(from.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        clean.push_str(before);
        clean.push_str("[key]");
        // Where they part within a character, the rest of that goes too.
        rest = (same..=from.len())
            .find_map(|end| from.get(end..))
            .unwrap_or_default();
    }
    (rest.len() < text.len()).then(|| clean + rest)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(op) = &self.0.op {
            write!(f, "{op}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind).field("message", &inner.message);
        if let Some(op) = &inner.op {
            out.field("op", op);
        }
        out.field("charge", &inner.charge).field("retry", &inner.retry);
        if let Some(delay) = inner.retry_after {
            out.field("retry_after", &delay);
        }
        if let Some(code) = &inner.code {
            out.field("code", code);
        }
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_level_and_full_is_the_chain() {
        let error = Error::new(ErrorKind::Network, "the connection broke")
            .in_op("image generation")
            .because(std::io::Error::other("reset by peer"));
        assert_eq!(error.to_string(), "image generation: the connection broke");
        assert_eq!(
            error.full(),
            "image generation: the connection broke: reset by peer"
        );
    }

    #[test]
    fn a_secret_is_taken_out_of_message_and_code() {
        let error = Error::new(ErrorKind::Authentication, "incorrect key sk-12345 given")
            .with_code(Some("bad sk-12345".into()))
            .without("sk-12345");
        assert_eq!(error.to_string(), "incorrect key [key] given");
        assert!(!format!("{error:?}").contains("sk-12345"));
    }

    #[test]
    fn of_a_secret_no_beginning_is_left_and_whatever_it_is_the_search_ends() {
        let clean = |text, secret| without_secret(text, secret);
        assert_eq!(
            clean("sk-1234 and sk-12345, sk-123", "sk-12345").as_deref(),
            Some("[key] and [key], [key]")
        );
        assert_eq!(clean("cut: sk-123é", "sk-123è!").as_deref(), Some("cut: [key]"));
        assert_eq!(clean("say [key]", "[key]").as_deref(), Some("say [key]"));
        assert_eq!(clean("nothing of it", "sk-12345"), None);
        assert_eq!(clean("abc", "abc"), None, "a word");
    }

    #[test]
    fn it_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
