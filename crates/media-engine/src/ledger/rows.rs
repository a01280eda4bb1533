//! What each event and result changes in the tables.

use std::path::Path;

use media_core::{
    Attempt, AttemptKey, CostBasis, Event, Facts, Link, MediaFile, Provenance, RequestHash, Usd,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::columns::{take_row, takes};
use super::entry::JobStatus;
use crate::line::{Line, Status};
use crate::list::JobSpec;

/// A job that is about to be made.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) spec: JobSpec,
    pub(crate) provider: String,
    /// The account that it is sent by: a hash of its key.
    pub(crate) account: String,
    pub(crate) model: String,
    pub(crate) asked: [u8; 32],
    pub(crate) hash: RequestHash,
    pub(crate) take: u32,
    /// What one attempt at it costs by the price list.
    pub(crate) listed: Option<Usd>,
    /// What it is expected to cost by what such requests have cost so far.
    pub(crate) estimate: Option<Usd>,
    /// It is another take of a job that was made, which stays as it is until the new one is made too.
    pub(crate) is_redo: bool,
}

/// Who is asked for something, and what it is expected to cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) provider: String,
    pub(crate) account: String,
    pub(crate) model: String,
    pub(crate) listed: Option<Usd>,
    pub(crate) expected: Option<Usd>,
}

impl Planned {
    pub(crate) fn ask(&self) -> Ask {
        Ask {
            provider: self.provider.clone(),
            account: self.account.clone(),
            model: self.model.clone(),
            listed: self.listed,
            expected: self.estimate,
        }
    }
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) id: String,
    /// The job as it is from now on, where that was not written down before.
    pub(crate) planned: Option<Planned>,
    pub(crate) take: u32,
    /// `None` leaves the job as it was: another take of it came to nothing.
    pub(crate) status: Option<JobStatus>,
    /// The result line, JSON.
    pub(crate) line: String,
    pub(crate) hash: RequestHash,
    /// What its last attempt came to.
    pub(crate) attempt: Option<Settled>,
    pub(crate) made: Option<Made>,
    /// The job that it shares a purchase with.
    pub(crate) shared_with: Option<String>,
}

/// What an attempt came to, as far as money goes.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) key: AttemptKey,
    pub(crate) cost: Option<Usd>,
    pub(crate) basis: String,
    /// It was billed and failed.
    pub(crate) is_billed_failure: bool,
    /// What came is no good, so that fetching it once more would bring the same.
    pub(crate) is_no_good: bool,
}

/// A file that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// Relative to the output folder.
    pub(crate) path: String,
    pub(crate) file: MediaFile,
    pub(crate) provenance: Provenance,
}

fn json(value: &impl serde::Serialize) -> String {
    // Only types of ours come here, and each of them can be written as JSON.
    serde_json::to_string(value).unwrap_or_default()
}

fn micros(usd: Option<Usd>) -> Option<i64> {
    usd.map(|usd| i64::try_from(usd.micros()).unwrap_or(i64::MAX))
}

/// The output folder of a folder's own place.
pub(super) fn out_of(inner: &Path) -> &Path {
    inner.parent().unwrap_or(inner)
}

pub(super) fn planned(db: &Transaction<'_>, job: &Planned, out: &Path, now: i64) -> rusqlite::Result<()> {
    // A kill may have left a copy for it at the place that it had.
    let mut moves = db.prepare_cached(
        "SELECT path, hash FROM jobs
         WHERE id = ?1 AND path <> ?2 AND NOT EXISTS (SELECT 1 FROM takes WHERE job = ?1)",
    )?;
    let moved: Option<(String, Vec<u8>)> = moves
        .query_row(params![job.spec.id, job.spec.path], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let moved = moved.filter(|(path, _)| std::fs::symlink_metadata(out.join(path)).is_ok());
    if let Some((_, hash)) = moved {
        let mut place = db.prepare_cached(
            "INSERT INTO former_places SELECT jobs.path, jobs.id, t.hash, t.bytes, t.sha256, NULL FROM jobs
                JOIN takes t ON t.hash = ?2 WHERE jobs.id = ?1 GROUP BY t.sha256",
        )?;
        place.execute(params![job.spec.id, hash])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO jobs (id, line, path, provider, model, request, asked, hash, take, status, estimate_micros, updated_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'open', ?10, ?11)
         ON CONFLICT (id) DO UPDATE SET line = ?2, path = ?3, provider = ?4, model = ?5, request = ?6, asked = ?7,
             hash = ?8, take = ?9, status = 'open', estimate_micros = ?10, updated_ms = ?11",
    )?;
    insert.execute(params![
        job.spec.id,
        i64::try_from(job.spec.line).unwrap_or(i64::MAX),
        job.spec.path,
        job.provider,
        job.model,
        json(&job.spec),
        job.asked,
        job.hash.bytes(),
        job.take,
        micros(job.listed),
        now,
    ])?;
    Ok(())
}

/// What another take is made for. Its job stays what it is until that take is made.
pub(super) fn planned_redo(db: &Transaction<'_>, job: &Planned) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO redos (job, take, line, path, provider, model, request, asked, hash, estimate_micros)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    insert.execute(params![
        job.spec.id,
        job.take,
        i64::try_from(job.spec.line).unwrap_or(i64::MAX),
        job.spec.path,
        job.provider,
        job.model,
        json(&job.spec),
        job.asked,
        job.hash.bytes(),
        micros(job.listed),
    ])?;
    Ok(())
}

