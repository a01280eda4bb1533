//! The Batch API: half the price, found again by its key, partial results delivered, nothing bought twice.

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use serde_json::{Value, json};

use crate::support::{Desk, Ran, jobs, until};

pub(crate) fn pictures(from: usize, count: usize) -> String {
    let rows: Vec<_> = (from..from + count)
        .map(|n| {
            (
                format!("p{n:04}"),
                "openai",
                format!("picture {n}"),
                format!("p{n:04}.webp"),
            )
        })
        .collect();
    jobs(&rows).replace("1024x640", "1024x1024")
}

pub(crate) fn desk(scenario: Scenario) -> Desk {
    let mut desk = Desk::with(scenario);
    let batch = json!({ "images_per_file": 20, "first_poll": "20ms", "max_poll": "50ms" });
    desk.configure("openai", "batch", &batch);
    desk
}

pub(crate) fn run(desk: &Desk, flags: &[&str]) -> Ran {
    desk.run(
        &[
            &["run", "list.jsonl", "--out", "out", "--json", "--batch-api"],
            flags,
        ]
        .concat(),
    )
}

pub(crate) fn count(desk: &Desk, method: &str, path: &str) -> usize {
    desk.sim()
        .calls()
        .iter()
        .filter(|call| call.method == method && call.path == path)
        .count()
}

pub(crate) fn created(desk: &Desk) -> usize {
    count(desk, "POST", "/openai/v1/batches")
}

#[track_caller]
pub(crate) fn assert_once(desk: &Desk, charges: usize) {
    let bill = desk.sim().bill();
    let mut contents: Vec<_> = bill.charges.iter().map(|charge| &charge.content_sha256).collect();
    contents.sort();
    contents.dedup();
    assert_eq!(
        (bill.charges.len(), contents.len()),
        (charges, charges),
        "{bill:#?}"
    );
}

#[test]
fn a_list_is_made_in_files_for_half_the_price() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 50));
    let direct = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0)
        .stdout;
    let halved = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json", "--batch-api"])
        .ended(0)
        .stdout;
    let cost = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).unwrap()["cost_usd"]
            .as_f64()
            .unwrap()
    };
    assert!(
        (cost(&halved) * 2.0 - cost(&direct)).abs() < 2e-3,
        "{direct} {halved}"
    );
    let ran = run(&desk, &[]).ended(0);
    assert_eq!(ran.count("done"), 50);
    assert_eq!(created(&desk), 3, "20, 20 and 10");
    desk.assert_bill_is(50);
    let billed = desk.sim().bill().total_usd;
    let told: f64 = ran
        .lines()
        .values()
        .map(|line| line["cost_usd"].as_f64().unwrap())
        .sum();
    assert!((billed - told).abs() < 1e-4, "billed {billed}, told {told}");
    assert!(
        (billed - cost(&halved)).abs() < billed * 0.1,
        "billed {billed}, planned {}",
        cost(&halved)
    );
    desk.assert_clean("out");
    assert_eq!(run(&desk, &[]).ended(0).count("skipped"), 50);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 50);
    // What takes hours at the service is no part of the times of direct calls.
    desk.run(&["report", "--out", "out"]).ended(0);
    let page = desk.read("out/report.html");
    assert!(page.contains("in batches: median "), "{page}");
}

/// The run that sent it has ended long before anybody knows what it cost.
#[test]
fn what_cost_more_than_was_set_aside_is_told_by_the_run_that_fetches_it() {
    let mut desk = desk(Scenario::default());
    let config: Value = serde_json::from_str(&desk.read("config/providers/openai.json")).unwrap();
    let mut items = config["prices"]["items"].clone();
    for item in items.as_array_mut().unwrap() {
        item["usd"] = json!(item["usd"].as_f64().unwrap() / 2.0);
    }
    desk.configure("openai", "prices", &json!({ "items": items }));
    desk.file("list.jsonl", pictures(0, 10));
    run(&desk, &["--no-wait", "--max-cost", "5"]).ended(4);
    desk.sim().advance(std::time::Duration::from_secs(60));
    run(&desk, &["--max-cost", "5"])
        .ended(0)
        .said(&["of it more than was set aside"]);
}

