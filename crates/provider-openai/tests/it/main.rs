//! The provider against canned answers, driven as a user drives it: through a client, to files.

#![cfg(feature = "http")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod batch;
mod conformance;
mod odd;
mod streams;
mod with_sim;

use std::path::Path;
use std::time::Duration;

use media_core::{
    ApiKey, Charge, Client, CostBasis, ErrorKind, Format, MediaProvider, MediaRequest, MediaResult,
    RetrySettings, Span, http::Wiring,
};
use mockito::{Matcher, Mock, Server, ServerGuard};
use provider_openai::{Dialect, OpenAi, OpenAiConfig, ResponseFormat};
use serde_json::{Value, json};

const KEY: &str = "sk-test-0123456789";
const PNG: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/palette.png");
const MP3: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/vbr-tags.mp3");
const WAV: &[u8] = include_bytes!("../../../media-core/src/validate/fixtures/sox-streamed.wav");

struct Setup {
    server: ServerGuard,
    folder: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Setup {
        Setup {
            server: Server::new_async().await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self) -> OpenAiConfig {
        let mut config =
            OpenAiConfig::default().base_url(format!("{}/v1", self.server.url()).parse().unwrap());
        config.retry = RetrySettings {
            attempts: 3,
            first_delay: Span(Duration::from_millis(1)),
            max_delay: Span(Duration::from_millis(5)),
        };
        config.limits.groups.clear();
        config
    }

    fn provider(config: OpenAiConfig) -> OpenAi {
        let wiring = Wiring::new(Duration::from_secs(5)).unwrap();
        OpenAi::with_wiring("openai", config, Some(ApiKey::new(KEY)), wiring).unwrap()
    }

    fn client(&self) -> Client {
        Client::new(Setup::provider(self.config()))
    }

    fn image(&self, name: &str) -> MediaRequest {
        MediaRequest::image("a red kettle", self.folder.path().join(name)).param("size", "auto")
    }

    fn speech(&self, name: &str) -> MediaRequest {
        MediaRequest::audio("Hola", self.folder.path().join(name))
    }

    async fn post(&mut self, path: &str, status: usize, body: impl AsRef<[u8]>) -> Mock {
        self.server
            .mock("POST", path)
            .with_status(status)
            .with_body(body)
            .create_async()
            .await
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

const IMAGES: &str = "/v1/images/generations";
const SPEECH: &str = "/v1/audio/speech";

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = group
            .iter()
            .fold(0_u32, |value, byte| value << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * place) & 63) as usize];
            text.push(if place > group.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}

fn picture() -> Value {
    json!({"created": 1, "background": "opaque", "output_format": "png", "quality": "medium", "size": "1254x1254",
        "data": [{"b64_json": base64(PNG)}],
        "usage": {"input_tokens": 12, "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
            "output_tokens": 196, "output_tokens_details": {"image_tokens": 196, "text_tokens": 0}, "total_tokens": 208},
        "a_field_of_tomorrow": {"x": [1]}})
}

fn failure(result: MediaResult) -> media_core::Error {
    let error = result.outcome.unwrap_err();
    assert!(
        !format!("{error:?} {}", error.full()).contains(KEY),
        "the key is shown: {error:?}"
    );
    error
}

#[tokio::test]
async fn a_picture_becomes_a_file_and_its_cost_is_computed_from_the_usage() {
    let mut setup = Setup::new().await;
    let mock = setup
        .server
        .mock("POST", IMAGES)
        .match_header("authorization", format!("Bearer {KEY}").as_str())
        .match_body(Matcher::Json(
            json!({"model": "gpt-image-2", "prompt": "a red kettle", "size": "auto",
            "quality": "medium", "background": "opaque", "moderation": "auto", "output_format": "png"}),
        ))
        .with_header("x-request-id", "req_7")
        .with_body(picture().to_string())
        .create_async()
        .await;
    let result = setup.client().generate(setup.image("kettle.png")).await;
    mock.assert_async().await;
    let file = result.outcome.unwrap();
    assert_eq!(std::fs::read(&file.path).unwrap(), PNG);
    assert_eq!((file.format, file.bytes), (Format::Png, PNG.len() as u64));
    let cost = result.cost.unwrap();
    assert_eq!((cost.usd.micros(), cost.basis), (5940, CostBasis::Computed));
    assert_eq!(result.provenance.remote_id.as_deref(), Some("req_7"));
    assert_eq!(setup.files(), ["kettle.png"]);
}

#[tokio::test]
async fn a_link_is_fetched_without_the_key() {
    let mut setup = Setup::new().await;
    let mut config = setup.config();
    let image = config.image.as_mut().unwrap();
    image.dialect = Dialect::DallE;
    image.response_format = ResponseFormat::Url;
    let link = format!("{}/generated-images/x.png", setup.server.url());
    let _api = setup
        .server
        .mock("POST", IMAGES)
        .match_body(Matcher::PartialJson(json!({"response_format": "url", "n": 1})))
        .with_body(json!({"created": 1, "id": "x", "data": [{"index": 0, "url": link, "revised_prompt": "a kettle"}],
            "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}).to_string())
        .create_async()
        .await;
    let media = setup
        .server
        .mock("GET", "/generated-images/x.png")
        .match_header("authorization", Matcher::Missing)
        .with_body(PNG)
        .create_async()
        .await;
    let result = Client::new(Setup::provider(config))
        .generate(setup.image("kettle.png"))
        .await;
    media.assert_async().await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(result.provenance.revised_prompt.as_deref(), Some("a kettle"));
    // All-zero usage says nothing; the price list does.
    assert_eq!(result.cost, None);
}

#[tokio::test]
async fn a_data_uri_in_place_of_a_link_is_decoded() {
    let mut setup = Setup::new().await;
    let body = json!({"data": [{"url": format!("data:image/png;base64,{}", base64(PNG)), "b64_json": null}]});
    let _mock = setup.post(IMAGES, 200, body.to_string()).await;
    let result = setup.client().generate(setup.image("kettle.png")).await;
    assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), PNG);
}

#[tokio::test]
async fn a_server_fault_that_says_nothing_about_money_is_unknown_and_sent_once() {
    for (status, body) in [
        (
            500,
            json!({"error": {"message": "The server had an error", "type": "server_error", "code": null}})
                .to_string(),
        ),
        (
            500,
            json!({"error": {"message": "no", "type": "image_generation_server_error", "code": "image_generation_failed"}})
                .to_string(),
        ),
        (502, "<html><body>Bad gateway</body></html>".to_owned()),
        (504, String::new()),
    ] {
        let mut setup = Setup::new().await;
        let mock = setup.post(IMAGES, status, body).await.expect(1);
        let result = setup.client().generate(setup.image("kettle.png")).await;
        mock.assert_async().await;
        assert_eq!(result.cost, None);
        assert_eq!(failure(result).charge(), Some(Charge::Unknown));
        assert!(setup.files().is_empty());
    }
}

#[tokio::test]
async fn what_proves_that_nothing_was_billed_is_sent_again() {
    let mut setup = Setup::new().await;
    let busy = json!({"error": {"message": "overloaded", "type": "service_unavailable_error", "code": "server_is_overloaded"}});
    let slow = json!({"error": {"message": "Rate limit reached. Please try again in 1ms.", "code": "rate_limit_exceeded"}});
    let _ok = setup.post(IMAGES, 200, picture().to_string()).await;
    let _slow = setup.post(IMAGES, 429, slow.to_string()).await.expect(1);
    let _busy = setup.post(IMAGES, 503, busy.to_string()).await.expect(1);
    // mockito serves the newest mock that still has calls left.
    let result = setup.client().generate(setup.image("kettle.png")).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
}

#[tokio::test]
async fn refusals_are_named_and_free() {
    let api = |code: &str, kind: &str, message: &str| {
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
    };
    for (status, body, kind) in [
        (
            401,
            api(
                "invalid_api_key",
                "invalid_request_error",
                &format!("Incorrect API key provided: {KEY}"),
            ),
            ErrorKind::Authentication,
        ),
        (
            400,
            api("moderation_blocked", "image_generation_user_error", "rejected"),
            ErrorKind::ContentRejected,
        ),
        (
            429,
            api("insufficient_quota", "insufficient_quota", "no credit"),
            ErrorKind::InsufficientCredit,
        ),
        (
            400,
            api(
                "unknown_parameter",
                "invalid_request_error",
                &format!("Unknown parameter: '{KEY}'."),
            ),
            ErrorKind::InvalidRequest,
        ),
    ] {
        let mut setup = Setup::new().await;
        let mock = setup.post(IMAGES, status, body).await.expect(1);
        let result = setup.client().generate(setup.image("kettle.png")).await;
        mock.assert_async().await;
        let error = failure(result);
        assert_eq!((error.kind(), error.charge()), (kind, Some(Charge::None)));
    }
}

#[tokio::test]
async fn an_empty_success_is_no_success() {
    for body in [
        r#"{"created":1,"data":[]}"#,
        r#"{"created":1}"#,
        r#"{"error":{"message":"inside"}}"#,
        "<html>hello</html>",
        "",
    ] {
        let mut setup = Setup::new().await;
        let mock = setup.post(IMAGES, 200, body).await.expect(1);
        let result = setup.client().generate(setup.image("kettle.png")).await;
        mock.assert_async().await;
        assert_ne!(failure(result).charge(), Some(Charge::None), "{body}");
        assert!(setup.files().is_empty());
    }
}

#[tokio::test]
async fn another_format_than_asked_is_refused_and_certainly_paid() {
    let mut setup = Setup::new().await;
    let _mock = setup.post(IMAGES, 200, picture().to_string()).await;
    let error = failure(setup.client().generate(setup.image("kettle.webp")).await);
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::InvalidMedia, Some(Charge::Certain))
    );
    assert!(
        error.to_string().contains("webp was asked for and png came"),
        "{error}"
    );
    assert!(setup.files().is_empty());
}

