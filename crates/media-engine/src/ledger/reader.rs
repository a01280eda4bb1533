//! Asks the ledger.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use media_core::{AttemptKey, CostBasis, Error, ErrorKind, RequestHash, Result, Usd};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::budget::{self, Spending};
use super::entry::{AttemptRow, Entry, JobStatus, OpenAttempt, TakeRow};
use super::{failed, schema};

macro_rules! jobs {
    () => {
        "SELECT request, provider, model, asked, hash, take, status, result, estimate_micros, protected FROM jobs"
    };
}

macro_rules! takes {
    () => {
        "SELECT take, hash, path, format, bytes, sha256, modified_ns, width, height, duration_ms, provenance FROM takes"
    };
}

macro_rules! attempt_columns {
    () => {
        "key, take, number, state, link, facts, sha256, staged, cost_micros, sends, first_sent_ms, bytes, cost_basis,
         reserved_micros, path, provider, model, group_key, account"
    };
}

macro_rules! attempts {
    () => {
        concat!("SELECT ", attempt_columns!(), " FROM attempts")
    };
}

/// Files made for an equal request that are looked at. A list of ten thousand equal rows whose files are all gone must not
/// look at each of them for each row.
const EQUALS: usize = 1000;

/// A connection that only reads. One for each thread that asks.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
    path: PathBuf,
    /// The first eight bytes of each take's hash and its row, sorted; read when it is first asked for. An index would cost
    /// more with each file that is made than this does with a run that asks.
    hashes: OnceCell<Vec<(u64, i64)>>,
    /// The same of each take's path.
    paths: OnceCell<Vec<(u64, i64)>>,
}

/// A remote batch that is not settled.
#[derive(Clone, Debug)]
pub struct RemoteBatch {
    /// The key by which it is found at the service.
    pub key: String,
    /// The provider instance.
    pub provider: String,
    /// Files of it that are not here.
    pub files: u64,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: Option<i64>,
    /// What is set aside for those files.
    pub reserved: Usd,
}

impl RemoteBatch {
    /// The key alone, without the service's id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.split(' ').next().unwrap_or(&self.key)
    }
}

/// What requests of one model have cost.
#[derive(Clone, Debug)]
pub(crate) struct CostsSoFar {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) count: u64,
    pub(crate) cost: Usd,
    /// The same by the price list as it was then.
    pub(crate) listed: Usd,
}

/// When an attempt was sent and answered, and what it cost.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) cost: Option<Usd>,
    /// Its last send; of a free one, when its link came.
    pub(crate) sent_ms: Option<i64>,
    pub(crate) have_ms: Option<i64>,
}

