//! `media retry` and `media rescue`: work that the ledger knows of, without a list.

use media_core::{Error, ErrorKind, Result, Usd};
use media_engine::{AttemptState, Entry, Folder, JobStatus, Place, Reader, RunOptions, Worklist, plan_given};
use media_registry::Registry;

use crate::args::{Global, Rescue, Retry};
use crate::cmd::plan;
use crate::cmd::status;
use crate::cmd::work::Work;
use crate::exit::Exit;
use crate::session::Session;
use crate::simulate::Simulation;
use crate::talk::say;
use crate::words::counted;

/// `media retry`: asks again for what failed, or sends again what may have been billed.
pub(crate) async fn retry(
    registry: &Registry,
    global: &Global,
    quiet: bool,
    args: &Retry,
    again: &str,
) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.simulate).await?;
    let session = Session::load(registry, global, simulation, args.concurrency)?;
    let list = session.place(&args.place);
    let chosen = choose(&status::open(&list.ledger())?, args)?;
    if chosen.is_empty() {
        let what = if args.unknown { "unknown" } else { "failed" };
        say!("nothing is {what}");
        return Ok(Exit::Done);
    }
    let project = session.offline()?;
    let specs: Vec<_> = chosen.iter().map(|job| job.spec.clone()).collect();
    let mut work = Work {
        session: &session,
        worklist: Worklist::given(specs.clone()),
        plan: plan_given(
            &project,
            &specs,
            Place {
                out: &list.out,
                ledger: None,
            },
        )?,
        options: RunOptions::default(),
        stop_after: None,
        json: args.json,
        quiet,
        again,
    };
    let keys = work.keys()?;
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    if args.unknown {
        let stake: Usd = chosen.iter().filter_map(|job| job.estimate).sum();
        say!(
            "{} that may have been billed are sent once more, {stake} USD by the price list",
            counted(chosen.len() as u64, "request")
        );
    }
    folder
        .ledger()
        .ask_again(specs.iter().map(|spec| spec.id.clone()).collect(), args.unknown)?;
    let reader = folder.ledger().reader()?;
    let place = Place {
        out: &list.out,
        ledger: Some(&reader),
    };
    work.plan = plan_given(&project, &specs, place)?;
    drop(reader);
    work.run(folder, keys).await
}

/// The jobs that a retry is about.
fn choose(reader: &Reader, args: &Retry) -> Result<Vec<Entry>> {
    let wanted = |job: &Entry| -> Result<bool> {
        let last = reader.last_attempt(&job.spec.id, job.take, &job.hash)?;
        let state = last.map(|attempt| attempt.state);
        Ok(if args.unknown {
            job.status != JobStatus::Done && state == Some(AttemptState::Sending)
        } else {
            // What was billed and is no good would be bought a second time.
            job.status == JobStatus::Failed && state != Some(AttemptState::Spent)
        })
    };
    let mut chosen = Vec::new();
    for id in &args.ids {
        let job = reader.job(id)?.ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("the ledger knows no job {id:?}")).not_billed()
        })?;
        if !wanted(&job)? {
            let what = if args.unknown {
                "unknown"
            } else {
                "a failure that can be asked for again"
            };
            let message = format!("{id} is not {what}: it is {}", job.status.as_str());
            return Err(Error::new(ErrorKind::Config, message)
                .not_billed()
                .hint(format!("media status {id}")));
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
    Ok(chosen)
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
    let session = Session::load(registry, global, simulation, None)?;
    let options = RunOptions {
        only_fetch: true,
        ..RunOptions::default()
    };
    let list = session.list_or_place(&args.list)?;
    let (worklist, plan) = if args.list.list.is_some() {
        plan::make(&session, &list)?
    } else {
        let reader = status::open(&list.ledger())?;
        let mut specs = Vec::new();
        reader.each_job(|job| {
            if job.status != JobStatus::Done {
                specs.push(job.spec);
            }
            Ok(())
        })?;
        let place = Place {
            out: &list.out,
            ledger: Some(&reader),
        };
        let plan = plan_given(&session.offline()?, &specs, place)?;
        (Worklist::given(specs), plan)
    };
    let work = Work {
        session: &session,
        worklist,
        plan,
        options,
        stop_after: None,
        json: args.json,
        quiet,
        again,
    };
    let keys = work.keys()?;
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    work.run(folder, keys).await
}
