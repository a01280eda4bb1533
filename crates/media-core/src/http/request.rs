//! One request to a service, and what may be done when its answer is lost.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::key::AttemptKey;
use crate::limit::{HoldSlot, Units};
use crate::output::Staged;
use crate::sync::lock;

/// What the fetch of a link is called in messages, and by which judges know it.
pub const DOWNLOAD: &str = "download";

/// What may be done when the answer to a paid request is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Nothing: a second send would be a second purchase.
    Never,
    /// The service knows the attempt key and refuses to do it twice: the same body may be sent again within `window`
    /// of the first send.
    SameKey {
        /// How long the service is trusted to remember the key, from its first send on, in an earlier process too.
        window: Duration,
    },
}

/// One request to a service.
pub struct Request<'a> {
    pub(super) op: &'static str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) jobs: Vec<&'a Job>,
    pub(super) paid: Option<Resend>,
    pub(super) group: String,
    pub(super) units: Units,
    pub(super) counted: bool,
    pub(super) holds: Vec<HoldSlot>,
    pub(super) foreign: bool,
    pub(super) output: Option<&'a Path>,
    keeps: Option<AttemptKey>,
    /// What came with the last answer that cannot be used.
    left: Mutex<Option<Staged>>,
    pub(super) batch: Option<String>,
}

impl<'a> Request<'a> {
    fn new(op: &'static str, method: Method, url: Url) -> Request<'a> {
        Request {
            op,
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            jobs: Vec::new(),
            paid: None,
            group: "other".to_owned(),
            units: Units::default(),
            counted: false,
            holds: Vec::new(),
            foreign: false,
            output: None,
            keeps: None,
            left: Mutex::new(None),
            batch: None,
        }
    }

    /// A request that can be repeated at will, because nothing is ever billed for it.
    #[must_use]
    pub fn free(op: &'static str, url: Url) -> Request<'a> {
        Request::new(op, Method::GET, url)
    }

    /// A request that buys something for these jobs. Written to the journal before it is sent.
    #[must_use]
    pub fn paid(op: &'static str, url: Url, jobs: &[&'a Job], resend: Resend) -> Request<'a> {
        let mut request = Request::new(op, Method::POST, url).serving(jobs);
        request.paid = Some(resend);
        request
    }

    /// A request that may leave for another host than the service's: it never carries the key.
    #[must_use]
    pub fn download(url: Url, output: &'a Path) -> Request<'a> {
        let mut request = Request::new(DOWNLOAD, Method::GET, url);
        request.foreign = true;
        request.output = Some(output);
        request
    }

    /// The jobs it works for: their ids stand in the log, and calls set aside for them are spent.
    #[must_use]
    pub fn serving(mut self, jobs: &[&'a Job]) -> Request<'a> {
        self.jobs = jobs.to_vec();
        self.holds = jobs.iter().map(|job| job.hold().clone()).collect();
        self
    }

    /// Counts it in this limit group, with these units.
    #[must_use]
    pub fn in_group(mut self, group: &str, units: &Units) -> Request<'a> {
        group.clone_into(&mut self.group);
        self.units = units.clone();
        self
    }

    /// Counts it against the group's daily quota too.
    #[must_use]
    pub fn counted(mut self) -> Request<'a> {
        self.counted = true;
        self
    }

    /// Spends the counted calls that are set aside here.
    pub(crate) fn spending(mut self, hold: &HoldSlot) -> Request<'a> {
        self.holds.push(hold.clone());
        self
    }

    /// Keeps what comes damaged, in place of dropping it: it was paid for under this key.
    pub(crate) fn keeping(mut self, key: AttemptKey) -> Request<'a> {
        self.keeps = Some(key);
        self
    }

    /// Media of an answer that cannot be used.
    pub(super) fn leave(&self, staged: Option<Staged>) {
        if staged.is_some() {
            *lock(&self.left) = staged;
        }
    }

    /// What was left, and the key that it was paid for under. Of several jobs nobody can tell whose it is.
    pub(super) fn take_left(&self) -> Option<(Staged, AttemptKey)> {
        let of_job = match self.jobs.as_slice() {
            [job] if self.is_paid() => Some(job.key()),
            _ => None,
        };
        let key = self.keeps.or(of_job)?;
        let mut left = lock(&self.left);
        Some((left.take()?, key))
    }

    /// With this body as JSON; makes it a POST.
    ///
    /// # Errors
    /// The body cannot be written as JSON.
    pub fn with_json(mut self, body: &impl Serialize) -> Result<Request<'a>> {
        let text = serde_json::to_vec(body).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, "the request cannot be written as JSON")
                .because(error)
                .not_billed()
        })?;
        self.method = Method::POST;
        self.body = Bytes::from(text);
        self.headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(self)
    }

    /// With this body; makes it a POST.
    ///
    /// # Errors
    /// The content type is not a valid header value.
    pub fn with_body(mut self, kind: &str, body: impl Into<Bytes>) -> Result<Request<'a>> {
        self.method = Method::POST;
        self.body = body.into();
        let kind = HeaderValue::try_from(kind).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, "the request cannot be built")
                .because(error)
                .not_billed()
        })?;
        self.headers.insert(http::header::CONTENT_TYPE, kind);
        Ok(self)
    }

    /// Makes it a POST, without a body where none is given.
    #[must_use]
    pub fn post(mut self) -> Request<'a> {
        self.method = Method::POST;
        self
    }

    /// Sends its jobs in the remote batch of this key, by which it can be found again.
    #[must_use]
    pub fn in_batch(mut self, key: &str) -> Request<'a> {
        self.batch = Some(key.to_owned());
        self
    }

    /// With this header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Request<'a> {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn is_paid(&self) -> bool {
        self.paid.is_some()
    }

    /// Whether an earlier send under the same keys may have been billed.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.jobs.iter().any(|job| job.is_in_doubt())
    }

    /// Why none of its jobs is to be sent any more, if so. One that still may takes the others along: they cost nothing
    /// where the service refuses their model. What costs nothing, or looks after a purchase, is never called off.
    pub(super) fn called_off(&self) -> Option<Error> {
        if !self.is_paid() && (!self.counted || self.must_be_finished()) {
            return None;
        }
        let reasons: Option<Vec<Error>> = self.jobs.iter().map(|job| job.called_off()).collect();
        reasons?.into_iter().next()
    }

    /// Whether stopping now could lose something that may have been paid for.
    pub(super) fn must_be_finished(&self) -> bool {
        self.foreign || self.jobs.iter().any(|job| job.is_at_stake())
    }

    /// Where media of this request will end up, as far as it decides where they are staged.
    pub(super) fn output(&self) -> &Path {
        let of_jobs = || self.jobs.first().map(|job| job.request().output_path.as_path());
        self.output.or_else(of_jobs).unwrap_or(Path::new("media"))
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the address or the headers: both can hold the key.
        f.debug_struct("Request")
            .field("op", &self.op)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}