/// What the ledger holds, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs by status.
    pub jobs: Vec<(JobStatus, u64)>,
    /// What is known to have been spent.
    pub spent: Usd,
    /// Attempts whose fate is unknown.
    pub unknown: u64,
    /// What those are expected to have cost at most.
    pub at_stake: Usd,
    /// How many of them have no price, so that they are not in that sum.
    pub unpriced: u64,
    /// Attempts that may have been billed and that a person went on without.
    pub given_up: u64,
    /// What those are expected to have cost at most.
    pub given_up_usd: Usd,
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
            hashes: OnceCell::new(),
            paths: OnceCell::new(),
        }
    }

    /// While the guard lives, everything is asked of the ledger as it is now, without a lock for each question. Not to be
    /// kept over a wait: meanwhile nobody can fold the ledger.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn look(&self) -> Result<Transaction<'_>> {
        self.ask(self.db.unchecked_transaction())
    }

    fn ask<T>(&self, question: rusqlite::Result<T>) -> Result<T> {
        question.map_err(|error| failed(&self.path, error))
    }

    /// What is noted once for the whole ledger.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn meta(&self, name: &str) -> Result<Option<String>> {
        let mut question = self.ask(self.db.prepare_cached("SELECT value FROM meta WHERE name = ?1"))?;
        self.ask(question.query_row([name], |row| row.get(0)).optional())
    }

    /// Whether it knows of no job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_empty(&self) -> Result<bool> {
        let any = "SELECT NOT EXISTS (SELECT 1 FROM jobs) AND NOT EXISTS (SELECT 1 FROM attempts)";
        self.ask(self.db.query_row(any, (), |row| row.get(0)))
    }

    /// A job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn job(&self, id: &str) -> Result<Option<Entry>> {
        let mut question = self.ask(self.db.prepare_cached(concat!(jobs!(), " WHERE id = ?1")))?;
        self.ask(question.query_row([id], entry).optional())
    }

    /// All jobs, in the order of their lines.
    ///
    /// # Errors
    /// The disk, or what `each` says.
    pub fn each_job(&self, mut each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        let mut question = self.ask(self.db.prepare(concat!(jobs!(), " ORDER BY line, id")))?;
        let mut rows = self.ask(question.query(()))?;
        while let Some(row) = self.ask(rows.next())? {
            each(self.ask(entry(row))?)?;
        }
        Ok(())
    }

    /// A file that was made for a job.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn take(&self, job: &str, take: u32) -> Result<Option<TakeRow>> {
        let text = concat!(takes!(), " WHERE job = ?1 AND take = ?2");
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(question.query_row(params![job, take], take_row).optional())
    }

    /// Whether a take of the job was made after this one.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn has_newer_take(&self, job: &str, take: u32) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM takes WHERE job = ?1 AND take > ?2)";
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(question.query_row(params![job, take], |row| row.get(0)))
    }

    /// Shows the files that were made for an equal request, newest first, until one is what is wanted, and gives that one. Of
    /// those that were written down when this was first asked: equal rows of one list need no more, they know of each other.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn find_equal(
        &self,
        hash: &RequestHash,
        mut is_wanted: impl FnMut(&TakeRow) -> bool,
    ) -> Result<Option<TakeRow>> {
        let hashes = match self.hashes.get() {
            Some(hashes) => hashes,
            None => {
                let read = self.ask(self.read_hashes())?;
                self.hashes.get_or_init(|| read)
            }
        };
        let short = short(hash.bytes());
        let upto = hashes.partition_point(|(found, _)| *found <= short);
        let text = concat!(takes!(), " WHERE rowid = ?1 AND hash = ?2");
        let mut question = self.ask(self.db.prepare_cached(text))?;
        // Rows are appended, so the newest come last.
        let rows = hashes.iter().take(upto).rev();
        for (_, row) in rows.take_while(|(found, _)| *found == short).take(EQUALS) {
            let take = question
                .query_row(params![row, hash.bytes()], take_row)
                .optional();
            if let Some(take) = self.ask(take)?
                && is_wanted(&take)
            {
                return Ok(Some(take));
            }
        }
        Ok(None)
    }

    fn read_hashes(&self) -> rusqlite::Result<Vec<(u64, i64)>> {
        let mut question = self.db.prepare("SELECT hash, rowid FROM takes")?;
        let rows = question.query_map((), |row| Ok((short(&row.get::<_, [u8; 32]>(0)?), row.get(1)?)))?;
        let mut hashes = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        hashes.sort_unstable();
        Ok(hashes)
    }

    /// What was made at this path for other jobs than this one, newest first, also where such a job has its file elsewhere by now.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn made_at(&self, path: &str, job: &str) -> Result<Vec<MadeAt>> {
        let paths = match self.paths.get() {
            Some(paths) => paths,
            None => {
                let read = self.ask(self.read_paths())?;
                self.paths.get_or_init(|| read)
            }
        };
        let wanted = hash_of_path(path);
        let upto = paths.partition_point(|(found, _)| *found <= wanted);
        let mut question = self.ask(self.db.prepare_cached(
            "SELECT job, hash, bytes, sha256, modified_ns FROM takes WHERE rowid = ?1 AND ?1 > 0 AND path = ?2 AND job <> ?3
             UNION ALL
             SELECT job, hash, bytes, sha256, NULL FROM attempts WHERE rowid = -?1 AND ?1 < 0 AND path = ?2 AND job <> ?3",
        ))?;
        let rows = paths.iter().take(upto).rev();
        let mut made = Vec::new();
        for (_, row) in rows.take_while(|(found, _)| *found == wanted).take(EQUALS) {
            let found = question
                .query_row(params![row, path, job], |row| {
                    Ok(MadeAt {
                        job: row.get(0)?,
                        hash: hash_of(row, 1)?,
                        bytes: row.get::<_, i64>(2)?.unsigned_abs(),
                        sha256: row.get(3)?,
                        modified_ns: row.get(4)?,
                    })
                })
                .optional();
            made.extend(self.ask(found)?);
        }
        Ok(made)
    }

    /// Paths of takes by their rows, and of attempts by theirs, negative.
    fn read_paths(&self) -> rusqlite::Result<Vec<(u64, i64)>> {
        let mut question = self.db.prepare(
            "SELECT path, rowid FROM takes UNION ALL
             SELECT path, -rowid FROM attempts WHERE path IS NOT NULL AND sha256 IS NOT NULL AND bytes IS NOT NULL",
        )?;
        let rows = question.query_map((), |row| {
            Ok((hash_of_path(row.get_ref(0)?.as_str()?), row.get(1)?))
        })?;
        let mut paths = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    /// Whether a job is in doubt because a ledger that was lost may have sent it: nothing is written down of it, and it does
    /// not share the purchase of another one.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_of_lost_ledger(&self, job: &Entry) -> Result<bool> {
        let id = &job.spec.id;
        Ok(job.status == JobStatus::Unknown
            && self.meta("lost")?.is_some()
            && self.attempts(id)?.is_empty()
            && self.open_equal(id, &job.hash)?.is_none())
    }

    /// A job other than this one whose attempt at an equal request is not settled.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn open_equal(&self, job: &str, hash: &RequestHash) -> Result<Option<String>> {
        let text = "SELECT job FROM attempts
            WHERE ended_ms IS NULL AND sends > 0 AND hash = ?1 AND job <> ?2 LIMIT 1";
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(
            question
                .query_row(params![hash.bytes(), job], |row| row.get(0))
                .optional(),
        )
    }

    /// Whether an attempt of a job at another request than this one is not settled.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn has_open_attempt_at_another(&self, job: &str, hash: &RequestHash) -> Result<bool> {
        let text = "SELECT EXISTS (SELECT 1 FROM attempts
            WHERE job = ?1 AND hash <> ?2 AND sends > 0 AND ended_ms IS NULL)";
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(question.query_row(params![job, hash.bytes()], |row| row.get(0)))
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
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(
            question
                .query_row(params![job, take, hash.bytes()], attempt_row)
                .optional(),
        )
    }

    /// The first attempt at a take after this one that is not settled. One that was free counts when it came to something.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn open_attempt_after(&self, job: &str, take: u32) -> Result<Option<AttemptRow>> {
        let text = concat!(
            attempts!(),
            " WHERE job = ?1 AND take > ?2 AND (sends > 0 OR state <> 'sending') AND ended_ms IS NULL
             ORDER BY take, number LIMIT 1"
        );
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(question.query_row(params![job, take], attempt_row).optional())
    }

    /// The highest number of a take that was made or tried.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn last_take(&self, job: &str) -> Result<u32> {
        let text = "SELECT max((SELECT coalesce(max(take), 0) FROM takes WHERE job = ?1),
                (SELECT coalesce(max(take), 0) FROM attempts WHERE job = ?1))";
        let mut question = self.ask(self.db.prepare_cached(text))?;
        self.ask(question.query_row([job], |row| row.get(0)))
    }

    /// All files that were made for a job, oldest first.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn takes(&self, job: &str) -> Result<Vec<TakeRow>> {
        let text = concat!(takes!(), " WHERE job = ?1 ORDER BY take");
        let mut question = self.ask(self.db.prepare_cached(text))?;
        let rows = self.ask(question.query_map([job], take_row))?;
        self.ask(rows.collect())
    }

    /// All attempts at a job, in order.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn attempts(&self, job: &str) -> Result<Vec<AttemptRow>> {
        let text = concat!(attempts!(), " WHERE job = ?1 ORDER BY take, number");
        let mut question = self.ask(self.db.prepare_cached(text))?;
        let rows = self.ask(question.query_map([job], attempt_row))?;
        self.ask(rows.collect())
    }

    /// Remote batches with files that are not here, oldest first.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn remote_batches(&self) -> Result<Vec<RemoteBatch>> {
        let text = "SELECT group_key, coalesce(provider, ''), count(*), min(first_sent_ms),
                coalesce(sum(reserved_micros), 0) FROM attempts
            WHERE ended_ms IS NULL AND state = 'sending' AND group_key IS NOT NULL GROUP BY 1, 2 ORDER BY 4";
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| {
            Ok(RemoteBatch {
                key: row.get(0)?,
                provider: row.get(1)?,
                files: row.get::<_, i64>(2)?.unsigned_abs(),
                sent_ms: row.get(3)?,
                reserved: usd(row, 4)?.unwrap_or_default(),
            })
        }))?;
        self.ask(rows.collect())
    }

    /// Jobs with something that was bought, or may have been, and was not seen to its end.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn unsettled(&self) -> Result<std::collections::HashSet<String>> {
        let text = "SELECT job FROM attempts WHERE ended_ms IS NULL AND sends > 0";
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| row.get(0)))?;
        self.ask(rows.collect())
    }

    /// Jobs that were sent, with no answer known.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn in_doubt(&self) -> Result<std::collections::HashSet<String>> {
        let text =
            "SELECT job FROM attempts WHERE ended_ms IS NULL AND state = 'sending' AND group_key IS NULL";
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| row.get(0)))?;
        self.ask(rows.collect())
    }

    /// Attempts whose bytes came, and whose file may not have its name yet.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn unfinished_files(&self) -> Result<Vec<OpenAttempt>> {
        // Left to itself SQLite walks through all attempts, because they lie in this order.
        let text = concat!(
            "SELECT ",
            attempt_columns!(),
            ", job, hash FROM attempts INDEXED BY attempts_open
             WHERE ended_ms IS NULL AND state = 'have' ORDER BY job, take, number"
        );
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| {
            Ok(OpenAttempt {
                attempt: attempt_row(row)?,
                job: row.get(19)?,
                hash: hash_of(row, 20)?,
            })
        }))?;
        self.ask(rows.collect())
    }

    /// Every attempt's times and cost.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn each_timing(&self, mut each: impl FnMut(Timing)) -> Result<()> {
        let text =
            "SELECT coalesce(a.provider, j.provider), coalesce(a.model, j.model), a.cost_micros, coalesce(a.last_sent_ms, a.linked_ms), a.have_ms
            FROM attempts a JOIN jobs j ON j.id = a.job";
        let mut question = self.ask(self.db.prepare(text))?;
        let mut rows = self.ask(question.query(()))?;
        while let Some(row) = self.ask(rows.next())? {
            let timing = || {
                Ok(Timing {
                    provider: row.get(0)?,
                    model: row.get(1)?,
                    cost: usd(row, 2)?,
                    sent_ms: row.get(3)?,
                    have_ms: row.get(4)?,
                })
            };
            each(self.ask(timing())?);
        }
        Ok(())
    }

    /// Whom to name for which file.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn credits(&self) -> Result<std::collections::BTreeMap<String, String>> {
        let text = "SELECT path, json_extract(provenance, '$.credit') FROM takes
            WHERE json_extract(provenance, '$.credit') IS NOT NULL ORDER BY made_ms";
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| Ok((row.get(0)?, row.get(1)?))))?;
        self.ask(rows.collect())
    }

    /// What was spent, or may have been, in all and today (UTC).
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn spending(&self) -> Result<Spending> {
        self.ask(budget::spent(&self.db))
    }

    /// What paid requests have cost so far, beside what the price list says of them, by provider and model.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub(crate) fn costs(&self) -> Result<Vec<CostsSoFar>> {
        let text = "SELECT provider, model, count(*), sum(cost_micros), sum(listed_micros) FROM attempts
            WHERE cost_basis IN ('reported', 'computed') AND state IN ('have', 'done') AND listed_micros IS NOT NULL
                AND provider IS NOT NULL AND model IS NOT NULL GROUP BY 1, 2";
        let mut question = self.ask(self.db.prepare(text))?;
        let rows = self.ask(question.query_map((), |row| {
            Ok(CostsSoFar {
                provider: row.get(0)?,
                model: row.get(1)?,
                count: row.get::<_, i64>(2)?.unsigned_abs(),
                cost: usd(row, 3)?.unwrap_or_default(),
                listed: usd(row, 4)?.unwrap_or_default(),
            })
        }))?;
        self.ask(rows.collect())
    }

    /// Counts and sums.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn totals(&self) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut question = self.ask(
            self.db
                .prepare("SELECT status, count(*) FROM jobs GROUP BY status"),
        )?;
        let rows = self.ask(question.query_map((), |row| {
            Ok((named(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        }))?;
        totals.jobs = self.ask(rows.collect())?;
        totals.jobs.sort();
        let sums = "SELECT coalesce(sum(a.cost_micros), 0), count(*) FILTER (WHERE a.state = 'sending' AND a.group_key IS NULL),
                coalesce(sum(a.reserved_micros) FILTER (WHERE a.state = 'sending' AND a.group_key IS NULL), 0),
                count(*) FILTER (WHERE a.state = 'sending' AND a.group_key IS NULL AND a.reserved_micros IS NULL),
                count(*) FILTER (WHERE a.state = 'abandoned'),
                coalesce(sum(a.reserved_micros) FILTER (WHERE a.state = 'abandoned'), 0)
            FROM attempts a";
        (
            totals.spent,
            totals.unknown,
            totals.at_stake,
            totals.unpriced,
            totals.given_up,
            totals.given_up_usd,
        ) = self.ask(self.db.query_row(sums, (), |row| {
            let usd = |n| {
                row.get::<_, i64>(n)
                    .map(|micros| Usd::from_micros(micros.unsigned_abs()))
            };
            Ok((
                usd(0)?,
                row.get::<_, i64>(1)?.unsigned_abs(),
                usd(2)?,
                row.get::<_, i64>(3)?.unsigned_abs(),
                row.get::<_, i64>(4)?.unsigned_abs(),
                usd(5)?,
            ))
        }))?;
        Ok(totals)
    }
}

fn hash_of_path(path: &str) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_bytes());
    hasher.finish()
}