#[test]
fn it_can_be_left_and_is_fetched_by_a_later_run() {
    let mut scenario = Scenario::default();
    // However slow this machine is, the batches are not done before the clock says so.
    scenario.openai.batch.line_ms = 10_000;
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 30));
    let ran = run(&desk, &["--no-wait"])
        .ended(4)
        .said(&["handed over, and not done yet"]);
    assert_eq!((ran.count("waiting"), created(&desk)), (30, 2));
    let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
    assert!(
        status.contains("20 files, sent") && status.contains("10 files, sent"),
        "{status}"
    );
    assert!(!status.contains("unknown:"), "{status}");
    assert!(
        status.contains("USD set aside") && !status.contains("about 0.00 USD"),
        "{status}"
    );
    let job = desk.run(&["status", "p0003", "--out", "out"]).ended(0).stdout;
    assert!(job.contains("handed over in a remote batch"), "{job}");
    assert_eq!(run(&desk, &["--no-wait"]).ended(4).count("waiting"), 30);
    desk.sim().advance(std::time::Duration::from_secs(600));
    // Whether batches are wanted now or not: what was sent in one is fetched.
    let fetched = desk.make("list.jsonl").ended(0);
    assert_eq!((fetched.count("done"), created(&desk)), (30, 2));
    desk.assert_bill_is(30);
    // At the price of batches, though batches are not wanted now.
    let told: f64 = fetched
        .lines()
        .values()
        .map(|line| line["cost_usd"].as_f64().unwrap())
        .sum();
    let billed = desk.sim().bill().total_usd;
    assert!((billed - told).abs() < 1e-4, "billed {billed}, told {told}");
    desk.assert_clean("out");
    assert!(
        !desk
            .run(&["status", "--out", "out"])
            .stdout
            .contains("batch media-")
    );
}

#[test]
fn what_a_batch_refuses_is_told_and_the_rest_is_made() {
    let desk = desk(Scenario::instant());
    desk.file(
        "list.jsonl",
        pictures(0, 5).replace("picture 3", "a bloody kettle"),
    );
    let ran = run(&desk, &[]).ended(1);
    let line = ran.line("p0003");
    assert_eq!(
        (&line["error"]["kind"], &line["error"]["charge"]),
        (&json!("content_rejected"), &json!("none"))
    );
    assert_eq!(ran.count("done"), 4);
    assert_once(&desk, 4);
    assert_eq!(run(&desk, &[]).ended(1).count("failed"), 1);
    assert_eq!(created(&desk), 1);
}

#[test]
fn a_model_that_takes_no_batches_is_told_before_anything_is_uploaded() {
    let desk = desk(Scenario::instant());
    let list = pictures(0, 2).replace("\"size\"", "\"model\":\"gpt-image-2.5-flare\",\"size\"");
    desk.file("list.jsonl", list);
    run(&desk, &[])
        .ended(2)
        .said(&["gpt-image-2.5-flare is not known to take batches", "batch.models"]);
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    run(&desk, &[])
        .ended(2)
        .said(&["none of the providers that are asked has batches"]);
    assert!(desk.sim().calls().is_empty());
}

#[test]
fn partial_results_of_expired_batches_are_delivered_and_the_rest_is_sent_again() {
    let mut scenario = Scenario::instant();
    scenario.openai.batch.line_ms = 1000;
    scenario.openai.batch.expires_ms = 5500;
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 8));
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(std::time::Duration::from_secs(20));
    let ran = run(&desk, &["--no-wait"])
        .ended(4)
        .said(&["nothing is wrong or lost", "next: media run list.jsonl"]);
    assert_eq!((ran.count("done"), ran.count("cancelled")), (5, 3), "{ran:#?}");
    assert_once(&desk, 5);
    assert_eq!(run(&desk, &["--no-wait"]).ended(4).count("waiting"), 3);
    desk.sim().advance(std::time::Duration::from_secs(20));
    let ran = run(&desk, &["--no-wait"]).ended(0);
    assert_eq!((ran.count("done"), ran.count("skipped")), (3, 5));
    assert_once(&desk, 8);
    desk.assert_clean("out");
}

