//! The same command again: what is there stays, what is gone is not bought twice, what is new is made.

use std::fs;

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};

use crate::decode::decode;
use crate::support::{Desk, files, jobs, until};

fn pictures(provider: &str, names: &[&str]) -> String {
    let rows: Vec<_> = names
        .iter()
        .map(|name| (*name, provider, format!("a {name}"), format!("{name}.webp")))
        .collect();
    jobs(&rows)
}

/// Run, move all files away, run again: the bill is unchanged. What the service gives back for nothing is there again.
#[test]
fn what_was_moved_away_is_not_bought_again() {
    let desk = Desk::with_sim();
    let list = [
        pictures("openai", &["hat", "cap"]),
        pictures("runware", &["dog", "cat"]),
        jobs(&[("perro", "forvo", "perro", "perro.mp3")]),
    ];
    desk.file("list.jsonl", list.concat());
    desk.make("list.jsonl").ended(0);
    fs::create_dir(desk.path("elsewhere")).unwrap();
    for name in desk.outputs("out") {
        fs::rename(desk.path("out").join(&name), desk.path("elsewhere").join(&name)).unwrap();
    }
    let ran = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["gone", "not bought again"]);
    assert_eq!((ran.count("gone"), ran.count("done")), (2, 3), "{ran:#?}");
    assert_eq!(ran.line("hat")["status"], "gone");
    assert_eq!(desk.charges(), 4);
    // Put back, it is what it was.
    for name in ["hat.webp", "cap.webp"] {
        fs::rename(desk.path("elsewhere").join(name), desk.path("out").join(name)).unwrap();
    }
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("skipped"), 5);
    assert_eq!(desk.charges(), 4);
    desk.assert_clean("out");
}

#[test]
fn a_picture_that_was_edited_stays_as_it_is() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("openai", &["hat", "cap"]));
    desk.make("list.jsonl").ended(0);
    let edited = fs::read(desk.path("out/cap.webp")).unwrap();
    fs::write(desk.path("out/hat.webp"), &edited).unwrap();
    for _ in 0..2 {
        let ran = desk.make("list.jsonl").ended(0);
        assert_eq!(ran.line("hat")["status"], "kept");
        assert_eq!(ran.line("cap")["status"], "skipped");
        assert_eq!(fs::read(desk.path("out/hat.webp")).unwrap(), edited);
    }
    assert_eq!(desk.charges(), 2);
}

/// A row is known by its id, not by its place.
#[test]
fn rows_may_be_deleted_inserted_and_sorted() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("runware", &["dog", "cat", "hen", "pig"]));
    desk.make("list.jsonl").ended(0);
    desk.file(
        "list.jsonl",
        pictures("runware", &["pig", "ant", "dog", "bee", "cat"]),
    );
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.count("skipped"), ran.count("done")), (3, 2));
    desk.file(
        "list.jsonl",
        pictures("runware", &["hen", "cat", "bee", "ant", "dog", "pig"]),
    );
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("skipped"), 6);
    desk.assert_bill_is(6);
}

#[test]
fn words_without_a_recording_are_looked_up_once() {
    let mut scenario = Scenario::instant();
    scenario.forvo.missing = (0..40).map(|n| format!("nadie{n}")).collect();
    let desk = Desk::with(scenario);
    let rows: Vec<_> = (0..40)
        .map(|n| (format!("w{n}"), "forvo", format!("nadie{n}"), format!("w{n}.mp3")))
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    for _ in 0..3 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.count("failed"), 40);
        assert_eq!(ran.line("w7")["error"]["kind"], "not_found");
        assert_eq!(desk.lookups(), 40);
    }
    // Asked for by a person, and when the row changes.
    desk.run(&["retry", "w7", "--out", "out", "--json"]).ended(1);
    assert_eq!(desk.lookups(), 41);
    desk.file("list.jsonl", jobs(&[("w7", "forvo", "perro", "w7.mp3")]));
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.lookups(), 42);
}