#[tokio::test]
async fn speech_becomes_a_file() {
    let mut setup = Setup::new().await;
    let mock = setup
        .server
        .mock("POST", SPEECH)
        .match_body(Matcher::Json(
            json!({"model": "gpt-4o-mini-tts", "input": "Hola", "voice": "marin",
            "response_format": "mp3", "speed": 1.0, "instructions": "Speak slowly and clearly."}),
        ))
        .with_body(MP3)
        .create_async()
        .await;
    let result = setup.client().generate(setup.speech("hola.mp3")).await;
    mock.assert_async().await;
    assert!(result.outcome.unwrap().duration.is_some());
    assert_eq!(result.cost.unwrap().basis, CostBasis::Computed);
}

#[tokio::test]
async fn a_streamed_wav_gets_a_truthful_header() {
    let mut setup = Setup::new().await;
    let _mock = setup.post(SPEECH, 200, WAV).await;
    let file = setup
        .client()
        .generate(setup.speech("hola.wav"))
        .await
        .outcome
        .unwrap();
    let bytes = std::fs::read(&file.path).unwrap();
    assert_eq!(bytes.len(), WAV.len());
    assert_eq!(
        u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize,
        bytes.len() - 8
    );
    assert_eq!(file.sha256, sha256(&file.path));
}

