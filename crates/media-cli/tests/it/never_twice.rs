//! Ways in which a second purchase could slip in between two runs: each was one, once.

use std::fs;

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use serde_json::json;

use crate::decode::decode;
use crate::support::{Desk, Ran, jobs, until};

fn run(desk: &Desk, extra: &[&str]) -> Ran {
    let mut args = vec!["run", "list.jsonl", "--out", "out", "--json"];
    args.extend_from_slice(extra);
    desk.run(&args)
}

fn retry(desk: &Desk, extra: &[&str]) -> Ran {
    let mut args = vec!["retry", "--out", "out", "--json"];
    args.extend_from_slice(extra);
    desk.run(&args)
}

/// A desk whose list was begun, and whose process was killed after everything in flight was billed.
fn killed(provider: &str, rows: &[(&str, &str, &str, &str)]) -> Desk {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 300;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", jobs(rows));
    if provider == "openai" {
        let kind = FaultKind::DelayAfterBilling { ms: 60_000 };
        desk.sim()
            .arm(Fault::new(Provider::Openai, kind).on(Op::Image).times(9));
    }
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "it is billed", || {
        desk.charges() >= rows.len()
    });
    desk.disarm();
    desk
}

#[test]
fn a_changed_row_never_gets_the_old_file_under_its_new_name() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("1", "runware", "a dog", "dog.webp")]));
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", jobs(&[("1", "runware", "a cat", "cat.webp")]));
    // Nothing stands at its path, so not all is there.
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("1")["status"], "gone", "{ran:#?}");
    assert_eq!(desk.outputs("out"), ["dog.webp"]);
    // Only the path changed: the same file, under its new name, for nothing.
    desk.file("list.jsonl", jobs(&[("1", "runware", "a dog", "new/dog.webp")]));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.line("1")["status"], "done");
    assert_eq!(desk.charges(), 1);
    // So it is when the configuration has changed too; it stays what it was made by.
    desk.file("list.jsonl", jobs(&[("1", "runware", "a dog", "newer/dog.webp")]));
    desk.configure("runware", "image", &serde_json::json!({ "quality": 80 }));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.line("1")["status"], "done", "{ran:#?}");
    assert_eq!(desk.make("list.jsonl").ended(0).line("1")["status"], "outdated");
    assert_eq!(desk.charges(), 1);
}

#[test]
fn a_copy_that_fails_does_not_unmake_what_was_made() {
    let desk = Desk::with_sim();
    let list = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "sub/b.webp"),
    ]);
    desk.file("list.jsonl", list);
    desk.make("list.jsonl").ended(0);
    fs::remove_dir_all(desk.path("out/sub")).unwrap();
    // A file there is found before anything is done.
    desk.file("out/sub", "in the way");
    desk.make("list.jsonl").ended(2).said(&["out/sub is a file"]);
    fs::remove_file(desk.path("out/sub")).unwrap();
    std::os::unix::fs::symlink("nowhere", desk.path("out/sub")).unwrap();
    assert_eq!(desk.make("list.jsonl").line("b")["status"], "failed");
    fs::remove_file(desk.path("out/sub")).unwrap();
    fs::remove_file(desk.path("out/a.webp")).unwrap();
    let ran = desk.make("list.jsonl");
    assert_eq!(ran.count("gone"), 2, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
}

#[test]
fn another_configuration_does_not_hide_what_was_sent_and_never_came() {
    for (provider, setting) in [
        ("openai", "MEDIA_CONFIG__openai__image__quality"),
        ("runware", "MEDIA_CONFIG__runware__image__steps"),
    ] {
        let mut desk = killed(provider, &[("a", provider, "a hat", "a.webp")]);
        desk.set(setting, if provider == "openai" { "high" } else { "7" });
        let ran = desk
            .make("list.jsonl")
            .ended(1)
            .said(&["asked for something else", "--unknown --give-up a"]);
        assert_eq!(ran.line("a")["status"], "unknown", "{ran:#?}");
        let status = desk.run(&["status", "--out", "out", "--json"]).ended(0).stdout;
        assert!(
            status.contains("\"unknown\":1") || status.contains("\"unknown\": 1"),
            "{status}"
        );
        assert_eq!(desk.charges(), 1, "{provider}");
        if provider == "runware" {
            // With the configuration as it was, it is fetched for nothing.
            desk.unset(setting);
            assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
            assert_eq!(desk.charges(), 1);
        } else {
            // A person gives it up.
            assert_eq!(retry(&desk, &["--unknown"]).ended(0).count("done"), 1);
            assert_eq!(desk.charges(), 2);
            assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
        }
    }
}

