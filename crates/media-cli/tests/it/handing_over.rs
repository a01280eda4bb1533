//! A run by the Batch API in two parts: everything is handed over, then each batch is had when it is over.

use std::time::Duration;

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use serde_json::{Value, json};

use crate::batches::{assert_once, created, desk, pictures, run};
use crate::support::{Desk, jobs, until};

fn result_files_fetched(desk: &Desk) -> usize {
    let calls = desk.sim().calls();
    calls
        .iter()
        .filter(|call| call.path.ends_with("/content"))
        .count()
}

/// A desk whose batches take long.
fn slow() -> Desk {
    let mut scenario = Scenario::default();
    scenario.openai.batch.line_ms = 10_000;
    desk(scenario)
}

#[test]
fn each_result_file_is_fetched_once_in_whatever_order_the_rows_are() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 120));
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(Duration::from_secs(600));
    // Every row now has neighbours that are in other batches.
    let rows = pictures(0, 120);
    let rows: Vec<_> = rows.lines().collect();
    let mixed: Vec<_> = (0..120).map(|n| rows[n * 7 % 120]).collect();
    desk.file("list.jsonl", mixed.join("\n"));
    let ran = run(&desk, &[]).ended(0);
    assert_eq!((ran.count("done"), created(&desk)), (120, 6));
    assert_eq!(result_files_fetched(&desk), 6);
    assert_once(&desk, 120);
    desk.assert_clean("out");
}

#[test]
fn every_row_that_waits_is_told_when_the_run_ends_before_its_batch() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 50));
    let ran = run(&desk, &["--stop-after", "1s"]).ended(4);
    assert_eq!((ran.count("waiting"), created(&desk)), (50, 3));
    desk.sim().advance(Duration::from_secs(600));
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 50);
    assert_once(&desk, 50);
}

fn two_that_are_equal() -> String {
    let rows = [
        ("a", "openai", "a dog", "a.webp"),
        ("b", "openai", "a dog", "b.webp"),
        ("c", "openai", "a cat", "c.webp"),
    ];
    jobs(&rows).replace("1024x640", "1024x1024")
}

#[test]
fn equal_rows_share_what_was_handed_over() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", two_that_are_equal());
    let ran = run(&desk, &[]).ended(0);
    assert_eq!(
        (ran.count("done"), ran.line("b")["cost_basis"].as_str()),
        (3, Some("shared"))
    );
    assert_once(&desk, 2);
}

#[test]
fn equal_rows_share_what_an_earlier_run_handed_over() {
    let desk = slow();
    desk.file("list.jsonl", two_that_are_equal());
    for _ in 0..2 {
        let ran = run(&desk, &["--no-wait"]).ended(4);
        assert_eq!(ran.count("waiting"), 3, "{ran:#?}");
    }
    desk.sim().advance(Duration::from_secs(600));
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 3);
    assert_once(&desk, 2);
}

/// The chain goes on in the run that fetches what was sent, whether batches are wanted then or not.
#[test]
fn what_a_batch_refuses_is_asked_of_the_next_provider_by_the_run_that_fetches_it() {
    for flags in [&["--batch-api"][..], &[]] {
        let mut scenario = Scenario::default();
        scenario.openai.batch.line_ms = 10_000;
        scenario.runware.moderation = Vec::new();
        let desk = desk(scenario);
        let row = |id: &str, prompt: &str| {
            json!({ "id": id, "kind": "image", "provider": ["openai", "runware"], "next_when": ["content_rejected"],
                "content": prompt, "output_path": format!("{id}.webp"),
                "params": { "openai": { "size": "1024x1024" } } })
        };
        desk.file(
            "list.jsonl",
            format!("{}\n{}\n", row("a", "a dog"), row("b", "a bloody knife")),
        );
        run(&desk, &["--no-wait"]).ended(4);
        desk.sim().advance(Duration::from_secs(600));
        let fetch = ["run", "list.jsonl", "--out", "out", "--json"];
        let ran = desk.run(&[&fetch, flags].concat()).ended(0);
        assert_eq!(ran.line("b")["provider"], "runware", "{flags:?}: {ran:#?}");
        assert_once(&desk, 2);
    }
}

