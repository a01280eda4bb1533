//! Chains: the next provider is asked when one does not have it, and never after a charge.

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use serde_json::json;

use crate::support::{Desk, Ran, jobs};

fn list(words: &[&str], chain: &[&str], next_when: &[&str]) -> String {
    let rows = words.iter().map(|word| {
        json!({
            "id": word, "kind": "audio", "provider": chain, "next_when": next_when, "content": word, "language": "es",
            "output_path": format!("{word}.mp3"), "params": { "forvo": { "sex": "any" } },
        })
    });
    rows.map(|row| format!("{row}\n")).collect()
}

/// Forvo has no recording of these.
fn desk() -> Desk {
    let mut scenario = Scenario::instant();
    scenario.forvo.missing = ["xyzzya", "xyzzyb", "xyzzy gore"].map(str::to_owned).to_vec();
    Desk::with(scenario)
}

#[track_caller]
fn delivered(ran: &Ran, id: &str, provider: &str, tried: &[(&str, &str)]) {
    let line = ran.line(id);
    let tried: Vec<_> = tried
        .iter()
        .map(|(name, kind)| json!({ "provider": name, "kind": kind }))
        .collect();
    assert_eq!(
        (&line["provider"], &line["tried"]),
        (&json!(provider), &json!(tried)),
        "{line}"
    );
}

const CHAIN: [&str; 2] = ["forvo", "runware"];

#[test]
fn what_one_does_not_have_the_next_one_makes() {
    let desk = desk();
    desk.file(
        "list.jsonl",
        list(&["perro", "xyzzya", "gato", "xyzzyb"], &CHAIN, &[]),
    );
    let plan = desk.run(&["plan", "list.jsonl", "--out", "out"]).ended(0).stdout;
    assert!(
        plan.contains("of 4 files those that the providers before it do not have"),
        "{plan}"
    );
    let ran = desk
        .make("list.jsonl")
        .ended(0)
        .said(&["forvo: 2 files passed on"]);
    assert_eq!(ran.count("done"), 4);
    delivered(&ran, "perro", "forvo", &[]);
    delivered(&ran, "xyzzya", "runware", &[("forvo", "not_found")]);
    desk.assert_bill_is(2);
    desk.assert_clean("out");
    // A second run asks nobody.
    let lookups_then = desk.lookups();
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!((again.count("skipped"), desk.lookups()), (4, lookups_then));
    assert_eq!(again.line("xyzzya")["provider"], "runware");
    desk.assert_bill_is(2);
    let told = desk.run(&["status", "xyzzya", "--out", "out"]).ended(0).stdout;
    assert!(told.contains("forvo did not: not_found"), "{told}");
    desk.run(&["report", "--out", "out"]).ended(0);
    assert!(
        desk.read("out/report.html")
            .contains("the next provider was asked")
    );
}

#[test]
fn who_failed_last_says_who_failed_before_and_is_not_asked_again_by_itself() {
    let desk = desk();
    desk.file("list.jsonl", list(&["xyzzy gore"], &CHAIN, &[]));
    let ran = desk.make("list.jsonl").ended(1);
    delivered(
        &ran,
        "xyzzy gore",
        "runware",
        &[("forvo", "not_found"), ("runware", "content_rejected")],
    );
    let calls = desk.sim().calls().len();
    let again = desk.make("list.jsonl").ended(1);
    assert_eq!((again.count("failed"), desk.sim().calls().len()), (1, calls));
    desk.assert_bill_is(0);
}

#[test]
fn other_causes_pass_on_only_where_they_are_named() {
    let mut scenario = Scenario::instant();
    scenario.forvo.keys[0].requests_per_day = 2;
    for (next_when, code, charges) in [(&[][..], 4, 0), (&["quota_exhausted"][..], 0, 1)] {
        let desk = Desk::with(scenario.clone());
        desk.file("list.jsonl", list(&["perro", "gato"], &CHAIN, next_when));
        let ran = desk.make("list.jsonl").ended(code);
        assert_eq!(desk.charges(), charges, "{ran:#?}");
        assert_eq!(ran.count("done"), 1 + charges);
        if charges == 1 {
            assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
        }
    }
    let desk = desk();
    desk.file("list.jsonl", list(&["perro"], &CHAIN, &["tuesday"]));
    desk.make("list.jsonl")
        .ended(2)
        .said(&["next_when", "\"tuesday\" is not a kind of error"]);
}

#[test]
fn after_a_charge_or_a_doubt_nobody_else_is_asked() {
    let desk = desk();
    let chain = ["openai", "runware"];
    let list = list(
        &["perro"],
        &chain,
        &["network", "timeout", "cancelled", "bad_response"],
    );
    desk.file("list.jsonl", list.replace("\"forvo\":{\"sex\":\"any\"}", ""));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Speech));
    for _ in 0..2 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.line("perro")["status"], "unknown");
        assert_eq!(desk.charges(), 1);
    }
}

