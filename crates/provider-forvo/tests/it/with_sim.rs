//! Against the simulator, which knows no client: its quota and ours must come to the same.

use media_core::{ApiKey, Client, ErrorKind, GroupLimits, MediaRequest};
use media_sim::{ForvoKey, ForvoNotFound, Scenario, Sim};
use provider_forvo::{Forvo, ForvoConfig};

use crate::support::{config, counted};

fn at(sim: &Sim, daily: u64) -> ForvoConfig {
    let mut config = config(&format!("{}/forvo", sim.url()));
    let limits = GroupLimits::default().with("requests_per_day", daily);
    config.limits.groups.insert("audio".to_owned(), limits);
    config
}

fn client(config: ForvoConfig) -> Client {
    Client::new(Forvo::new(config, ApiKey::new("sim-forvo")).unwrap())
}

fn used(sim: &Sim) -> u64 {
    sim.bill().quotas.iter().map(|quota| quota.used).sum()
}

#[tokio::test]
async fn words_are_found_and_every_call_is_counted() {
    let sim = Sim::start(Scenario::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = client(at(&sim, 100));
    assert!(client.test_connection().await.is_ok());
    for (index, word) in ["perro", "el niño", "papá", "año", "C++"].into_iter().enumerate() {
        let path = folder
            .path()
            .join(format!("{index}.{}", if index == 1 { "ogg" } else { "mp3" }));
        let result = client
            .generate(MediaRequest::audio(word, path).language("es"))
            .await;
        match (word, result.outcome) {
            ("C++", outcome) => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NotFound),
            (_, outcome) => assert!(outcome.unwrap().duration.is_some(), "{word}"),
        }
    }
    assert_eq!(used(&sim), 1 + 4 * 2 + 1);
    assert_eq!(counted(&client).await, used(&sim));
}

#[tokio::test]
async fn near_matches_and_every_shape_of_nothing() {
    for shape in [
        ForvoNotFound::Empty,
        ForvoNotFound::False,
        ForvoNotFound::Redirect,
    ] {
        let mut scenario = Scenario::default();
        scenario.forvo.not_found = shape;
        let sim = Sim::start(scenario).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let client = client(at(&sim, 100));
        for word in ["sábana", "ojalá"] {
            let request = MediaRequest::audio(word, folder.path().join("a.mp3")).language("es");
            let error = client.generate(request).await.outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{shape:?} {word}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("no recording of {word:?} in es")),
                "{error}"
            );
        }
        assert_eq!((used(&sim), counted(&client).await), (2, 2));
    }
}

fn words(folder: &std::path::Path) -> Vec<MediaRequest> {
    ["uno", "dos", "tres", "cuatro"]
        .into_iter()
        .map(|word| MediaRequest::audio(word, folder.join(format!("{word}.mp3"))).language("es"))
        .collect()
}

#[tokio::test]
async fn our_own_quota_stops_before_theirs() {
    let mut scenario = Scenario::default();
    scenario.forvo.keys = vec![ForvoKey::new("sim-forvo", 5)];
    let sim = Sim::start(scenario).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = client(at(&sim, 5));
    let mut kinds = Vec::new();
    for request in words(folder.path()) {
        kinds.push(
            client
                .generate(request)
                .await
                .outcome
                .map(|_| ())
                .map_err(|error| error.kind()),
        );
    }
    let spent = Err(ErrorKind::QuotaExhausted);
    assert_eq!(kinds, [Ok(()), Ok(()), spent, spent]);
    assert_eq!(
        used(&sim),
        4,
        "the odd call is left, for it could not have ended a word"
    );
    assert_eq!(counted(&client).await, 4);
}

#[tokio::test]
async fn a_quota_that_others_spend_is_believed() {
    let mut scenario = Scenario::default();
    let mut key = ForvoKey::new("sim-forvo", 5);
    key.used = 2;
    scenario.forvo.keys = vec![key];
    let sim = Sim::start(scenario).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = client(at(&sim, 100));
    let results = client.generate_batch(words(folder.path())).collect().await;
    let done = results.iter().filter(|result| result.outcome.is_ok()).count();
    assert_eq!(done, 1);
    for error in results.iter().filter_map(|result| result.outcome.as_ref().err()) {
        assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    }
    assert_eq!(used(&sim), 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