#[test]
fn what_can_be_asked_for_is_not_given_up_by_a_retry() {
    let desk = killed("runware", &[("a", "runware", "a hat", "a.webp")]);
    retry(&desk, &["--unknown"])
        .ended(0)
        .said(&["the next run asks for what can be asked for"]);
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 1);
}

#[test]
fn a_retry_of_equal_rows_buys_once_and_names_count_once() {
    let desk = Desk::with_sim();
    let list = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "b.webp"),
    ]);
    desk.file("list.jsonl", list);
    let refused = FaultKind::Status {
        status: 400,
        billed: false,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: None,
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, refused).on(Op::Image));
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.count("failed"), 2, "{ran:#?}");
    let ran = retry(&desk, &["b", "a", "a"]).ended(0);
    assert_eq!(ran.count("done"), 2, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
    desk.assert_clean("out");
}

#[test]
fn a_lost_ledger_is_known_by_more_than_the_files_of_the_list() {
    let desk = Desk::with_sim();
    let list = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("r", "runware", "a dog", "r.webp"),
    ]);
    desk.file("list.jsonl", list);
    desk.make("list.jsonl").ended(0);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    for name in desk.outputs("out") {
        fs::remove_file(desk.path("out").join(name)).unwrap();
    }
    // Nothing of the list is there, and still the folder was used.
    run(&desk, &[]).ended(3).said(&["was used before", "--adopt"]);
    // Fetching what Runware knows does not settle the question about OpenAI.
    run(&desk, &["--provider", "runware"]).ended(0);
    run(&desk, &[]).ended(3).said(&["--adopt"]);
    assert_eq!(desk.charges(), 2);
    // Once a person has answered it, it is not asked again.
    run(&desk, &["--adopt"]).ended(0);
    fs::write(desk.path("list.jsonl"), {
        let more = jobs(&[("c", "openai", "a cap", "c.webp")]);
        desk.read("list.jsonl") + &more
    })
    .unwrap();
    run(&desk, &[]).ended(0);
    assert_eq!(desk.charges(), 4);
}

#[test]
fn media_from_elsewhere_in_a_new_folder_are_asked_about() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    desk.file("out/old/b.png", "a picture of an earlier life");
    run(&desk, &[]).ended(3).said(&["holds media", "--adopt"]);
    assert_eq!(desk.charges(), 0);
}

#[test]
fn a_good_file_whose_place_is_taken_waits_for_it() {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 400;
    let desk = Desk::with(scenario);
    let list = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a cap", "b.webp"),
        ("c", "openai", "a tie", "c.webp"),
    ]);
    desk.file("list.jsonl", list);
    let mut command = desk.command(&[
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--concurrency",
        "1",
    ]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    until("the first is sent", || {
        desk.charges() >= 1 || desk.path("out/a.webp").exists()
    });
    let target = ["a.webp", "b.webp", "c.webp"]
        .map(|name| desk.path("out").join(name))
        .into_iter()
        .find(|path| !path.exists())
        .unwrap();
    fs::write(&target, "in the way").unwrap();
    // The others are made all the same: nothing is wrong with the disk.
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(desk.charges(), 3);
    assert_eq!(desk.rejected("out"), Vec::<std::path::PathBuf>::new());
    // It cannot be given up, and what waits outlives the runs in between.
    let id = target.file_stem().unwrap().to_str().unwrap().to_owned();
    retry(&desk, &["--unknown", &id])
        .ended(2)
        .said(&["is here", "move that away"]);
    desk.make("list.jsonl").ended(1);
    assert_eq!(desk.charges(), 3);
    fs::remove_file(&target).unwrap();
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("skipped"), 3, "{ran:#?}");
    decode(&target);
    assert_eq!(desk.charges(), 3);
    desk.assert_clean("out");
}

#[test]
fn an_equal_row_does_not_buy_again_what_is_gone() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    desk.make("list.jsonl").ended(0);
    fs::remove_file(desk.path("out/a.webp")).unwrap();
    let list = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "b.webp"),
    ]);
    desk.file("list.jsonl", list);
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.count("gone"), 2, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
}

