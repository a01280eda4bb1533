//! The journal: what is written down before and after each step, and that nothing happens when it cannot be.

use std::collections::HashSet;

use std::sync::Arc;
use std::time::Duration;

use media_core::http::{Scripted, Sent};
use media_core::{Charge, ErrorKind, Event};
use serde_json::json;

use crate::support::{FILE, Lab, Mode, Recorder, failure, link, name_of, png};

/// Everything of an order, with a journal that takes its time: what is durable is asked for when the request arrives.
#[tokio::test(start_paused = true)]
async fn each_step_is_durable_before_the_next() {
    let journal = Arc::<Recorder>::default();
    let seen = Arc::clone(&journal);
    let lab = Lab::with(Mode::Link, journal, move |request| {
        if request.uri().host() == Some("files.cdn.test") {
            assert_eq!(
                seen.names(),
                ["sending", "linked"],
                "the link is durable before it is followed"
            );
            return Scripted::new(200, png());
        }
        let key = request.headers()["x-key"].to_str().unwrap();
        assert_eq!(seen.intents(key), 1, "the intent is durable before the wire");
        link()
    });
    let output = lab.path("dog.png");
    *lab.journal.watched.lock().unwrap() = output.clone();
    let result = lab.generate(lab.image("dog.png")).await;
    let file = result.outcome.unwrap();
    assert_eq!(lab.journal.names(), ["sending", "linked", "have", "done"]);
    assert_eq!(
        lab.journal.stood(),
        [false, false, false, true],
        "HAVE comes before the rename, DONE after it"
    );
    let events = lab.journal.events();
    assert!(events.iter().all(|(key, _)| *key == events[0].0));
    let Event::Linked { link, .. } = &events[1].1 else {
        panic!("{events:?}")
    };
    assert_eq!(link.url.as_str(), FILE);
    let Event::Have {
        sha256,
        bytes,
        staged,
        ..
    } = &events[2].1
    else {
        panic!("{events:?}")
    };
    assert_eq!((sha256, *bytes), (&file.sha256, file.bytes));
    assert!(
        staged.starts_with(lab.dir.path()) && *staged != output,
        "{staged:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_send_again_is_written_down_again() {
    let journal = Arc::<Recorder>::default();
    let seen = Arc::clone(&journal);
    let lab = Lab::with(Mode::Media, journal, move |request| {
        let key = request.headers()["x-key"].to_str().unwrap();
        match seen.intents(key) {
            0 => panic!("sent without an intent"),
            1 => Scripted::new(429, ""),
            2 => Scripted::fails(Sent::Maybe),
            3 => Scripted::new(503, ""),
            _ => Scripted::new(200, png()),
        }
    })
    .same_key(Duration::from_secs(3600));
    let result = lab.generate(lab.image("dog.png")).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    // The refusal after the lost answer is none that clears anything.
    assert_eq!(
        lab.journal.names(),
        [
            "sending", "refused", "sending", "sending", "sending", "have", "done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn all_jobs_of_a_call_are_written_down_in_one_go() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/v1/batch" => Scripted::new(400, "no"),
        _ => link(),
    })
    .batches(4)
    .concurrency(4);
    let results = lab.client().generate_batch(lab.images(9)).collect().await;
    assert_eq!(results.len(), 9);
    assert!(
        results
            .iter()
            .all(|result| failure(result) == (ErrorKind::InvalidRequest, Charge::None))
    );
    for sent in lab.sent() {
        for task in serde_json::from_slice::<Vec<serde_json::Value>>(&sent.body).unwrap() {
            assert_eq!(lab.journal.intents(task["key"].as_str().unwrap()), 1);
        }
    }
    let events = lab.journal.events();
    let refused = events.iter().filter(|(_, event)| name_of(event) == "refused");
    let keys: HashSet<_> = refused.map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_not_sent() {
    let lab = Lab::new(Mode::Media, |_| Scripted::new(200, png()));
    *lab.journal.refuses.lock().unwrap() = Some("sending");
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::None));
    assert!(lab.sent().is_empty());
    assert!(lab.files().is_empty());
}

/// The money is spent by then: a file under its name is a better record than none. But nothing more is bought.
#[tokio::test(start_paused = true)]
async fn what_was_paid_for_is_delivered_even_when_that_cannot_be_written_down() {
    for refused in ["linked", "have"] {
        let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
            "/v1/make" => link(),
            _ => Scripted::new(200, png()),
        });
        *lab.journal.refuses.lock().unwrap() = Some(refused);
        let results = lab.client().generate_batch(lab.images(3)).collect().await;
        let (made, left): (Vec<_>, Vec<_>) = results.iter().partition(|result| result.outcome.is_ok());
        assert_eq!((made.len(), left.len()), (1, 2), "{refused}");
        assert_eq!((lab.keys().len(), lab.files().len()), (1, 1), "{refused}");
        for result in left {
            assert_eq!(failure(result), (ErrorKind::Cancelled, Charge::None), "{refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn free_calls_are_not_written_down_as_purchases() {
    let lab = Lab::new(Mode::Word, |request| match request.uri().host() {
        Some("files.cdn.test") => Scripted::new(200, png()),
        _ => Scripted::new(200, json!({"url": FILE}).to_string()),
    });
    let result = lab.generate(lab.image("dog.png")).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    assert!(
        !lab.journal.names().contains(&"sending"),
        "{:?}",
        lab.journal.names()
    );
}
