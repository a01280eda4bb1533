//! Fetching what was bought: asks about tasks until they are done. Nothing here can buy.

use std::time::Duration;

use media_core::http::Request;
use media_core::limit::Units;
use media_core::{Error, ErrorKind, Generated, Job, Media, Prior, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Mode, POLL_GROUP};
use crate::error::RESULT_OP;
use crate::map::{Reader, State, States};
use crate::provider::Runware;
use crate::wire::{Envelope, MEDIA_FIELDS, Question};

/// A task whose result is waited for.
pub(crate) struct Waiting<'a> {
    job: &'a Job,
    /// What was wrong with the result that came at once.
    unusable: Option<Error>,
    /// It was not accepted just now by this mode of delivery, so the other place for results is looked at too: a task
    /// made in sync mode is in the archive only.
    in_doubt: bool,
}

impl<'a> Waiting<'a> {
    /// A task that was accepted just now.
    pub(crate) fn accepted(job: &'a Job, mode: Mode) -> Waiting<'a> {
        Waiting {
            job,
            unusable: None,
            in_doubt: mode == Mode::Sync,
        }
    }

    pub(crate) fn in_doubt(job: &'a Job) -> Waiting<'a> {
        Waiting {
            job,
            unusable: None,
            in_doubt: true,
        }
    }

    /// A task whose result came and cannot be used: the archive may have a better one.
    pub(crate) fn after(job: &'a Job, error: Error) -> Waiting<'a> {
        Waiting {
            unusable: Some(error),
            ..Waiting::in_doubt(job)
        }
    }
}

/// The two places for results.
#[derive(Clone, Copy)]
enum Place {
    /// `getResponse`: async tasks, as they come in.
    Response,
    /// `getTaskDetails`: the archive of all tasks.
    Archive,
}

impl Runware {
    /// Asks until every task is done or failed, or `timeouts.total` is over. A question that fails fails no task.
    pub(crate) async fn fetch(&self, mut waiting: Vec<Waiting<'_>>) {
        let began = Instant::now();
        let total = self.config.timeouts.total;
        let mut rounds = 0;
        let mut pauses = self.pauses();
        // Why the last question failed, where it did.
        let mut trouble = None;
        while !waiting.is_empty() {
            sleep(pauses.next().min(total.0.saturating_sub(began.elapsed()))).await;
            let mut states = match self.ask_in_time(&waiting, began).await {
                Ok((states, _)) => {
                    trouble = None;
                    states
                }
                Err(error) if error.kind().stops_lane() => {
                    for one in waiting {
                        one.job.finish(Err(error.clone()));
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "a question about results failed");
                    trouble = Some(error);
                    States::default()
                }
            };
            rounds += 1;
            waiting.retain_mut(|one| {
                match states
                    .take(one.job.key())
                    .and_then(|state| outcome(one.job, state))
                {
                    Some(outcome) => {
                        one.job.finish(outcome);
                        false
                    }
                    // Nobody has a better one.
                    None if rounds >= self.config.delivery.least_rounds && one.unusable.is_some() => {
                        let error = one.unusable.take();
                        error
                            .into_iter()
                            .for_each(|error| one.job.finish(Err(error.in_op(RESULT_OP))));
                        false
                    }
                    None => true,
                }
            });
            if began.elapsed() >= total.0 {
                break;
            }
        }
        for one in waiting {
            let message = format!(
                "accepted, but no result within {}",
                humantime::format_duration(total.0)
            );
            // Accepted tasks are billed whether or not anybody waits for them: nothing is said about the charge.
            let error = Error::new(ErrorKind::Timeout, message);
            let error = match &trouble {
                Some(trouble) => error.because(trouble.clone()),
                None => error,
            };
            one.job
                .finish(Err(one.unusable.unwrap_or(error).in_op(RESULT_OP)));
        }
    }

    /// Looks for what earlier sends of these jobs' keys made, with a few questions. Silent about tasks that nobody knows.
    pub(crate) async fn look_for(&self, jobs: &[Job]) {
        let mut open: Vec<Waiting<'_>> = jobs
            .iter()
            .filter(|job| !job.is_finished())
            .map(Waiting::in_doubt)
            .collect();
        let delivery = &self.config.delivery;
        let (began, total) = (Instant::now(), self.config.timeouts.total.0);
        let mut pauses = self.pauses();
        let (mut rounds, mut unknown_rounds) = (0, 0);
        while !open.is_empty() {
            let (mut states, unasked) = match self.ask_in_time(&open, began).await {
                Ok(asked) => asked,
                // The client should know why. An error of a question says nothing about money.
                Err(error) => {
                    return open.iter().for_each(|one| one.job.finish(Err(error.clone())));
                }
            };
            let nobody_knows = open.iter().all(|one| states.peek(one.job.key()).is_none());
            unknown_rounds += u32::from(nobody_knows);
            let (mut left, mut running) = (Vec::new(), Vec::new());
            for one in open {
                match states.take(one.job.key()) {
                    Some(state) => match outcome(one.job, state) {
                        Some(outcome) => one.job.finish(outcome),
                        None => running.push(one),
                    },
                    None => left.push(one),
                }
            }
            rounds += 1;
            // Once the pauses have reached their maximum, or the time is over, this call stops waiting.
            let is_unknown = unknown_rounds >= delivery.unknown_rounds.get();
            let is_late = pauses.at_most() || began.elapsed() >= total;
            if is_unknown || (rounds >= delivery.least_rounds && is_late) {
                let error = Error::new(ErrorKind::Timeout, "the service is still at work on it");
                for one in running {
                    one.job.finish(Err(error.clone().in_op(RESULT_OP)));
                }
                // Where only one of two places could be asked, nobody can say that the service knows nothing.
                for (one, error) in left.iter().zip(unasked.iter().cycle()) {
                    one.job.finish(Err(error.clone()));
                }
                return;
            }
            open = left;
            open.append(&mut running);
            if !open.is_empty() {
                sleep(pauses.next()).await;
            }
        }
    }

    /// The same as [`ask`](Self::ask), given up when `timeouts.total` from `began` is over, but not before an answer could
    /// come: a service that has everybody wait for their turn to ask would otherwise be waited for without end.
    async fn ask_in_time(&self, waiting: &[Waiting<'_>], began: Instant) -> Result<(States, Option<Error>)> {
        let timeouts = &self.config.timeouts;
        let left = timeouts.total.0.saturating_sub(began.elapsed());
        let asked = timeout(left.max(timeouts.first_byte.0), self.ask(waiting));
        asked.await.unwrap_or_else(|_| {
            let message = "a question about results waited too long for its turn or its answer";
            Err(Error::new(ErrorKind::Timeout, message).in_op(RESULT_OP))
        })
    }

    /// What is known about these tasks: from the place where this mode's results are, and for what is not there, or is
    /// there as the link that just failed, from the other place; with the error of that one where it could not be asked.
    async fn ask(&self, waiting: &[Waiting<'_>]) -> Result<(States, Option<Error>)> {
        let (first, second) = match self.config.delivery.mode {
            Mode::Async => (Place::Response, Place::Archive),
            Mode::Sync => (Place::Archive, Place::Response),
        };
        let jobs: Vec<&Job> = waiting.iter().map(|one| one.job).collect();
        let mut states = self.look(first, &jobs).await?;
        let open: Vec<&Job> = waiting
            .iter()
            .filter(|one| {
                one.in_doubt
                    && states
                        .peek(one.job.key())
                        .is_none_or(|state| is_stale(one.job, state))
            })
            .map(|one| one.job)
            .collect();
        let mut unasked = None;
        if !open.is_empty() {
            match self.look(second, &open).await {
                Ok(mut more) => {
                    for job in open {
                        let known = states.peek(job.key()).is_some();
                        let fresh = matches!(more.peek(job.key()), Some(state @ State::Done(_)) if !is_stale(job, state));
                        // What is known is the link that just failed; only a fresh one is better than that.
                        if known && fresh {
                            states.take(job.key());
                        } else if known {
                            more.take(job.key());
                        }
                    }
                    states.merge(more);
                }
                Err(error) => {
                    tracing::debug!(%error, "the second place for results could not be asked");
                    unasked = Some(error);
                }
            }
        }
        Ok((states, unasked))
    }

    /// One POST of several questions per group of tasks.
    async fn look(&self, place: Place, jobs: &[&Job]) -> Result<States> {
        let mut states = States::default();
        for some in jobs.chunks(self.config.tasks_per_request.get()) {
            let questions: Vec<_> = some
                .iter()
                .map(|job| {
                    let task_uuid = job.key().to_string();
                    match place {
                        Place::Response => Question::GetResponse { task_uuid },
                        Place::Archive => Question::GetTaskDetails { task_uuid },
                    }
                })
                .collect();
            let request = Request::free(RESULT_OP, self.endpoint())
                .serving(some)
                .in_group(POLL_GROUP, &Units::default())
                .with_json(&questions)?;
            let (envelope, media) = self.http.json_media::<Envelope>(request, &MEDIA_FIELDS).await?;
            let reader = Reader::new(media, self.config.image.when_flagged);
            states.merge(match place {
                Place::Response => reader.polled(envelope),
                Place::Archive => reader.archived(envelope),
            });
        }
        Ok(states)
    }

    fn pauses(&self) -> Pauses {
        let delivery = &self.config.delivery;
        Pauses {
            next: delivery.first_poll.0,
            most: delivery.max_poll.0,
            growth: delivery.poll_growth,
        }
    }
}

/// The pauses between questions, each longer than the last.
struct Pauses {
    next: Duration,
    most: Duration,
    growth: f64,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.mul_f64(self.growth).min(self.most);
        pause
    }

    fn at_most(&self) -> bool {
        self.next >= self.most
    }
}

/// The end of a task, if it has come to one.
fn outcome(job: &Job, state: State) -> Option<Result<Generated>> {
    match state {
        State::Running => None,
        State::Done(generated) => Some(Ok(*generated)),
        State::Failed(error) => {
            // Said of this very taskUUID: no send of it, answered or not, can have made anything else.
            job.fate_is_known();
            Some(Err(error.of_task(RESULT_OP)))
        }
        State::Unusable(error) | State::Flagged(error) => Some(Err(error.in_op(RESULT_OP))),
    }
}

/// Whether this is nothing but the link whose download just failed.
fn is_stale(job: &Job, state: &State) -> bool {
    let State::Done(generated) = state else {
        return false;
    };
    match (job.prior(), &generated.media) {
        (Prior::Linked { link: dead, .. }, Media::Link(link)) => dead.url == link.url,
        _ => false,
    }
}
