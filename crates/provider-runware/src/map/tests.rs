//! Tasks as documented, and answers in every documented shape.

use super::*;
use crate::check;
use crate::config::RunwareConfig;
use media_core::Charge;
use media_core::MediaRequest;

const A: &str = "11111111-1111-4111-8111-111111111111";
const B: &str = "22222222-2222-4222-8222-222222222222";

fn key(text: &str) -> AttemptKey {
    AttemptKey::parse(text).unwrap()
}

fn made(request: &MediaRequest, change: impl FnOnce(&mut RunwareConfig)) -> Value {
    let mut config = RunwareConfig::default();
    change(&mut config);
    task(
        &check::resolve("runware", &config, request).unwrap(),
        key(A),
        &config.delivery,
    )
}

#[test]
fn a_picture_as_documented() {
    let request = MediaRequest::image("red apple on white", "x.png")
        .param("width", 512)
        .param("height", 512)
        .param("seed", 7)
        .param("quality", 90)
        .param("lora", json!([{"model": "civitai:1@2", "weight": 0.8}]));
    let expected = json!({
        "taskType": "imageInference", "taskUUID": A, "model": "runware:100@1",
        "positivePrompt": "red apple on white", "width": 512, "height": 512, "steps": 4, "seed": 7,
        "outputQuality": 90, "lora": [{"model": "civitai:1@2", "weight": 0.8}],
        "safety": {"checkContent": true}, "numberResults": 1, "outputType": "URL", "outputFormat": "PNG",
        "includeCost": true, "deliveryMethod": "async", "ttl": 604_800
    });
    assert_eq!(made(&request, |_| {}), expected);
}

#[test]
fn base64_has_no_lifetime_and_sync_says_so() {
    let request = MediaRequest::image("red apple", "x.jpg").param("check_content", false);
    let task = made(&request, |config| {
        config.delivery.output = Output::Base64;
        config.delivery.mode = Mode::Sync;
    });
    assert_eq!(task["outputType"], "base64Data");
    assert_eq!(task["outputFormat"], "JPG");
    assert_eq!(task["deliveryMethod"], "sync");
    assert!(task.get("ttl").is_none());
    assert!(task.get("safety").is_none());
}

#[test]
fn speech_as_documented() {
    let request = MediaRequest::audio("hola", "x.mp3")
        .param("speech", json!({"speed": 0.9}))
        .param("sample_rate", 24_000);
    let task = made(&request, |_| {});
    assert_eq!(task["taskType"], "audioInference");
    assert_eq!(
        task["speech"],
        json!({"text": "hola", "voice": "Diego", "speed": 0.9})
    );
    assert_eq!(task["audioSettings"], json!({"sampleRate": 24_000}));
    assert_eq!(task["outputFormat"], "MP3");
    assert!(task.get("positivePrompt").is_none());
}

fn envelope(value: &Value) -> Envelope {
    Envelope::read(value.to_string().as_bytes()).unwrap()
}

fn reader() -> Reader {
    Reader::new(Vec::new(), WhenFlagged::Warn)
}

#[test]
fn the_polled_body_of_the_reference() {
    let body = json!({
        "data": [
            {"taskType": "imageInference", "taskUUID": A, "status": "processing"},
            {"taskType": "imageInference", "taskUUID": A, "status": "success", "imageUUID": "I1",
             "imageURL": "https://im.runware.ai/x.png", "seed": 7, "cost": 0.0006}],
        "errors": [{"code": "timeoutProvider", "status": "error", "message": "...", "taskUUID": B}]
    });
    let mut states = reader().polled(envelope(&body));
    let Some(State::Done(done)) = states.take(key(A)) else {
        panic!("no result")
    };
    assert_eq!(done.facts.remote_id.as_deref(), Some("I1"));
    assert_eq!(
        (done.facts.seed, done.facts.cost.map(Usd::micros)),
        (Some(7), Some(600))
    );
    assert!(matches!(done.media, Media::Link(link) if link.url.as_str() == "https://im.runware.ai/x.png"));
    assert!(matches!(states.take(key(B)), Some(State::Failed(_))));
}

