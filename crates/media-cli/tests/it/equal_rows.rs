//! Rows that ask for the same are one purchase, wherever each of them stands and whatever became of the ledger.

use std::fs;

use media_sim::{Fault, FaultKind, Op, Provider, Scenario, WrongType};
use serde_json::{Value, json};

use crate::support::{Desk, jobs};

fn two(provider: &str) -> String {
    jobs(&[
        ("a", provider, "a dog", "a.webp"),
        ("b", provider, "a dog", "b.webp"),
    ])
}

fn lose_the_ledger(desk: &Desk) {
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
}

fn remove(desk: &Desk, file: &str) {
    fs::remove_file(desk.path(&format!("out/{file}"))).unwrap();
}

/// Whichever row it was bought for: the service knows it by that one's key.
#[test]
fn after_a_lost_ledger_what_was_bought_for_an_equal_row_is_found() {
    let swapped = || two("runware").lines().rev().collect::<Vec<_>>().join("\n");
    for (gone, list) in [
        (&["b.webp"][..], two("runware")),
        (&["a.webp", "b.webp"], two("runware")),
        (&["a.webp", "b.webp"], swapped()),
        (&["b.webp"], swapped()),
    ] {
        let desk = Desk::with_sim();
        desk.file("list.jsonl", two("runware"));
        desk.make("list.jsonl").ended(0);
        assert_eq!(desk.charges(), 1);
        lose_the_ledger(&desk);
        gone.iter().for_each(|file| remove(&desk, file));
        desk.file("list.jsonl", &list);
        let ran = desk.make("list.jsonl").ended(0);
        assert_eq!(desk.charges(), 1, "{gone:?} {list}: {ran:#?}");
        assert_eq!(desk.outputs("out"), ["a.webp", "b.webp"]);
    }
}

/// What stands at the path of one of them is nobody's, as far as anybody knows, so the other one would be bought.
#[test]
fn after_a_lost_ledger_an_equal_row_is_asked_about_where_the_service_cannot_be() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", two("openai"));
    desk.make("list.jsonl").ended(0);
    lose_the_ledger(&desk);
    remove(&desk, "b.webp");
    let plan = desk.run(&["plan", "list.jsonl", "--out", "out", "--json"]).stdout;
    assert!(plan.contains("\"make\":1"), "{plan}");
    desk.make("list.jsonl")
        .ended(3)
        .said(&["1 missing file", "--adopt"]);
    assert_eq!(desk.charges(), 1);
    desk.run(&["run", "list.jsonl", "--out", "out", "--adopt"])
        .ended(0);
    assert_eq!(desk.charges(), 2);
}

/// The one that was added later begins where the other one has come to.
#[test]
fn an_equal_row_stands_where_the_other_one_has_come_to_in_their_chain() {
    let row = |id: &str| {
        let row = json!({ "id": id, "kind": "image", "provider": ["openai", "runware"], "next_when": ["content_rejected"],
            "content": "a dog", "output_path": format!("{id}.webp") });
        format!("{row}\n")
    };
    let desk = Desk::with_sim();
    let mut refused = FaultKind::status(400);
    if let FaultKind::Status { body, .. } = &mut refused {
        let error =
            json!({ "message": "no", "type": "image_generation_user_error", "code": "moderation_blocked" });
        *body = Some(json!({ "error": error }));
    }
    desk.sim()
        .arm(Fault::new(Provider::Openai, refused).on(Op::Image));
    let busy = Fault::new(Provider::Runware, FaultKind::status(429))
        .on(Op::Image)
        .times(20);
    desk.sim().arm(busy);
    desk.file("list.jsonl", row("a"));
    desk.make("list.jsonl").ended(1);
    desk.disarm();
    desk.file("list.jsonl", row("a") + &row("b"));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 1, "{ran:#?}");
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp"]);
}

