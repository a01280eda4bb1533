//! End to end against the simulator: real HTTP, real media, and a bill to compare with.

use media_core::http::Wiring;
use media_core::{ApiKey, Charge, CheckLevel, Client, CostBasis, ErrorKind, MediaRequest, MediaResult};
use media_sim::{Fault, FaultKind, Op, Provider, Scenario, Sim};
use provider_openai::{OpenAi, OpenAiConfig};

async fn lab() -> (Sim, Client, tempfile::TempDir) {
    let sim = Sim::start(Scenario::default()).await.unwrap();
    let mut config = OpenAiConfig::default().base_url(format!("{}/openai/v1", sim.url()).parse().unwrap());
    config.limits.groups.clear();
    let wiring = Wiring::new(config.timeouts.connect.0).unwrap();
    let provider = OpenAi::with_wiring("openai", config, Some(ApiKey::new("sim-openai")), wiring).unwrap();
    (
        sim,
        Client::new(provider).checking(CheckLevel::Full),
        tempfile::tempdir().unwrap(),
    )
}

fn files(results: &[MediaResult]) -> usize {
    results.iter().filter(|result| result.outcome.is_ok()).count()
}

#[tokio::test]
async fn every_format_is_delivered_once_and_billed_once() {
    let (sim, client, folder) = lab().await;
    let path = |name: &str| folder.path().join(name);
    let mut requests: Vec<_> = ["a.png", "b.jpg", "c.webp"]
        .map(|name| MediaRequest::image(format!("a picture for {name}"), path(name)).param("quality", "low"))
        .into();
    requests.extend(
        ["a.mp3", "b.wav", "c.flac", "d.opus", "e.ogg"]
            .map(|name| MediaRequest::audio(format!("a text for {name}"), path(name))),
    );
    let asked = requests.len();
    let results = client.generate_batch(requests).collect().await;
    assert_eq!(files(&results), asked, "{results:?}");
    let bill = sim.bill();
    assert_eq!(bill.charges.len(), asked);
    for result in &results {
        // The service's request id is the key of its bill.
        let id = result.provenance.remote_id.as_deref().unwrap();
        let charge = bill.charges.iter().find(|charge| charge.key == id).unwrap();
        assert_eq!(charge.delivered, 1);
        let cost = result.cost.unwrap();
        if cost.basis == CostBasis::Computed {
            let billed = charge.usd;
            // Pictures by their tokens; sounds by their length, which a format rounds to whole frames.
            let near = if result.request.kind == media_core::MediaKind::Image {
                1e-6
            } else {
                billed / 20.0
            };
            assert!(
                (cost.usd.dollars() - billed).abs() < near,
                "{cost:?} and {billed}"
            );
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_billed_once_and_unknown() {
    let (sim, client, folder) = lab().await;
    sim.arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    let request = MediaRequest::image("a red kettle", folder.path().join("k.png")).param("quality", "low");
    let result = client.generate(request).await;
    let error = result.outcome.unwrap_err();
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::Network, Some(Charge::Unknown))
    );
    assert_eq!(sim.bill().charges.len(), 1);
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_answer_is_not_tried_again() {
    // The client cannot tell this from a lost answer, so it must not send again, although nothing was billed.
    let (sim, client, folder) = lab().await;
    sim.arm(Fault::new(Provider::Openai, FaultKind::CutBefore).on(Op::Image));
    let request = MediaRequest::image("a red kettle", folder.path().join("k.png")).param("quality", "low");
    let result = client.generate(request).await;
    assert_eq!(result.outcome.unwrap_err().charge(), Some(Charge::Unknown));
    assert!(sim.bill().charges.is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_shipped_default_size_and_the_models_are_known_to_the_service() {
    let (_sim, client, folder) = lab().await;
    let result = client
        .generate(MediaRequest::image("a red kettle", folder.path().join("k.webp")))
        .await;
    let file = result.outcome.unwrap();
    assert_eq!(
        file.dimensions.map(|size| (size.width, size.height)),
        Some((1024, 1024))
    );
    let connection = client.test_connection().await.unwrap();
    assert!(connection.notes[0].ends_with("models"), "{connection:?}");
    // The speech model ends on 2027-01-06.
    assert!(
        connection
            .warnings
            .iter()
            .any(|warning| warning.contains("gpt-4o-mini-tts")),
        "{connection:?}"
    );
}
