//! Pictures by server-sent events: only `completed` is a result, and a stream that fails may have cost.

use media_core::{Charge, ErrorKind, Retry};
use media_sim::{Fault, FaultKind, Op, Provider, Scenario, Sim};
use mockito::Matcher;
use provider_openai::Delivery;

use super::*;

fn streaming(mut config: OpenAiConfig, partial_images: u8) -> OpenAiConfig {
    let image = config.image.as_mut().unwrap();
    image.delivery = Delivery::Stream;
    image.partial_images = partial_images;
    config
}

fn event(kind: &str, rest: &Value) -> String {
    let mut data = json!({"type": kind, "created_at": 1, "output_format": "png"});
    for (key, value) in rest.as_object().unwrap() {
        data[key] = value.clone();
    }
    format!("event: {kind}\ndata: {data}\n\n")
}

fn partial() -> String {
    // Another picture than the result, so that a mix-up shows.
    event(
        "image_generation.partial_image",
        &json!({"b64_json": base64(include_bytes!("../../../media-core/src/validate/fixtures/interlaced.png")),
            "partial_image_index": 0}),
    )
}

fn completed() -> String {
    event(
        "image_generation.completed",
        &json!({"b64_json": base64(PNG), "usage": picture()["usage"]}),
    )
}

fn error_event(kind: &str, code: &str) -> String {
    event(
        "error",
        &json!({"error": {"type": kind, "code": code, "message": "No.", "param": null}}),
    )
}

/// The result of one streamed request that is answered with this body, and how often it was sent.
async fn answered(kind: &str, body: &str) -> (Setup, MediaResult) {
    let mut setup = Setup::new().await;
    let mock = setup
        .server
        .mock("POST", IMAGES)
        .match_body(Matcher::PartialJson(json!({"stream": true, "partial_images": 1})))
        .with_header("content-type", kind)
        .with_body(body)
        .create_async()
        .await;
    let client = Client::new(Setup::provider(streaming(setup.config(), 1)));
    let result = client.generate(setup.image("kettle.png")).await;
    // Once, whatever came: a stream is never repeated by itself.
    mock.assert_async().await;
    (setup, result)
}

const STREAM: &str = "text/event-stream; charset=utf-8";

#[tokio::test]
async fn the_completed_picture_is_the_result_and_what_came_before_is_not() {
    for ending in ["", "data: [DONE]\n\n"] {
        let body = format!(
            ": keep-alive\n\n{}{}{}{ending}",
            partial(),
            event("image_generation.of_tomorrow", &json!({"b64_json": "AAAA"})),
            completed()
        );
        let (setup, result) = answered(STREAM, &body).await;
        let file = result.outcome.unwrap();
        assert_eq!(std::fs::read(&file.path).unwrap(), PNG);
        assert_eq!(result.cost.unwrap().usd.micros(), 5940);
        assert_eq!(setup.files(), ["kettle.png"]);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_streams_is_understood() {
    let (_setup, result) = answered("application/json", &picture().to_string()).await;
    assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), PNG);
}

#[tokio::test]
async fn an_error_event_is_a_failure_whatever_came_before() {
    let rows = [
        (
            "image_generation_server_error",
            "image_generation_failed",
            ErrorKind::ProviderFault,
            Charge::Unknown,
        ),
        (
            "image_generation_user_error",
            "moderation_blocked",
            ErrorKind::ContentRejected,
            Charge::Unknown,
        ),
        (
            "requests",
            "rate_limit_exceeded",
            ErrorKind::RateLimited,
            Charge::Unknown,
        ),
    ];
    for (kind, code, expected, charge) in rows {
        for before in [String::new(), partial()] {
            let (setup, result) = answered(STREAM, &format!("{before}{}", error_event(kind, code))).await;
            let error = failure(result);
            assert_eq!(
                (error.kind(), error.charge()),
                (expected, Some(charge)),
                "{error}"
            );
            assert!(setup.files().is_empty());
        }
    }
}

#[tokio::test]
async fn an_end_without_the_completed_picture_is_a_failure_that_may_have_cost() {
    let whole = completed();
    let cut = whole.split_at(whole.len() / 2).0;
    for body in [
        "",
        &partial(),
        "data: [DONE]\n\n",
        cut,
        &format!("{}{cut}", partial()),
    ] {
        let (setup, result) = answered(STREAM, body).await;
        let error = failure(result);
        assert_eq!(
            (error.kind(), error.charge(), error.retry()),
            (ErrorKind::BadResponse, Some(Charge::Unknown), Retry::Never),
            "{error} after {body:.60}"
        );
        assert!(setup.files().is_empty());
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_at_the_start() {
    let setup = Setup::new().await;
    let refused = |change: &dyn Fn(&mut provider_openai::ImageConfig)| {
        let mut config = setup.config();
        change(config.image.as_mut().unwrap());
        let wiring = Wiring::new(Duration::from_secs(5)).unwrap();
        let error = OpenAi::with_wiring("painter", config, None, wiring).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let older = refused(&|image| {
        image.dialect = Dialect::DallE;
        image.delivery = Delivery::Stream;
    });
    assert!(older.starts_with("image.delivery"), "{older}");
    assert!(refused(&|image| image.partial_images = 1).contains("needs image.delivery"));
    let many = refused(&|image| {
        image.delivery = Delivery::Stream;
        image.partial_images = 4;
    });
    assert!(many.contains("max_partial_images"), "{many}");
}

#[tokio::test]
async fn against_the_simulator_a_failed_stream_is_billed_once_and_never_again() {
    let sim = Sim::start(Scenario::instant()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = OpenAiConfig::default().base_url(format!("{}/openai/v1", sim.url()).parse().unwrap());
    config.limits.groups.clear();
    let wiring = Wiring::new(Duration::from_secs(5)).unwrap();
    let key = Some(ApiKey::new("sim-openai"));
    let client = Client::new(OpenAi::with_wiring("openai", streaming(config, 2), key, wiring).unwrap());
    let ask = |name: &str| MediaRequest::image(format!("a picture for {name}"), folder.path().join(name));
    for name in ["a.png", "b.webp", "c.jpg"] {
        let result = client.generate(ask(name)).await;
        let billed = sim.bill().charges.last().unwrap().clone();
        assert_eq!(result.provenance.remote_id.as_deref(), Some(&*billed.key));
        assert!((result.cost.unwrap().usd.dollars() - billed.usd).abs() < 1e-6);
        assert!(result.outcome.is_ok(), "{name}");
    }
    for kind in [FaultKind::StreamError, FaultKind::StreamUnfinished] {
        let before = sim.bill().charges.len();
        sim.arm(Fault::new(Provider::Openai, kind).on(Op::Image));
        let error = client.generate(ask("d.png")).await.outcome.unwrap_err();
        assert_eq!(error.charge(), Some(Charge::Unknown), "{error}");
        assert_eq!(sim.bill().charges.len(), before + 1);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}
