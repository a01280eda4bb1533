//! Takes: what is made anew takes the place of the old file when it is valid, and the old one can be put back.

use std::fs;

use media_sim::{Fault, FaultKind, Op, Provider};
use serde_json::json;

use crate::support::{Desk, Ran, jobs, until};

pub(crate) fn three(provider: &str) -> String {
    jobs(&[
        ("a", provider, "a hat", "a.webp"),
        ("b", provider, "a kettle", "b.webp"),
        ("c", provider, "a cap", "c.webp"),
    ])
}

pub(crate) fn made(provider: &str) -> Desk {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three(provider));
    desk.make("list.jsonl").ended(0);
    desk
}

pub(crate) fn redo(desk: &Desk, rest: &[&str]) -> Ran {
    desk.run(&[&["redo", "--out", "out", "--yes", "--json"], rest].concat())
}

fn bytes(desk: &Desk, name: &str) -> Vec<u8> {
    fs::read(desk.path("out").join(name)).unwrap()
}

fn old(desk: &Desk, name: &str) -> Vec<u8> {
    fs::read(desk.path("out/.media/old").join(name)).unwrap()
}

#[test]
fn a_named_file_is_made_anew_and_the_old_one_is_kept_and_can_be_put_back() {
    let desk = made("runware");
    let first = bytes(&desk, "a.webp");
    let ran = redo(&desk, &["a"]).ended(0);
    let line = ran.line("a");
    assert_eq!((&line["status"], &line["take"]), (&json!("done"), &json!(2)));
    desk.assert_bill_is(4);
    let second = bytes(&desk, "a.webp");
    assert_ne!(first, second);
    assert_eq!(old(&desk, "a.webp"), first);
    // It is what a run finds, whoever asks.
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
    desk.run(&["pick", "a", "1", "--out", "out"])
        .ended(0)
        .said(&["take 1 of a"]);
    assert_eq!(bytes(&desk, "a.webp"), first);
    assert_eq!(old(&desk, "2-a.webp"), second);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
    desk.run(&["pick", "a", "2", "--out", "out"]).ended(0);
    assert_eq!(bytes(&desk, "a.webp"), second);
    let told = desk.run(&["status", "a", "--out", "out"]).ended(0).stdout;
    assert!(
        told.contains("take 1 (media pick puts it back)") && told.contains("take 2:"),
        "{told}"
    );
    desk.run(&["pick", "a", "7", "--out", "out"])
        .ended(2)
        .said(&["has no take 7", "1, 2"]);
    let third = redo(&desk, &["a"]).ended(0);
    assert_eq!(third.line("a")["take"], 3);
    desk.assert_bill_is(5);
    desk.assert_clean("out");
}

#[test]
fn who_does_not_say_yes_is_told_the_price_and_nothing_is_sent() {
    let desk = made("runware");
    desk.run(&["redo", "a", "b", "--out", "out"])
        .ended(2)
        .said(&["2 files made anew for about 0.0012 USD", "--yes"]);
    redo(&desk, &["a", "b", "--max-run-cost", "0.0006"])
        .ended(3)
        .said(&["1 of them would fit"]);
    redo(&desk, &["x"]).ended(2).said(&["there is no job \"x\""]);
    let list = desk.read("list.jsonl");
    let (_, without_a) = list.split_once('\n').unwrap();
    desk.file("list.jsonl", without_a);
    redo(&desk, &["a"])
        .ended(2)
        .said(&["\"a\" was made once", "no longer in the list"]);
    desk.file("list.jsonl", list);
    redo(&desk, &[]).ended(2);
    desk.assert_bill_is(3);
}

