//! Several pictures through one client, results as they arrive. Asks the simulator, so it needs no key and no money.
//!
//! For real: drop the simulator and `base_url`, and take the key from wherever your program keeps its secrets.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use media_core::{ApiKey, Charge, Client, MediaRequest};
use media_sim::{Scenario, Sim};
use provider_openai::{OpenAi, OpenAiConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::start(Scenario::default()).await?;
    let folder = tempfile::tempdir()?;

    let mut config = OpenAiConfig::default().base_url(format!("{}/openai/v1", sim.url()).parse()?);
    // The shipped limits are those of the lowest tier, five pictures a minute; the simulator allows more.
    config.limits.groups.clear();
    let client = Client::new(OpenAi::new(config, ApiKey::new("sim-openai"))?);

    let prompts = [
        "a lighthouse at dawn",
        "a forbidden garden",
        "a red kettle on a stove",
    ];
    let requests = prompts.into_iter().zip(1..).map({
        let folder = folder.path().to_owned();
        move |(prompt, number)| {
            MediaRequest::image(prompt, folder.join(format!("{number}.webp")))
                .id(prompt)
                .param("quality", "low")
        }
    });

    let mut results = client.generate_batch(requests);
    while let Some(result) = results.next().await {
        let cost = result
            .cost
            .map_or("unknown".to_owned(), |cost| format!("{} USD", cost.usd));
        match result.outcome {
            Ok(file) => println!("{}: {} bytes, {cost}", result.request.id, file.bytes),
            // A failure is a value: it says what it may have cost, and whether trying again can help.
            Err(error) if error.charge() == Some(Charge::None) => println!("{}: {error}", result.request.id),
            Err(error) => println!("{}: {error} (may have been billed)", result.request.id),
        }
    }
    Ok(())
}
