//! What an earlier process left unfinished: finished, fetched or reported, never bought again.

use std::path::PathBuf;
use std::time::Duration;

use media_core::http::{Scripted, Sent};
use media_core::{Charge, Delivery, ErrorKind, Facts, Link, Order, Prior, Usd};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{FILE, Lab, Mode, failure, files_below, link, png};

fn lab() -> Lab {
    Lab::new(Mode::Link, |request| match request.uri().path() {
        "/one.png" => Scripted::new(200, png()),
        "/v1/make" => link(),
        _ => Scripted::new(404, ""),
    })
}

/// Runs one order to its end.
async fn run(lab: &Lab, prior: Prior) -> media_core::MediaResult {
    let (orders, lane) = tokio::sync::mpsc::channel(1);
    let mut deliveries = lab.client().run(lane);
    let order = Order {
        prior,
        ..Order::new(7, lab.image("dog.png"))
    };
    orders.send(order).await.unwrap();
    drop(orders);
    let Delivery { tag, result } = deliveries.recv().await.unwrap();
    assert_eq!(tag, 7);
    assert!(deliveries.recv().await.is_none(), "it was answered twice");
    result
}

fn linked() -> Prior {
    Prior::Linked {
        link: Link::new(FILE.parse().unwrap()),
        facts: Box::new(Facts {
            credit: Some("Ann".into()),
            cost: Usd::from_dollars(0.25),
            ..Facts::default()
        }),
    }
}