#[test]
fn changed_rows_other_settings_and_missing_files_are_chosen_by_what_they_are() {
    let mut desk = made("runware");
    redo(&desk, &["--changed"])
        .ended(0)
        .said(&["nothing to make anew"]);
    desk.file("list.jsonl", three("runware").replace("a kettle", "a pan"));
    fs::remove_file(desk.path("out/c.webp")).unwrap();
    // Runware would still know it; nobody does after its link is over.
    desk.configure("runware", "delivery", &json!({ "keep_url": "1h" }));
    let ran = redo(&desk, &["--changed"]).ended(0);
    assert_eq!(ran.lines().keys().collect::<Vec<_>>(), ["b"]);
    desk.assert_bill_is(4);
    desk.configure("runware", "image", &json!({ "steps": 7 }));
    let again = desk.make("list.jsonl");
    assert_eq!(again.count("outdated"), 2, "{again:#?}");
    let ran = redo(&desk, &["--settings"]).ended(0);
    assert_eq!(ran.lines().keys().collect::<Vec<_>>(), ["a", "b"]);
    desk.assert_bill_is(6);
    let again = desk.make("list.jsonl");
    assert_eq!(
        (again.count("skipped"), again.count("gone")),
        (2, 1),
        "{again:#?}"
    );
    assert!(
        again.line("c")["error"]["next"]
            .as_str()
            .unwrap()
            .contains("media redo --missing")
    );
    redo(&desk, &["--missing"]).ended(0);
    desk.assert_bill_is(7);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
}

#[test]
fn a_failed_take_changes_nothing() {
    let desk = made("runware");
    let first = bytes(&desk, "b.webp");
    let broken = FaultKind::status(429);
    desk.sim().arm(
        Fault::new(Provider::Runware, broken)
            .on(Op::Image)
            .matching("kettle")
            .times(50),
    );
    redo(&desk, &["b"]).ended(1);
    desk.disarm();
    assert_eq!(bytes(&desk, "b.webp"), first);
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!(again.count("skipped"), 3);
    assert_eq!(redo(&desk, &["b"]).ended(0).line("b")["status"], "done");
    desk.assert_bill_is(4);
}

#[test]
fn a_take_in_doubt_is_unknown_and_the_old_file_stands() {
    let desk = made("openai");
    let first = bytes(&desk, "b.webp");
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::CutAfterBilling)
            .on(Op::Image)
            .matching("kettle"),
    );
    redo(&desk, &["b"]).ended(1);
    assert_eq!(bytes(&desk, "b.webp"), first);
    assert_eq!(desk.charges(), 4);
    // Neither a run nor another redo sends it again.
    for ran in [desk.make("list.jsonl"), redo(&desk, &["b"])] {
        assert_eq!(ran.ended(1).line("b")["status"], "unknown");
    }
    assert!(
        desk.run(&["status", "--out", "out"])
            .stdout
            .contains("  b (line 2)")
    );
    let told = desk.run(&["status", "b", "--out", "out"]).ended(0).stdout;
    assert!(told.contains("with its id, gives it up"), "{told}");
    assert_eq!(desk.charges(), 4);
    desk.run(&["retry", "--unknown", "--out", "out"])
        .ended(0)
        .said(&["new takes of b are given up"]);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
    redo(&desk, &["b"]).ended(0);
    assert_eq!(desk.charges(), 5);
    assert_ne!(bytes(&desk, "b.webp"), first);
}

#[test]
fn a_killed_redo_is_seen_to_its_end_by_the_next_run() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.runware.latency_ms.image = 500;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", three("runware"));
    desk.make("list.jsonl").ended(0);
    let first = bytes(&desk, "a.webp");
    desk.kill_once(&["redo", "a", "--out", "out", "--yes"], "it is bought", || {
        desk.charges() == 4
    });
    assert_eq!(bytes(&desk, "a.webp"), first);
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(
        (&ran.line("a")["status"], &ran.line("a")["take"]),
        (&json!("done"), &json!(2))
    );
    desk.assert_bill_is(4);
    assert_ne!(bytes(&desk, "a.webp"), first);
    assert_eq!(old(&desk, "a.webp"), first);
    desk.assert_clean("out");
}