#[test]
fn equal_requests_are_bought_once_and_copied() {
    let desk = Desk::with_sim();
    let rows = [
        ("one", "openai", "a red kite", "one.webp"),
        ("two", "openai", "a red kite", "sub/two.webp"),
        ("three", "openai", "a red kite", "three.webp"),
        ("other", "openai", "a blue kite", "other.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("done"), 4);
    desk.assert_bill_is(2);
    let one = fs::read(desk.path("out/one.webp")).unwrap();
    assert_eq!(fs::read(desk.path("out/sub/two.webp")).unwrap(), one);
    let basis: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|id| ran.line(id)["cost_basis"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        basis.iter().filter(|basis| *basis == "shared").count(),
        2,
        "{basis:?}"
    );
    // A copy that is gone is brought back from its equal.
    fs::remove_file(desk.path("out/one.webp")).unwrap();
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.count("done"), ran.count("skipped")), (1, 3));
    assert_eq!(fs::read(desk.path("out/one.webp")).unwrap(), one);
    // Another list of the same project asks for the same: reuse is on for this provider.
    desk.file(
        "more.jsonl",
        jobs(&[("four", "openai", "a red kite", "four.webp")]),
    );
    let ran = desk
        .run(&["run", "more.jsonl", "--out", "out", "--json"])
        .ended(0);
    assert_eq!(ran.line("four")["cost_basis"], "shared");
    desk.assert_bill_is(2);
    // However many newer ones there were, and are gone, an older one that stands serves.
    let many: Vec<_> = (0..20)
        .map(|n| (format!("m{n}"), "openai", "a red kite", format!("m{n}.webp")))
        .collect();
    desk.file("many.jsonl", jobs(&many));
    desk.run(&["run", "many.jsonl", "--out", "out"]).ended(0);
    for (.., path) in &many {
        fs::remove_file(desk.path("out").join(path)).unwrap();
    }
    desk.file(
        "more.jsonl",
        jobs(&[("five", "openai", "a red kite", "five.webp")]),
    );
    desk.run(&["run", "more.jsonl", "--out", "out"]).ended(0);
    desk.assert_bill_is(2);
    desk.assert_clean("out");
}

/// Where equal rows share a purchase whose answer was lost, none of them buys it anew.
#[test]
fn equal_rows_share_a_doubt_too() {
    let desk = Desk::with_sim();
    let rows = [
        ("one", "openai", "a red kite", "one.webp"),
        ("two", "openai", "a red kite", "two.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    for _ in 0..3 {
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.count("unknown"), 2, "{ran:#?}");
        assert_eq!(desk.charges(), 1);
    }
    // Nor does a third row that asks for the same.
    let third = [("zero", "openai", "a red kite", "zero.webp"), rows[0], rows[1]];
    desk.file("list.jsonl", jobs(&third));
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.count("unknown"), 3, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
}

#[test]
fn a_row_that_was_changed_is_told_and_left_and_so_is_a_changed_configuration() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("runware", &["dog", "cat"]));
    desk.make("list.jsonl").ended(0);
    let before = fs::read(desk.path("out/dog.webp")).unwrap();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("dog", "runware", "a brown dog", "dog.webp"),
            ("cat", "runware", "a cat", "cat.webp"),
        ]),
    );
    let ran = desk.make("list.jsonl").ended(0).said(&["changed"]);
    assert_eq!(ran.line("dog")["status"], "changed");
    desk.configure("runware", "image__steps", &serde_json::json!(9));
    let ran = desk.make("list.jsonl").ended(0).said(&["outdated"]);
    assert_eq!(ran.line("cat")["status"], "outdated");
    assert_eq!(fs::read(desk.path("out/dog.webp")).unwrap(), before);
    desk.assert_bill_is(2);
}

