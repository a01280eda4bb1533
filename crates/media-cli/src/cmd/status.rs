//! `media status`: the ledger in words.

use jiff::Timestamp;
use media_core::{Error, Result, Usd};
use media_engine::{AttemptRow, Entry, JobStatus, Reader};
use media_registry::Registry;
use serde_json::{Value, json};

use crate::args::{Global, Status};
use crate::cmd::voices;
use crate::exit::Exit;
use crate::session::{List, Session};
use crate::talk::put;
use crate::words::{self, counted, here_as, number};

/// Jobs that are shown by name; the rest is counted.
const SHOWN: usize = 20;

pub(crate) fn run(registry: &Registry, global: &Global, args: &Status) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let place = session.place(&args.place);
    let reader = place.reader()?;
    let is_simulated = reader.is_simulated()?;
    if let Some(id) = &args.id {
        return match args.json {
            true => job_as_json(&reader, id),
            false => job(&reader, id, is_simulated),
        };
    }
    if args.json {
        put!("{}", totals_as_json(&reader)?);
        return Ok(Exit::Done);
    }
    put_totals(&place, &reader, is_simulated)?;
    put_troubled(&reader, is_simulated)?;
    Ok(Exit::Done)
}

fn totals_as_json(reader: &Reader) -> Result<Value> {
    let totals = reader.totals()?;
    let jobs: serde_json::Map<_, _> = totals
        .jobs
        .iter()
        .map(|(status, count)| (status.as_str().to_owned(), json!(count)))
        .collect();
    let batches = reader.remote_batches()?;
    let files: u64 = batches.iter().map(|batch| batch.files).sum();
    let set_aside: Usd = batches.iter().map(|batch| batch.reserved).sum();
    Ok(
        json!({ "v": 1, "jobs": jobs, "spent_usd": totals.spent, "unknown": totals.unknown,
            "at_stake_usd": totals.at_stake, "unpriced": totals.unpriced,
            "remote_batches": batches.len(), "in_batches": files, "set_aside_usd": set_aside,
            "unfetched": totals.unfetched, "unfetched_usd": totals.unfetched_usd,
            "given_up": totals.given_up, "given_up_usd": totals.given_up_usd,
            "uncounted": totals.uncounted }),
    )
}

fn put_totals(place: &List, reader: &Reader, is_simulated: bool) -> Result<()> {
    let totals = reader.totals()?;
    let all: u64 = totals.jobs.iter().map(|(_, count)| count).sum();
    put!("{}: {}", place.ledger().display(), counted(all, "job"));
    for (status, count) in &totals.jobs {
        put!("  {:<9}{:>7}", status.as_str(), number(*count));
    }
    put!(
        "spent: {} USD{}",
        totals.spent,
        if is_simulated { ", simulated: no money" } else { "" }
    );
    if totals.unknown > 0 {
        put!(
            "unknown: {} may have been billed without an answer, {} USD as estimated{}",
            counted(totals.unknown, "send"),
            totals.at_stake,
            match totals.unpriced {
                0 => String::new(),
                count => format!(", {count} of them of unknown price"),
            }
        );
    }
    if totals.unfetched > 0 {
        let cost = match totals.unfetched_usd {
            Usd::ZERO => String::new(),
            usd => format!(", {usd} USD as estimated"),
        };
        put!(
            "bought: {} not fetched yet{cost}; the next run fetches what it can",
            counted(totals.unfetched, "file"),
        );
    }
    if totals.given_up > 0 {
        put!(
            "given up: {} may have been billed too, {} USD as estimated",
            counted(totals.given_up, "send"),
            totals.given_up_usd
        );
    }
    if totals.uncounted > 0 {
        put!(
            "uncounted: {} whose price nobody knew; in none of these sums, and nothing against a budget",
            counted(totals.uncounted, "request"),
        );
    }
    for batch in reader.remote_batches()? {
        let sent = batch.sent_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        put!(
            "batch {} at {}: {}{}, about {} USD set aside",
            batch.name(),
            batch.provider,
            counted(batch.files, "file"),
            sent.map(|at| format!(", sent {at:.0}")).unwrap_or_default(),
            batch.reserved
        );
    }
    Ok(())
}