#[test]
fn a_killed_redo_of_a_free_recording_is_seen_to_its_end_too() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.forvo.latency_ms.audio = 2000;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", jobs(&[("a", "forvo", "perro", "a.mp3")]));
    desk.make("list.jsonl").ended(0);
    desk.kill_once(&["redo", "a", "--out", "out", "--yes"], "it is looked up", || {
        let status = desk.run(&["status", "a", "--out", "out"]).ended(0);
        status.stdout.contains("not yet downloaded")
    });
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(
        (&ran.line("a")["status"], &ran.line("a")["take"]),
        (&json!("done"), &json!(2))
    );
    assert_eq!(desk.lookups(), 2);
    let status = desk.run(&["status", "a", "--out", "out"]).ended(0);
    assert!(!status.stdout.contains("not yet downloaded"), "{status:#?}");
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
    desk.assert_clean("out");
}

#[test]
fn a_protected_file_is_left_out_of_every_redo() {
    let desk = made("runware");
    desk.run(&["keep", "a", "--out", "out"])
        .ended(0)
        .said(&["protected"]);
    redo(&desk, &["a"]).ended(2).said(&["the file of a is protected"]);
    desk.file("list.jsonl", three("runware").replace("\"a ", "\"another "));
    let ran = redo(&desk, &["--changed"]).ended(0);
    assert!(!ran.lines().contains_key("a"), "{ran:#?}");
    assert_eq!(ran.lines().len(), 2);
    ran.said(&["1 file left out"]);
    desk.run(&["keep", "a", "--off", "--out", "out"]).ended(0);
    redo(&desk, &["--changed"]).ended(0);
    desk.assert_bill_is(6);
    desk.run(&["keep", "x", "--out", "out"])
        .ended(2)
        .said(&["no job \"x\""]);
}

#[test]
fn a_fixed_seed_goes_on_by_one_with_each_take() {
    let desk = Desk::with_sim();
    let list = jobs(&[("a", "runware", "a hat", "a.webp")]).replace("\"width\"", "\"seed\": 7, \"width\"");
    desk.file("list.jsonl", list);
    desk.make("list.jsonl").ended(0);
    redo(&desk, &["a"]).ended(0);
    redo(&desk, &["a"]).ended(0);
    let told = desk.run(&["status", "a", "--out", "out"]).ended(0).stdout;
    let seeds: Vec<_> = told
        .lines()
        .filter_map(|line| line.trim().strip_prefix("seed: "))
        .collect();
    assert_eq!(seeds, ["7", "8", "9"], "{told}");
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

/// The same seed would bring the same picture, at the price of another.
#[test]
fn variants_of_a_fixed_seed_are_different_pictures() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "runware", "a hat", "a.webp"),
        ("b", "runware", "a hat", "b.webp"),
    ];
    let list = jobs(&rows).replace("\"width\"", "\"seed\": 7, \"width\"");
    let list = list.replace("\"id\":\"b\"", "\"variant\": 2, \"id\":\"b\"");
    desk.file("list.jsonl", list);
    let ran = desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(2);
    assert_ne!(ran.line("a")["sha256"], ran.line("b")["sha256"]);
}

#[test]
fn rows_that_shared_one_purchase_part_when_one_is_made_anew() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a hat", "b.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(1);
    let first = bytes(&desk, "b.webp");
    assert_eq!(bytes(&desk, "a.webp"), first);
    redo(&desk, &["a"]).ended(0);
    desk.assert_bill_is(2);
    assert_ne!(bytes(&desk, "a.webp"), first);
    assert_eq!(bytes(&desk, "b.webp"), first);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    // Made anew together they share again.
    redo(&desk, &["a", "b"]).ended(0);
    desk.assert_bill_is(3);
    assert_eq!(bytes(&desk, "a.webp"), bytes(&desk, "b.webp"));
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
}

#[test]
fn rows_that_share_a_file_are_made_anew_together() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "x.webp"),
            ("b", "runware", "a hat", "x.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    let first = bytes(&desk, "x.webp");
    redo(&desk, &["b"]).ended(0);
    desk.assert_bill_is(2);
    assert_ne!(bytes(&desk, "x.webp"), first);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    desk.run(&["pick", "a", "1", "--out", "out"]).ended(0);
    assert_eq!(bytes(&desk, "x.webp"), first);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    desk.run(&["keep", "a", "--out", "out"]).ended(0);
    redo(&desk, &["b"]).ended(2).said(&["protected"]);
}

