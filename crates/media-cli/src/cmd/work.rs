//! What all commands share that make or fetch files: folder, lanes, progress, table, summary, exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use media_core::{ApiKey, Client, Result, Stop, Usd};
use media_engine::{Folder, Outcome, Plan, RunOptions, Stats, Status, Worklist};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::exit::Exit;
use crate::progress::Progress;
use crate::session::Session;
use crate::signals::SharedSignals;
use crate::talk::say;
use crate::words::{self, Then};

/// What is to be done, and how it is shown.
pub(crate) struct Work<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) worklist: Worklist,
    /// The list whose table is written, where it is not the worklist itself.
    pub(crate) list: Option<Worklist>,
    pub(crate) plan: Plan,
    pub(crate) options: RunOptions,
    pub(crate) stop_after: Option<StopAfter>,
    /// What asks it to end; `None` where that cannot be listened to.
    pub(crate) signals: Option<SharedSignals>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// What goes on where this ends.
    pub(crate) then: Then<'a>,
}

/// `--stop-after`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopAfter {
    /// All of the time.
    pub(crate) all: Duration,
    /// What is left of it.
    pub(crate) left: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    /// When a quota that it waits for is there again, and nothing else ended it.
    pub(crate) until: Option<Timestamp>,
    /// Files that it made.
    pub(crate) made: u64,
    /// What it spent, or may have.
    pub(crate) spent: Usd,
}

/// What ended a run before its end.
#[derive(Debug, Default)]
struct Ended {
    /// How the first signal ends it.
    signal: OnceLock<Exit>,
    /// `--stop-after`.
    by_time: std::sync::atomic::AtomicBool,
}

impl Work<'_> {
    /// The keys that it needs. Asked for before the folder: a missing key must leave nothing behind.
    pub(crate) fn keys(&self) -> Result<BTreeMap<String, Option<ApiKey>>> {
        let names: BTreeSet<String> = self.plan.providers.keys().cloned().collect();
        self.session.keys(&names)
    }

    /// Does it.
    pub(crate) async fn run(self, folder: Folder, keys: BTreeMap<String, Option<ApiKey>>) -> Result<Ran> {
        let session = self.session;
        let out = folder.out().to_owned();
        let (_marks, shared) = session.mark_in_use(&keys);
        for name in shared {
            say!(
                "another process is at work with the account of {name}: budgets of a ledger and quotas per day hold for \
                 both together, limits per minute for each alone"
            );
        }
        let project = session.online(keys, &folder)?;
        let stats = Arc::new(Stats::of_plan(&self.plan));
        let clients: Vec<(String, Client)> = project
            .instances()
            .map(|(name, instance)| (name.to_owned(), instance.client.clone()))
            .collect();
        // Who listens for signals does so until this run is over.
        let (ended, _watchers) = watch(&session.stop, clients.clone(), self.stop_after, self.signals);
        tracing::info!(files = self.plan.files, out = %out.display(), simulated = session.is_simulated(), "run");
        let progress = Progress::start(Arc::clone(&stats), &self.plan, clients, self.json, self.quiet);
        let only_fetch = self.options.only_fetch;
        let options = RunOptions {
            stop: session.stop.clone(),
            ..self.options
        };
        let observer = progress.observer();
        let ran = media_engine::run(
            project,
            self.worklist.clone(),
            &self.plan,
            folder,
            options,
            observer,
            stats,
        )
        .await;
        progress.finish().await;
        let (outcome, folder) = ran?;
        // From here on files exist and money may be spent: whatever fails, the account comes first.
        let listed = self.list.as_ref().unwrap_or(&self.worklist);
        let table = media_engine::write_table(listed, &folder);
        let stale = match &table {
            Ok(None) => stale_tables(&folder),
            _ => String::new(),
        };
        let closed = folder.close();
        let trouble = [
            outcome.trouble.as_ref(),
            table.as_ref().err(),
            closed.as_ref().err(),
        ];
        let mut exit = exit_of(&outcome, &ended, only_fetch);
        if trouble.iter().any(Option::is_some) {
            exit = exit.amiss();
        }
        tracing::info!(?exit, seconds = outcome.elapsed.as_secs(), "run ended");
        for error in trouble.into_iter().flatten() {
            say!("error: {}", words::of_error(error));
        }
        let is_cut = ended.by_time.load(Ordering::Relaxed);
        let ran = Ran {
            exit,
            until: until(&outcome).filter(|_| exit == Exit::Later && !is_cut),
            made: outcome.count(Status::Done),
            spent: outcome.spending.run,
        };
        if self.quiet && exit == Exit::Done {
            return Ok(ran);
        }
        if let Ok(Some(table)) = table {
            say!("the table is {}", table.path.display());
            if let Some(former) = table.former {
                say!(
                    "the one before was edited, or had more rows; it is kept as {}",
                    former.display()
                );
            }
        }
        if !stale.is_empty() && ran.made > 0 {
            say!("{stale}");
        }
        say!("the files are in {}", out.display());
        if let Some(simulation) = session.simulation() {
            let billed = simulation.billed();
            say!(
                "simulated: no service was asked and no money spent (the simulated bill says {billed:.4} USD)"
            );
        }
        say!("{}", words::summary(&outcome, exit, self.then).trim_end());
        Ok(ran)
    }
}