/// A path is no part of a purchase: the file moves along.
#[test]
fn a_row_with_another_path_gets_a_copy_of_its_file() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("dog", "openai", "a dog", "dog.webp")]));
    desk.make("list.jsonl").ended(0);
    desk.file(
        "list.jsonl",
        jobs(&[("dog", "openai", "a dog", "animals/dog.webp")]),
    );
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.line("dog")["status"], "done");
    decode(&desk.path("out/animals/dog.webp"));
    desk.assert_bill_is(1);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

/// Its ending is: bytes of one format never stand under the name of another.
#[test]
fn a_row_whose_path_asks_for_another_format_gets_no_copy() {
    let desk = Desk::with_sim();
    for (first, then) in [("dog.webp", "dog.png"), ("perro.mp3", "perro.ogg")] {
        let list = |path| {
            let is_image = first == "dog.webp";
            let provider = if is_image { "openai" } else { "forvo" };
            desk.file("list.jsonl", jobs(&[("it", provider, "perro", path)]));
        };
        list(first);
        desk.make("list.jsonl").ended(0);
        let bought = desk.charges();
        list(then);
        let line = desk.make("list.jsonl").ended(1).line("it");
        assert_eq!(line["status"], "gone", "{line}");
        assert_eq!(
            desk.outputs("out"),
            [first],
            "nothing of another format stands there"
        );
        assert_eq!(desk.charges(), bought);
        desk.run(&["redo", "--changed", "--yes", "--out", "out"]).ended(0);
        desk.run(&["verify", "out"]).ended(0);
        assert!(desk.path("out").join(then).exists());
        std::fs::remove_dir_all(desk.path("out")).unwrap();
    }
}

/// What was paid for is not forgotten because a person has put a file of their own where it belongs.
#[test]
fn a_file_in_the_place_of_what_was_bought_settles_nothing() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("cat", "runware", "a cat", "cat.webp")]));
    desk.run(&["run", "list.jsonl", "--out", "another"]).ended(0);
    let put = || {
        fs::create_dir_all(desk.path("out")).unwrap();
        fs::copy(desk.path("another/cat.webp"), desk.path("out/dog.webp")).unwrap()
    };
    desk.file("list.jsonl", jobs(&[("dog", "openai", "a dog", "dog.webp")]));
    let late = Fault::new(Provider::Openai, FaultKind::DelayAfterBilling { ms: 1000 }).on(Op::Image);
    desk.sim().arm(late);
    let mut child = desk
        .command(&["run", "list.jsonl", "--out", "out"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("it is bought", || desk.charges() == 2);
    put();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    for _ in 0..2 {
        let line = desk.make("list.jsonl").ended(1).line("dog");
        let next = line["error"]["next"].as_str().unwrap();
        assert!(
            line["status"] == "failed" && next.contains("move it away"),
            "{line}"
        );
    }
    fs::remove_file(desk.path("out/dog.webp")).unwrap();
    desk.make("list.jsonl").ended(0);
    assert_eq!(
        (desk.outputs("out"), desk.charges()),
        (vec!["dog.webp".to_owned()], 2)
    );
}

/// With the ledger gone, the same keys are computed and asked for: the service still knows what it made. So it is after a run
/// that could not ask and only noted the rows.
#[test]
fn a_lost_ledger_costs_nothing_where_the_service_knows_its_keys() {
    let mut desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        pictures("runware", &["dog", "cat", "hen", "pig", "ant", "bee"]),
    );
    // One of them is made at its second attempt: its first key was refused for good.
    desk.sim().arm(
        Fault::new(Provider::Runware, FaultKind::ErrorBody { body: None })
            .on(Op::Image)
            .matching("a hen"),
    );
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(6);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    for name in desk.outputs("out") {
        fs::remove_file(desk.path("out").join(name)).unwrap();
    }
    desk.set("RUNWARE_API_KEY", "sim-nobody-has-this-key");
    let ran = desk.make("list.jsonl");
    assert_ne!(ran.code, Some(0), "{ran:#?}");
    desk.set("RUNWARE_API_KEY", "sim-runware");
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("done"), 6, "{ran:#?}");
    assert_eq!(desk.charges(), 6);
    desk.assert_clean("out");
}