fn sha256(path: &Path) -> String {
    let inspected = media_core::validate::inspect(&std::fs::read(path).unwrap()).unwrap();
    assert!(inspected.mends.is_empty(), "the header still lies");
    use sha2::{Digest, Sha256};
    media_core::hex(&Sha256::digest(std::fs::read(path).unwrap()))
}

#[tokio::test]
async fn an_error_body_where_sound_was_due_is_read_as_one() {
    let mut setup = Setup::new().await;
    let body =
        json!({"error": {"message": "no", "type": "insufficient_quota", "code": "insufficient_quota"}});
    let _mock = setup.post(SPEECH, 200, body.to_string()).await;
    assert_eq!(
        failure(setup.client().generate(setup.speech("hola.mp3")).await).kind(),
        ErrorKind::InsufficientCredit
    );
    assert!(setup.files().is_empty());
}

#[tokio::test]
async fn azure_gets_its_header_and_query() {
    let mut setup = Setup::new().await;
    let mut config = setup.config();
    config.auth = provider_openai::Authorization::ApiKey;
    config.query.insert("api-version".into(), "preview".into());
    config.organization = Some("org-1".into());
    let mock = setup
        .server
        .mock("POST", IMAGES)
        .match_query(Matcher::UrlEncoded("api-version".into(), "preview".into()))
        .match_header("api-key", KEY)
        .match_header("authorization", Matcher::Missing)
        .match_header("openai-organization", "org-1")
        .with_body(picture().to_string())
        .create_async()
        .await;
    let result = Client::new(Setup::provider(config))
        .generate(setup.image("kettle.png"))
        .await;
    mock.assert_async().await;
    assert!(result.outcome.is_ok());
}

#[tokio::test]
async fn the_connection_test_warns_of_models_that_end() {
    let mut setup = Setup::new().await;
    let models = json!({"object": "list", "data": [
        {"id": "gpt-image-2", "object": "model", "created": 1, "owned_by": "system", "shutdown_date": "2020-01-01"}]});
    let _mock = setup
        .server
        .mock("GET", "/v1/models")
        .with_body(models.to_string())
        .create_async()
        .await;
    let connection = Setup::provider(setup.config()).test_connection().await.unwrap();
    assert_eq!(connection.notes, ["1 models"]);
    assert!(
        connection.warnings[0].contains("gpt-image-2 was shut down on 2020-01-01"),
        "{connection:?}"
    );
    assert!(
        connection.warnings[1].contains("gpt-4o-mini-tts"),
        "{connection:?}"
    );
}

#[tokio::test]
async fn a_key_that_may_not_list_is_still_a_key() {
    let mut setup = Setup::new().await;
    let body = json!({"error": {"message": "Missing scopes: api.model.read", "type": "invalid_request_error", "code": null}});
    let _mock = setup
        .server
        .mock("GET", "/v1/models")
        .with_status(403)
        .with_body(body.to_string())
        .create_async()
        .await;
    let connection = Setup::provider(setup.config()).test_connection().await.unwrap();
    assert!(connection.notes[0].contains("may not list"));
    let _mock = setup
        .server
        .mock("GET", "/v1/models")
        .with_status(403)
        .with_body("<h1>Forbidden</h1>")
        .create_async()
        .await;
    let error = Setup::provider(setup.config())
        .test_connection()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let body = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    let _mock = setup
        .server
        .mock("GET", "/v1/models")
        .with_status(401)
        .with_body(body.to_string())
        .create_async()
        .await;
    let error = Setup::provider(setup.config())
        .test_connection()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
}
