//! Every kind of fault, and what it does to the bill.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media_sim::{Fault, FaultKind, Op, Provider, WrongType};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::check::{Bench, bytes, json};

fn kettle(bench: &Bench) -> RequestBuilder {
    bench.openai(
        "/images/generations",
        &json!({"model": "gpt-image-2", "prompt": "a kettle", "quality": "low"}),
    )
}

fn say(bench: &Bench) -> RequestBuilder {
    bench.openai(
        "/audio/speech",
        &json!({"model": "gpt-4o-mini-tts", "input": "hello there", "voice": "marin"}),
    )
}

fn kind(value: Value) -> FaultKind {
    serde_json::from_value(value).unwrap()
}

fn openai(fault: FaultKind) -> Fault {
    Fault::new(Provider::Openai, fault)
}

/// Charges and deliveries.
fn billed(bench: &Bench) -> (usize, u64) {
    let bill = bench.sim.bill();
    (
        bill.charges.len(),
        bill.charges.iter().map(|charge| charge.delivered).sum(),
    )
}

#[tokio::test]
async fn statuses_come_with_hints_and_bodies() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(kind(
        json!({"kind": "status", "status": 429, "retry_after": "soon", "retry_after_ms": "-1"}),
    )));
    let response = kettle(&bench).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"soon".parse().unwrap())
    );
    assert_eq!(response.headers()["retry-after-ms"], "-1");
    assert!(response.headers().contains_key("x-request-id"));
    bench.sim.arm(openai(kind(
        json!({"kind": "status", "status": 502, "body": "<html>bad</html>", "headers": {"cf-ray": "1"}}),
    )));
    let response = kettle(&bench).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cf-ray"]),
        (502, &"1".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "<html>bad</html>");
    for status in [401, 429, 500, 503] {
        bench
            .sim
            .arm(openai(kind(json!({"kind": "status", "status": status}))));
        let (got, answer) = json(kettle(&bench)).await;
        assert_eq!(got, status);
        assert!(answer["error"]["type"].is_string());
    }
    assert_eq!(billed(&bench), (0, 0));
    bench.sim.arm(openai(kind(
        json!({"kind": "status", "status": 504, "billed": true}),
    )));
    assert_eq!(bytes(kettle(&bench)).await.0, 504);
    assert_eq!(billed(&bench), (1, 0));
}

#[tokio::test]
async fn an_error_can_come_with_200() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(FaultKind::ErrorBody { body: None }));
    let (status, answer) = json(kettle(&bench)).await;
    assert!(status == 200 && answer["error"]["message"].is_string());
    bench.sim.arm(openai(FaultKind::ErrorBody {
        body: Some(json!({"detail": "no"})),
    }));
    assert_eq!(json(kettle(&bench)).await, (200, json!({"detail": "no"})));
    assert_eq!(billed(&bench), (0, 0));
}

#[tokio::test]
async fn faults_choose_their_requests() {
    let bench = Bench::new().await;
    let fault = openai(FaultKind::ErrorBody { body: None })
        .on(Op::Image)
        .matching("kettle")
        .after(1)
        .times(2);
    bench.sim.arm(fault);
    assert_eq!(bytes(say(&bench)).await.1, "audio/mpeg");
    let mut broken = Vec::new();
    for _ in 0..4 {
        broken.push(json(kettle(&bench)).await.1.get("error").is_some());
    }
    assert_eq!(broken, [false, true, true, false]);
}

#[tokio::test]
async fn answers_can_be_late_or_slow() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(FaultKind::Delay { ms: 300 }));
    let started = Instant::now();
    assert_eq!(bytes(say(&bench)).await.0, 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
    bench.sim.arm(openai(FaultKind::Drip {
        bytes: 2000,
        every_ms: 100,
    }));
    let started = Instant::now();
    let (_, _, sound) = bytes(say(&bench)).await;
    assert!(started.elapsed() >= Duration::from_millis(100 * (sound.len() as u64 / 2000)));
    assert_eq!(billed(&bench), (2, 2));
}

#[tokio::test]
async fn a_client_that_gives_up_has_bought_all_the_same() {
    let bench = Bench::new().await;
    let wait = Duration::from_millis(200);
    bench.sim.arm(openai(FaultKind::DelayAfterBilling { ms: 60_000 }));
    assert!(
        kettle(&bench)
            .timeout(wait)
            .send()
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(billed(&bench), (1, 0));
    bench.sim.arm(openai(FaultKind::Delay { ms: 60_000 }));
    assert!(
        kettle(&bench)
            .timeout(wait)
            .send()
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(billed(&bench), (1, 0));
}

#[tokio::test]
async fn connections_are_cut_before_and_after_the_work() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(FaultKind::CutBefore));
    let error = kettle(&bench).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout(), "{error:?}");
    assert_eq!(billed(&bench), (0, 0));
    assert_eq!(bench.sim.calls()[0].status, 0);
    bench.sim.arm(openai(FaultKind::CutAfterBilling));
    assert!(kettle(&bench).send().await.is_err());
    assert_eq!(billed(&bench), (1, 0));
}

