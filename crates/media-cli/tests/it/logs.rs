//! The log: quiet, verbose, to a file as JSON lines.

use serde_json::Value;

use crate::support::{Desk, jobs};

fn desk() -> Desk {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a bloody hat", "b.webp"),
        ]),
    );
    desk
}

#[test]
fn more_is_said_with_every_v() {
    let said = |flags: &[&str]| {
        desk()
            .run(&[&["run", "list.jsonl", "--out", "out"], flags].concat())
            .ended(1)
            .stderr
    };
    let (none, one, two) = (said(&[]), said(&["-v"]), said(&["-vv"]));
    assert!(!none.contains("DEBUG") && !none.contains("TRACE"), "{none}");
    assert!(one.contains("DEBUG") && !one.contains("TRACE"), "{one}");
    assert!(one.len() > none.len() && two.len() >= one.len());
    desk().run(&["run", "list.jsonl", "-v", "-q"]).ended(2);
}

#[test]
fn colours_are_for_terminals() {
    let ran = desk().run(&["run", "list.jsonl", "--out", "out", "-vv"]).ended(1);
    assert!(
        !ran.stderr.contains('\u{1b}') && !ran.stdout.contains('\u{1b}'),
        "{ran:#?}"
    );
    let mut desk = desk();
    desk.configure("runware", "base_url", &serde_json::json!("http://127.0.0.1:9"));
    let ran = desk.run(&["run", "list.jsonl", "--out", "out", "-vv"]).ended(1);
    assert!(
        ran.stderr.contains("DEBUG") && !ran.stderr.contains('\u{1b}'),
        "{ran:#?}"
    );
}

#[test]
fn quiet_says_nothing_but_errors() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    let ran = desk.run(&["run", "list.jsonl", "--out", "out", "-q"]).ended(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    desk.run(&["run", "none.jsonl", "-q"])
        .ended(2)
        .said(&["none.jsonl"]);
}

#[test]
fn the_log_file_is_json_lines() {
    let desk = desk();
    desk.run(&["run", "list.jsonl", "--out", "out", "--log", "run.log"])
        .ended(1);
    let log = desk.read("run.log");
    assert!(log.lines().count() > 2);
    for text in log.lines() {
        let line: Value = serde_json::from_str(text).unwrap();
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(),
            "{text}"
        );
    }
    desk.run(&["run", "list.jsonl", "--log", "nowhere/run.log"])
        .ended(2)
        .said(&["nowhere/run.log"]);
}

#[test]
fn the_log_does_not_replace_what_is_no_log() {
    let desk = desk();
    let list = desk.read("list.jsonl");
    desk.run(&["run", "list.jsonl", "--out", "out", "--log", "list.jsonl"]);
    assert_eq!(desk.read("list.jsonl"), list, "the list was replaced by the log");
}
