//! The ledger: every job, send, cost and file of a project, in one SQLite file. It is the journal of the clients.

mod budget;
mod changes;
mod columns;
mod counts;
mod entry;
mod lookup;
mod reader;
mod rows;
mod schema;
mod writer;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use media_core::{AttemptKey, Error, ErrorKind, Event, Journal, Result};
use serde_json::Value;

pub use self::budget::{Bound, Caps, Left, Spending};
pub(crate) use self::changes::Picked;
pub(crate) use self::counts::{CostsSoFar, Timing};
pub use self::counts::{RemoteBatch, Totals};
pub(crate) use self::entry::OpenAttempt;
pub(crate) use self::entry::has_format_of;
pub use self::entry::{AttemptRow, AttemptState, Entry, JobStatus, TakeRow};
pub use self::reader::Reader;
pub(crate) use self::rows::{Finished, Made, Planned, Settled, modified_ns};
use self::writer::{Note, Writer};
use crate::list::JobSpec;

/// A ledger that one process writes to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    writer: Arc<Writer>,
    /// Held until the ledger is closed; the operating system lets go of it when the process dies.
    _lock: File,
}

impl Ledger {
    /// Opens the ledger at `path`, or begins one. `inner` is the folder that staged files are named in.
    ///
    /// # Errors
    /// Another process has it; it is damaged, of a newer version, or no ledger; the disk. Then it is left as it is.
    pub fn open(path: &Path, inner: &Path) -> Result<Ledger> {
        let lock = lock(path)?;
        let db = schema::open(path)?;
        Ok(Ledger {
            path: path.to_owned(),
            writer: Arc::new(Writer::start(db, path, inner)?),
            _lock: lock,
        })
    }

    /// Its journal, for the wiring of the clients.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.writer) as Arc<dyn Journal>
    }

    /// Reads it beside the writer. What was only noted may be missing for a moment.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn reader(&self) -> Result<Reader> {
        Reader::beside(&self.path)
    }

    /// A job that is about to be made: written down no later than its first send.
    pub(crate) fn planned(&self, job: Planned) {
        self.writer.note(Note::Planned(Box::new(job)));
    }

    /// What became of a job.
    pub(crate) fn finished(&self, job: Finished) {
        self.writer.note(Note::Finished(Box::new(job)));
    }

    /// A job is left in a remote batch: what was kept in memory to send it is not wanted any more.
    pub(crate) fn handed_over(&self, job: &str) {
        self.writer.handed_over(job);
    }

    /// Holds everything that is sent from now on under these ceilings.
    pub(crate) fn cap(&self, caps: Caps) -> Result<()> {
        self.writer.cap(caps)
    }

    /// What was spent, or may have been, since this run began.
    ///
    /// # Errors
    /// The ledger broke down.
    pub fn spending(&self) -> Result<Spending> {
        self.writer.spending()
    }

    /// Waits until everything that was noted is on disk.
    ///
    /// # Errors
    /// Some of it could not be written.
    pub fn flush(&self) -> Result<()> {
        self.writer.flush()
    }

    /// Ends it cleanly: afterwards it is one file that can be copied.
    ///
    /// # Errors
    /// Some of it could not be written.
    pub fn close(self) -> Result<()> {
        self.writer.close()
    }
}

/// One writer at a time: another process would not know what this one has sent.
fn lock(path: &Path) -> Result<File> {
    // By its real name: a link to it is the same ledger.
    if let Some(folder) = path.parent() {
        // What is wrong with it shows when the file is opened.
        let _ = std::fs::create_dir_all(folder);
    }
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let busy = format!("another run is at work with the ledger {}", path.display());
    locked(Path::new(&name), busy)
}

/// Holds a file for this process alone. `busy`: what it means that another one has it.
pub(crate) fn locked(path: &Path, busy: String) -> Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::storage("cannot open", path, error).not_billed())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(Error::config(busy).hint("wait for it, or name another folder by --out"))
        }
        Err(TryLockError::Error(error)) => Err(Error::storage("cannot lock", path, error)
            .not_billed()
            .hint("some network drives know no locks: name a folder on another one by --out")),
    }
}

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    let full = matches!(&error, rusqlite::Error::SqliteFailure(code, _)
        if code.code == rusqlite::ErrorCode::DiskFull || code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
    let failure = Error::new(
        ErrorKind::Storage,
        format!("the ledger {} cannot be used", path.display()),
    )
    .because(error);
    if full {
        failure.hint("free some space and run the same command")
    } else {
        failure
    }
}

/// What the list itself asks for, configuration left out: whether a row was changed or only the configuration.
pub(crate) fn asked(spec: &JobSpec) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let sorted = |(provider, values): (&String, &BTreeMap<String, Value>)| {
        let values: BTreeMap<_, _> = values
            .iter()
            .map(|(name, value)| (name.clone(), in_order(value)))
            .collect();
        (provider.clone(), values)
    };
    let params: Vec<_> = spec.params.iter().map(sorted).collect();
    let asked = serde_json::json!([
        spec.kind,
        spec.providers,
        spec.content,
        spec.language,
        spec.variant,
        params
    ]);
    Sha256::digest(asked.to_string()).into()
}

/// The same value with its keys in order, whatever map type serde_json was built with: any crate of the tree can switch on its
/// `preserve_order`, and then a row would count as changed.
fn in_order(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map
                .iter()
                .map(|(name, value)| (name.clone(), in_order(value)))
                .collect();
            sorted.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(in_order).collect(),
        plain => plain.clone(),
    }
}

#[async_trait]
impl Journal for Writer {
    async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()> {
        self.events(events.to_vec()).await
    }

    fn note(&self, key: AttemptKey, event: Event) {
        // That a file has its name is written down with the result, which follows. A kill in between leaves bytes that are found
        // under their name.
        if event != Event::Done {
            Writer::note(self, Note::Event(key, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is compared with what earlier versions wrote.
    #[test]
    fn what_a_row_asks_stays_what_it_was() {
        let spec: JobSpec = serde_json::from_value(serde_json::json!({
            "id": "a", "line": 1, "row": null, "output": null, "kind": "image", "providers": ["acme"], "content": "a dog",
            "language": null, "variant": 0, "path": "a.png",
            "params": { "acme": { "z": { "second": 2, "first": [1, { "d": 1, "c": null }] }, "a": "x" } },
        }))
        .unwrap();
        let text = r#"["image",["acme"],"a dog",null,0,[["acme",{"a":"x","z":{"first":[1,{"c":null,"d":1}],"second":2}}]]]"#;
        let expected: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(text).into();
        assert_eq!(asked(&spec), expected);
    }
}