#[test]
fn what_is_kept_aside_is_never_replaced() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "2-a.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    let (first, other) = (bytes(&desk, "a.webp"), bytes(&desk, "2-a.webp"));
    redo(&desk, &["a"]).ended(0);
    let second = bytes(&desk, "a.webp");
    redo(&desk, &["a", "b"]).ended(0);
    for (id, take, wanted) in [("a", "1", &first), ("a", "2", &second), ("b", "1", &other)] {
        desk.run(&["pick", id, take, "--out", "out"]).ended(0);
        assert_eq!(
            &bytes(&desk, if id == "a" { "a.webp" } else { "2-a.webp" }),
            wanted
        );
    }
}

#[test]
fn a_take_is_not_put_under_the_name_of_another_format() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.png")]));
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    redo(&desk, &["a"]).ended(0);
    desk.run(&["pick", "a", "1", "--out", "out"])
        .ended(2)
        .said(&["take 1 of a is png"]);
    desk.assert_clean("out");
}

#[test]
fn a_take_in_doubt_is_protected_by_nobody_and_bought_by_no_equal_row() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "openai", "a kettle", "a.webp"),
        ("b", "openai", "a kettle", "b.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    desk.make("list.jsonl").ended(0);
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    redo(&desk, &["a", "b"]).ended(1);
    assert_eq!(desk.charges(), 2);
    for id in ["a", "b"] {
        assert_eq!(redo(&desk, &[id]).ended(1).line(id)["status"], "unknown");
    }
    assert_eq!(desk.charges(), 2);
    let doubted = ["a", "b"]
        .into_iter()
        .filter(|id| desk.run(&["keep", id, "--out", "out"]).code == Some(2));
    assert_eq!(doubted.count(), 1);
    // An edited row must not be a dead end.
    desk.file("list.jsonl", jobs(&rows).replace("a kettle", "a pan"));
    let told = desk.make("list.jsonl").ended(1);
    assert!(told.count("unknown") >= 1, "{told:#?}");
    let id = if told.line("a")["status"] == "unknown" {
        "a"
    } else {
        "b"
    };
    desk.run(&["retry", "--unknown", id, "--out", "out"]).ended(0);
    assert_eq!(desk.make("list.jsonl").ended(0).count("changed"), 2);
}

