//! `media run`: makes every file of a list.

use std::time::Instant;

use media_core::limit::SystemClock;
use media_core::{Error, ErrorKind, Result, Usd};
use media_engine::{Caps, Folder, Plan, RunOptions};
use media_registry::Registry;

use crate::args::{Global, Run};
use crate::cmd::plan;
use crate::cmd::wait;
use crate::cmd::work::{Ran, StopAfter, Work};
use crate::exit::Exit;
use crate::session::{List, Session};
use crate::signals::{SharedSignals, Signals};
use crate::simulate::Simulation;
use crate::talk::say;
use crate::words::{self, Then};

pub(crate) async fn run(
    registry: &Registry,
    global: &Global,
    quiet: bool,
    args: &Run,
    again: &str,
) -> Result<Exit> {
    let began = Instant::now();
    let stop_after = || {
        args.stop_after.map(|all| StopAfter {
            all,
            left: all.saturating_sub(began.elapsed()),
        })
    };
    let simulation = Simulation::wanted(&args.making.simulate).await?;
    let mut used = Used::default();
    // Listened to from the first wait on: what comes while a later day is planned is for that day's run.
    let mut signals = None;
    let mut is_first = true;
    loop {
        let day = async {
            let session = Session::load_for(
                registry,
                global,
                simulation.clone(),
                args.making.concurrency,
                args.making.batches,
            )?;
            once(&session, quiet, args, stop_after(), used, again, signals.clone()).await
        };
        let ran = match day.await {
            Ok(ran) => ran,
            Err(error) if !is_first => {
                say!("error: {}", words::of_error(&error));
                say!("what was made before stands");
                return Ok(match Exit::of_error(&error) {
                    Exit::Refused => Exit::SomeFailed,
                    exit => exit,
                });
            }
            Err(error) => return Err(error),
        };
        used.files += ran.made;
        used.spent += ran.spent;
        let Some(until) = ran.until.filter(|_| args.wait_for_quota) else {
            return Ok(ran.exit);
        };
        let until = until.checked_add(GRACE).unwrap_or(until);
        say!("waiting until {}", words::moment(until));
        is_first = false;
        signals = signals.or_else(Signals::shared);
        let signal = async {
            match &signals {
                Some(signals) => signals.lock().await.next().await,
                None => std::future::pending().await,
            }
        };
        let is_over = async {
            match stop_after() {
                Some(stop) => tokio::time::sleep(stop.left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait::until(until, &SystemClock) => {}
            () = is_over => return Ok(Exit::Later),
            exit = signal => return Ok(exit),
        }
    }
}

/// Clocks differ: a service whose day begins a moment after ours would say that the day is spent, and that would cost all of
/// the new one.
const GRACE: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// What earlier days of one command have used of its bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    files: u64,
    spent: Usd,
}

impl Used {
    fn max_items(self, args: &Run) -> Option<u64> {
        args.max_items.map(|most| most.saturating_sub(self.files))
    }

    fn caps(self, caps: Caps) -> Caps {
        let run = caps.run.map(|cap| cap.saturating_sub(self.spent));
        Caps { run, ..caps }
    }
}

/// From the list as it is now to its end, or to a quota that is used up.
async fn once(
    session: &Session<'_>,
    quiet: bool,
    args: &Run,
    stop_after: Option<StopAfter>,
    used: Used,
    again: &str,
    signals: Option<SharedSignals>,
) -> Result<Ran> {
    let list = session.list(&args.list)?;
    let caps = used.caps(session.caps(&args.making.budget));
    let (worklist, plan, budget) = plan::make(session, &list, caps)?;
    if args.making.batches.batch_api {
        plan::has_batches(session, &plan)?;
    }
    let mut allowance = None;
    if args.up_to_cap {
        budget.can_count(&plan)?;
        allowance = budget.left();
    } else {
        budget.allows(&plan, used.max_items(args), plan::UP_TO_CAP)?;
    }
    let work = Work {
        session,
        worklist,
        list: None,
        plan,
        options: RunOptions {
            max_items: used.max_items(args),
            allowance,
            caps,
            ..RunOptions::default()
        },
        stop_after,
        signals: signals.or_else(Signals::shared),
        json: args.making.json,
        quiet,
        then: Then::Same(again),
    };
    let keys = work.keys()?;
    let folder = Folder::open(&list.out, list.named_ledger(), session.is_simulated())?;
    if args.adopt {
        folder.adopt()?;
    } else {
        refuse_to_guess(session, &work.plan, &list, &folder)?;
    }
    media_engine::check_table(&work.worklist, &folder)?;
    folder.note_list(&list.path, list.recipe.as_deref())?;
    work.run(folder, keys).await
}

/// A folder that was used, or holds media, and a ledger that does not know it. At a service that cannot be asked, what was sent before and is not there may then be bought twice; a person has to say so.
fn refuse_to_guess(session: &Session<'_>, plan: &Plan, list: &List, folder: &Folder) -> Result<()> {
    let is_lost = folder.is_lost() && !folder.is_adopted()?;
    let is_strange = is_lost || (folder.was_empty() && folder.holds_media());
    if !is_strange {
        return Ok(());
    }
    let project = session.offline()?;
    for (name, provider) in &plan.providers {
        let capabilities = project.client(name)?.info().capabilities;
        let missing = provider.make + provider.fallback;
        if missing > 0 && !capabilities.recoverable && !capabilities.free {
            let message = format!(
                "{} {}, and its ledger knows nothing of it: the ledger was lost, or what is there is from elsewhere. {name} \
                 cannot be asked what was sent before, so of {} missing files some may be bought twice",
                list.out.display(),
                if is_lost { "was used before" } else { "holds media" },
                missing
            );
            return Err(Error::new(ErrorKind::BudgetExceeded, message)
                .not_billed()
                .hint(format!(
                    "put the ledger back ({}), or say --adopt: what is there is taken as it is, and the rest is bought",
                    list.ledger().display()
                )));
        }
    }
    Ok(())
}