#[test]
fn a_cancelled_batch_delivers_what_was_done() {
    let mut scenario = Scenario::instant();
    scenario.openai.batch.line_ms = 1000;
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 8));
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(std::time::Duration::from_millis(3500));
    desk.run(&["cancel", "x", "--out", "out"])
        .ended(2)
        .said(&["no open batch"]);
    desk.run(&["cancel", "--out", "out"])
        .ended(0)
        .said(&["8 files): cancelled"]);
    // A rescue buys nothing, and says who would.
    let ran = desk
        .run(&["rescue", "list.jsonl", "--out", "out", "--json"])
        .ended(0)
        .said(&["can be fetched is there", "never bought; media run makes them"]);
    assert_eq!((ran.count("done"), ran.count("cancelled")), (3, 5), "{ran:#?}");
    assert_once(&desk, 3);
    desk.run(&["cancel", "--out", "out"])
        .ended(0)
        .said(&["no batch is open"]);
}

#[test]
fn a_lost_answer_to_the_creation_finds_the_batch_by_its_key() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 5));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Batch));
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 5);
    assert_eq!(created(&desk), 1);
    assert_once(&desk, 5);
}

/// The list is a moment behind: what is not in it yet was created all the same.
#[test]
fn a_batch_that_shows_up_late_is_waited_for() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 5));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Batch));
    let nothing = FaultKind::ErrorBody {
        body: Some(json!({ "object": "list", "data": [], "has_more": false })),
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, nothing).on(Op::Poll).times(2));
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 5);
    assert_eq!(created(&desk), 1);
    assert_once(&desk, 5);
}

/// Only completed lines are charged, so what failed goes into the next batch, and what was refused waits for a person.
#[test]
fn lines_that_failed_cost_nothing_and_go_on() {
    let mut scenario = Scenario::instant();
    scenario.openai.moderation_output = vec!["picture 1".to_owned()];
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 5));
    let failed = FaultKind::TaskError {
        code: "image_generation_failed".to_owned(),
        message: "no".to_owned(),
        billed: false,
    };
    desk.sim().arm(
        Fault::new(Provider::Openai, failed)
            .on(Op::Batch)
            .matching("picture 3"),
    );
    let ran = run(&desk, &[]).ended(1);
    assert_eq!((ran.count("done"), ran.count("failed")), (3, 2), "{ran:#?}");
    assert_once(&desk, 3);
    let again = run(&desk, &[]).ended(1);
    assert_eq!((again.count("done"), again.count("failed")), (1, 1), "{again:#?}");
    assert_once(&desk, 4);
}

/// A key sees the batches of its own project only. That there is none for another key proves nothing.
#[test]
fn a_batch_that_another_key_cannot_see_is_not_taken_for_one_that_never_was() {
    let mut scenario = Scenario::instant();
    scenario
        .openai
        .keys
        .push(media_sim::OpenAiKey::new("sim-another-project", Vec::new()));
    let mut desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 5));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Batch));
    let nothing = FaultKind::ErrorBody {
        body: Some(json!({ "object": "list", "data": [], "has_more": false })),
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, nothing).on(Op::Poll).times(10));
    assert_eq!(run(&desk, &["--no-wait"]).ended(4).count("waiting"), 5);
    desk.disarm();
    desk.configure(
        "openai",
        "batch",
        &json!({ "first_poll": "20ms", "max_poll": "50ms", "lost_after": "0s" }),
    );
    desk.set("OPENAI_API_KEY", "sim-another-project");
    let ran = run(&desk, &[]).ended(1).said(&["sent with another key"]);
    assert_eq!(ran.count("unknown"), 5, "{ran:#?}");
    assert!(
        ran.line("p0000")["error"]["next"]
            .as_str()
            .unwrap()
            .ends_with("--give-up p0000")
    );
    desk.set("OPENAI_API_KEY", "sim-openai");
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 5);
    assert_eq!(created(&desk), 1);
    assert_once(&desk, 5);
}

#[test]
fn a_batch_that_was_never_created_is_sent_again_once_that_is_sure() {
    let mut desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 5));
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutBefore).on(Op::Batch));
    let ran = run(&desk, &["--no-wait"]).ended(4);
    assert_eq!(ran.count("waiting"), 5, "{ran:#?}");
    assert_eq!(run(&desk, &["--no-wait"]).ended(4).count("waiting"), 5);
    desk.configure(
        "openai",
        "batch",
        &json!({ "first_poll": "20ms", "max_poll": "50ms", "lost_after": "0s" }),
    );
    assert_eq!(run(&desk, &[]).ended(1).count("failed"), 5);
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 5);
    assert_once(&desk, 5);
}

