//! What every provider must do, whatever its API is.

use std::sync::Arc;

use media_core::http::Wiring;
use media_core::{ApiKey, MediaProvider, MediaRequest};
use media_testkit::{Case, Cases, Exchange, conformance, media};
use provider_forvo::{Forvo, ForvoConfig};
use serde_json::json;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const BASE: &str = "https://apifree.forvo.test";

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    let make = |wiring: Wiring| -> Arc<dyn MediaProvider> {
        let mut config = ForvoConfig::default().base_url(BASE.parse().unwrap());
        config.limits.groups.clear();
        Arc::new(Forvo::with_wiring("forvo", config, Some(ApiKey::new(KEY)), wiring).unwrap())
    };
    let recording = json!({"attributes": {"total": 1}, "items": [{
        "id": 7, "word": "perro", "original": "perro", "addtime": "2010-01-01 10:00:00", "hits": 5,
        "username": "maria", "sex": "f", "country": "Mexico", "code": "es", "langname": "Spanish",
        "pathmp3": format!("{BASE}/audio/abc"), "pathogg": format!("{BASE}/audio/abd"),
        "rate": 3, "num_votes": 3, "num_positive_votes": 3}]});
    let request = || MediaRequest::audio("perro", "perro.mp3").language("es");
    let lookup = format!(
        "/key/{KEY}/format/json/action/word-pronunciations/word/perro/language/es/order/rate-desc/limit/50"
    );
    let popular = format!("/key/{KEY}/format/json/action/language-popular/limit/1");
    let cases = Cases::new(BASE, KEY)
        .plays(
            Case::new("a word", request())
                .with(Exchange::get(lookup).answers_json(200, recording))
                .with(Exchange::get("/audio/abc").answers(200, media::mp3())),
        )
        .connects(Exchange::get(popular).answers_json(200, json!({"attributes": {"total": 1}, "items": []})))
        .refuses("an unknown parameter", request().param("voice", "x"))
        .refuses("no language", MediaRequest::audio("perro", "perro.mp3"))
        .refuses(
            "a word that is a path",
            MediaRequest::audio("a/b", "x.mp3").language("es"),
        );
    conformance(make, &cases).await;
}
