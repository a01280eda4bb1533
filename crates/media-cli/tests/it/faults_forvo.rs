//! Forvo misbehaving: quotas, words that nobody recorded, links and recordings that are no good.

use media_sim::{Fault, FaultKind, ForvoNotFound, Op, Provider, Scenario, WrongType};

use crate::support::{Desk, Ran, jobs};

fn words() -> String {
    jobs(&[
        ("a", "forvo", "perro", "a.mp3"),
        ("b", "forvo", "gato", "b.mp3"),
        ("c", "forvo", "casa", "c.mp3"),
    ])
}

#[track_caller]
fn struck(op: Op, times: u64, kind: FaultKind) -> (Desk, Ran) {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", words());
    desk.sim().arm(
        Fault::new(Provider::Forvo, kind)
            .on(op)
            .matching("gato")
            .times(times),
    );
    let ran = desk.make("list.jsonl");
    desk.assert_clean("out");
    (desk, ran)
}

#[test]
fn a_spent_quota_waits_and_the_same_command_goes_on() {
    let mut scenario = Scenario::instant();
    scenario.forvo.keys[0].requests_per_day = 4;
    scenario.forvo.limits.concurrency = 1;
    let mut desk = Desk::with(scenario);
    desk.file("list.jsonl", words());
    let ran = desk
        .make("list.jsonl")
        .ended(4)
        .said(&["UTC", "next: media run list.jsonl --out out"]);
    assert_eq!((ran.count("done"), ran.count("waiting")), (2, 1));
    let waiting = ran
        .lines()
        .into_values()
        .find(|line| line["status"] == "waiting")
        .unwrap();
    assert!(waiting["until"].as_str().unwrap().ends_with('Z'), "{waiting}");
    assert_eq!(
        (&waiting["error"]["kind"], &waiting["error"]["charge"]),
        (&"quota_exhausted".into(), &"none".into())
    );
    assert_eq!(desk.sim().bill().quotas[0].used, 4);
    // The rest of the day is known to be lost: nothing is asked.
    let calls = desk.sim().calls().len();
    desk.make("list.jsonl").ended(4);
    assert_eq!(desk.sim().calls().len(), calls);
    desk.tomorrow();
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!((again.count("skipped"), again.count("done")), (2, 1));
    desk.assert_clean("out");
}

#[test]
fn a_quota_that_somebody_else_used_up() {
    let (mut desk, ran) = struck(Op::Lookup, 1, FaultKind::QuotaBody);
    assert_eq!(ran.code, Some(4), "{ran:#?}");
    assert_eq!(ran.line("b")["status"], "waiting");
    assert!(ran.count("done") <= 2 && ran.count("failed") == 0, "{ran:#?}");
    desk.tomorrow();
    desk.make("list.jsonl").ended(0);
}

#[test]
fn a_quota_body_in_place_of_a_recording_is_no_recording() {
    let (mut desk, ran) = struck(Op::Audio, 1, FaultKind::QuotaBody);
    assert_eq!(ran.code, Some(4), "{ran:#?}");
    assert_eq!(ran.line("b")["status"], "waiting", "{ran:#?}");
    desk.tomorrow();
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.outputs("out").len(), 3);
}

#[test]
fn words_that_nobody_recorded() {
    for answer in [
        ForvoNotFound::Empty,
        ForvoNotFound::False,
        ForvoNotFound::Redirect,
    ] {
        let mut scenario = Scenario::instant();
        scenario.forvo.not_found = answer;
        let desk = Desk::with(scenario);
        desk.file(
            "list.jsonl",
            jobs(&[("a", "forvo", "perro", "a.mp3"), ("b", "forvo", "ojalá", "b.mp3")]),
        );
        let ran = desk.make("list.jsonl").ended(1).said(&["ojalá"]);
        let line = ran.line("b");
        assert_eq!(
            (&line["status"], &line["error"]["kind"]),
            (&"failed".into(), &"not_found".into()),
            "{answer:?}"
        );
        assert_eq!(line["error"]["charge"], "none");
        assert_eq!(ran.line("a")["status"], "done");
    }
}

#[test]
fn recordings_that_are_no_good_get_no_name() {
    for kind in [
        FaultKind::Truncate {
            keep_percent: Some(77),
        },
        FaultKind::Corrupt,
        FaultKind::Empty,
        FaultKind::TrailingGarbage { bytes: 64 },
        FaultKind::WrongType {
            what: WrongType::Html,
        },
        FaultKind::WrongType {
            what: WrongType::Json,
        },
        FaultKind::WrongType {
            what: WrongType::HtmlAsMedia,
        },
        FaultKind::WrongType {
            what: WrongType::OtherFormat,
        },
        FaultKind::CutMiddle {
            after_bytes: Some(500),
        },
        FaultKind::CutBefore,
        FaultKind::CutAfterBilling,
    ] {
        let (desk, ran) = struck(Op::Audio, 1, kind.clone());
        let line = ran.line("b");
        assert_eq!(
            (&*ran.statuses()["a"], &*ran.statuses()["c"]),
            ("done", "done"),
            "{kind:?}: {ran:#?}"
        );
        if line["status"] != "done" {
            assert_eq!(
                (ran.code, line["status"].as_str()),
                (Some(1), Some("failed")),
                "{kind:?}: {ran:#?}"
            );
            // Calls are not money.
            assert_eq!(
                (&line["error"]["charge"], &line["cost_usd"]),
                (&"none".into(), &0.0.into()),
                "{kind:?}: {line}"
            );
        }
        desk.make("list.jsonl").ended(0);
        assert_eq!(desk.outputs("out").len(), 3, "{kind:?}");
        desk.assert_clean("out");
    }
}

#[test]
fn a_service_that_falls_over_is_asked_again() {
    let status = |status| FaultKind::Status {
        status,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: Some(serde_json::json!("<html>sorry</html>")),
        billed: false,
    };
    for (op, kind) in [
        (Op::Lookup, status(502)),
        (Op::Lookup, status(429)),
        (Op::Audio, status(503)),
        (Op::Lookup, FaultKind::CutBefore),
        (
            Op::Lookup,
            FaultKind::CutMiddle {
                after_bytes: Some(20),
            },
        ),
    ] {
        let (_, ran) = struck(op, 1, kind.clone());
        assert_eq!((ran.code, ran.count("done")), (Some(0), 3), "{kind:?}: {ran:#?}");
    }
}

#[test]
fn a_key_that_was_disabled_stops_and_waits_for_a_person() {
    let mut scenario = Scenario::instant();
    scenario.forvo.keys[0].disabled = true;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", words());
    let ran = desk.make("list.jsonl").ended(3).said(&["forvo"]);
    assert_eq!(
        (ran.count("done"), ran.count("failed"), ran.count("cancelled")),
        (0, 1, 2),
        "{ran:#?}"
    );
    assert_eq!(desk.sim().calls().len(), 1);
}
