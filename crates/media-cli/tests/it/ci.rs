//! The workflow of docs/ci.md, run as it is printed there.

use std::fs;
use std::os::unix::process::CommandExt as _;

use media_sim::Scenario;

use crate::support::{Desk, Ran, checkout};

fn script() -> String {
    let page = fs::read_to_string(checkout().join("docs/ci.md")).unwrap();
    let (_, rest) = page.split_once("```sh\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// A pipeline's machine: nothing of an earlier run is on it but what is in the store.
fn run(desk: &Desk, cap: &str, script: &str) -> Ran {
    desk.finish(command(desk, cap, script))
}

fn command(desk: &Desk, cap: &str, script: &str) -> std::process::Command {
    let _ = fs::remove_dir_all(desk.path("deck"));
    let _ = fs::remove_file(desk.path("deck.open"));
    command_there(desk, cap, script)
}

/// The same machine once more, with what the last run left on it.
fn command_there(desk: &Desk, cap: &str, script: &str) -> std::process::Command {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_media"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let base = desk.command(&[]);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(base.get_current_dir().unwrap())
        .env_clear();
    for (name, value) in base.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .env("PATH", path)
        .env("STORE", desk.path("store"))
        .env("CAP", cap);
    command
}

fn desk() -> Desk {
    desk_with(Scenario::instant())
}

fn desk_with(scenario: Scenario) -> Desk {
    let desk = Desk::with(scenario);
    desk.file("words.csv", "id,word\na,hat\nb,kettle\nc,cap\nd,pan\n");
    desk.file(
        "recipe.json",
        r#"{ "needs": ["id", "word"], "outputs": { "picture": { "kind": "image", "provider": "runware",
            "content": "a {word}", "path": "{id}.webp", "params": { "runware": { "width": 256, "height": 256 } } } } }"#,
    );
    desk
}

#[test]
fn it_makes_the_list_and_a_second_run_on_another_machine_buys_nothing() {
    let desk = desk();
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
    assert!(desk.path("store/deck/a.webp").exists() && desk.path("store/deck/report.html").exists());
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
}

#[test]
fn over_the_cap_the_gate_stops_it_and_nothing_is_sent() {
    let desk = desk();
    run(&desk, "0.001", &script())
        .ended(3)
        .said(&["1 of them would fit"]);
    assert!(desk.sim().calls().is_empty());
}

#[test]
fn what_a_cut_run_made_is_put_back_and_the_next_one_goes_on() {
    let desk = desk();
    // In place of five hours, after which there is more to do.
    let short = script().replace("--stop-after 5h", "--max-items 2");
    run(&desk, "1", &short).ended(0);
    desk.assert_bill_is(2);
    // A step that fails does not keep the folder from being put back.
    let failing = script().replace("media report --out deck", "false");
    run(&desk, "1", &failing).ended(1);
    desk.assert_bill_is(4);
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
}

#[test]
fn what_a_kill_left_is_gone_from_the_store_after_the_next_run() {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 1000;
    let desk = desk_with(scenario);
    let killed = script().replace("media run", "timeout --signal KILL 0.9 media run");
    let logs = || {
        let files = fs::read_dir(desk.path("store/deck/.media")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("-wal")).count()
    };
    run(&desk, "1", &killed).ended(137);
    assert_eq!(logs(), 1, "the log of a killed run belongs to its ledger");
    run(&desk, "1", &script()).ended(0);
    assert_eq!(logs(), 0, "left beside the newer ledger, it would take it back");
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
}

#[test]
fn a_kill_while_the_folder_is_put_back_loses_no_ledger() {
    let desk = desk();
    run(&desk, "1", &script()).ended(0);
    // As it is between the two renames.
    let store = desk.path("store");
    fs::rename(store.join("deck"), store.join("deck.new")).unwrap();
    fs::create_dir(store.join("deck.old")).unwrap();
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
    let left: Vec<_> = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["deck"]);
}

/// A pipeline is cancelled by a signal to its shell; the program must not go on alone, nor its folder be forgotten.
#[test]
fn a_cancelled_pipeline_finishes_what_was_sent_and_puts_the_folder_back() {
    let mut scenario = Scenario::instant();
    scenario.runware.latency_ms.image = 500;
    let desk = desk_with(scenario);
    let mut child = command(&desk, "1", &script()).spawn().unwrap();
    crate::support::until("one is bought", || desk.charges() >= 1);
    let sent = std::process::Command::new("kill")
        .args(["-s", "TERM", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let bought = desk.charges();
    assert!((1..4).contains(&bought), "it went on");
    assert!(desk.path("store/deck/.media/ledger.sqlite").exists());
    run(&desk, "1", &script()).ended(0);
    desk.assert_bill_is(4);
}

/// Killed with its whole group, nothing is put back. What was bought is on the machine alone, and its next run begins there.
#[test]
fn a_killed_machine_that_stays_goes_on_from_what_it_has() {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 300;
    let desk = desk_with(scenario);
    desk.file(
        "recipe.json",
        desk.read("recipe.json")
            .replace("runware", "openai")
            .replace("\"width\": 256, \"height\": 256", ""),
    );
    run(&desk, "1", &script().replace("--stop-after 5h", "--max-items 1")).ended(0);
    desk.assert_bill_is(1);
    let killed = script().replace(
        "wait \"$run\" || code=$?\nwhile",
        "sleep 1; kill -9 $run $$\nwhile",
    );
    assert!(
        command_there(&desk, "1", &killed)
            .status()
            .unwrap()
            .code()
            .is_none()
    );
    let bought = desk.charges();
    assert!(bought > 1, "nothing was at stake");
    desk.finish(command_there(&desk, "1", &script()));
    assert!(
        desk.charges() <= 4,
        "bought twice: {bought} when it was killed, {} now",
        desk.charges()
    );
    assert!(!desk.path("deck.open").exists());
}

/// Two machines that went on from one copy have two ledgers: a person decides.
#[test]
fn what_two_machines_bought_is_not_thrown_away() {
    let desk = desk();
    run(&desk, "1", &script().replace("--stop-after 5h", "--max-items 1")).ended(0);
    fs::write(desk.path("deck.open"), "the number of an earlier copy").unwrap();
    fs::write(desk.path("deck/.copy"), "never put back").unwrap();
    let ran = desk.finish(command_there(&desk, "1", &script()));
    ran.ended(1).said(&["another machine has gone on"]);
    assert_eq!(desk.read("deck/.copy"), "never put back");
    desk.assert_bill_is(1);
}

#[test]
fn a_second_signal_does_not_cut_the_copy() {
    let desk = desk();
    // A slow copy, as to a bucket.
    let slow = script().replace("  rm -rf \"$2.part\"", "  sleep 1; rm -rf \"$2.part\"");
    // As pipelines send it: to all of the group, so that it meets the copy too.
    let mut child = command(&desk, "1", &slow).process_group(0).spawn().unwrap();
    crate::support::until("all are bought", || {
        desk.charges() == 4 && desk.path("deck/report.html").exists()
    });
    for signal in ["INT", "TERM"] {
        std::process::Command::new("kill")
            .args(["-s", signal, "--", &format!("-{}", child.id())])
            .status()
            .unwrap();
    }
    child.wait().unwrap();
    assert!(desk.path("store/deck/report.html").exists());
    assert!(!desk.path("deck.open").exists());
}
