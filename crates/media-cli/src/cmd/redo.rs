//! `media redo`, `media pick`, `media keep`: other takes of files that were made.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};

use media_core::{Error, ErrorKind, Result};
use media_engine::{Caps, Chosen, Folder, How, Place, Plan, Redo as Which, RunOptions, Status};
use media_registry::Registry;

use crate::args::{Global, Keep, Pick, Redo};
use crate::cmd::budget::Budget;
use crate::cmd::plan;
use crate::cmd::work::{Work, stale_tables};
use crate::exit::Exit;
use crate::session::{List, Session};
use crate::signals::Signals;
use crate::simulate::Simulation;
use crate::talk::say;
use crate::words::{Then, counted};

/// `media redo`: makes files anew; the old one stands until the new one is valid.
pub(crate) async fn redo(registry: &Registry, global: &Global, quiet: bool, args: &Redo) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.making.simulate).await?;
    let session = Session::load_for(
        registry,
        global,
        simulation,
        args.making.concurrency,
        args.making.batches,
    )?;
    let project = session.offline()?;
    let worklist = match list_of(&session, args)? {
        Some(list) => Some(plan::make(&session, &list, Caps::default())?.0),
        None if args.changed => {
            let message = "--changed compares files with their list, which is no longer where it was";
            return Err(Error::config(message).hint("name it by --list FILE, with its --recipe"));
        }
        None => None,
    };
    let list = session.place(&args.place);
    let ledger = list.reader()?;
    let Chosen { jobs, protected } =
        media_engine::choose(&project, worklist.as_ref(), &ledger, &list.out, &which(args))?;
    if !protected.is_empty() {
        say!(
            "{} left out, because media keep protects them",
            counted(protected.len() as u64, "file")
        );
    }
    if jobs.is_empty() {
        say!("there is nothing to make anew");
        return Ok(Exit::Done);
    }
    let caps = session.caps(&args.making.budget);
    let budget = Budget::of(caps, Some(&ledger))?;
    let place = Place {
        left: budget.left(),
        ..Place::new(&list.out, Some(&ledger))
    };
    let listed = worklist;
    let (worklist, plan) = media_engine::plan_jobs(&project, jobs, How::Anew, place)?;
    if args.making.batches.batch_api {
        plan::has_batches(&session, &plan)?;
    }
    budget.allows(&plan, None, "")?;
    drop(ledger);
    let work = Work {
        session: &session,
        worklist,
        list: listed,
        plan,
        options: RunOptions {
            caps,
            ..RunOptions::default()
        },
        stop_after: None,
        signals: Signals::shared(),
        json: args.making.json,
        quiet,
        then: Then::Anew,
    };
    let keys = work.keys()?;
    if !args.yes && !confirmed(&work.plan)? {
        say!("nothing was sent");
        return Ok(Exit::Refused);
    }
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    Ok(work.run(folder, keys).await?.exit)
}

fn which(args: &Redo) -> Which {
    if !args.ids.is_empty() {
        return Which::Ids(args.ids.clone());
    }
    let standing = [
        (args.changed, Status::Changed),
        (args.missing, Status::Gone),
        (args.settings, Status::Outdated),
    ];
    let wanted = standing.into_iter().filter(|(is_wanted, _)| *is_wanted);
    Which::Standing(wanted.map(|(_, status)| status).collect::<BTreeSet<_>>())
}

/// The list that is named, or the one that the folder was last made from, as far as it is still there.
fn list_of(session: &Session<'_>, args: &Redo) -> Result<Option<List>> {
    let place = session.place(&args.place);
    match &args.list {
        Some(list) => Ok(Some(place.of(list.clone(), args.recipe.clone()))),
        None => place.noted(),
    }
}

/// Names the price and asks.
fn confirmed(plan: &Plan) -> Result<bool> {
    let make = plan.make();
    let price = match plan.unpriced() {
        0 => format!("about {} USD", plan.cost()),
        count => format!(
            "about {} USD and {} without a price",
            plan.cost(),
            counted(count, "purchase")
        ),
    };
    let shared: u64 = plan.providers.values().map(|provider| provider.shared).sum();
    let files = match shared {
        0 => counted(make, "file"),
        shared => format!(
            "{} made anew by {}",
            counted(make + shared, "file"),
            counted(make, "purchase")
        ),
    };
    let anew = if shared == 0 { " made anew" } else { "" };
    let question = format!("{files}{anew} for {price}; a file that is replaced is kept in .media/old");
    if !std::io::stdin().is_terminal() {
        return Err(Error::config(question).hint("say --yes to do it"));
    }
    say!("{question}. Do it? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| {
        Error::new(ErrorKind::Config, "the answer cannot be read")
            .because(error)
            .not_billed()
    })?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// `media pick`: puts an earlier take back.
pub(crate) fn pick(registry: &Registry, global: &Global, args: &Pick) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let folder = opened(&session.place(&args.place))?;
    let picked = media_engine::pick(&folder, &args.id, args.take);
    let stale = stale_tables(&folder);
    folder.close()?;
    let aside = match picked? {
        true => "; what stood there is in .media/old",
        false => "",
    };
    say!("take {} of {} is in its place{aside}", args.take, args.id);
    if !stale.is_empty() {
        say!("{stale}");
    }
    Ok(Exit::Done)
}

/// `media keep`: protects files from every redo.
pub(crate) fn keep(registry: &Registry, global: &Global, args: &Keep) -> Result<Exit> {
    let session = Session::load(registry, global, None)?;
    let folder = opened(&session.place(&args.place))?;
    let kept = media_engine::keep(&folder, &args.ids, !args.off);
    folder.close()?;
    kept?;
    let what = if args.off {
        "no longer protected"
    } else {
        "protected from every redo"
    };
    say!("{} {what}", counted(args.ids.len() as u64, "file"));
    Ok(Exit::Done)
}

/// The folder of a ledger that is there, simulated or not.
fn opened(list: &List) -> Result<Folder> {
    let is_simulated = list.reader()?.is_simulated()?;
    Folder::open(&list.out, list.named_ledger(), is_simulated)
}
