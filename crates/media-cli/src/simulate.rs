//! The simulated services inside the program, and what a run must be told to use them.

use std::path::Path;
use std::sync::Arc;

use media_core::{ApiKey, Error, ErrorKind, Result};
use media_sim::{Scenario, Sim};
use serde_json::Value;

use crate::args::SimulateArgs;

/// Reads a scenario, or takes the default one.
pub(crate) fn scenario(path: Option<&Path>) -> Result<Scenario> {
    let Some(path) = path else {
        return Ok(Scenario::default());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(
            ErrorKind::Config,
            format!("cannot read the scenario {}", path.display()),
        )
        .because(error)
        .not_billed()
    })?;
    Scenario::from_json(&text).map_err(|error| {
        Error::new(ErrorKind::Config, format!("{}: not a scenario", path.display()))
            .because(error)
            .not_billed()
    })
}

/// Simulated services for one command.
#[derive(Clone, Debug)]
pub(crate) struct Simulation(Arc<Sim>);

impl Simulation {
    /// Started if it is wanted.
    pub(crate) async fn wanted(args: &SimulateArgs) -> Result<Option<Simulation>> {
        if !args.simulate {
            return Ok(None);
        }
        let scenario = scenario(args.scenario.as_deref())?;
        let sim = Sim::start(scenario).await.map_err(|error| {
            Error::new(ErrorKind::Network, "the simulator cannot be started")
                .because(error)
                .not_billed()
        })?;
        Ok(Some(Simulation(Arc::new(sim))))
    }

    /// What is laid over the configuration of an instance of this provider type: where the simulator is, and the
    /// limits that it enforces.
    pub(crate) fn overlay(&self, provider_type: &str) -> Option<Value> {
        self.0.overlay(provider_type)
    }

    /// The key that the simulator takes.
    pub(crate) fn key(&self, provider_type: &str) -> Option<ApiKey> {
        self.0.key(provider_type).map(ApiKey::new)
    }

    /// What the simulated services billed, in dollars.
    pub(crate) fn billed(&self) -> f64 {
        self.0.bill().total_usd
    }
}
