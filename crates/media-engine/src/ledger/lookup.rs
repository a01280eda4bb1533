//! Takes, attempts and jobs by what they are for and where: tables in memory, in place of indexes that each file would pay for.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hasher as _};

use media_core::{RequestHash, Result};
use rusqlite::{Connection, params};

use super::columns::{count, entry, hash, jobs, take_row, takes};
use super::entry::{Entry, TakeRow};
use super::reader::Reader;

/// Rows that are looked at for one question. A list of ten thousand equal rows whose files are all gone must not look at each
/// of them for each row.
const EQUALS: usize = 1000;

/// The same of jobs. Each of many that ask the same has what the others have, or was never begun.
const JOBS: usize = 100;

/// A short hash of what is looked for, and the row that it is in; sorted. Read when it is first asked for: an index would
/// cost more with each file that is made than this does with a run that asks.
#[derive(Debug, Default)]
pub(super) struct Lookup(OnceCell<Vec<(u64, i64)>>);

impl Lookup {
    /// The rows under this hash, the newest (which were appended last) first; `all` gives a hash and a row each.
    fn rows(&self, db: &Connection, all: &str, wanted: u64) -> rusqlite::Result<impl Iterator<Item = i64>> {
        let table = match self.0.get() {
            Some(table) => table,
            None => {
                let read = read(db, all)?;
                self.0.get_or_init(|| read)
            }
        };
        let upto = table.partition_point(|(found, _)| *found <= wanted);
        let rows = table.iter().take(upto).rev();
        let same = rows.take_while(move |(found, _)| *found == wanted);
        Ok(same.take(EQUALS).map(|(_, row)| *row))
    }
}

fn read(db: &Connection, all: &str) -> rusqlite::Result<Vec<(u64, i64)>> {
    let mut question = db.prepare(all)?;
    let rows = question.query_map((), |row| Ok((short(row.get_ref(0)?.as_bytes()?), row.get(1)?)))?;
    let mut table = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    table.sort_unstable();
    Ok(table)
}

fn short(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// A file as it was made for a job, at the path that is asked about.
#[derive(Clone, Debug)]
pub(crate) struct MadeAt {
    pub(crate) job: String,
    pub(crate) hash: RequestHash,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) modified_ns: Option<i64>,
}

impl Reader {
    /// Shows the files that were made for an equal request, newest first, until one is what is wanted, and gives that one. Of
    /// those that were written down when this was first asked: equal rows of one list need no more, they know of each other.
    pub(crate) fn find_equal(
        &self,
        wanted: &RequestHash,
        mut is_wanted: impl FnMut(&TakeRow) -> bool,
    ) -> Result<Option<TakeRow>> {
        let all = "SELECT hash, rowid FROM takes";
        let rows = self.ask(self.hashes.rows(&self.db, all, short(wanted.bytes())))?;
        for row in rows {
            let text = concat!(takes!(), " WHERE rowid = ?1 AND hash = ?2");
            let take = self.one(text, params![row, wanted.bytes()], take_row)?;
            if let Some(take) = take.filter(&mut is_wanted) {
                return Ok(Some(take));
            }
        }
        Ok(None)
    }

    /// A job other than this one for which an equal request was billed, and came to nothing. Of those that were written down
    /// when this was first asked.
    pub(crate) fn spent_equal(&self, job: &str, wanted: &RequestHash) -> Result<Option<String>> {
        let all = "SELECT hash, rowid FROM attempts WHERE state = 'spent'";
        let rows = self.ask(self.spent.rows(&self.db, all, short(wanted.bytes())))?;
        let text = "SELECT job FROM attempts WHERE rowid = ?1 AND hash = ?2 AND job <> ?3";
        self.first_job(rows, text, job, wanted)
    }