/// The jobs that a person should know of, and what to do about them.
fn put_troubled(reader: &Reader, is_simulated: bool) -> Result<()> {
    let (mut unknown, mut failed) = (Troubled::default(), Troubled::default());
    let in_doubt = reader.in_doubt()?;
    reader.each_job(|job| {
        if job.status == JobStatus::Unknown || in_doubt.contains(&job.spec.id) {
            unknown.add(&job);
        } else if job.status == JobStatus::Failed {
            failed.add(&job);
        }
        Ok(())
    })?;
    unknown.put("unknown");
    failed.put("failed");
    if unknown.count > 0 {
        put!(
            "next: media run asks again where the service can be asked; look at the usage page of the others, and\n      {}",
            here_as(
                "media retry --unknown (with its ids where a batch is gone) sends them once more",
                is_simulated
            )
        );
    } else if failed.count > 0 {
        put!(
            "next: {}",
            here_as(
                "media export failed writes their rows with why; media retry asks again for those that were not billed",
                is_simulated
            )
        );
    }
    Ok(())
}

/// Jobs of one sort: the first of them by name, and how many there are.
#[derive(Default)]
struct Troubled {
    shown: Vec<String>,
    count: usize,
}

impl Troubled {
    fn add(&mut self, job: &Entry) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            let line = job.last_line();
            let why = line.and_then(|line| line.error).map(|error| error.message);
            self.shown.push(format!(
                "  {} (line {}): {}",
                job.spec.id,
                job.spec.line,
                why.as_deref().unwrap_or("it was not seen to its end")
            ));
        }
    }

    fn put(&self, what: &str) {
        if self.count == 0 {
            return;
        }
        put!("{what}:");
        for job in &self.shown {
            put!("{job}");
        }
        let more = self.count - self.shown.len();
        if more > 0 {
            put!("  and {more} more (media export results has all)");
        }
    }
}

/// A job that the ledger must know.
pub(crate) fn known(reader: &Reader, id: &str) -> Result<Entry> {
    let job = reader.job(id)?;
    job.ok_or_else(|| Error::config(format!("the ledger knows no job {id:?}")))
}

/// A job, its takes and its attempts for programs.
fn job_as_json(reader: &Reader, id: &str) -> Result<Exit> {
    let job = known(reader, id)?;
    let takes: Vec<_> = reader
        .takes(id)?
        .into_iter()
        .map(|take| {
            let of = take.provenance;
            json!({ "take": take.take, "path": take.path, "format": take.format, "bytes": take.bytes, "sha256": take.sha256,
                "seed": of.seed, "revised_prompt": of.revised_prompt, "credit": of.credit, "licence": of.licence })
        })
        .collect();
    let attempts: Vec<_> = reader
        .attempts(id)?
        .into_iter()
        .map(|attempt| {
            json!({ "take": attempt.take, "number": attempt.number, "key": attempt.key, "state": attempt.state.as_str(),
                "first_sent_ms": attempt.first_sent_ms, "cost_usd": attempt.cost, "batch": attempt.batch })
        })
        .collect();
    put!(
        "{}",
        json!({ "v": 1, "id": job.spec.id, "line": job.spec.line, "status": job.status.as_str(), "take": job.take,
            "protected": job.is_protected, "kind": job.spec.kind, "provider": job.provider, "model": job.model,
            "content": job.spec.content, "path": job.spec.path, "takes": takes, "attempts": attempts,
            "result": job.last_line() })
    );
    Ok(Exit::Done)
}