/// Bytes that an earlier process had secured.
fn have(lab: &mut Lab, bytes: &[u8]) -> (Prior, PathBuf) {
    let folder = lab.staging_folder().join("staging");
    std::fs::create_dir_all(&folder).unwrap();
    let staged = folder.join("one.part");
    std::fs::write(&staged, bytes).unwrap();
    (
        Prior::Have {
            sha256: media_core::hex(&Sha256::digest(png())),
            staged: staged.clone(),
            facts: Box::default(),
        },
        staged,
    )
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_asked_for_and_not_sent_again() {
    for recoverable in [false, true] {
        let mut lab = lab();
        lab.capabilities.recoverable = recoverable;
        let result = run(
            &lab,
            Prior::Sent {
                ago: None,
                batch: None,
            },
        )
        .await;
        assert_eq!(failure(&result).1, Charge::Unknown);
        assert!(lab.keys().is_empty(), "it was sent again");
        assert_eq!(lab.sent().len(), usize::from(recoverable));
    }
}

/// The service forgets a key some time after its first send, whichever process made that.
#[tokio::test(start_paused = true)]
async fn a_key_is_not_sent_again_once_it_is_too_old() {
    let window = Duration::from_secs(60);
    for (ago, sends) in [(30, 3), (50, 1), (60, 0)] {
        let mut lab = Lab::new(Mode::Link, |_| {
            Scripted::fails(Sent::Maybe).after(Duration::from_secs(10))
        })
        .same_key(window);
        lab.capabilities.resend_seconds = Some(window.as_secs());
        let ago = Some(Duration::from_secs(ago));
        let result = run(&lab, Prior::Sent { ago, batch: None }).await;
        assert_eq!(failure(&result).1, Charge::Unknown);
        assert_eq!(lab.keys().len(), sends, "{ago:?}");
    }
}

/// A bug of a provider must not lose a purchase, nor those that come after it.
#[tokio::test(start_paused = true)]
async fn a_panic_while_asking_is_answered_as_unknown() {
    let mut lab = lab();
    lab.capabilities.recoverable = true;
    let (orders, lane) = tokio::sync::mpsc::channel(2);
    let mut deliveries = lab.client().run(lane);
    let request = media_core::MediaRequest::image("panic in recovery", lab.path("cat.png"));
    let panics = Order {
        prior: Prior::Sent {
            ago: None,
            batch: None,
        },
        ..Order::new(0, request)
    };
    orders.send(panics).await.unwrap();
    orders.send(Order::new(1, lab.image("dog.png"))).await.unwrap();
    drop(orders);
    let mut results = Vec::new();
    while let Some(Delivery { tag, result }) = deliveries.recv().await {
        results.push((tag, result));
    }
    results.sort_by_key(|(tag, _)| *tag);
    assert_eq!(failure(&results[0].1), (ErrorKind::Cancelled, Charge::Unknown));
    assert!(results[1].1.outcome.is_ok(), "{:?}", results[1]);
}

/// The host of a link may be gone by the next day; the service knows a new one.
#[tokio::test(start_paused = true)]
async fn a_link_to_a_host_that_is_no_more_is_asked_for_anew() {
    let fresh = "https://other.cdn.test/fresh.png";
    let mut lab = Lab::new(Mode::Link, move |request| match request.uri().host() {
        Some("other.cdn.test") => Scripted::new(200, png()),
        Some("api.acme.test") => Scripted::new(200, json!({ "url": fresh }).to_string()),
        _ => Scripted::fails(Sent::No),
    });
    lab.capabilities.recoverable = true;
    let result = run(&lab, linked()).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    assert_eq!(lab.files(), ["dog.png"]);
    assert!(lab.keys().is_empty(), "it was bought again");
}

#[tokio::test(start_paused = true)]
async fn a_link_is_downloaded() {
    let lab = lab();
    let result = run(&lab, linked()).await;
    assert!(result.outcome.is_ok(), "{result:?}");
    assert_eq!(lab.paths(), ["/one.png"]);
    assert_eq!(result.provenance.credit.as_deref(), Some("Ann"));
    assert_eq!(result.cost.unwrap().usd, Usd::from_dollars(0.25).unwrap());
}

#[tokio::test(start_paused = true)]
async fn bytes_on_disk_get_their_name() {
    let mut lab = lab();
    let (prior, staged) = have(&mut lab, &png());
    let result = run(&lab, prior).await;
    assert_eq!(std::fs::read(result.outcome.unwrap().path).unwrap(), png());
    assert!(!staged.exists() && lab.sent().is_empty());
    assert_eq!(lab.journal.names(), ["have", "done"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_gone_are_not_done() {
    let mut lab = lab();
    let (prior, staged) = have(&mut lab, &png());
    std::fs::remove_file(staged).unwrap();
    let result = run(&lab, prior).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::Certain));
    assert!(
        lab.journal.names().is_empty(),
        "the journal says {:?}",
        lab.journal.names()
    );
}

/// Not the bytes that were secured: half of them, or others.
#[tokio::test(start_paused = true)]
async fn bytes_that_have_changed_get_no_name() {
    let mut other = png();
    other.truncate(50);
    for bytes in [other, crate::support::large_png(), crate::support::wav(false)] {
        let mut lab = lab();
        let (prior, _) = have(&mut lab, &bytes);
        let result = run(&lab, prior).await;
        assert!(
            result.outcome.is_err(),
            "{} bytes of something else were accepted",
            bytes.len()
        );
        assert_eq!(failure(&result).1, Charge::Certain);
        assert!(!lab.path("dog.png").exists());
        assert!(
            lab.journal.names().is_empty(),
            "the journal says {:?}",
            lab.journal.names()
        );
    }
}

/// Whatever keeps an order from being looked at, what it may have cost before stays true.
#[tokio::test(start_paused = true)]
async fn an_order_that_was_sent_before_is_never_called_free() {
    let cases = [
        (
            Prior::Sent {
                ago: None,
                batch: None,
            },
            Charge::Unknown,
        ),
        (linked(), Charge::Certain),
    ];
    for (prior, charge) in cases {
        // A file of the user's stands where the output goes.
        let lab = lab();
        std::fs::write(lab.path("dog.png"), "mine").unwrap();
        assert_eq!(failure(&run(&lab, prior).await).1, charge, "refused by the check");
    }
    let mut lab = lab();
    let (prior, staged) = have(&mut lab, &png());
    std::fs::write(lab.path("dog.png"), "mine").unwrap();
    assert_eq!(
        failure(&run(&lab, prior).await).1,
        Charge::Certain,
        "refused by the check"
    );
    assert!(staged.exists(), "what was paid for is gone");
    assert_eq!(std::fs::read(lab.path("dog.png")).unwrap(), b"mine");
}

#[tokio::test(start_paused = true)]
async fn nor_when_a_stop_comes_first() {
    for (prior, charge) in [
        (
            Prior::Sent {
                ago: None,
                batch: None,
            },
            Charge::Unknown,
        ),
        (linked(), Charge::Certain),
    ] {
        let lab = Lab::new(Mode::Link, |_| {
            Scripted::new(404, "").after(Duration::from_secs(10))
        });
        let (orders, lane) = tokio::sync::mpsc::channel(8);
        let mut deliveries = lab.client().run(lane);
        orders.send(Order::new(0, lab.image("cat.png"))).await.unwrap();
        let order = Order {
            prior: prior.clone(),
            ..Order::new(1, lab.image("dog.png"))
        };
        orders.send(order).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.stop().ask();
        drop(orders);
        let mut answered = 0;
        while let Some(Delivery { tag, result }) = deliveries.recv().await {
            answered += 1;
            if tag == 1 {
                assert_eq!(failure(&result).1, charge, "{prior:?}");
            }
        }
        assert!(answered >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nor_when_the_lane_was_halted() {
    let lab = Lab::new(Mode::Link, |_| Scripted::new(401, ""));
    let (orders, lane) = tokio::sync::mpsc::channel(8);
    let mut deliveries = lab.client().run(lane);
    orders.send(Order::new(0, lab.image("cat.png"))).await.unwrap();
    for (tag, prior) in [
        (
            1,
            Prior::Sent {
                ago: None,
                batch: None,
            },
        ),
        (2, linked()),
    ] {
        let request = lab.image(&format!("{tag}.png"));
        orders
            .send(Order {
                prior,
                ..Order::new(tag, request)
            })
            .await
            .unwrap();
    }
    drop(orders);
    let mut charges = Vec::new();
    while let Some(Delivery { tag, result }) = deliveries.recv().await {
        charges.push((tag, failure(&result).1));
    }
    charges.sort_by_key(|(tag, _)| *tag);
    assert_eq!(
        charges,
        [(0, Charge::None), (1, Charge::Unknown), (2, Charge::Certain)]
    );
}

/// What is only fetched or placed proves nothing about a model.
#[tokio::test(start_paused = true)]
async fn the_first_one_that_is_bought_goes_alone_after_a_resumed_one_too() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/one.png" => Scripted::new(200, png()),
        _ => Scripted::new(401, "").after(Duration::from_secs(1)),
    })
    .concurrency(4);
    let (orders, lane) = tokio::sync::mpsc::channel(8);
    let mut deliveries = lab.client().run(lane);
    orders
        .send(Order {
            prior: linked(),
            ..Order::new(0, lab.image("cat.png"))
        })
        .await
        .unwrap();
    for tag in 1..6 {
        orders
            .send(Order::new(tag, lab.image(&format!("{tag}.png"))))
            .await
            .unwrap();
    }
    drop(orders);
    while deliveries.recv().await.is_some() {}
    assert_eq!(
        lab.keys().len(),
        1,
        "a wrong key cost {} refusals",
        lab.keys().len()
    );
}

#[tokio::test(start_paused = true)]
async fn keys_stay_the_same_for_the_next_process() {
    let (one, two) = (lab(), lab());
    let request = one.image("dog.png").id("dog");
    one.generate(request.clone()).await.outcome.unwrap();
    let elsewhere = media_core::MediaRequest {
        output_path: two.path("other.png"),
        ..request
    };
    two.generate(elsewhere).await.outcome.unwrap();
    assert_eq!(one.keys(), two.keys());
    assert_eq!(files_below(two.dir.path()), ["other.png"]);
}