/// Whether batches are wanted in the run that fetches it or not.
#[test]
fn what_was_sent_in_a_batch_is_expected_to_cost_what_a_batch_costs() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 10));
    run(&desk, &["--no-wait"]).ended(4);
    let told = |desk: &Desk| -> Value {
        let text = desk.run(&["status", "--json", "--out", "out"]).ended(0).stdout;
        serde_json::from_str(&text).unwrap()
    };
    let status = told(&desk);
    let set_aside = status["set_aside_usd"].as_f64().unwrap();
    assert_eq!(
        (&status["remote_batches"], &status["in_batches"]),
        (&json!(1), &json!(10))
    );
    assert!((set_aside - 0.26515).abs() < 1e-6, "{status}");
    desk.sim().advance(Duration::from_secs(600));
    desk.run(&["rescue", "list.jsonl", "--out", "out"])
        .ended(0)
        .said(&["0.26513 USD computed, 0.26515 estimated"]);
    assert_eq!(told(&desk)["set_aside_usd"], 0.0);
}

/// Without the switch the batch is had in the same way, by the run and by the rescue.
#[test]
fn each_result_file_is_fetched_once_whichever_command_fetches_it() {
    for command in [&["run"][..], &["rescue"]] {
        let desk = slow();
        desk.file("list.jsonl", pictures(0, 60));
        run(&desk, &["--no-wait"]).ended(4);
        desk.sim().advance(Duration::from_secs(600));
        let rows = pictures(0, 60);
        let rows: Vec<_> = rows.lines().collect();
        let mixed: Vec<_> = (0..60).map(|n| rows[n * 7 % 60]).collect();
        desk.file("list.jsonl", mixed.join("\n"));
        desk.run(&[command, &["list.jsonl", "--out", "out"]].concat())
            .ended(0);
        assert_eq!((desk.outputs("out").len(), result_files_fetched(&desk)), (60, 3));
        assert_once(&desk, 60);
    }
}

/// It was read to be handed over, and is not looked at again.
#[test]
fn a_list_that_is_edited_while_its_batch_is_done_changes_nothing() {
    let mut scenario = Scenario::default();
    scenario.openai.batch.line_ms = 50;
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 20));
    let child = desk
        .command(&["run", "list.jsonl", "--out", "out", "--batch-api"])
        .stderr(std::process::Stdio::null())
        .spawn();
    until("the batch is there", || created(&desk) == 1);
    desk.file("list.jsonl", pictures(0, 21));
    assert_eq!(child.unwrap().wait().unwrap().code(), Some(0));
    assert_eq!(desk.outputs("out").len(), 20);
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 1);
}

/// What an earlier run said of a row is not what is true of it now.
#[test]
fn a_row_that_failed_before_is_told_as_in_its_batch() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 1));
    let busy = Fault::new(Provider::Openai, FaultKind::status(429)).on(Op::Image);
    desk.sim().arm(busy.times(20));
    desk.make("list.jsonl").ended(1);
    desk.disarm();
    run(&desk, &["--no-wait"]).ended(4);
    let told = desk.run(&["status", "p0000", "--out", "out"]).ended(0).stdout;
    assert!(
        told.contains("pending") && !told.contains("rate_limited"),
        "{told}"
    );
}

/// What was bought is bought: it comes as what it was sent as, and is then a file of the configuration before.
#[test]
fn a_batch_is_had_though_the_configuration_was_changed_since() {
    let mut desk = slow();
    desk.file("list.jsonl", two_that_are_equal());
    run(&desk, &["--no-wait"]).ended(4);
    desk.configure("openai", "image", &json!({ "quality": "low" }));
    // What shares that purchase is not bought beside it.
    let ran = run(&desk, &["--no-wait"]);
    assert_eq!((ran.count("waiting"), ran.count("unknown")), (2, 1), "{ran:#?}");
    ran.said(&["when a was sent it asked for the same"]);
    desk.sim().advance(Duration::from_secs(600));
    desk.run(&["rescue", "--out", "out"]);
    assert_eq!(desk.outputs("out"), ["a.webp", "c.webp"]);
    assert_once(&desk, 2);
    assert_eq!(desk.make("list.jsonl").line("a")["status"], "outdated");
}

/// It has a purchase of its own, of which nobody would hear any more.
#[test]
fn a_row_in_a_batch_that_is_changed_to_equal_another_shares_nothing() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 2));
    run(&desk, &["--no-wait"]).ended(4);
    desk.file("list.jsonl", pictures(0, 2).replace("picture 1", "picture 0"));
    desk.sim().advance(Duration::from_secs(600));
    let ran = run(&desk, &[]).ended(0);
    assert_eq!(ran.line("p0001")["status"], "changed", "{ran:#?}");
    assert_eq!((desk.outputs("out").len(), desk.charges()), (2, 2));
}

#[test]
fn a_rescue_gives_equal_rows_what_they_share() {
    let desk = slow();
    desk.file("list.jsonl", two_that_are_equal());
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(Duration::from_secs(600));
    desk.run(&["rescue", "--out", "out"]).ended(0);
    assert_eq!(desk.outputs("out"), ["a.webp", "b.webp", "c.webp"]);
    assert_once(&desk, 2);
}