#[test]
fn bytes_that_came_damaged_from_a_link_are_fetched_again_and_not_given_up() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    desk.sim().arm(
        Fault::new(Provider::Runware, FaultKind::Corrupt)
            .on(Op::Media)
            .times(40),
    );
    desk.make("list.jsonl").ended(1);
    desk.disarm();
    let ran = desk.run(&["rescue", "--out", "out", "--json"]).ended(0);
    assert_eq!(ran.count("done"), 1, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
    // And when there is nothing to fetch, that is a good end too.
    desk.run(&["rescue", "--out", "out"]).ended(0);
}

#[test]
fn where_nothing_is_billed_another_configuration_waits_for_nothing() {
    let mut scenario = Scenario::instant();
    scenario.forvo.latency_ms.lookup = 400;
    let mut desk = Desk::with(scenario);
    desk.file("list.jsonl", jobs(&[("perro", "forvo", "perro", "perro.mp3")]));
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "it is looked up", || {
        !desk.sim().calls().is_empty()
    });
    desk.set("MEDIA_CONFIG__forvo__minimum_rate", "-5");
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
}

#[test]
fn what_could_be_asked_for_is_given_up_when_a_person_names_it() {
    let mut desk = killed("runware", &[("a", "runware", "a hat", "a.webp")]);
    desk.set("MEDIA_CONFIG__runware__image__steps", "7");
    desk.make("list.jsonl").ended(1).said(&["--unknown --give-up a"]);
    assert_eq!(retry(&desk, &["--unknown", "a"]).ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 2);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
}

#[test]
fn a_row_that_was_changed_can_be_given_up_by_name() {
    let desk = killed("runware", &[("a", "runware", "a hat", "a.webp")]);
    desk.file("list.jsonl", jobs(&[("a", "runware", "a cap", "a.webp")]));
    desk.make("list.jsonl").ended(1).said(&["--unknown --give-up a"]);
    // The others' retry leaves it alone, for it can be asked for.
    retry(&desk, &["--unknown"]).ended(0).said(&["can be asked for"]);
    assert_eq!(desk.charges(), 1);
    retry(&desk, &["--unknown", "a"]).ended(0);
    assert_eq!(desk.charges(), 2);
}

/// Nobody wants the old text any more: the doubt is closed without buying that once more.
#[test]
fn what_is_given_up_is_not_sent_and_its_row_is_made_as_it_is_now() {
    for provider in ["openai", "runware"] {
        let desk = killed(provider, &[("a", provider, "a hat", "a.webp")]);
        desk.file("list.jsonl", jobs(&[("a", provider, "a cap", "a.webp")]));
        desk.make("list.jsonl").ended(1).said(&["--unknown --give-up a"]);
        retry(&desk, &["--unknown", "--give-up", "a"])
            .ended(0)
            .said(&["1 request that may have been billed: given up, and nothing is sent"]);
        assert_eq!(desk.charges(), 1);
        assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
        assert_eq!(desk.charges(), 2);
        let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
        assert!(
            status.contains("given up: 1 send may have been billed"),
            "{status}"
        );
    }
}

#[test]
fn a_doubt_whose_file_somebody_put_there_can_be_ended() {
    let desk = killed("openai", &[("a", "openai", "a hat", "a.webp")]);
    desk.file("other.jsonl", jobs(&[("o", "openai", "another hat", "o.webp")]));
    desk.run(&["run", "other.jsonl", "--out", "elsewhere"]).ended(0);
    fs::copy(desk.path("elsewhere/o.webp"), desk.path("out/a.webp")).unwrap();
    desk.make("list.jsonl").ended(1).said(&["--give-up a"]);
    retry(&desk, &["--unknown"])
        .ended(0)
        .said(&["given up, and nothing is sent"]);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 1);
    let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
    assert!(!status.contains("unknown:"), "{status}");
    assert_eq!(desk.charges(), 2);
}

#[test]
fn a_free_file_that_is_gone_is_made_again_for_every_row() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "forvo", "perro", "a.mp3")]));
    desk.make("list.jsonl").ended(0);
    fs::remove_file(desk.path("out/a.mp3")).unwrap();
    let list = jobs(&[("b", "forvo", "perro", "b.mp3"), ("a", "forvo", "perro", "a.mp3")]);
    desk.file("list.jsonl", list);
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 2);
}

