//! OpenAI: pictures, models, keys, limits, and every documented error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use media_sim::{OpenAiKey, OpenAiTrait};
use serde_json::{Value, json};

use crate::check::{Bench, bytes, json, json_of, picture};

fn image(extra: &Value) -> Value {
    let mut body =
        json!({"model": "gpt-image-2", "prompt": "a red kettle", "size": "1024x1024", "quality": "low"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Status, type, code and param of an error.
fn error(status: u16, body: &Value) -> (u16, &str, Option<&str>, Option<&str>) {
    let error = &body["error"];
    assert!(error["message"].is_string(), "{body}");
    (
        status,
        error["type"].as_str().unwrap(),
        error["code"].as_str(),
        error["param"].as_str(),
    )
}

#[tokio::test]
async fn a_picture_comes_in_the_size_and_format_asked_for_and_is_billed_by_tokens() {
    let bench = Bench::new().await;
    for (format, known) in [
        ("png", ImageFormat::Png),
        ("jpeg", ImageFormat::Jpeg),
        ("webp", ImageFormat::WebP),
    ] {
        let body = image(&json!({"output_format": format, "size": "1024x768"}));
        let (status, answer) = json(bench.openai("/images/generations", &body)).await;
        assert_eq!(status, 200, "{answer}");
        let file = STANDARD
            .decode(answer["data"][0]["b64_json"].as_str().unwrap())
            .unwrap();
        assert_eq!(picture(&file), (known, 1024, 768));
        assert_eq!(answer["output_format"], format);
        assert_eq!(answer["size"], "1024x768");
        assert_eq!(answer["quality"], "low");
        assert_eq!(answer["background"], "opaque");
        assert_eq!(answer["data"][0].get("url"), None);
        assert_eq!(answer["usage"]["input_tokens"], 3);
        assert_eq!(answer["usage"]["output_tokens"], 147);
    }
    let bill = bench.sim.bill();
    assert_eq!(bill.charges.len(), 3);
    assert!(
        bill.charges
            .iter()
            .all(|charge| charge.delivered == 1 && charge.provider == "openai")
    );
    assert!((bill.total_usd - 3.0 * (3.0 * 5.0 + 147.0 * 30.0) / 1e6).abs() < 1e-9);
}

#[tokio::test]
async fn several_pictures_are_one_charge_and_differ() {
    let bench = Bench::new().await;
    let (status, answer) = json(bench.openai("/images/generations", &image(&json!({"n": 3})))).await;
    assert_eq!(status, 200);
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 3);
    assert_ne!(data[0], data[1]);
    assert_eq!(answer["usage"]["output_tokens"], 3 * 196);
    assert_eq!(bench.sim.bill().charges.len(), 1);
}

#[tokio::test]
async fn the_answer_carries_ids_and_levels() {
    let bench = Bench::new().await;
    let response = bench
        .openai("/images/generations", &image(&json!({})))
        .send()
        .await
        .unwrap();
    let headers = response.headers().clone();
    assert!(headers["x-request-id"].to_str().unwrap().starts_with("req_"));
    assert_eq!(headers["openai-version"], "2020-10-01");
    assert_eq!(headers["x-ratelimit-limit-requests"], "3000");
    assert_eq!(headers["x-ratelimit-remaining-input-images"], "2999");
    assert_eq!(headers["x-ratelimit-reset-requests"], "20ms");
    assert_eq!(
        bench.sim.bill().charges[0].key,
        headers["x-request-id"].to_str().unwrap()
    );
}

#[tokio::test]
async fn wrong_parameters_get_the_documented_codes() {
    let bench = Bench::new().await;
    let long = "x".repeat(32_001);
    let user = "image_generation_user_error";
    let request = "invalid_request_error";
    for (extra, kind, code, param) in [
        (
            json!({"response_format": "b64_json"}),
            request,
            "unknown_parameter",
            "response_format",
        ),
        (json!({"style": "vivid"}), request, "unknown_parameter", "style"),
        (
            json!({"complexity": "low"}),
            request,
            "unknown_parameter",
            "complexity",
        ),
        (json!({"seed": 1}), request, "unknown_parameter", "seed"),
        (json!({"size": "1000x1000"}), user, "invalid_value", "size"),
        (json!({"size": "512x512"}), user, "invalid_value", "size"),
        (json!({"size": "4096x1024"}), user, "invalid_value", "size"),
        (json!({"size": "big"}), user, "invalid_value", "size"),
        (json!({"size": 1024}), request, "invalid_type", "size"),
        (json!({"quality": "xhigh"}), request, "invalid_value", "quality"),
        (json!({"n": 0}), request, "integer_below_min_value", "n"),
        (json!({"n": 11}), request, "integer_above_max_value", "n"),
        (json!({"n": "1"}), request, "invalid_type", "n"),
        (
            json!({"prompt": long}),
            request,
            "string_above_max_length",
            "prompt",
        ),
        (
            json!({"prompt": null}),
            request,
            "missing_required_parameter",
            "prompt",
        ),
        (
            json!({"output_format": "gif"}),
            request,
            "invalid_value",
            "output_format",
        ),
        (
            json!({"output_format": "jpeg", "background": "transparent"}),
            user,
            "invalid_value",
            "background",
        ),
        (
            json!({"output_compression": 50}),
            user,
            "invalid_value",
            "output_compression",
        ),
        (
            json!({"partial_images": 1}),
            request,
            "invalid_value",
            "partial_images",
        ),
        (json!({"model": "dall-e-3"}), user, "invalid_value", "model"),
        (json!({"model": "gpt-image-1"}), user, "invalid_value", "model"),
        (json!({"model": "tts-1"}), user, "invalid_value", "model"),
        (json!({"model": null}), user, "invalid_value", "model"),
        (
            json!({"model": "gpt-image-1.5", "size": "1024x768"}),
            user,
            "invalid_value",
            "size",
        ),
        (
            json!({"model": "gpt-image-2.6-flare", "output_format": "svg"}),
            user,
            "invalid_value",
            "output_format",
        ),
        (json!({"prompt": "a Bloody mess"}), user, "moderation_blocked", ""),
    ] {
        let (status, answer) = json(bench.openai("/images/generations", &image(&extra))).await;
        let param = (!param.is_empty()).then_some(param);
        assert_eq!(error(status, &answer), (400, kind, Some(code), param), "{extra}");
    }
    assert!(bench.sim.bill().charges.is_empty());
}

#[tokio::test]
async fn newer_models_take_more() {
    let bench = Bench::new().await;
    for extra in [
        json!({"model": "gpt-image-2.5-flare", "quality": "max"}),
        json!({"model": "gpt-image-2.6-flare", "quality": "xhigh", "complexity": "high", "moderation": "low"}),
        json!({"background": "transparent", "size": "auto", "quality": "auto", "user": "u"}),
        json!({"output_format": "jpeg", "output_compression": 60, "safety_identifier": "s"}),
    ] {
        let (status, answer) = json(bench.openai("/images/generations", &image(&extra))).await;
        assert_eq!(status, 200, "{extra} {answer}");
        assert_ne!(answer["quality"], "auto");
    }
}

#[tokio::test]
async fn bodies_paths_and_methods_are_checked() {
    let bench = Bench::new().await;
    let url = format!("{}/openai/v1", bench.sim.url());
    let post = |path: &str| {
        bench
            .client
            .post(format!("{url}{path}"))
            .bearer_auth("sim-openai")
    };
    let cases = [
        (
            post("/images/generations")
                .header("content-type", "application/json")
                .body("{"),
            400,
        ),
        (post("/images/generations").body("{}"), 400),
        (post("/files").json(&json!({})), 400),
        (post("/fine_tuning/jobs").json(&json!({})), 404),
        (post("/images/variations").json(&json!({})), 404),
        (post("/models"), 405),
        (
            bench
                .get(&format!("{url}/images/generations"))
                .bearer_auth("sim-openai"),
            405,
        ),
    ];
    for (request, expected) in cases {
        let (status, answer) = json(request).await;
        assert_eq!(status, expected, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn keys_are_checked_before_anything_else() {
    let bench = Bench::new().await;
    let url = format!("{}/openai/v1/images/generations", bench.sim.url());
    let (status, answer) = json(bench.client.post(&url).json(&json!({"bad": 1}))).await;
    assert_eq!(error(status, &answer), (401, "invalid_request_error", None, None));
    let (status, answer) = json(
        bench
            .client
            .post(&url)
            .bearer_auth("sk-not-a-real-key-1234")
            .json(&json!({})),
    )
    .await;
    assert_eq!(
        error(status, &answer),
        (401, "invalid_request_error", Some("invalid_api_key"), None)
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Incorrect API key provided: sk-n**************1234."),
        "{message}"
    );
}

#[tokio::test]
async fn keys_have_traits() {
    let bench = Bench::with(|scenario| {
        for (key, what) in [
            ("scope", OpenAiTrait::NoImageScope),
            ("unverified", OpenAiTrait::Unverified),
            ("access", OpenAiTrait::NoModelAccess),
            ("credit", OpenAiTrait::NoCredit),
            ("exhausted", OpenAiTrait::CreditExhausted),
            ("cap", OpenAiTrait::SpendCap),
            ("hard", OpenAiTrait::HardLimit),
            ("free", OpenAiTrait::FreeTier),
            ("country", OpenAiTrait::UnsupportedCountry),
        ] {
            scenario.openai.keys.push(OpenAiKey::new(key, vec![what]));
        }
    })
    .await;
    let url = format!("{}/openai/v1", bench.sim.url());
    for (key, status, code) in [
        ("scope", 401, Some("insufficient_scope")),
        ("unverified", 403, None),
        ("access", 403, Some("model_not_found")),
        ("credit", 429, Some("insufficient_quota")),
        ("exhausted", 429, Some("credit_balance_exhausted")),
        ("cap", 429, Some("project_spend_limit_exceeded")),
        ("hard", 400, Some("billing_hard_limit_reached")),
        ("free", 429, Some("rate_limit_exceeded")),
        ("country", 403, Some("unsupported_country_region_territory")),
    ] {
        let post = |body: Value| {
            bench
                .client
                .post(format!("{url}/images/generations"))
                .bearer_auth(key)
                .json(&body)
        };
        let (got, answer) = json(post(image(&json!({})))).await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, code), "{key}");
        // Parameters come first.
        let (got, answer) = json(post(image(&json!({"size": "1x1"})))).await;
        assert_eq!(
            (got, answer["error"]["code"].as_str()),
            (400, Some("invalid_value")),
            "{key}"
        );
        // The list of models works with most of them, and proves nothing.
        let (got, _) = json(bench.get(&format!("{url}/models")).bearer_auth(key)).await;
        assert_eq!(got, if key == "country" { 403 } else { 200 }, "{key}");
    }
    assert!(bench.sim.bill().charges.is_empty());
}

#[tokio::test]
async fn models_tell_when_they_end() {
    let bench = Bench::new().await;
    let url = format!("{}/openai/v1/models", bench.sim.url());
    let get = |path: &str| bench.get(&format!("{url}{path}")).bearer_auth("sim-openai");
    let (status, list) = json(get("")).await;
    assert_eq!((status, &list["object"]), (200, &json!("list")));
    let find = |id: &str| {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["id"] == id)
    };
    assert_eq!(find("gpt-image-1.5").unwrap()["shutdown_date"], "2026-12-01");
    assert_eq!(find("gpt-image-2.6-flare").unwrap()["shutdown_date"], Value::Null);
    assert!(find("dall-e-3").is_none());
    let (status, model) = json(get("/gpt-image-2")).await;
    assert_eq!((status, &model["object"]), (200, &json!("model")));
    let (status, answer) = json(get("/dall-e-3")).await;
    assert_eq!(
        error(status, &answer),
        (
            404,
            "invalid_request_error",
            Some("model_not_found"),
            Some("model")
        )
    );
}

#[tokio::test]
async fn models_follow_the_clock_when_told_to() {
    let bench = Bench::with(|scenario| {
        scenario.clock.start_unix_ms = Some(1_796_083_200_000); // 2026-12-01
        scenario.openai.as_of = None;
    })
    .await;
    let url = format!("{}/openai/v1/models/gpt-image-1.5", bench.sim.url());
    assert_eq!(json(bench.get(&url).bearer_auth("sim-openai")).await.0, 404);
}

#[tokio::test]
async fn pictures_per_minute_are_enforced_with_headers() {
    let bench = Bench::with(|scenario| scenario.openai.limits.image.images_per_minute = 5).await;
    let send = |n: u64| {
        bench
            .openai("/images/generations", &image(&json!({"n": n})))
            .send()
    };
    assert_eq!(send(4).await.unwrap().status(), 200);
    let response = send(2).await.unwrap();
    let headers = response.headers().clone();
    assert_eq!(headers["retry-after"], "12");
    let wait: u64 = headers["retry-after-ms"].to_str().unwrap().parse().unwrap();
    assert!((11_000..=12_000).contains(&wait));
    assert_eq!(headers["x-ratelimit-limit-input-images"], "5");
    assert_eq!(headers["x-ratelimit-remaining-input-images"], "1");
    let (status, answer) = json_of(response).await;
    assert_eq!(error(status, &answer).2, Some("rate_limit_exceeded"));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("(for limit gpt-image)") && message.contains("Limit 5, Used 4, Requested 2"),
        "{message}"
    );
    // More than the bucket holds can never pass, and has no hint.
    let response = send(6).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers().get("retry-after")),
        (429, None)
    );
    assert!(response.text().await.unwrap().contains("Limit 5, Requested 6"));
    bench.sim.advance(std::time::Duration::from_millis(wait));
    assert_eq!(send(2).await.unwrap().status(), 200);
    assert_eq!(bench.sim.bill().charges.len(), 2);
}