fn job(reader: &Reader, id: &str, is_simulated: bool) -> Result<Exit> {
    let job = known(reader, id)?;
    put!("{id} (line {}): {}", job.spec.line, job.status.as_str());
    put!("  {} from {} ({})", job.spec.kind, job.provider, job.model);
    put!("  content: {}", job.spec.content);
    put!("  path:    {}", job.spec.path);
    if job.is_protected {
        put!("  protected from every redo");
    }
    put_takes(reader, &job)?;
    let attempts = reader.attempts(id)?;
    put_attempts(&job, &attempts);
    put_outcome(reader, &job, &attempts, is_simulated)?;
    Ok(Exit::Done)
}

fn put_takes(reader: &Reader, job: &Entry) -> Result<()> {
    for take in reader.takes(&job.spec.id)? {
        put!(
            "  take {}{}: {} {}, {} bytes, sha256 {}",
            take.take,
            if take.take == job.take {
                ""
            } else {
                " (media pick puts it back)"
            },
            take.format,
            take.path,
            number(take.bytes),
            take.sha256
        );
        let seed = take.provenance.seed.map(|seed| seed.to_string());
        for (what, said) in [
            ("seed", &seed),
            ("rewritten prompt", &take.provenance.revised_prompt),
            ("credit", &take.provenance.credit),
            ("licence", &take.provenance.licence),
        ] {
            if let Some(said) = said {
                put!("    {what}: {said}");
            }
        }
    }
    Ok(())
}

fn put_attempts(job: &Entry, attempts: &[AttemptRow]) {
    for attempt in attempts {
        let when = attempt
            .first_sent_ms
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map(|at| format!(", first sent {at:.0}"))
            .unwrap_or_default();
        let cost = attempt
            .cost
            .map(|cost| format!(", {cost} USD"))
            .unwrap_or_default();
        put!(
            "  attempt {}.{} {}: {}{when}{cost}",
            attempt.take,
            attempt.number,
            attempt.key,
            words::of_attempt(attempt.state, attempt.batch.is_some())
        );
    }
    if let Some(attempt) = attempts
        .iter()
        .rev()
        .find(|attempt| !attempt.facts.candidates.is_empty())
    {
        put!("  chosen from, as they were then:");
        voices::show(
            &attempt.facts.candidates,
            attempt.provider.as_ref().unwrap_or(&job.provider),
        );
    }
}

/// What was last said of it, and what goes on from there.
fn put_outcome(reader: &Reader, job: &Entry, attempts: &[AttemptRow], is_simulated: bool) -> Result<()> {
    let line = job.last_line();
    let is_open = |attempt: &AttemptRow| attempt.sends > 0 && attempt.state.is_open();
    let is_told = line.as_ref().is_some_and(|line| line.error.is_some());
    if let Some(open) = attempts.iter().find(|attempt| !is_told && is_open(attempt)) {
        let is_redo = job.take != open.take;
        let ends = if is_redo { "gives it up" } else { "sends it again" };
        let next = format!(
            "media rescue fetches what can be had, and so does a run of its list; media retry --unknown, with its id, {ends}"
        );
        put!("    {}", here_as(&next, is_simulated));
    }
    for tried in line.iter().flat_map(|line| &line.tried) {
        put!("  {} did not: {}", tried.provider, tried.kind);
        if !tried.candidates.is_empty() {
            put!("  it had, as they were then:");
            voices::show(&tried.candidates, &tried.provider);
        }
    }
    if let Some(error) = line.and_then(|line| line.error) {
        put!("  {}: {}", error.kind, error.message);
        let standing = media_engine::stands_at(&job.spec, reader)?;
        if job.status == JobStatus::Failed && standing != job.provider {
            put!("    a run of its list goes on with {standing}");
        } else if let Some(next) = error.next {
            put!("    {}", here_as(&next, is_simulated));
        }
        if !error.candidates.is_empty() {
            put!("  there were, as they were then:");
            voices::show(&error.candidates, &job.provider);
        }
    }
    Ok(())
}