#[test]
fn order_case_and_repetition_mean_nothing() {
    let upper = A.to_uppercase();
    let result = json!({"taskUUID": upper, "imageURL": "https://h/1.png", "imageUUID": "1"});
    let other = json!({"taskUUID": A, "imageURL": "https://h/2.png", "imageUUID": "2"});
    let body = json!({"data": [result, other, {"taskUUID": A}, {"status": "success"}]});
    let mut states = reader().submitted(envelope(&body));
    let Some(State::Done(done)) = states.take(key(A)) else {
        panic!("no result")
    };
    assert_eq!(done.facts.remote_id.as_deref(), Some("1"));
}

#[test]
fn one_entry_in_every_state() {
    let state = |entry: Value| {
        let mut entry = entry;
        entry["taskUUID"] = A.into();
        reader()
            .submitted(envelope(&json!({"data": [entry]})))
            .take(key(A))
            .unwrap()
    };
    assert!(matches!(state(json!({})), State::Running));
    for status in ["processing", "pending", "Queued"] {
        assert!(
            matches!(state(json!({"status": status})), State::Running),
            "{status}"
        );
    }
    assert!(matches!(state(json!({"status": "success"})), State::Unusable(_)));
    assert!(matches!(
        state(json!({"imageURL": "ftp://x/y"})),
        State::Unusable(_)
    ));
    for failed in [
        json!({"status": "error", "error": {"code": "providerError"}}),
        json!({"status": "ERROR", "code": "providerError"}),
        json!({"error": [{"code": "providerError"}]}),
    ] {
        let State::Failed(error) = state(failed) else {
            panic!("not failed")
        };
        assert_eq!(error.code.as_deref(), Some("providerError"));
    }
}

#[test]
fn a_cost_of_nothing_is_not_known() {
    for cost in [json!(0), json!(null), json!("x"), json!(-1)] {
        let item = json!({"taskUUID": A, "imageURL": "https://h/1.png", "cost": cost});
        let mut states = reader().submitted(envelope(&json!({"data": [item]})));
        let Some(State::Done(done)) = states.take(key(A)) else {
            panic!("no result")
        };
        assert_eq!(done.facts.cost, None);
    }
}

#[test]
fn a_flagged_picture_is_delivered_or_rejected_as_configured() {
    let body = json!({"data": [{"taskUUID": A, "imageURL": "https://h/1.png", "NSFWContent": true}]});
    let Some(State::Done(done)) = reader().submitted(envelope(&body)).take(key(A)) else {
        panic!("no result")
    };
    assert_eq!(done.facts.warnings.len(), 1);
    let strict = Reader::new(Vec::new(), WhenFlagged::Reject);
    let Some(State::Flagged(error)) = strict.submitted(envelope(&body)).take(key(A)) else {
        panic!("delivered")
    };
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::ContentRejected, Some(Charge::Certain))
    );
}

#[test]
fn the_archive_holds_the_answer_of_each_task() {
    let entry = |response: Value| {
        json!({"data": [{"taskType": "getTaskDetails", "taskUUID": A, "request": [{}],
        "response": response}]})
    };
    let state = |response: Value| {
        reader()
            .archived(envelope(&entry(response)))
            .take(key(A))
            .unwrap()
    };
    assert!(matches!(state(json!({"data": []})), State::Running));
    assert!(matches!(state(json!(null)), State::Running));
    assert!(matches!(
        state(json!({"errors": [{"code": "providerError"}]})),
        State::Failed(_)
    ));
    let foreign = json!({"data": [{"taskUUID": B, "imageURL": "https://h/b.png"}]});
    assert!(matches!(state(foreign), State::Running));
    let own = json!({"data": [{"taskUUID": A, "imageURL": "https://h/a.png"}]});
    assert!(matches!(state(own), State::Done(_)));
}

#[test]
fn a_complaint_about_the_poll_leaves_the_task_alone() {
    let body = json!({"data": [], "errors": [
        {"code": "rateLimitExceeded", "taskUUID": A, "taskType": "getResponse"},
        {"code": "taskNotFound", "taskUUID": B}]});
    let mut states = reader().polled(envelope(&body));
    assert!(states.take(key(A)).is_none());
    assert!(states.take(key(B)).is_none());
}

