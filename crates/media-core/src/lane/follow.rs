//! From a job's answer to its end: another attempt, recovery of what was bought, or the way to the file.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Instrument;

use super::{Answer, Lane, Task};
use crate::error::{Charge, Error, ErrorKind, Result, Retry};
use crate::job::Prior;
use crate::journal::Event;
use crate::output::{self, Staged};
use crate::provider::{Generated, Media};

/// Keys that a job is asked for by when its ledger is lost. Each run that was refused
/// without leaving a trace there (for its pace, for want of credit) used up one number.
const KEYS_ASKED_FOR: u32 = 16;
/// Takes after the wanted one that a lost ledger may have had made, and that are asked for.
const LATER_TAKES: u32 = 3;

impl Lane {
    /// Follows one task from its answer to its result.
    pub(super) async fn see_through(self: Arc<Self>, task: Task, answer: Answer) {
        let span = tracing::debug_span!("job", id = %task.request.id, attempt = task.attempt.number);
        self.whatever_happens(task, async |task| {
            let answer = received(answer.await);
            // Boxed: thousands may wait for their answers, and what comes after is large.
            Box::pin(self.follow(task, answer)).await;
        })
        .instrument(span)
        .await;
    }

    /// A task that an earlier process left unfinished.
    pub(super) async fn resume(self: Arc<Self>, task: Task) {
        let span = tracing::debug_span!("job", id = %task.request.id, attempt = task.attempt.number);
        self.whatever_happens(task, async |task| match task.prior.clone() {
            Prior::Fresh => {
                let error = Error::new(ErrorKind::Cancelled, "nothing was bought that could be fetched");
                self.fail(task, error.not_billed()).await;
            }
            // Boxed, here and below: hundreds may wait for a remote batch, and what comes after is large.
            Prior::Perhaps => Box::pin(self.look_for(task)).await,
            Prior::Sent { ago, batch } => {
                let lost = Error::new(
                    ErrorKind::Cancelled,
                    "it was sent by an earlier run whose answer was lost, so it may have been billed",
                );
                let is_in_batch = batch.is_some();
                let prior = Prior::Sent { ago, batch };
                let mut answer = self.recover(&task, prior).await;
                if !is_in_batch {
                    // For a batch the error says why nobody can tell, so it is kept; elsewhere it only means that nothing was found.
                    answer = answer.filter(is_definite);
                }
                if answer.is_none() && self.may_resend(&task, ago) {
                    answer = Box::pin(self.resend(&task, ago)).await;
                }
                match answer {
                    Some(answer) => Box::pin(self.follow(task, answer)).await,
                    None => Box::pin(self.fail(task, lost.with_charge(Charge::Unknown))).await,
                }
            }
            Prior::Linked { link, facts } => {
                let media = Media::Link(link);
                Box::pin(self.conclude(task, Generated { media, facts: *facts })).await;
            }
            Prior::Have {
                sha256,
                staged,
                facts,
            } => {
                let again = output::blocking(move || {
                    let found = Staged::again(&staged)?;
                    if found.sha256() == sha256 {
                        return Ok(found);
                    }
                    let message = format!("the staged file {} is not what it was", staged.display());
                    Err(Error::new(ErrorKind::InvalidMedia, message))
                });
                match again.await {
                    Ok(staged) => {
                        let media = Media::Staged(staged);
                        Box::pin(self.conclude(task, Generated { media, facts: *facts })).await;
                    }
                    Err(error) => {
                        let error = error.with_charge(self.charge_of_bought());
                        Box::pin(self.fail_with(task, error, *facts)).await;
                    }
                }
            }
        })
        .instrument(span)
        .await;
    }

    /// Sees to it that a task is answered even when the work on it panics: it may have been paid for.
    async fn whatever_happens(&self, task: Task, work: impl AsyncFnOnce(Task)) {
        let spare = task.clone();
        if AssertUnwindSafe(work(task)).catch_unwind().await.is_err() {
            tracing::error!(id = %spare.request.id, "the work on a job panicked");
            let error = Error::new(
                ErrorKind::Cancelled,
                "the program failed while it was at work on it, so it may have been billed",
            );
            let charge = if self.is_free() {
                Charge::None
            } else {
                Charge::Unknown
            };
            Box::pin(self.fail(spare, error.with_charge(charge))).await;
        }
    }

