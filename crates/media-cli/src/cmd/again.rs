//! `media retry` and `media rescue`: work that the ledger knows of, without a list.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use media_core::validate::collision_key;
use media_core::{Error, ErrorKind, Result};
use media_engine::{
    AttemptState, Caps, Entry, Folder, How, JobSpec, JobStatus, Place, Plan, Project, Reader, RunOptions,
    can_be_made, plan_jobs, stays_unknown,
};
use media_registry::Registry;

use crate::args::{Global, Rescue, Retry};
use crate::cmd::budget::Budget;
use crate::cmd::work::Work;
use crate::cmd::{plan, status};
use crate::exit::Exit;
use crate::session::{List, Session};
use crate::signals::Signals;
use crate::simulate::Simulation;
use crate::talk::say;
use crate::words::{Then, counted};

/// `media retry`: asks again for what failed, or sends again what may have been billed.
pub(crate) async fn retry(
    registry: &Registry,
    global: &Global,
    quiet: bool,
    args: &Retry,
    again: &str,
) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.making.simulate).await?;
    let session = Session::load_for(
        registry,
        global,
        simulation,
        args.making.concurrency,
        args.making.batches,
    )?;
    let list = session.place(&args.place);
    let project = session.offline()?;
    let ledger = list.reader()?;
    let chosen = choose(&project, &ledger, &list.out, args)?;
    if chosen.is_empty() {
        let totals = ledger.totals()?;
        let jobs = totals
            .jobs
            .iter()
            .filter(|(status, _)| *status == JobStatus::Unknown);
        let askable = jobs.map(|(_, count)| *count).sum::<u64>().max(totals.unknown);
        match (args.unknown, askable) {
            (true, 0) => say!("nothing is unknown"),
            (true, count) => say!(
                "{} may have been billed: the next run asks for what can be asked for, and what it cannot fetch is sent \
                 again, or given up, by its id",
                counted(count, "request")
            ),
            (false, _) => say!("nothing has failed that can be asked for again"),
        }
        return Ok(Exit::Done);
    }
    // Another take that is in doubt is given up, and the file that there is stays.
    let (made, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|job| job.status == JobStatus::Done);
    if args.give_up {
        return give_up(&session, &list, made.into_iter().chain(chosen));
    }
    let specs: Vec<_> = chosen.iter().map(|job| job.spec.clone()).collect();
    let budget = Budget::of(session.caps(&args.making.budget), Some(&ledger))?;
    let place = Place {
        left: budget.left(),
        ..Place::new(&list.out, Some(&ledger))
    };
    let (worklist, plan) = plan_jobs(&project, specs.clone(), How::SentAgain, place)?;
    if args.making.batches.batch_api {
        plan::has_batches(&session, &plan)?;
    }
    let mut work = Work {
        session: &session,
        worklist,
        list: None,
        plan,
        options: RunOptions {
            caps: session.caps(&args.making.budget),
            ..RunOptions::default()
        },
        stop_after: None,
        signals: Signals::shared(),
        json: args.making.json,
        quiet,
        then: Then::AsItWas(again),
    };
    let keys = work.keys()?;
    // Before anything is given up. What is sent again may be billed a second time, so it is counted beside what it may have
    // cost before.
    budget.allows(&work.plan, None, "")?;
    drop(ledger);
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    if !made.is_empty() {
        let ids: Vec<_> = made.into_iter().map(|job| job.spec.id).collect();
        folder.ledger().ask_again(ids.clone(), true)?;
        say!(
            "the new takes of {} are given up; media redo makes others",
            ids.join(", ")
        );
        if specs.is_empty() {
            folder.close()?;
            return Ok(Exit::Done);
        }
    }
    let reader = folder.ledger().reader()?;
    let mut again_at_it = Vec::new();
    for job in &chosen {
        // What passed on in its chain is asked of the next one, by the failure that passed it on.
        if media_engine::stands_at(&job.spec, &reader)? == job.provider {
            again_at_it.push(job.spec.id.clone());
        }
    }
    folder.ledger().ask_again(again_at_it, args.unknown)?;
    let place = Place::new(&list.out, Some(&reader));
    (work.worklist, work.plan) = plan_jobs(&project, specs, How::Resumed, place)?;
    drop(reader);
    if args.unknown {
        say!("{}", sent_once_more(chosen.len() as u64, &work.plan));
    }
    Ok(work.run(folder, keys).await?.exit)
}

