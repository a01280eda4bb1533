//! The first promise across runs: whatever happened, the same command again buys nothing a second time.

use media_sim::{Fault, FaultKind, Op, OpenAiKey, OpenAiTrait, Provider, Scenario};

use crate::support::{Desk, jobs};

fn kettle(provider: &str, extension: &str) -> String {
    jobs(&[
        ("a", provider, "a hat", &format!("a.{extension}")),
        ("b", provider, "a kettle", &format!("b.{extension}")),
    ])
}

#[track_caller]
fn assert_once(desk: &Desk) {
    assert!(
        desk.charges_by_content().values().all(|count| *count == 1),
        "bought twice: {:#?}",
        desk.sim().bill()
    );
}

#[test]
fn what_may_have_been_billed_is_not_sent_again_by_itself() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", kettle("openai", "webp"));
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::CutAfterBilling)
            .on(Op::Image)
            .matching("kettle"),
    );
    let first = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["nothing is sent again by itself"]);
    assert_eq!(first.line("b")["status"], "unknown");
    let again = desk.make("list.jsonl");
    assert_once(&desk);
    assert_eq!(again.ended(1).line("b")["status"], "unknown");
}

#[test]
fn what_was_paid_and_no_good_is_not_bought_again_by_itself() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", kettle("openai", "png"));
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::Corrupt)
            .on(Op::Image)
            .matching("kettle"),
    );
    let first = desk.make("list.jsonl").ended(1);
    assert_eq!(first.line("b")["error"]["charge"], "certain");
    desk.make("list.jsonl");
    assert_once(&desk);
}

#[test]
fn what_failed_unbilled_is_tried_again() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", kettle("openai", "png"));
    let slow = FaultKind::status(429);
    desk.sim().arm(
        Fault::new(Provider::Openai, slow)
            .on(Op::Image)
            .matching("kettle")
            .times(4),
    );
    desk.make("list.jsonl").ended(1);
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!((again.count("skipped"), again.count("done")), (1, 1));
    desk.assert_bill_is(2);
}

#[test]
fn a_run_that_was_killed_is_taken_up_without_buying_again() {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 400;
    let desk = Desk::with(scenario);
    let rows: Vec<_> = (0..10)
        .map(|n| {
            (
                format!("p{n}"),
                "runware",
                format!("picture {n}"),
                format!("p{n}.webp"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    let mut child = desk
        .command(&["run", "list.jsonl", "--out", "out"])
        .spawn()
        .unwrap();
    crate::support::until("the second batch is accepted", || desk.charges() > 4);
    child.kill().unwrap();
    child.wait().unwrap();
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!(again.count("skipped") + again.count("done"), 10, "{again:#?}");
    assert_once(&desk);
    assert_eq!(desk.charges(), 10);
    desk.assert_clean("out");
}

#[test]
fn a_refused_prompt_costs_nothing_and_the_rest_goes_on() {
    for provider in ["openai", "runware"] {
        let desk = Desk::with_sim();
        desk.file(
            "list.jsonl",
            jobs(&[
                ("a", provider, "a hat", "a.webp"),
                ("b", provider, "a bloody kettle", "b.webp"),
                ("c", provider, "a cap", "c.webp"),
            ]),
        );
        let ran = desk.make("list.jsonl").ended(1);
        let line = ran.line("b");
        assert_eq!(
            (&line["error"]["kind"], &line["error"]["charge"]),
            (&"content_rejected".into(), &"none".into())
        );
        assert_eq!(ran.count("done"), 2);
        desk.assert_bill_is(2);
    }
}

#[test]
fn an_account_without_money_stops_and_waits_for_a_person() {
    for this in [
        OpenAiTrait::NoCredit,
        OpenAiTrait::HardLimit,
        OpenAiTrait::SpendCap,
    ] {
        let mut scenario = Scenario::instant();
        scenario.openai.keys = vec![OpenAiKey::new("sim-openai", vec![this])];
        let desk = Desk::with(scenario);
        desk.file("list.jsonl", kettle("openai", "webp"));
        let ran = desk.make("list.jsonl").ended(3);
        assert_eq!(
            (ran.count("failed"), ran.count("cancelled")),
            (1, 1),
            "{this:?}: {ran:#?}"
        );
        desk.assert_bill_is(0);
    }
    let mut scenario = Scenario::instant();
    scenario.runware.keys[0].balance_usd = 0.001;
    let desk = Desk::with(scenario);
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "b.webp"),
            ("c", "runware", "a bow", "c.webp"),
        ]),
    );
    let ran = desk.make("list.jsonl").ended(3);
    assert_eq!(ran.count("done"), 1, "{ran:#?}");
    desk.assert_bill_is(1);
}

#[test]
fn an_account_without_permission_stops_and_waits_for_a_person() {
    for this in [
        OpenAiTrait::NoImageScope,
        OpenAiTrait::Unverified,
        OpenAiTrait::UnsupportedCountry,
    ] {
        let mut scenario = Scenario::instant();
        scenario.openai.keys = vec![OpenAiKey::new("sim-openai", vec![this])];
        let desk = Desk::with(scenario);
        desk.file("list.jsonl", kettle("openai", "webp"));
        let ran = desk.make("list.jsonl").ended(3);
        assert_eq!(ran.count("done"), 0, "{this:?}: {ran:#?}");
        let sent = desk
            .sim()
            .calls()
            .iter()
            .filter(|call| call.path.contains("images"))
            .count();
        assert_eq!(sent, 1, "one refusal, not a lane full: {this:?}");
        desk.assert_bill_is(0);
    }
}

/// What one run has told is not told by the next as if it were spent once more.
#[test]
fn the_cost_of_a_failure_is_told_once() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    desk.sim().arm(
        Fault::new(Provider::Runware, FaultKind::Corrupt)
            .on(Op::Media)
            .times(50),
    );
    desk.make("list.jsonl").ended(1).said(&["USD reported"]);
    let again = desk.make("list.jsonl").ended(1);
    assert!(!again.stderr.contains("USD reported"), "{again:#?}");
    desk.disarm();
    let last = desk.make("list.jsonl").ended(0);
    assert!(!last.stderr.contains("USD reported"), "{last:#?}");
    let results = desk.run(&["export", "results", "--out", "out"]).ended(0).stdout;
    assert!(results.contains("\"cost_usd\":0.0006"), "{results}");
    assert_eq!(desk.charges(), 1);
}
