//! The work queue of one provider: takes orders, keeps the configured number in flight, and sees each to its end.
//!
//! What repeats under the *same* key does so below, where that cannot buy twice: [`Http`](crate::http::Http), and a provider
//! whose service refuses a key that it knows. Here, and nowhere else, a *new* key is used, only after a failure that is proven
//! not billed.

mod accept;
mod deliver;
mod finish;
mod follow;
mod halt;
mod space;

use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use self::finish::Finisher;
use self::halt::model_key;
use self::space::Space;

pub(crate) use self::halt::Halts;
use crate::client::{CheckLevel, Checked, Client, Delivery, Order};
use crate::error::{Charge, Error, ErrorKind, Result};
use crate::http::Http;
use crate::job::{Job, Prior, SentMark};
use crate::key::{Attempt, AttemptKey};
use crate::limit::HoldSlot;
use crate::output;
use crate::provider::{Facts, Generated, Resolved};
use crate::request::MediaRequest;
use crate::result::{Cost, MediaResult};
use crate::sync::lock;

/// Remote batches of one lane that are waited for at once.
const REMOTE_BATCHES: usize = 16;
/// Remote batches that are handed over at once, where none is waited for: it takes seconds, and then hours at the service.
const HANDED_OVER: usize = 1;
/// Results that may wait for their reader.
pub(crate) const RESULTS_AHEAD: usize = 32;

pub(crate) struct Lane {
    client: Client,
    results: mpsc::Sender<Delivery>,
    /// Calls of the provider in progress.
    calls: Arc<Semaphore>,
    /// How many there may be.
    concurrency: usize,
    /// Jobs begun and not ended: bounds memory, whatever the length of the list.
    room: Arc<Semaphore>,
    /// How many there may be.
    jobs: usize,
    /// Whether remote batches are waited for.
    waits: bool,
    /// Why nothing more is begun.
    halts: Arc<Halts>,
    /// Models of which one job was tried alone; what stops a model is in `halts`.
    tried: Mutex<HashSet<String>>,
    /// Folders that were seen to be writable.
    folders: Mutex<HashSet<PathBuf>>,
    space: Space,
    finisher: Arc<Finisher>,
}

/// An order that passed its checks. A clone is the same task, not another one.
#[derive(Clone)]
struct Task {
    tag: u64,
    request: Arc<MediaRequest>,
    resolved: Arc<Resolved>,
    attempt: Attempt,
    key: AttemptKey,
    prior: Prior,
    equals: Arc<[String]>,
    buys: bool,
    replaces: Option<PathBuf>,
    began: Instant,
    /// The counted calls set aside for it.
    hold: HoldSlot,
    mark: Arc<SentMark>,
    _room: Arc<OwnedSemaphorePermit>,
}

impl Task {
    /// Goes on under the key of this attempt.
    fn turn_to(&mut self, number: u32, project: &str) {
        self.attempt.number = number;
        self.key = AttemptKey::compute(project, &self.attempt);
    }
}

type Answer = oneshot::Receiver<Result<Generated>>;

impl Lane {
    /// `waits`: whether remote batches are waited for.
    pub(crate) fn new(client: Client, results: mpsc::Sender<Delivery>, waits: bool) -> Arc<Lane> {
        // What is handed over in files waits for hours at the service, not on the wire.
        let concurrency = match (client.info().capabilities.remote_batch_seconds.is_some(), waits) {
            (true, true) => REMOTE_BATCHES,
            (true, false) => HANDED_OVER,
            (false, _) => client.provider().http().settings().limits.concurrency.get(),
        };
        let batch = client.info().capabilities.max_batch.max(1);
        // Twice what the calls hold: the next batch forms while the last one's files are written.
        let jobs = concurrency
            .saturating_mul(batch)
            .saturating_mul(2)
            .min(Semaphore::MAX_PERMITS);
        let finisher = Finisher::new(
            client.provider().http().clone(),
            client.level() == CheckLevel::Full,
            !client.info().capabilities.free,
        );
        Arc::new(Lane {
            finisher,
            client,
            results,
            calls: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            room: Arc::new(Semaphore::new(jobs)),
            jobs,
            waits,
            halts: Arc::default(),
            tried: Mutex::default(),
            folders: Mutex::default(),
            space: Space::default(),
        })
    }

