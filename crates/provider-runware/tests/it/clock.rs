//! Waits and windows, on a paused clock over a scripted wire.

use std::sync::Arc;
use std::time::Duration;

use media_core::http::{MemoryTransport, Scripted, Sent, Wiring};
use media_core::{ApiKey, Charge, Client, ErrorKind, MediaRequest, Span};
use provider_runware::{Runware, RunwareConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{KEY, WEBP, ack, done, error, files, kind, processing};

const BASE: &str = "https://media.invalid";

fn json_reply(body: &Value) -> Scripted {
    Scripted::new(200, body.to_string())
}

/// A wire that serves media and answers tasks by a function of the number of the call.
fn wire(handler: impl Fn(usize, &[Value]) -> Scripted + Send + Sync + 'static) -> MemoryTransport {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    MemoryTransport::new(move |request| {
        if request.method() == "GET" {
            return Scripted::new(200, WEBP);
        }
        let tasks: Vec<Value> = serde_json::from_slice(request.body()).unwrap();
        handler(
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1,
            &tasks,
        )
    })
}

fn client(transport: &MemoryTransport, change: impl FnOnce(&mut RunwareConfig)) -> Client {
    let mut config = RunwareConfig::default();
    change(&mut config);
    let wiring = Wiring::over(Arc::new(transport.clone()));
    Client::new(Runware::with_wiring("runware", config, Some(ApiKey::new(KEY)), wiring).unwrap())
}

async fn picture(client: &Client, folder: &TempDir) -> media_core::MediaResult {
    client
        .generate(MediaRequest::image("a dog", folder.path().join("dog.webp")))
        .await
}

fn submits(transport: &MemoryTransport) -> Vec<Vec<Value>> {
    let sent = transport.sent();
    let posts = sent.iter().filter(|sent| sent.head.method() == "POST");
    let tasks = posts.map(|sent| serde_json::from_slice::<Vec<Value>>(&sent.body).unwrap());
    tasks.filter(|tasks| kind(tasks) == "imageInference").collect()
}

#[tokio::test(start_paused = true)]
async fn pauses_between_polls_grow_to_their_most() {
    let transport = wire(|call, tasks| match call {
        1 => json_reply(&json!({"data": [ack(&tasks[0])]})),
        2..=9 => json_reply(&json!({"data": [processing(&tasks[0])]})),
        _ => json_reply(&json!({"data": [done(BASE, &tasks[0])]})),
    });
    let folder = tempfile::tempdir().unwrap();
    assert!(
        picture(&client(&transport, |_| ()), &folder)
            .await
            .outcome
            .is_ok()
    );
    let sent = transport.sent();
    let posts: Vec<_> = sent.iter().filter(|sent| sent.head.method() == "POST").collect();
    let pauses: Vec<f64> = posts
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
        .collect();
    let expected = [1.0, 1.5, 2.25, 3.375, 5.0625, 7.593_75, 10.0, 10.0, 10.0];
    for (pause, expected) in pauses.iter().zip(expected) {
        assert!((pause - expected).abs() < 0.01, "{pauses:?}");
    }
    // The picture's host is another one, and never sees the key.
    let download = sent.iter().find(|sent| sent.head.method() == "GET").unwrap();
    assert!(download.head.headers().get("authorization").is_none());
}

/// A service that has everybody wait a day for their turn to ask.
#[tokio::test(start_paused = true)]
async fn questions_that_are_turned_away_for_ever_end_with_the_time() {
    let transport = wire(|call, tasks| match call {
        1 => json_reply(&json!({"data": [ack(&tasks[0])]})),
        _ => Scripted::new(429, "later").header("retry-after", "86400"),
    });
    let folder = tempfile::tempdir().unwrap();
    let began = tokio::time::Instant::now();
    let mut timeouts = RunwareConfig::default().timeouts;
    let client = client(&transport, |config| timeouts = config.timeouts);
    let error = picture(&client, &folder).await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(error.charge(), Some(Charge::Unknown));
    // For its result, and once more for what became of it.
    let most = (timeouts.total.0 + timeouts.first_byte.0) * 2;
    assert!(began.elapsed() <= most, "{:?}", began.elapsed());
    assert_eq!(submits(&transport).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_after_the_send_repeats_the_same_send() {
    let transport = wire(|call, tasks| match (call, kind(tasks)) {
        (1 | 2, _) => Scripted::fails(Sent::Maybe),
        (_, "imageInference") => Scripted::new(
            400,
            json!({"errors": [error("conflictTaskUUID", &tasks[0])]}).to_string(),
        ),
        _ => json_reply(&json!({"data": [done(BASE, &tasks[0])]})),
    });
    let folder = tempfile::tempdir().unwrap();
    let result = picture(&client(&transport, |_| ()), &folder).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    let submits = submits(&transport);
    assert_eq!(submits.len(), 3);
    assert!(submits.iter().all(|tasks| *tasks == submits[0]));
    assert_eq!(files(&folder), ["dog.webp"]);
}

/// Beyond the window Runware may have forgotten the key: then it is only asked.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_again_after_the_window() {
    let transport = wire(|_, tasks| match kind(tasks) {
        "imageInference" => Scripted::fails(Sent::Maybe).after(Duration::from_secs(31)),
        _ => json_reply(&json!({"data": []})),
    });
    let folder = tempfile::tempdir().unwrap();
    let client = client(&transport, |config| config.resend_window = Span::secs(30));
    let error = picture(&client, &folder).await.outcome.unwrap_err();
    assert_eq!(error.charge(), Some(Charge::Unknown));
    assert_eq!(submits(&transport).len(), 1);

    // A task that the answer left out is not sent again either, once that came too late.
    let transport = wire(|_, _| json_reply(&json!({"data": []})).after(Duration::from_secs(31)));
    let folder = tempfile::tempdir().unwrap();
    let late = self::client(&transport, |config| config.resend_window = Span::secs(30));
    assert_eq!(
        picture(&late, &folder).await.outcome.unwrap_err().charge(),
        Some(Charge::Unknown)
    );
    assert_eq!(submits(&transport).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_for_good_is_looked_for() {
    let transport = wire(|_, tasks| match kind(tasks) {
        "imageInference" => Scripted::fails(Sent::Maybe),
        _ => json_reply(&json!({"data": [done(BASE, &tasks[0])]})),
    });
    let folder = tempfile::tempdir().unwrap();
    let result = picture(&client(&transport, |_| ()), &folder).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(submits(&transport).len(), 4);
}

/// After a lost answer a refusal proves nothing, and no new key is used.
#[tokio::test(start_paused = true)]
async fn doubt_outlives_a_refusal() {
    let transport = wire(|call, tasks| match (call, kind(tasks)) {
        (1, _) => Scripted::fails(Sent::Maybe),
        (_, "imageInference") => Scripted::new(
            400,
            json!({"errors": [error("providerError", &tasks[0])]}).to_string(),
        ),
        _ => json_reply(&json!({"data": []})),
    });
    let folder = tempfile::tempdir().unwrap();
    let error = picture(&client(&transport, |_| ()), &folder)
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.charge(), Some(Charge::Unknown));
    let submits = submits(&transport);
    assert_eq!(submits[0], submits[1]);
    assert_eq!(submits.len(), 2);
}