/// Enough of a hash to look for it.
fn short(hash: &[u8; 32]) -> u64 {
    hash.iter()
        .take(8)
        .fold(0, |short, byte| short << 8 | u64::from(*byte))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        spec: parsed(row, 0)?.ok_or(rusqlite::Error::InvalidQuery)?,
        provider: row.get(1)?,
        model: row.get(2)?,
        asked: row.get(3)?,
        hash: hash_of(row, 4)?,
        take: row.get(5)?,
        status: named(row, 6)?,
        result: row.get(7)?,
        estimate: usd(row, 8)?,
        is_protected: row.get(9)?,
    })
}

fn take_row(row: &Row<'_>) -> rusqlite::Result<TakeRow> {
    let number = |n| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(n)?.map(i64::unsigned_abs));
    Ok(TakeRow {
        take: row.get(0)?,
        hash: hash_of(row, 1)?,
        path: row.get(2)?,
        format: row.get(3)?,
        bytes: number(4)?.unwrap_or(0),
        sha256: row.get(5)?,
        modified_ns: row.get(6)?,
        width: row.get(7)?,
        height: row.get(8)?,
        duration_ms: number(9)?,
        provenance: parsed(row, 10)?.unwrap_or_default(),
    })
}

fn attempt_row(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        key: row.get(0)?,
        take: row.get(1)?,
        number: row.get(2)?,
        state: named(row, 3)?,
        link: parsed(row, 4)?,
        facts: parsed(row, 5)?.unwrap_or_default(),
        sha256: row.get(6)?,
        staged: row.get::<_, Option<String>>(7)?.map(PathBuf::from),
        cost: usd(row, 8)?,
        sends: row.get(9)?,
        first_sent_ms: row.get(10)?,
        bytes: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
        basis: basis(row, 12)?,
        reserved: usd(row, 13)?,
        path: row.get(14)?,
        provider: row.get(15)?,
        model: row.get(16)?,
        batch: row.get(17)?,
        account: row.get(18)?,
    })
}

