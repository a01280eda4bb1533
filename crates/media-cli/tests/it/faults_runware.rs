//! Runware misbehaving: what was lost is fetched by its key, and bought once.

use media_sim::{Fault, FaultKind, Op, Provider, WrongType};

use crate::support::{Desk, Ran, jobs};

#[track_caller]
fn struck(extension: &str, op: Op, times: u64, kind: FaultKind) -> (Desk, Ran) {
    let desk = Desk::with_sim();
    let path = |name: &str| format!("{name}.{extension}");
    let paths = [path("a"), path("b"), path("c")];
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", &paths[0]),
            ("b", "runware", "a kettle", &paths[1]),
            ("c", "runware", "a cap", &paths[2]),
        ]),
    );
    desk.sim().arm(
        Fault::new(Provider::Runware, kind)
            .on(op)
            .matching("kettle")
            .times(times),
    );
    let ran = desk.make("list.jsonl");
    desk.assert_clean("out");
    (desk, ran)
}

/// All three are there, each bought once.
#[track_caller]
fn recovered(found: &(Desk, Ran)) {
    let (desk, ran) = found;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(ran.count("done"), 3, "{ran:#?}");
    assert_eq!(desk.charges(), 3, "{:#?}", desk.sim().bill());
    assert_eq!(desk.outputs("out").len(), 3);
}

fn status(status: u16, billed: bool) -> FaultKind {
    FaultKind::Status {
        status,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: None,
        billed,
    }
}

#[test]
fn an_answer_that_is_lost_is_fetched_with_one_charge() {
    recovered(&struck("webp", Op::Image, 1, FaultKind::CutAfterBilling));
    recovered(&struck("mp3", Op::Speech, 1, FaultKind::CutAfterBilling));
    recovered(&struck(
        "webp",
        Op::Image,
        1,
        FaultKind::CutMiddle { after_bytes: None },
    ));
    recovered(&struck("webp", Op::Image, 1, status(502, true)));
}

#[test]
fn a_request_that_never_arrived_is_sent_again_under_the_same_key() {
    recovered(&struck("webp", Op::Image, 1, FaultKind::CutBefore));
    recovered(&struck("webp", Op::Image, 2, status(503, false)));
    recovered(&struck("webp", Op::Image, 2, status(429, false)));
    recovered(&struck("mp3", Op::Speech, 1, FaultKind::CutBefore));
}

#[test]
fn a_poll_that_fails_is_asked_again() {
    recovered(&struck("webp", Op::Poll, 1, FaultKind::CutBefore));
    recovered(&struck("webp", Op::Poll, 2, status(500, false)));
    recovered(&struck(
        "webp",
        Op::Poll,
        1,
        FaultKind::CutMiddle {
            after_bytes: Some(10),
        },
    ));
}

#[test]
fn a_download_that_fails_is_downloaded_again() {
    recovered(&struck(
        "webp",
        Op::Media,
        1,
        FaultKind::CutMiddle {
            after_bytes: Some(100),
        },
    ));
    recovered(&struck("webp", Op::Media, 1, FaultKind::CutBefore));
    recovered(&struck("png", Op::Media, 2, status(503, false)));
}

#[test]
fn a_task_that_failed_unbilled_is_begun_again() {
    let kind = FaultKind::TaskError {
        code: "timeoutProvider".to_owned(),
        message: "slow".to_owned(),
        billed: false,
    };
    recovered(&struck("webp", Op::Image, 1, kind));
}

#[test]
fn a_link_that_is_dead_buys_nothing_again() {
    let (desk, ran) = struck("webp", Op::Media, 50, status(404, false));
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_ne!(ran.line("b")["error"]["charge"], "none", "{ran:#?}");
    assert_eq!((desk.charges(), desk.outputs("out").len()), (3, 2));
    // Once the link works it is fetched, not bought.
    assert!(!desk.sim().armed().is_empty());
    desk.disarm();
    let again = desk.make("list.jsonl");
    assert_eq!(desk.charges(), 3, "{again:#?}");
    assert_eq!(again.ended(0).line("b")["status"], "done");
}

#[test]
fn bad_media_gets_no_name_and_is_bought_once() {
    let cases = [
        (
            "webp",
            FaultKind::Truncate {
                keep_percent: Some(90),
            },
        ),
        ("png", FaultKind::Corrupt),
        ("webp", FaultKind::Corrupt),
        ("jpg", FaultKind::TrailingGarbage { bytes: 64 }),
        ("webp", FaultKind::Empty),
        (
            "mp3",
            FaultKind::Truncate {
                keep_percent: Some(77),
            },
        ),
        (
            "webp",
            FaultKind::WrongType {
                what: WrongType::OtherFormat,
            },
        ),
        (
            "webp",
            FaultKind::WrongType {
                what: WrongType::Html,
            },
        ),
        (
            "webp",
            FaultKind::WrongType {
                what: WrongType::Json,
            },
        ),
        (
            "mp3",
            FaultKind::WrongType {
                what: WrongType::HtmlAsMedia,
            },
        ),
    ];
    for (extension, kind) in cases {
        let (desk, ran) = struck(extension, Op::Media, 1, kind.clone());
        assert_eq!(desk.charges(), 3, "{kind:?}: {ran:#?}");
        let line = ran.line("b");
        match line["status"].as_str().unwrap() {
            "done" => assert_eq!(desk.outputs("out").len(), 3),
            _ => {
                assert_eq!(
                    (ran.code, desk.outputs("out").len()),
                    (Some(1), 2),
                    "{kind:?}: {ran:#?}"
                );
                assert_eq!(line["error"]["charge"], "certain", "{line}");
            }
        }
        // The transfer was at fault, not what was bought: the same command fetches it, and buys nothing.
        let again = desk.make("list.jsonl");
        assert_eq!(desk.charges(), 3, "bought again, {kind:?}: {again:#?}");
        desk.assert_clean("out");
    }
}

#[test]
fn a_download_that_stays_damaged_is_kept_to_be_looked_at() {
    let cut = FaultKind::Truncate {
        keep_percent: Some(90),
    };
    let (desk, ran) = struck("webp", Op::Media, 50, cut);
    let next = ran.line("b")["error"]["next"].as_str().unwrap().to_owned();
    let kept = desk.rejected("out");
    assert!(next.contains("rejected") && kept.len() == 1, "{next}");
    assert!(std::fs::metadata(&kept[0]).unwrap().len() > 0);
    desk.disarm();
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 3);
}