/// Closes what may have been billed, and sends nothing: the rows are then as if they had never been sent.
fn give_up(session: &Session<'_>, list: &List, chosen: impl Iterator<Item = Entry>) -> Result<Exit> {
    let ids: Vec<_> = chosen.map(|job| job.spec.id).collect();
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    let given_up = folder.ledger().ask_again(ids.clone(), true);
    folder.close()?;
    given_up?;
    say!(
        "{} that may have been billed: given up, and nothing is sent; the next run makes what its list asks for",
        counted(ids.len() as u64, "request")
    );
    Ok(Exit::Done)
}

/// What becomes of requests that may have been billed, once a person gave them up.
fn sent_once_more(count: u64, plan: &Plan) -> String {
    let to_send = plan.make();
    let what = format!("{} that may have been billed", counted(count, "request"));
    if to_send == 0 {
        return format!("{what}: given up, and nothing is sent");
    }
    let (sent, cost) = (counted(to_send, "request"), plan.cost());
    format!("{what}: given up; {sent} sent once more, as the ledger has it, {cost} USD as estimated")
}

/// Whether the service said that it has nothing of it (any more). That it only could not be asked says no such thing.
fn is_gone(job: &Entry) -> bool {
    let line = job.last_line();
    let kind = line
        .and_then(|line| line.error)
        .and_then(|error| ErrorKind::named(&error.kind));
    job.status == JobStatus::Unknown && kind == Some(ErrorKind::NotFound)
}

/// The jobs that a retry is about.
fn choose(project: &Project, reader: &Reader, out: &Path, args: &Retry) -> Result<Vec<Entry>> {
    let wanted = |job: &Entry| is_wanted(project, reader, out, args, job);
    let mut chosen = Vec::new();
    let mut seen = BTreeSet::new();
    for id in args.ids.iter().filter(|id| seen.insert(*id)) {
        let job = status::known(reader, id)?;
        if !wanted(&job)? {
            return Err(why_not(reader, args, &job)?);
        }
        chosen.push(job);
    }
    if args.ids.is_empty() {
        reader.each_job(|job| {
            if wanted(&job)? {
                chosen.push(job);
            }
            Ok(())
        })?;
    }
    let Some(rivals) = rivals(&chosen) else {
        return Ok(chosen);
    };
    // Lists of different times may have given them one path, and only one of them could be put there.
    let message = format!("{} would each make {}", rivals.ids.join(" and "), rivals.path);
    Err(Error::config(message).hint("name those that are wanted, and one of these at most: media retry ID.."))
}

/// Whether a job is one that a retry may be about.
fn is_wanted(project: &Project, reader: &Reader, out: &Path, args: &Retry, job: &Entry) -> Result<bool> {
    // What can be asked for is not given up unless a person names it: a run asks for it, and pays nothing.
    let is_named = !args.ids.is_empty();
    if !args.unknown {
        // What was billed and is no good would be bought a second time.
        let last = reader.last_attempt(&job.spec.id, job.take, &job.hash)?;
        return Ok(job.status == JobStatus::Failed
            && last.map_or(!job.was_billed(), |attempt| attempt.state != AttemptState::Spent));
    }
    let attempts = reader.attempts(&job.spec.id)?;
    // What a lost ledger may have sent is asked for by every run.
    if attempts.is_empty() && job.status == JobStatus::Unknown {
        return Ok(is_named && reader.is_of_lost_ledger(job)?);
    }
    let is_dropped = args.give_up && is_named;
    let is_open = attempts.iter().any(|attempt| {
        // Bytes that are here are never given up: they wait for their place.
        let is_open = matches!(attempt.state, AttemptState::Sending | AttemptState::Linked);
        // What is in a batch can be asked for, until the service says that it has no such batch.
        let is_askable = attempt.batch.is_some() && !is_gone(job) && !is_dropped;
        // A purchase that is known, and whose file could not be fetched, is not sent for once more.
        let is_bought = attempt.state == AttemptState::Linked && job.status == JobStatus::Failed;
        attempt.sends > 0 && is_open && !is_askable && (!is_bought || is_dropped)
    });
    if !is_open || is_named {
        return Ok(is_open);
    }
    let place = Place::new(out, Some(reader));
    let spec = reader.last_sent(job)?;
    Ok(is_makeable(project, &spec, place)? && stays_unknown(project, &spec, place)?)
}

