//! Takes that a person put back, and files that are missing: what is told of them is true.

use std::fs;

use serde_json::{Value, json};

use crate::takes::{made, redo, three};

/// Nobody buys away what a person has just chosen.
#[test]
fn a_take_that_was_picked_is_not_called_outdated() {
    let desk = made("runware");
    desk.file("list.jsonl", three("runware").replace("a kettle", "a pan"));
    redo(&desk, &["--changed"]).ended(0);
    desk.run(&["pick", "b", "1", "--out", "out"]).ended(0);
    let again = desk
        .make("list.jsonl")
        .ended(0)
        .said(&["1   changed or picked by hand"]);
    assert_eq!(again.count("skipped"), 2, "{again:#?}");
    redo(&desk, &["--settings"])
        .ended(0)
        .said(&["nothing to make anew"]);
    desk.assert_bill_is(4);
}

/// Results are of the file that stands there.
#[test]
fn results_tell_of_the_take_that_was_picked() {
    let desk = made("runware");
    let result = || {
        let results = desk.run(&["export", "results", "--out", "out"]).ended(0);
        results
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .find(|line| line["id"] == "b")
            .unwrap()
    };
    let first = result();
    desk.file("list.jsonl", three("runware").replace("a kettle", "a pan"));
    redo(&desk, &["--changed"]).ended(0);
    let second = result();
    assert_eq!((&first["take"], &second["take"]), (&json!(1), &json!(2)));
    for (take, told) in [("1", &first), ("2", &second)] {
        desk.run(&["pick", "b", take, "--out", "out"]).ended(0);
        let picked = result();
        for field in [
            "status",
            "take",
            "request",
            "sha256",
            "bytes",
            "model",
            "remote_id",
            "cost_usd",
            "cost_basis",
        ] {
            assert_eq!(picked[field], told[field], "{field} of take {take}");
        }
    }
}

/// Runware would give it back; who asks for another one is told its price and gets it.
#[test]
fn what_is_missing_can_be_made_anew_where_it_could_be_fetched() {
    let desk = made("runware");
    fs::remove_file(desk.path("out/c.webp")).unwrap();
    let ran = redo(&desk, &["--missing"]).ended(0);
    assert_eq!(ran.lines().keys().collect::<Vec<_>>(), ["c"]);
    desk.assert_bill_is(4);
    redo(&desk, &["--missing"])
        .ended(0)
        .said(&["nothing to make anew"]);
}