#[test]
fn a_refused_file_or_key_costs_nothing_and_is_told() {
    for fault in [Op::File, Op::Batch] {
        let desk = desk(Scenario::instant());
        desk.file("list.jsonl", pictures(0, 3));
        let refused = FaultKind::status(401);
        desk.sim().arm(Fault::new(Provider::Openai, refused).on(fault));
        run(&desk, &[]).ended(3);
        assert_once(&desk, 0);
        assert_eq!(run(&desk, &[]).ended(0).count("done"), 3);
        assert_once(&desk, 3);
    }
}

#[test]
fn killed_at_any_moment_every_batch_is_found_again() {
    for (moment, path) in [
        ("the file is there", "/openai/v1/files"),
        ("the batch is there", "/openai/v1/batches"),
    ] {
        let mut desk = desk(Scenario::default());
        desk.configure(
            "openai",
            "batch",
            &json!({ "images_per_file": 20, "first_poll": "20ms", "max_poll": "50ms", "lost_after": "1s" }),
        );
        desk.file("list.jsonl", pictures(0, 30));
        let mut command = desk.command(&["run", "list.jsonl", "--out", "out", "--batch-api"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        until(moment, || count(&desk, "POST", path) >= 1);
        child.kill().unwrap();
        child.wait().unwrap();
        desk.sim().advance(std::time::Duration::from_secs(60));
        // A batch whose creation may have been on the wire is looked for until it is sure that there is none.
        let mut ran = run(&desk, &[]);
        if ran.code == Some(1) {
            ran = run(&desk, &[]);
        }
        assert!(ran.code == Some(0), "{moment}: {ran:#?}");
        assert_once(&desk, 30);
        desk.assert_clean("out");
    }
}

#[test]
fn a_signal_leaves_the_batches_at_the_service() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 10));
    let mut command = desk.command(&["run", "list.jsonl", "--out", "out", "--batch-api"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    until("the batch is asked for", || {
        count(&desk, "GET", "/openai/v1/batches") + created(&desk) >= 1
    });
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    desk.sim().advance(std::time::Duration::from_secs(60));
    assert_eq!(run(&desk, &[]).ended(0).count("done"), 10);
    assert_once(&desk, 10);
}

#[test]
fn a_budget_holds_for_batches_too() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 10));
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json", "--batch-api"])
        .ended(0)
        .stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let cap = format!("{:.6}", plan["cost_usd"].as_f64().unwrap() * 0.55);
    run(&desk, &["--max-cost", &cap])
        .ended(3)
        .said(&["5 of them would fit"]);
    assert!(desk.sim().calls().is_empty());
    run(&desk, &["--max-cost", &cap, "--up-to-cap"]).ended(3);
    assert_once(&desk, 5);
}

#[test]
fn a_batch_that_the_service_refuses_is_told_with_its_reason() {
    let mut desk = desk(Scenario::instant());
    desk.configure(
        "openai",
        "batch",
        &json!({ "models": ["gpt-image-2.5-flare"], "first_poll": "20ms", "max_poll": "50ms" }),
    );
    let list = pictures(0, 3).replace("\"size\"", "\"model\":\"gpt-image-2.5-flare\",\"size\"");
    desk.file("list.jsonl", list);
    let ran = run(&desk, &[])
        .ended(1)
        .said(&["the batch was refused, line 1", "not supported by the Batch API"]);
    assert_eq!(ran.line("p0000")["error"]["charge"], "none");
    assert_once(&desk, 0);
}

/// Every result is whole by the word of other decoders, one result file at a time is on disk, and nothing of it is left.
#[test]
fn many_batches_leave_nothing_but_their_files() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 120));
    run(&desk, &[]).ended(0);
    assert_eq!((created(&desk), desk.outputs("out").len()), (6, 120));
    let fetched = desk
        .sim()
        .calls()
        .iter()
        .filter(|call| call.path.ends_with("/content"))
        .count();
    assert!(fetched <= 8, "each file is fetched once, or nearly so: {fetched}");
    desk.assert_clean("out");
}