    fn http(&self) -> &Http {
        self.client.provider().http()
    }

    pub(crate) async fn run(self: Arc<Self>, mut orders: mpsc::Receiver<Order>) {
        let batch = self.client.info().capabilities.max_batch.max(1);
        let mut units = JoinSet::new();
        while let Some(Some(order)) = self.unless_over(orders.recv()).await {
            let Some(Ok(room)) = self.unless_over(Arc::clone(&self.room).acquire_owned()).await else {
                self.refuse(order).await;
                break;
            };
            let mut unit: Vec<Task> = self.admit(order, room).await.into_iter().collect();
            if unit.is_empty() {
                continue;
            }
            let Some(call) = self.call(None).await else {
                self.cancel(unit).await;
                break;
            };
            self.gather(&mut unit, &mut orders, batch).await;
            // The first job of a model goes alone: a wrong model or key then costs one refusal, not a lane full.
            let mut call = Some(call);
            while let Some(first) = unit.iter().position(|task| !self.is_tried(task)) {
                let task = unit.swap_remove(first);
                let model = model_key(&task.resolved);
                let Some(call) = self.call(call.take()).await else {
                    self.cancel(vec![task]).await;
                    break;
                };
                Arc::clone(&self).run_unit(vec![task], call).await;
                lock(&self.tried).insert(model);
            }
            if !unit.is_empty() {
                let Some(call) = self.call(call).await else {
                    self.cancel(unit).await;
                    break;
                };
                // Boxed: spawning moves a future about ten times, and this one is large.
                units.spawn(Box::pin(Arc::clone(&self).run_unit(unit, call)).in_current_span());
            }
            while units.try_join_next().is_some() {}
        }
        // A stop was asked for, or nobody wants results: what is left is answered, not begun.
        while !self.results.is_closed()
            && let Some(order) = orders.recv().await
        {
            self.refuse(order).await;
        }
        while units.join_next().await.is_some() {}
    }

