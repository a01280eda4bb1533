//! Nothing is bought twice: what is sent again, under which key, and what a failure may have cost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use media_core::http::{Scripted, Sent};
use media_core::{Charge, Error, ErrorKind, GroupLimits, Retry, Span};
use serde_json::json;

use crate::support::{Lab, Mode, failure, gaps, link, png};

const HOUR: Duration = Duration::from_secs(3600);

fn busy() -> Scripted {
    Scripted::new(200, json!({"error": "busy"}).to_string())
}

/// The first answer is lost; the service refuses every resend of the same key with 429, which bills nothing. But that
/// says nothing about the first send.
///
/// Without the rule (job.rs, `Job::sent`: let the arm `SendEnd::Refused` do `money.lost = false`) this and the next
/// test fail: the result claims `Charge::None`, and the next one even buys again under a new key.
#[tokio::test(start_paused = true)]
async fn doubt_is_sticky() {
    let count = AtomicUsize::new(0);
    let lab = Lab::new(Mode::Media, move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Scripted::fails(Sent::Maybe),
        _ => Scripted::new(429, "slow down"),
    })
    .same_key(HOUR);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::RateLimited, Charge::Unknown));
    assert_eq!((lab.keys().len(), result.attempts), (4, 1));
    assert!(
        lab.keys().iter().all(|key| *key == lab.keys()[0]),
        "{:?}",
        lab.keys()
    );
    assert!(
        !lab.journal.names().contains(&"refused"),
        "{:?}",
        lab.journal.names()
    );
    assert_eq!(result.cost, None);
}

