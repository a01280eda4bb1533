//! A server that answers as a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use media_core::http::Wiring;
use media_core::{ApiKey, Client, Delivery, MediaRequest, MediaResult, Order, Span};
use mockito::{Matcher, Mock, Server, ServerGuard};
use provider_runware::{Runware, RunwareConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) const KEY: &str = "rw-test-key-1234567890";
pub(crate) const WEBP: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/lossy.webp");
pub(crate) const MP3: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/cbr-plain.mp3");

/// An answer of the fake.
pub(crate) struct Reply {
    status: usize,
    retry_after: &'static str,
    body: String,
}

impl Reply {
    pub(crate) fn text(status: usize, body: impl Into<String>) -> Reply {
        Reply {
            status,
            retry_after: "",
            body: body.into(),
        }
    }

    pub(crate) fn json(status: usize, body: &Value) -> Reply {
        Reply::text(status, body.to_string())
    }

    pub(crate) fn data(items: Vec<Value>) -> Reply {
        Reply::json(200, &Value::from_iter([("data", items)]))
    }

    pub(crate) fn errors(status: usize, errors: Vec<Value>) -> Reply {
        Reply::json(
            status,
            &Value::from_iter([("data", Vec::new()), ("errors", errors)]),
        )
    }

    pub(crate) fn retry_after(mut self, value: &'static str) -> Reply {
        self.retry_after = value;
        self
    }
}

type Log = Arc<Mutex<Vec<Vec<Value>>>>;

/// Answers `POST /v1` by a function of the number of the call and its tasks, and serves media.
pub(crate) struct Fake {
    pub(crate) server: ServerGuard,
    pub(crate) folder: TempDir,
    log: Log,
    mocks: Vec<Mock>,
}

impl Fake {
    pub(crate) async fn start(handler: impl FnMut(usize, &[Value]) -> Reply + Send + 'static) -> Fake {
        let mut server = Server::new_async().await;
        let log: Log = Arc::default();
        let calls = Arc::clone(&log);
        let handler = Mutex::new(handler);
        // Calls come one at a time (concurrency 1): what is decided for the status serves the headers and the body too.
        let pending = Arc::new(Mutex::new(Reply::text(500, "")));
        let (first, second) = (Arc::clone(&pending), Arc::clone(&pending));
        let api = server
            .mock("POST", "/v1")
            .match_header("authorization", Matcher::Exact(format!("Bearer {KEY}")))
            .match_header("content-type", "application/json")
            .with_status_code_from_request(move |request| {
                let tasks: Vec<Value> = serde_json::from_slice(request.body().unwrap()).unwrap();
                let number = {
                    let mut calls = calls.lock().unwrap();
                    calls.push(tasks.clone());
                    calls.len()
                };
                let reply = (handler.lock().unwrap())(number, &tasks);
                let status = reply.status;
                *first.lock().unwrap() = reply;
                status
            })
            .with_header_from_request("retry-after", move |_| {
                second.lock().unwrap().retry_after.to_owned()
            })
            .with_body_from_request(move |_| pending.lock().unwrap().body.clone().into_bytes())
            .create_async()
            .await;
        // Media hosts never see the key.
        let media = |server: &mut ServerGuard, path: &str, bytes: &[u8]| {
            server
                .mock("GET", Matcher::Regex(path.to_owned()))
                .match_header("authorization", Matcher::Missing)
                .with_body(bytes)
        };
        let pictures = media(&mut server, r"^/media/.*\.webp$", WEBP)
            .create_async()
            .await;
        let sounds = media(&mut server, r"^/media/.*\.mp3$", MP3).create_async().await;
        // A link that has expired.
        let gone = server
            .mock("GET", Matcher::Regex("^/gone/".to_owned()))
            .with_status(404)
            .create_async()
            .await;
        Fake {
            server,
            folder: tempfile::tempdir().unwrap(),
            log,
            mocks: vec![api, pictures, sounds, gone],
        }
    }

    /// The tasks of every call so far.
    pub(crate) fn calls(&self) -> Vec<Vec<Value>> {
        self.log.lock().unwrap().clone()
    }

    /// The taskUUIDs of every call that holds tasks of this type.
    pub(crate) fn keys(&self, kind: &str) -> Vec<Vec<String>> {
        let calls = self.calls();
        let of_kind = calls.iter().filter(|tasks| tasks[0]["taskType"] == kind);
        of_kind.map(|tasks| tasks.iter().map(key).collect()).collect()
    }