/// A column of JSON.
fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(n)? else {
        return Ok(None);
    };
    let parsed = serde_json::from_str(&text);
    parsed
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(n, Type::Text, Box::new(error)))
}

/// A column of names.
fn named<T>(row: &Row<'_>, n: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let name: String = row.get(n)?;
    name.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(n, Type::Text, Box::new(error)))
}

fn hash_of(row: &Row<'_>, n: usize) -> rusqlite::Result<RequestHash> {
    row.get(n).map(RequestHash::from_bytes)
}

fn basis(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<CostBasis>> {
    let name: Option<String> = row.get(n)?;
    // Of what was not billed, or may have been, the column tells no more than its absence does.
    Ok(CostBasis::ALL
        .into_iter()
        .find(|basis| Some(basis.as_str()) == name.as_deref()))
}

fn usd(row: &Row<'_>, n: usize) -> rusqlite::Result<Option<Usd>> {
    let micros: Option<i64> = row.get(n)?;
    Ok(micros.map(|micros| Usd::from_micros(micros.unsigned_abs())))
}

impl AttemptRow {
    /// Its key, as the clients know it.
    ///
    /// # Errors
    /// Somebody has changed it.
    pub fn parsed_key(&self) -> Result<AttemptKey> {
        AttemptKey::parse(&self.key)
            .ok_or_else(|| Error::new(ErrorKind::Storage, format!("{:?} is no attempt key", self.key)))
    }
}