#[tokio::test(start_paused = true)]
async fn doubt_outlives_a_refusal_of_the_task() {
    let answers = vec![
        Scripted::fails(Sent::Maybe),
        Scripted::new(429, ""),
        busy(),
        link(),
    ];
    let lab = Lab::script(Mode::Link, answers).same_key(HOUR);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::ProviderFault, Charge::Unknown));
    assert_eq!(lab.keys().len(), 3);
    assert!(
        lab.keys().iter().all(|key| *key == lab.keys()[0]),
        "no new key while the old one may have been billed"
    );
    assert_eq!(result.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_without_a_key_at_the_service_is_never_sent_again() {
    for lost in [
        Scripted::fails(Sent::Maybe),
        Scripted::new(502, "<html>bad gateway</html>"),
        Scripted::new(200, "{\"url\": \"https://fi").cut(),
        Scripted::new(200, "{\"url\": \"https://fi"),
        Scripted::new(200, ""),
    ] {
        let lab = Lab::script(Mode::Link, vec![lost.clone()]);
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(failure(&result).1, Charge::Unknown, "{lost:?}");
        assert_eq!((lab.sent().len(), result.attempts), (1, 1), "{lost:?}");
        assert_eq!(lab.journal.names(), ["sending"], "{lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_a_lost_one() {
    let lab = Lab::script(Mode::Media, vec![Scripted::new(200, png()).after(HOUR)]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Timeout, Charge::Unknown));
    assert_eq!(lab.sent().len(), 1);
    assert_eq!(
        result.elapsed.as_secs(),
        300,
        "the first byte is waited for as long as configured"
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_left_is_sent_again() {
    let lab = Lab::script(
        Mode::Media,
        vec![Scripted::fails(Sent::No), Scripted::new(200, png())],
    );
    let result = lab.generate(lab.image("dog.png")).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    assert_eq!(lab.keys().len(), 2);
    assert_eq!(lab.keys()[0], lab.keys()[1]);
    assert_eq!(
        lab.journal.names(),
        ["sending", "refused", "sending", "have", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_leaves_costs_nothing() {
    let lab = Lab::new(Mode::Media, |_| Scripted::fails(Sent::No));
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Network, Charge::None));
    assert_eq!(result.outcome.unwrap_err().retry(), Retry::Spent);
    assert_eq!((lab.sent().len(), result.attempts), (4, 1));
    assert_eq!(result.cost.unwrap().usd.micros(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_pace_is_waited_out_under_the_same_key() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
    for (name, value, least) in [
        ("retry-after", "7", Duration::from_secs(7)),
        ("retry-after", "0.5", Duration::from_millis(500)),
        ("retry-after-ms", "4321", Duration::from_millis(4321)),
        // The date has whole seconds, and the real clock goes on meanwhile.
        ("retry-after", date.as_str(), Duration::from_secs(90)),
    ] {
        let slow = Scripted::new(429, "slow down").header(name, value);
        let lab = Lab::script(Mode::Media, vec![slow, Scripted::new(200, png())]);
        let result = lab.generate(lab.image("dog.png")).await;
        assert!(result.outcome.is_ok(), "{result:?}");
        assert!(
            gaps(&lab.sent())[0] >= least,
            "{name}: {value} was waited out for {:?}",
            gaps(&lab.sent())
        );
        assert!(gaps(&lab.sent())[0] <= least * 2 + Duration::from_secs(20));
        assert_eq!((lab.keys()[0] == lab.keys()[1], result.attempts), (true, 1));
    }
}

/// The last refusal is not waited out by its own send, but by everybody else's.
#[tokio::test(start_paused = true)]
async fn even_the_last_refusal_for_pace_pauses_the_others() {
    let answers = vec![
        Scripted::new(200, png()),
        Scripted::new(429, "slow down").header("retry-after", "30"),
        Scripted::new(200, png()),
    ];
    let mut lab = Lab::script(Mode::Media, answers);
    lab.settings.retry.attempts = 1;
    lab.client().generate_batch(lab.images(3)).collect().await;
    assert!(
        gaps(&lab.sent())[1] >= Duration::from_secs(30),
        "{:?}",
        gaps(&lab.sent())
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_refused_is_begun_again_under_a_new_key() {
    let lab = Lab::script(Mode::Link, vec![busy(), link(), Scripted::new(200, png())]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    assert_eq!((lab.keys().len(), result.attempts), (2, 2));
    assert_ne!(lab.keys()[0], lab.keys()[1]);
    assert_eq!(
        lab.journal.names(),
        ["sending", "refused", "sending", "linked", "have", "done"]
    );
    let told = |place: usize| lab.journal.events()[place].0.to_string();
    assert_eq!((told(1), told(2)), (lab.keys()[0].clone(), lab.keys()[1].clone()));
}

#[tokio::test(start_paused = true)]
async fn tries_are_never_more_than_configured() {
    for attempts in [1, 2, 5] {
        for (answer, same_key, sends) in [
            (Scripted::new(429, ""), false, attempts),
            (Scripted::new(503, ""), true, attempts),
            (Scripted::new(500, ""), true, attempts),
            (Scripted::new(500, ""), false, 1),
            (Scripted::fails(Sent::No), false, attempts),
            (Scripted::fails(Sent::Maybe), true, attempts),
            // Each of these is a new attempt, with a key of its own.
            (busy(), true, attempts),
            (Scripted::new(400, ""), true, 1),
        ] {
            let mut lab = Lab::new(Mode::Link, move |_| answer.clone());
            lab.settings.retry.attempts = attempts;
            let lab = if same_key { lab.same_key(HOUR) } else { lab };
            let result = lab.generate(lab.image("dog.png")).await;
            assert_eq!(lab.sent().len(), sends as usize, "{attempts} tries: {result:?}");
        }
    }
}

/// Both loops at once: each new key has the tries of its send, and there are no more keys than tries.
#[tokio::test(start_paused = true)]
async fn the_two_loops_do_not_multiply_what_is_spent() {
    let count = AtomicUsize::new(0);
    let mut lab = Lab::new(Mode::Link, move |_| {
        match count.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Scripted::new(429, ""),
            _ => busy(),
        }
    });
    lab.settings.retry.attempts = 3;
    let result = lab.generate(lab.image("dog.png")).await;
    let mut keys = lab.keys();
    keys.dedup();
    assert_eq!((keys.len(), result.attempts, lab.sent().len()), (3, 3, 6));
    assert_eq!(failure(&result), (ErrorKind::ProviderFault, Charge::None));
}

/// The service forgets keys: after the window, a resend would be a second purchase.
#[tokio::test(start_paused = true)]
async fn nothing_is_resent_after_the_window() {
    let window = Duration::from_secs(10);
    let mut lab = Lab::new(Mode::Link, |_| Scripted::fails(Sent::Maybe)).same_key(window);
    lab.settings.retry.first_delay = Span::secs(8);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result).1, Charge::Unknown);
    let sent = lab.sent();
    let last = sent.last().unwrap().at - sent[0].at;
    assert!(last < window, "the same key was sent again after {last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_reopen_the_window() {
    let window = Duration::from_secs(60);
    let slow = Scripted::new(429, "").header("retry-after", "3600");
    let lab = Lab::script(Mode::Link, vec![Scripted::fails(Sent::Maybe), slow, link()]).same_key(window);
    let result = lab.generate(lab.image("dog.png")).await;
    let sent = lab.sent();
    let last = sent.last().unwrap().at - sent[0].at;
    assert!(last < window, "the same key was sent again after {last:?}");
    assert_eq!(failure(&result).1, Charge::Unknown);
}

#[tokio::test(start_paused = true)]
async fn nor_does_a_wait_for_the_pace() {
    let window = Duration::from_secs(10);
    let answers = vec![Scripted::fails(Sent::Maybe), link()];
    let mut lab = Lab::script(Mode::Link, answers).same_key(window);
    let slow = GroupLimits::default().with("requests_per_minute", 1);
    lab.settings.limits.groups.insert("image".into(), slow);
    let result = lab.generate(lab.image("dog.png")).await;
    let sent = lab.sent();
    let last = sent.last().unwrap().at - sent[0].at;
    assert!(last < window, "the same key was sent again after {last:?}");
    assert_eq!(failure(&result).1, Charge::Unknown);
}

/// Whatever happens to a free question after a paid call was answered, the call stays paid.
#[tokio::test(start_paused = true)]
async fn a_failed_question_never_makes_a_purchase_free() {
    let submitted = || Scripted::new(200, json!({"id": "7"}).to_string());
    for (serving, counted) in [(true, false), (false, false), (true, true), (false, true)] {
        for answer in [
            Scripted::new(404, "no such task"),
            Scripted::new(400, ""),
            Scripted::new(401, ""),
            Scripted::new(429, ""),
            Scripted::new(503, ""),
            Scripted::fails(Sent::No),
            Scripted::fails(Sent::Maybe),
            Scripted::new(200, "what?"),
            Scripted::new(429, json!({"error": {"code": "quota"}}).to_string()),
        ] {
            let shown = format!("{answer:?}, serving: {serving}, counted: {counted}");
            let lab = Lab::new(Mode::Poll { serving, counted }, move |request| {
                if request.uri().path().ends_with("submit") {
                    submitted()
                } else {
                    answer.clone()
                }
            });
            let result = lab.generate(lab.image("dog.png")).await;
            assert_ne!(failure(&result).1, Charge::None, "{shown}");
            assert_eq!(lab.keys().len(), 1, "{shown}");
        }
    }
}

/// Also when the question is never asked: the day's calls are spent.
#[tokio::test(start_paused = true)]
async fn a_question_that_the_quota_forbids_never_makes_a_purchase_free() {
    let submitted = Scripted::new(200, json!({"id": "7"}).to_string());
    let mut lab = Lab::script(
        Mode::Poll {
            serving: false,
            counted: true,
        },
        vec![submitted],
    );
    let daily = GroupLimits::default().with("requests_per_day", 1);
    lab.settings.limits.groups.insert("image".into(), daily);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::QuotaExhausted, Charge::Unknown));
}

/// Also when a stop keeps it from being asked.
#[tokio::test(start_paused = true)]
async fn a_question_that_a_stop_forbids_never_makes_a_purchase_free() {
    for serving in [true, false] {
        let lab = Lab::new(
            Mode::Poll {
                serving,
                counted: false,
            },
            |request| match request.uri().path() {
                "/v1/submit" => {
                    Scripted::new(200, json!({"id": "7"}).to_string()).after(Duration::from_secs(5))
                }
                "/v1/poll/7" => link(),
                _ => Scripted::new(200, png()),
            },
        );
        let stop = lab.stop().clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.ask();
        });
        let result = lab.generate(lab.image("dog.png")).await;
        if result.outcome.is_err() {
            assert_eq!(failure(&result).1, Charge::Unknown, "serving: {serving}");
        }
        assert!(
            !serving || result.outcome.is_ok(),
            "what was paid for is fetched: {result:?}"
        );
    }
}

#[test]
fn what_a_status_alone_says_about_money() {
    let headers = http::HeaderMap::new();
    for (status, charge, retry) in [
        (400, Some(Charge::None), Retry::Never),
        (401, Some(Charge::None), Retry::Never),
        (408, None, Retry::Later),
        (429, Some(Charge::None), Retry::Later),
        (500, None, Retry::Later),
        (502, None, Retry::Later),
        (503, None, Retry::Later),
        (504, None, Retry::Later),
        (302, None, Retry::Never),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error: Error = media_core::http::Reply {
            status,
            headers: &headers,
            body: b"",
            op: "test",
        }
        .by_status();
        assert_eq!((error.charge(), error.retry()), (charge, retry), "{status}");
    }
}

/// An address that is not there is a mistake in the configuration. Called "not found", a chain would buy elsewhere.
#[tokio::test(start_paused = true)]
async fn a_wrong_address_is_not_a_missing_thing() {
    let lab = Lab::script(Mode::Link, vec![Scripted::new(404, "404 page not found")]);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Config, Charge::None));
}
