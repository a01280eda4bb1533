//! End to end against the simulator, whose bill says what was bought.

use std::collections::BTreeSet;
use std::time::Duration;

use media_core::http::Wiring;
use media_core::{
    ApiKey, Charge, CheckLevel, Client, ErrorKind, MediaRequest, MediaResult, Order, Prior, Span,
};
use media_sim::{Fault, FaultKind, Op, Provider, RunwareLatency, Scenario, Sim, UnknownTask};
use provider_runware::{Mode, Output, Runware, RunwareConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{files, quick, run};

struct Bench {
    sim: Sim,
    folder: TempDir,
}

impl Bench {
    async fn new(mut scenario: Scenario) -> Bench {
        if scenario.runware.latency_ms == RunwareLatency::default() {
            scenario.runware.latency_ms = RunwareLatency { image: 40, audio: 40 };
        }
        Bench {
            sim: Sim::start(scenario).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn client(&self, change: impl FnOnce(&mut RunwareConfig)) -> Client {
        let mut config = quick(&format!("{}/runware", self.sim.url()));
        config.delivery.first_poll = Span(Duration::from_millis(20));
        config.delivery.max_poll = Span(Duration::from_millis(100));
        config.limits.concurrency = 4.try_into().unwrap();
        config.image.width = 128;
        config.image.height = 128;
        change(&mut config);
        let wiring = Wiring::new(Duration::from_secs(5)).unwrap();
        let key = ApiKey::new(self.sim.key("runware").unwrap());
        Client::new(Runware::with_wiring("runware", config, Some(key), wiring).unwrap())
            .checking(CheckLevel::Full)
    }

    fn picture(&self, number: u64) -> MediaRequest {
        let path = self.folder.path().join(format!("{number:02}.webp"));
        MediaRequest::image(format!("a red apple number {number}"), path).id(format!("apple-{number}"))
    }

    fn orders(&self, count: u64) -> Vec<Order> {
        (0..count)
            .map(|number| Order::new(number, self.picture(number)))
            .collect()
    }

    /// Every file is there, was charged once and was handed out.
    fn assert_bought_once(&self, results: &[MediaResult]) {
        for result in results {
            let file = result
                .outcome
                .as_ref()
                .unwrap_or_else(|error| panic!("{}", error.full()));
            let size = file.dimensions.unwrap();
            assert_eq!((size.width, size.height), (128, 128));
        }
        assert_eq!(files(&self.folder).len(), results.len());
        let bill = self.sim.bill();
        let keys: BTreeSet<_> = bill.charges.iter().map(|charge| &charge.key).collect();
        assert_eq!((bill.charges.len(), keys.len()), (results.len(), results.len()));
        assert!(
            bill.charges.iter().all(|charge| charge.delivered >= 1),
            "{:?}",
            bill.charges
        );
        let reported: u64 = results
            .iter()
            .map(|result| result.cost.unwrap().usd.micros())
            .sum();
        assert_eq!(reported as f64 / 1e6, bill.total_usd);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_pictures_in_batches_of_eight() {
    for (mode, output) in [
        (Mode::Async, Output::Url),
        (Mode::Sync, Output::Url),
        (Mode::Async, Output::Base64),
        (Mode::Sync, Output::Base64),
    ] {
        let bench = Bench::new(Scenario::default()).await;
        let client = bench.client(|config| {
            config.delivery.mode = mode;
            config.delivery.output = output;
        });
        let results = run(&client, bench.orders(20)).await;
        bench.assert_bought_once(&results);
        let charges = bench.sim.bill().charges;
        assert!(
            charges.iter().all(|charge| charge.delivered == 1),
            "{mode:?} {output:?} {charges:?}"
        );
    }
}

/// Whatever goes wrong on the way, each picture is charged once.
#[tokio::test(flavor = "multi_thread")]
async fn faults_on_the_way_never_charge_twice() {
    let status = |status, billed| -> FaultKind {
        serde_json::from_value(serde_json::json!({"kind": "status", "status": status, "billed": billed}))
            .unwrap()
    };
    let html: FaultKind = serde_json::from_value(
        serde_json::json!({"kind": "status", "status": 502, "body": "<html>", "billed": true}),
    )
    .unwrap();
    let faults = [
        (Op::Image, FaultKind::CutBefore),
        (Op::Image, FaultKind::CutAfterBilling),
        (Op::Image, FaultKind::CutMiddle { after_bytes: None }),
        (Op::Image, FaultKind::EmptyData),
        (Op::Image, status(429, false)),
        (Op::Image, status(503, false)),
        (Op::Image, status(500, true)),
        (Op::Image, html),
        (Op::Poll, FaultKind::CutBefore),
        (Op::Poll, FaultKind::CutMiddle { after_bytes: None }),
        (Op::Poll, FaultKind::EmptyData),
        (Op::Poll, status(429, false)),
        (Op::Poll, status(500, false)),
        (Op::Media, FaultKind::CutMiddle { after_bytes: None }),
        (Op::Media, FaultKind::Truncate { keep_percent: None }),
        (Op::Media, status(502, false)),
        (Op::Media, status(404, false)),
    ];
    for mode in [Mode::Async, Mode::Sync] {
        for (op, fault) in &faults {
            let bench = Bench::new(Scenario::default()).await;
            // The first goes alone and undisturbed; then two calls are struck. A file whose link fails twice waits for a later run.
            let struck = if *fault == status(404, false) { 1 } else { 2 };
            let spare = u64::from(*op != Op::Poll);
            bench.sim.arm(
                Fault::new(Provider::Runware, fault.clone())
                    .on(*op)
                    .after(spare)
                    .times(struck),
            );
            if mode == Mode::Sync && *op == Op::Poll {
                continue;
            }
            let results = run(
                &bench.client(|config| config.delivery.mode = mode),
                bench.orders(9),
            )
            .await;
            bench.assert_bought_once(&results);
            assert!(
                bench.sim.armed().is_empty(),
                "{mode:?} {op:?} {fault:?} never struck"
            );
        }
    }
}

/// A failed generation is free at the simulator as it is at Runware, and is made again under a new key.
#[tokio::test(flavor = "multi_thread")]
async fn failed_generations_are_made_again() {
    for code in [
        "providerError",
        "timeoutProvider",
        "internalServerError",
        "providerRateLimitExceeded",
    ] {
        for mode in [Mode::Async, Mode::Sync] {
            let bench = Bench::new(Scenario::default()).await;
            let fault = FaultKind::TaskError {
                code: code.into(),
                message: "Sorry.".into(),
                billed: false,
            };
            bench.sim.arm(
                Fault::new(Provider::Runware, fault)
                    .on(Op::Image)
                    .matching("number 3"),
            );
            let results = run(
                &bench.client(|config| config.delivery.mode = mode),
                bench.orders(6),
            )
            .await;
            bench.assert_bought_once(&results);
            assert_eq!(results[3].attempts, 2, "{code} {mode:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_fetched_and_not_bought_again() {
    for mode in [Mode::Async, Mode::Sync] {
        let mut scenario = Scenario::default();
        scenario.runware.latency_ms = RunwareLatency {
            image: 700,
            audio: 700,
        };
        let bench = Bench::new(scenario).await;
        let client = |bench: &Bench| bench.client(|config| config.delivery.mode = mode).in_project("p");
        // The first process dies as soon as everything is sent.
        let process = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (first, orders) = (client(&bench), bench.orders(1));
        process.spawn(async move { run(&first, orders).await });
        while bench.sim.bill().charges.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.shutdown_background();
        assert!(files(&bench.folder).is_empty());

        let mut orders = bench.orders(4);
        orders[0].prior = Prior::Sent {
            ago: None,
            batch: None,
        };
        bench.sim.advance(Duration::from_millis(700));
        let results = run(&client(&bench), orders).await;
        bench.assert_bought_once(&results);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_task_is_never_bought_by_looking_for_it() {
    for unknown in [UnknownTask::Empty, UnknownTask::NotFound] {
        let mut scenario = Scenario::default();
        scenario.runware.unknown_task = unknown;
        let bench = Bench::new(scenario).await;
        let orders = bench
            .orders(3)
            .into_iter()
            .map(|order| Order {
                prior: Prior::Sent {
                    ago: None,
                    batch: None,
                },
                ..order
            })
            .collect();
        for result in run(&bench.client(|_| ()), orders).await {
            assert_eq!(result.outcome.unwrap_err().charge(), Some(Charge::Unknown));
        }
        assert!(bench.sim.bill().charges.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_that_ends_stops_the_lane() {
    let mut scenario = Scenario::default();
    let key = scenario.runware.keys[0].key.clone();
    scenario.runware.keys = vec![media_sim::RunwareKey::new(key, 0.0006 * 5.0, Vec::new())];
    let bench = Bench::new(scenario).await;
    let results = run(&bench.client(|_| ()), bench.orders(30)).await;
    assert_eq!(results.iter().filter(|result| result.outcome.is_ok()).count(), 5);
    let errors: Vec<_> = results
        .into_iter()
        .filter_map(|result| result.outcome.err())
        .collect();
    for error in &errors {
        // What was begun and not sent yet is called off; the rest is told why nothing is begun.
        let kinds = [ErrorKind::InsufficientCredit, ErrorKind::Cancelled];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert_eq!(error.charge(), Some(Charge::None));
    }
    let refused = errors
        .iter()
        .any(|error| error.kind() == ErrorKind::InsufficientCredit);
    assert!(refused, "{errors:?}");
    assert_eq!(bench.sim.bill().charges.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_in_every_format() {
    let bench = Bench::new(Scenario::default()).await;
    let client = bench.client(|_| ());
    for extension in ["mp3", "wav", "flac", "ogg"] {
        let path = bench.folder.path().join(format!("hola.{extension}"));
        let result = client.generate(MediaRequest::audio("¿Qué tal?", path)).await;
        let file = result
            .outcome
            .unwrap_or_else(|error| panic!("{extension}: {}", error.full()));
        assert!(
            file.duration.is_some_and(|duration| duration > Duration::ZERO),
            "{extension}"
        );
    }
    assert_eq!(bench.sim.bill().charges.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_test() {
    let bench = Bench::new(Scenario::default()).await;
    let connection = bench.client(|_| ()).test_connection().await.unwrap();
    assert!(
        connection.notes.iter().any(|note| note.contains("1000.00 USD")),
        "{connection:?}"
    );
    let mut scenario = Scenario::default();
    let key = scenario.runware.keys[0].key.clone();
    scenario.runware.keys = vec![media_sim::RunwareKey::new(
        key,
        1.0,
        vec![media_sim::RunwareTrait::NoAccount],
    )];
    let bench = Bench::new(scenario).await;
    let connection = bench.client(|_| ()).test_connection().await.unwrap();
    assert!(connection.notes[0].contains("may not see"), "{connection:?}");
}

/// What the simulator lays over a configuration fits it.
#[test]
fn the_overlay_of_the_simulator_fits_the_configuration() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sim = Sim::start(Scenario::default()).await.unwrap();
        let overlay = sim.overlay("runware").unwrap();
        let mut value = serde_json::to_value(RunwareConfig::default()).unwrap();
        merge(&mut value, overlay);
        let value = media_core::strip_remarks(&value);
        let config: RunwareConfig = serde_json::from_value(value).unwrap();
        config.validate().unwrap();
    });
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
