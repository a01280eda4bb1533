//! Links: downloaded again and never bought again, followed safely, and never with the key.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::AUTHORIZATION;
use media_core::http::{MemoryTransport, Scripted, Sent};
use media_core::{Charge, ErrorKind};
use serde_json::json;

use crate::support::{BASE, FILE, KEY, Lab, Mode, failure, link, png};

fn moved(to: &str) -> Scripted {
    Scripted::new(302, "").header("location", to)
}

/// A lab whose service answers with a link, and whose media host plays these answers.
fn host(answers: Vec<Scripted>) -> Lab {
    let next = AtomicUsize::new(0);
    Lab::new(Mode::Link, move |request| match request.uri().host() {
        Some("api.acme.test") if request.uri().path() == "/v1/make" => link(),
        Some("api.acme.test") => Scripted::new(404, ""),
        _ => answers
            .get(next.fetch_add(1, Ordering::SeqCst))
            .cloned()
            .unwrap_or_else(|| Scripted::new(599, "")),
    })
}

/// No request that left for another host knew the key.
fn assert_key_stays_home(transport: &MemoryTransport) {
    let home = url::Url::parse(BASE).unwrap();
    for sent in transport.sent() {
        let carries = format!("{:?} {} {:?}", sent.head.headers(), sent.head.uri(), sent.body).contains(KEY)
            || sent
                .head
                .headers()
                .values()
                .any(|value| value.to_str().unwrap_or("").contains(KEY));
        let away = sent.head.uri().host() != home.host_str() || sent.head.uri().scheme_str() != Some("https");
        assert!(!(carries && away), "the key went to {}", sent.head.uri());
        assert!(!away || !sent.head.headers().contains_key(AUTHORIZATION));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_download_is_downloaded_again() {
    for failed in [
        Scripted::fails(Sent::No),
        Scripted::fails(Sent::Maybe),
        Scripted::new(500, ""),
        Scripted::new(200, png()[..40].to_vec()),
        Scripted::new(200, png()[..40].to_vec()).cut(),
        Scripted::new(200, "<html>busy</html>"),
        Scripted::new(200, ""),
        Scripted::new(429, "").header("retry-after", "5"),
    ] {
        let lab = host(vec![failed.clone(), failed.clone(), Scripted::new(200, png())]);
        let result = lab.generate(lab.image("dog.png")).await;
        let file = result
            .outcome
            .unwrap_or_else(|error| panic!("{failed:?}: {error}"));
        assert_eq!(std::fs::read(file.path).unwrap(), png());
        assert_eq!(lab.keys().len(), 1, "{failed:?}: it was bought again");
        assert_eq!(lab.files(), ["dog.png"]);
        assert_eq!(result.attempts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_fails_for_good_is_not_bought_again() {
    for failed in [
        Scripted::new(403, ""),
        Scripted::new(404, ""),
        Scripted::new(500, ""),
        Scripted::fails(Sent::No),
    ] {
        let lab = host(vec![failed; 30]);
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(failure(&result).1, Charge::Certain);
        assert_eq!((lab.keys().len(), result.attempts), (1, 1));
        assert!(lab.files().is_empty());
        assert!(lab.sent().len() <= 5, "{} sends", lab.sent().len());
    }
}

/// It knows neither the key nor the account: what it refuses is a link, and the next file may be fine.
#[tokio::test(start_paused = true)]
async fn what_a_media_host_refuses_stops_nothing_else() {
    for status in [401, 402, 403] {
        let lab = host(vec![Scripted::new(status, "no"), Scripted::new(200, png())]);
        let results = lab.client().generate_batch(lab.images(2)).collect().await;
        let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
        assert_eq!(failed.len(), 1, "{status}: {results:?}");
        assert_eq!(failure(failed[0]), (ErrorKind::ProviderFault, Charge::Certain));
        assert_eq!(lab.files().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_link_is_asked_for_anew_once() {
    let fresh = "https://files.cdn.test/fresh.png";
    for works in [true, false] {
        let mut lab = Lab::new(Mode::Link, move |request| match request.uri().path() {
            "/v1/make" => link(),
            "/fresh.png" if works => Scripted::new(200, png()),
            path if path.starts_with("/v1/find/") => Scripted::new(200, json!({"url": fresh}).to_string()),
            _ => Scripted::new(403, "expired"),
        });
        lab.capabilities.recoverable = true;
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(result.outcome.is_ok(), works, "{result:?}");
        let key = lab.keys()[0].clone();
        let find = format!("/v1/find/{key}");
        assert_eq!(lab.paths(), ["/v1/make", "/one.png", &find, "/fresh.png"]);
        if !works {
            assert_eq!(failure(&result).1, Charge::Certain);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_once_and_never_bought_again() {
    for found in [true, false] {
        let mut lab = Lab::new(Mode::Link, move |request| match request.uri().path() {
            "/v1/make" => Scripted::fails(Sent::Maybe),
            "/one.png" => Scripted::new(200, png()),
            _ if found => link(),
            _ => Scripted::new(404, ""),
        });
        lab.capabilities.recoverable = true;
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(result.outcome.is_ok(), found, "{result:?}");
        assert_eq!(lab.keys().len(), 1);
        assert_eq!(
            lab.paths()
                .iter()
                .filter(|path| path.starts_with("/v1/find/"))
                .count(),
            1
        );
        if !found {
            assert_eq!(failure(&result), (ErrorKind::Network, Charge::Unknown));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn json_where_media_were_due_is_read_by_the_judge() {
    let body = json!({"error": {"code": "quota"}}).to_string();
    let lab = Lab::new(Mode::Word, move |request| match request.uri().path() {
        "/one.png" => Scripted::new(200, body.clone()),
        _ => link(),
    });
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::QuotaExhausted, Charge::None));
    assert_eq!(lab.paths(), ["/v1/word/a%20picture%20of%20dog.png", "/one.png"]);
    assert!(lab.files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn json_where_paid_media_were_due_is_read_by_the_judge() {
    let body = json!({"error": {"code": "says", "message": "that is not a picture"}}).to_string();
    let lab = Lab::script(Mode::Media, vec![Scripted::new(200, body)]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::InvalidRequest, Charge::None));
    assert!(
        result
            .outcome
            .unwrap_err()
            .to_string()
            .contains("that is not a picture")
    );
}

#[tokio::test(start_paused = true)]
async fn media_hosts_may_redirect_and_never_see_the_key() {
    let lab = host(vec![
        moved("https://other.test/a?b=c"),
        moved("/relative.png"),
        moved("//third.test/x.png"),
        Scripted::new(200, png()),
    ]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    let uris: Vec<_> = lab
        .sent()
        .iter()
        .skip(1)
        .map(|sent| sent.head.uri().to_string())
        .collect();
    assert_eq!(
        uris,
        [
            FILE,
            "https://other.test/a?b=c",
            "https://other.test/relative.png",
            "https://third.test/x.png"
        ]
    );
    assert_eq!(
        lab.sent()[0].head.headers()[AUTHORIZATION],
        format!("Bearer {KEY}")
    );
    assert_key_stays_home(&lab.transport);
}

#[tokio::test(start_paused = true)]
async fn not_even_a_link_to_the_service_itself_carries_the_key() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/v1/make" => Scripted::new(200, json!({"url": format!("{BASE}/files/1")}).to_string()),
        _ => Scripted::new(200, png()),
    });
    assert!(lab.generate(lab.image("dog.png")).await.outcome.is_ok());
    assert!(!lab.sent()[1].head.headers().contains_key(AUTHORIZATION));
}

#[tokio::test(start_paused = true)]
async fn no_redirect_leads_to_an_unprotected_host() {
    for to in [
        "http://other.test/x.png",
        "http://files.cdn.test/x.png",
        "ftp://other.test/x",
        "file:///etc/passwd",
    ] {
        let lab = host(vec![moved(to); 9]);
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(
            failure(&result),
            (ErrorKind::BadResponse, Charge::Certain),
            "{to}"
        );
        let away: Vec<_> = lab
            .sent()
            .iter()
            .map(|sent| sent.head.uri().to_string())
            .collect();
        assert_eq!(away, [format!("{BASE}/make"), FILE.to_owned()], "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_in_circles_end() {
    let lab = host(vec![moved(FILE); 100]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::BadResponse, Charge::Certain));
    assert!(lab.sent().len() <= 10, "{} sends", lab.sent().len());
}

#[tokio::test(start_paused = true)]
async fn calls_of_the_service_follow_no_redirect() {
    for mode in [Mode::Link, Mode::Media, Mode::Base64, Mode::Word] {
        for to in ["https://other.test/v1/make", "https://api.acme.test/v2/make"] {
            let lab = Lab::new(mode, move |_| moved(to));
            let result = lab.generate(lab.image("dog.png")).await;
            assert_eq!(failure(&result).0, ErrorKind::BadResponse, "{mode:?}");
            assert_eq!(lab.sent().len(), 1, "{mode:?} followed to {to}");
            assert_key_stays_home(&lab.transport);
        }
    }
}