/// Each run that was refused without a trace went one key on, so more keys are asked for than one run uses.
#[test]
fn after_a_lost_ledger_keys_of_later_runs_are_asked_for_too() {
    let mut desk = Desk::with_sim();
    desk.configure(
        "runware",
        "retry",
        &serde_json::json!({ "attempts": 1, "first_delay": "1ms", "max_delay": "1ms" }),
    );
    desk.file("list.jsonl", pictures("runware", &["dog"]));
    let slow = FaultKind::status(429);
    for _ in 0..5 {
        desk.sim()
            .arm(Fault::new(Provider::Runware, slow.clone()).on(Op::Image));
        desk.make("list.jsonl").ended(1);
    }
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 1);
    for name in ["out/.media/ledger.sqlite", "out/dog.webp"] {
        fs::remove_file(desk.path(name)).unwrap();
    }
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 1);
}

/// A row that shares a purchase in doubt has nothing of its own to send again.
#[test]
fn who_shares_a_purchase_in_doubt_is_sent_to_the_one_that_made_it() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "b.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 2);
    desk.run(&["retry", "--unknown", "b", "--out", "out"])
        .ended(2)
        .said(&["b asks for the same as a", "settle a first"]);
    assert_eq!(desk.charges(), 1);
    desk.run(&["retry", "--unknown", "a", "--out", "out"]).ended(0);
    desk.run(&["retry", "--unknown", "b", "--out", "out"])
        .ended(2)
        .said(&["b has nothing of its own that is unknown", "run the list again"]);
    desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 2);
}

/// Lists of different times gave one path to two rows: only one file can be put there, so only one is bought.
#[test]
fn two_rows_for_one_path_are_not_both_asked_again() {
    let desk = Desk::with_sim();
    for (list, id, prompt) in [("one.jsonl", "a", "a hat"), ("two.jsonl", "b", "a coat")] {
        desk.file(list, jobs(&[(id, "openai", prompt, "same.webp")]));
        let refused = Fault::new(Provider::Openai, FaultKind::status(400));
        desk.sim().arm(refused.on(Op::Image));
        assert_eq!(desk.make(list).ended(1).count("failed"), 1);
    }
    desk.run(&["retry", "--out", "out"])
        .ended(2)
        .said(&["a and b would each make same.webp", "media retry --out out ID.."]);
    assert_eq!(desk.charges(), 0);
    desk.run(&["retry", "b", "--out", "out"]).ended(0);
    assert_eq!(desk.charges(), 1);
}

/// Whatever stands in its way, a row that may have been billed is not told as a mere failure.
#[test]
fn a_doubt_whose_place_is_taken_is_still_a_doubt() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 1);
    std::fs::write(desk.path("out/a.webp"), "no picture").unwrap();
    let told = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["may have been billed", "move it away"]);
    assert_eq!(told.count("unknown"), 1);
    std::fs::remove_file(desk.path("out/a.webp")).unwrap();
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 1);
    assert_eq!(desk.charges(), 1);
}

/// What could not be asked for is not bought beside what may be there; a later run asks again, and a person can go on.
#[test]
fn after_a_lost_ledger_what_cannot_be_asked_for_waits_for_a_person() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("runware", &["dog", "cat"]));
    desk.make("list.jsonl").ended(0);
    for name in ["out/.media/ledger.sqlite", "out/dog.webp", "out/cat.webp"] {
        fs::remove_file(desk.path(name)).unwrap();
    }
    let down = FaultKind::status(502);
    desk.sim()
        .arm(Fault::new(Provider::Runware, down).on(Op::Poll).times(1000));
    for _ in 0..2 {
        assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 2);
        assert_eq!(desk.charges(), 2);
    }
    desk.disarm();
    // By a person's word one is sent again, under a key of its own; the other is asked for.
    let retry = ["retry", "--unknown", "dog", "--out", "out", "--json"];
    assert_eq!(desk.run(&retry).ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 3);
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.count("skipped"), ran.count("done")), (1, 1), "{ran:#?}");
    assert_eq!(desk.charges(), 3);
}