#[test]
fn what_is_gone_is_not_bought_again_by_a_list_of_its_equal_row_alone() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", two("openai"));
    let busy = Fault::new(Provider::Openai, FaultKind::status(429))
        .on(Op::Image)
        .times(20);
    desk.sim().arm(busy);
    desk.make("list.jsonl").ended(1);
    desk.disarm();
    desk.run(&["retry", "a", "--out", "out"]).ended(0);
    remove(&desk, "a.webp");
    assert_eq!(desk.make("list.jsonl").ended(1).count("gone"), 2);
    let failed = desk.run(&["export", "failed", "--out", "out"]).stdout;
    desk.file("repair.jsonl", failed);
    desk.make("repair.jsonl").ended(1);
    assert_eq!(desk.charges(), 1);
}

#[test]
fn a_doubt_that_rows_share_is_no_less_of_both_when_both_are_changed() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", two("openai"));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 2);
    desk.file("list.jsonl", two("openai").replace("a dog", "a cat"));
    for _ in 0..2 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!((ran.count("unknown"), desk.charges()), (2, 1), "{ran:#?}");
    }
    desk.run(&["retry", "--unknown", "--give-up", "a", "--out", "out"])
        .ended(0);
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 2);
}

/// It still stands where it was, and is not the file of a row that has that path now.
#[test]
fn a_file_is_known_at_every_place_that_its_row_ever_had() {
    let desk = Desk::with(Scenario::instant());
    let row = |id: &str, content: &str, path: &str| jobs(&[(id, "runware", content, path)]);
    for path in ["a.webp", "b.webp"] {
        desk.file("list.jsonl", row("a", "a dog", path));
        desk.make("list.jsonl").ended(0);
    }
    desk.file(
        "list.jsonl",
        row("a", "a dog", "c.webp") + &row("b", "a cat", "b.webp"),
    );
    for _ in 0..2 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.line("b")["status"], "failed", "{ran:#?}");
        ran.said(&["b.webp is the file of a"]);
    }
    assert_eq!(desk.charges(), 1);
}

/// It has the picture of what it asked for before, and no run takes that for what it asks for now.
#[test]
fn a_kill_among_the_copies_and_an_edit_leave_no_file_of_another_prompt() {
    let list = |prompt: &str| {
        let rows: Vec<_> = (0..300)
            .map(|n| (format!("r{n}"), "runware", prompt, format!("r{n}.webp")))
            .collect();
        jobs(&rows)
    };
    let mut scenario = Scenario::instant();
    // Time for the ledger to note who waits for whom.
    scenario.runware.latency_ms.image = 600;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", list("a dog"));
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "copies are there", || {
        fs::read_dir(desk.path("out")).is_ok_and(|files| files.count() > 20)
    });
    desk.file("list.jsonl", list("a cat"));
    let ran = desk.make("list.jsonl");
    assert_eq!(ran.count("skipped"), 0, "{:?}", ran.statuses());
    let again = desk.make("list.jsonl");
    let old = again.count("changed");
    assert_eq!(
        (again.count("changed") + again.count("skipped"), old > 10),
        (300, true)
    );
    // The others were made for what they ask now: two purchases in all.
    assert!(desk.charges() <= 2);
}

/// Where files of earlier runs are not reused, and the other row is not in the list: told once, it is no less in doubt.
#[test]
fn a_doubt_of_an_equal_row_lasts_however_often_it_is_told() {
    let mut desk = Desk::with_sim();
    desk.configure("openai", "reuse", &json!(false));
    let alone = |id: &str| jobs(&[(id, "openai", "a dog", &format!("{id}.webp"))]);
    for id in ["a", "b"] {
        let refused = Fault::new(Provider::Openai, FaultKind::status(400)).on(Op::Image);
        desk.sim().arm(refused);
        desk.file("list.jsonl", alone(id));
        desk.make("list.jsonl").ended(1);
    }
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.run(&["retry", "--out", "out"]);
    assert_eq!(desk.charges(), 1);
    for _ in 0..3 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!((ran.count("unknown"), desk.charges()), (1, 1), "{ran:#?}");
    }
}

