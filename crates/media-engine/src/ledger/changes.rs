//! What a person changes, and what is put right when a folder is opened: each in one commit, after everything that was noted
//! before.

use std::path::Path;

use jiff::Timestamp;
use media_core::Result;
use rusqlite::Transaction;

use super::rows::{modified_ns, retell};
use super::{AttemptState, Ledger};

/// A take that is put back in its place.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    pub(crate) job: String,
    pub(crate) take: u32,
    /// The job's place, relative to the output folder.
    pub(crate) path: String,
    pub(crate) sha256: String,
}

impl Ledger {
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    fn change(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<()> {
        self.writer.change(Box::new(change))
    }

    /// Notes facts of the whole ledger; an empty value is none.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn note_meta(&self, facts: &[(&str, &str)]) -> Result<()> {
        let facts: Vec<(String, String)> = facts
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.change(move |db| {
            for fact in &facts {
                db.execute(
                    "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
                    (&fact.0, &fact.1),
                )?;
            }
            Ok(())
        })
    }

    /// Lets these jobs be asked for again: what failed for good, or (`unknown`) what may have been billed, which is
    /// given up by this.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn ask_again(&self, jobs: Vec<String>, unknown: bool) -> Result<()> {
        self.change(move |db| {
            let now = Timestamp::now().as_millisecond();
            for job in &jobs {
                if unknown {
                    give_up(db, job, now)?;
                }
                db.execute(
                    "UPDATE jobs SET status = 'open' WHERE id = ?1 AND status <> 'done'",
                    [job],
                )?;
            }
            Ok(())
        })
    }

    /// Protects the files of jobs from every redo, or lifts that.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn protect(&self, jobs: Vec<String>, on: bool) -> Result<()> {
        self.change(move |db| {
            for job in &jobs {
                db.execute("UPDATE jobs SET protected = ?2 WHERE id = ?1", (job, on))?;
            }
            Ok(())
        })
    }

    /// A take stands in its place again. Rows that share the path share the file. `file`: where it stands.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn picked(&self, picked: Picked, file: &Path) -> Result<()> {
        let modified = modified_ns(file);
        self.change(move |db| {
            let Picked {
                job,
                take,
                path,
                sha256,
            } = &picked;
            let jobs = "path = ?1 AND EXISTS (SELECT 1 FROM takes WHERE takes.job = jobs.id AND sha256 = ?2)";
            db.execute(
                &format!(
                    "UPDATE jobs SET status = 'done', take = CASE WHEN id = ?3 THEN ?4 ELSE
                         (SELECT take FROM takes WHERE takes.job = jobs.id AND sha256 = ?2 LIMIT 1) END WHERE {jobs}"
                ),
                (path, sha256, job, take),
            )?;
            db.execute(
                &format!(
                    "INSERT INTO former_places SELECT path, job, hash, bytes, sha256, modified_ns FROM takes
                     WHERE sha256 = ?2 AND path <> ?1 AND job IN (SELECT id FROM jobs WHERE {jobs})"
                ),
                (path, sha256),
            )?;
            db.execute(
                &format!(
                    "UPDATE takes SET path = ?1, modified_ns = ?3
                     WHERE sha256 = ?2 AND job IN (SELECT id FROM jobs WHERE {jobs})"
                ),
                (path, sha256, modified),
            )?;
            let mut rows = db.prepare(&format!("SELECT id FROM jobs WHERE {jobs}"))?;
            let ids = rows.query_map((path, sha256), |row| row.get(0))?;
            for id in ids.collect::<rusqlite::Result<Vec<String>>>()? {
                retell(db, &id)?;
            }
            Ok(())
        })
    }

    /// The bytes of an attempt are here no more: they can be fetched again by its link, or asked for.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn bytes_lost(&self, key: String, has_link: bool) -> Result<()> {
        let state = if has_link {
            AttemptState::Linked
        } else {
            AttemptState::Sending
        };
        self.change(move |db| {
            db.execute(
                "UPDATE attempts SET state = ?2 WHERE key = ?1 AND ended_ms IS NULL",
                (key, state.as_str()),
            )
            .map(drop)
        })
    }

    /// The bytes of an attempt were found, `staged` in the folder's own place: the run that took them could not write it down.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn bytes_found(&self, key: String, staged: String, sha256: String, bytes: u64) -> Result<()> {
        self.change(move |db| {
            // What it has cost was known to the run that could not write it.
            db.execute(
                "UPDATE attempts SET state = 'have', sha256 = ?2, bytes = ?3, staged = ?4, have_ms = coalesce(have_ms, last_sent_ms),
                     cost_micros = coalesce(cost_micros, reserved_micros), cost_basis = coalesce(cost_basis, 'estimated')
                 WHERE key = ?1 AND ended_ms IS NULL AND state <> 'have'",
                (key, sha256, bytes.cast_signed(), staged),
            )
            .map(drop)
        })
    }
}

/// What may have been billed for a job is given up.
fn give_up(db: &Transaction<'_>, job: &str, now: i64) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE attempts SET state = 'abandoned', ended_ms = ?2
         WHERE job = ?1 AND state IN ('sending', 'linked') AND sends > 0",
        (job, now),
    )?;
    // What a lost ledger may have sent has no attempt here; from now on it has one that is given up. Nor has what shares the
    // purchase of another row, but that is not its own to give up.
    db.execute(
        "INSERT INTO attempts (key, job, take, number, hash, state, ended_ms)
         SELECT '', id, take, 1, hash, 'abandoned', ?2 FROM jobs
         WHERE id = ?1 AND status = 'unknown' AND EXISTS (SELECT 1 FROM meta WHERE name = 'lost')
             AND NOT EXISTS (SELECT 1 FROM attempts WHERE job = ?1 OR (hash = jobs.hash AND ended_ms IS NULL))",
        (job, now),
    )
    .map(drop)
}
