//! `media run`: makes every file of a list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use media_core::{Client, Result, Stop};
use media_engine::{Folder, RunOptions, Stats, Status};
use media_registry::Registry;

use crate::args::{Global, Run};
use crate::cmd::plan;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::session::Session;
use crate::signals::Signals;
use crate::simulate::Simulation;
use crate::talk::say;
use crate::words;

pub(crate) async fn run(
    registry: &Registry,
    global: &Global,
    quiet: bool,
    args: &Run,
    again: &str,
) -> Result<Exit> {
    let simulation = Simulation::wanted(&args.simulate).await?;
    let session = Session::load(registry, global, simulation, args.concurrency)?;
    let list = session.list(&args.list)?;
    let (worklist, plan) = plan::make(&session, &list)?;
    let out = &list.out;
    let names: BTreeSet<String> = plan.providers.keys().cloned().collect();
    // Keys before the folder: a missing key must leave nothing behind.
    let keys = session.keys(&names)?;
    let folder = Folder::open(out, session.is_simulated())?;
    media_engine::check_table(&worklist, &folder)?;
    let project = session.online(keys, &folder)?;
    let stats = Arc::new(Stats::of_plan(&plan));
    let clients: Vec<(String, Client)> = project
        .instances()
        .map(|(name, instance)| (name.to_owned(), instance.client.clone()))
        .collect();
    let interrupted = watch_signals(&session.stop, clients.clone());
    tracing::info!(files = plan.files, out = %out.display(), simulated = session.is_simulated(), "run");
    let progress = Progress::start(Arc::clone(&stats), &plan, clients, args.json, quiet);
    let options = RunOptions {
        max_items: args.max_items,
        stop: session.stop.clone(),
    };
    let observer = progress.observer();
    let ran = media_engine::run(project, worklist.clone(), &plan, folder, options, observer, stats).await;
    progress.finish();
    let (outcome, folder) = ran?;
    // From here on files exist and money may be spent: whatever fails, the account comes first.
    let table = media_engine::write_table(&worklist, &folder);
    let trouble = [outcome.trouble.as_ref(), table.as_ref().err()];
    let mut exit = exit_of(&outcome, interrupted.load(Ordering::Relaxed));
    if trouble.iter().flatten().next().is_some() && exit <= Exit::Later {
        // Whatever else is to be done later, this is not as it should be.
        exit = Exit::SomeFailed;
    }
    tracing::info!(?exit, seconds = outcome.elapsed.as_secs(), "run ended");
    for error in trouble.into_iter().flatten() {
        say!("error: {}", words::of_error(error));
    }
    if quiet && exit == Exit::Done {
        return Ok(exit);
    }
    if let Ok(Some(table)) = table {
        say!("the table is {}", table.display());
    }
    say!("the files are in {}", out.display());
    if let Some(simulation) = session.simulation() {
        let billed = simulation.billed();
        say!("simulated: no service was asked and no money spent (the simulated bill says {billed:.4} USD)");
    }
    say!("{}", words::summary(&outcome, exit, again).trim_end());
    Ok(exit)
}

/// First signal: begin nothing new, finish what was sent. Second: end at once.
fn watch_signals(stop: &Stop, clients: Vec<(String, Client)>) -> Arc<AtomicU8> {
    let seen = Arc::new(AtomicU8::new(0));
    let (stop, flag) = (stop.clone(), Arc::clone(&seen));
    let Some(mut signals) = Signals::new() else {
        return seen;
    };
    tokio::spawn(async move {
        loop {
            let code = signals.next().await;
            if flag.swap(code, Ordering::Relaxed) != 0 {
                // What is in flight is abandoned: that is what a second signal asks for.
                end_at_once(code);
            }
            stop.ask();
            say!(
                "stopping: {}; once more ends at once",
                words::being_finished(&clients)
            );
        }
    });
    seen
}

#[expect(
    clippy::exit,
    reason = "the one place that ends without unwinding: a second Ctrl-C waits for nothing"
)]
fn end_at_once(code: u8) {
    std::process::exit(i32::from(code));
}

/// Says how a run ended.
fn exit_of(outcome: &media_engine::Outcome, signal: u8) -> Exit {
    match signal {
        143 => return Exit::Terminated,
        0 => {}
        _ => return Exit::Interrupted,
    }
    let count = |status| {
        outcome
            .accounts
            .values()
            .map(|account| account.count(status))
            .sum::<u64>()
    };
    let must_act = outcome
        .accounts
        .values()
        .any(|account| account.failures.keys().any(|kind| words::needs_a_person(kind)));
    if must_act {
        Exit::Act
    } else if count(Status::Waiting) > 0 || outcome.accounts.values().any(|account| account.left() > 0) {
        Exit::Later
    } else if count(Status::Failed) + count(Status::Unknown) + count(Status::Cancelled) > 0 {
        Exit::SomeFailed
    } else {
        Exit::Done
    }
}