/// A kill came between a copy and its entry, and then the list was changed: the copy is the file of the row that it was made for.
#[test]
fn a_copy_that_a_kill_left_is_its_rows_file_and_nobody_elses() {
    let row = |id: &str, prompt: &str, path: &str| jobs(&[(id, "openai", prompt, path)]);
    for edited in [
        row("a", "a dog", "a.webp") + &row("b", "a cat", "b.webp"),
        row("a", "a dog", "a.webp") + &row("c", "a cat", "b.webp"),
    ] {
        let desk = Desk::with_sim();
        desk.file("list.jsonl", row("a", "a dog", "a.webp"));
        desk.make("list.jsonl").ended(0);
        let slow = FaultKind::Delay { ms: 20_000 };
        desk.sim().arm(Fault::new(Provider::Openai, slow).on(Op::Image));
        desk.file(
            "list.jsonl",
            row("a", "a dog", "a.webp") + &row("d", "a tree", "d.webp") + &row("b", "a dog", "b.webp"),
        );
        let copy = desk.path("out/b.webp");
        desk.kill_once(&["run", "list.jsonl", "--out", "out"], "the copy", || {
            copy.exists()
        });
        desk.disarm();
        desk.file("list.jsonl", &edited);
        let before = desk.charges();
        let ran = desk.make("list.jsonl");
        let lines = ran.statuses();
        match lines.get("b") {
            Some(status) => assert_eq!(status, "changed", "{ran:#?}"),
            None => {
                ran.said(&["b.webp is the file of b"]);
            }
        }
        assert_eq!(desk.charges(), before);
        assert_eq!(
            fs::read(&copy).unwrap(),
            fs::read(desk.path("out/a.webp")).unwrap()
        );
    }
}

/// What it once shared is gone with its row: a person's word makes it, and so does a change of the row.
#[test]
fn a_row_that_shared_a_purchase_can_be_made_by_itself() {
    let row = |id: &str, prompt: &str| jobs(&[(id, "openai", prompt, &format!("{id}.webp"))]);
    let desk = Desk::with_sim();
    desk.file("list.jsonl", row("a", "a dog") + &row("b", "a dog"));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 2);
    desk.run(&["retry", "--unknown", "a", "--out", "out"]).ended(0);
    remove(&desk, "a.webp");
    desk.file("list.jsonl", row("b", "a dog"));
    assert_eq!(desk.make("list.jsonl").ended(1).count("gone"), 1);
    assert_eq!(desk.charges(), 2);
    desk.run(&["redo", "b", "--yes", "--list", "list.jsonl", "--out", "out"])
        .ended(0);
    assert_eq!(desk.charges(), 3);

    // The same where the row asks for something else by now.
    let desk = Desk::with_sim();
    desk.file("list.jsonl", row("a", "a dog") + &row("b", "a dog"));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.make("list.jsonl").ended(1);
    desk.run(&["retry", "--unknown", "a", "--out", "out"]).ended(0);
    desk.file("list.jsonl", row("b", "a cat"));
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp"]);
}

/// Two words with one sound moved together: the first has put the file there when the second comes to it.
#[test]
fn rows_that_share_a_path_move_together() {
    let list = |path: &str| {
        jobs(&[
            ("x", "openai", "one", "q.webp"),
            ("a", "openai", "one", path),
            ("b", "openai", "one", path),
        ])
    };
    let desk = Desk::with_sim();
    for path in ["p.webp", "moved.webp"] {
        desk.file("list.jsonl", list(path));
        let ran = desk.make("list.jsonl").ended(0);
        assert_eq!(ran.count("failed"), 0, "{ran:#?}");
        assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 3);
    }
    assert_eq!(desk.charges(), 1);
}

