//! Every documented answer, from the wire to the file.

use media_core::{CostBasis, ErrorKind, MediaRequest};
use provider_runware::{Mode, Output, WhenFlagged};
use serde_json::{Value, json};

use crate::fake::{Base, Fake, MP3, Reply, WEBP, ack, done, error, key, kind, processing};

/// A fake whose answers need its own address.
macro_rules! fake {
    (|$base:ident, $call:ident, $tasks:ident| $body:expr) => {{
        let base = Base::default();
        let inner = base.clone();
        let fake = Fake::start(move |$call, $tasks| {
            let $base = &inner.get();
            // Not every answer holds a link.
            let _ = $base;
            $body
        })
        .await;
        base.set(&fake);
        fake
    }};
}
pub(crate) use fake;

/// Sync mode.
fn sync(config: &mut provider_runware::RunwareConfig) {
    config.delivery.mode = Mode::Sync;
}

#[tokio::test]
async fn sync_delivery_of_a_link() {
    let fake = fake!(|base, _call, tasks| Reply::data(vec![done(base, &tasks[0])]));
    let result = fake.one(sync).await;
    let file = result.outcome.unwrap();
    assert_eq!(std::fs::read(&file.path).unwrap(), WEBP);
    assert_eq!(fake.files(), ["dog.webp"]);
    let cost = result.cost.unwrap();
    assert_eq!((cost.usd.micros(), cost.basis), (600, CostBasis::Reported));
    assert_eq!(result.provenance.seed, Some(126_128_181));
    assert!(result.provenance.remote_id.unwrap().starts_with("image-"));
    let calls = fake.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0][0]["deliveryMethod"], "sync");
    assert_eq!(calls[0][0]["includeCost"], true);
}

#[tokio::test]
async fn async_delivery_is_acknowledged_polled_and_downloaded() {
    let fake = fake!(|base, call, tasks| match call {
        1 => Reply::data(vec![ack(&tasks[0])]),
        2 => Reply::data(vec![]),
        3 => Reply::data(vec![processing(&tasks[0])]),
        _ => Reply::data(vec![processing(&tasks[0]), done(base, &tasks[0])]),
    });
    let result = fake.one(|_| ()).await;
    assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), WEBP);
    let calls = fake.calls();
    assert_eq!(calls.len(), 4);
    assert_eq!(calls[0][0]["deliveryMethod"], "async");
    for poll in &calls[1..] {
        assert_eq!(
            poll,
            &[json!({"taskType": "getResponse", "taskUUID": calls[0][0]["taskUUID"]})]
        );
    }
}

#[tokio::test]
async fn speech() {
    let fake = fake!(|base, call, tasks| match call {
        1 => Reply::data(vec![
            json!({"taskType": "audioInference", "taskUUID": key(&tasks[0])})
        ]),
        _ => Reply::data(vec![
            json!({"taskType": "audioInference", "taskUUID": key(&tasks[0]), "status": "success",
            "audioUUID": "a1", "audioURL": format!("{base}/media/a1.mp3")})
        ]),
    });
    let client = fake.client(|_| ());
    let result = client
        .generate(MediaRequest::audio("hola", fake.folder.path().join("hola.mp3")))
        .await;
    assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), MP3);
    assert_eq!(result.provenance.remote_id.as_deref(), Some("a1"));
    // No price is known and none was reported: then nobody knows.
    assert_eq!(result.cost, None);
    assert_eq!(
        fake.calls()[0][0]["speech"],
        json!({"text": "hola", "voice": "Diego"})
    );
}

/// A batch whose results come out of order, with errors beside them, under any status.
#[tokio::test]
async fn one_body_holds_results_and_errors_of_different_tasks() {
    for status in [200, 400, 500] {
        let fake = fake!(|base, call, tasks| {
            if call == 1 {
                return Reply::data(vec![done(base, &tasks[0])]);
            }
            let content = |task: &&Value| task["positivePrompt"] == "a pig";
            let mut data: Vec<Value> = tasks
                .iter()
                .filter(|task| !content(task))
                .map(|task| done(base, task))
                .collect();
            data.reverse();
            let errors: Vec<Value> = tasks
                .iter()
                .filter(content)
                .map(|task| error("contentPolicyViolation", task))
                .collect();
            Reply::json(status, &json!({"data": data, "errors": errors}))
        });
        let client = fake.client(sync);
        let names = ["dog", "cat", "pig", "cow", "hen"];
        let results = fake
            .all(&client, names.map(|name| fake.picture(name)).to_vec())
            .await;
        for (name, result) in names.iter().zip(results) {
            if *name == "pig" {
                let error = result.outcome.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ContentRejected, "{status}");
                assert_eq!(error.charge(), Some(media_core::Charge::None), "{status}");
                assert_eq!(error.code(), Some("contentPolicyViolation"));
            } else {
                let remote = result.provenance.remote_id.clone().unwrap();
                assert!(result.outcome.is_ok(), "{status} {name}");
                let sent = fake.calls().concat();
                let task = sent
                    .iter()
                    .find(|task| task["positivePrompt"] == format!("a {name}"))
                    .unwrap();
                assert_eq!(remote, format!("image-{}", key(task)), "each got its own");
            }
        }
        let sizes: Vec<usize> = fake.calls().iter().map(Vec::len).collect();
        assert_eq!(
            sizes,
            [1, 4],
            "the first of a model goes alone, the others together"
        );
    }
}