    /// Takes along what else can go in the same call.
    async fn gather(&self, unit: &mut Vec<Task>, orders: &mut mpsc::Receiver<Order>, most: usize) {
        while unit.len() < most {
            // What is there by now goes along. Only a remote batch waits to be filled, and none waits for room: those who
            // have it may be waiting for the call that is held here.
            let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
                return;
            };
            let order = if self.is_remote() {
                // It is sent once, and done in hours: a wait for the list is nothing.
                self.unless_over(orders.recv()).await.flatten()
            } else {
                orders.try_recv().ok()
            };
            let Some(order) = order else { return };
            unit.extend(self.admit(order, room).await);
        }
    }

    /// A place among the calls in progress: the one that is kept, or the next that is free. `None` at the end.
    async fn call(&self, kept: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
        match kept {
            Some(call) => Some(call),
            None => self
                .unless_over(Arc::clone(&self.calls).acquire_owned())
                .await?
                .ok(),
        }
    }

    /// Waits for something unless a stop is asked for or nobody waits for results any more.
    async fn unless_over<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.results.closed() => None,
            value = self.http().wiring().stop.or(wait) => value,
        }
    }

    async fn cancel(&self, tasks: Vec<Task>) {
        for task in tasks {
            let error = match &task.prior {
                Prior::Sent { batch: Some(_), .. } => {
                    Error::new(ErrorKind::Pending, "the run ended before its batch was asked for")
                }
                Prior::Linked { .. } | Prior::Have { .. } => Error::new(
                    ErrorKind::Cancelled,
                    "it was bought, and stopped before it was fetched",
                )
                .hint("run the same command again: it is fetched, and costs nothing more"),
                Prior::Sent { .. } => {
                    Error::new(ErrorKind::Cancelled, "it was stopped before it was asked for")
                }
                Prior::Fresh | Prior::Perhaps => {
                    Error::new(ErrorKind::Cancelled, "it was stopped before it was sent")
                }
            };
            self.not_begun(task, error).await;
        }
    }

    /// Answers an order that came after the end.
    async fn refuse(&self, order: Order) {
        if let Ok(room) = Arc::clone(&self.room).acquire_owned().await {
            let task = self.admit(order, room).await;
            self.cancel(task.into_iter().collect()).await;
        }
    }

    /// Answers a task that this process did not begin: its charge is that of what happened before, and so is the number
    /// of its attempt, by whose key it can still be asked for.
    async fn not_begun(&self, task: Task, error: Error) {
        let error = error.with_charge(self.charge_of(&task.prior));
        let mut task = task;
        task.attempt.number = number_of_unbegun(&task.prior, task.attempt.number);
        self.fail(task, error).await;
    }

    /// Whether jobs are handed over in remote batches.
    fn is_remote(&self) -> bool {
        let capabilities = &self.client.info().capabilities;
        capabilities.remote_batch_seconds.is_some()
    }

    fn is_tried(&self, task: &Task) -> bool {
        let resolved = &task.resolved;
        // What was sent earlier is only asked about, and after a halt nothing is sent: nothing to try out.
        !matches!(task.prior, Prior::Fresh | Prior::Perhaps)
            || self.is_remote()
            || self.halts.of(resolved).is_some()
            || lock(&self.tried).contains(&model_key(resolved))
    }

    fn check(&self, request: &MediaRequest) -> Result<Checked> {
        let resolved = self.client.check(request)?;
        let hash = self.client.hash(request, &resolved);
        Ok(Checked { resolved, hash })
    }

    /// Checks an order and makes room for it; what fails its checks is answered here.
    async fn admit(&self, mut order: Order, room: OwnedSemaphorePermit) -> Option<Task> {
        let began = Instant::now();
        let known = order.checked.take();
        // A caller that has checked the request has also looked at its path.
        let may_be_there = order.replaces.is_some() || known.is_some();
        let check = AssertUnwindSafe(|| known.map_or_else(|| self.check(&order.request), Ok));
        let checked = std::panic::catch_unwind(check)
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::ProviderFault, "the provider panicked")))
            .and_then(|checked| {
                self.prepare(&order.request, may_be_there)?;
                Ok(checked)
            });
        match checked {
            Ok(Checked { resolved, hash }) => {
                let attempt = Attempt {
                    job: order.request.id.clone(),
                    request: hash,
                    take: order.take,
                    number: order.attempt,
                };
                Some(Task {
                    tag: order.tag,
                    key: AttemptKey::compute(self.client.project(), &attempt),
                    attempt,
                    request: Arc::new(order.request),
                    resolved: Arc::new(resolved),
                    prior: order.prior,
                    equals: order.equals.into(),
                    buys: order.buys,
                    replaces: order.replaces,
                    began,
                    hold: HoldSlot::default(),
                    mark: self.client.unfinished().mark(),
                    _room: Arc::new(room),
                })
            }
            Err(error) => {
                let charge = self.charge_of(&order.prior);
                let result = MediaResult {
                    request: order.request,
                    outcome: Err(error.with_charge(charge)),
                    take: order.take,
                    attempts: number_of_unbegun(&order.prior, order.attempt),
                    elapsed: began.elapsed(),
                    cost: (charge == Charge::None).then_some(Cost::NOTHING),
                    provenance: self.provenance(None, &Facts::default()),
                };
                self.tell(order.tag, result).await;
                None
            }
        }
    }

    /// What is known about the money of an order that is not begun in this process.
    fn charge_of(&self, prior: &Prior) -> Charge {
        match prior {
            _ if self.is_free() => Charge::None,
            Prior::Fresh | Prior::Perhaps => Charge::None,
            Prior::Sent { .. } => Charge::Unknown,
            Prior::Linked { .. } | Prior::Have { .. } => Charge::Certain,
        }
    }

    fn prepare(&self, request: &MediaRequest, may_be_there: bool) -> Result<()> {
        let path = &request.output_path;
        let folder = path.parent().unwrap_or(path).to_owned();
        let known = lock(&self.folders).contains(&folder);
        if !known {
            output::prepare(path)?;
            lock(&self.folders).insert(folder);
        }
        if !may_be_there && std::fs::symlink_metadata(path).is_ok() {
            return Err(Error::new(
                ErrorKind::Storage,
                format!("{} is already there and is not replaced", path.display()),
            )
            .hint("move it away first"));
        }
        Ok(())
    }

    /// One call of the provider for several tasks; each is seen to its end on its own as soon as it is answered.
    async fn run_unit(self: Arc<Self>, unit: Vec<Task>, call: OwnedSemaphorePermit) {
        let mut fresh = Vec::new();
        let mut jobs = Vec::new();
        let mut under_way = JoinSet::new();
        for task in unit {
            if let Some(halt) = self.halts.of(&task.resolved) {
                // A disk that failed another file says nothing about this one.
                let why = if halt.kind() == ErrorKind::Storage {
                    Error::new(ErrorKind::Cancelled, "it was not begun, because the disk failed")
                        .because(halt)
                } else {
                    halt
                };
                self.not_begun(task, why).await;
            } else if task.prior == Prior::Fresh && task.buys {
                match self.begin(&task).await {
                    Ok((job, answer)) => {
                        jobs.push(job);
                        fresh.push((task, answer));
                    }
                    Err(error) => self.fail(task, error).await,
                }
            } else {
                under_way.spawn(Arc::clone(&self).resume(task));
            }
        }
        // A task that is alone needs no task of the runtime to be followed by: that halves the cost of small jobs.
        let alone = if fresh.len() == 1 { fresh.pop() } else { None };
        for (task, answer) in fresh {
            under_way.spawn(Arc::clone(&self).see_through(task, answer).in_current_span());
        }
        if !jobs.is_empty() {
            self.ask(jobs).await;
        }
        drop(call);
        if let Some((task, answer)) = alone {
            self.see_through(task, answer).await;
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Gives jobs to the provider. Whatever it does to them, a panic included, each is answered when this returns.
    async fn ask(&self, jobs: Vec<Job>) {
        let call = AssertUnwindSafe(self.client.provider().generate_batch(&jobs)).catch_unwind();
        if call.await.is_err() {
            tracing::error!(provider = %self.client.info().name, "the provider panicked");
        }
    }

    /// Sets its counted calls aside and makes the job of the task's current attempt.
    async fn begin(&self, task: &Task) -> Result<(Job, Answer)> {
        self.check_space(task)?;
        let hold = self
            .http()
            .hold(&task.resolved.group, task.resolved.calls)
            .await
            .map_err(Error::not_billed)?;
        // What an earlier attempt left.
        self.http().release(task.hold.put(hold)).await;
        Ok(self.job(task, Prior::Fresh))
    }

    /// Checks that what is on its way can be kept, this task included.
    fn check_space(&self, task: &Task) -> Result<()> {
        let capabilities = &self.client.info().capabilities;
        if capabilities.remote_batch_seconds.is_some() {
            // The service keeps the results until they are there.
            return Ok(());
        }
        let calls = self.concurrency.saturating_sub(self.calls.available_permits());
        let jobs = self.jobs.saturating_sub(self.room.available_permits());
        let files = calls
            .saturating_mul(capabilities.max_batch.max(1))
            .min(jobs.max(1));
        let unwritten = jobs.saturating_mul(output::BUFFER);
        let folder = output::parent(&task.request.output_path);
        let checked = self.space.check(folder, files as u64, unwritten as u64);
        if let Err(error) = &checked {
            self.halts.halt_all(error);
        }
        checked
    }

    fn job(&self, task: &Task, prior: Prior) -> (Job, Answer) {
        let (job, answer) = Job::new(
            Arc::clone(&task.request),
            Arc::clone(&task.resolved),
            self.client.project(),
            task.attempt.clone(),
            prior,
        );
        let job = job.spending(&task.hold).marking(&task.mark);
        (job.waiting(self.waits).unless_halted(&self.halts), answer)
    }
}

/// The number of the attempt that a task ends with which this process did not begin: none, where none was begun before.
fn number_of_unbegun(prior: &Prior, number: u32) -> u32 {
    match prior {
        Prior::Fresh | Prior::Perhaps => 0,
        Prior::Sent { .. } | Prior::Linked { .. } | Prior::Have { .. } => number,
    }
}