/// From now on a job is what this take of it was made for, whichever process made it.
fn became(db: &Transaction<'_>, job: &Finished) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE jobs SET (line, path, provider, model, request, asked, hash, estimate_micros) =
             (SELECT line, path, provider, model, request, asked, hash, estimate_micros FROM redos WHERE job = ?1)
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM redos WHERE job = ?1 AND take = ?2 AND hash = ?3)",
    )?
    .execute(params![job.id, job.take, job.hash.bytes()])?;
    db.prepare_cached("DELETE FROM redos WHERE job = ?1 AND take <= ?2")?
        .execute(params![job.id, job.take])?;
    Ok(())
}

pub(super) fn event(
    db: &Transaction<'_>,
    key: AttemptKey,
    event: &Event,
    ask: Option<&Ask>,
    inner: &Path,
    now: i64,
) -> rusqlite::Result<()> {
    let key = key.to_string();
    match event {
        Event::Sending { attempt, batch } => sending(db, &key, attempt, batch.as_deref(), ask, now),
        Event::Found { attempt } => found(db, &key, attempt, ask),
        Event::InBatch { batch } => {
            let mut taken =
                db.prepare_cached("UPDATE attempts SET group_key = ?2 WHERE key = ?1 AND ended_ms IS NULL")?;
            taken.execute(params![key, batch])?;
            Ok(())
        }
        Event::Refused => {
            // A refusal ends a send; it takes back nothing that is known to be there.
            let mut refuse = db.prepare_cached(
                "UPDATE attempts SET state = 'refused', ended_ms = ?2
                 WHERE key = ?1 AND ended_ms IS NULL AND state = 'sending'",
            )?;
            refuse.execute(params![key, now])?;
            Ok(())
        }
        Event::Linked { attempt, link, facts } => linked(db, &key, attempt, link, facts, now),
        Event::Have {
            attempt,
            sha256,
            bytes,
            staged,
            target,
            facts,
            cost,
        } => {
            let staged = staged.strip_prefix(inner).unwrap_or(staged).to_string_lossy();
            let out = out_of(inner);
            let target = std::path::absolute(target).unwrap_or_else(|_| target.clone());
            let path = target
                .strip_prefix(out)
                .ok()
                .map(|path| path.to_string_lossy().into_owned());
            // Most attempts are open and known: then no index changes.
            let mut have = db.prepare_cached(
                "UPDATE attempts SET state = 'have', facts = ?6, sha256 = ?7, bytes = ?8, staged = ?9, have_ms = ?10,
                     cost_micros = ?11, cost_basis = ?12, path = ?13
                 WHERE key = ?1 AND ended_ms IS NULL",
            )?;
            let mut have_anew = db.prepare_cached(
                "INSERT INTO attempts (key, job, take, number, hash, state, facts, sha256, bytes, staged, have_ms,
                     cost_micros, cost_basis, path)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'have', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
                 ON CONFLICT (job, take, number, hash) DO UPDATE SET state = 'have', facts = ?6, sha256 = ?7, bytes = ?8,
                     staged = ?9, have_ms = ?10, cost_micros = ?11, cost_basis = ?12, path = ?13, ended_ms = NULL",
            )?;
            let values = params![
                key,
                attempt.job,
                attempt.take,
                attempt.number,
                attempt.request.bytes(),
                json(facts),
                sha256,
                i64::try_from(*bytes).unwrap_or(i64::MAX),
                staged,
                now,
                micros(cost.map(|cost| cost.usd)),
                cost.map(|cost| cost.basis.as_str()),
                path,
            ];
            if have.execute(values)? == 0 {
                have_anew.execute(values)?;
            }
            Ok(())
        }
        Event::Done => Ok(()),
    }
}

