//! OpenAI misbehaving: an answer that is lost is "unknown" and paid at most once; nothing bad gets a name.

use media_sim::{Fault, FaultKind, Op, Provider, WrongType};
use serde_json::json;

use crate::support::{Desk, Ran, jobs};

/// Runs three pictures (or voices) of which the second meets a fault. The other two are done.
#[track_caller]
fn struck(extension: &str, times: u64, kind: FaultKind) -> (Desk, Ran) {
    struck_at(Desk::with_sim(), extension, times, kind)
}

#[track_caller]
fn struck_at(desk: Desk, extension: &str, times: u64, kind: FaultKind) -> (Desk, Ran) {
    let what = format!("{kind:?}");
    let path = |name: &str| format!("{name}.{extension}");
    let paths = [path("a"), path("b"), path("c")];
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "openai", "a hat", &paths[0]),
            ("b", "openai", "a kettle", &paths[1]),
            ("c", "openai", "a cap", &paths[2]),
        ]),
    );
    let op = if ["mp3", "wav", "flac"].contains(&extension) {
        Op::Speech
    } else {
        Op::Image
    };
    desk.sim().arm(
        Fault::new(Provider::Openai, kind)
            .on(op)
            .matching("kettle")
            .times(times),
    );
    let ran = desk.make("list.jsonl");
    desk.assert_clean("out");
    let statuses = ran.statuses();
    assert_eq!(
        (&*statuses["a"], &*statuses["c"]),
        ("done", "done"),
        "{what}: {ran:#?}"
    );
    (desk, ran)
}

/// What became of the kettle.
#[track_caller]
fn expect(found: &(Desk, Ran), code: i32, status: &str, charge: &str, charges: usize) {
    let (desk, ran) = found;
    let line = ran.line("b");
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert_eq!(line["status"], status, "{line}");
    assert_eq!(line["error"]["charge"].as_str().unwrap_or(""), charge, "{line}");
    assert_eq!(desk.charges(), 2 + charges, "{:#?}", desk.sim().bill());
    let files = if status == "done" { 3 } else { 2 };
    assert_eq!(desk.outputs("out").len(), files);
}

fn status(status: u16) -> FaultKind {
    FaultKind::status(status)
}

fn hinted(seconds: Option<&str>, millis: Option<&str>) -> FaultKind {
    FaultKind::Status {
        status: 429,
        retry_after: seconds.map(str::to_owned),
        retry_after_ms: millis.map(str::to_owned),
        headers: Default::default(),
        body: None,
        billed: false,
    }
}

fn html(status: u16, billed: bool) -> FaultKind {
    FaultKind::Status {
        status,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: Some(json!("<html><body>bad gateway</body></html>")),
        billed,
    }
}

#[test]
fn a_cut_after_billing_is_unknown_with_one_charge() {
    let found = struck("webp", 1, FaultKind::CutAfterBilling);
    expect(&found, 1, "unknown", "unknown", 1);
    assert!(found.1.stderr.contains("may have been billed"), "{:#?}", found.1);
    let found = struck("mp3", 1, FaultKind::CutAfterBilling);
    expect(&found, 1, "unknown", "unknown", 1);
}

#[test]
fn a_cut_before_is_unknown_too_because_nobody_can_tell() {
    expect(
        &struck("png", 1, FaultKind::CutBefore),
        1,
        "unknown",
        "unknown",
        0,
    );
}

#[test]
fn a_cut_in_the_middle_buys_nothing_again() {
    for extension in ["png", "mp3"] {
        let (desk, ran) = struck(extension, 1, FaultKind::CutMiddle { after_bytes: None });
        let line = ran.line("b");
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(
            ["unknown", "failed"].contains(&line["status"].as_str().unwrap()),
            "{line}"
        );
        assert!(
            ["unknown", "certain"].contains(&line["error"]["charge"].as_str().unwrap()),
            "{line}"
        );
        assert_eq!(desk.charges(), 3);
    }
}

#[test]
fn an_answer_that_comes_too_late_is_unknown() {
    let mut desk = Desk::with_sim();
    let timeouts = json!({ "connect": "100ms", "first_byte": "300ms", "idle": "300ms", "total": "5s" });
    desk.configure("openai", "timeouts", &timeouts);
    let found = struck_at(desk, "webp", 1, FaultKind::DelayAfterBilling { ms: 3000 });
    expect(&found, 1, "unknown", "unknown", 1);
}

#[test]
fn asked_to_slow_down_it_does_and_buys_once() {
    expect(&struck("webp", 2, status(429)), 0, "done", "", 1);
    expect(
        &struck("webp", 1, hinted(Some("0"), Some("20"))),
        0,
        "done",
        "",
        1,
    );
    expect(
        &struck("webp", 1, hinted(Some("soon"), Some("x"))),
        0,
        "done",
        "",
        1,
    );
    expect(
        &struck("webp", 1, hinted(Some("Wed, 21 Oct 2015 07:28:00 GMT"), None)),
        0,
        "done",
        "",
        1,
    );
}

#[test]
fn a_hint_is_a_lower_bound() {
    let before = std::time::Instant::now();
    expect(&struck("webp", 1, hinted(None, Some("700"))), 0, "done", "", 1);
    assert!(before.elapsed().as_millis() > 700);
}

#[test]
fn asked_to_slow_down_for_ever_it_gives_up_unbilled() {
    let found = struck("webp", 1000, status(429));
    expect(&found, 1, "failed", "none", 0);
}