/// A row that shared a doubt is bought once that doubt came to nothing, and not before.
#[test]
fn a_shared_doubt_ends_with_the_purchase_that_it_was_about() {
    let desk = Desk::with_sim();
    let both = jobs(&[
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "b.webp"),
    ]);
    desk.file("list.jsonl", both);
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutBefore).on(Op::Image));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 2);
    desk.file("list.jsonl", jobs(&[("b", "openai", "a hat", "b.webp")]));
    assert_eq!(desk.make("list.jsonl").ended(1).count("unknown"), 1);
    // The other row is sent again by hand, and refused: nothing is in doubt any more.
    let refused = FaultKind::Status {
        status: 400,
        billed: false,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: None,
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, refused).on(Op::Image));
    retry(&desk, &["--unknown", "a"]).ended(1);
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 1);
    assert_eq!(desk.charges(), 1);
}

/// Links lead nowhere until this is disarmed.
fn no_downloads(desk: &Desk) {
    let down = FaultKind::status(503);
    desk.sim()
        .arm(Fault::new(Provider::Runware, down).on(Op::Media).times(1000));
}

/// Nothing of it is known here, and the service is asked all the same.
#[test]
fn a_rescue_after_a_lost_ledger_fetches_what_was_bought() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a dog", "a.webp")]));
    desk.make("list.jsonl").ended(0);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    fs::remove_file(desk.path("out/a.webp")).unwrap();
    desk.run(&["rescue", "list.jsonl", "--out", "out"]).ended(0);
    assert_eq!(desk.outputs("out"), ["a.webp"]);
    assert_eq!(desk.charges(), 1);
}

/// Also what was made for it later: that is what was wanted last.
#[test]
fn after_a_lost_ledger_the_newest_take_is_found() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a dog", "a.webp"),
            ("b", "runware", "a cat", "b.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a wolf", "a.webp"),
            ("b", "runware", "a cat", "b.webp"),
        ]),
    );
    desk.run(&["redo", "--changed", "--out", "out", "--yes"]).ended(0);
    desk.run(&["redo", "b", "--out", "out", "--yes"]).ended(0);
    let files = || ["a", "b"].map(|name| fs::read(desk.path(&format!("out/{name}.webp"))).unwrap());
    let newest = files();
    assert_eq!(desk.charges(), 4);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    let move_away = || {
        for name in ["a", "b"] {
            fs::remove_file(desk.path(&format!("out/{name}.webp"))).unwrap();
        }
    };
    move_away();
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(desk.charges(), 4);
    assert_eq!(files(), newest);
    assert_eq!(
        (&ran.line("a")["take"], &ran.line("b")["take"]),
        (&json!(2), &json!(2))
    );
    // Under their own keys they are also asked for once their links are dead.
    move_away();
    let dead = Fault::new(Provider::Runware, FaultKind::status(404));
    desk.sim().arm(dead.on(Op::Media).times(2));
    desk.make("list.jsonl").ended(0);
    assert_eq!((desk.charges(), files() == newest), (4, true));
    // And another one is bought under another.
    desk.run(&["redo", "b", "--out", "out", "--yes"]).ended(0);
    assert_eq!((desk.charges(), files() == newest), (5, false));
}

/// A row is known by its id, what was paid for by what was asked.
#[test]
fn rows_that_got_other_ids_are_not_bought_again() {
    for provider in ["runware", "openai"] {
        let desk = Desk::with_sim();
        let list = |id: &str| desk.file("list.jsonl", jobs(&[(id, provider, "a dog", "a.png")]));
        list("a");
        desk.make("list.jsonl").ended(0);
        list("b");
        desk.make("list.jsonl").ended(0);
        fs::rename(desk.path("out/a.png"), desk.path("a.png")).unwrap();
        let ran = desk.make("list.jsonl").ended(1);
        assert_eq!(ran.line("b")["status"], "gone", "{ran:#?}");
        assert_eq!(desk.charges(), 1);
        fs::rename(desk.path("a.png"), desk.path("out/a.png")).unwrap();
        desk.make("list.jsonl").ended(0);
        assert_eq!(desk.charges(), 1);
    }
}