/// Said twice it is no other word: what an equal row may have bought is not bought beside it.
#[test]
fn a_redo_does_not_buy_beside_an_equal_rows_doubt() {
    let row = |id: &str| jobs(&[(id, "openai", "one", &format!("{id}.webp"))]);
    let desk = Desk::with_sim();
    desk.file("list.jsonl", row("r"));
    desk.make("list.jsonl").ended(0);
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.file("list.jsonl", row("r") + &row("s"));
    desk.run(&["redo", "r", "--yes", "--list", "list.jsonl", "--out", "out"]);
    remove(&desk, "r.webp");
    let before = desk.charges();
    for _ in 0..3 {
        desk.run(&["redo", "s", "--yes", "--list", "list.jsonl", "--out", "out"]);
    }
    assert_eq!(desk.charges(), before);
}

/// The copy stands where the row was, which has another path by now.
#[test]
fn a_copy_that_a_kill_left_at_a_former_path_is_nobody_elses() {
    let row = |id: &str, prompt: &str, path: &str| jobs(&[(id, "openai", prompt, path)]);
    let desk = Desk::with_sim();
    desk.file("list.jsonl", row("a", "a dog", "a.webp"));
    desk.make("list.jsonl").ended(0);
    let slow = FaultKind::Delay { ms: 20_000 };
    desk.sim().arm(Fault::new(Provider::Openai, slow).on(Op::Image));
    let with_b = row("a", "a dog", "a.webp") + &row("b", "a dog", "b.webp");
    desk.file("list.jsonl", with_b + &row("d", "a tree", "d.webp"));
    let copy = desk.path("out/b.webp");
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "the copy", || {
        copy.exists()
    });
    desk.disarm();
    let moved = row("a", "a dog", "a.webp") + &row("b", "a dog", "b2.webp");
    desk.file("list.jsonl", moved + &row("c", "a cat", "b.webp"));
    for _ in 0..3 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.line("c")["status"], "failed", "{ran:#?}");
    }
}

/// A doubt whose path has the file of another row is still a doubt.
#[test]
fn a_doubt_whose_path_was_given_away_is_no_mere_failure() {
    let desk = Desk::with_sim();
    let rows = |a: &str, c: &str| jobs(&[("c", "openai", "three", c), ("a", "openai", "one", a)]);
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::CutAfterBilling)
            .on(Op::Image)
            .matching("one"),
    );
    desk.file("list.jsonl", rows("p.webp", "q.webp"));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 1);
    desk.file("list.jsonl", rows("q.webp", "p.webp"));
    let ran = desk.make("list.jsonl");
    assert_eq!(ran.line("a")["status"], "unknown", "{ran:#?}");
    assert_eq!(ran.line("a")["error"]["charge"], "unknown", "{ran:#?}");
}

/// The first of them was bought and is no good: that is known to all, also when a kill or another list kept it from them.
#[test]
fn what_was_billed_in_vain_is_not_bought_for_an_equal_row() {
    let desk = Desk::with_sim();
    let wrong = FaultKind::WrongType {
        what: WrongType::OtherFormat,
    };
    desk.sim().arm(Fault::new(Provider::Openai, wrong).on(Op::Image));
    desk.file("list.jsonl", two("openai").lines().next().unwrap());
    desk.make("list.jsonl").ended(1);
    desk.file("list.jsonl", two("openai"));
    for _ in 0..2 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!((ran.count("failed"), desk.charges()), (2, 1), "{ran:#?}");
    }
    desk.run(&["retry", "b", "--out", "out"])
        .ended(2)
        .said(&["redo --out out b"]);
    // A person's word is one.
    desk.run(&["redo", "b", "--yes", "--out", "out"]).ended(0);
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 2);
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp"]);
}