/// At the price and under the name of the model that made it.
#[test]
fn a_batch_that_another_model_was_asked_since_costs_what_it_cost() {
    let mut desk = slow();
    desk.file("list.jsonl", pictures(0, 4));
    run(&desk, &["--no-wait"]).ended(4);
    desk.configure("openai", "image", &json!({ "model": "gpt-image-1-mini" }));
    desk.sim().advance(Duration::from_secs(600));
    let ran = desk
        .run(&["rescue", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let told: f64 = ran
        .lines()
        .values()
        .map(|line| line["cost_usd"].as_f64().unwrap())
        .sum();
    let billed = desk.sim().bill().total_usd;
    assert!((told - billed).abs() < 1e-4, "told {told}, billed {billed}");
    assert_eq!(ran.line("p0000")["model"], "gpt-image-2");
}

/// What was bought for it waits, and a person has to make room.
#[test]
fn a_rescue_tells_of_a_row_whose_place_is_taken() {
    let desk = slow();
    desk.file("list.jsonl", pictures(0, 1));
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(Duration::from_secs(600));
    desk.file("out/p0000.webp", "no picture");
    desk.run(&["rescue", "--out", "out"])
        .ended(1)
        .said(&["p0000.webp is there", "move it away"]);
    std::fs::remove_file(desk.path("out/p0000.webp")).unwrap();
    desk.run(&["rescue", "--out", "out"]).ended(0);
    assert_once(&desk, 1);
}

/// The take that was asked for them together, whoever of them it was bought for.
#[test]
fn equal_rows_that_were_redone_together_get_their_take_from_a_later_run() {
    for fetch in [
        &["run", "list.jsonl", "--out", "out", "--json"][..],
        &["run", "list.jsonl", "--out", "out", "--json", "--batch-api"],
        &["rescue", "--out", "out", "--json"],
    ] {
        let desk = slow();
        let rows: Vec<_> = ["a", "b", "c"]
            .map(|id| (id, "openai", "one picture", format!("{id}.webp")))
            .to_vec();
        desk.file("list.jsonl", jobs(&rows));
        desk.make("list.jsonl").ended(0);
        let read = || ["a", "b", "c"].map(|id| std::fs::read(desk.path(&format!("out/{id}.webp"))).unwrap());
        let before = read();
        let redo = [
            "redo",
            "a",
            "b",
            "c",
            "--yes",
            "--out",
            "out",
            "--batch-api",
            "--no-wait",
        ];
        desk.run(&redo).ended(4);
        // Until it is there, each keeps what it has, and nothing is wrong with that.
        run(&desk, &["--no-wait"]).ended(4);
        assert_eq!(read(), before, "{fetch:?}");
        desk.sim().advance(Duration::from_secs(600));
        let ran = desk.run(fetch).ended(0);
        let after = read();
        assert!(
            after.iter().zip(&before).all(|(after, before)| after != before),
            "{fetch:?}: {ran:#?}"
        );
        assert!(after.iter().all(|file| *file == after[0]), "{fetch:?}");
        assert_eq!(desk.charges(), 2);
        let again = desk.make("list.jsonl").ended(0);
        assert_eq!((again.count("skipped"), desk.charges()), (3, 2), "{again:#?}");
        desk.assert_clean("out");
    }
}

/// One of them was redone alone since: the other one, whose redo came to nothing, keeps what it has.
#[test]
fn a_redo_that_came_to_nothing_takes_no_part_in_a_later_one() {
    let desk = slow();
    let rows: Vec<_> = ["a", "b"]
        .map(|id| (id, "openai", "one picture", format!("{id}.webp")))
        .to_vec();
    desk.file("list.jsonl", jobs(&rows));
    desk.make("list.jsonl").ended(0);
    let read = |id: &str| std::fs::read(desk.path(&format!("out/{id}.webp"))).unwrap();
    let (a, b) = (read("a"), read("b"));
    let redo = |ids: &[&str]| {
        let flags = ["--yes", "--out", "out", "--batch-api", "--no-wait"];
        desk.run(&[&["redo"], ids, &flags].concat()).ended(4);
    };
    redo(&["a", "b"]);
    desk.run(&["cancel", "--out", "out"]).ended(0);
    desk.sim().advance(Duration::from_secs(600));
    run(&desk, &[]).ended(4);
    redo(&["a"]);
    desk.sim().advance(Duration::from_secs(600));
    desk.make("list.jsonl").ended(0);
    assert!(read("a") != a && read("b") == b);
    assert_eq!(desk.charges(), 2);
}
