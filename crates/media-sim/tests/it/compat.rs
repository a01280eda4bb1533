//! The server that only resembles OpenAI.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use serde_json::json;

use crate::check::{Bench, audible, bytes, json, picture};

#[tokio::test]
async fn pictures_come_as_links_that_take_no_key() {
    let bench = Bench::new().await;
    let url = format!("{}/openai-compat/v1", bench.sim.url());
    let body = json!({"model": "local-image", "prompt": "a kettle", "size": "256x128", "step": 5});
    let (status, answer) = json(bench.client.post(format!("{url}/images/generations")).json(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let link = answer["data"][0]["url"].as_str().unwrap();
    assert_eq!(bench.sim.bill().charges[0].delivered, 0);
    assert_eq!(bytes(bench.get(link).bearer_auth("k")).await.0, 400);
    let (status, kind, file) = bytes(bench.get(link)).await;
    assert_eq!(
        (status, kind.as_str(), picture(&file)),
        (200, "image/png", (ImageFormat::Png, 256, 128))
    );
    assert_eq!(bench.sim.bill().charges[0].delivered, 1);
    assert_eq!(bench.sim.bill().total_usd, 0.0);
    assert_eq!(bytes(bench.get(&link.replace(".png", ".jpg"))).await.0, 404);

    let mut body = body;
    body["response_format"] = json!("b64_json");
    body["size"] = json!("auto");
    let (_, answer) = json(bench.client.post(format!("{url}/images/generations")).json(&body)).await;
    let file = STANDARD
        .decode(answer["data"][0]["b64_json"].as_str().unwrap())
        .unwrap();
    assert_eq!(picture(&file), (ImageFormat::Png, 512, 512));
}

#[tokio::test]
async fn errors_have_integer_codes_and_speech_works() {
    let bench = Bench::new().await;
    let url = format!("{}/openai-compat/v1", bench.sim.url());
    let body = json!({"model": "dall-e-3", "prompt": "a kettle"});
    let (status, answer) = json(bench.client.post(format!("{url}/images/generations")).json(&body)).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(404)));
    let body = json!({"model": "local-tts", "input": "hello there"});
    let (status, _, sound) = bytes(bench.client.post(format!("{url}/audio/speech")).json(&body)).await;
    assert_eq!(status, 200);
    assert!(sound.starts_with(b"RIFF"));
    let mut body = body;
    body["response_format"] = json!("mp3");
    let (_, _, sound) = bytes(bench.client.post(format!("{url}/audio/speech")).json(&body)).await;
    audible(&sound, "mp3");
    let (status, models) = json(bench.get(&format!("{url}/models"))).await;
    assert_eq!((status, models["data"].as_array().unwrap().len()), (200, 2));
}

#[tokio::test]
async fn it_can_ask_for_a_key() {
    let bench = Bench::with(|scenario| scenario.openai.compat.keys = vec!["local".to_owned()]).await;
    let url = format!("{}/openai-compat/v1/models", bench.sim.url());
    assert_eq!(json(bench.get(&url)).await.0, 401);
    assert_eq!(json(bench.get(&url).bearer_auth("local")).await.0, 200);
}