fn sending(
    db: &Transaction<'_>,
    key: &str,
    attempt: &Attempt,
    group: Option<&str>,
    ask: Option<&Ask>,
    now: i64,
) -> rusqlite::Result<()> {
    // What was made is not unmade by another send of the same key.
    let mut send = db.prepare_cached(
        "INSERT INTO attempts (key, job, take, number, hash, state, group_key, sends, first_sent_ms, last_sent_ms,
             reserved_micros, listed_micros, provider, model, account)
         VALUES (?1, ?2, ?3, ?4, ?5, 'sending', ?6, 1, ?7, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (job, take, number, hash) DO UPDATE SET sends = sends + 1, last_sent_ms = ?7, group_key = ?6,
             first_sent_ms = coalesce(first_sent_ms, ?7), reserved_micros = max(coalesce(reserved_micros, ?8), coalesce(?8, reserved_micros)),
             listed_micros = coalesce(?9, listed_micros), provider = coalesce(provider, ?10), model = coalesce(model, ?11), account = coalesce(?12, account),
             state = CASE WHEN state IN ('linked', 'have', 'done') THEN state ELSE 'sending' END,
             ended_ms = CASE WHEN state = 'done' THEN ended_ms END",
    )?;
    send.execute(params![
        key,
        attempt.job,
        attempt.take,
        attempt.number,
        attempt.request.bytes(),
        group,
        now,
        micros(ask.and_then(|ask| ask.expected)),
        micros(ask.and_then(|ask| ask.listed)),
        ask.map(|ask| &ask.provider),
        ask.map(|ask| &ask.model),
        ask.map(|ask| &ask.account),
    ])?;
    Ok(())
}