/// Wherever it is killed, the rows of takes that were made before stay what they were.
#[test]
fn a_redo_that_is_killed_while_files_are_replaced_changes_no_earlier_take() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.media.bytes = 20_000;
    let desk = Desk::with(scenario);
    let rows: Vec<_> = (0..12)
        .map(|n| {
            (
                format!("s{n}"),
                "runware",
                format!("picture {n}"),
                format!("s{n}.webp"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    desk.make("list.jsonl").ended(0);
    let first: Vec<_> = rows.iter().map(|(_, _, _, path)| bytes(&desk, path)).collect();
    let ids: Vec<&str> = rows.iter().map(|(id, ..)| id.as_str()).collect();
    desk.kill_once(
        &[&["redo", "--out", "out", "--yes"], &ids[..]].concat(),
        "some are replaced",
        || {
            desk.path("out/.media/old")
                .read_dir()
                .is_ok_and(|old| old.count() >= 3)
        },
    );
    assert_eq!(desk.make("list.jsonl").ended(0).count("failed"), 0);
    for ((id, _, _, path), first) in rows.iter().zip(&first) {
        if bytes(&desk, path) != *first {
            desk.run(&["pick", id, "1", "--out", "out"]).ended(0);
        }
        assert_eq!(&bytes(&desk, path), first, "{id}");
    }
    desk.assert_clean("out");
}

#[test]
fn a_redo_leaves_the_file_of_another_row_alone() {
    let desk = made("runware");
    let paths = three("runware")
        .replace("b.webp", "x.webp")
        .replace("a.webp", "b.webp");
    desk.file("list.jsonl", paths);
    let others = bytes(&desk, "b.webp");
    redo(&desk, &["a"]).ended(1).said(&["b.webp is the file of b"]);
    assert_eq!(bytes(&desk, "b.webp"), others);
    desk.assert_bill_is(3);
}

/// What came for the word as it was is no take of the word as it is.
#[test]
fn a_killed_redo_of_a_recording_is_no_take_of_a_changed_row() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.forvo.latency_ms.audio = 2000;
    let desk = Desk::with(scenario);
    let row = |word: &str| jobs(&[("a", "forvo", word, "a.mp3")]);
    desk.file("list.jsonl", row("perro"));
    desk.make("list.jsonl").ended(0);
    let first = bytes(&desk, "a.mp3");
    desk.kill_once(&["redo", "a", "--out", "out", "--yes"], "it is looked up", || {
        let status = desk.run(&["status", "a", "--out", "out"]).ended(0);
        status.stdout.contains("not yet downloaded")
    });
    desk.file("list.jsonl", row("gato"));
    let ran = desk.make("list.jsonl");
    assert_eq!(ran.line("a")["status"], "changed", "{ran:#?}");
    assert_eq!(bytes(&desk, "a.mp3"), first);
}

/// A person's file at the path of a row that failed is left alone, and nothing is bought for it.
#[test]
fn a_redo_of_a_failed_row_looks_at_its_path_first() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "openai", "a hat", "a.webp"),
            ("b", "openai", "a cap", "b.webp"),
        ]),
    );
    let refused = FaultKind::status(400);
    desk.sim()
        .arm(Fault::new(Provider::Openai, refused).matching("hat"));
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("a")["status"], "failed");
    let mine = bytes(&desk, "b.webp");
    desk.file("out/a.webp", &mine);
    let charges = desk.charges();
    let ran = redo(&desk, &["a"]);
    assert_eq!(desk.charges(), charges, "{ran:#?}");
    assert_eq!(bytes(&desk, "a.webp"), mine);
}

/// However far apart they are in the list, and however far one has come when the other is looked at.
#[test]
fn equal_rows_are_made_anew_together_wherever_they_stand() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.runware.latency_ms.image = 200;
    let desk = Desk::with(scenario);
    let mut rows = vec![("x".to_owned(), "a hat".to_owned())];
    rows.extend((0..60).map(|n| (format!("m{n}"), format!("picture {n}"))));
    rows.push(("y".to_owned(), "a hat".to_owned()));
    let list: String = rows
        .iter()
        .map(|(id, text)| jobs(&[(id, "runware", text, &format!("{id}.webp"))]))
        .collect();
    desk.file("list.jsonl", list);
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(61);
    let first = bytes(&desk, "y.webp");
    let ids: Vec<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
    let ran = redo(&desk, &ids).ended(0);
    assert_eq!(ran.count("done"), 62, "{ran:#?}");
    desk.assert_bill_is(122);
    assert_eq!(bytes(&desk, "x.webp"), bytes(&desk, "y.webp"));
    assert_eq!(old(&desk, "y.webp"), first);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 62);
}

/// What was bought for a row as it was changed is fetched without the list too, and given up by nobody in passing.
#[test]
fn a_killed_redo_of_a_changed_row_is_rescued() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.runware.latency_ms.image = 500;
    let desk = Desk::with(scenario);
    let row = |text: &str| jobs(&[("a", "runware", text, "a.webp")]);
    desk.file("list.jsonl", row("a hat"));
    desk.make("list.jsonl").ended(0);
    let first = bytes(&desk, "a.webp");
    desk.file("list.jsonl", row("a cap"));
    desk.kill_once(&["redo", "a", "--out", "out", "--yes"], "it is bought", || {
        desk.charges() == 2
    });
    desk.run(&["retry", "--unknown", "--out", "out"]);
    // The service is at work on it for a moment more.
    until("it is rescued", || {
        desk.run(&["rescue", "--out", "out"]).code == Some(0)
    });
    assert_ne!(bytes(&desk, "a.webp"), first);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
    desk.assert_bill_is(2);
}

