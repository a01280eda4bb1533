//! The commands around a run: init, plan, check, providers, verify, config, sim, help.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use media_sim::{Fault, FaultKind, Provider};
use serde_json::{Value, json};

use crate::support::{Desk, ask, files, jobs};

#[test]
fn help_is_data_and_wrong_usage_is_2() {
    let desk = Desk::new();
    let help = desk.run(&["--help"]).ended(0);
    for part in [
        "Exit codes",
        "init",
        "run",
        "plan",
        "check",
        "providers",
        "verify",
        "config",
        "sim",
    ] {
        assert!(help.stdout.contains(part), "{part} is missing: {help:#?}");
    }
    for command in [
        "init",
        "run",
        "plan",
        "check",
        "providers",
        "verify",
        "config",
        "sim",
    ] {
        assert!(desk.run(&[command, "--help"]).ended(0).stdout.contains("Usage"));
    }
    assert!(desk.run(&["--version"]).ended(0).stdout.starts_with("media "));
    for args in [
        &[][..],
        &["fly"],
        &["run"],
        &["run", "a", "b"],
        &["run", "a", "--fast"],
        &["run", "a", "--max-items", "few"],
        &["run", "a", "--scenario", "s.json"],
        &["verify"],
        &["sim", "--listen", "here"],
        &["plan", "a", "--max-cost", "much"],
    ] {
        let ran = desk.run(args).ended(2);
        assert!(
            ran.stdout.is_empty() && !ran.stderr.is_empty(),
            "{args:?}: {ran:#?}"
        );
    }
    assert_eq!(
        files(&desk.path("")).len(),
        files(&desk.path("config")).len(),
        "nothing was written"
    );
}

#[test]
fn init_writes_a_project_that_works() {
    let desk = Desk::new();
    fs::remove_dir_all(desk.path("config")).unwrap();
    desk.run(&["init", "deck/of/cards"]).ended(0);
    // The project's own list: nobody has to name it.
    let mut command = desk.command(&["run", "--simulate", "--out", "demo", "--json"]);
    command.current_dir(desk.path("deck/of/cards"));
    let ran = desk.finish(command).ended(0);
    assert_eq!(ran.count("done"), 40);
    desk.assert_clean("deck/of/cards/demo");
    // What is there is not touched.
    let before = files(&desk.path("deck"));
    desk.run(&["init", "deck/of/cards"]).ended(2).said(&["not empty"]);
    desk.file("taken", "mine");
    desk.run(&["init", "taken"]).ended(2).said(&["taken"]);
    desk.run(&["init", "taken/below"]).ended(2).said(&["taken"]);
    assert_eq!(
        (files(&desk.path("deck")), desk.read("taken")),
        (before, "mine".to_owned())
    );
    fs::create_dir(desk.path("empty")).unwrap();
    desk.run(&["init", "empty"]).ended(0);
}

#[test]
fn a_plan_counts_and_prices_and_sends_nothing() {
    let mut desk = Desk::new();
    for provider in ["openai", "runware", "forvo"] {
        desk.configure(provider, "base_url", &json!("http://127.0.0.1:9/v1"));
    }
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "b.webp"),
            ("s", "forvo", "gato", "s.mp3"),
        ]),
    );
    let ran = desk.run(&["plan", "list.jsonl", "--json"]).ended(0);
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&plan["v"], &plan["rows"], &plan["files"]),
        (&json!(1), &json!(3), &json!(3))
    );
    assert_eq!(
        (
            &plan["providers"]["runware"]["make"],
            &plan["providers"]["forvo"]["make"]
        ),
        (&json!(2), &json!(1))
    );
    let cost = plan["cost_usd"].as_f64().unwrap();
    assert!((cost - 0.0012).abs() < 1e-9, "{plan}");
    let text = desk.run(&["plan", "list.jsonl", "--out", "x"]).ended(0).stdout;
    assert!(
        text.contains("Nothing was sent") && text.contains("media run list.jsonl --out x"),
        "{text}"
    );
    desk.run(&["plan", "list.jsonl", "--max-cost", "0.0011"])
        .ended(3)
        .said(&["0.0012"]);
    desk.run(&["plan", "list.jsonl", "--max-cost", "0.0012"]).ended(0);
    desk.run(&["plan", "list.jsonl", "--max-cost", "0"]).ended(3);
    for files in [desk.path("x"), desk.path("media-out")] {
        assert!(!files.exists());
    }
}

