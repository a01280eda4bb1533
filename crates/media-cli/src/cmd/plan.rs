//! `media plan`: what a run would do, how long it takes, what it costs. Sends nothing, needs no keys.

use media_core::{Error, Result};
use media_engine::{Caps, Place, Plan as Planned, Reader};
use media_registry::Registry;

use crate::args::{BatchArgs, Global, Plan};
use crate::cmd::budget::Budget;
use crate::exit::Exit;
use crate::session::{List, Session};
use crate::simulate::Simulation;
use crate::talk::{put, say};
use crate::words;

pub(crate) async fn run(registry: &Registry, global: &Global, args: &Plan) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.simulate).await?;
    let batches = BatchArgs {
        batch_api: args.batch_api,
        ..BatchArgs::default()
    };
    let session = Session::load_for(registry, global, simulation, None, batches)?;
    let list = session.list(&args.list)?;
    let (_, mut plan, budget) = make(&session, &list, session.caps(&args.budget))?;
    note_used(&session, &mut plan).await;
    if args.json {
        put!("{}", words::plan_json(&plan));
    } else {
        put!("{}", words::plan(&plan, &list).trim_end());
    }
    if let Err(error) = budget.allows(&plan, None, UP_TO_CAP) {
        say!("{}", words::of_error(&error));
        return Ok(Exit::Act);
    }
    if !args.json {
        // What was simulated is never mixed with what is real.
        let ledger = Reader::open(&list.ledger())?;
        let is_simulated = ledger.map_or(Ok(false), |ledger| ledger.is_simulated())?;
        let only_simulated = is_simulated && !args.simulate.simulate;
        put!(
            "Nothing was sent.  Do it: {}",
            words::run_command(global, args, only_simulated)
        );
        if only_simulated {
            put!("Its folder holds simulated files; a real run needs another one (--out).");
        }
    }
    Ok(Exit::Done)
}

/// Notes what was used of daily quotas today, where the keys are there: it is counted by account.
async fn note_used(session: &Session<'_>, plan: &mut Planned) {
    for (name, provider) in &mut plan.providers {
        let Some(daily) = &mut provider.daily else {
            continue;
        };
        let Ok(client) = session.alone(name) else {
            continue;
        };
        match client.provider().http().used_today(&daily.group).await {
            Ok(used) => daily.used = used,
            Err(error) => tracing::debug!(%error, "what is left of today is not known"),
        }
    }
}

/// What a run offers where the budget does not allow all of it.
pub(crate) const UP_TO_CAP: &str = "--up-to-cap makes those that fit; or ";

/// Whether anybody whom the rows name makes files in remote batches.
///
/// # Errors
/// Nobody does.
pub(crate) fn has_batches(session: &Session<'_>, plan: &Planned) -> Result<()> {
    let project = session.offline()?;
    for name in &plan.named {
        // Rows of earlier lists may name one who is not configured any more.
        let client = project.client(name);
        if client.is_ok_and(|client| client.info().capabilities.remote_batch_seconds.is_some()) {
            return Ok(());
        }
    }
    let message = "--batch-api: none of the providers that are asked has batches";
    Err(Error::config(message))
}

/// Opens and checks the list; a list with findings is an error that shows them.
pub(crate) fn make(
    session: &Session<'_>,
    list: &List,
    caps: Caps,
) -> Result<(media_engine::Worklist, media_engine::Plan, Budget)> {
    let project = session.offline()?;
    media_engine::check_ledger_place(&list.out, list.named_ledger())?;
    let ledger = Reader::open(&list.ledger())?;
    let budget = Budget::of(caps, ledger.as_ref())?;
    budget.tell_uncounted();
    let place = Place {
        left: budget.left(),
        only: &list.providers,
        ..Place::new(&list.out, ledger.as_ref())
    };
    let (worklist, mut plan) = media_engine::plan(&project, &list.path, list.recipe.as_deref(), place)?;
    if let Some(error) = words::findings(&plan, &list.path) {
        return Err(session.explain_missing(error));
    }
    if !list.providers.is_empty() {
        plan.keep_only(&list.providers)?;
    }
    budget.tell_of_chains(&plan);
    Ok((worklist, plan, budget))
}
