//! What the tests share: an account at a local server, answers as PHP writes them, a real recording.

use std::path::Path;
use std::sync::Arc;

use media_core::http::{ReqwestTransport, Wiring};
use media_core::limit::QuotaKey;
use media_core::{ApiKey, Client, GroupLimits, MediaRequest, RetrySettings, Span};
use mockito::{Mock, ServerGuard};
use provider_forvo::{Forvo, ForvoConfig};

/// Long enough to be searched for in messages, and with a character that is encoded in an address.
pub(crate) const KEY: &str = "k3y+0123456789abcdef";
pub(crate) const KEY_IN_PATH: &str = "k3y%2B0123456789abcdef";
pub(crate) const MP3: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/cbr-plain.mp3");
pub(crate) const OGG: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/vorbis.ogg");
pub(crate) const DAILY: u64 = 20;

/// The shipped configuration at this address, in a hurry.
pub(crate) fn config(base_url: &str) -> ForvoConfig {
    let mut config = ForvoConfig::default().base_url(base_url.parse().unwrap());
    let start = config.limits.groups["audio"].day_starts;
    let mut limits = GroupLimits::default().with("requests_per_day", DAILY);
    limits.day_starts = start;
    config.limits.groups.insert("audio".to_owned(), limits);
    config.retry = RetrySettings {
        attempts: 3,
        first_delay: Span(std::time::Duration::from_millis(1)),
        max_delay: Span(std::time::Duration::from_millis(2)),
    };
    config
}

pub(crate) fn forvo(config: ForvoConfig) -> Forvo {
    Forvo::new(config, ApiKey::new(KEY)).unwrap()
}

pub(crate) fn client(server: &ServerGuard) -> Client {
    Client::new(forvo(config(&server.url())))
}

/// Calls that the client has counted today.
pub(crate) async fn counted(client: &Client) -> u64 {
    let wiring = client.provider().http().wiring();
    let group = &client.provider().http().settings().limits.groups["audio"];
    let key = client.provider().http().key().unwrap().account();
    let bucket = QuotaKey {
        account: key,
        bucket: "audio.requests".to_owned(),
    };
    let today = group.day_starts.day_of(wiring.clock.now());
    wiring.quota.used(&bucket, &today).await.unwrap().units
}

pub(crate) fn wiring() -> Wiring {
    Wiring::over(Arc::new(
        ReqwestTransport::new(std::time::Duration::from_secs(5)).unwrap(),
    ))
}

pub(crate) fn word(word: &str, folder: &Path) -> MediaRequest {
    MediaRequest::audio(word, folder.join("word.mp3")).language("es")
}

/// The path of a lookup; the word and language as they stand in an address.
pub(crate) fn lookup_path(word: &str, language: &str) -> String {
    format!(
        "/key/{KEY_IN_PATH}/format/json/action/word-pronunciations/word/{word}/language/{language}/order/rate-desc/limit/50"
    )
}

/// A lookup that is answered with this status and body.
pub(crate) fn lookup(server: &mut ServerGuard, word: &str, status: usize, body: &str) -> Mock {
    server
        .mock("GET", lookup_path(word, "es").as_str())
        .with_status(status)
        .with_header("content-type", "application/json")
        .with_body(body)
}

/// A recording behind `/audio/TOKEN`.
pub(crate) fn audio(server: &mut ServerGuard, token: &str) -> Mock {
    server
        .mock("GET", format!("/audio/{token}").as_str())
        .with_header("content-type", "audio/mpeg")
        .with_body(MP3)
}

/// An answer with these items, its slashes escaped as PHP does.
pub(crate) fn items(items: &[String]) -> String {
    format!(
        "{{\"attributes\":{{\"total\":{}}},\"items\":[{}]}}",
        items.len(),
        items.join(",")
    )
}

/// One item: id, word, country, speaker, rate; its recording is `/audio/ID`.
pub(crate) fn item(server: &ServerGuard, id: u32, word: &str, country: &str, who: &str, rate: i32) -> String {
    let link = |extension: &str| format!("{}/audio/{id}{extension}", server.url()).replace('/', "\\/");
    format!(
        r#"{{"id":{id},"word":"{}","original":"{word}","addtime":"2012-01-02 03:04:05","hits":12,"username":"{who}",
        "sex":"f","country":"{country}","code":"es","langname":"Spanish","pathmp3":"{}","pathogg":"{}",
        "rate":{rate},"num_votes":{},"num_positive_votes":{}}}"#,
        word.to_lowercase().replace(' ', "_"),
        link(""),
        link("ogg"),
        rate.abs(),
        rate.max(0),
    )
}