    /// The loop over attempts: a new one is begun only after a failure that is proven not billed.
    async fn follow(&self, mut task: Task, mut answer: Result<Generated>) {
        let mut delays = self.http().settings().retry.delays();
        loop {
            let mut error = match answer {
                Ok(generated) => return self.conclude(task, generated).await,
                Err(error) => error,
            };
            if error.charge() == Some(Charge::Unknown) && error.kind() != ErrorKind::Pending {
                match self
                    .recover(
                        &task,
                        Prior::Sent {
                            ago: None,
                            batch: None,
                        },
                    )
                    .await
                    .filter(is_definite)
                {
                    Some(Ok(generated)) => return self.conclude(task, generated).await,
                    Some(Err(fate)) => error = fate,
                    None => {}
                }
            }
            if error.charge() == Some(Charge::None) && !self.is_free() {
                // Some failures come inside a success or by asking later; `Http` could not see those.
                self.http().journal().note(task.key, Event::Refused);
            }
            let again = task.buys && error.charge() == Some(Charge::None) && error.retry() == Retry::Later;
            let Some(delay) = delays
                .next()
                .filter(|_| again && self.halts.of(&task.resolved).is_none())
            else {
                return self.fail(task, error).await;
            };
            tracing::debug!(%error, "begun again under a new key");
            let number = task.attempt.number;
            task.turn_to(number + 1, self.client.project());
            let delay = error.retry_after().unwrap_or(delay).max(delay);
            answer = match self.again(&task, delay).await {
                Some(answer) => answer,
                None => {
                    task.turn_to(number, self.client.project());
                    return self.fail(task, error).await;
                }
            };
        }
    }