#[tokio::test]
async fn base64_comes_out_of_the_answer() {
    // Both documented fields, in sync and in async delivery.
    for (mode, field, head) in [
        (Mode::Sync, "imageBase64Data", ""),
        (Mode::Async, "imageDataURI", "data:image/webp;base64,"),
    ] {
        let fake = fake!(|_base, _call, tasks| {
            if kind(tasks) == "imageInference" && mode == Mode::Async {
                return Reply::data(tasks.iter().map(ack).collect());
            }
            Reply::data(
                tasks
                    .iter()
                    .map(|task| {
                        let mut item = json!({"taskUUID": key(task), "status": "success", "imageUUID": "i"});
                        item[field] = format!("{head}{}", base64(WEBP)).into();
                        item
                    })
                    .collect(),
            )
        });
        let client = fake.client(|config| {
            config.delivery.mode = mode;
            config.delivery.output = Output::Base64;
        });
        let results = fake
            .all(
                &client,
                ["dog", "cat", "pig"].map(|name| fake.picture(name)).to_vec(),
            )
            .await;
        for result in results {
            assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), WEBP);
        }
        assert_eq!(fake.files(), ["cat.webp", "dog.webp", "pig.webp"]);
        assert_eq!(fake.calls()[0][0]["outputType"], "base64Data");
    }
}

#[tokio::test]
async fn a_result_told_twice_is_one_result() {
    let fake = fake!(|base, _call, tasks| Reply::data(vec![done(base, &tasks[0]), done(base, &tasks[0])]));
    assert!(fake.one(sync).await.outcome.is_ok());
    assert_eq!(fake.files(), ["dog.webp"]);
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test]
async fn a_flagged_picture() {
    let handler = |base: &str, task: &Value| {
        let mut item = done(base, task);
        item["NSFWContent"] = true.into();
        Reply::data(vec![item])
    };
    let fake = fake!(|base, _call, tasks| handler(base, &tasks[0]));
    let result = fake.one(sync).await;
    assert!(result.outcome.is_ok());
    assert!(
        result
            .provenance
            .warnings
            .iter()
            .any(|warning| warning.contains("flagged"))
    );
    let fake = fake!(|base, _call, tasks| handler(base, &tasks[0]));
    let result = fake
        .one(|config| {
            sync(config);
            config.image.when_flagged = WhenFlagged::Reject;
        })
        .await;
    let error = result.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRejected);
    assert_eq!(error.charge(), Some(media_core::Charge::Certain));
    assert!(fake.files().is_empty());
}

/// Every class of error of a single task, as the whole answer.
#[tokio::test]
async fn errors_of_a_task() {
    for (status, code, expected) in [
        (400, "invalidPositivePrompt", ErrorKind::InvalidRequest),
        (404, "modelNotFound", ErrorKind::Config),
        (400, "contentPolicyViolation", ErrorKind::ContentRejected),
        (403, "insufficientPermissions", ErrorKind::PermissionDenied),
        (402, "insufficientCredits", ErrorKind::InsufficientCredit),
        (400, "thirdPartyInsufficientCredits", ErrorKind::PermissionDenied),
        (400, "neverSeenBefore", ErrorKind::ProviderFault),
    ] {
        let fake = fake!(|_base, _call, tasks| Reply::errors(status, vec![error(code, &tasks[0])]));
        let result = fake.one(|_| ()).await;
        let error = result.outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.charge()),
            (expected, Some(media_core::Charge::None)),
            "{code}"
        );
        assert!(error.to_string().contains(&format!("About {code}.")), "{error}");
        assert_eq!(fake.calls().len(), 1, "{code} is not tried again");
    }
}

#[tokio::test]
async fn errors_of_the_request() {
    for (status, body, expected) in [
        (
            401,
            json!({"errors": [{"code": "invalidApiKey", "message": "Bad.", "parameter": "apiKey"}]}),
            ErrorKind::Authentication,
        ),
        (
            400,
            json!({"error": {"code": "invalidRequest", "message": "Bad."}}),
            ErrorKind::InvalidRequest,
        ),
        (403, json!({"message": "Forbidden"}), ErrorKind::PermissionDenied),
        (
            402,
            json!({"error": [{"code": "insufficientCredits"}]}),
            ErrorKind::InsufficientCredit,
        ),
    ] {
        let sent = body.clone();
        let fake = fake!(|_base, _call, _tasks| Reply::json(status, &sent));
        let error = fake.one(|_| ()).await.outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.charge()),
            (expected, Some(media_core::Charge::None)),
            "{body}"
        );
        assert_eq!(fake.calls().len(), 1);
    }
}

#[tokio::test]
async fn no_credit_stops_the_lane() {
    let fake = fake!(|base, call, tasks| match call {
        1 => Reply::data(vec![done(base, &tasks[0])]),
        _ => Reply::errors(
            402,
            tasks
                .iter()
                .map(|task| error("insufficientCredits", task))
                .collect()
        ),
    });
    let client = fake.client(sync);
    let requests = (0..40).map(|n| fake.picture(&format!("dog{n}"))).collect();
    let results = fake.all(&client, requests).await;
    assert!(results[0].outcome.is_ok());
    for result in &results[1..] {
        let error = result.outcome.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InsufficientCredit);
        assert_eq!(error.charge(), Some(media_core::Charge::None));
    }
    assert_eq!(fake.calls().len(), 2, "nothing is sent after the first refusal");
}

/// Services echo keys; nothing that is shown may hold ours.
#[tokio::test]
async fn the_key_is_never_shown() {
    let fake = fake!(|_base, _call, _tasks| Reply::json(
        401,
        &json!({"errors": [{"code": "invalidApiKey",
        "message": format!("the key {} is bad", crate::fake::KEY)}]})
    ));
    let error = fake.one(|_| ()).await.outcome.unwrap_err();
    assert!(
        !format!("{error:?} {}", error.full()).contains(crate::fake::KEY),
        "{error:?}"
    );
    assert!(error.to_string().contains("[key]"));
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { letter.into() } else { '=' });
        }
    }
    text
}
