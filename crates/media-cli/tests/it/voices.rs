//! Which recording: what there is to choose from, why the first is first, and how another one is pinned.

use serde_json::{Value, json};

use crate::support::{Desk, jobs};

#[test]
fn the_recordings_of_a_word_are_listed_for_one_call_and_one_of_them_can_be_pinned() {
    let desk = Desk::with_sim();
    let told = desk.run(&["voices", "perro", "--language", "es"]).ended(0).stdout;
    assert!(
        told.contains("perro in es at forvo:") && told.contains("group 1 of 4 (CO, MX)"),
        "{told}"
    );
    assert_eq!(desk.sim().calls().len(), 1);
    let listed = desk
        .run(&["voices", "perro", "--language", "es", "--json"])
        .ended(0)
        .stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let candidates = listed["candidates"].as_array().unwrap();
    assert!(candidates.len() > 2, "{listed}");
    // The first is what a run takes; another one is taken by its pin.
    let pin = candidates[1]["pin"].clone();
    let list = jobs(&[("a", "forvo", "perro", "a.mp3"), ("b", "forvo", "perro", "b.mp3")]);
    let mut rows: Vec<Value> = list
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    rows[1]["params"] = json!({ "forvo": pin });
    desk.file(
        "list.jsonl",
        rows.iter().map(|row| format!("{row}\n")).collect::<String>(),
    );
    let ran = desk.make("list.jsonl").ended(0);
    for (id, candidate) in [("a", &candidates[0]), ("b", &candidates[1])] {
        assert_eq!(ran.line(id)["remote_id"], candidate["id"]);
    }
    // What a word was chosen from stays in the ledger.
    let calls = desk.sim().calls().len();
    let told = desk.run(&["status", "a", "--out", "out"]).ended(0).stdout;
    let id = candidates[2]["id"].as_str().unwrap();
    assert!(told.contains("chosen from") && told.contains(id), "{told}");
    assert!(
        told.contains(&format!(
            "params.forvo.id = {}",
            candidates[0]["id"].as_str().unwrap()
        )),
        "{told}"
    );
    assert_eq!(desk.sim().calls().len(), calls);
}

#[test]
fn what_there_was_is_told_of_a_word_of_which_nothing_was_taken() {
    let desk = Desk::with_sim();
    let row = jobs(&[("a", "forvo", "perro", "a.mp3")]);
    let mut row: Value = serde_json::from_str(&row).unwrap();
    row["params"] = json!({ "forvo": { "minimum_rate": 10_000 } });
    let mut chain = row.clone();
    (chain["id"], chain["output_path"], chain["content"]) = (json!("b"), json!("b.mp3"), json!("gato"));
    chain["provider"] = json!(["forvo", "openai"]);
    desk.file("list.jsonl", format!("{row}\n{chain}\n"));
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("b")["status"], "done");
    let error = ran.line("a")["error"].clone();
    assert_eq!(error["kind"], "not_found");
    let candidates = error["candidates"].as_array().unwrap();
    assert!(candidates.len() > 2, "{error}");
    assert!(candidates.iter().all(|one| one["fits"] == false), "{error}");
    let calls = desk.sim().calls().len();
    let told = desk.run(&["status", "a", "--out", "out"]).ended(0).stdout;
    let id = candidates[0]["id"].as_str().unwrap();
    assert!(
        told.contains("there were") && told.contains(&format!("params.forvo.id = {id}")),
        "{told}"
    );
    // Also where the next provider of its chain has delivered.
    let told = desk.run(&["status", "b", "--out", "out"]).ended(0).stdout;
    assert!(
        told.contains("forvo did not: not_found") && told.contains("params.forvo.id = "),
        "{told}"
    );
    assert_eq!(desk.sim().calls().len(), calls);
}

#[test]
fn what_has_nothing_to_choose_from_says_so() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.forvo.missing = vec!["xyzzy".to_owned()];
    let desk = Desk::with(scenario);
    desk.run(&["voices", "xyzzy", "--language", "es"]).ended(1);
    let refused = desk.run(&["voices", "perro", "--language", "es", "--provider", "runware"]);
    refused.ended(2).said(&["nothing to choose from"]);
    let mut desk = Desk::new();
    desk.unset("FORVO_API_KEY");
    desk.run(&["voices", "perro", "--language", "es"])
        .ended(2)
        .said(&["FORVO_API_KEY"]);
}
