//! One attempt at one request: its key, what is known about its money, and its single answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{Charge, Error, ErrorKind, Result};
use crate::limit::HoldSlot;
use crate::provider::{Facts, Generated, Link, Resolved};
use crate::request::MediaRequest;

/// The key of one attempt, sent to services that take one. A UUID v4 in form, computed rather than drawn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptKey(Uuid);

/// Which attempt at which job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The job's id.
    pub job: String,
    /// What is bought.
    pub request: RequestHash,
    /// The number of the take, from 1.
    pub take: u32,
    /// The number of the attempt at this take, from 1.
    pub number: u32,
}

impl AttemptKey {
    /// The key of an attempt within a project.
    ///
    /// The same two give the same key for ever, so a lost ledger can be rebuilt by asking with the same keys.
    #[must_use]
    pub fn compute(project: &str, attempt: &Attempt) -> AttemptKey {
        let mut hash = Sha256::new();
        for part in [project, &attempt.job] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(attempt.request.0);
        hash.update(attempt.take.to_le_bytes());
        hash.update(attempt.number.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        AttemptKey(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The UUID.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.0
    }

    /// Reads a key in its usual written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<AttemptKey> {
        Uuid::parse_str(text).ok().map(AttemptKey)
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What makes two requests the same purchase: kind, provider, model, resolved content and parameters, language, format
/// and variant. Not the path, not the id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// The hash of a resolved request at this provider instance.
    #[must_use]
    pub fn of(provider: &str, request: &MediaRequest, resolved: &Resolved) -> RequestHash {
        let mut text = String::from("media-request-1\n");
        let kind = request.kind.to_string();
        for part in [&kind, provider, &resolved.model, &resolved.content] {
            push_text(part, &mut text);
            text.push('\n');
        }
        match &resolved.language {
            Some(language) => push_text(language, &mut text),
            None => text.push_str("null"),
        }
        text.push('\n');
        push_text(resolved.format.name(), &mut text);
        text.push('\n');
        text.push_str(&request.variant.to_string());
        text.push('\n');
        for (name, value) in &resolved.params {
            push_text(name, &mut text);
            text.push('\n');
            canonical(value, &mut text);
            text.push('\n');
        }
        RequestHash(Sha256::digest(&text).into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first half, hexadecimal: enough to tell purchases apart where people read it.
    #[must_use]
    pub fn short(&self) -> String {
        hex(self.0.get(..16).unwrap_or_default())
    }

    /// The hash that has these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> RequestHash {
        RequestHash(bytes)
    }
}

impl fmt::Debug for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// JSON with sorted keys, whatever map type serde_json was built with: its `preserve_order` feature can be switched on
/// by any crate of the tree, and a key computed from the text must not change with it.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, value) in entries {
                push_text(name, out);
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::String(text) => push_text(text, out),
        plain => out.push_str(&plain.to_string()),
    }
}

/// A text as JSON. Most need no escapes, and making another string of each shows in the rate of small jobs.
fn push_text(text: &str, out: &mut String) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// What happened to the job's current key in an earlier process.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Prior {
    /// It was never sent, or the send was refused without a charge.
    #[default]
    Fresh,
    /// It was sent, and no answer is known.
    Sent {
        /// How long ago it was sent first, where that is known.
        ago: Option<Duration>,
        /// The key of the remote batch that it was sent in, where it was.
        batch: Option<String>,
    },
    /// What was sent is not known at all, because the ledger was lost: this attempt or a later one may have been. Each is
    /// asked for before the first is sent. Only for services that can be asked.
    Perhaps,
    /// The service said where the result is.
    Linked {
        /// Where.
        link: Link,
        /// What it said beside.
        facts: Box<Facts>,
    },
    /// Its bytes are on disk under a staging name.
    Have {
        /// SHA-256 of the bytes, hexadecimal.
        sha256: String,
        /// Where they are staged.
        staged: PathBuf,
        /// What the service said of them.
        facts: Box<Facts>,
    },
}

/// Counts the tasks that were sent and have not come to their end, to tell somebody who wants to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicUsize>);

