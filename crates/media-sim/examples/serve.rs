//! Serves the simulator until killed: `cargo run -p media-sim --example serve -- [PORT] [SCENARIO.json]`.

use std::error::Error;
use std::io::Write;

use media_sim::{Scenario, Sim};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let scenario = match arguments.next() {
        Some(path) => Scenario::from_json(&std::fs::read_to_string(path)?)?,
        None => Scenario::default(),
    };
    let sim = Sim::start_on(([127, 0, 0, 1], port).into(), scenario).await?;
    writeln!(std::io::stdout(), "{}", sim.url())?;
    std::future::pending().await
}
