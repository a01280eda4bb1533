//! One native pronunciation. Asks the simulator, so it needs no key.
//!
//! For real: drop the simulator and `base_url`, and take the key from wherever your program keeps its secrets.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use media_core::{ApiKey, Client, ErrorKind, MediaRequest};
use media_sim::{Scenario, Sim};
use provider_forvo::{Forvo, ForvoConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::start(Scenario::default()).await?;
    let folder = tempfile::tempdir()?;

    let config = ForvoConfig::default()
        .accents("es", &[&["MX", "CO"], &["ES"], &["*"]])
        .base_url(format!("{}/forvo", sim.url()).parse()?);
    let client = Client::new(Forvo::new(config, ApiKey::new("sim-forvo"))?);

    for word in ["perro", "ojalá"] {
        let path = folder.path().join(format!("{word}.mp3"));
        let result = client
            .generate(MediaRequest::audio(word, path).language("es"))
            .await;
        match result.outcome {
            Ok(file) => println!("{} {:?}", file.path.display(), result.provenance.credit),
            Err(error) if error.kind() == ErrorKind::NotFound => println!("nobody has recorded {word} yet"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
