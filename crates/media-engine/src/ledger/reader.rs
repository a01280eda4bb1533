//! Asks the ledger about jobs, their takes and their attempts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use media_core::{RequestHash, Result};
use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};

use super::columns::{attempt_row, attempts, entry, jobs, open_attempt, parsed, take_row, takes};
use super::entry::{AttemptRow, Entry, JobStatus, OpenAttempt, TakeRow};
use super::lookup::Lookup;
use super::{failed, schema};
use crate::list::JobSpec;

/// A connection that only reads. One for each thread that asks.
#[derive(Debug)]
pub struct Reader {
    pub(super) db: Connection,
    path: PathBuf,
    /// Takes by the requests that they were made for.
    pub(super) hashes: Lookup,
    /// Attempts that were billed and came to nothing, by their requests.
    pub(super) spent: Lookup,
    /// Attempts that were sent and are not settled, by their requests.
    pub(super) open: Lookup,
    /// By its path all that a file may stand there for: takes, attempts of which the bytes came, former places of takes, and
    /// jobs that have no file yet.
    pub(super) paths: Lookup,
    /// Jobs by what the list asked of them.
    pub(super) asked: Lookup,
}

/// Whether a noted redo, `r`, waits for the purchase of an equal one, which is of the same take: a redo of that row alone, after
/// one of both came to nothing, makes a later take.
macro_rules! awaits {
    () => {
        "EXISTS (SELECT 1 FROM attempts a WHERE a.ended_ms IS NULL AND a.sends > 0
            AND a.hash = r.hash AND a.take = r.take AND a.job <> r.job)"
    };
}

impl Reader {
    /// Opens a ledger to read it; `None` when there is none.
    ///
    /// # Errors
    /// It is damaged, of a newer version, or no ledger.
    pub fn open(path: &Path) -> Result<Option<Reader>> {
        Ok(schema::open_to_read(path)?.map(|db| Reader::of(db, path)))
    }

    pub(super) fn beside(path: &Path) -> Result<Reader> {
        Ok(Reader::of(schema::connect_to_read(path)?, path))
    }

    fn of(db: Connection, path: &Path) -> Reader {
        Reader {
            db,
            path: path.to_owned(),
            hashes: Lookup::default(),
            spent: Lookup::default(),
            open: Lookup::default(),
            paths: Lookup::default(),
            asked: Lookup::default(),
        }
    }

