//! One attempt at one request: what is known about its money, and its single answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Charge, Error, ErrorKind, Result};
use crate::key::{Attempt, AttemptKey};
use crate::lane::Halts;
use crate::limit::HoldSlot;
use crate::provider::{Facts, Generated, Link, Resolved};
use crate::request::MediaRequest;
use crate::sync::lock;

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
pub(crate) struct Unfinished(Arc<AtomicUsize>);

impl Unfinished {
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
    all: Unfinished,
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
    waits: bool,
    halts: Option<Arc<Halts>>,
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
            waits: true,
            halts: None,
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

    /// Whether it waits for the remote batch that it is sent in.
    pub(crate) fn waiting(mut self, waits: bool) -> Job {
        self.waits = waits;
        self
    }

    /// Calls it off where it waits to be sent, once its lane is halted.
    pub(crate) fn unless_halted(mut self, halts: &Arc<Halts>) -> Job {
        self.halts = Some(Arc::clone(halts));
        self
    }

    /// Why it is not to be sent any more, or again, if so. What halted its lane befell another one, so that this one is not
    /// failed by it: a later run makes it.
    pub(crate) fn called_off(&self) -> Option<Error> {
        let reason = self.halts.as_ref()?.of(&self.resolved)?;
        // That no more calls of the day could be set aside says nothing of those that are set aside for this one.
        if reason.kind() == ErrorKind::QuotaExhausted && self.hold.has_calls() {
            return None;
        }
        let message = "it was not sent, because nothing more is to be";
        Some(
            Error::new(ErrorKind::Cancelled, message)
                .not_billed()
                .because(reason),
        )
    }

    /// Whether somebody waits for the remote batch that it is sent in. Otherwise it is answered with
    /// [`ErrorKind::Pending`] as soon as it is handed over.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits
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
            let charge = self.charge_of(error.charge());
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
    fn charge_of(&self, said: Option<Charge>) -> Charge {
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

    /// The service answered a send of this key without saying what becomes of it: it may go on, and be billed. As good as a
    /// lost answer.
    pub fn left_open(&self) {
        lock(&self.money).lost = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::{attempt, resolved};

    fn job() -> (Job, oneshot::Receiver<Result<Generated>>) {
        let request = MediaRequest::image("a dog", "dog.png");
        let resolved = Arc::new(resolved());
        Job::new(Arc::new(request), resolved, "p", attempt(), Prior::Fresh)
    }

    fn refused() -> Error {
        Error::new(ErrorKind::RateLimited, "too fast").not_billed()
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
}