/// What is to be said of tables that know nothing of what was just changed; nothing where there are none.
pub(crate) fn stale_tables(folder: &Folder) -> String {
    // A ledger that cannot be read has been complained of.
    let tables = media_engine::tables(folder).unwrap_or_default();
    if tables.is_empty() {
        return String::new();
    }
    let verb = if tables.len() == 1 { "is" } else { "are" };
    format!(
        "{} {verb} as before: the next media run writes it anew",
        tables.join(", ")
    )
}

/// When the first quota that is waited for is there again.
fn until(outcome: &Outcome) -> Option<Timestamp> {
    let moments = outcome
        .accounts
        .values()
        .filter_map(|account| account.until.as_deref()?.parse().ok());
    moments.min()
}

/// Signals that come together are one: a terminal or a pipeline may send it to the whole group, and a script pass it on.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

/// First signal, or the time is over: begin nothing new, finish what was sent. Second signal: end at once.
fn watch(
    stop: &Stop,
    clients: Vec<(String, Client)>,
    stop_after: Option<StopAfter>,
    signals: Option<SharedSignals>,
) -> (Arc<Ended>, JoinSet<()>) {
    let ended = Arc::new(Ended::default());
    let mut watchers = JoinSet::new();
    if let Some(StopAfter { all, left }) = stop_after {
        let (stop, ended, clients) = (stop.clone(), Arc::clone(&ended), clients.clone());
        watchers.spawn(async move {
            tokio::time::sleep(left).await;
            ended.by_time.store(true, Ordering::Relaxed);
            stop.ask();
            let time = humantime::format_duration(all);
            say!("{time} are over: {}", words::being_finished(&clients));
        });
    }
    let (stop, seen) = (stop.clone(), Arc::clone(&ended));
    let Some(signals) = signals else {
        return (ended, watchers);
    };
    watchers.spawn(async move {
        let mut signals = signals.lock().await;
        let mut first: Option<Instant> = None;
        loop {
            let exit = signals.next().await;
            if first.is_some_and(|first| first.elapsed() < ONE_SIGNAL) {
                continue;
            }
            first = Some(Instant::now());
            if seen.signal.set(exit).is_err() {
                // What is in flight is abandoned: that is what a second signal asks for.
                end_at_once(exit);
            }
            stop.ask();
            say!(
                "stopping: {}; once more ends at once",
                words::being_finished(&clients)
            );
        }
    });
    (ended, watchers)
}

#[expect(
    clippy::exit,
    reason = "the one place that ends without unwinding: a second Ctrl-C waits for nothing"
)]
fn end_at_once(exit: Exit) {
    std::process::exit(i32::from(u8::from(exit)));
}

/// Says how a run ended.
fn exit_of(outcome: &Outcome, ended: &Ended, only_fetch: bool) -> Exit {
    if let Some(exit) = ended.signal.get() {
        return *exit;
    }
    let must_act = outcome
        .accounts
        .values()
        .any(|account| account.failures.keys().any(|kind| words::needs_a_person(kind)));
    let is_cut = ended.by_time.load(Ordering::Relaxed) && outcome.count(Status::Cancelled) > 0;
    if must_act || outcome.unaffordable > 0 {
        Exit::Act
    } else if is_cut || outcome.count(Status::Waiting) > 0 || (!only_fetch && outcome.left() > 0) {
        Exit::Later
    } else if [Status::Failed, Status::Unknown, Status::Gone]
        .into_iter()
        .any(|status| outcome.count(status) > 0)
    {
        Exit::SomeFailed
    } else if !only_fetch && outcome.count(Status::Cancelled) > 0 {
        // Its remote batch ended before its turn: nothing is wrong, and the same command sends it again.
        Exit::Later
    } else {
        Exit::Done
    }
}