    /// A task of which nobody knows what was sent for it: each attempt that may have been is asked for, and only when none
    /// of them came to anything it is begun.
    async fn look_for(&self, mut task: Task) {
        let prior = Prior::Sent {
            ago: None,
            batch: None,
        };
        let attempts = self.http().settings().retry.attempts.max(1);
        let equals = Arc::clone(&task.equals);
        let (id, take) = (task.attempt.job.clone(), task.attempt.take);
        let numbers = |id, take, most: u32| (1..=most).map(move |number| (id, take, number));
        // The newest take first: it is the one that was wanted last.
        let later = (1..=LATER_TAKES)
            .rev()
            .flat_map(|ahead| numbers(&id, take + ahead, attempts));
        let own = numbers(&id, take, attempts.max(KEYS_ASKED_FOR));
        let others = equals.iter().flat_map(|other| numbers(other, take, attempts));
        let mut asked = Vec::new();
        let (jobs, answers): (Vec<_>, Vec<_>) = later
            .chain(own)
            .chain(others)
            .map(|(by, of_take, number)| {
                let mut asks = task.clone();
                asks.attempt.job.clone_from(by);
                asks.attempt.take = of_take;
                asks.turn_to(number, self.client.project());
                // What was bought under another name is this one's first attempt, as far as this ledger knows.
                let is_own = *by == id;
                asked.push(if is_own { (of_take, number) } else { (take, 1) });
                self.job(&asks, prior.clone())
            })
            .unzip();
        self.client.provider().recover(&jobs).await;
        let (mut doubt, mut spent) = (None, None);
        for ((of_take, number), mut answer) in asked.into_iter().zip(answers) {
            match answer.try_recv() {
                Ok(Ok(generated)) => {
                    task.attempt.take = of_take;
                    task.turn_to(number, self.client.project());
                    self.found_sent(&task).await;
                    return self.conclude(task, generated).await;
                }
                // Bought, and no good; a later key may have brought a better one.
                Ok(Err(error)) if error.charge() == Some(Charge::Certain) => {
                    spent.get_or_insert((of_take, number, error));
                }
                Ok(Err(error)) if error.kind().stops_lane() || error.charge() == Some(Charge::Unknown) => {
                    doubt.get_or_insert(error);
                }
                // It is known to have come to nothing, or the service knows nothing of it.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if let Some(error) = doubt {
            // It is under way, or could not be asked for: whatever is sent now may be bought beside it.
            task.attempt.number = 0;
            return self.fail(task, error).await;
        }
        if let Some((of_take, number, error)) = spent {
            task.attempt.take = of_take;
            task.turn_to(number, self.client.project());
            self.found_sent(&task).await;
            return self.fail(task, error).await;
        }
        task.turn_to(1, self.client.project());
        let nothing = |what: &str| Error::new(ErrorKind::Cancelled, what.to_owned()).not_billed();
        if !task.buys {
            return self
                .fail(task, nothing("nothing was bought that could be fetched"))
                .await;
        }
        match self.again(&task, Duration::ZERO).await {
            Some(answer) => self.follow(task, answer).await,
            None => {
                self.fail(task, nothing("it was stopped before it was sent"))
                    .await;
            }
        }
    }

    /// Writes down that the task's key was sent: by a run whose ledger is lost, and which the service remembers.
    async fn found_sent(&self, task: &Task) {
        let attempt = task.attempt.clone();
        let found = [(task.key, Event::Found { attempt })];
        if let Err(error) = self.http().journal().record(&found).await {
            tracing::debug!(%error, "what was sent before could not be written down");
        }
    }

    /// Whether the service still refuses to do the task's key twice.
    fn may_resend(&self, task: &Task, ago: Option<Duration>) -> bool {
        let window = self.client.info().capabilities.resend_seconds;
        match (window, ago) {
            (Some(window), Some(ago)) => task.buys && ago < Duration::from_secs(window),
            _ => false,
        }
    }

    /// Sends a task once more under the key that an earlier process had sent: the service says that it has it, or this is
    /// its first purchase. `None` when nothing more is to be begun.
    async fn resend(&self, task: &Task, ago: Option<Duration>) -> Option<Result<Generated>> {
        let _call = self.place_for(task).await?;
        let (job, answer) = self.job(task, Prior::Sent { ago, batch: None });
        self.ask(vec![job]).await;
        Some(received(answer.await))
    }

    /// A place among the calls for one more send; `None` when a stop was asked for, or nothing more is to be begun by now.
    async fn place_for(&self, task: &Task) -> Option<OwnedSemaphorePermit> {
        let stop = &self.http().wiring().stop;
        let place = stop.or(Arc::clone(&self.calls).acquire_owned()).await?.ok()?;
        self.halts.of(&task.resolved).is_none().then_some(place)
    }

    /// One more attempt, alone, after a wait. `None` when nothing more is to be begun by then.
    async fn again(&self, task: &Task, delay: Duration) -> Option<Result<Generated>> {
        let stop = &self.http().wiring().stop;
        stop.or(tokio::time::sleep(delay)).await?;
        let _call = self.place_for(task).await?;
        let (job, answer) = match self.begin(task).await {
            Ok(begun) => begun,
            Err(error) => return Some(Err(error)),
        };
        self.ask(vec![job]).await;
        Some(received(answer.await))
    }

    /// Asks the provider for what the current key made. Never buys. `None` when it cannot tell.
    pub(super) async fn recover(&self, task: &Task, prior: Prior) -> Option<Result<Generated>> {
        // What is in a remote batch can always be asked for: the batch is found by its key.
        let is_in_batch = matches!(&prior, Prior::Sent { batch: Some(_), .. });
        if !self.client.info().capabilities.recoverable && !is_in_batch {
            return None;
        }
        let (job, mut answer) = self.job(task, prior);
        self.client.provider().recover(std::slice::from_ref(&job)).await;
        let recovered = answer.try_recv().ok()?;
        if let Err(error) = &recovered {
            tracing::debug!(%error, "nothing could be recovered");
        }
        Some(recovered)
    }
}

/// Whether an answer says what became of a key: its result, that it failed and what that cost, or that it is not done.
fn is_definite(answer: &Result<Generated>) -> bool {
    !matches!(answer, Err(error) if says_nothing(error))
}

fn says_nothing(error: &Error) -> bool {
    error.charge() == Some(Charge::Unknown)
        && !error.kind().stops_lane()
        && error.kind() != ErrorKind::Pending
}

fn received(answer: Result<Result<Generated>, oneshot::error::RecvError>) -> Result<Generated> {
    // A job answers when it is dropped, so this is only reached when the runtime itself is torn down.
    answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Cancelled, "the work was given up")))
}