#[test]
fn a_batch_that_cannot_be_seen_is_not_one_that_was_never_created() {
    let mut scenario = Scenario::default();
    scenario
        .openai
        .keys
        .push(media_sim::OpenAiKey::new("sim-other", Vec::new()));
    let mut desk = desk(scenario);
    desk.configure(
        "openai",
        "batch",
        &json!({ "first_poll": "20ms", "max_poll": "50ms", "lost_after": "0s" }),
    );
    desk.file("list.jsonl", pictures(0, 3));
    run(&desk, &["--no-wait"]).ended(4);
    desk.sim().advance(std::time::Duration::from_secs(60));
    // Another project's key does not see it.
    desk.set("OPENAI_API_KEY", "sim-other");
    // Said to be in order, it would be waited for until the results are deleted.
    let ran = run(&desk, &["--no-wait"]).ended(1);
    assert_eq!(ran.count("unknown"), 3, "{ran:#?}");
    ran.said(&["the service does not have the batch", "keys of their project"]);
    desk.set("OPENAI_API_KEY", "sim-openai");
    // Neither does an answer that lists nothing.
    let nothing = FaultKind::ErrorBody {
        body: Some(json!({ "object": "list", "data": [], "has_more": false })),
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, nothing).on(Op::Poll).times(3));
    assert_eq!(run(&desk, &["--no-wait"]).ended(4).count("waiting"), 3);
    desk.disarm();
    assert_eq!(run(&desk, &["--no-wait"]).ended(0).count("done"), 3);
    assert_once(&desk, 3);
}

#[test]
fn a_batch_that_the_service_has_deleted_can_be_given_up_by_name() {
    let mut desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 2));
    run(&desk, &["--no-wait"]).ended(4);
    let not_found = |body| FaultKind::Status {
        status: 404,
        retry_after: None,
        retry_after_ms: None,
        headers: std::collections::BTreeMap::new(),
        body,
        billed: false,
    };
    let deleted = not_found(None);
    // A gateway's page says nothing about the batch; and waiting for it is no help.
    let page = not_found(Some(json!("<html>nginx</html>")));
    desk.sim()
        .arm(Fault::new(Provider::Openai, page).on(Op::Poll).times(100));
    assert_eq!(run(&desk, &[]).ended(3).count("unknown"), 2);
    desk.disarm();
    desk.sim().arm(
        Fault::new(Provider::Openai, deleted.clone())
            .on(Op::Poll)
            .times(100),
    );
    let ran = run(&desk, &[]).ended(1);
    assert_eq!(ran.count("unknown"), 2, "{ran:#?}");
    desk.run(&["retry", "--unknown", "--out", "out"])
        .ended(0)
        .said(&["can be asked for"]);
    let given_up = ["retry", "--unknown", "p0000", "p0001", "--out", "out", "--json"];
    let report = |desk: &Desk| {
        desk.run(&["report", "--out", "out"]).ended(0);
        desk.read("out/report.html")
    };
    assert!(report(&desk).contains("<b>2</b>in remote batches"));
    // A key that is refused says nothing about the batch, even after the batch was said to be gone.
    desk.disarm();
    desk.set("OPENAI_API_KEY", "sim-wrong");
    run(&desk, &[]).ended(3);
    desk.set("OPENAI_API_KEY", "sim-openai");
    desk.run(&["retry", "--unknown", "p0000", "--out", "out"])
        .ended(2)
        .said(&["is in a remote batch"]);
    desk.sim()
        .arm(Fault::new(Provider::Openai, deleted).on(Op::Poll).times(100));
    run(&desk, &[]).ended(1);
    assert_eq!(desk.run(&given_up).ended(0).count("done"), 2);
    let page = report(&desk);
    assert!(page.contains("may have been billed too (sends: 2)") && !page.contains("in remote batches"));
}

