//! Runs a list: a lane for the pictures and one for the sounds of each provider, each reading the list for itself, so
//! that one that waits holds up no other.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media_core::limit::Slowed;
use media_core::{
    Client, Delivery, Error, MediaKind, Order, Prior, Result, Stop, Usd, format_of, hex, validate,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::folder::Folder;
use crate::line::{Line, Status, Subject};
use crate::list::{JobSpec, RowProblem};
use crate::plan::Plan;
use crate::project::Project;
use crate::stats::{Account, Stats};
use crate::worklist::{Worklist, shared_key};

/// What the caller wishes.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Make at most so many files.
    pub max_items: Option<u64>,
    /// The wish to stop; share it with the wiring of the clients.
    pub stop: Stop,
}

/// Is told of every result.
pub trait Observer: Send + Sync {
    /// A result, as it arrives.
    fn result(&self, line: &Line);
}

/// The account of a finished run.
#[derive(Debug)]
pub struct Outcome {
    /// By provider instance.
    pub accounts: std::collections::BTreeMap<String, Account>,
    /// How long it took.
    pub elapsed: std::time::Duration,
    /// Ceilings of the configuration that made it wait, by provider instance.
    pub slowed: Vec<(String, Slowed)>,
    /// What ended the run before its end: results can no longer be written down, the list changed.
    pub trouble: Option<Error>,
}

/// Orders on their way to a lane.
const ORDERS_AHEAD: usize = 64;

/// What all lanes of a run share.
struct Shared {
    project: Project,
    worklist: Worklist,
    folder: Mutex<Folder>,
    stats: Arc<Stats>,
    observer: Arc<dyn Observer>,
    stop: Stop,
    left: Option<AtomicU64>,
    /// Purchases of earlier runs (id and request) whose money may be gone without a file: they are not bought again by themselves.
    at_stake: HashMap<(String, String), Line>,
    trouble: Mutex<Option<Error>>,
}

/// Orders of one lane that have no result yet.
#[derive(Default)]
struct Book {
    subjects: HashMap<u64, (Subject, String, Option<Usd>)>,
    equals: HashMap<u64, Equal>,
}

/// A file that several rows share: made for the first, told to the others.
enum Equal {
    Making { tag: u64, waiting: Vec<Subject> },
    Made(Box<Line>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a list that has been planned without findings; `stats` can be watched meanwhile.
///
/// # Errors
/// When nothing could be begun; what goes wrong later is in [`Outcome::trouble`].
pub async fn run(
    project: Project,
    worklist: Worklist,
    plan: &Plan,
    folder: Folder,
    options: RunOptions,
    observer: Arc<dyn Observer>,
    stats: Arc<Stats>,
) -> Result<(Outcome, Folder)> {
    let clients: Vec<(String, Client)> = plan
        .providers
        .keys()
        .map(|name| Ok((name.clone(), project.client(name)?.clone())))
        .collect::<Result<_>>()?;
    let mut at_stake = HashMap::new();
    for line in folder.kept()? {
        let line = line?;
        // Lines without the hash of a request (a file was there, or in the way) say nothing about money.
        let Some(request) = line.request.clone() else {
            continue;
        };
        let purchase = (line.id.clone(), request);
        if line.is_at_stake() {
            at_stake.insert(purchase, line);
        } else if line.status == Status::Done {
            at_stake.remove(&purchase);
        }
    }
    let shared = Arc::new(Shared {
        project,
        worklist,
        folder: Mutex::new(folder),
        stats: Arc::clone(&stats),
        observer,
        stop: options.stop,
        left: options.max_items.map(AtomicU64::new),
        at_stake,
        trouble: Mutex::new(None),
    });
    let mut lanes = tokio::task::JoinSet::new();
    for (name, client) in &clients {
        let kinds = plan.providers.get(name).map(|plan| plan.kinds.clone());
        for kind in kinds.unwrap_or_default() {
            let share = Share {
                provider: name.clone(),
                kind,
            };
            lanes.spawn(lane(Arc::clone(&shared), share, client.clone()));
        }
    }
    while let Some(ended) = lanes.join_next().await {
        if let Err(failure) = ended {
            let error = Error::new(media_core::ErrorKind::Cancelled, "a lane of the run broke down");
            shared.give_up(error.because(failure));
        }
    }
    let Some(shared) = Arc::into_inner(shared) else {
        return Err(Error::new(
            media_core::ErrorKind::Cancelled,
            "the run was torn down",
        ));
    };
    let settled = lock(&shared.folder).settle();
    let trouble = lock(&shared.trouble).take().or(settled.err());
    let slowed = clients.iter().flat_map(|(name, client)| {
        client
            .slowed()
            .into_iter()
            .map(move |slowed| (name.clone(), slowed))
    });
    let outcome = Outcome {
        accounts: stats.snapshot(),
        elapsed: stats.elapsed(),
        slowed: slowed.collect(),
        trouble,
    };
    let folder = shared.folder.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((outcome, folder))
}

/// What of a list one lane makes.
struct Share {
    provider: String,
    kind: MediaKind,
}

impl Share {
    fn holds(&self, spec: &JobSpec) -> bool {
        spec.kind == self.kind && spec.providers.first() == Some(&self.provider)
    }
}

/// One share of the list: a thread reads and feeds, this task takes the results.
async fn lane(shared: Arc<Shared>, share: Share, client: Client) {
    let book = Arc::new(Mutex::new(Book::default()));
    let (orders, lane_orders) = mpsc::channel(ORDERS_AHEAD);
    let mut deliveries = client.run(lane_orders);
    let feeder = {
        let (shared, book) = (Arc::clone(&shared), Arc::clone(&book));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = feed(&shared, &share, &client, &book, orders) {
                shared.give_up(error);
            }
        })
    };
    while let Some(Delivery { tag, result }) = deliveries.recv().await {
        let mut book = lock(&book);
        let Some((subject, output, estimate)) = book.subjects.remove(&tag) else {
            continue;
        };
        let line = Line::of(&subject, &result, shared.is_simulated());
        shared.report(&line, &output, estimate);
        let waiting = book.equals.values_mut().find_map(|equal| match equal {
            Equal::Making { tag: making, waiting } if *making == tag => {
                let waiting = std::mem::take(waiting);
                *equal = Equal::Made(Box::new(line.clone()));
                Some(waiting)
            }
            _ => None,
        });
        for other in waiting.into_iter().flatten() {
            shared.report(&line.shared(&other), &output, None);
        }
    }
    let _ = feeder.await;
    // Every order is answered, so what is left here was lost by a panic, perhaps after it was paid for.
    let rest = std::mem::take(&mut *lock(&book));
    let equals = rest.equals.into_values().filter_map(|equal| match equal {
        Equal::Making { waiting, .. } => Some(waiting),
        Equal::Made(_) => None,
    });
    let never = rest
        .subjects
        .into_values()
        .map(|(subject, output, _)| (subject, output));
    let never = never.chain(equals.flatten().map(|subject| (subject, String::new())));
    for (subject, output) in never {
        shared.report(&Line::lost(&subject, shared.is_simulated()), &output, None);
    }
}

