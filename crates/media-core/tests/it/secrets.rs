//! The key: in the request, and nowhere that anybody could see it.

use media_core::MediaResult;
use media_core::http::{Scripted, Sent};
use serde_json::json;

use crate::support::{FILE, KEY, Lab, Mode, link};

/// Eight characters of a key are too many.
fn parts() -> impl Iterator<Item = &'static str> {
    (0..=KEY.len() - 8).filter_map(|start| KEY.get(start..start + 8))
}

fn assert_hidden(what: &str, text: &str) {
    for part in parts() {
        assert!(!text.contains(part), "{what} shows {part:?}: {text}");
    }
}

fn assert_result_hides_it(what: &str, result: &MediaResult) {
    assert_hidden(what, &format!("{result:?}"));
    if let Err(error) = &result.outcome {
        assert_hidden(
            what,
            &format!("{error} {} {:?} {:?}", error.full(), error.next(), error.code()),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_repeats_the_key_is_not_repeated() {
    let bodies = [
        format!("incorrect key {KEY} provided"),
        json!({"error": {"code": "says", "message": format!("bad key {KEY}")}}).to_string(),
        // In the place of another type: serde repeats what it found.
        json!({"url": {"wrong": KEY}}).to_string(),
        json!({"url": 7, KEY: 1}).to_string(),
        json!(KEY).to_string(),
        json!([KEY]).to_string(),
        json!({"id": null, "tasks": KEY}).to_string(),
        format!("<html>{KEY}</html>"),
        // Where an excerpt ends in the middle of it.
        format!("{} {KEY}", "x".repeat(44)),
        format!("{} {KEY}", "x".repeat(150)),
        format!("{} {KEY}", "x".repeat(390)),
        format!("{KEY} was not found"),
    ];
    for mode in [
        Mode::Media,
        Mode::Base64,
        Mode::Link,
        Mode::Word,
        Mode::Poll {
            serving: true,
            counted: false,
        },
    ] {
        for status in [200, 302, 400, 401, 404, 429, 500] {
            for body in bodies.clone() {
                let what = format!("{mode:?} {status} {}", body.replace(KEY, "KEY"));
                let lab = Lab::new(mode, move |_| Scripted::new(status, body.clone()));
                let result = lab.generate(lab.image("dog.png")).await;
                assert!(result.outcome.is_err(), "{what}");
                assert_result_hides_it(&what, &result);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_holds_it_is_not_kept_for_a_look() {
    for (body, is_kept) in [
        (format!("the key {KEY} is too old"), false),
        (format!("<html>you sent Bearer {KEY}</html>"), false),
        ("the key is too old".to_owned(), true),
    ] {
        let answer = body.clone();
        let mut lab = Lab::new(Mode::Media, move |_| Scripted::new(200, answer.clone()));
        let folder = lab.staging_folder();
        let result = lab.generate(lab.image("dog.png")).await;
        assert_result_hides_it("the result", &result);
        assert_eq!(folder.join("rejected").exists(), is_kept, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_shows_it_in_debug() {
    let lab = Lab::new(Mode::Link, |request| {
        assert_hidden("the request", &format!("{request:?}"));
        Scripted::fails(Sent::Maybe)
    });
    let client = lab.client();
    assert_hidden("the client", &format!("{client:?}"));
    assert_hidden("the wiring", &format!("{:?}", lab.wiring));
    let result = client.generate(lab.image("dog.png")).await;
    assert_result_hides_it("the result", &result);
    assert_hidden("the journal", &format!("{:?}", lab.journal.events()));
    assert_hidden("the log of the transport", &format!("{:?}", lab.sent()));
}

/// A link may hold a token that is as good as a key.
#[tokio::test(start_paused = true)]
async fn no_failure_shows_a_whole_link() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/v1/make" => Scripted::new(
            200,
            json!({"url": format!("{FILE}?token=open-sesame")}).to_string(),
        ),
        _ => Scripted::new(403, ""),
    });
    let result = lab.generate(lab.image("dog.png")).await;
    let error = result.outcome.unwrap_err();
    for text in [
        error.full(),
        format!("{error:?}"),
        format!("{:?}", lab.journal.events()),
    ] {
        assert!(!text.contains("sesame"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_test_is_free_and_says_what_is_wrong() {
    let lab = Lab::new(Mode::Link, |_| Scripted::new(401, format!("incorrect key {KEY}")));
    let error = lab.client().test_connection().await.unwrap_err();
    assert_eq!(error.kind(), media_core::ErrorKind::Authentication);
    assert_hidden("the error", &format!("{error:?} {}", error.full()));
    assert!(lab.journal.names().is_empty());
    let lab = Lab::new(Mode::Link, |_| link());
    lab.client().test_connection().await.unwrap();
}
