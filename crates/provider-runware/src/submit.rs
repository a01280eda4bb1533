//! Buying: sends tasks under their attempt keys and makes sure that none of them is sent under a second one in doubt.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;
use media_core::http::{Request, Resend};
use media_core::limit::Units;
use media_core::{Charge, Error, ErrorKind, Generated, Job, Result};
use tokio::time::sleep;

use crate::check::IMAGE_GROUP;
use crate::error::{Class, IMAGE_OP, SPEECH_OP};
use crate::fetch::Waiting;
use crate::map::{self, Reader, State, States};
use crate::provider::Runware;
use crate::wire::{Envelope, MEDIA_FIELDS};

/// Where the outcome of a job goes.
pub(crate) type Answer<'a> = dyn Fn(&Job, Result<Generated>) + Send + Sync + 'a;

type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How a send of unsettled tasks is grouped. A server may refuse a whole array because of one task in it, so what an
/// answer leaves open goes once more without the settled ones, and then each alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    First,
    Rest,
    Alone,
}

/// What the answer to a submit leaves to be done.
#[derive(Default)]
struct Open<'a> {
    /// The task exists: its result has to be fetched.
    fetch: Vec<Waiting<'a>>,
    /// It is not known that the task exists; what is said of it when no further send settles it.
    again: Vec<(&'a Job, Error)>,
}

impl Runware {
    /// Buys what these jobs ask for and answers each as soon as its result is known.
    pub(crate) async fn buy(&self, jobs: &[&Job], answer: &Answer<'_>) {
        // Pictures and speech have limits of their own, so they are calls of their own.
        let (images, speech): (Vec<_>, Vec<_>) =
            jobs.iter().partition(|job| job.resolved().group == IMAGE_GROUP);
        tokio::join!(self.buy_group(images, answer), self.buy_group(speech, answer));
    }

    async fn buy_group(&self, mut jobs: Vec<&Job>, answer: &Answer<'_>) {
        while !jobs.is_empty() {
            // Equal keys are one purchase. The second asks after the first and gets what that bought.
            let mut keys = BTreeSet::new();
            let most = self.config().tasks_per_request.get();
            let (now, later): (Vec<_>, Vec<_>) = jobs
                .into_iter()
                .partition(|job| keys.len() < most && keys.insert(job.key()));
            self.purchase(now, Round::First, answer).await;
            jobs = later;
        }
    }

    /// Sends tasks once, then fetches those that were accepted while those in the open are sent again.
    fn purchase<'a>(&'a self, jobs: Vec<&'a Job>, round: Round, answer: &'a Answer<'a>) -> Boxed<'a> {
        Box::pin(async move {
            let states = match self.submit(&jobs).await {
                Ok(states) => states,
                // Refused as a whole without a word about which: one of them may be at fault, or their number.
                Err(error) if jobs.len() > 1 && error.kind().is_lasting() && is_free(&error) => {
                    let alone = jobs
                        .into_iter()
                        .map(|job| self.purchase(vec![job], Round::Alone, answer));
                    join_all(alone).await;
                    return;
                }
                Err(error) => {
                    for job in jobs {
                        answer(job, Err(error.clone()));
                    }
                    return;
                }
            };
            let open = self.sort(jobs, states, answer);
            tokio::join!(
                self.fetch(open.fetch, answer),
                self.settle(open.again, round, answer)
            );
        })
    }

    /// One POST of several tasks.
    async fn submit(&self, jobs: &[&Job]) -> Result<States> {
        let Some(first) = jobs.first() else {
            return Ok(States::default());
        };
        let group = &first.resolved().group;
        let (op, units) = if group == IMAGE_GROUP {
            (
                IMAGE_OP,
                Units::default()
                    .with("requests", 1)
                    .with("images", jobs.len() as u64),
            )
        } else {
            (SPEECH_OP, Units::default().with("requests", 1))
        };
        let delivery = &self.config().delivery;
        let tasks: Vec<_> = jobs
            .iter()
            .map(|job| map::task(job.resolved(), job.key(), delivery))
            .collect();
        let window = self.config().resend_window.0;
        let request = Request::paid(op, self.endpoint(), jobs, Resend::SameKey { window })
            .in_group(group, &units)
            .counted()
            .with_json(&tasks)?;
        let (envelope, media) = self.wire().json_media::<Envelope>(request, &MEDIA_FIELDS).await?;
        Ok(Reader::new(media, self.config().image.when_flagged).submitted(envelope))
    }

    /// Answers what is settled; gives back what is not.
    fn sort<'a>(&self, jobs: Vec<&'a Job>, mut states: States, answer: &Answer<'_>) -> Open<'a> {
        let mut open = Open::default();
        for job in jobs {
            let op = if job.resolved().group == IMAGE_GROUP {
                IMAGE_OP
            } else {
                SPEECH_OP
            };
            match states.take(job.key()) {
                Some(State::Done(generated)) => answer(job, Ok(*generated)),
                Some(State::Flagged(error)) => answer(job, Err(error.in_op(op))),
                Some(State::Running) => open.fetch.push(self.accepted(job)),
                Some(State::Unusable(_)) => open.fetch.push(Waiting::in_doubt(job)),
                Some(State::Failed(error)) => match error.class() {
                    // Used before: the first submit arrived, whatever became of its answer.
                    Class::Conflict => open.fetch.push(Waiting::in_doubt(job)),
                    // Turned away. If the task exists after all, the same key gets a conflict; else this is its first
                    // purchase.
                    Class::Pace => open.again.push((job, error.of_task(op))),
                    // Cut off, and it may go on: a sync task does, and is billed.
                    Class::Timeout | Class::Server => {
                        open.again.push((job, error.of_task(op).without_charge()));
                    }
                    _ => answer(job, Err(error.of_task(op))),
                },
                None => {
                    let error =
                        Error::new(ErrorKind::BadResponse, "the answer does not mention the task").in_op(op);
                    open.again.push((job, error));
                }
            }
        }
        open
    }

    /// Sends what is in the open again, under the same keys, as long as Runware remembers them.
    async fn settle<'a>(&'a self, open: Vec<(&'a Job, Error)>, round: Round, answer: &'a Answer<'a>) {
        if open.is_empty() {
            return;
        }
        let retry = &self.config().retry;
        let last = round == Round::Alone || (round == Round::Rest && open.len() == 1) || retry.attempts <= 1;
        let stopped = self.wire().wiring().stop.is_asked();
        let (given_up, again): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(_, error)| last || (stopped && is_free(error)));
        for (job, error) in given_up {
            answer(job, Err(error));
        }
        let again: Vec<&Job> = again.into_iter().map(|(job, _)| job).collect();
        if again.is_empty() {
            return;
        }
        sleep(retry.first_delay.0).await;
        match round {
            Round::First => self.purchase(again, Round::Rest, answer).await,
            Round::Rest | Round::Alone => {
                for job in again {
                    self.purchase(vec![job], Round::Alone, answer).await;
                }
            }
        }
    }
}

fn is_free(error: &Error) -> bool {
    error.charge() == Some(Charge::None)
}