#[test]
fn a_lost_ledger_stops_where_the_service_cannot_be_asked() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("openai", &["hat", "cap", "tie"]));
    desk.make("list.jsonl").ended(0);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    fs::remove_file(desk.path("out/hat.webp")).unwrap();
    let ran = desk
        .make("list.jsonl")
        .ended(3)
        .said(&["ledger", "--adopt", "twice"]);
    assert_eq!(ran.stdout, "");
    assert_eq!(desk.charges(), 3);
    let ran = desk
        .run(&["run", "list.jsonl", "--out", "out", "--json", "--adopt"])
        .ended(0);
    assert_eq!((ran.count("skipped"), ran.count("done")), (2, 1));
    assert_eq!(desk.charges(), 4);
}

/// A hat that is there, and a cap that was billed and never came.
fn with_a_doubt() -> Desk {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("openai", &["hat", "cap"]));
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::CutAfterBilling)
            .on(Op::Image)
            .matching("a cap"),
    );
    desk.make("list.jsonl").ended(1);
    desk
}

#[test]
fn what_may_have_been_billed_is_sent_again_only_by_hand() {
    let desk = with_a_doubt();
    let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
    assert!(
        status.contains("may have been billed") && status.contains("cap"),
        "{status}"
    );
    assert!(status.contains("media retry --out out --unknown"), "{status}");
    let one = desk.run(&["status", "cap", "--out", "out"]).ended(0).stdout;
    assert!(
        one.contains("it may have been billed") && one.contains("a cap"),
        "{one}"
    );
    desk.run(&["retry", "--out", "out"])
        .ended(0)
        .said(&["nothing has failed"]);
    desk.run(&["retry", "hat", "--unknown", "--out", "out"])
        .ended(2)
        .said(&["hat is not unknown"]);
    assert_eq!(desk.charges(), 2);
    let ran = desk
        .run(&["retry", "--unknown", "--out", "out", "--json"])
        .ended(0)
        .said(&["1 request"]);
    assert_eq!(ran.line("cap")["status"], "done");
    assert_eq!(desk.charges(), 3);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
    desk.run(&["retry", "--unknown", "--out", "out"]).ended(0);
    assert_eq!(desk.charges(), 3);
}

#[test]
fn a_doubt_is_given_up_without_a_purchase_where_the_file_is_there() {
    let desk = with_a_doubt();
    // A person found it elsewhere.
    fs::copy(desk.path("out/hat.webp"), desk.path("out/cap.webp")).unwrap();
    desk.run(&["retry", "--unknown", "cap", "--out", "out"])
        .ended(0)
        .said(&["given up, and nothing is sent"]);
    assert_eq!(desk.charges(), 2);
}

/// Killed after the service had accepted: what it made is fetched, and nothing else is begun.
#[test]
fn a_rescue_fetches_and_buys_nothing() {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 300;
    let desk = Desk::with(scenario);
    let names: Vec<String> = (0..24).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    desk.file("list.jsonl", pictures("runware", &names));
    let mut child = desk
        .command(&["run", "list.jsonl", "--out", "out"])
        .spawn()
        .unwrap();
    until("some are accepted", || desk.charges() >= 5);
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    let bought = desk.charges();
    let ran = desk.run(&["rescue", "--out", "out", "--json"]);
    assert_eq!(desk.charges(), bought, "it bought: {ran:#?}");
    assert_eq!(desk.outputs("out").len(), bought, "{ran:#?}");
    desk.assert_clean("out");
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(24);
}