    /// A job other than this one whose attempt at an equal request was sent and is not settled. Of those that were open when
    /// this was first asked.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn open_equal(&self, job: &str, wanted: &RequestHash) -> Result<Option<String>> {
        let all = "SELECT hash, rowid FROM attempts WHERE ended_ms IS NULL AND sends > 0";
        let rows = self.ask(self.open.rows(&self.db, all, short(wanted.bytes())))?;
        let text = "SELECT job FROM attempts
            WHERE rowid = ?1 AND hash = ?2 AND job <> ?3 AND ended_ms IS NULL AND sends > 0";
        self.first_job(rows, text, job, wanted)
    }

    fn first_job(
        &self,
        rows: impl Iterator<Item = i64>,
        text: &str,
        job: &str,
        wanted: &RequestHash,
    ) -> Result<Option<String>> {
        for row in rows {
            let other = self.one(text, params![row, wanted.bytes(), job], |row| row.get(0))?;
            if other.is_some() {
                return Ok(other);
            }
        }
        Ok(None)
    }

    /// Other jobs of which the list asked the same. Of those that were written down when this was first asked.
    pub(crate) fn jobs_asking(&self, asked: &[u8; 32], job: &str) -> Result<Vec<Entry>> {
        let all = "SELECT asked, rowid FROM jobs";
        let mut found = Vec::new();
        for row in self.ask(self.asked.rows(&self.db, all, short(asked)))?.take(JOBS) {
            let text = concat!(jobs!(), " WHERE rowid = ?1 AND asked = ?2 AND id <> ?3");
            found.extend(self.one(text, params![row, asked, job], entry)?);
        }
        Ok(found)
    }

    /// What was made at this path for other jobs than this one, newest first, also where such a job has its file elsewhere by now,
    /// and where a kill came between a copy and its entry.
    pub(crate) fn made_at(&self, path: &str, job: &str) -> Result<Vec<MadeAt>> {
        // Takes by their rows times four, attempts by theirs and one, the places that takes had before by theirs and two, jobs without
        // a file by theirs and three.
        let all = "SELECT path, rowid * 4 FROM takes UNION ALL
            SELECT path, rowid * 4 + 1 FROM attempts WHERE path IS NOT NULL AND sha256 IS NOT NULL AND bytes IS NOT NULL UNION ALL
            SELECT path, rowid * 4 + 2 FROM former_places UNION ALL
            SELECT path, rowid * 4 + 3 FROM jobs
                WHERE NOT EXISTS (SELECT 1 FROM takes WHERE takes.job = jobs.id AND takes.take = jobs.take)";
        let text = "SELECT job, hash, bytes, sha256, modified_ns FROM takes
                WHERE rowid = ?1 / 4 AND ?1 % 4 = 0 AND path = ?2 AND job <> ?3
            UNION ALL SELECT job, hash, bytes, sha256, NULL FROM attempts
                WHERE rowid = ?1 / 4 AND ?1 % 4 = 1 AND path = ?2 AND job <> ?3
            UNION ALL SELECT job, hash, bytes, sha256, modified_ns FROM former_places
                WHERE rowid = ?1 / 4 AND ?1 % 4 = 2 AND path = ?2 AND job <> ?3";
        let mut made = Vec::new();
        for row in self.ask(self.paths.rows(&self.db, all, short(path.as_bytes())))? {
            let found = self.one(text, params![row, path, job], |row| {
                Ok(MadeAt {
                    job: row.get(0)?,
                    hash: hash(row, 1)?,
                    bytes: count(row, 2)?,
                    sha256: row.get(3)?,
                    modified_ns: row.get(4)?,
                })
            })?;
            made.extend(found);
            // What such a row is to be a copy of stands somewhere else.
            let unmade =
                "SELECT id, hash FROM jobs WHERE rowid = ?1 / 4 AND ?1 % 4 = 3 AND path = ?2 AND id <> ?3";
            let of = self.one(unmade, params![row, path, job], |row| {
                Ok((row.get::<_, String>(0)?, hash(row, 1)?))
            })?;
            if let Some((of, hash)) = of {
                self.copies_of(&of, &hash, &mut made)?;
            }
        }
        let redone = "SELECT job, hash FROM redos WHERE path = ?1 AND job <> ?2";
        let redone: Vec<(String, RequestHash)> = self.all(redone, params![path, job], |row| {
            Ok((row.get::<_, String>(0)?, hash(row, 1)?))
        })?;
        for (of, hash) in redone {
            self.copies_of(&of, &hash, &mut made)?;
        }
        Ok(made)
    }

    /// What a job may have been given a copy of: all that was made for its request.
    fn copies_of(&self, job: &str, hash: &RequestHash, made: &mut Vec<MadeAt>) -> Result<()> {
        self.find_equal(hash, |take| {
            made.push(MadeAt {
                job: job.to_owned(),
                hash: take.hash,
                bytes: take.bytes,
                sha256: take.sha256.clone(),
                modified_ns: None,
            });
            false
        })?;
        Ok(())
    }
}