#[tokio::test]
async fn a_cut_connection_shows_no_status_line() {
    use std::io::{Read, Write};
    let bench = Bench::new().await;
    bench.sim.arm(Fault::new(Provider::Runware, FaultKind::CutBefore));
    let addr = bench.sim.addr();
    let read = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream
            .write_all(b"POST /runware/v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n[]")
            .unwrap();
        let mut bytes = Vec::new();
        // Either an end or a reset is a cut.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    });
    assert_eq!(read.await.unwrap(), b"");
}

#[tokio::test]
async fn connections_are_cut_in_the_middle() {
    let bench = Bench::new().await;
    for request in [kettle, say] {
        bench.sim.arm(openai(FaultKind::CutMiddle {
            after_bytes: Some(100),
        }));
        let mut response = request(&bench).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut got = 0;
        let error = loop {
            match response.chunk().await {
                Ok(Some(part)) => got += part.len(),
                Ok(None) => panic!("a clean end after {got} bytes"),
                Err(error) => break error,
            }
        };
        assert!(
            got == 100 && (error.is_body() || error.is_decode()),
            "{got} {error:?}"
        );
    }
    assert_eq!(billed(&bench), (2, 0));
}

#[tokio::test]
async fn media_can_be_spoiled_in_many_ways() {
    let bench = Bench::new().await;
    let (_, _, good) = bytes(say(&bench)).await;
    let spoiled = async |fault: Value| {
        bench.sim.arm(openai(kind(fault)));
        bytes(say(&bench)).await
    };
    let (_, mime, cut) = spoiled(json!({"kind": "truncate", "keep_percent": 50})).await;
    assert!(mime == "audio/mpeg" && cut == good[..good.len() / 2]);
    let (_, _, corrupt) = spoiled(json!({"kind": "corrupt"})).await;
    assert!(corrupt.len() == good.len() && corrupt != good);
    let (_, mime, page) = spoiled(json!({"kind": "wrong_type", "what": "html"})).await;
    assert!(mime.starts_with("text/html") && page.starts_with(b"<!DOCTYPE"));
    let (_, mime, page) = spoiled(json!({"kind": "wrong_type", "what": "html_as_media"})).await;
    assert!(mime == "audio/mpeg" && page.starts_with(b"<!DOCTYPE"));
    let (_, mime, _) = spoiled(json!({"kind": "wrong_type", "what": "json"})).await;
    assert_eq!(mime, "application/json");
    let (_, mime, wav) = spoiled(json!({"kind": "wrong_type", "what": "other_format"})).await;
    assert!(mime == "audio/mpeg" && wav.starts_with(b"RIFF"));
    let (status, _, empty) = spoiled(json!({"kind": "empty"})).await;
    assert!(status == 200 && empty.is_empty());
    let (_, _, long) = spoiled(json!({"kind": "trailing_garbage", "bytes": 10})).await;
    assert_eq!(long.len(), good.len() + 10);
    let (_, _, huge) = spoiled(json!({"kind": "oversized", "bytes": 3_000_000})).await;
    assert_eq!(huge.len(), good.len() + 3_000_000);
}

#[tokio::test]
async fn pictures_in_answers_are_spoiled_before_encoding() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(FaultKind::WrongType {
        what: WrongType::OtherFormat,
    }));
    let (_, answer) = json(kettle(&bench)).await;
    let file = STANDARD
        .decode(answer["data"][0]["b64_json"].as_str().unwrap())
        .unwrap();
    assert_eq!(image::guess_format(&file).unwrap(), image::ImageFormat::Jpeg);
    bench.sim.arm(openai(FaultKind::Truncate {
        keep_percent: Some(10),
    }));
    let (_, answer) = json(kettle(&bench)).await;
    let file = STANDARD
        .decode(answer["data"][0]["b64_json"].as_str().unwrap())
        .unwrap();
    assert!(image::load_from_memory(&file).is_err());
    bench.sim.arm(openai(FaultKind::Oversized { bytes: 1_000_000 }));
    let (_, _, body) = bytes(kettle(&bench)).await;
    assert!(body.len() > 1_000_000 && body.ends_with(b"  "));
}