#[test]
fn no_new_work_is_taken_after_the_time_that_was_given() {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 150;
    let mut desk = Desk::with(scenario);
    desk.configure("openai", "limits__concurrency", &serde_json::json!(1));
    let names: Vec<String> = (0..30).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    desk.file("list.jsonl", pictures("openai", &names));
    let ran = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "out",
            "--json",
            "--stop-after",
            "600ms",
        ])
        .ended(4)
        .said(&["600ms are over", "next: media run list.jsonl"]);
    let done = ran.count("done");
    assert!((1..30).contains(&done), "{ran:#?}");
    desk.assert_bill_is(done);
    assert_eq!(files(&desk.path("out/.media/staging")).len(), 0);
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(30);
}

/// The row that shares a file may be read when the file is there already: it was made by this run all the same.
#[test]
fn a_row_that_shares_a_file_of_this_run_is_done_however_late_it_is_read() {
    let desk = Desk::with_sim();
    let words: Vec<_> = (0..200)
        .map(|n| (format!("w{n}"), "forvo", format!("w{n}"), format!("w{n}.mp3")))
        .collect();
    let list = [
        jobs(&[("a", "forvo", "perro", "perro.mp3")]),
        jobs(&words),
        jobs(&[("z", "forvo", "perro", "perro.mp3")]),
    ];
    desk.file("list.jsonl", list.concat());
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.line("z")["status"], "done", "{ran:#?}");
    assert_eq!(ran.count("done"), 202);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 202);
}

/// A row that was put in between moved the paths of those after it: what stands there is not theirs.
#[test]
fn a_file_of_another_row_is_not_taken_for_ones_own() {
    let desk = Desk::with_sim();
    let one = ("one", "runware", "a hat", "001.webp");
    let two = ("two", "runware", "a cap", "002.webp");
    desk.file("list.jsonl", jobs(&[one, two]));
    desk.make("list.jsonl").ended(0);
    let zero = ("zero", "runware", "a kettle", "001.webp");
    let moved = ("one", "runware", "a hat", "002.webp");
    let last = ("two", "runware", "a cap", "003.webp");
    desk.file("list.jsonl", jobs(&[zero, moved, last]));
    let ran = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["001.webp is the file of one"]);
    let found = ["zero", "one", "two"].map(|id| ran.line(id)["status"].clone());
    assert_eq!(found, ["failed", "failed", "done"], "{ran:#?}");
    desk.assert_bill_is(2);
    // Another id for the same request is no other request.
    let renamed = ("eins", "runware", "a hat", "001.webp");
    desk.file("list.jsonl", jobs(&[renamed]));
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
    // Out of the way, it makes room, and is still known.
    desk.file("list.jsonl", jobs(&[zero]));
    std::fs::rename(desk.path("out/001.webp"), desk.path("hat.webp")).unwrap();
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    desk.assert_bill_is(3);
}

/// The other row's file was copied to its new path, so that its old one is no take's any more: it is still not this row's.
#[test]
fn a_file_stays_another_rows_after_that_one_moved_on() {
    let desk = Desk::with_sim();
    let last = ("last", "runware", "a cap", "001.webp");
    desk.file("list.jsonl", jobs(&[last]));
    desk.make("list.jsonl").ended(0);
    let new = ("new", "runware", "a kettle", "001.webp");
    desk.file(
        "list.jsonl",
        jobs(&[new, ("last", "runware", "a cap", "002.webp")]),
    );
    for _ in 0..3 {
        let ran = desk
            .make("list.jsonl")
            .ended(1)
            .said(&["001.webp is the file of last", "mend the rows"]);
        assert_eq!(ran.line("new")["status"], "failed", "{ran:#?}");
    }
    desk.assert_bill_is(1);
}