#[tokio::test]
async fn too_many_at_once_is_slowed_down() {
    let bench = Bench::with(|scenario| {
        scenario.openai.limits.concurrency = 1;
        scenario.openai.latency_ms.image = 300;
    })
    .await;
    let body = image(&json!({}));
    let send = || json(bench.openai("/images/generations", &body));
    let ((first, _), (second, _)) = tokio::join!(send(), send());
    assert_eq!([first.min(second), first.max(second)], [200, 429]);
    assert_eq!(send().await.0, 200);
}

#[tokio::test]
async fn a_picture_can_be_refused_after_it_was_made_and_charged() {
    let bench = Bench::with(|scenario| scenario.openai.moderation_output = vec!["late".to_owned()]).await;
    let (status, answer) =
        json(bench.openai("/images/generations", &image(&json!({"prompt": "too late"})))).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("moderation_blocked"))
    );
    assert_eq!(
        answer["error"]["moderation_details"]["moderation_stage"],
        "output"
    );
    assert_eq!(bench.sim.bill().charges[0].delivered, 0);
}

#[tokio::test]
async fn a_stream_ends_with_the_picture() {
    let bench = Bench::new().await;
    let body = image(&json!({"stream": true, "partial_images": 2}));
    let (status, kind, body) = bytes(bench.openai("/images/generations", &body)).await;
    assert_eq!((status, kind.as_str()), (200, "text/event-stream; charset=utf-8"));
    let text = String::from_utf8(body).unwrap();
    let events: Vec<Value> = text
        .split("\n\n")
        .filter_map(|event| event.split_once("\ndata: "))
        .map(|(name, data)| {
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let partial = "image_generation.partial_image";
    assert_eq!(kinds, [partial, partial, "image_generation.completed"]);
    assert_eq!(events[1]["partial_image_index"], 1);
    assert_eq!(events[2]["usage"]["output_tokens"], 196 + 200);
    let file = STANDARD.decode(events[2]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!(picture(&file), (ImageFormat::Png, 1024, 1024));
    assert_eq!(bench.sim.bill().charges[0].delivered, 1);
}

#[tokio::test]
async fn the_key_may_come_in_the_header_that_azure_has_for_it() {
    let bench = Bench::new().await;
    let ask = |headers: &[(&'static str, &'static str)]| {
        let mut request = bench.client.get(format!("{}/openai/v1/models", bench.sim.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async { json(request).await.0 }
    };
    assert_eq!(ask(&[("api-key", "sim-openai")]).await, 200);
    assert_eq!(ask(&[("api-key", "wrong")]).await, 401);
    assert_eq!(
        ask(&[("api-key", "sim-openai"), ("authorization", "Bearer sim-openai")]).await,
        401
    );
}