#[test]
fn a_run_that_ends_between_two_providers_goes_on_with_the_second() {
    let mut desk = desk();
    desk.file("list.jsonl", list(&["xyzzya"], &CHAIN, &[]));
    // Only the first of them is wanted for now.
    let ran = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "out",
            "--json",
            "--provider",
            "forvo",
        ])
        .ended(1);
    delivered(&ran, "xyzzya", "forvo", &[("forvo", "not_found")]);
    let asked = desk.lookups();
    let ran = desk.make("list.jsonl").ended(0);
    delivered(&ran, "xyzzya", "runware", &[("forvo", "not_found")]);
    assert_eq!(desk.lookups(), asked);
    desk.assert_bill_is(1);
    // All of its keys are asked for before anything is sent.
    desk.unset("RUNWARE_API_KEY");
    desk.file("list.jsonl", list(&["perro"], &CHAIN, &[]));
    desk.make("list.jsonl").ended(2).said(&["RUNWARE_API_KEY"]);
}

#[test]
fn equal_rows_pass_on_together_and_buy_once() {
    let desk = desk();
    let rows = list(&["xyzzya"], &CHAIN, &[]);
    let other = rows.replace("\"id\":\"xyzzya\"", "\"id\":\"b\"");
    let third = other
        .replace("\"id\":\"b\"", "\"id\":\"c\"")
        .replace("xyzzya.mp3", "c.mp3");
    desk.file("list.jsonl", format!("{rows}{other}{third}"));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("done"), 3, "{ran:#?}");
    assert_eq!(desk.lookups(), 1);
    desk.assert_bill_is(1);
    assert_eq!(desk.outputs("out"), ["c.mp3", "xyzzya.mp3"]);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
}

#[test]
fn an_edited_row_begins_at_the_front_of_its_chain() {
    let desk = desk();
    desk.file("list.jsonl", list(&["xyzzya"], &CHAIN, &[]));
    desk.run(&["run", "list.jsonl", "--out", "out", "--provider", "forvo"])
        .ended(1);
    let edited = list(&["xyzzya"], &CHAIN, &[]).replace("\"content\":\"xyzzya\"", "\"content\":\"perro\"");
    desk.file("list.jsonl", &edited);
    let ran = desk.make("list.jsonl").ended(0);
    delivered(&ran, "xyzzya", "forvo", &[]);
    desk.assert_bill_is(0);
    // And a redo passes on like a run.
    desk.file("list.jsonl", edited.replace("perro", "xyzzyb"));
    let ran = desk
        .run(&["redo", "--changed", "--out", "out", "--yes", "--json"])
        .ended(0);
    delivered(&ran, "xyzzya", "runware", &[("forvo", "not_found")]);
    desk.assert_bill_is(1);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

/// The lane of a later provider works on what earlier runs passed on, while the first one still passes on more.
#[test]
fn a_chain_that_is_resumed_tells_of_each_row_once() {
    let mut scenario = Scenario::instant();
    // The later provider has not read on by the time the first one is through.
    scenario.runware.latency_ms.audio = 50;
    let words: Vec<String> = (0..200).map(|number| format!("xyzzy{number}")).collect();
    scenario.forvo.missing.clone_from(&words);
    let desk = Desk::with(scenario);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    desk.file("list.jsonl", list(&words, &CHAIN, &[]));
    // Some of them were passed on by an earlier run.
    let first = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--provider",
        "forvo",
        "--max-items",
        "60",
    ];
    desk.run(&first);
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.stdout.lines().count(), ran.count("done")), (200, 200));
    desk.assert_bill_is(200);
}

/// What the first of a chain refused without billing it is free for the next one.
#[test]
fn what_was_not_billed_on_the_way_is_left_for_the_next_provider() {
    let mut scenario = Scenario::instant();
    scenario.runware.keys[0].balance_usd = 0.0;
    let desk = Desk::with(scenario);
    let row = |chain: &[&str]| {
        let row = json!({
            "id": "fox", "kind": "image", "provider": chain, "next_when": ["insufficient_credit"],
            "content": "a red fox", "output_path": "fox.webp",
        });
        format!("{row}\n")
    };
    desk.file("list.jsonl", row(&["openai"]));
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    desk.file("list.jsonl", row(&["runware", "openai"]));
    let cost = plan["cost_usd"].as_f64().unwrap_or_else(|| panic!("{plan:#}"));
    // What the first provider takes is within the cap; what the second one would is told.
    let told = "USD more at the next ones, over the cap";
    desk.run(&["plan", "list.jsonl", "--out", "out", "--max-cost", "0.001"])
        .ended(0)
        .said(&[told]);
    let roomy = desk.run(&["plan", "list.jsonl", "--out", "out", "--max-cost", "1"]);
    assert!(!roomy.ended(0).stderr.contains(told));
    let cap = format!("{:.6}", cost + 0.0001);
    let args = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--max-cost",
        &cap,
        "--up-to-cap",
    ];
    let ran = desk.run(&args).ended(0);
    delivered(&ran, "fox", "openai", &[("runware", "insufficient_credit")]);
}