#[test]
fn a_cap_that_is_no_amount_is_not_ignored() {
    let desk = Desk::new();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    for cap in [
        "--max-cost=-1",
        "--max-cost=nan",
        "--max-cost=inf",
        "--max-cost=1e300",
    ] {
        desk.run(&["plan", "list.jsonl", cap])
            .ended(2)
            .said(&["max-cost"]);
    }
}

#[test]
fn what_is_there_is_planned_as_there() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "b.webp"),
        ]),
    );
    desk.run(&["run", "list.jsonl", "--out", "out", "--max-items", "1"])
        .ended(4);
    let plan: Value = serde_json::from_str(
        &desk
            .run(&["plan", "list.jsonl", "--out", "out", "--json"])
            .ended(0)
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (
            &plan["providers"]["runware"]["make"],
            &plan["providers"]["runware"]["there"]
        ),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_quota_of_days_is_planned_in_days() {
    let desk = Desk::new();
    let rows: Vec<_> = (0..600)
        .map(|n| {
            (
                format!("w{n}"),
                "forvo",
                format!("palabra{n}"),
                format!("w{n}.mp3"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    let plan: Value =
        serde_json::from_str(&desk.run(&["plan", "list.jsonl", "--json"]).ended(0).stdout).unwrap();
    let quota = &plan["providers"]["forvo"]["daily_quota"];
    assert_eq!(
        (&quota["calls"], &quota["calls_per_day"], &quota["days"]),
        (&json!(1200), &json!(500), &json!(3)),
        "{plan}"
    );
}

#[test]
fn check_asks_each_service_for_nothing() {
    let mut desk = Desk::with_sim();
    let ran = desk.run(&["check"]).ended(0);
    for provider in ["openai", "runware", "forvo"] {
        assert!(ran.stdout.contains(&format!("{provider}: works")), "{ran:#?}");
    }
    assert_eq!(desk.charges(), 0);
    // Forvo has nothing that does not count; that is said.
    assert_eq!(desk.sim().bill().quotas[0].used, 1);
    assert!(ran.stdout.contains("one of the day's calls"), "{ran:#?}");
    desk.run(&["check", "nobody"])
        .ended(2)
        .said(&["nobody", "openai"]);
    desk.set("OPENAI_API_KEY", "sim-wrong");
    let ran = desk.run(&["check"]).ended(3);
    assert!(
        ran.stdout.contains("openai: does not work") && ran.stdout.contains("runware: works"),
        "{ran:#?}"
    );
    desk.run(&["check", "runware"]).ended(0);
    desk.unset("OPENAI_API_KEY");
    desk.run(&["check", "openai"]).ended(2).said(&["OPENAI_API_KEY"]);
    let ran = desk.run(&["check"]);
    assert!(
        ran.stdout.contains("openai: not asked") && ran.stdout.contains("runware: works"),
        "{ran:#?}"
    );
    desk.sim()
        .arm(Fault::new(Provider::Runware, FaultKind::CutBefore).times(50));
    desk.run(&["check", "runware"]).ended(3);
}

#[test]
fn providers_are_shown() {
    let desk = Desk::new();
    let ran = desk.run(&["providers", "--json"]).ended(0);
    let rows: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["forvo", "openai", "runware"]);
    let text = desk.run(&["providers"]).ended(0).stdout;
    assert!(
        text.contains("params.openai.quality") && text.contains("built in: forvo"),
        "{text}"
    );
}

#[test]
fn verify_tells_good_from_bad() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "runware", "a cap", "b.png"),
            ("s", "forvo", "gato", "s.mp3"),
            ("t", "openai", "hi", "t.flac"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    let ran = desk.run(&["verify", "out"]).ended(0).said(&["4 files, 0 bad"]);
    assert_eq!(ran.stdout.matches("ok ").count(), 4);
    let cut = |name: &str, keep: usize| {
        let bytes = fs::read(desk.path(&format!("out/{name}"))).unwrap();
        desk.file(&format!("bad/{name}"), &bytes[..bytes.len() - keep]);
    };
    cut("b.png", 5);
    cut("s.mp3", 50);
    cut("t.flac", 9);
    cut("a.webp", 3);
    fs::copy(desk.path("out/a.webp"), desk.path("bad/c.png")).unwrap();
    desk.file("bad/empty.png", "");
    desk.file("bad/page.mp3", "<html>");
    desk.file("bad/notes.txt", "no media, not looked at");
    let ran = desk.run(&["verify", "bad"]).ended(1).said(&["7 files, 7 bad"]);
    assert_eq!(ran.stdout.matches("BAD").count(), 7, "{ran:#?}");
    assert!(ran.stdout.contains("webp under the name of png"), "{ran:#?}");
    desk.run(&["verify", "out/a.webp", "bad/c.png"]).ended(1);
    desk.run(&["verify", "none.png"]).ended(2).said(&["none.png"]);
    let ran = desk.run(&["verify", "out/a.webp", "none.png"]).ended(1);
    assert!(ran.stdout.contains("ok   out/a.webp"), "{ran:#?}");
    ran.said(&["none.png", "1 file, 0 bad, 1 that could not be read"]);
    desk.run(&["verify", "bad/notes.txt"]).ended(1);
}

#[test]
fn verify_survives_a_pipe() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("odd/sub")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(desk.path("odd/pipe.png"))
            .status()
            .unwrap()
            .success()
    );
    let ran = desk.run(&["verify", "odd"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:#?}");
}

#[test]
fn verify_survives_links_in_circles() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("odd/sub")).unwrap();
    for (target, name) in [
        ("..", "odd/sub/up"),
        ("..", "odd/sub/up2"),
        ("none", "odd/dangling.png"),
    ] {
        std::os::unix::fs::symlink(target, desk.path(name)).unwrap();
    }
    let ran = desk.run(&["verify", "odd"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:#?}");
}

#[test]
fn a_pipe_where_a_file_should_go_is_in_the_way() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.png"),
            ("b", "runware", "a cap", "b.png"),
        ]),
    );
    fs::create_dir(desk.path("out")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(desk.path("out/a.png"))
            .status()
            .unwrap()
            .success()
    );
    std::os::unix::fs::symlink("/nowhere/at/all.png", desk.path("out/b.png")).unwrap();
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.count("failed"), 2, "{ran:#?}");
    desk.assert_bill_is(0);
}