/// A row that is added where an equal one has a file of the configuration before gets that file, whatever their paths.
#[test]
fn an_equal_row_is_outdated_like_the_other_one() {
    for (path, provider) in [("c.webp", "runware"), ("b.webp", "runware"), ("c.webp", "openai")] {
        let mut desk = Desk::with_sim();
        let a = |path| jobs(&[("a", provider, "a dog", path)]);
        let b = jobs(&[("b", provider, "a dog", "b.webp")]);
        desk.file("list.jsonl", a("a.webp"));
        desk.make("list.jsonl").ended(0);
        let (key, value) = match provider {
            "runware" => ("image__steps", json!(7)),
            _ => ("image__quality", json!("high")),
        };
        desk.configure(provider, key, &value);
        // The new one first, and the other one comes to its path.
        desk.file("list.jsonl", b + &a(path));
        let ran = desk.make("list.jsonl").ended(0);
        assert_eq!((ran.count("done"), desk.charges()), (2, 1), "{ran:#?}");
        assert_eq!(desk.make("list.jsonl").ended(0).count("outdated"), 2);
        desk.run(&["redo", "--settings", "--yes", "--out", "out"])
            .ended(0);
        assert_eq!(desk.charges(), 2);
        assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    }
}

/// The row that bought for both is not the only one whose file was replaced by then.
#[test]
fn a_killed_redo_of_equal_rows_is_known_to_be_theirs() {
    let mut scenario = media_sim::Scenario::instant();
    // It keeps the run going, and the ledger waiting for company.
    scenario.openai.latency_ms.image = 1000;
    let desk = Desk::with(scenario);
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a hat", "b.webp"),
            ("c", "openai", "a hat", "c.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    let first = fs::read(desk.path("out/b.webp")).unwrap();
    desk.kill_once(
        &["redo", "a", "b", "c", "--out", "out", "--yes"],
        "b is replaced",
        || fs::read(desk.path("out/b.webp")).is_ok_and(|now| now != first),
    );
    // What became of the third nobody knows.
    desk.make("list.jsonl");
    let again = desk.make("list.jsonl");
    for id in ["a", "b"] {
        let line = again.line(id);
        assert_eq!(
            (&line["status"], &line["take"]),
            (&json!("skipped"), &json!(2)),
            "{again:#?}"
        );
    }
    assert_eq!(desk.charges(), 4);
    desk.run(&["pick", "b", "1", "--out", "out"]).ended(0);
    assert_eq!(fs::read(desk.path("out/b.webp")).unwrap(), first);
}

/// It is planned as it is made: what an equal row has, or may have, is this one's too, wherever it stands in the list. Alone
/// it is a purchase.
#[test]
fn a_new_row_before_its_equal_is_planned_as_it_is_made() {
    let row = |id: &str| jobs(&[(id, "openai", "a dog", &format!("{id}.webp"))]);
    for (is_lost, is_configured) in [(false, false), (true, false), (true, true)] {
        let mut desk = Desk::with_sim();
        desk.configure("openai", "reuse", &json!(false));
        desk.file("list.jsonl", row("b"));
        if is_lost {
            desk.sim()
                .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
        }
        desk.make("list.jsonl").ended(i32::from(is_lost));
        if is_configured {
            desk.configure("openai", "image__quality", &json!("medium"));
        }
        let planned = |desk: &Desk| {
            let ran = desk.run(&["plan", "list.jsonl", "--out", "out", "--json"]);
            let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
            let openai = &plan["providers"]["openai"];
            (
                openai["make"].as_u64().unwrap(),
                plan["cost_usd"].as_f64().unwrap(),
            )
        };
        desk.file("list.jsonl", row("a") + &row("b"));
        assert_eq!(
            planned(&desk),
            (0, 0.0),
            "lost: {is_lost}, configured: {is_configured}"
        );
        // Nothing is bought, so that no cap is in the way.
        let ran = desk.run(&["run", "list.jsonl", "--out", "out", "--max-run-cost", "0.0001"]);
        ran.ended(i32::from(is_lost));
        assert_eq!(desk.charges(), 1);

        let mut desk = Desk::with_sim();
        desk.configure("openai", "reuse", &json!(false));
        desk.file("list.jsonl", row("b"));
        desk.make("list.jsonl").ended(0);
        desk.file("list.jsonl", row("a"));
        assert_eq!(planned(&desk).0, 1);
    }
}