/// A redo that passed on and was not seen to its end is where that can be settled, not at the front of its chain.
#[test]
fn a_redo_that_passed_on_stays_where_it_was_sent() {
    let mut desk = desk();
    desk.configure("forvo", "minimum_rate", &json!(-100));
    let row = list(&["perro"], &["forvo", "openai"], &[]).replace("\"forvo\":{\"sex\":\"any\"}", "");
    desk.file("list.jsonl", row);
    delivered(&desk.make("list.jsonl").ended(0), "perro", "forvo", &[]);
    // Nobody is good enough any more.
    desk.configure("forvo", "minimum_rate", &json!(1000));
    let lost = Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Speech);
    desk.sim().arm(lost);
    let ran = desk
        .run(&["redo", "perro", "--out", "out", "--yes", "--json"])
        .ended(1);
    assert_eq!(ran.line("perro")["status"], "unknown", "{ran:#?}");
    assert_eq!(desk.charges(), 1);
    let again = desk.make("list.jsonl").ended(1);
    let line = again.line("perro");
    assert_eq!(
        (&line["provider"], &line["status"]),
        (&json!("openai"), &json!("unknown")),
        "{line}"
    );
    let said = line["error"]["message"].as_str().unwrap();
    assert!(!said.contains("something else"), "{said}");
    assert_eq!(desk.charges(), 1);
    desk.run(&["retry", "--unknown", "perro", "--out", "out"])
        .ended(0);
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 1);
}

#[test]
fn a_recording_that_stays_damaged_passes_on_and_blocks_nothing() {
    let desk = desk();
    desk.file("list.jsonl", list(&["perro"], &CHAIN, &["invalid_media"]));
    desk.sim().arm(
        Fault::new(Provider::Forvo, FaultKind::Corrupt)
            .on(Op::Audio)
            .times(100),
    );
    let ran = desk.make("list.jsonl").ended(0);
    delivered(&ran, "perro", "runware", &[("forvo", "invalid_media")]);
    desk.assert_bill_is(1);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

#[test]
fn a_bound_on_files_holds_for_the_second_provider_in_a_later_run_too() {
    let desk = desk();
    desk.file("list.jsonl", list(&["xyzzya", "xyzzyb"], &CHAIN, &[]));
    desk.run(&["run", "list.jsonl", "--out", "out", "--provider", "forvo"])
        .ended(1);
    desk.run(&["run", "list.jsonl", "--out", "out", "--max-items", "1"])
        .ended(4);
    desk.assert_bill_is(1);
}

#[test]
fn a_row_that_comes_to_ask_for_what_another_asks_at_once_shares_its_purchase() {
    let mut desk = desk();
    // What earlier runs made is not used again; what the same list asks for twice is bought once all the same.
    desk.configure("runware", "reuse", &json!(false));
    let row = |id: &str, chain: &[&str]| {
        list(&["xyzzya"], chain, &[])
            .replace("\"id\":\"xyzzya\"", &format!("\"id\":\"{id}\""))
            .replace("xyzzya.mp3", &format!("{id}.mp3"))
    };
    let direct = row("direct", &["runware"]).replace("\"forvo\":{\"sex\":\"any\"}", "");
    for rows in [
        format!("{direct}{}", row("chained", &CHAIN)),
        format!("{}{direct}", row("other", &CHAIN)),
    ] {
        desk.file("list.jsonl", rows);
        desk.make("list.jsonl").ended(0);
        desk.assert_bill_is(1);
    }
    assert_eq!(desk.outputs("out"), ["chained.mp3", "direct.mp3", "other.mp3"]);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
}

/// The row that shares a purchase goes on by its own chain when that comes to nothing, in the same run.
#[test]
fn an_equal_row_with_a_longer_chain_goes_on_by_its_own() {
    let desk = desk();
    let alone = list(&["xyzzya"], &["forvo"], &[]);
    let chained = list(&["xyzzya"], &CHAIN, &[])
        .replace("\"id\":\"xyzzya\"", "\"id\":\"second\"")
        .replace("xyzzya.mp3", "second.mp3");
    desk.file("list.jsonl", alone + &chained);
    let plan = desk.run(&["plan", "list.jsonl", "--out", "out"]).ended(0).stdout;
    assert!(
        plan.contains("of 1 file those that the providers before it"),
        "{plan}"
    );
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("xyzzya")["status"], "failed", "{ran:#?}");
    delivered(&ran, "second", "runware", &[("forvo", "not_found")]);
    assert_eq!(desk.lookups(), 1);
}