/// A lost ledger makes nobody forget what was asked for: only so many files, and the first of a model alone.
#[test]
fn a_bound_on_files_holds_after_a_lost_ledger() {
    let desk = Desk::with_sim();
    let row = |id: &str, text: &str| jobs(&[(id, "runware", text, &format!("{id}.webp"))]);
    desk.file("list.jsonl", row("a", "a hat"));
    run(&desk, &[]).ended(0);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    desk.file(
        "list.jsonl",
        row("b", "a cap") + &row("c", "a cat") + &row("d", "a cow"),
    );
    run(&desk, &["--max-items", "1"]);
    assert_eq!(desk.charges(), 2);
}

#[test]
fn what_was_billed_and_is_no_good_is_not_bought_again_by_its_equal_row() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "openai", "a hat", "a.webp"),
        ("b", "openai", "a hat", "b.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::Corrupt).on(Op::Image));
    run(&desk, &[]).ended(1);
    for _ in 0..2 {
        let ran = run(&desk, &[]).ended(1);
        assert_eq!((ran.count("failed"), desk.charges()), (2, 1), "{ran:#?}");
    }
    retry(&desk, &["b"]).ended(2);
    assert_eq!(desk.charges(), 1);
}

/// Equal rows of which each has a purchase of its own: each gets its own back.
#[test]
fn equal_rows_that_were_bought_apart_are_fetched_apart() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "runware", "a hat", "a.webp"),
        ("b", "runware", "a hat", "b.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    run(&desk, &[]).ended(0);
    desk.run(&["redo", "b", "--out", "out", "--yes"]).ended(0);
    let (a, b) = (desk.path("out/a.webp"), desk.path("out/b.webp"));
    let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_ne!(first, second);
    fs::remove_file(&a).unwrap();
    fs::remove_file(&b).unwrap();
    fs::remove_dir_all(desk.path("out/.media/old")).unwrap();
    run(&desk, &[]).ended(0);
    assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (first, second));
    assert_eq!(desk.charges(), 2);
}

/// What is found at the service after a lost ledger is a purchase like any other, also when its file does not come.
#[test]
fn what_is_found_after_a_lost_ledger_is_in_doubt_until_it_is_here() {
    let desk = Desk::with_sim();
    let row = |text: &str| jobs(&[("a", "runware", text, "a.webp")]);
    desk.file("list.jsonl", row("a hat"));
    run(&desk, &[]).ended(0);
    fs::remove_file(desk.path("out/.media/ledger.sqlite")).unwrap();
    fs::remove_file(desk.path("out/a.webp")).unwrap();
    no_downloads(&desk);
    run(&desk, &[]).ended(1);
    desk.disarm();
    desk.file("list.jsonl", row("a cap"));
    let ran = run(&desk, &[]).ended(1);
    assert_eq!(ran.line("a")["status"], "unknown", "{ran:#?}");
    desk.file("list.jsonl", row("a hat"));
    run(&desk, &[]).ended(0);
    assert_eq!(desk.charges(), 1);
}

/// One job that this configuration cannot make keeps nobody from what was paid for.
#[test]
fn rescue_goes_on_without_what_can_not_be_made_any_more() {
    let desk = killed(
        "runware",
        &[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "b.webp"),
        ],
    );
    // An instance that is there for one run.
    let mut other: serde_json::Value =
        serde_json::from_str(&desk.read("config/providers/openai.json")).unwrap();
    for (key, value) in desk.sim().overlay("openai").unwrap().as_object().unwrap() {
        other[key] = value.clone();
    }
    let other = desk.file("config/providers/other.json", other.to_string());
    desk.file("other.jsonl", jobs(&[("f", "other", "a fez", "f.webp")]));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling));
    desk.run(&["run", "other.jsonl", "--out", "out"]).ended(1);
    fs::remove_file(other).unwrap();
    let told = desk.run(&["rescue", "--out", "out"]);
    assert!(told.stderr.contains("left out: f"), "{told:#?}");
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp"]);
    assert_eq!(desk.charges(), 3);
}

/// What is at work when its ledger is lost is in doubt like anything that was sent, whatever becomes of its row.
#[test]
fn what_is_under_way_after_a_lost_ledger_is_not_bought_beside() {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 60_000;
    let desk = Desk::with(scenario);
    let row = |text: &str| jobs(&[("a", "runware", text, "a.webp")]);
    desk.file("list.jsonl", row("a hat"));
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "it is billed", || {
        desk.charges() == 1
    });
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(desk.path("out/.media").join(name));
    }
    for text in ["a hat", "a cap"] {
        desk.file("list.jsonl", row(text));
        let ran = run(&desk, &[]).ended(1);
        assert_eq!(ran.line("a")["status"], "unknown", "{ran:#?}");
    }
    assert_eq!(desk.charges(), 1);
}