/// Files that are written together have the same time, and pictures of one size may have the same length.
#[test]
fn a_file_of_another_row_with_the_same_size_and_time_is_told_apart() {
    let mut scenario = Scenario::instant();
    scenario.media.bytes = 50_000;
    let desk = Desk::with(scenario);
    let rows = |one, two| jobs(&[("a", "runware", "a hat", one), ("b", "runware", "a cap", two)]);
    desk.file("list.jsonl", rows("1.webp", "2.webp"));
    desk.make("list.jsonl").ended(0);
    let one = fs::metadata(desk.path("out/1.webp")).unwrap();
    let two = fs::File::options()
        .write(true)
        .open(desk.path("out/2.webp"))
        .unwrap();
    two.set_modified(one.modified().unwrap()).unwrap();
    assert_eq!(two.metadata().unwrap().len(), one.len());
    desk.file("list.jsonl", rows("2.webp", "3.webp"));
    let ran = desk
        .make("list.jsonl")
        .ended(1)
        .said(&["2.webp is the file of b"]);
    assert_eq!(ran.line("a")["status"], "failed", "{ran:#?}");
}

/// The end of one path may be the whole of another.
#[test]
fn a_file_of_a_sub_folder_is_not_that_of_the_folder() {
    let mut scenario = Scenario::instant();
    scenario.media.bytes = 50_000;
    let desk = Desk::with(scenario);
    let rows = |one, two| jobs(&[("a", "runware", "a hat", one), ("b", "runware", "a cap", two)]);
    desk.file("list.jsonl", rows("1.webp", "sub/1.webp"));
    desk.make("list.jsonl").ended(0);
    let time = fs::metadata(desk.path("out/1.webp")).unwrap().modified().unwrap();
    let other = fs::File::options().write(true).open(desk.path("out/sub/1.webp"));
    other.unwrap().set_modified(time).unwrap();
    desk.file("list.jsonl", rows("sub/1.webp", "1.webp"));
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(
        (ran.line("a")["status"].as_str(), ran.line("b")["status"].as_str()),
        (Some("failed"), Some("failed"))
    );
}

#[test]
fn what_helps_several_rows_is_one_command() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures("openai", &["hat", "cap", "tie"]));
    let lost = Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image);
    desk.sim().arm(lost.times(3));
    desk.make("list.jsonl").ended(1);
    desk.disarm();
    let changed = desk
        .read("list.jsonl")
        .replace("a hat", "a red hat")
        .replace("a cap", "a red cap");
    desk.file("list.jsonl", changed);
    desk.make("list.jsonl")
        .ended(1)
        .said(&["--unknown --give-up hat cap\n"]);
    let run = ["retry", "--out", "out", "--unknown", "--give-up", "hat", "cap"];
    desk.run(&run).ended(0);
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!((ran.count("done"), ran.count("unknown")), (2, 1), "{ran:#?}");
}

/// What nobody pays for is no purchase, whatever link of it is known.
#[test]
fn a_file_in_the_place_of_a_free_one_is_as_good() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("perro", "forvo", "perro", "perro.mp3")]));
    desk.run(&["run", "list.jsonl", "--out", "another"]).ended(0);
    let broken = Fault::new(Provider::Forvo, FaultKind::Corrupt).on(Op::Audio);
    desk.sim().arm(broken.times(20));
    desk.make("list.jsonl").ended(1);
    fs::copy(desk.path("another/perro.mp3"), desk.path("out/perro.mp3")).unwrap();
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

/// Opus may stand in a `.ogg`.
#[test]
fn a_format_that_another_name_may_have_is_no_other_format() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("s", "openai", "hello", "s.ogg")]));
    desk.make("list.jsonl").ended(0);
    desk.configure("openai", "speech__voice", &serde_json::json!("echo"));
    desk.file("list.jsonl", jobs(&[("s", "openai", "hello", "t.ogg")]));
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.make("list.jsonl").ended(0).count("outdated"), 1);
    assert_eq!(desk.charges(), 1);
}
