//! The server itself: starting, stopping, its own endpoints.

use std::time::{Duration, Instant};

use media_sim::{Bill, Call, Fault, FaultKind, Provider, Scenario, Sim};
use serde_json::json;

use crate::check::{Bench, json};

#[tokio::test]
async fn only_loopback_is_served() {
    let error = Sim::start_on("0.0.0.0:0".parse().unwrap(), Scenario::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    let sim = Sim::start_on("[::1]:0".parse().unwrap(), Scenario::default()).await;
    if let Ok(sim) = sim {
        assert!(sim.url().starts_with("http://[::1]:"));
    }
}

#[tokio::test]
async fn the_port_is_free_after_stopping() {
    let bench = Bench::new().await;
    let addr = bench.sim.addr();
    assert_eq!(
        json(bench.get(&format!("{}/_sim/bill", bench.sim.url()))).await.0,
        200
    );
    bench.sim.stop().await;
    Sim::start_on(addr, Scenario::default()).await.unwrap();
}

#[test]
fn it_runs_while_the_callers_runtime_is_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sim = runtime.block_on(Sim::start(Scenario::default())).unwrap();
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(sim.addr()).unwrap();
    stream
        .write_all(b"GET /_sim/calls HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn overlays_tell_the_limits_that_are_enforced() {
    let bench = Bench::with(|scenario| scenario.forvo.keys[0].requests_per_day = 77).await;
    let url = bench.sim.url();
    let openai = bench.sim.overlay("openai").unwrap();
    assert_eq!(openai["base_url"], format!("{url}/openai/v1"));
    assert_eq!(openai["limits"]["concurrency"], 32);
    assert_eq!(openai["limits"]["image"]["images_per_minute"], 3000);
    assert_eq!(
        bench.sim.overlay("runware").unwrap(),
        json!({"base_url": format!("{url}/runware/v1"), "limits": {"concurrency": 8},
               "delivery": {"first_poll": "200ms", "max_poll": "1s"}})
    );
    assert_eq!(
        bench.sim.overlay("forvo").unwrap(),
        json!({"base_url": format!("{url}/forvo"),
               "limits": {"concurrency": 4, "audio": {"requests_per_minute": 6000, "requests_per_day": 77}}})
    );
    assert_eq!(bench.sim.overlay("acme"), None);
    assert_eq!(
        (bench.sim.key("forvo"), bench.sim.key("acme")),
        (Some("sim-forvo"), None)
    );
    assert_eq!(
        json(bench.get(&format!("{url}/_sim/overlay/openai"))).await,
        (200, openai)
    );
}

#[tokio::test]
async fn faults_bill_calls_and_reset_work_over_http() {
    let bench = Bench::new().await;
    let url = bench.sim.url();
    let arm = |body: &str| {
        bench
            .client
            .post(format!("{url}/_sim/faults"))
            .body(body.to_owned())
    };
    assert_eq!(
        json(arm(
            r#"{"provider":"runware","fault":{"kind":"status","status":503}}"#
        ))
        .await
        .0,
        200
    );
    assert_eq!(
        json(arm(r#"{"provider":"runware","fault":{"kind":"nonsense"}}"#))
            .await
            .0,
        400
    );
    assert_eq!(
        bench.sim.armed(),
        [Fault::new(
            Provider::Runware,
            serde_json::from_value::<FaultKind>(json!({"kind": "status", "status": 503})).unwrap()
        )]
    );
    assert_eq!(json(bench.runware(&json!([{"taskType": "ping"}]))).await.0, 503);
    assert_eq!(json(bench.runware(&json!([{"taskType": "ping"}]))).await.0, 200);
    let calls: Vec<Call> = bench
        .get(&format!("{url}/_sim/calls"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let statuses: Vec<u16> = calls.iter().map(|call| call.status).collect();
    assert_eq!(statuses, [503, 200]);
    assert_eq!(
        (calls[0].provider.as_str(), calls[0].path.as_str()),
        ("runware", "/runware/v1")
    );
    let body = json!({"model": "gpt-4o-mini-tts", "input": "hello", "voice": "marin"});
    bench
        .openai("/audio/speech", &body)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let bill: Bill = bench
        .get(&format!("{url}/_sim/bill"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(bill, bench.sim.bill());
    assert_eq!(bill.charges.len(), 1);
    assert_eq!(json(bench.client.post(format!("{url}/_sim/reset"))).await.0, 200);
    assert!(bench.sim.bill().charges.is_empty() && bench.sim.calls().is_empty());
    let response = bench
        .client
        .post(format!("{url}/_sim/clock"))
        .body(r#"{"advance_ms":5000}"#);
    assert_eq!(json(response).await.0, 200);
    assert_eq!(
        bench
            .get(&format!("{url}/elsewhere"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn large_pictures_and_many_requests_are_cheap() {
    let mut scenario = Scenario::instant();
    scenario.media.bytes = 5_000_000;
    let sim = Sim::start(scenario).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let started = Instant::now();
    for number in 0..20 {
        let body = json!({"model": "gpt-image-2", "prompt": format!("kettle {number}"), "quality": "low"});
        let url = format!("{}/openai/v1/images/generations", sim.url());
        let text = client
            .post(url)
            .bearer_auth("sim-openai")
            .json(&body)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert!(text.len() > 6_600_000);
    }
    // Generous: this only has to notice that every answer is made anew.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert!(sim.bill().charges.iter().all(|charge| charge.delivered == 1));
}