/// Two rows that come to the same request in different rounds buy it once.
#[test]
fn rows_that_come_to_the_same_by_chains_of_their_own_share_it() {
    let mut desk = desk();
    desk.file(
        "config/providers/forvo2.json",
        desk.read("config/providers/forvo.json"),
    );
    for (key, value) in desk.sim().overlay("forvo").unwrap().as_object().unwrap() {
        desk.configure("forvo2", key, value);
    }
    desk.configure("runware", "reuse", &json!(false));
    let row = |id: &str, chain: &[&str]| {
        list(&["xyzzya"], chain, &[])
            .replace("\"id\":\"xyzzya\"", &format!("\"id\":\"{id}\""))
            .replace("xyzzya.mp3", &format!("{id}.mp3"))
            .replace("\"forvo\":{\"sex\":\"any\"}", "")
    };
    let rows = row("short", &CHAIN) + &row("long", &["forvo", "forvo2", "runware"]);
    desk.file("list.jsonl", rows);
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(1);
    assert_eq!(desk.outputs("out"), ["long.mp3", "short.mp3"]);
}

/// Where the one who would be asked next takes money and tells nothing, a lost ledger is asked about too.
#[test]
fn a_lost_ledger_is_asked_about_for_those_further_on_in_a_chain() {
    let desk = desk();
    desk.file("list.jsonl", list(&["xyzzya"], &["forvo", "openai"], &[]));
    desk.make("list.jsonl").ended(0);
    std::fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    std::fs::remove_file(desk.path("out/xyzzya.mp3")).unwrap();
    desk.make("list.jsonl").ended(3).said(&["--adopt"]);
    desk.assert_bill_is(1);
}

/// What passed on is retried where it stands, with the key of that one.
#[test]
fn a_retry_goes_on_with_the_one_who_is_next() {
    let mut desk = desk();
    let price = json!({ "items": [{ "when": {}, "usd": 0.001 }] });
    desk.configure("runware", "prices", &price);
    desk.file("list.jsonl", list(&["xyzzya", "xyzzyb"], &CHAIN, &[]));
    let args = ["--out", "out", "--max-run-cost", "0.0015", "--up-to-cap"];
    desk.run(&[&["run", "list.jsonl"], args.as_slice()].concat())
        .ended(3);
    desk.assert_bill_is(1);
    desk.unset("FORVO_API_KEY");
    let ran = desk.run(&["retry", "--out", "out", "--json"]).ended(0);
    assert_eq!(ran.line("xyzzyb")["provider"], "runware", "{ran:#?}");
    desk.assert_bill_is(2);
}

/// What was bought before is told and folded away, though the rest of the chain cannot be asked.
#[test]
fn a_chain_that_cannot_go_on_comes_after_the_account_of_what_was_bought() {
    let mut desk = desk();
    let chain = ["forvo", "openai"];
    let rows = [
        jobs(&[("hola", "openai", "hola", "hola.mp3")]),
        list(&["xyzzya"], &chain, &[]),
    ]
    .concat();
    desk.file("list.jsonl", rows);
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::status(400)).on(Op::Speech));
    desk.sim().arm(
        Fault::new(Provider::Forvo, FaultKind::status(503))
            .on(Op::Lookup)
            .times(100),
    );
    desk.configure("forvo", "retry__attempts", &json!(1));
    assert_eq!(desk.make("list.jsonl").ended(1).count("failed"), 2);
    desk.disarm();
    desk.configure("openai", "speech__max_characters", &json!(5));
    let ran = desk.run(&["retry", "--out", "out"]).ended(1);
    ran.said(&[
        "xyzzya: the text may have at most 5 characters",
        "done           1",
    ]);
    assert_eq!(desk.outputs("out"), ["hola.mp3"]);
    desk.assert_clean("out");
}

/// What one does not have and the budget keeps from the next is no failure of the row.
#[test]
fn a_chain_that_the_budget_stops_is_told_to_go_on() {
    let desk = desk();
    desk.file(
        "list.jsonl",
        list(&["perro", "xyzzya"], &["forvo", "openai"], &[]),
    );
    let args = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--max-cost",
        "0.00001",
        "--up-to-cap",
    ];
    desk.run(&args)
        .ended(3)
        .said(&["1 file not made", "a larger budget"]);
    let goes_on = "a run of its list goes on with openai";
    let told = desk.run(&["status", "xyzzya", "--out", "out"]).ended(0).stdout;
    assert!(told.contains(goes_on), "{told}");
    let export = ["export", "failed", "list.jsonl", "--out", "out"];
    let rows = desk.run(&export).ended(0).stdout;
    assert!(rows.contains(goes_on), "{rows}");
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 1);
}
