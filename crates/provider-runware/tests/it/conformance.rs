//! What every provider must do, whatever its API is.

use std::sync::Arc;

use media_core::http::{Scripted, Wiring};
use media_core::{ApiKey, MediaProvider, MediaRequest};
use media_testkit::{Case, Cases, Exchange, conformance, media};
use provider_runware::{Mode, Runware, RunwareConfig};
use serde_json::{Value, json};

use crate::fake::{KEY, ack, done, quick};

const BASE: &str = "https://api.runware.test/v1";
const CDN: &str = "https://im.runware.test";

/// Asks with one task of this type, answered by a function of it.
fn exchange(kind: &str, answer: fn(&Value) -> Value) -> Exchange {
    let asked = json!([{"taskType": kind, "taskUUID": "*"}]);
    Exchange::post("/v1").asks(asked).answers_with(move |request| {
        let tasks: Vec<Value> = serde_json::from_slice(request.body()).unwrap();
        Scripted::new(200, json!({"data": [answer(&tasks[0])]}).to_string())
    })
}

fn finished(task: &Value) -> Value {
    let mut item = done(CDN, task);
    item["imageURL"] = format!("{CDN}/media/1.png").into();
    item
}

async fn conforms(change: fn(&mut RunwareConfig), exchanges: Vec<Exchange>) {
    let make = |wiring: Wiring| -> Arc<dyn MediaProvider> {
        let mut config = quick("https://api.runware.test");
        config.tasks_per_request = 1.try_into().unwrap();
        change(&mut config);
        Arc::new(Runware::with_wiring("runware", config, Some(ApiKey::new(KEY)), wiring).unwrap())
    };
    let download = Exchange::get("/media/1.png").on(CDN).answers(200, media::png());
    let case = Case::new("a picture", MediaRequest::image("a dog", "dog.png"));
    let case = exchanges.into_iter().chain([download]).fold(case, Case::with);
    let account = json!({"data": [{"taskType": "accountManagement", "balance": 10.0}]});
    let cases = Cases::new(BASE, KEY)
        .plays(case)
        .connects(Exchange::post("/v1").answers_json(200, account))
        .refuses(
            "an unknown parameter",
            MediaRequest::image("a dog", "x.png").param("glow", 1),
        )
        .refuses(
            "a size that is no multiple of 64",
            MediaRequest::image("a dog", "x.png").param("width", 1000),
        )
        .refuses("a prompt of one character", MediaRequest::image("x", "x.png"));
    conformance(make, &cases).await;
}

#[tokio::test(start_paused = true)]
async fn async_delivery_conforms() {
    conforms(
        |_| (),
        vec![
            exchange("imageInference", ack).buys(),
            exchange("getResponse", finished),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn sync_delivery_conforms() {
    conforms(
        |config| config.delivery.mode = Mode::Sync,
        vec![exchange("imageInference", finished).buys()],
    )
    .await;
}