impl Sent {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A task that has not been sent.
    pub(crate) fn mark(&self) -> Arc<SentMark> {
        Arc::new(SentMark {
            all: self.clone(),
            is_sent: AtomicBool::new(false),
        })
    }
}

/// Whether one task was sent. Dropping the last clone of it is the task's end.
#[derive(Debug)]
pub(crate) struct SentMark {
    all: Sent,
    is_sent: AtomicBool,
}

impl SentMark {
    fn set(&self) {
        if !self.is_sent.swap(true, Ordering::Relaxed) {
            self.all.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for SentMark {
    fn drop(&mut self) {
        if *self.is_sent.get_mut() {
            self.all.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// When a key was sent first. By two clocks, of which the one that is further on counts: the steady one stands still
/// while a machine sleeps, and the other one can be set back.
#[derive(Clone, Copy, Debug)]
struct FirstSend {
    /// What had passed by then, where an earlier process made it.
    before: Duration,
    steady: Instant,
    wall: SystemTime,
}

impl FirstSend {
    fn now(before: Duration) -> FirstSend {
        FirstSend {
            before,
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn ago(&self) -> Duration {
        let since = self.wall.elapsed().unwrap_or_default().max(self.steady.elapsed());
        self.before.saturating_add(since)
    }
}

/// What the sends under one key have come to, as far as money goes.
#[derive(Debug, Default)]
struct Money {
    /// A send is on the wire and has no answer yet.
    in_flight: bool,
    /// A send was answered by something other than a refusal.
    answered: bool,
    /// A send's fate will never be known. Sticky: what later sends of the same key bring does not clear it.
    lost: bool,
    first_send: Option<FirstSend>,
}

/// One attempt at one request.
///
/// It is answered exactly once: by [`finish`](Job::finish), or by being dropped, which is answered as a failure that
/// knows whether money is at stake. So no job can vanish, whatever a provider or a panic does.
pub struct Job {
    request: Arc<MediaRequest>,
    resolved: Arc<Resolved>,
    attempt: Attempt,
    key: AttemptKey,
    prior: Prior,
    money: Mutex<Money>,
    hold: HoldSlot,
    mark: Option<Arc<SentMark>>,
    request_id: Mutex<Option<String>>,
    answer: Mutex<Option<oneshot::Sender<Result<Generated>>>>,
}

impl Job {
    /// A job and the end where its answer arrives. Its key is computed within `project`.
    #[must_use]
    pub fn new(
        request: Arc<MediaRequest>,
        resolved: Arc<Resolved>,
        project: &str,
        attempt: Attempt,
        prior: Prior,
    ) -> (Job, oneshot::Receiver<Result<Generated>>) {
        let (send, receive) = oneshot::channel();
        // A key that was sent by an earlier process and never answered is in doubt from the start.
        let lost = matches!(prior, Prior::Sent { .. });
        let first_send = match &prior {
            Prior::Sent { ago, .. } => ago.map(FirstSend::now),
            _ => None,
        };
        let job = Job {
            request,
            resolved,
            key: AttemptKey::compute(project, &attempt),
            attempt,
            prior,
            money: Mutex::new(Money {
                lost,
                first_send,
                ..Money::default()
            }),
            hold: HoldSlot::default(),
            mark: None,
            request_id: Mutex::new(None),
            answer: Mutex::new(Some(send)),
        };
        (job, receive)
    }

    /// Lets it spend the counted calls that are set aside in `hold`.
    pub(crate) fn spending(mut self, hold: &HoldSlot) -> Job {
        self.hold = hold.clone();
        self
    }

    /// Sets this mark when it is sent.
    pub(crate) fn marking(mut self, mark: &Arc<SentMark>) -> Job {
        self.mark = Some(Arc::clone(mark));
        self
    }

    /// What is asked.
    #[must_use]
    pub fn request(&self) -> &MediaRequest {
        &self.request
    }

    /// The request as it is sent.
    #[must_use]
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Which attempt it is.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// The key of this attempt.
    #[must_use]
    pub fn key(&self) -> AttemptKey {
        self.key
    }

    /// What happened to this key before.
    #[must_use]
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// Answers the job. Only the first answer counts.
    ///
    /// A failure leaves with its charge settled: doubt left by any send of this key outweighs what the failure itself
    /// claims, and silence about a send that reached the wire means unknown.
    pub fn finish(&self, result: Result<Generated>) {
        let result = result.map_err(|error| {
            let charge = self.settle(error.charge());
            error.with_charge(charge)
        });
        if let Some(answer) = lock(&self.answer).take() {
            // The receiver is gone only when the whole run is being torn down.
            let _ = answer.send(result);
        } else {
            tracing::debug!(job = %self.request.id, "a second answer to a job was ignored");
        }
    }

    /// Whether it has been answered.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        lock(&self.answer).is_none()
    }

    /// The id that the service gave to the last answer for this job (`x-request-id`), for its support and its bill.
    #[must_use]
    pub fn request_id(&self) -> Option<String> {
        lock(&self.request_id).clone()
    }

    pub(crate) fn answered_as(&self, request_id: &str) {
        *lock(&self.request_id) = Some(request_id.to_owned());
    }

    /// What is known about the money of this key, given what a failure says about itself.
    fn settle(&self, said: Option<Charge>) -> Charge {
        let money = lock(&self.money);
        match said {
            Some(Charge::Certain) => Charge::Certain,
            Some(Charge::None) if !money.lost && !money.in_flight => Charge::None,
            None if !money.lost && !money.in_flight && !money.answered => Charge::None,
            _ => Charge::Unknown,
        }
    }

    /// Whether a send of this key may have been billed without an answer.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        let money = lock(&self.money);
        money.lost || money.in_flight
    }

    /// The service was asked about this very key and said what became of it. That answers for every send of it, also for
    /// those whose answers were lost, so that a failure which it calls unbilled is one.
    pub fn fate_is_known(&self) {
        let mut money = lock(&self.money);
        money.lost = false;
        money.answered = true;
    }

    /// How long ago this key was sent first; `None` when it was not, or nobody knows when.
    pub(crate) fn sent_ago(&self) -> Option<Duration> {
        lock(&self.money).first_send.as_ref().map(FirstSend::ago)
    }

    /// Whether any send of this key was not refused, so that there may be something to fetch.
    pub(crate) fn is_at_stake(&self) -> bool {
        let money = lock(&self.money);
        money.lost || money.in_flight || money.answered
    }

    /// A paid send of this key is about to reach the wire.
    pub(crate) fn sending(&self) {
        let mut money = lock(&self.money);
        money.in_flight = true;
        // A refused send is none that the service could remember.
        if !money.lost && !money.answered {
            money.first_send = Some(FirstSend::now(Duration::ZERO));
        }
        drop(money);
        if let Some(mark) = &self.mark {
            mark.set();
        }
    }

    /// The send came to an end: answered, proven unbilled, or lost.
    pub(crate) fn sent(&self, end: SendEnd) {
        let mut money = lock(&self.money);
        money.in_flight = false;
        match end {
            SendEnd::Answered => money.answered = true,
            SendEnd::Refused => {}
            SendEnd::Lost => money.lost = true,
        }
    }

    pub(crate) fn hold(&self) -> &HoldSlot {
        &self.hold
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_finished() {
            self.finish(Err(Error::new(
                ErrorKind::Cancelled,
                "it was given up before an answer came",
            )));
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.request.id)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// How a paid send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendEnd {
    /// An answer came that is no refusal.
    Answered,
    /// It is proven that this send was not billed.
    Refused,
    /// No usable answer: it may have been billed.
    Lost,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one of these short sections held the lock cannot leave them half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::limit::Units;
    use std::collections::BTreeMap;

    fn resolved() -> Resolved {
        Resolved {
            model: "m".into(),
            content: "a dog".into(),
            language: None,
            params: BTreeMap::new(),
            format: Format::Png,
            group: "image".into(),
            units: Units::default(),
            calls: 1,
            dimensions: None,
        }
    }

    fn job() -> (Job, oneshot::Receiver<Result<Generated>>) {
        let request = MediaRequest::image("a dog", "dog.png");
        let resolved = Arc::new(resolved());
        Job::new(Arc::new(request), resolved, "p", attempt(), Prior::Fresh)
    }

    fn attempt() -> Attempt {
        let request = MediaRequest::image("a dog", "dog.png");
        Attempt {
            job: "dog".into(),
            request: RequestHash::of("acme", &request, &resolved()),
            take: 1,
            number: 1,
        }
    }

    fn refused() -> Error {
        Error::new(ErrorKind::RateLimited, "too fast").not_billed()
    }

    #[test]
    fn a_key_is_a_uuid_v4_and_depends_on_every_part() {
        let key = |change: fn(&mut Attempt)| {
            let mut attempt = attempt();
            change(&mut attempt);
            AttemptKey::compute("p", &attempt)
        };
        let plain = key(|_| ());
        assert_eq!(plain.uuid().get_version_num(), 4);
        assert_eq!(plain, key(|_| ()));
        assert_ne!(plain, key(|attempt| attempt.number = 2));
        assert_ne!(plain, key(|attempt| attempt.take = 2));
        let other = MediaRequest::image("a dog", "dog.png").variant(2);
        let other = RequestHash::of("acme", &other, &resolved());
        assert_ne!(
            plain,
            AttemptKey::compute(
                "p",
                &Attempt {
                    request: other,
                    ..attempt()
                }
            )
        );
        let og = Attempt {
            job: "og".into(),
            ..attempt()
        };
        assert_ne!(plain, AttemptKey::compute("pd", &og));
    }

    /// Keys are how a lost ledger is rebuilt, so they must never change between versions.
    #[test]
    fn keys_stay_what_they_were() {
        assert_eq!(
            AttemptKey::compute("p", &attempt()).to_string(),
            "3ce2b55a-54cb-4171-a1a9-a89bacc6c2c5"
        );
    }

    #[test]
    fn the_path_and_the_id_are_not_part_of_the_purchase() {
        let one = MediaRequest::image("a dog", "dog.png").id("one");
        let two = MediaRequest::image("a dog", "other.png").id("two");
        assert_eq!(
            RequestHash::of("acme", &one, &resolved()),
            RequestHash::of("acme", &two, &resolved())
        );
    }

    #[test]
    fn a_refusal_clears_only_its_own_send() {
        let (job, answer) = job();
        job.sending();
        job.sent(SendEnd::Lost);
        job.sending();
        job.sent(SendEnd::Refused);
        job.finish(Err(refused()));
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().charge(),
            Some(Charge::Unknown)
        );
    }

    #[test]
    fn what_the_service_says_of_the_key_itself_ends_the_doubt() {
        let (job, answer) = job();
        job.sending();
        job.sent(SendEnd::Lost);
        job.fate_is_known();
        job.finish(Err(Error::new(ErrorKind::ProviderFault, "it failed").not_billed()));
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().charge(),
            Some(Charge::None)
        );
    }

    #[test]
    fn a_refusal_alone_is_free() {
        let (job, answer) = job();
        job.sending();
        job.sent(SendEnd::Refused);
        job.finish(Err(refused()));
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().charge(),
            Some(Charge::None)
        );
    }

    #[test]
    fn silence_after_an_answer_is_unknown_and_before_any_send_free() {
        let (sent, answer) = job();
        sent.sending();
        sent.sent(SendEnd::Answered);
        sent.finish(Err(Error::new(ErrorKind::BadResponse, "what?")));
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().charge(),
            Some(Charge::Unknown)
        );

        let (unsent, answer) = job();
        unsent.finish(Err(Error::new(ErrorKind::InvalidRequest, "no")));
        assert_eq!(
            answer.blocking_recv().unwrap().unwrap_err().charge(),
            Some(Charge::None)
        );
    }

    #[test]
    fn dropping_it_answers_and_remembers_the_wire() {
        let (job, answer) = job();
        job.sending();
        drop(job);
        let error = answer.blocking_recv().unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.charge()),
            (ErrorKind::Cancelled, Some(Charge::Unknown))
        );
    }

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let mut text = String::new();
        canonical(
            &serde_json::json!({"b": [1, {"d": 1, "c": "x\""}], "a": null}),
            &mut text,
        );
        assert_eq!(text, r#"{"a":null,"b":[1,{"c":"x\"","d":1,},],}"#);
    }
}