#[test]
fn what_is_kept_aside_is_kept_once() {
    let desk = made("runware");
    redo(&desk, &["a"]).ended(0);
    for take in ["1", "2", "1", "2", "1"] {
        desk.run(&["pick", "a", take, "--out", "out"]).ended(0);
    }
    let kept = fs::read_dir(desk.path("out/.media/old")).unwrap().count();
    assert_eq!(kept, 2);
}

/// Two words with one sound: both rows share its file, and both were changed.
#[test]
fn rows_that_share_a_file_are_made_anew_together_once_all_were_changed() {
    let both = |prompt: &str| {
        jobs(&[
            ("a", "openai", prompt, "same.webp"),
            ("b", "openai", prompt, "same.webp"),
        ])
    };
    let desk = Desk::with_sim();
    desk.file("list.jsonl", both("a bank"));
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", both("a river bank"));
    desk.make("list.jsonl").ended(0).said(&["media redo"]);
    let redo = [
        "redo",
        "--changed",
        "--yes",
        "--list",
        "list.jsonl",
        "--out",
        "out",
    ];
    desk.run(&redo).ended(0);
    assert_eq!(desk.charges(), 2);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    assert_eq!(desk.charges(), 2);
}

/// It has no file yet, and what stands at its path is about to be replaced: it gets the new one.
#[test]
fn an_equal_row_that_was_not_made_gets_what_a_redo_brings() {
    let rows = |ids: &[&str]| {
        let rows: Vec<_> = ids
            .iter()
            .map(|id| (*id, "openai", "a bank", "same.webp"))
            .collect();
        jobs(&rows)
    };
    let desk = Desk::with_sim();
    desk.file("list.jsonl", rows(&["a"]));
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", rows(&["a", "b"]));
    desk.run(&["redo", "a", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(0);
    let ran = desk.make("list.jsonl").ended(0);
    let sha = |id: &str| ran.line(id)["sha256"].clone();
    assert_eq!((sha("a"), desk.charges()), (sha("b"), 2));
    desk.run(&["verify", "out"]).ended(0);
}

/// The file at the path that it had before is of what it asked for before.
#[test]
fn who_asks_for_the_same_as_a_redone_row_does_not_take_its_former_file() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "one", "p.webp")]));
    desk.make("list.jsonl").ended(0);
    desk.file(
        "list.jsonl",
        jobs(&[("a", "openai", "two", "q.webp"), ("b", "openai", "two", "p.webp")]),
    );
    desk.run(&["redo", "a", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(0);
    let ran = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["p.webp is the file of a"]);
    assert_eq!(ran.statuses()["b"], "failed");
    std::fs::remove_file(desk.path("out/p.webp")).unwrap();
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 2);
    assert_eq!(
        std::fs::read(desk.path("out/p.webp")).unwrap(),
        std::fs::read(desk.path("out/q.webp")).unwrap()
    );
}

