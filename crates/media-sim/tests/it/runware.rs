//! Runware: tasks one by one and mixed, sync and async, prices and balances, and every documented error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use media_sim::{RunwareKey, RunwareTrait, Shape, UnknownTask};
use serde_json::{Value, json};

use crate::check::{Bench, audible, bytes, json, picture};

fn uuid(number: u32) -> String {
    format!("11111111-1111-4111-8111-{number:012}")
}

fn task(number: u32, extra: &Value) -> Value {
    let mut task = json!({
        "taskType": "imageInference", "taskUUID": uuid(number), "model": "runware:100@1",
        "positivePrompt": "red apple on white", "width": 256, "height": 128,
    });
    for (name, value) in extra.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_picture_comes_by_link_in_each_format() {
    let bench = Bench::new().await;
    for (index, (format, known, mime, end)) in [
        ("JPG", ImageFormat::Jpeg, "image/jpeg", ".jpg"),
        ("png", ImageFormat::Png, "image/png", ".png"),
        ("WEBP", ImageFormat::WebP, "image/webp", ".webp"),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = task(
            index as u32,
            &json!({"outputFormat": format, "includeCost": true}),
        );
        let (status, answer) = json(bench.runware(&json!([sent]))).await;
        assert_eq!(status, 200, "{answer}");
        let item = &answer["data"][0];
        assert_eq!(item["taskUUID"], sent["taskUUID"]);
        assert_eq!(item["cost"], 0.0006);
        assert_eq!(item.get("status"), None);
        assert!(item["seed"].as_u64().is_some());
        let link = item["imageURL"].as_str().unwrap();
        assert!(link.ends_with(end));
        let (status, kind, file) = bytes(bench.get(link)).await;
        assert_eq!(
            (status, kind.as_str(), picture(&file)),
            (200, mime, (known, 256, 128))
        );
        let charge = &bench.sim.bill().charges[index];
        assert_eq!(
            (charge.key.as_str(), charge.delivered, charge.usd),
            (uuid(index as u32).as_str(), 1, 0.0006)
        );
    }
    assert_eq!(bench.sim.bill().total_usd, 0.0018);
}

#[tokio::test]
async fn equal_seeds_give_equal_files() {
    let bench = Bench::new().await;
    let mut files = Vec::new();
    for (number, seed) in [(1, 7), (2, 7), (3, 8)] {
        let sent = task(number, &json!({"seed": seed, "outputType": "base64Data"}));
        let (_, answer) = json(bench.runware(&json!([sent]))).await;
        assert_eq!(answer["data"][0]["seed"], seed);
        files.push(
            STANDARD
                .decode(answer["data"][0]["imageBase64Data"].as_str().unwrap())
                .unwrap(),
        );
    }
    assert!(files[0] == files[1] && files[1] != files[2]);
    assert!(
        bench
            .sim
            .bill()
            .charges
            .iter()
            .all(|charge| charge.delivered == 1)
    );
    let (_, answer) = json(bench.runware(&json!([task(4, &json!({"outputType": "dataURI"}))]))).await;
    assert!(
        answer["data"][0]["imageDataURI"]
            .as_str()
            .unwrap()
            .starts_with("data:image/jpeg;base64,/9j/")
    );
}

#[tokio::test]
async fn several_results_have_one_task_and_one_charge() {
    let bench = Bench::new().await;
    let (_, answer) = json(bench.runware(&json!([task(1, &json!({"numberResults": 3}))]))).await;
    let items = answer["data"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(items.iter().all(|item| item["taskUUID"] == uuid(1)));
    assert_ne!(items[0]["imageUUID"], items[1]["imageUUID"]);
    for (index, item) in items.iter().enumerate() {
        assert_eq!(bench.sim.bill().charges[0].delivered, 0, "{index}");
        bytes(bench.get(item["imageURL"].as_str().unwrap())).await;
    }
    let charge = &bench.sim.bill().charges[0];
    assert_eq!((charge.delivered, charge.usd), (1, 0.0018));
}

#[tokio::test]
async fn wrong_tasks_get_codes_and_leave_no_trace() {
    let bench = Bench::new().await;
    for (extra, status, expected) in [
        (json!({"taskType": null}), 400, "missingTaskType"),
        (json!({"taskType": "videoInference"}), 400, "unsupportedTaskType"),
        (json!({"taskUUID": null}), 400, "missingTaskUUID"),
        (json!({"taskUUID": "1"}), 400, "invalidTaskUUID"),
        (
            json!({"taskUUID": "11111111-1111-1111-8111-000000000001"}),
            400,
            "invalidTaskUUID",
        ),
        (json!({"model": null}), 400, "missingModel"),
        (json!({"model": "flux"}), 400, "invalidModel"),
        (json!({"model": "runware:1@1"}), 404, "modelNotFound"),
        (json!({"model": "inworld:tts@2"}), 400, "unsupportedTaskType"),
        (json!({"positivePrompt": null}), 400, "missingPositivePrompt"),
        (json!({"positivePrompt": "x"}), 400, "invalidPositivePromptLength"),
        (
            json!({"positivePrompt": "x".repeat(3001)}),
            400,
            "invalidPositivePromptLength",
        ),
        (json!({"width": 100}), 400, "invalidWidth"),
        (json!({"width": 200}), 400, "invalidWidth"),
        (json!({"height": 4096}), 400, "invalidHeight"),
        (json!({"height": "256"}), 400, "invalidHeight"),
        (json!({"steps": 0}), 400, "invalidSteps"),
        (json!({"CFGScale": 51}), 400, "invalidCFGScale"),
        (json!({"seed": 0}), 400, "invalidSeed"),
        (json!({"numberResults": 21}), 400, "invalidNumberResults"),
        (json!({"outputQuality": 100}), 400, "invalidOutputQuality"),
        (json!({"outputType": "url"}), 400, "invalidOutputType"),
        (json!({"outputFormat": "GIF"}), 400, "invalidOutputFormat"),
        (json!({"deliveryMethod": "later"}), 400, "invalidDeliveryMethod"),
        (json!({"ttl": 30}), 400, "invalidTtl"),
        (json!({"ttl": 90, "outputType": "base64Data"}), 400, "invalidTtl"),
        (json!({"includeCost": "yes"}), 400, "invalidIncludeCost"),
        (json!({"size": "256x256"}), 400, "unknownParameter"),
        (
            json!({"model": "openai:gpt-image@2", "width": 1024, "height": 1024, "steps": 4}),
            400,
            "unsupportedParameter",
        ),
        (
            json!({"webhookURL": "http://127.0.0.1/"}),
            400,
            "unsupportedParameter",
        ),
    ] {
        let (got, answer) = json(bench.runware(&json!([task(1, &extra)]))).await;
        assert_eq!((got, code(&answer)), (status, expected), "{extra} {answer}");
        assert_eq!(answer["data"], json!([]));
        assert!(answer["errors"][0]["message"].is_string());
    }
    let mut bare = task(1, &json!({}));
    bare.as_object_mut().unwrap().remove("width");
    let (_, answer) = json(bench.runware(&json!([bare]))).await;
    assert_eq!(code(&answer), "missingDimensionParameters");
    assert_eq!(
        answer["errors"][0]["parameter"],
        json!(["width", "height", "referenceImages"])
    );
    assert!(bench.sim.bill().charges.is_empty());
    // The UUID is still unused.
    assert_eq!(json(bench.runware(&json!([task(1, &json!({}))]))).await.0, 200);
}

#[tokio::test]
async fn a_used_uuid_is_a_conflict_in_any_spelling() {
    let bench = Bench::new().await;
    let lower = "abcdefab-1111-4111-8111-abcdefabcdef";
    assert_eq!(
        json(bench.runware(&json!([task(1, &json!({"taskUUID": lower}))])))
            .await
            .0,
        200
    );
    for again in [lower.to_owned(), lower.to_uppercase()] {
        let (status, answer) = json(bench.runware(&json!([task(1, &json!({"taskUUID": again}))]))).await;
        assert_eq!((status, code(&answer)), (400, "conflictTaskUUID"));
    }
    assert_eq!(bench.sim.bill().charges.len(), 1);
}

#[tokio::test]
async fn one_body_holds_results_and_errors() {
    for status in [200, 400] {
        let bench = Bench::with(|scenario| scenario.runware.mixed_status = status).await;
        let tasks = json!([
            task(1, &json!({})),
            task(2, &json!({"steps": 0})),
            task(1, &json!({})),
            task(3, &json!({}))
        ]);
        let (got, answer) = json(bench.runware(&tasks)).await;
        assert_eq!(got, status);
        let uuids = |list: &str| -> Vec<String> {
            let items = answer[list].as_array().unwrap();
            items
                .iter()
                .map(|item| item["taskUUID"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(uuids("data"), [uuid(1), uuid(3)]);
        assert_eq!(uuids("errors"), [uuid(2), uuid(1)]);
        assert_eq!(answer["errors"][1]["code"], "conflictTaskUUID");
        assert_eq!(bench.sim.bill().charges.len(), 2);
    }
}

#[tokio::test]
async fn async_tasks_are_polled() {
    let bench = Bench::with(|scenario| scenario.runware.latency_ms.image = 60_000).await;
    let sent = task(
        1,
        &json!({"deliveryMethod": "async", "numberResults": 2, "includeCost": true}),
    );
    let (status, ack) = json(bench.runware(&json!([sent]))).await;
    assert_eq!(
        (status, &ack),
        (
            200,
            &json!({"data": [{"taskType": "imageInference", "taskUUID": uuid(1)}]})
        )
    );
    let poll = json!([{"taskType": "getResponse", "taskUUID": uuid(1)}]);
    let statuses = |answer: &Value| -> Vec<String> {
        answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["status"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, answer) = json(bench.runware(&poll)).await;
    assert_eq!(statuses(&answer), ["processing", "processing"]);
    bench.sim.advance(std::time::Duration::from_secs(61));
    let (_, answer) = json(bench.runware(&poll)).await;
    assert_eq!(statuses(&answer), ["success", "processing"]);
    bench.sim.advance(std::time::Duration::from_secs(60));
    let (_, answer) = json(bench.runware(&poll)).await;
    assert_eq!(statuses(&answer), ["success", "success"]);
    assert_eq!(answer["data"][0]["taskType"], "imageInference");
    assert_eq!(answer["data"][0]["cost"], 0.0006);
    assert_eq!(
        bytes(bench.get(answer["data"][1]["imageURL"].as_str().unwrap()))
            .await
            .0,
        200
    );
    assert_eq!(bench.sim.bill().charges.len(), 1);
}

#[tokio::test]
async fn sync_tasks_are_in_the_archive_only() {
    for (unknown, status) in [(UnknownTask::Empty, 200), (UnknownTask::NotFound, 404)] {
        let bench = Bench::with(|scenario| scenario.runware.unknown_task = unknown).await;
        json(bench.runware(&json!([task(1, &json!({}))]))).await;
        for sought in [1, 2] {
            let poll = json!([{"taskType": "getResponse", "taskUUID": uuid(sought)}]);
            let (got, answer) = json(bench.runware(&poll)).await;
            assert_eq!((got, &answer["data"]), (status, &json!([])));
        }
        let ask = json!([{"taskType": "getTaskDetails", "taskUUID": uuid(1)}]);
        let (_, answer) = json(bench.runware(&ask)).await;
        let item = &answer["data"][0];
        assert_eq!(item["request"][0]["positivePrompt"], "red apple on white");
        let link = item["response"]["data"][0]["imageURL"].as_str().unwrap();
        assert_eq!(bytes(bench.get(link)).await.0, 200);
    }
}

#[tokio::test]
async fn another_accounts_tasks_cannot_be_seen() {
    let bench =
        Bench::with(|scenario| scenario.runware.keys.push(RunwareKey::new("other", 10.0, vec![]))).await;
    json(bench.runware(&json!([task(1, &json!({}))]))).await;
    let ask = json!([{"taskType": "authentication", "apiKey": "other"}, {"taskType": "getTaskDetails", "taskUUID": uuid(1)}]);
    let url = format!("{}/runware/v1", bench.sim.url());
    let (_, answer) = json(bench.client.post(url).json(&ask)).await;
    assert_eq!(answer["data"].as_array().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn keys_come_by_header_or_as_first_element() {
    let bench = Bench::new().await;
    let url = format!("{}/runware/v1", bench.sim.url());
    let ping = json!([{"taskType": "ping", "ping": true}]);
    let (status, answer) = json(bench.client.post(&url).json(&ping)).await;
    assert_eq!((status, code(&answer)), (401, "missingApiKey"));
    let (status, answer) = json(bench.client.post(&url).bearer_auth("bad").json(&ping)).await;
    assert_eq!((status, code(&answer)), (401, "invalidApiKey"));
    assert_eq!(
        json(bench.runware(&ping)).await,
        (200, json!({"data": [{"taskType": "ping", "pong": true}]}))
    );
    let login = json!([{"taskType": "authentication", "apiKey": "sim-runware"}]);
    let (status, answer) = json(bench.client.post(&url).json(&login)).await;
    assert!(status == 200 && answer["data"][0]["connectionSessionUUID"].is_string());
    for body in [json!({"taskType": "ping"}), json!([]), json!(null)] {
        assert_eq!(json(bench.runware(&body)).await.0, 400);
    }
}

#[tokio::test]
async fn money_runs_out() {
    let bench = Bench::with(|scenario| {
        scenario.runware.keys = vec![
            RunwareKey::new("sim-runware", 0.0013, vec![]),
            RunwareKey::new(
                "locked",
                10.0,
                vec![RunwareTrait::NoInference, RunwareTrait::NoAccount],
            ),
        ];
        scenario.runware.balance_shape = Shape::Object;
    })
    .await;
    let partner = json!({"model": "bfl:5@1"});
    let (status, answer) = json(bench.runware(&json!([task(9, &partner)]))).await;
    assert_eq!((status, code(&answer)), (400, "thirdPartyInsufficientCredits"));
    let tasks: Vec<Value> = (0..3).map(|number| task(number, &json!({}))).collect();
    let (status, answer) = json(bench.runware(&json!(tasks))).await;
    assert_eq!((status, code(&answer)), (200, "insufficientCredits"));
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(json(bench.runware(&json!([task(5, &json!({}))]))).await.0, 402);
    let ask = json!({"taskType": "accountManagement", "taskUUID": uuid(7), "operation": "getDetails"});
    let (_, answer) = json(bench.runware(&json!([ask]))).await;
    assert_eq!(answer["data"][0]["balance"]["amount"], 0.0001);
    let url = format!("{}/runware/v1", bench.sim.url());
    for request in [json!([task(8, &json!({}))]), json!([ask])] {
        let (status, _) = json(bench.client.post(&url).bearer_auth("locked").json(&request)).await;
        assert_eq!(status, 403);
    }
}

#[tokio::test]
async fn content_is_checked() {
    let bench = Bench::new().await;
    let (status, answer) = json(bench.runware(&json!([task(1, &json!({"positivePrompt": "gore"}))]))).await;
    assert_eq!((status, code(&answer)), (400, "contentPolicyViolation"));
    assert!(bench.sim.bill().charges.is_empty());
    let checked = |number, prompt: &str| {
        task(
            number,
            &json!({"positivePrompt": prompt, "safety": {"checkContent": true}}),
        )
    };
    let (_, answer) = json(bench.runware(&json!([checked(2, "a nude"), checked(3, "an apple")]))).await;
    assert_eq!(
        (
            &answer["data"][0]["NSFWContent"],
            &answer["data"][1]["NSFWContent"]
        ),
        (&json!(true), &json!(false))
    );
    // The refused one is known: its UUID is used, and its error can be polled for.
    let sent = task(4, &json!({"positivePrompt": "bloody", "deliveryMethod": "async"}));
    assert_eq!(json(bench.runware(&json!([sent]))).await.0, 200);
    let (_, answer) = json(bench.runware(&json!([{"taskType": "getResponse", "taskUUID": uuid(4)}]))).await;
    assert_eq!(
        (code(&answer), &answer["errors"][0]["status"]),
        ("contentPolicyViolation", &json!("error"))
    );
}

#[tokio::test]
async fn limits_are_enforced() {
    let bench = Bench::with(|scenario| {
        scenario.runware.limits.concurrency = 1;
        scenario.runware.limits.queue = 2;
        scenario.runware.latency_ms.image = 400;
    })
    .await;
    let (one, two) = (json!([task(1, &json!({}))]), json!([task(2, &json!({}))]));
    let ((first, _), (second, answer)) = tokio::join!(json(bench.runware(&one)), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        json(bench.runware(&two)).await
    });
    assert_eq!((first, second, code(&answer)), (200, 429, "rateLimitExceeded"));
    let many: Vec<Value> = (10..13)
        .map(|number| task(number, &json!({"deliveryMethod": "async"})))
        .collect();
    let (_, answer) = json(bench.runware(&json!(many))).await;
    assert_eq!(
        (answer["data"].as_array().unwrap().len(), code(&answer)),
        (2, "inferenceRateLimitExceeded")
    );
}

#[tokio::test]
async fn links_expire_and_take_no_key() {
    let bench = Bench::new().await;
    let (_, answer) = json(bench.runware(&json!([task(1, &json!({"ttl": 60}))]))).await;
    let link = answer["data"][0]["imageURL"].as_str().unwrap();
    assert_eq!(bytes(bench.get(link).bearer_auth("sim-runware")).await.0, 400);
    assert_eq!(bench.sim.calls().last().unwrap().status, 400);
    assert_eq!(bytes(bench.get(link)).await.0, 200);
    bench.sim.advance(std::time::Duration::from_secs(61));
    assert_eq!(bytes(bench.get(link)).await.0, 404);
}

#[tokio::test]
async fn speech_comes_in_each_format() {
    let bench = Bench::new().await;
    for (number, (format, mime)) in [
        ("MP3", "audio/mpeg"),
        ("WAV", "audio/wav"),
        ("flac", "audio/flac"),
        ("OGG", "audio/ogg"),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = json!({
            "taskType": "audioInference", "taskUUID": uuid(number as u32), "model": "inworld:tts@2",
            "speech": {"text": "The kettle is on.", "voice": "Ashley"}, "outputFormat": format, "includeCost": true});
        let (status, answer) = json(bench.runware(&json!([sent]))).await;
        assert_eq!(status, 200, "{answer}");
        let item = &answer["data"][0];
        assert!(item["audioUUID"].is_string() && item["cost"].as_f64() > Some(0.0));
        let (_, kind, sound) = bytes(bench.get(item["audioURL"].as_str().unwrap())).await;
        assert_eq!(kind, mime);
        audible(&sound, &format.to_lowercase());
    }
    let sent = json!({"taskType": "audioInference", "taskUUID": uuid(9), "model": "inworld:tts@2",
        "speech": {"text": "The kettle is on."}});
    assert_eq!(
        code(&json(bench.runware(&json!([sent]))).await.1),
        "missingSpeechVoice"
    );
}