    /// While the guard lives, everything is asked of the ledger as it is now, without a lock for each question. Not to be
    /// kept over a wait: meanwhile nobody can fold the ledger.
    pub(crate) fn look(&self) -> Result<Transaction<'_>> {
        self.ask(self.db.unchecked_transaction())
    }

    pub(super) fn ask<T>(&self, question: rusqlite::Result<T>) -> Result<T> {
        question.map_err(|error| failed(&self.path, error))
    }

    /// The first row of an answer.
    pub(super) fn one<T>(
        &self,
        text: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let answer = || self.db.prepare_cached(text)?.query_row(params, read).optional();
        self.ask(answer())
    }

    /// Whether there is a row: `text` selects whether it exists.
    fn is(&self, text: &str, params: impl Params) -> Result<bool> {
        Ok(self.one(text, params, |row| row.get(0))?.unwrap_or_default())
    }

    /// All rows of an answer.
    pub(super) fn all<T, C: FromIterator<T>>(
        &self,
        text: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<C> {
        let answer = || self.db.prepare_cached(text)?.query_map(params, read)?.collect();
        self.ask(answer())
    }

    /// The rows of an answer that may be too long to be kept.
    pub(super) fn each<T>(
        &self,
        text: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut each: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let mut question = self.ask(self.db.prepare(text))?;
        let mut rows = self.ask(question.query(()))?;
        while let Some(row) = self.ask(rows.next())? {
            each(self.ask(read(row))?)?;
        }
        Ok(())
    }

    /// What is noted once for the whole ledger.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<String>> {
        self.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
    }

    /// Whether all that it knows of was simulated.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_simulated(&self) -> Result<bool> {
        Ok(self.meta("simulated")?.as_deref() == Some("yes"))
    }

    /// Whether it knows of no job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_empty(&self) -> Result<bool> {
        let none = "SELECT NOT EXISTS (SELECT 1 FROM jobs) AND NOT EXISTS (SELECT 1 FROM attempts)";
        self.is(none, ())
    }

    /// A job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn job(&self, id: &str) -> Result<Option<Entry>> {
        self.one(concat!(jobs!(), " WHERE id = ?1"), [id], entry)
    }

    /// A job as it was last sent: another take of it, or of an equal one that it shares, may have been bought for what its row
    /// says by now, and never come.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn last_sent(&self, job: &Entry) -> Result<JobSpec> {
        let text = "SELECT request FROM redos WHERE job = ?1 AND EXISTS (SELECT 1 FROM attempts a
            WHERE a.hash = redos.hash AND a.sends > 0 AND a.ended_ms IS NULL)";
        let redo = self.one(text, [&job.spec.id], |row| parsed(row, 0))?.flatten();
        Ok(redo.unwrap_or_else(|| job.spec.clone()))
    }

    /// The number of a take after this one that was asked of a job and has not come.
    pub(crate) fn noted_redo(&self, job: &str, after: u32, wanted: &RequestHash) -> Result<Option<u32>> {
        let text = "SELECT take FROM redos WHERE job = ?1 AND take > ?2 AND hash = ?3";
        self.one(text, params![job, after, wanted.bytes()], |row| row.get(0))
    }

    /// The same where an equal row is getting it for both.
    pub(crate) fn awaited_redo(&self, job: &str, after: u32, wanted: &RequestHash) -> Result<Option<u32>> {
        let text = concat!(
            "SELECT take FROM redos r WHERE job = ?1 AND take > ?2 AND hash = ?3 AND ",
            awaits!()
        );
        self.one(text, params![job, after, wanted.bytes()], |row| row.get(0))
    }

    /// All jobs, in the order of their lines.
    ///
    /// # Errors
    /// The disk, or what `each` says.
    pub fn each_job(&self, each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        self.each(concat!(jobs!(), " ORDER BY line, id"), entry, each)
    }

    /// A file that was made for a job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn take(&self, job: &str, take: u32) -> Result<Option<TakeRow>> {
        let text = concat!(takes!(), " WHERE job = ?1 AND take = ?2");
        self.one(text, params![job, take], take_row)
    }

    /// All files that were made for a job, oldest first.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn takes(&self, job: &str) -> Result<Vec<TakeRow>> {
        self.all(
            concat!(takes!(), " WHERE job = ?1 ORDER BY take"),
            [job],
            take_row,
        )
    }

    /// Whether a take of the job was made after this one.
    pub(crate) fn has_newer_take(&self, job: &str, take: u32) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM takes WHERE job = ?1 AND take > ?2)";
        self.is(text, params![job, take])
    }

    /// The highest number of a take that was made or tried.
    pub(crate) fn last_take(&self, job: &str) -> Result<u32> {
        let text = "SELECT max((SELECT coalesce(max(take), 0) FROM takes WHERE job = ?1),
                (SELECT coalesce(max(take), 0) FROM attempts WHERE job = ?1))";
        Ok(self.one(text, [job], |row| row.get(0))?.unwrap_or_default())
    }

    /// All attempts at a job, in order.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn attempts(&self, job: &str) -> Result<Vec<AttemptRow>> {
        let text = concat!(attempts!(), " WHERE job = ?1 ORDER BY take, number");
        self.all(text, [job], attempt_row)
    }

    /// The last attempt at a take of this request.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn last_attempt(&self, job: &str, take: u32, hash: &RequestHash) -> Result<Option<AttemptRow>> {
        let text = concat!(
            attempts!(),
            " WHERE job = ?1 AND take = ?2 AND hash = ?3 ORDER BY number DESC LIMIT 1"
        );
        self.one(text, params![job, take, hash.bytes()], attempt_row)
    }

    /// The first attempt at a take after this one that is not settled, at this request or at any. One that was free
    /// counts when it came to something.
    pub(crate) fn open_redo(
        &self,
        job: &str,
        take: u32,
        wanted: Option<&RequestHash>,
    ) -> Result<Option<AttemptRow>> {
        let text = concat!(
            attempts!(),
            " WHERE job = ?1 AND take > ?2 AND (?3 IS NULL OR hash = ?3) AND (sends > 0 OR state <> 'sending')
                 AND ended_ms IS NULL
             ORDER BY take, number LIMIT 1"
        );
        self.one(
            text,
            params![job, take, wanted.map(RequestHash::bytes)],
            attempt_row,
        )
    }

    /// An attempt of a job at another request than this one that is not settled, with that request.
    pub(crate) fn open_at_another(&self, job: &str, hash: &RequestHash) -> Result<Option<OpenAttempt>> {
        let text = concat!(
            attempts!(),
            " WHERE job = ?1 AND hash <> ?2 AND sends > 0 AND ended_ms IS NULL ORDER BY take, number LIMIT 1"
        );
        self.one(text, params![job, hash.bytes()], open_attempt)
    }

    /// Whether an attempt of a job was sent and is not settled.
    pub(crate) fn has_open_attempt(&self, job: &str) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM attempts WHERE job = ?1 AND sends > 0 AND ended_ms IS NULL)";
        self.is(text, [job])
    }

    /// What was sent to a provider since a moment (in milliseconds since 1970), remote batches left out, with when; oldest first.
    pub(crate) fn sent_since(&self, provider: &str, since_ms: i64) -> Result<Vec<(JobSpec, i64)>> {
        let text = "SELECT jobs.request, last_sent_ms FROM attempts JOIN jobs ON jobs.id = attempts.job
            WHERE last_sent_ms >= ?2 AND attempts.provider = ?1 AND group_key IS NULL ORDER BY last_sent_ms";
        let sent: Vec<(Option<JobSpec>, i64)> = self.all(text, params![provider, since_ms], |row| {
            Ok((parsed(row, 0)?, row.get(1)?))
        })?;
        Ok(sent
            .into_iter()
            .filter_map(|(spec, at)| Some((spec?, at)))
            .collect())
    }

    /// Attempts whose bytes came, and whose file may not have its name yet.
    pub(crate) fn unfinished_files(&self) -> Result<Vec<OpenAttempt>> {
        // Left to itself SQLite walks through all attempts, because they lie in this order.
        let text = concat!(
            attempts!(),
            " INDEXED BY attempts_open WHERE ended_ms IS NULL AND state = 'have' ORDER BY job, take, number"
        );
        self.all(text, (), open_attempt)
    }

    /// Jobs with something that was bought, or may have been, and was not seen to its end; also those whose new take an equal
    /// one is getting.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn unsettled(&self) -> Result<HashSet<String>> {
        let text = concat!(
            "SELECT job FROM attempts WHERE ended_ms IS NULL AND sends > 0 UNION SELECT job FROM redos r WHERE ",
            awaits!()
        );
        self.all(text, (), |row| row.get(0))
    }

    /// Jobs that were sent, with no answer known.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn in_doubt(&self) -> Result<HashSet<String>> {
        let text =
            "SELECT job FROM attempts WHERE ended_ms IS NULL AND state = 'sending' AND group_key IS NULL";
        self.all(text, (), |row| row.get(0))
    }

    /// Whether a job is in doubt because a ledger that was lost may have sent it: nothing is written down of it, and it does
    /// not share the purchase of another one.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_of_lost_ledger(&self, job: &Entry) -> Result<bool> {
        let id = &job.spec.id;
        Ok(job.status == JobStatus::Unknown
            && !job.shares_purchase()
            && self.meta("lost")?.is_some()
            && self.attempts(id)?.is_empty()
            && self.open_equal(id, &job.hash)?.is_none())
    }
}
