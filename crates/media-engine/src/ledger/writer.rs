//! The one writer: a thread that gathers what all lanes have to say and commits it together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use media_core::{AttemptKey, Error, ErrorKind, Event, Result};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use super::budget::{Budget, Caps, Spending};
use super::failed;
use super::rows::{self, Ask, Finished, Planned};
use media_core::sync::lock;

type Change = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send>;
type Answer = Box<dyn FnOnce(Result<()>) + Send>;
/// Events, and who is asked by those that are sends.
type Events = Vec<(AttemptKey, Event, Option<Ask>)>;

enum Command {
    /// Waited for.
    Events(Vec<(AttemptKey, Event)>, Answer),
    Change(Change, Answer),
    Flush(Answer),
    Cap(Caps, Answer),
    Spending(mpsc::SyncSender<Spending>),
    /// Not waited for.
    Note(Note),
    /// A job waits for a remote batch now, and nothing more is sent for it.
    HandedOver(String),
    Close,
}

/// What is written when there is time. It is kept until it is written.
pub(super) enum Note {
    Event(AttemptKey, Event),
    Planned(Box<Planned>),
    Finished(Box<Finished>),
}

/// Commands that are committed together at most. More would let the first of them wait for the last.
const TOGETHER: usize = 512;
/// Results that wait at most. More would save nothing, and each is held in memory.
const MADE_TOGETHER: usize = 128;
/// How long what nobody waits for may stay uncommitted.
const LAZINESS: Duration = Duration::from_millis(200);

/// The way to the writer's thread.
#[derive(Debug)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
    path: PathBuf,
}

impl Writer {
    pub(super) fn start(db: Connection, path: &Path, inner: &Path) -> Result<Writer> {
        let (commands, inbox) = mpsc::channel();
        let scribe = Scribe {
            db,
            path: path.to_owned(),
            // Staged files are named absolutely, and in the ledger relatively: the folder may be moved between two runs.
            inner: std::path::absolute(inner).unwrap_or_else(|_| inner.to_owned()),
            notes: Vec::new(),
            made: Vec::new(),
            made_since: None,
            budget: Budget::default(),
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || scribe.run(&inbox))
            .map_err(|error| {
                Error::new(ErrorKind::Storage, "the ledger's thread cannot be started").because(error)
            })?;
        Ok(Writer {
            commands,
            thread: Mutex::new(Some(thread)),
            path: path.to_owned(),
        })
    }

    fn closed(&self) -> Error {
        let message = format!("the ledger {} is closed", self.path.display());
        Error::new(ErrorKind::Storage, message)
    }

    pub(super) async fn events(&self, events: Vec<(AttemptKey, Event)>) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |outcome| {
            // Whoever asked may have been given up since.
            let _ = answer.send(outcome);
        });
        self.commands
            .send(Command::Events(events, answer))
            .map_err(|_| self.closed())?;
        answered.await.map_err(|_| self.closed())?
    }

    pub(super) fn note(&self, note: Note) {
        self.tell(Command::Note(note));
    }

    pub(super) fn handed_over(&self, job: &str) {
        self.tell(Command::HandedOver(job.to_owned()));
    }

    /// For what nobody waits for an answer to.
    fn tell(&self, command: Command) {
        // After its end only what comes too late is lost; what matters waits for an answer.
        if self.commands.send(command).is_err() {
            tracing::warn!("the ledger is closed: something came too late for it");
        }
    }

    pub(super) fn change(&self, change: Change) -> Result<()> {
        self.ask(|answer| Command::Change(change, answer))
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.ask(Command::Flush)
    }

    /// Counts from what is on disk: what was noted before has to be there.
    pub(super) fn cap(&self, caps: Caps) -> Result<()> {
        self.flush()?;
        self.ask(|answer| Command::Cap(caps, answer))
    }

    pub(super) fn spending(&self) -> Result<Spending> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.commands
            .send(Command::Spending(answer))
            .map_err(|_| self.closed())?;
        answered.recv().map_err(|_| self.closed())
    }

    fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<()> {
        let (answer, answered) = mpsc::sync_channel(1);
        let answer = Box::new(move |outcome| {
            let _ = answer.send(outcome);
        });
        self.commands.send(command(answer)).map_err(|_| self.closed())?;
        answered.recv().map_err(|_| self.closed())?
    }

    pub(super) fn close(&self) -> Result<()> {
        // When it is closed already there is nobody to tell.
        let _ = self.commands.send(Command::Close);
        let mut thread = lock(&self.thread);
        match thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(Error::new(ErrorKind::Storage, "the ledger's thread broke down")),
        }
    }
}