/// What was sent is what comes, though its row asks for something else by then; nothing is sent beside it.
#[test]
fn a_row_that_was_changed_while_its_batch_was_open_is_fetched_as_it_was_sent() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 2));
    run(&desk, &["--no-wait"]).ended(4);
    desk.run(&["retry", "--unknown", "p0001", "--out", "out"])
        .ended(2)
        .said(&["is in a remote batch", "media cancel"]);
    desk.file(
        "list.jsonl",
        pictures(0, 2).replace("picture 1", "another picture"),
    );
    let ran = run(&desk, &[]).ended(0);
    assert_eq!((ran.count("done"), ran.count("changed")), (1, 1), "{ran:#?}");
    assert_once(&desk, 2);
    assert_eq!(desk.outputs("out"), ["p0000.webp", "p0001.webp"]);
    let told = desk.run(&["status", "p0001", "--out", "out"]).ended(0).stdout;
    assert!(told.contains("picture 1") && !told.contains("another"), "{told}");
    // From then on it is a file like any other whose row was changed.
    assert_eq!(run(&desk, &[]).ended(0).count("changed"), 1);
    assert_eq!(desk.charges(), 2);
    desk.run(&["redo", "--changed", "--yes", "--out", "out"]).ended(0);
    assert_eq!(desk.charges(), 3);
    assert_eq!(run(&desk, &[]).ended(0).count("skipped"), 2);
}

#[test]
fn no_money_for_a_batch_is_told_as_that() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 2));
    run(&desk, &["--no-wait"]).ended(4);
    let refused = FaultKind::ErrorBody {
        body: Some(
            json!({ "id": "batch_1", "status": "failed", "errors": { "object": "list", "data": [
            { "code": "billing_hard_limit_reached", "message": "Billing hard limit has been reached", "line": null }] } }),
        ),
    };
    desk.sim()
        .arm(Fault::new(Provider::Openai, refused).on(Op::Poll).times(9));
    run(&desk, &["--no-wait"])
        .ended(3)
        .said(&["insufficient_credit", "Billing hard limit"]);
}

#[test]
fn what_a_redo_handed_over_is_fetched_and_not_made_once_more() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 2));
    desk.run(&["run", "list.jsonl", "--out", "out"]).ended(0);
    desk.run(&[
        "redo",
        "p0000",
        "--yes",
        "--out",
        "out",
        "--batch-api",
        "--no-wait",
    ])
    .ended(4)
    .said(&["next: media rescue --out out, later"]);
    desk.sim().advance(std::time::Duration::from_secs(100_000));
    desk.run(&["rescue", "--out", "out", "--json"]).ended(0);
    assert_eq!(desk.charges(), 3);
    desk.run(&["run", "list.jsonl", "--out", "out"]).ended(0);
    assert_eq!(desk.charges(), 3);
}

/// A run makes no other takes by itself, so that it does not promise to.
#[test]
fn another_take_whose_batch_was_cancelled_is_asked_for_by_a_redo() {
    let mut scenario = Scenario::default();
    scenario.openai.batch.line_ms = 10_000;
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 2));
    desk.make("list.jsonl").ended(0);
    let redo = [
        "redo",
        "p0000",
        "--yes",
        "--out",
        "out",
        "--batch-api",
        "--no-wait",
    ];
    desk.run(&redo).ended(4);
    desk.run(&["cancel", "--out", "out"]).ended(0);
    desk.sim().advance(std::time::Duration::from_secs(600));
    let ran = run(&desk, &[]).ended(4);
    assert_eq!(
        ran.line("p0000")["error"]["next"],
        "media redo p0000 asks for it again"
    );
    assert_eq!(desk.charges(), 2);
    assert_eq!(desk.make("list.jsonl").ended(0).count("skipped"), 2);
}

#[test]
fn long_prompts_are_part_of_what_a_budget_sets_aside() {
    let desk = desk(Scenario::instant());
    let long = "a picture of very many things and then some more of them ".repeat(400);
    desk.file("list.jsonl", pictures(0, 20).replace("picture", &long));
    run(&desk, &["--max-cost", "0.54"]).ended(3).said(&["would fit"]);
    run(&desk, &["--max-cost", "0.54", "--up-to-cap"]).ended(3);
    let billed = desk.sim().bill().total_usd;
    assert!(billed > 0.3 && billed <= 0.55, "{billed}");
}

#[test]
fn the_plan_of_a_batch_names_its_command_and_its_time() {
    let desk = desk(Scenario::instant());
    desk.file("list.jsonl", pictures(0, 2));
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--batch-api"])
        .ended(0)
        .stdout;
    assert!(
        plan.contains("--batch-api") && plan.contains("in remote batches"),
        "{plan}"
    );
}

