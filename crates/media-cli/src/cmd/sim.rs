//! `media sim`: the simulated services as a server.

use media_core::{Error, ErrorKind, Result};
use media_sim::Sim;

use crate::args;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::simulate;
use crate::talk::put;

pub(crate) async fn run(args: &args::Sim) -> Result<Exit> {
    let scenario = simulate::scenario(args.scenario.as_deref())?;
    let sim = Sim::start_on(args.listen, scenario).await.map_err(|error| {
        Error::new(ErrorKind::Config, format!("cannot listen on {}", args.listen))
            .because(error)
            .not_billed()
    })?;
    let url = sim.url();
    // The longest of the addresses, and two spaces.
    let width = url.len() + "/runware/v1  ".len();
    for (service, path) in [
        ("openai", "openai/v1"),
        ("runware", "runware/v1"),
        ("forvo", "forvo"),
    ] {
        let key = sim.key(service).unwrap_or("(none in the scenario)");
        put!("{service:<9}{:<width$}key {key}", format!("{url}/{path}"));
    }
    put!(
        "{:<9}{:<width$}faults: POST {url}/_sim/faults",
        "bill",
        format!("{url}/_sim/bill")
    );
    if let Some(mut signals) = Signals::new() {
        signals.next().await;
    } else {
        std::future::pending::<()>().await;
    }
    sim.stop().await;
    Ok(Exit::Done)
}