impl Drop for Writer {
    /// A command that ends early leaves the ledger folded too. What fails here has been told by what waited for it.
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::debug!(%error, "the ledger was not closed cleanly");
        }
    }
}

/// What runs on the writer's thread.
struct Scribe {
    db: Connection,
    path: PathBuf,
    /// The folder that staged files are named in.
    inner: PathBuf,
    /// Not committed yet.
    notes: Vec<Note>,
    /// Results, which wait a little longer: before one is called done, its name is made to last, which takes time.
    made: Vec<Finished>,
    made_since: Option<Instant>,
    budget: Budget,
}

/// Commands that somebody waits for, gathered for one commit.
#[derive(Default)]
struct Batch {
    work: Vec<Work>,
    answers: Vec<Answer>,
    /// Somebody waits for everything that was said before.
    takes_all: bool,
    is_last: bool,
}

enum Work {
    Events(Events),
    Change(Change),
}

impl Scribe {
    fn run(mut self, inbox: &mpsc::Receiver<Command>) -> Result<()> {
        loop {
            let mut batch = Batch::default();
            let first = if self.notes.is_empty() && self.made.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(LAZINESS)
            };
            let mut is_due = false;
            match first {
                Ok(command) => self.take(command, &mut batch),
                Err(RecvTimeoutError::Timeout) => is_due = true,
                Err(RecvTimeoutError::Disconnected) => batch.is_last = true,
            }
            // On few cores, those who are about to say something can say it first: fewer and larger commits.
            std::thread::yield_now();
            while batch.answers.len() + self.notes.len() < TOGETHER
                && !batch.is_last
                && let Ok(command) = inbox.try_recv()
            {
                self.take(command, &mut batch);
            }
            let takes_all = is_due || batch.is_last || batch.takes_all;
            let is_long_ago = self.made_since.is_some_and(|since| since.elapsed() >= LAZINESS);
            let with_made = takes_all || is_long_ago || self.made.len() >= MADE_TOGETHER;
            is_due |= with_made || !batch.answers.is_empty() || self.notes.len() >= TOGETHER;
            if !is_due {
                continue;
            }
            let outcome = self.commit(batch.work, with_made);
            for answer in batch.answers {
                answer(outcome.clone());
            }
            if batch.is_last {
                return outcome.and_then(|()| self.fold());
            }
        }
    }

    /// Money is counted here, in the order in which things are said; what is over a cap is refused before it is written.
    fn take(&mut self, command: Command, batch: &mut Batch) {
        match command {
            Command::Events(events, answer) => {
                if let Err(error) = self.budget.allow(&events) {
                    return answer(Err(error));
                }
                let asked = |(key, event)| {
                    let ask = self.budget.ask(&event).cloned();
                    (key, event, ask)
                };
                batch
                    .work
                    .push(Work::Events(events.into_iter().map(asked).collect()));
                batch.answers.push(answer);
            }
            Command::Change(change, answer) => {
                batch.work.push(Work::Change(change));
                batch.answers.push(answer);
                batch.takes_all = true;
            }
            Command::Flush(answer) => {
                batch.answers.push(answer);
                batch.takes_all = true;
            }
            Command::Cap(caps, answer) => {
                let begun = self.budget.begin(caps, &self.db);
                answer(begun.map_err(|error| failed(&self.path, error)));
            }
            Command::Spending(answer) => {
                // Whoever asked may have been given up since.
                let _ = answer.send(self.budget.spending());
            }
            Command::Note(note) => self.note(note),
            Command::HandedOver(job) => self.budget.finish(&job, None),
            Command::Close => batch.is_last = true,
        }
    }

    fn note(&mut self, note: Note) {
        match &note {
            Note::Event(key, event) => self.budget.hear(*key, event),
            Note::Planned(job) => self.budget.plan(&job.spec.id, job.ask()),
            Note::Finished(job) => {
                let settled = job.attempt.as_ref().map(|settled| (settled.key, settled.cost));
                self.budget.finish(&job.id, settled);
            }
        }
        match note {
            Note::Finished(job) if job.made.is_some() => {
                self.made_since.get_or_insert_with(Instant::now);
                self.made.push(*job);
            }
            note => self.notes.push(note),
        }
    }

    /// All in one transaction, or nothing. Notes that could not be written are kept for the next time.
    fn commit(&mut self, work: Vec<Work>, with_made: bool) -> Result<()> {
        if cfg!(media_bench_no_ledger) {
            // Never so outside of the benchmark that measures what a ledger costs.
            (self.notes, self.made, self.made_since) = Default::default();
            return Ok(());
        }
        let made = if with_made { self.made.as_slice() } else { &[] };
        sync_folders(made);
        let written = write(&mut self.db, &self.notes, made, work, &self.inner);
        written.map_err(|error| failed(&self.path, error))?;
        self.notes.clear();
        if with_made {
            self.made.clear();
            self.made_since = None;
        }
        Ok(())
    }

    /// One file that can be copied: nothing is left in a log beside it.
    fn fold(self) -> Result<()> {
        if cfg!(windows) {
            // A log that another program looks at cannot be deleted there. It is empty at least: one with pages in it beside a
            // folded ledger would be taken for another run's. What fails here fails below too.
            let _ = self
                .db
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
        }
        match self.db.pragma_update(None, "journal_mode", "DELETE") {
            // Somebody looks at it just now. Everything is committed; the next run folds it.
            Err(rusqlite::Error::SqliteFailure(code, _))
                if code.code == rusqlite::ErrorCode::DatabaseBusy =>
            {
                tracing::warn!("the ledger is being read, so its log stays beside it until the next run");
            }
            folded => folded.map_err(|error| failed(&self.path, error))?,
        }
        self.db.close().map_err(|(_, error)| failed(&self.path, error))
    }
}

