//! What every provider must do, whatever its API is.

use std::sync::Arc;

use media_core::http::Wiring;
use media_core::{ApiKey, MediaProvider, MediaRequest};
use media_testkit::{Case, Cases, Exchange, conformance, media};
use provider_openai::{OpenAi, OpenAiConfig};
use serde_json::json;

use crate::{KEY, base64};

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    let make = |wiring: Wiring| -> Arc<dyn MediaProvider> {
        let mut config = OpenAiConfig::default().base_url("https://api.openai.test/v1".parse().unwrap());
        config.limits.groups.clear();
        Arc::new(OpenAi::with_wiring("openai", config, Some(ApiKey::new(KEY)), wiring).unwrap())
    };
    let answer = json!({"created": 1, "data": [{"b64_json": base64(&media::png())}],
        "usage": {"input_tokens": 3, "output_tokens": 196}});
    let image = || MediaRequest::image("a dog", "dog.png").param("size", "auto");
    let speech = MediaRequest::audio("Hola", "hola.mp3");
    let cases = Cases::new("https://api.openai.test/v1", KEY)
        .plays(
            Case::new("a picture", image()).with(
                Exchange::post("/v1/images/generations")
                    .buys()
                    .answers_json(200, answer),
            ),
        )
        .plays(
            Case::new("speech", speech).with(
                Exchange::post("/v1/audio/speech")
                    .buys()
                    .answers(200, media::mp3()),
            ),
        )
        .connects(Exchange::get("/v1/models").answers_json(200, json!({"object": "list", "data": []})))
        .refuses("an unknown parameter", image().param("steps", 4))
        .refuses(
            "a size that is no multiple of 16",
            image().param("size", "1000x1000"),
        )
        .refuses(
            "a speed that is too high",
            MediaRequest::audio("Hola", "h.mp3").param("speed", 9.0),
        );
    conformance(make, &cases).await;
}

/// A server of one's own: nothing is bought, so nothing may be journalled as a purchase.
#[tokio::test(start_paused = true)]
async fn a_free_server_conforms() {
    let make = |wiring: Wiring| -> Arc<dyn MediaProvider> {
        let mut config = OpenAiConfig::default().base_url("https://local.test/v1".parse().unwrap());
        config.free = true;
        config.limits.groups.clear();
        Arc::new(OpenAi::with_wiring("local", config, Some(ApiKey::new(KEY)), wiring).unwrap())
    };
    let cases = Cases::new("https://local.test/v1", KEY).plays(
        Case::new("speech", MediaRequest::audio("Hola", "hola.mp3"))
            .with(Exchange::post("/v1/audio/speech").answers(200, media::mp3())),
    );
    conformance(make, &cases).await;
}