#[test]
fn an_empty_error_beside_a_result_is_none() {
    for nothing in [
        json!({}),
        json!([{}]),
        json!({"code": null, "message": null}),
        json!(""),
    ] {
        let item =
            json!({"taskUUID": A, "status": "success", "imageURL": "https://h/1.png", "error": nothing});
        let mut states = reader().polled(envelope(&json!({"data": [item], "errors": nothing})));
        assert!(matches!(states.take(key(A)), Some(State::Done(_))), "{nothing}");
    }
}

#[test]
fn what_goes_on_has_not_failed_unless_that_is_said() {
    let running = json!({"taskUUID": A, "status": "processing"});
    let error = json!({"code": "inferenceError", "taskUUID": A});
    let states = |error: Value| reader().polled(envelope(&json!({"data": [running], "errors": [error]})));
    assert!(matches!(states(error.clone()).take(key(A)), Some(State::Running)));
    let mut said = error;
    said["status"] = "error".into();
    assert!(matches!(states(said).take(key(A)), Some(State::Failed(_))));
}

#[test]
fn a_failure_that_names_its_cost_costs_that() {
    let flagged = json!({"taskUUID": A, "imageURL": "https://h/1.png", "NSFWContent": "true", "cost": 0.5});
    let strict = Reader::new(Vec::new(), WhenFlagged::Reject);
    let Some(State::Flagged(error)) = strict.polled(envelope(&json!({"data": [flagged]}))).take(key(A))
    else {
        panic!("delivered")
    };
    assert_eq!(error.cost(), Usd::from_dollars(0.5));
    let failed = json!({"taskUUID": A, "status": "error", "cost": "0.25"});
    let Some(State::Failed(failed)) = reader().polled(envelope(&json!({"data": [failed]}))).take(key(A))
    else {
        panic!("no failure")
    };
    let error = failed.of_task("result");
    assert_eq!(
        (error.charge(), error.cost()),
        (Some(Charge::Certain), Usd::from_dollars(0.25))
    );
}

#[test]
fn a_result_is_a_result_whatever_stands_beside_it() {
    for error in [
        json!("NSFW check skipped"),
        json!(["slow"]),
        json!({"code": "warning", "message": "odd"}),
        json!({"cost": 0}),
    ] {
        let item = json!({"taskUUID": A, "status": "success", "imageURL": "https://h/1.png", "error": error});
        let mut states = reader().polled(envelope(&json!({"data": [item]})));
        assert!(matches!(states.take(key(A)), Some(State::Done(_))), "{error}");
    }
    // What is said to have failed, and is there all the same, was made.
    let item = json!({"taskUUID": A, "status": "error", "imageURL": "https://h/1.png"});
    let mut states = reader().polled(envelope(&json!({"data": [item]})));
    let Some(State::Unusable(error)) = states.take(key(A)) else {
        panic!("no doubt")
    };
    assert_eq!(error.charge(), None);
}

#[test]
fn mere_words_prove_nothing() {
    let state = |item: Value| {
        reader()
            .polled(envelope(&json!({"data": [item]})))
            .take(key(A))
            .unwrap()
    };
    let queue = json!({"taskUUID": A, "status": "processing", "error": "queue is long"});
    assert!(matches!(state(queue), State::Running));
    let words = json!({"taskUUID": A, "error": "request timed out, task continues"});
    let State::Unusable(error) = state(words) else {
        panic!("settled")
    };
    assert_eq!(error.charge(), None);
    let archived =
        json!({"data": [{"taskUUID": A, "response": {"errors": ["timed out; the task goes on"]}}]});
    assert!(matches!(
        reader().archived(envelope(&archived)).take(key(A)),
        Some(State::Running)
    ));
}

#[test]
fn of_two_statements_the_larger_cost_counts() {
    let with = json!({"code": "providerError", "taskUUID": A, "status": "error", "cost": 0.5});
    let without = json!({"code": "providerError", "taskUUID": A, "status": "error"});
    for errors in [json!([with, without]), json!([without, with])] {
        let mut states = reader().polled(envelope(&json!({"data": [], "errors": errors})));
        let Some(State::Failed(error)) = states.take(key(A)) else {
            panic!("no failure")
        };
        assert_eq!(error.cost, Some(0.5));
    }
}