#[tokio::test]
async fn openai_can_fail_at_the_end() {
    let bench = Bench::new().await;
    bench.sim.arm(openai(FaultKind::EmptyData));
    assert_eq!(json(kettle(&bench)).await.1["data"], json!([]));
    let fault =
        json!({"kind": "task_error", "code": "image_generation_failed", "message": "no", "billed": true});
    bench.sim.arm(openai(kind(fault)));
    let (status, answer) = json(kettle(&bench)).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (500, &json!("image_generation_failed"))
    );
    assert_eq!(billed(&bench), (2, 0));
    let stream = json!({"model": "gpt-image-2", "prompt": "a kettle", "quality": "low", "stream": true, "partial_images": 1});
    bench.sim.arm(openai(FaultKind::StreamError));
    let (_, _, body) = bytes(bench.openai("/images/generations", &stream)).await;
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("event: error\ndata: ") && !text.contains("image_generation.completed"));
    bench.sim.arm(openai(FaultKind::StreamUnfinished));
    let (_, _, body) = bytes(bench.openai("/images/generations", &stream)).await;
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("partial_image") && !text.contains("event: error") && !text.contains("completed"));
    assert_eq!(billed(&bench), (4, 0));
}

#[tokio::test]
async fn redirects_and_forvo_quota() {
    let bench = Bench::new().await;
    let redirect = json!({"kind": "redirect", "location": "https://example.com/elsewhere", "status": 307});
    bench.sim.arm(openai(kind(redirect)));
    let response = kettle(&bench).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"https://example.com/elsewhere".parse().unwrap())
    );
    let word = "action/word-pronunciations/word/perro/language/es";
    bench
        .sim
        .arm(Fault::new(Provider::Forvo, FaultKind::QuotaBody).on(Op::Lookup));
    assert_eq!(
        json(bench.forvo(word)).await,
        (400, json!(["Limit/day reached."]))
    );
    bench
        .sim
        .arm(Fault::new(Provider::Forvo, FaultKind::EmptyData).matching("perro"));
    assert_eq!(json(bench.forvo(word)).await.1["items"], json!([]));
    bench.sim.arm(
        Fault::new(
            Provider::Forvo,
            FaultKind::WrongType {
                what: WrongType::Html,
            },
        )
        .on(Op::Audio)
        .matching("perro"),
    );
    let (_, answer) = json(bench.forvo(word)).await;
    let link = answer["items"][0]["pathmp3"].as_str().unwrap().to_owned();
    assert!(bytes(bench.get(&link)).await.1.starts_with("text/html"));
    bench.sim.arm(
        Fault::new(Provider::Forvo, kind(json!({"kind": "status", "status": 404})))
            .on(Op::Audio)
            .times(2),
    );
    for expected in [404, 404, 200] {
        assert_eq!(bytes(bench.get(&link)).await.0, expected);
    }
}

#[tokio::test]
async fn single_runware_tasks_fail_and_links_break() {
    let bench = Bench::new().await;
    let task = |number: u32, prompt: &str| {
        json!({"taskType": "imageInference", "taskUUID": format!("11111111-1111-4111-8111-{number:012}"),
               "model": "runware:100@1", "positivePrompt": prompt, "width": 128, "height": 128})
    };
    let fault = json!({"kind": "task_error", "code": "timeoutProvider", "message": "slow"});
    bench
        .sim
        .arm(Fault::new(Provider::Runware, kind(fault)).matching("pear"));
    let tasks = json!([task(1, "an apple"), task(2, "a pear"), task(3, "a pear")]);
    let (status, answer) = json(bench.runware(&tasks)).await;
    assert_eq!(
        (status, &answer["errors"][0]["code"]),
        (200, &json!("timeoutProvider"))
    );
    assert_eq!(answer["errors"][0]["taskUUID"], task(2, "")["taskUUID"]);
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(billed(&bench), (2, 0));
    let link = answer["data"][0]["imageURL"].as_str().unwrap();
    let arm = |fault: Value| {
        bench.sim.arm(
            Fault::new(Provider::Runware, kind(fault))
                .on(Op::Media)
                .matching("apple"),
        );
    };
    arm(json!({"kind": "status", "status": 502}));
    assert_eq!(bytes(bench.get(link)).await.0, 502);
    arm(json!({"kind": "corrupt"}));
    let (_, _, broken) = bytes(bench.get(link)).await;
    let (_, _, whole) = bytes(bench.get(link)).await;
    assert_ne!(broken, whole);
    // An accepted task whose answer was lost: the next try with the same UUID proves it.
    bench
        .sim
        .arm(Fault::new(Provider::Runware, FaultKind::CutAfterBilling).on(Op::Image));
    assert!(bench.runware(&json!([task(4, "a plum")])).send().await.is_err());
    let (_, answer) = json(bench.runware(&json!([task(4, "a plum")]))).await;
    assert_eq!(answer["errors"][0]["code"], "conflictTaskUUID");
    assert_eq!(billed(&bench).0, 3);
    bench
        .sim
        .arm(Fault::new(Provider::Runware, FaultKind::EmptyData).on(Op::Image));
    assert_eq!(
        json(bench.runware(&json!([task(5, "a fig")]))).await,
        (200, json!({"data": []}))
    );
    assert_eq!(billed(&bench).0, 4);
}
