//! OpenAI speech.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::check::{Bench, audible, bytes, json};

fn speech(extra: &Value) -> Value {
    let mut body = json!({"model": "gpt-4o-mini-tts", "input": "The kettle is on.", "voice": "marin"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn speech_comes_in_each_format_and_without_a_length() {
    let bench = Bench::new().await;
    for (format, mime) in [
        ("mp3", "audio/mpeg"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("opus", "audio/opus"),
        ("pcm", "audio/pcm"),
    ] {
        let response = bench
            .openai("/audio/speech", &speech(&json!({"response_format": format})))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], mime);
        assert_eq!(response.headers()["transfer-encoding"], "chunked");
        assert_eq!(response.headers().get("content-length"), None);
        let mut body = response.bytes().await.unwrap().to_vec();
        match format {
            "wav" => {
                assert_eq!(body[4..8], [0xff; 4]);
                assert_eq!(body[40..44], [0xff; 4]);
                let (riff, data) = ((body.len() - 8) as u32, (body.len() - 44) as u32);
                body[4..8].copy_from_slice(&riff.to_le_bytes());
                body[40..44].copy_from_slice(&data.to_le_bytes());
                audible(&body, "wav");
            }
            "opus" => assert!(body.starts_with(b"OggS") && body[28..36] == *b"OpusHead"),
            "pcm" => assert!(body.len() > 20_000 && body.len() % 2 == 0),
            _ => {
                audible(&body, format);
            }
        }
    }
    let bill = bench.sim.bill();
    assert!(
        bill.charges
            .iter()
            .all(|charge| charge.delivered == 1 && charge.usd > 0.0)
    );
    assert_eq!(bill.charges.len(), 5);
}

#[tokio::test]
async fn speech_parameters_get_the_documented_codes() {
    let bench = Bench::new().await;
    for (extra, status, code, param) in [
        (json!({"pitch": 1}), 400, Some("unknown_parameter"), Some("pitch")),
        (
            json!({"input": ""}),
            400,
            Some("string_below_min_length"),
            Some("input"),
        ),
        (
            json!({"input": "x".repeat(4097)}),
            400,
            Some("string_above_max_length"),
            Some("input"),
        ),
        (
            json!({"input": "ж".repeat(2100)}),
            400,
            Some("invalid_value"),
            Some("input"),
        ),
        (json!({"voice": "bob"}), 400, Some("invalid_value"), Some("voice")),
        (
            json!({"voice": {"id": "voice_1"}}),
            400,
            Some("invalid_value"),
            Some("voice"),
        ),
        (
            json!({"voice": null}),
            400,
            Some("missing_required_parameter"),
            Some("voice"),
        ),
        (
            json!({"response_format": "ogg"}),
            400,
            Some("invalid_value"),
            Some("response_format"),
        ),
        (
            json!({"response_format": "aac"}),
            400,
            Some("invalid_value"),
            Some("response_format"),
        ),
        (
            json!({"speed": 5}),
            400,
            Some("decimal_above_max_value"),
            Some("speed"),
        ),
        (
            json!({"model": "gpt-realtime-2.1-mini"}),
            404,
            Some("model_not_found"),
            None,
        ),
        (
            json!({"model": "tts-1", "voice": "marin"}),
            400,
            Some("invalid_value"),
            Some("voice"),
        ),
        (
            json!({"model": "tts-1", "voice": "nova", "instructions": "calm"}),
            400,
            Some("invalid_value"),
            Some("instructions"),
        ),
        (
            json!({"model": "tts-1", "voice": "nova", "stream_format": "sse"}),
            400,
            Some("invalid_value"),
            Some("stream_format"),
        ),
    ] {
        let (got, answer) = json(bench.openai("/audio/speech", &speech(&extra))).await;
        assert_eq!(
            (
                got,
                answer["error"]["code"].as_str(),
                answer["error"]["param"].as_str()
            ),
            (status, code, param),
            "{extra}"
        );
    }
    assert!(bench.sim.bill().charges.is_empty());
}

#[tokio::test]
async fn speech_can_come_as_events() {
    let bench = Bench::new().await;
    let (_, kind, body) =
        bytes(bench.openai("/audio/speech", &speech(&json!({"stream_format": "sse"})))).await;
    assert!(kind.starts_with("text/event-stream"));
    let text = String::from_utf8(body).unwrap();
    let mut sound = Vec::new();
    for data in text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
    {
        let data: Value = serde_json::from_str(data).unwrap();
        if let Some(audio) = data["audio"].as_str() {
            sound.extend(STANDARD.decode(audio).unwrap());
        } else {
            assert_eq!(data["type"], "speech.audio.done");
            assert!(data["usage"]["output_tokens"].as_u64() > Some(0));
        }
    }
    audible(&sound, "mp3");
}