/// When it was sent is not known, so it is never sent again by itself.
fn found(db: &Transaction<'_>, key: &str, attempt: &Attempt, ask: Option<&Ask>) -> rusqlite::Result<()> {
    let mut find = db.prepare_cached(
        "INSERT INTO attempts (key, job, take, number, hash, state, sends, reserved_micros, listed_micros, provider, model, account)
         VALUES (?1, ?2, ?3, ?4, ?5, 'sending', 1, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (job, take, number, hash) DO NOTHING",
    )?;
    find.execute(params![
        key,
        attempt.job,
        attempt.take,
        attempt.number,
        attempt.request.bytes(),
        micros(ask.and_then(|ask| ask.expected)),
        micros(ask.and_then(|ask| ask.listed)),
        ask.map(|ask| &ask.provider),
        ask.map(|ask| &ask.model),
        ask.map(|ask| &ask.account),
    ])?;
    Ok(())
}

fn linked(
    db: &Transaction<'_>,
    key: &str,
    attempt: &Attempt,
    link: &Link,
    facts: &Facts,
    now: i64,
) -> rusqlite::Result<()> {
    let mut linked = db.prepare_cached(
        "UPDATE attempts SET link = ?6, facts = ?7, linked_ms = ?8,
             state = CASE WHEN state = 'have' THEN state ELSE 'linked' END
         WHERE key = ?1 AND ended_ms IS NULL",
    )?;
    let mut linked_anew = db.prepare_cached(
        "INSERT INTO attempts (key, job, take, number, hash, state, link, facts, linked_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, 'linked', ?6, ?7, ?8)
         ON CONFLICT (job, take, number, hash) DO UPDATE SET link = ?6, facts = ?7, linked_ms = ?8,
             state = CASE WHEN state IN ('have', 'done') THEN state ELSE 'linked' END,
             ended_ms = CASE WHEN state = 'done' THEN ended_ms END",
    )?;
    let values = params![
        key,
        attempt.job,
        attempt.take,
        attempt.number,
        attempt.request.bytes(),
        json(link),
        json(facts),
        now,
    ];
    if linked.execute(values)? == 0 {
        linked_anew.execute(values)?;
    }
    Ok(())
}

pub(super) fn finished(db: &Transaction<'_>, job: &Finished, out: &Path, now: i64) -> rusqlite::Result<()> {
    if let Some(job) = &job.planned {
        planned(db, job, out, now)?;
    }
    if let Some(status) = job.status {
        let mut update = db.prepare_cached(
            "UPDATE jobs SET status = ?2, result = ?3, take = ?4, updated_ms = ?5 WHERE id = ?1",
        )?;
        update.execute(params![job.id, status.as_str(), job.line, job.take, now])?;
    }
    let key = job.attempt.as_ref().map(|settled| settled.key.to_string());
    if let Some(settled) = &job.attempt {
        // A link can be followed again, and bytes that are good wait for their place; anything else that was billed and
        // failed is spent. A cost that is known stays known.
        let mut settle = db.prepare_cached(
            "UPDATE attempts SET cost_micros = coalesce(?2, cost_micros),
                 cost_basis = CASE WHEN ?2 IS NULL THEN coalesce(cost_basis, ?3) ELSE ?3 END,
                 state = CASE
                     WHEN ?5 THEN 'done'
                     WHEN (?6 AND state = 'sending') OR (?7 AND state IN ('linked', 'have') AND link IS NULL) THEN 'spent'
                     ELSE state END,
                 ended_ms = CASE
                     WHEN ?5 OR (?6 AND state = 'sending') OR (?7 AND state IN ('linked', 'have') AND link IS NULL) THEN ?4
                     ELSE ended_ms END
             WHERE job = ?8 AND key = ?1",
        )?;
        settle.execute(params![
            key,
            micros(settled.cost),
            settled.basis,
            now,
            job.made.is_some(),
            settled.is_billed_failure,
            settled.is_billed_failure && settled.is_no_good,
            job.id,
        ])?;
    }
    let Some(made) = &job.made else { return Ok(()) };
    if job.take > 1 {
        became(db, job)?;
    }
    if job.planned.is_some() {
        // A copy: the file that it is a copy of may have been this take, at another path.
        let mut moved = db.prepare_cached(
            "INSERT INTO former_places SELECT path, job, hash, bytes, sha256, modified_ns FROM takes
             WHERE job = ?1 AND take = ?2 AND path <> ?3",
        )?;
        moved.execute(params![job.id, job.take, made.path])?;
    }
    let mut take = db.prepare_cached(
        "INSERT OR REPLACE INTO takes (job, take, hash, key, shared_with, path, format, bytes, sha256, modified_ns, width,
             height, duration_ms, provenance, made_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    take.execute(params![
        job.id,
        job.take,
        job.hash.bytes(),
        key,
        job.shared_with,
        made.path,
        made.file.format.name(),
        i64::try_from(made.file.bytes).unwrap_or(i64::MAX),
        made.file.sha256,
        modified_ns(&made.file.path),
        made.file.dimensions.map(|size| size.width),
        made.file.dimensions.map(|size| size.height),
        made.file
            .duration
            .map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
        json(&made.provenance),
        now,
    ])?;
    Ok(())
}

/// A file's time of change, by which it is known to be as it was made without being read.
pub(crate) fn modified_ns(path: &Path) -> Option<i64> {
    let modified = std::fs::metadata(path).and_then(|file| file.modified()).ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Tells of a job's current take what is written down of it: until then its last result is of another one.
pub(crate) fn retell(db: &Connection, id: &str) -> rusqlite::Result<()> {
    let current = "SELECT result, take FROM jobs WHERE id = ?1";
    let (result, number): (Option<String>, u32) =
        db.query_row(current, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let line = result.and_then(|line| serde_json::from_str::<Line>(&line).ok());
    let text = concat!(takes!(), " WHERE job = ?1 AND take = ?2");
    let take = db.query_row(text, params![id, number], take_row).optional()?;
    let (Some(mut line), Some(take)) = (line, take) else {
        return Ok(());
    };
    // A copy has no attempt of its own.
    let bought = "SELECT cost_micros, cost_basis FROM attempts
                  WHERE key = (SELECT key FROM takes WHERE job = ?1 AND take = ?2)";
    let cost: Option<(Option<i64>, Option<String>)> = db
        .query_row(bought, params![id, number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (cost, basis) = cost.unwrap_or((Some(0), Some(CostBasis::Shared.as_str().to_owned())));
    line.status = Status::Done;
    line.error = None;
    line.request = Some(take.hash.short());
    line.shows(&take);
    line.cost_usd = cost.map(|micros| Usd::from_micros(micros.unsigned_abs()).dollars());
    line.cost_basis = basis.unwrap_or_else(|| "unknown".to_owned());
    if let Ok(told) = line.to_json() {
        db.execute(
            "UPDATE jobs SET result = ?2, model = coalesce(?3, model) WHERE id = ?1",
            params![id, told, take.provenance.model],
        )?;
    }
    Ok(())
}