/// Why a job that was named is none that a retry may be about, and what helps.
fn why_not(reader: &Reader, args: &Retry, job: &Entry) -> Result<Error> {
    let id = &job.spec.id;
    let attempts = reader.attempts(id)?;
    let is_in_batch = attempts
        .iter()
        .any(|attempt| attempt.batch.is_some() && attempt.state == AttemptState::Sending);
    let waits = attempts.iter().any(|attempt| attempt.state == AttemptState::Have);
    let (message, next) = if let Some(other) = reader.open_equal(id, &job.hash)? {
        (
            format!("{id} asks for the same as {other}, which may have been billed"),
            format!("settle {other} first: media status {other}"),
        )
    } else if is_in_batch {
        (
            format!("{id} is in a remote batch, where it can be asked for"),
            format!(
                "media run --batch-api or media rescue fetches it, media cancel ends its batch; where that brings nothing \
                 it is given up by media retry --unknown --give-up {id}"
            ),
        )
    } else if waits {
        (
            format!(
                "what was bought for {id} is here, and something stands at {}",
                job.spec.path
            ),
            "move that away and run the list again".to_owned(),
        )
    } else if !args.unknown && job.was_billed() {
        (
            format!("{id} was billed and what came is no good, so asking again is buying again"),
            format!("media redo {id}"),
        )
    } else if args.unknown && job.status == JobStatus::Unknown {
        (
            format!("{id} has nothing of its own that is unknown: it waited for an equal row"),
            "run the list again: it says what becomes of it".to_owned(),
        )
    } else {
        let wanted = match args.unknown {
            true => "unknown",
            false => "a failure that can be asked for again",
        };
        (
            format!("{id} is not {wanted}: it is {}", job.status.as_str()),
            format!("media status {id}"),
        )
    };
    Ok(Error::config(message).hint(next))
}

/// Rows that ask for different files at one path.
struct Rivals {
    ids: Vec<String>,
    path: String,
}

fn rivals(chosen: &[Entry]) -> Option<Rivals> {
    let mut first_at: HashMap<String, &Entry> = HashMap::new();
    chosen.iter().find_map(|job| {
        let first = first_at.entry(collision_key(&job.spec.path)).or_insert(job);
        (first.hash != job.hash).then(|| Rivals {
            ids: vec![first.spec.id.clone(), job.spec.id.clone()],
            path: job.spec.path.clone(),
        })
    })
}

/// Whether this configuration can make a job. Where it cannot that is told, and the others go on without it.
fn is_makeable(project: &Project, spec: &JobSpec, place: Place<'_>) -> Result<bool> {
    match can_be_made(project, spec, place) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Storage => Err(error),
        Err(error) => {
            tracing::warn!("left out: {error}");
            Ok(false)
        }
    }
}

/// `media rescue`: fetches what was paid for and never delivered, and buys nothing.
pub(crate) async fn rescue(
    registry: &Registry,
    global: &Global,
    quiet: bool,
    args: &Rescue,
    again: &str,
) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.simulate).await?;
    let session = Session::load(registry, global, simulation)?;
    let options = RunOptions {
        only_fetch: true,
        ..RunOptions::default()
    };
    let list = session.list_or_place(&args.list)?;
    let mut left_out = 0;
    let (worklist, mut plan) = if args.list.list.is_some() {
        let (worklist, plan, _) = plan::make(&session, &list, Caps::default())?;
        (worklist, plan)
    } else {
        let reader = list.reader()?;
        let project = session.offline()?;
        let place = Place::new(&list.out, Some(&reader));
        let mut specs = Vec::new();
        let unsettled = reader.unsettled()?;
        reader.each_job(|job| {
            // What is noted only may have been sent when a ledger was lost.
            let is_open = matches!(job.status, JobStatus::Open | JobStatus::Unknown);
            if is_open || unsettled.contains(&job.spec.id) {
                let spec = reader.last_sent(&job)?;
                match is_makeable(&project, &spec, place)? {
                    true => specs.push(spec),
                    // What was only noted was not sent, as far as anybody knows.
                    false => left_out += u64::from(job.status != JobStatus::Open),
                }
            }
            Ok(())
        })?;
        plan_jobs(&project, specs, How::Resumed, place)?
    };
    if !list.providers.is_empty() {
        plan.keep_only(&list.providers)?;
    }
    plan.without_fallbacks();
    let work = Work {
        session: &session,
        worklist,
        list: None,
        plan,
        options,
        stop_after: None,
        signals: Signals::shared(),
        json: args.json,
        quiet,
        then: Then::Fetch(again),
    };
    let keys = work.keys()?;
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    let exit = work.run(folder, keys).await?.exit;
    Ok(if left_out > 0 {
        exit.max(Exit::SomeFailed)
    } else {
        exit
    })
}