#[test]
fn other_takes_are_made_in_batches_too_and_replace_nothing_before_they_came() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 3));
    desk.make("list.jsonl").ended(0);
    let read = |name: &str| std::fs::read(desk.path("out").join(name)).unwrap();
    let first = read("p0001.webp");
    let words = ["redo", "p0001", "p0002", "--out", "out", "--yes", "--batch-api"];
    // Handed over and left: the files that are there stay.
    desk.run(&[&words[..], &["--no-wait"]].concat()).ended(4);
    assert_eq!((read("p0001.webp"), created(&desk)), (first.clone(), 1));
    desk.sim().advance(std::time::Duration::from_secs(60));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.count("done"), ran.count("skipped")), (2, 1));
    assert_ne!(read("p0001.webp"), first);
    assert_eq!(read(".media/old/p0001.webp"), first);
    desk.assert_bill_is(5);
    desk.assert_clean("out");
}

#[test]
fn what_failed_is_asked_again_in_a_batch() {
    let desk = desk(Scenario::instant());
    desk.file(
        "list.jsonl",
        pictures(0, 2).replace("picture 1", "a bloody kettle"),
    );
    let ran = run(&desk, &[]).ended(1);
    assert_eq!((ran.count("done"), ran.count("failed")), (1, 1));
    desk.run(&["retry", "--out", "out", "--batch-api"]).ended(1);
    assert_eq!(created(&desk), 2);
    desk.assert_bill_is(1);
}

/// A file of failures that cannot be read takes nothing from the file of results.
#[test]
fn what_one_result_file_tells_is_taken_whatever_becomes_of_the_other() {
    let mut scenario = Scenario::instant();
    scenario.openai.moderation_output = vec!["picture 1".to_owned()];
    let desk = desk(scenario);
    desk.file("list.jsonl", pictures(0, 5));
    let error = json!({ "error": { "message": "No such File object: file-e", "type": "invalid_request_error",
        "param": "id", "code": null } });
    let gone = FaultKind::Status {
        status: 404,
        retry_after: None,
        retry_after_ms: None,
        headers: Default::default(),
        body: Some(error),
        billed: false,
    };
    // The upload and the results pass.
    desk.sim().arm(
        Fault::new(Provider::Openai, gone)
            .on(Op::File)
            .after(2)
            .times(100),
    );
    let ran = run(&desk, &[]).ended(1);
    assert_eq!((ran.count("done"), ran.count("unknown")), (4, 1), "{ran:#?}");
    desk.disarm();
    let ran = run(&desk, &[]).ended(1);
    assert_eq!((ran.count("skipped"), ran.count("failed")), (4, 1), "{ran:#?}");
    assert_once(&desk, 4);
    // What is done needs no batch, and the same command is still no mistake.
    desk.file("list.jsonl", pictures(2, 3));
    run(&desk, &[]).ended(0);
}

/// Nobody but the simulator ever had them, and that ended with its run: no real service is asked about them with a real key.
#[test]
fn simulated_batches_are_nothing_to_ask_a_real_service_about() {
    let desk = desk(Scenario::default());
    desk.file("list.jsonl", pictures(0, 2));
    let simulated = ["run", "list.jsonl", "--simulate", "--out", "out", "--batch-api"];
    desk.run(&[&simulated[..], &["--no-wait"]].concat())
        .ended(2)
        .said(&["--no-wait", "--simulate"]);
    desk.run(&simulated).ended(0);
    let asked = desk.sim().calls().len();
    desk.run(&["cancel", "--out", "out"])
        .ended(2)
        .said(&["simulated"]);
    assert_eq!(desk.sim().calls().len(), asked);
}

/// What one provider refused of a row as it was says nothing of the row as it is.
#[test]
fn a_row_that_was_changed_in_its_batch_passes_nothing_on() {
    let desk = desk(Scenario::default());
    let list = |content| {
        let row = json!({ "id": "a", "kind": "image", "provider": ["openai", "runware"], "next_when": ["content_rejected"],
            "content": content, "output_path": "a.webp", "params": { "openai": { "size": "1024x1024" } } });
        desk.file("list.jsonl", row.to_string());
    };
    list("a bloody mess");
    run(&desk, &["--no-wait"]).ended(4);
    list("a cat");
    let ran = run(&desk, &[]).ended(1);
    assert_eq!((ran.count("failed"), desk.charges()), (1, 0), "{ran:#?}");
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(
        (&ran.line("a")["provider"], desk.charges()),
        (&json!("openai"), 1)
    );
}