/// A file's bytes are safe before it gets its name, and its name only when its folder is: after a power cut a job that is
/// called done must not be a file without a name.
fn sync_folders(made: &[Finished]) {
    let files = made.iter().filter_map(|job| job.made.as_ref());
    let folders: BTreeSet<&Path> = files.filter_map(|made| made.file.path.parent()).collect();
    for folder in folders {
        // Windows has no such thing, and some network file systems refuse it.
        if let Err(error) = std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
            tracing::trace!(%error, "a folder could not be synced");
        }
    }
}

fn write(
    db: &mut Connection,
    notes: &[Note],
    made: &[Finished],
    work: Vec<Work>,
    inner: &Path,
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    let now = Timestamp::now().as_millisecond();
    let out = rows::out_of(inner);
    let event =
        |key, event: &Event, ask: Option<&Ask>| rows::event(&transaction, key, event, ask, inner, now);
    // Notes first: a job is written down before the first send of it.
    for note in notes {
        match note {
            Note::Event(key, what) => event(*key, what, None)?,
            Note::Planned(job) if job.is_redo => rows::planned_redo(&transaction, job)?,
            Note::Planned(job) => rows::planned(&transaction, job, out, now)?,
            Note::Finished(job) => rows::finished(&transaction, job, out, now)?,
        }
    }
    for job in made {
        rows::finished(&transaction, job, out, now)?;
    }
    for piece in work {
        match piece {
            Work::Events(events) => {
                for (key, what, ask) in &events {
                    event(*key, what, ask.as_ref())?;
                }
            }
            Work::Change(change) => change(&transaction)?,
        }
    }
    transaction.commit()
}