#[test]
fn the_configuration_is_shown_as_understood() {
    let desk = Desk::new();
    let shown: Value = serde_json::from_str(&desk.run(&["config", "show"]).ended(0).stdout).unwrap();
    assert_eq!(shown["providers"]["openai"]["image"]["model"], "gpt-image-2");
    assert_eq!(shown["media"]["check"], "full");
    for name in ["media", "recipe", "openai", "runware", "forvo"] {
        let schema: Value =
            serde_json::from_str(&desk.run(&["config", "schema", name]).ended(0).stdout).unwrap();
        assert!(schema["properties"].is_object(), "{name}");
    }
    desk.run(&["config", "schema", "nothing"])
        .ended(2)
        .said(&["nothing"]);
}

#[test]
fn the_simulator_is_a_server_of_its_own() {
    let desk = Desk::new();
    desk.run(&["sim", "--listen", "0.0.0.0:0"])
        .ended(2)
        .said(&["loopback"]);
    desk.file("bad.json", "{\"opnai\":{}}");
    desk.run(&["sim", "--listen", "127.0.0.1:0", "--scenario", "bad.json"])
        .ended(2)
        .said(&["bad.json", "opnai"]);
    for (signal, code) in [("INT", 0), ("TERM", 0)] {
        let mut command = desk.command(&["sim", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        assert!(ask(&address, "GET", "/_sim/bill").contains("total_usd"));
        for _ in 0..3 {
            stdout.read_line(&mut line).unwrap();
        }
        assert!(
            Command::new("kill")
                .args(["-s", signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let ended = child.wait().unwrap();
        assert!(
            ended.code() == Some(code) || ended.code() == Some(143),
            "{signal}: {ended:?}"
        );
    }
}

#[test]
fn a_scenario_decides_what_is_simulated() {
    let desk = Desk::new();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "forvo", "gato", "b.mp3"),
        ]),
    );
    desk.file(
        "scenario.json",
        json!({ "forvo": { "missing": ["gato"] } }).to_string(),
    );
    let args = [
        "run",
        "list.jsonl",
        "--simulate",
        "--out",
        "demo",
        "--json",
        "--scenario",
    ];
    let ran = desk.run(&[&args[..], &["scenario.json"]].concat()).ended(1);
    assert_eq!(ran.line("b")["error"]["kind"], "not_found");
    desk.file("scenario.json", "{\"forvo\":{\"mising\":[]}}");
    desk.run(&[&args[..], &["scenario.json"]].concat())
        .ended(2)
        .said(&["scenario.json", "mising"]);
    desk.run(&[&args[..], &["none.json"]].concat())
        .ended(2)
        .said(&["none.json"]);
}