impl Shared {
    fn is_simulated(&self) -> bool {
        lock(&self.folder).is_simulated()
    }

    fn report(&self, line: &Line, output: &str, estimate: Option<Usd>) {
        self.stats.add(line, output, estimate);
        let kept = lock(&self.folder).keep(line);
        self.observer.result(line);
        if let Err(error) = kept {
            self.give_up(error);
        }
    }

    /// Ends the run: nothing more is begun, what was sent is finished.
    fn give_up(&self, error: Error) {
        lock(&self.trouble).get_or_insert(error);
        self.stop.ask();
    }

    /// Whether another file may be made.
    fn may_make(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

fn changed(problems: &[RowProblem]) -> Error {
    let first = problems.first().map_or_else(String::new, ToString::to_string);
    Error::new(
        media_core::ErrorKind::InvalidRequest,
        format!("the list changed while it was being run: {first}"),
    )
    .not_billed()
}

/// Hands orders over in handfuls: the two sides then wake each other a few times in a hundred, not for each.
struct Outbox {
    orders: mpsc::Sender<Order>,
    runtime: Handle,
    waiting: Vec<Order>,
}

impl Outbox {
    const HANDFUL: usize = ORDERS_AHEAD / 4;

    /// Gives back what the lane takes no more.
    fn send(&mut self, order: Order) -> std::result::Result<(), Vec<Order>> {
        self.waiting.push(order);
        if self.waiting.len() < Outbox::HANDFUL {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> std::result::Result<(), Vec<Order>> {
        let waiting = std::mem::take(&mut self.waiting);
        let Ok(places) = self.runtime.block_on(self.orders.reserve_many(waiting.len())) else {
            return Err(waiting);
        };
        for (place, order) in places.zip(waiting) {
            place.send(order);
        }
        Ok(())
    }
}

/// Reads the list and hands over what this provider has to make.
fn feed(
    shared: &Shared,
    share: &Share,
    client: &Client,
    book: &Mutex<Book>,
    orders: mpsc::Sender<Order>,
) -> Result<()> {
    let mut outbox = Outbox {
        orders,
        runtime: Handle::current(),
        waiting: Vec::new(),
    };
    let fed = feed_into(shared, share, client, book, &mut outbox);
    if let Err(left) = outbox.flush() {
        not_begun(shared, book, &left);
    }
    fed
}

/// Orders that never reached the lane, so that nothing can have been sent for them.
fn not_begun(shared: &Shared, book: &Mutex<Book>, orders: &[Order]) {
    for order in orders {
        let entry = lock(book).subjects.remove(&order.tag);
        if let Some((subject, output, _)) = entry {
            shared.report(&Line::not_begun(&subject, shared.is_simulated()), &output, None);
        }
    }
}

fn feed_into(
    shared: &Shared,
    share: &Share,
    client: &Client,
    book: &Mutex<Book>,
    outbox: &mut Outbox,
) -> Result<()> {
    let out = lock(&shared.folder).out().to_owned();
    let read = |name: &str, kind, key: &str, cell: &str| shared.project.read_param(name, kind, key, cell);
    let mut tag = 0;
    for job in shared.worklist.jobs(&read)? {
        if shared.stop.is_asked() {
            return Ok(());
        }
        let spec: JobSpec = job.map_err(|problems| changed(&problems))?;
        if !share.holds(&spec) {
            continue;
        }
        let mut subject = Subject {
            id: spec.id.clone(),
            line: spec.line,
            path: spec.path.clone(),
            provider: share.provider.clone(),
            request: None,
        };
        let output = output_name(&spec);
        let key = shared_key(&spec.path);
        let is_equal = shared.worklist.is_shared(key);
        if is_equal && joins_an_equal(shared, book, key, &subject, &output) {
            continue;
        }
        let path = out.join(&spec.path);
        if std::fs::symlink_metadata(&path).is_ok() {
            let line = match look_at(&path) {
                Ok(()) => Line::skipped(&subject, shared.is_simulated()),
                Err(what) => Line::in_the_way(&subject, &what, shared.is_simulated()),
            };
            shared.report(&line, &output, None);
            if is_equal {
                lock(book).equals.insert(key, Equal::Made(Box::new(line)));
            }
            continue;
        }
        let prepared = shared.project.prepare(&spec, &out).map_err(|why| {
            Error::new(
                media_core::ErrorKind::InvalidRequest,
                format!("the list changed while it was being run: {why}"),
            )
            .not_billed()
        })?;
        let request: String = hex(prepared.checked.hash.bytes()).chars().take(32).collect();
        let earlier = shared.at_stake.get(&(spec.id.clone(), request.clone()));
        subject.request = Some(request);
        let mut order = Order::new(tag, prepared.request);
        if let Some(line) = earlier {
            let recoverable = client.provider().info().capabilities.recoverable;
            if line.is_no_good() || !recoverable {
                let line = line.again(&subject);
                shared.report(&line, &output, None);
                if is_equal {
                    lock(book).equals.insert(key, Equal::Made(Box::new(line)));
                }
                continue;
            }
            // The service may still know what was sent under that key. It is asked, not told to do it again.
            order.attempt = line.attempts.max(1);
            order.prior = Prior::Sent;
        } else if !shared.may_make() {
            return Ok(());
        }
        let prices = &client.provider().http().settings().prices;
        let estimate = prices
            .row(&prepared.checked.resolved)
            .map(|row| row.price(&prepared.checked.resolved));
        {
            let mut book = lock(book);
            book.subjects.insert(tag, (subject, output, estimate));
            if is_equal {
                book.equals.insert(
                    key,
                    Equal::Making {
                        tag,
                        waiting: Vec::new(),
                    },
                );
            }
        }
        order.checked = Some(prepared.checked);
        if let Err(left) = outbox.send(order) {
            not_begun(shared, book, &left);
            return Ok(());
        }
        tag += 1;
    }
    Ok(())
}

/// Whether another row already makes (or made) this file; then this row waits for it or is told.
fn joins_an_equal(shared: &Shared, book: &Mutex<Book>, key: u64, subject: &Subject, output: &str) -> bool {
    let mut book = lock(book);
    let line = match book.equals.get_mut(&key) {
        None => return false,
        Some(Equal::Making { waiting, .. }) => {
            waiting.push(subject.clone());
            return true;
        }
        Some(Equal::Made(line)) => line.shared(subject),
    };
    drop(book);
    shared.report(&line, output, None);
    true
}

/// The output's name in a recipe, or the kind.
pub(crate) fn output_name(spec: &JobSpec) -> String {
    spec.output.clone().unwrap_or_else(|| spec.kind.to_string())
}

/// Whether a file that is already there is whole and what its name says.
pub(crate) fn look_at(path: &Path) -> std::result::Result<(), String> {
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).is_ok_and(|kind| kind.is_file()) {
        return Err("no file".to_owned());
    }
    let file = File::open(path).map_err(|error| format!("not readable: {error}"))?;
    let inspection = validate::inspect_reader(file)
        .map_err(|error| format!("not readable: {error}"))?
        .map_err(|defect| defect.to_string())?;
    let wanted = format_of(path).map_err(|error| error.to_string())?;
    if inspection.format.satisfies(wanted) {
        return Ok(());
    }
    Err(format!("{} under the name of {wanted}", inspection.format))
}
