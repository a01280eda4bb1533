//! A daily quota belongs to an account, whoever asks: two processes share it, and a run waits for the next day.

use std::process::Stdio;

use media_sim::Scenario;
use serde_json::{Value, json};

use crate::support::{Desk, jobs, until};

/// Words that the simulator has recordings of.
const WORDS: [&str; 20] = [
    "perro", "gato", "casa", "mesa", "agua", "libro", "banco", "vino", "pan", "sol", "luna", "mar", "flor",
    "mano", "pie", "ojo", "boca", "dedo", "pelo", "cara",
];

fn desk(per_day: u64) -> Desk {
    let mut desk = Desk::with(Scenario::instant());
    let limits = json!({ "audio": { "requests_per_day": per_day, "requests_per_minute": null } });
    desk.configure("forvo", "limits", &limits);
    desk
}

fn list(words: &[&str]) -> String {
    let rows: Vec<_> = words
        .iter()
        .map(|word| (*word, "forvo", *word, format!("{word}.mp3")))
        .collect();
    jobs(&rows)
}

fn calls(desk: &Desk) -> usize {
    desk.sim()
        .calls()
        .iter()
        .filter(|call| call.path.contains("forvo"))
        .count()
}

#[test]
fn two_processes_on_one_account_never_make_more_calls_than_a_day_allows() {
    let desk = desk(21);
    desk.file("one.jsonl", list(&WORDS[..10]));
    desk.file("two.jsonl", list(&WORDS[10..]));
    let start = |list: &str, out: &str| {
        let mut command = desk.command(&["run", list, "--out", out, "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children = [start("one.jsonl", "one"), start("two.jsonl", "two")];
    let ended: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let mut by_status = std::collections::BTreeMap::new();
    for output in &ended {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            *by_status
                .entry(line["status"].as_str().unwrap().to_owned())
                .or_insert(0) += 1;
        }
    }
    assert!(
        ended.iter().any(|output| output.status.code() == Some(4)),
        "{by_status:?}"
    );
    // 21 calls are ten words: the last one is not begun without its two.
    assert_eq!(desk.sim().bill().quotas[0].used, 20, "{by_status:?}");
    assert_eq!(by_status["done"], 10, "{by_status:?}");
    assert_eq!(desk.outputs("one").len() + desk.outputs("two").len(), 10);
}

/// All of it, though the words of one batch find the day spent one after another.
#[test]
fn a_day_is_used_up() {
    let desk = desk(13);
    desk.file("list.jsonl", list(&WORDS[..9]));
    let ran = desk.make("list.jsonl").ended(4);
    assert_eq!((ran.count("done"), ran.count("waiting")), (6, 3), "{ran:#?}");
    assert_eq!(desk.sim().bill().quotas[0].used, 12);
}

#[test]
fn a_second_process_on_an_account_is_told() {
    let mut scenario = Scenario::instant();
    scenario.forvo.latency_ms.lookup = 1500;
    let mut desk = Desk::with(scenario);
    desk.configure(
        "forvo",
        "limits",
        &json!({ "audio": { "requests_per_minute": null } }),
    );
    desk.file("one.jsonl", list(&WORDS[..1]));
    desk.file("two.jsonl", list(&WORDS[1..2]));
    let mut first = desk.command(&["run", "one.jsonl", "--out", "one"]);
    let mut first = first.stderr(Stdio::null()).spawn().unwrap();
    until("the first asks", || !desk.sim().calls().is_empty());
    let second = desk.run(&["run", "two.jsonl", "--out", "two"]).ended(0);
    second.said(&["another process is at work with the account of forvo"]);
    assert!(first.wait().unwrap().success());
    let third = desk.run(&["run", "two.jsonl", "--out", "three"]).ended(0);
    assert!(!third.stderr.contains("another process"), "{third:#?}");
}

#[cfg(unix)]
#[test]
fn a_run_that_waits_for_the_next_day_can_be_stopped() {
    let desk = desk(2);
    desk.file("list.jsonl", list(&WORDS[..2]));
    let log = std::fs::File::create(desk.path("said")).unwrap();
    let mut command = desk.command(&["run", "list.jsonl", "--out", "out", "--wait-for-quota"]);
    let mut child = command.stderr(log).spawn().unwrap();
    until("it waits", || desk.read("said").contains("waiting until"));
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(calls(&desk), 2);
    // With a bound on its time it does not wait for longer than that.
    let bounded = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--wait-for-quota",
        "--stop-after",
        "300ms",
    ];
    desk.run(&bounded).ended(4).said(&["waiting until"]);
}

#[test]
fn a_plan_knows_what_was_used_today() {
    let desk = desk(20);
    desk.file("list.jsonl", list(&WORDS));
    desk.file("few.jsonl", list(&WORDS[..6]));
    let plan = |list: &str| {
        let ran = desk.run(&["plan", list, "--out", "out", "--json"]).ended(0);
        let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
        plan["providers"]["forvo"]["daily_quota"].clone()
    };
    // Twenty words are 40 calls.
    assert_eq!(plan("list.jsonl")["days"], 2);
    assert_eq!(plan("few.jsonl"), Value::Null);
    desk.run(&["run", "few.jsonl", "--out", "else"]).ended(0);
    let later = plan("list.jsonl");
    assert_eq!((&later["used_today"], &later["days"]), (&json!(12), &json!(3)));
    // Six words would be twelve calls, and eight are left.
    assert_eq!(plan("few.jsonl")["days"], 2);
    let told = desk.run(&["plan", "list.jsonl", "--out", "out"]).ended(0);
    assert!(told.stdout.contains("40 of 20 a day, 12 used today"), "{told:#?}");
    assert!(told.stdout.contains("4 now, 10 a day after"), "{told:#?}");
}
