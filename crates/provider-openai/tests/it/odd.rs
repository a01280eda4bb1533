//! Answers that are odd and paid for: nothing odd makes one free, and what can be used of them is used.

use media_core::{Charge, CostBasis, ErrorKind};
use serde_json::{Value, json};

use crate::{IMAGES, Setup, base64, failure, picture};

#[tokio::test]
async fn oddities_of_json_cost_nothing_but_themselves() {
    let whole = picture().to_string();
    let bodies = [
        format!("\u{feff}{whole}"),
        whole.replace(r#""created":1"#, r#""created":NaN"#),
        whole.replace(r#""created":1"#, r#""created":1,"note":"\ud83d half""#),
        whole.replace(r#""created":1"#, r#""created":1e999"#),
        format!("{whole}\u{0}"),
        whole.replace('+', "-").replace('/', "_"),
        whole.replace(r#""b64_json""#, r#""url":"/relative.png","b64_json""#),
    ];
    for body in bodies {
        let mut setup = Setup::new().await;
        let mock = setup.post(IMAGES, 200, &body).await.expect(1);
        let result = setup.client().generate(setup.image("kettle.png")).await;
        mock.assert_async().await;
        assert!(result.outcome.is_ok(), "{:?}: {body:.80}", result.outcome);
    }
}

#[tokio::test]
async fn media_that_cannot_be_read_are_told_as_such() {
    let mut setup = Setup::new().await;
    let body = json!({"data": [{"b64_json": "****not base64****"}]}).to_string();
    let _mock = setup.post(IMAGES, 200, body).await;
    let error = failure(setup.client().generate(setup.image("kettle.png")).await);
    assert_eq!(error.charge(), Some(Charge::Unknown));
    assert!(error.full().contains("base64"), "{}", error.full());
}

#[tokio::test]
async fn a_picture_beside_an_error_was_made_whatever_the_error_says() {
    for error in [
        json!({"code": "rate_limit_exceeded", "message": "slow down"}),
        json!({"code": "insufficient_quota", "message": "no credit"}),
        json!({"code": "moderation_blocked", "moderation_details": {"moderation_stage": "input"}}),
    ] {
        let mut setup = Setup::new().await;
        let mut body = picture();
        body["error"] = error.clone();
        let mock = setup.post(IMAGES, 200, body.to_string()).await.expect(1);
        let result = setup.client().generate(setup.image("kettle.png")).await;
        mock.assert_async().await;
        assert_eq!(failure(result).charge(), Some(Charge::Unknown), "{error}");
    }
}

#[tokio::test]
async fn what_was_drawn_and_then_withheld_may_be_billed_wherever_that_is_said() {
    let details = json!({"moderation_stage": "output"});
    let error = json!({"code": "moderation_blocked", "message": "no"});
    for body in [
        json!({"error": {"code": "moderation_blocked", "message": "no", "moderation_details": details}}),
        json!({"error": error, "moderation_details": details}),
    ] {
        let mut setup = Setup::new().await;
        let _mock = setup.post(IMAGES, 400, format!("\u{feff}{body}")).await;
        let error = failure(setup.client().generate(setup.image("kettle.png")).await);
        assert_eq!(
            (error.kind(), error.charge()),
            (ErrorKind::ContentRejected, Some(Charge::Unknown))
        );
    }
}

#[tokio::test]
async fn a_picture_of_no_tokens_costs_what_the_price_list_says() {
    for usage in [
        json!({"input_tokens": 12, "output_tokens": 0}),
        json!({"input_tokens": 12}),
        json!({"input_tokens": 12, "output_tokens": 1e300}),
    ] {
        let mut setup = Setup::new().await;
        let mut body = picture();
        body["usage"] = usage;
        let _mock = setup.post(IMAGES, 200, body.to_string()).await;
        let request = setup.image("kettle.png").param("size", "1024x1024");
        let cost = setup.client().generate(request).await.cost.unwrap();
        assert_eq!(cost.basis, CostBasis::Estimated);
    }
}

#[tokio::test]
async fn a_text_in_place_of_speech_says_nothing_about_money() {
    for body in [r#"{"detail":"x"}"#, "Internal error", "", "<html>"] {
        let mut setup = Setup::new().await;
        let _mock = setup.post(crate::SPEECH, 200, body).await;
        let result = setup.client().generate(setup.speech("hola.mp3")).await;
        assert_eq!(failure(result).charge(), Some(Charge::Unknown), "{body}");
    }
}

#[test]
fn a_picture_in_the_alphabet_for_addresses_is_another_text() {
    // Else the case above would prove nothing.
    let text = picture()["data"][0]["b64_json"].clone();
    assert!(
        text.as_str().is_some_and(|text| text.contains(['+', '/'])),
        "{text}"
    );
    assert_eq!(text, Value::from(base64(crate::PNG)));
}

/// Nor is what nobody could read: the media themselves, or more JSON than is ever read.
#[tokio::test]
async fn a_refusal_that_is_no_text_or_too_long_says_nothing_about_money() {
    let error = json!({"code": "rate_limit_exceeded", "message": "slow down"});
    let long = json!({"error": error, "images": ["A".repeat(9 << 20)]}).to_string();
    for (path, status, body, charge) in [
        (IMAGES, 429, long.into_bytes(), Charge::Unknown),
        (IMAGES, 400, crate::PNG.to_vec(), Charge::Unknown),
        (crate::SPEECH, 400, crate::PNG.to_vec(), Charge::Unknown),
        (IMAGES, 400, vec![b'x'; 9 << 20], Charge::None),
    ] {
        let mut setup = Setup::new().await;
        let mock = setup.post(path, status, body).await.expect(1);
        let request = match path {
            IMAGES => setup.image("kettle.png"),
            _ => setup.speech("hola.mp3"),
        };
        let result = setup.client().generate(request).await;
        mock.assert_async().await;
        assert_eq!(failure(result).charge(), Some(charge), "{path} {status}");
    }
}

/// Whatever it calls the money, under whichever name the picture stands, and however long it is.
#[tokio::test]
async fn a_picture_beside_an_error_is_no_refusal() {
    let pic = base64(crate::PNG);
    let long = base64(&[crate::PNG, &[0; 100_000]].concat());
    let error = json!({"code": "rate_limit_exceeded", "message": "slow down"});
    for body in [
        json!({"data": [{"b64_json": long}], "error": error}),
        json!({"data": {"b64_json": pic}, "error": error}),
        json!({"b64_json": pic, "error": error}),
        json!({"images": [long], "error": error}),
    ] {
        for status in [200, 429, 500] {
            let mut setup = Setup::new().await;
            let mock = setup.post(IMAGES, status, body.to_string()).await.expect(1);
            let result = setup.client().generate(setup.image("kettle.png")).await;
            mock.assert_async().await;
            assert_ne!(failure(result).charge(), Some(Charge::None), "{status}");
        }
    }
}