/// The new take was bought and could not be fetched: a row that shares the path is not given the file that is about to go.
#[test]
fn a_row_that_comes_to_share_a_path_during_a_redo_gets_what_comes() {
    let rows = |ids: &[&str]| {
        let rows: Vec<_> = ids
            .iter()
            .map(|id| (*id, "runware", "a bank", "same.webp"))
            .collect();
        jobs(&rows)
    };
    let desk = Desk::with_sim();
    desk.file("list.jsonl", rows(&["a"]));
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", rows(&["a", "b"]));
    let gone = Fault::new(Provider::Runware, FaultKind::status(404))
        .on(Op::Media)
        .times(3);
    desk.sim().arm(gone);
    desk.run(&["redo", "a", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(1);
    desk.disarm();
    desk.make("list.jsonl").ended(0);
    let ran = desk.make("list.jsonl").ended(0);
    let sha = |id: &str| ran.line(id)["sha256"].clone();
    assert_eq!((sha("a"), desk.charges()), (sha("b"), 2), "{ran:#?}");
    let there = std::fs::read(desk.path("out/same.webp")).unwrap();
    use sha2::Digest as _;
    let hash: String = sha2::Sha256::digest(&there)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(sha("b"), hash);
    // Who is named and was never made is told so, and buys nothing for the other.
    desk.file("list.jsonl", rows(&["a", "b", "c"]));
    desk.run(&["redo", "c", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(2);
    assert_eq!(desk.charges(), 2);
}

/// What stands in a redo's way says nothing about the file that was made.
#[test]
fn a_job_stays_made_whatever_stands_in_the_way_of_its_redo() {
    let desk = made("openai");
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.run(&["redo", "a", "--yes", "--out", "out"]).ended(1);
    let (a, b) = (desk.path("out/a.webp"), desk.path("out/b.webp"));
    let own = fs::read(&a).unwrap();
    fs::copy(&b, &a).unwrap();
    desk.make("list.jsonl").ended(1);
    fs::write(&a, own).unwrap();
    desk.run(&["retry", "--unknown", "--give-up", "a", "--out", "out"])
        .ended(0);
    let status = desk.run(&["status", "a", "--out", "out"]).stdout;
    assert!(status.starts_with("a (line 1): done"), "{status}");
}

/// It was billed and no good, and a redo of it was begun and never sent: a person's word still makes it.
#[test]
fn what_was_spent_can_be_redone_after_a_redo_that_came_to_nothing() {
    let desk = Desk::with_sim();
    let rows = jobs(&[
        ("x", "openai", "a hat", "x.webp"),
        ("r", "openai", "a kettle", "r.webp"),
    ]);
    desk.file("list.jsonl", rows);
    let corrupt = Fault::new(Provider::Openai, FaultKind::Corrupt)
        .on(Op::Image)
        .matching("a kettle");
    desk.sim().arm(corrupt);
    desk.make("list.jsonl").ended(1);
    let refused = Fault::new(Provider::Openai, FaultKind::status(401))
        .on(Op::Image)
        .times(5);
    desk.sim().arm(refused);
    desk.run(&["redo", "x", "r", "--yes", "--concurrency", "1", "--out", "out"])
        .ended(3);
    desk.disarm();
    let before = desk.charges();
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("r")["error"]["charge"], "certain", "{ran:#?}");
    assert_eq!(desk.charges(), before, "no run buys it by itself");
    desk.run(&["redo", "r", "--yes", "--out", "out"]).ended(0);
    assert_eq!((desk.charges(), desk.outputs("out").len()), (before + 1, 2));
}

/// A person moved file and row together: it is known at its new place, and is no other row's there.
#[test]
fn a_file_that_was_moved_by_hand_is_known_where_it_is() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "one", "p.webp")]));
    desk.make("list.jsonl").ended(0);
    fs::rename(desk.path("out/p.webp"), desk.path("out/q.webp")).unwrap();
    desk.file("list.jsonl", jobs(&[("a", "openai", "one", "q.webp")]));
    for _ in 0..2 {
        assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
    }
    desk.file("list.jsonl", jobs(&[("c", "openai", "three", "q.webp")]));
    desk.make("list.jsonl")
        .ended(1)
        .said(&["q.webp is the file of a"]);
    assert_eq!(desk.charges(), 1);
}

/// The new take goes to a path that an equal row has too: both get that, and none the old one.
#[test]
fn an_equal_row_at_the_path_of_a_redo_gets_what_comes() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "one", "p.webp")]));
    desk.make("list.jsonl").ended(0);
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "one", "q.webp"),
            ("b", "runware", "one", "q.webp"),
        ]),
    );
    let gone = Fault::new(Provider::Runware, FaultKind::status(404))
        .on(Op::Media)
        .times(3);
    desk.sim().arm(gone);
    desk.run(&["redo", "a", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(1);
    desk.disarm();
    desk.make("list.jsonl");
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.line("a")["sha256"], ran.line("b")["sha256"], "{ran:#?}");
    assert_eq!(desk.charges(), 2);
    desk.run(&["verify", "out"]).ended(0);
}