/// A purchase that was shared, and whose file came later, is the equal row's too.
#[test]
fn an_equal_row_gets_what_came_later() {
    let desk = Desk::with_sim();
    let rows = [
        ("a", "runware", "a hat", "a.webp"),
        ("b", "runware", "a hat", "b.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    no_downloads(&desk);
    let ran = run(&desk, &[]).ended(1);
    assert_eq!(ran.line("b")["error"]["charge"], "certain", "{ran:#?}");
    desk.disarm();
    desk.file("list.jsonl", jobs(&rows[..1]));
    run(&desk, &[]).ended(0);
    desk.file("list.jsonl", jobs(&rows));
    let ran = run(&desk, &[]).ended(0);
    assert_eq!(ran.line("b")["status"], "done", "{ran:#?}");
    assert_eq!(desk.charges(), 1);
}

/// What an equal row's file that is gone stands in the way of, a person can have made.
#[test]
fn rows_whose_equal_is_gone_can_be_made_anew() {
    let mut desk = Desk::with_sim();
    desk.configure("openai", "reuse", &serde_json::json!(true));
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    run(&desk, &[]).ended(0);
    fs::remove_file(desk.path("out/a.webp")).unwrap();
    let rows = [
        ("c", "openai", "a hat", "c.webp"),
        ("d", "openai", "a hat", "d.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    assert_eq!(run(&desk, &[]).ended(1).count("gone"), 2);
    desk.run(&["redo", "--missing", "--out", "out", "--yes"]).ended(0);
    assert_eq!(desk.charges(), 2);
    assert_eq!(run(&desk, &[]).ended(0).count("skipped"), 2);
}

/// A row that became equal to another one keeps what was made for it before.
#[test]
fn what_was_made_for_a_row_is_not_replaced_by_an_equal_rows_file() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    run(&desk, &[]).ended(0);
    let rows = [
        ("b", "runware", "a cap", "b.webp"),
        ("a", "runware", "a cap", "moved.webp"),
    ];
    desk.file("list.jsonl", jobs(&rows));
    let ran = run(&desk, &[]).ended(1);
    assert_eq!(ran.line("a")["status"], "gone", "{ran:#?}");
    assert_eq!(ran.line("b")["status"], "done", "{ran:#?}");
    // As it was, it is there.
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    assert_eq!(run(&desk, &[]).ended(0).count("skipped"), 1);
    // And as it is now, a person has it made.
    desk.file("list.jsonl", jobs(&rows));
    desk.run(&["redo", "--changed", "--out", "out", "--yes"]).ended(0);
    assert_eq!(run(&desk, &[]).ended(0).count("skipped"), 2);
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp", "moved.webp"]);
}

/// It was paid for and its link is known: a stop before the download is no failure, and what it cost is told once.
#[test]
fn what_was_bought_and_not_fetched_is_not_told_as_a_failure() {
    let desk = Desk::with_sim();
    let row = |id: &str| jobs(&[(id, "runware", &format!("picture {id}"), &format!("{id}.webp"))]);
    desk.file("list.jsonl", row("b"));
    let hangs = Fault::new(Provider::Runware, FaultKind::Delay { ms: 60_000 });
    desk.sim().arm(hangs.on(Op::Media));
    let linked = || {
        let status = desk.run(&["status", "--out", "out", "--json"]).stdout;
        status.contains("\"unfetched\":1")
    };
    desk.kill_once(&["run", "list.jsonl", "--out", "out"], "the link", linked);
    desk.disarm();
    let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
    assert!(status.contains("1 file not fetched yet"), "{status}");
    let stopped = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--stop-after",
        "0s",
        "--json",
    ];
    let ran = desk.run(&stopped).ended(4);
    assert_eq!(ran.count("failed"), 0, "{ran:#?}");
    let ran = desk.make("list.jsonl").ended(0);
    assert!(ran.line("b")["cost_usd"].as_f64().unwrap() > 0.0, "{ran:#?}");
    assert_eq!(desk.charges(), 1);
}