#[test]
fn failures_of_the_server_are_never_bought_again() {
    for (kind, charges) in [
        (html(502, true), 1),
        (html(504, true), 1),
        (html(502, false), 0),
        (status(500), 0),
    ] {
        let (desk, ran) = struck("webp", 1, kind.clone());
        let line = ran.line("b");
        let calls = desk.sim().calls();
        let sent = calls
            .iter()
            .filter(|call| call.path.ends_with("images/generations"))
            .count();
        match line["status"].as_str().unwrap() {
            "unknown" => {
                assert_eq!(
                    (ran.code, sent, desk.charges()),
                    (Some(1), 3, 2 + charges),
                    "{kind:?} {line}"
                );
                assert_eq!(line["error"]["charge"], "unknown", "{line}");
            }
            // A failure that is known to cost nothing may be tried again.
            "done" if charges == 0 => assert_eq!((ran.code, desk.charges()), (Some(0), 3), "{line}"),
            other => panic!("{other} for {kind:?}: {line}"),
        }
    }
}

#[test]
fn bad_media_gets_no_name_and_is_kept_for_a_look() {
    let cases = [
        (
            "png",
            FaultKind::Truncate {
                keep_percent: Some(90),
            },
        ),
        (
            "jpg",
            FaultKind::Truncate {
                keep_percent: Some(90),
            },
        ),
        (
            "webp",
            FaultKind::Truncate {
                keep_percent: Some(99),
            },
        ),
        (
            "mp3",
            FaultKind::Truncate {
                keep_percent: Some(77),
            },
        ),
        // Not a WAV: it is streamed, and its header says no length.
        (
            "flac",
            FaultKind::Truncate {
                keep_percent: Some(90),
            },
        ),
        ("png", FaultKind::Corrupt),
        ("webp", FaultKind::Corrupt),
        ("jpg", FaultKind::Corrupt),
        ("mp3", FaultKind::Corrupt),
        ("flac", FaultKind::Corrupt),
        ("png", FaultKind::TrailingGarbage { bytes: 64 }),
        ("jpg", FaultKind::TrailingGarbage { bytes: 1 }),
        ("mp3", FaultKind::TrailingGarbage { bytes: 64 }),
        (
            "webp",
            FaultKind::WrongType {
                what: WrongType::OtherFormat,
            },
        ),
        (
            "mp3",
            FaultKind::WrongType {
                what: WrongType::OtherFormat,
            },
        ),
        (
            "png",
            FaultKind::WrongType {
                what: WrongType::HtmlAsMedia,
            },
        ),
    ];
    for (extension, kind) in cases {
        let found = struck(extension, 1, kind.clone());
        println!("{extension} {kind:?}");
        expect(&found, 1, "failed", "certain", 1);
        // It is not bought again by itself, so nobody may be told so.
        assert!(
            !found.1.stderr.contains("is asked for again by"),
            "{:#?}",
            found.1
        );
        assert_eq!(
            found.1.line("b")["error"]["kind"],
            "invalid_media",
            "{:#?}",
            found.1
        );
        let kept = found.0.rejected("out");
        assert_eq!(
            kept.len(),
            1,
            "paid bytes are kept for a look: {extension} {kind:?}"
        );
        assert!(std::fs::metadata(&kept[0]).unwrap().len() > 0);
        assert!(kept[0].with_extension("txt").exists());
    }
}

#[test]
fn no_media_at_all_gets_no_name() {
    let cases = [
        ("png", FaultKind::Empty),
        ("mp3", FaultKind::Empty),
        (
            "mp3",
            FaultKind::WrongType {
                what: WrongType::Html,
            },
        ),
        (
            "mp3",
            FaultKind::WrongType {
                what: WrongType::Json,
            },
        ),
        ("webp", FaultKind::EmptyData),
        (
            "mp3",
            FaultKind::WrongType {
                what: WrongType::HtmlAsMedia,
            },
        ),
    ];
    for (extension, kind) in cases {
        let (desk, ran) = struck(extension, 1, kind.clone());
        let line = ran.line("b");
        assert_eq!(ran.code, Some(1), "{kind:?}: {ran:#?}");
        assert!(
            ["failed", "unknown"].contains(&line["status"].as_str().unwrap()),
            "{kind:?}: {line}"
        );
        assert_ne!(line["error"]["charge"], "none", "it was charged: {line}");
        assert_eq!((desk.charges(), desk.outputs("out").len()), (3, 2), "{kind:?}");
    }
}

#[test]
fn success_with_an_error_inside_is_no_success() {
    let (desk, ran) = struck("webp", 1, FaultKind::ErrorBody { body: None });
    let line = ran.line("b");
    assert!(
        ran.code == Some(1) || (ran.code == Some(0) && desk.charges() == 3),
        "{ran:#?}"
    );
    assert!(desk.charges() <= 3, "{line}");
}

#[test]
fn a_redirect_is_not_followed_with_a_key() {
    let (desk, ran) = struck(
        "webp",
        1,
        FaultKind::Redirect {
            location: "http://127.0.0.1:9/steal".to_owned(),
            status: 307,
        },
    );
    assert_ne!(ran.line("b")["status"], "done", "{ran:#?}");
    assert_eq!((ran.code, desk.charges()), (Some(1), 2));
}

#[test]
fn an_answer_that_never_ends_is_cut_off() {
    let mut desk = Desk::with_sim();
    desk.configure("media", "sizes", &json!({ "media": "1MiB", "text": "1MiB" }));
    let (desk, ran) = struck_at(desk, "mp3", 1, FaultKind::Oversized { bytes: 30_000_000 });
    let line = ran.line("b");
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_ne!(line["error"]["charge"], "none", "{line}");
    assert_eq!(desk.charges(), 3);
}

#[test]
fn a_slow_drip_is_waited_for() {
    expect(
        &struck(
            "mp3",
            1,
            FaultKind::Drip {
                bytes: 2000,
                every_ms: 5,
            },
        ),
        0,
        "done",
        "",
        1,
    );
}