    pub(crate) fn config(&self) -> RunwareConfig {
        quick(&self.server.url())
    }

    pub(crate) fn client(&self, change: impl FnOnce(&mut RunwareConfig)) -> Client {
        let mut config = self.config();
        change(&mut config);
        let wiring = Wiring::new(Duration::from_secs(5)).unwrap();
        Client::new(Runware::with_wiring("runware", config, Some(ApiKey::new(KEY)), wiring).unwrap())
    }

    pub(crate) fn picture(&self, name: &str) -> MediaRequest {
        MediaRequest::image(
            format!("a {name}"),
            self.folder.path().join(format!("{name}.webp")),
        )
        .id(name)
    }

    /// Nothing stands in the folder but finished files.
    pub(crate) fn files(&self) -> Vec<String> {
        files(&self.folder)
    }

    pub(crate) async fn one(&self, change: impl FnOnce(&mut RunwareConfig)) -> MediaResult {
        self.client(change).generate(self.picture("dog")).await
    }

    /// Hands all requests over at once, so that they form full batches; results in the order of the requests.
    pub(crate) async fn all(&self, client: &Client, requests: Vec<MediaRequest>) -> Vec<MediaResult> {
        let orders = (0..)
            .zip(requests)
            .map(|(tag, request)| Order::new(tag, request))
            .collect();
        run(client, orders).await
    }

    /// The address of a picture that the fake serves.
    pub(crate) fn link(base: &str, task: &Value) -> String {
        format!("{base}/media/{}.webp", key(task))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.mocks.clear();
    }
}

pub(crate) fn files(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) async fn run(client: &Client, orders: Vec<Order>) -> Vec<MediaResult> {
    let (send, receive) = mpsc::channel(orders.len().max(1));
    for order in orders {
        send.send(order).await.unwrap();
    }
    drop(send);
    let mut results = client.run(receive);
    let mut deliveries: Vec<Delivery> = Vec::new();
    while let Some(delivery) = results.recv().await {
        deliveries.push(delivery);
    }
    deliveries.sort_by_key(|delivery| delivery.tag);
    deliveries.into_iter().map(|delivery| delivery.result).collect()
}

/// The shipped configuration with waits fit for tests.
pub(crate) fn quick(url: &str) -> RunwareConfig {
    let mut config = RunwareConfig {
        base_url: format!("{url}/v1").parse().unwrap(),
        ..RunwareConfig::default()
    };
    config.limits.concurrency = 1.try_into().unwrap();
    config.delivery.first_poll = Span(Duration::from_millis(2));
    config.delivery.max_poll = Span(Duration::from_millis(10));
    config.retry.first_delay = Span(Duration::from_millis(2));
    config.retry.max_delay = Span(Duration::from_millis(10));
    config.timeouts.connect = Span(Duration::from_millis(100));
    config.timeouts.total = Span::secs(20);
    config
}

pub(crate) fn key(task: &Value) -> String {
    task["taskUUID"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn kind(tasks: &[Value]) -> &str {
    tasks[0]["taskType"].as_str().unwrap_or_default()
}

pub(crate) fn ack(task: &Value) -> Value {
    json!({"taskType": "imageInference", "taskUUID": key(task)})
}

pub(crate) fn processing(task: &Value) -> Value {
    json!({"taskType": "imageInference", "taskUUID": key(task), "status": "processing"})
}

pub(crate) fn done(base: &str, task: &Value) -> Value {
    json!({"taskType": "imageInference", "taskUUID": key(task), "status": "success", "imageUUID": format!("image-{}", key(task)),
        "imageURL": Fake::link(base, task), "seed": 126_128_181, "cost": 0.0006})
}

pub(crate) fn error(code: &str, task: &Value) -> Value {
    json!({"code": code, "message": format!("About {code}."), "taskUUID": key(task), "taskType": "imageInference"})
}

/// An error as an answer to `getResponse` tells it.
pub(crate) fn failed(code: &str, task: &Value) -> Value {
    let mut error = error(code, task);
    error["status"] = "error".into();
    error
}

/// The fake's own address, known only once it runs.
#[derive(Clone, Default)]
pub(crate) struct Base(Arc<Mutex<String>>);

impl Base {
    pub(crate) fn set(&self, fake: &Fake) {
        *self.0.lock().unwrap() = fake.server.url();
    }

    pub(crate) fn get(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}
