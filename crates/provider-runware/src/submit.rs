//! Buying: sends tasks under their attempt keys, and never under a second key while the first is in doubt.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use media_core::http::{Request, Resend};
use media_core::limit::Units;
use media_core::{Charge, Error, ErrorKind, Job, MediaKind, Result};
use tokio::time::sleep;

use crate::config::Mode;
use crate::error::{Class, IMAGE_OP, SPEECH_OP};
use crate::fetch::Waiting;
use crate::map::{self, Reader, State, States};
use crate::provider::Runware;
use crate::wire::{Envelope, MEDIA_FIELDS};

/// What the answer to a submit leaves to be done.
#[derive(Default)]
struct Open<'a> {
    /// The task exists: its result has to be fetched.
    fetch: Vec<Waiting<'a>>,
    /// It is not known that the task exists; what is said of it when no further send settles it.
    again: Vec<(&'a Job, Error)>,
    /// Refused together, without a word about which of them is at fault.
    alone: Vec<&'a Job>,
    /// Some were turned away for pace.
    is_paced: bool,
}

/// A server may refuse a whole array because of one task in it. So what an answer leaves open is sent once more without
/// the tasks that are settled, and then each task alone; what was accepted is fetched meanwhile.
impl Runware {
    /// Buys what these jobs ask for and finishes each as soon as its result is known.
    pub(crate) async fn buy(&self, jobs: &[Job]) {
        // Pictures and speech have limits of their own, so they are calls of their own.
        let (images, speech): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| is_picture(job));
        tokio::join!(self.buy_group(images), self.buy_group(speech));
    }

    async fn buy_group(&self, mut jobs: Vec<&Job>) {
        while !jobs.is_empty() {
            // Equal keys are one purchase. The second asks after the first and gets what that bought.
            let mut keys = BTreeSet::new();
            let most = self.config.tasks_per_request.get();
            let (now, later): (Vec<_>, Vec<_>) = jobs
                .into_iter()
                .partition(|job| keys.len() < most && keys.insert(job.key()));
            self.send_array(now).await;
            jobs = later;
        }
    }

    async fn send_array(&self, jobs: Vec<&Job>) {
        let open = self.send(jobs).await;
        tokio::join!(self.fetch(open.fetch), self.send_each(open.alone), async {
            let rest = self.wait_to_resend(open.again).await;
            if !rest.is_empty() {
                self.send_rest(rest).await;
            }
        });
    }

    async fn send_rest(&self, jobs: Vec<&Job>) {
        let was_alone = jobs.len() == 1;
        let open = self.send(jobs).await;
        tokio::join!(self.fetch(open.fetch), self.send_each(open.alone), async {
            if was_alone {
                return give_up(open.again);
            }
            for job in self.wait_to_resend(open.again).await {
                self.send_alone(job).await;
            }
        });
    }

    async fn send_each(&self, jobs: Vec<&Job>) {
        join_all(jobs.into_iter().map(|job| self.send_alone(job))).await;
    }

    async fn send_alone(&self, job: &Job) {
        let open = self.send(vec![job]).await;
        give_up(open.again);
        self.fetch(open.fetch).await;
    }

    /// Sends tasks in one array, and finishes what the answer settles.
    async fn send<'a>(&self, jobs: Vec<&'a Job>) -> Open<'a> {
        match self.submit(&jobs).await {
            Ok(states) => {
                let group = jobs.first().map(|job| job.resolved().group.clone());
                let open = sort(jobs, states, self.config.delivery.mode);
                if let Some(group) = group.filter(|_| open.is_paced) {
                    self.http.slow_down(&group);
                }
                open
            }
            // Refused as a whole: one of them may be at fault, or their number.
            Err(error) if jobs.len() > 1 && error.kind().is_lasting() && is_free(&error) => Open {
                alone: jobs,
                ..Open::default()
            },
            Err(error) => {
                for job in jobs {
                    job.finish(Err(error.clone()));
                }
                Open::default()
            }
        }
    }

    /// One POST of several tasks.
    async fn submit(&self, jobs: &[&Job]) -> Result<States> {
        let Some(first) = jobs.first() else {
            return Ok(States::default());
        };
        let group = &first.resolved().group;
        let mut units = Units::default();
        if is_picture(first) {
            units = units.with("images", jobs.len() as u64);
        }
        let delivery = &self.config.delivery;
        let tasks: Vec<_> = jobs
            .iter()
            .map(|job| map::task(job.resolved(), job.key(), delivery))
            .collect();
        let window = self.config.resend_window.0;
        let request = Request::paid(op_of(first), self.endpoint(), jobs, Resend::SameKey { window })
            .in_group(group, &units)
            .counted()
            .with_json(&tasks)?;
        let (envelope, media) = self.http.json_media::<Envelope>(request, &MEDIA_FIELDS).await?;
        Ok(Reader::new(media, self.config.image.when_flagged).submitted(envelope))
    }

    /// Waits before tasks in the open are sent again under the same keys, and gives up those that are not.
    async fn wait_to_resend<'a>(&self, open: Vec<(&'a Job, Error)>) -> Vec<&'a Job> {
        let retry = &self.config.retry;
        let stopped = self.http.wiring().stop.is_asked();
        let (given_up, again): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(_, error)| retry.attempts <= 1 || (stopped && is_free(error)));
        give_up(given_up);
        if !again.is_empty() {
            sleep(retry.first_delay.0).await;
        }
        again.into_iter().map(|(job, _)| job).collect()
    }
}

/// Finishes what is settled; gives back what is not.
fn sort(jobs: Vec<&Job>, mut states: States, mode: Mode) -> Open<'_> {
    let mut open = Open::default();
    for job in jobs {
        let op = op_of(job);
        match states.take(job.key()) {
            Some(State::Done(generated)) => job.finish(Ok(*generated)),
            Some(State::Flagged(error)) => job.finish(Err(error.in_op(op))),
            Some(State::Running) => open.fetch.push(Waiting::accepted(job, mode)),
            Some(State::Unusable(error)) => open.fetch.push(Waiting::after(job, error)),
            Some(State::Failed(error)) => match error.class() {
                // Used before: the first submit arrived, whatever became of its answer.
                Class::Conflict => open.fetch.push(Waiting::in_doubt(job)),
                // Turned away. If the task exists after all, the same key gets a conflict; else this is its first purchase.
                Class::Pace => {
                    open.is_paced = true;
                    open.again.push((job, error.of_task(op)));
                }
                // Cut off, and it may go on: a sync task does, and is billed.
                Class::Timeout | Class::Server => {
                    job.left_open();
                    open.again.push((job, error.of_task(op).without_charge()));
                }
                // Mere words prove nothing. If it was taken on after all, the same key gets a conflict.
                _ if !error.is_of_generation() => {
                    job.left_open();
                    open.again.push((job, error.of_task(op).without_charge()));
                }
                _ => job.finish(Err(error.of_task(op))),
            },
            None => {
                job.left_open();
                let error =
                    Error::new(ErrorKind::BadResponse, "the answer does not mention the task").in_op(op);
                open.again.push((job, error));
            }
        }
    }
    open
}

fn give_up(open: Vec<(&Job, Error)>) {
    for (job, error) in open {
        job.finish(Err(error));
    }
}

fn is_picture(job: &Job) -> bool {
    job.resolved().format.kind() == MediaKind::Image
}

fn op_of(job: &Job) -> &'static str {
    if is_picture(job) { IMAGE_OP } else { SPEECH_OP }
}

fn is_free(error: &Error) -> bool {
    error.charge() == Some(Charge::None)
}
