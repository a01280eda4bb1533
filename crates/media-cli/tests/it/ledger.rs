//! The ledger as a file: one when the program has ended, refused when it is not sound, read by others.

use std::fs;
use std::path::PathBuf;

use media_sim::Scenario;
use serde_json::Value;

use crate::support::{Desk, files, jobs, until};

fn three() -> String {
    jobs(&[
        ("a", "runware", "a hat", "a.webp"),
        ("b", "openai", "a bow", "b.webp"),
        ("c", "forvo", "nadie", "c.mp3"),
    ])
}

/// A desk at whose Forvo nobody has recorded the word of [`three`].
fn desk() -> Desk {
    let mut scenario = Scenario::instant();
    scenario.forvo.missing = vec!["nadie".into()];
    Desk::with(scenario)
}

fn ledgers(desk: &Desk) -> Vec<PathBuf> {
    let mut all = files(&desk.path("out/.media"));
    all.retain(|path| path.to_str().unwrap().contains("ledger.sqlite"));
    all
}

#[test]
fn it_is_one_file_that_can_be_copied_at_every_clean_end() {
    let desk = desk();
    desk.file("list.jsonl", three());
    desk.make("list.jsonl").ended(1);
    let names: Vec<_> = ledgers(&desk)
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["ledger.sqlite", "ledger.sqlite.lock"]);
    // A copy of it is enough to go on by, beside a copy of the files.
    fs::copy(desk.path("out/.media/ledger.sqlite"), desk.path("copy.sqlite")).unwrap();
    fs::create_dir(desk.path("moved")).unwrap();
    for name in desk.outputs("out") {
        fs::copy(desk.path("out").join(&name), desk.path("moved").join(&name)).unwrap();
    }
    let ran = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "moved",
            "--ledger",
            "copy.sqlite",
            "--json",
        ])
        .ended(1);
    assert_eq!((ran.count("skipped"), ran.count("failed")), (2, 1));
    desk.assert_bill_is(2);
    assert!(!desk.path("moved/.media/ledger.sqlite").exists());
}

#[test]
fn a_damaged_foreign_or_newer_one_is_told_and_left_as_it_is() {
    let desk = desk();
    desk.file("list.jsonl", three());
    desk.make("list.jsonl").ended(1);
    let path = desk.path("out/.media/ledger.sqlite");
    let sound = fs::read(&path).unwrap();
    let calls = desk.sim().calls().len();
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[4096..middle].fill(0xa5);
    let mut newer = sound.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    let mut foreign = sound.clone();
    foreign[68..72].copy_from_slice(&7_u32.to_be_bytes());
    for (bytes, said) in [
        (damaged, "damaged"),
        (newer, "version 99"),
        (foreign, "not a ledger of this program"),
        (
            b"not a database at all, but long enough to be looked at as one".repeat(20),
            "damaged",
        ),
    ] {
        fs::write(&path, &bytes).unwrap();
        for command in [
            &["run", "list.jsonl", "--out", "out"][..],
            &["plan", "list.jsonl", "--out", "out"],
            &["status", "--out", "out"],
        ] {
            desk.run(command)
                .ended(2)
                .said(&[said, "ledger.sqlite", "left as it is"]);
            assert!(
                fs::read(&path).unwrap() == bytes,
                "{said}: it was changed by {command:?}"
            );
        }
    }
    assert_eq!(desk.sim().calls().len(), calls);
    fs::write(&path, sound).unwrap();
    assert_eq!(desk.make("list.jsonl").ended(1).count("skipped"), 2);
}

#[test]
fn one_process_at_a_time_writes_and_others_read() {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 1500;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", jobs(&[("b", "openai", "a bow", "b.webp")]));
    let mut child = desk
        .command(&["run", "list.jsonl", "--out", "out"])
        .spawn()
        .unwrap();
    until("it is sent", || desk.charges() == 1);
    desk.run(&["run", "list.jsonl", "--out", "out"])
        .ended(2)
        .said(&["another run is at work"]);
    desk.run(&[
        "run",
        "list.jsonl",
        "--out",
        "other",
        "--ledger",
        "out/.media/ledger.sqlite",
    ])
    .ended(2)
    .said(&["another run is at work", "ledger.sqlite"]);
    let status = desk.run(&["status", "--out", "out", "--json"]).ended(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["unknown"], 1, "sent, and not answered yet: {status}");
    assert!(child.wait().unwrap().success());
    let status = desk.run(&["status", "--out", "out", "--json"]).ended(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(
        (&status["unknown"], &status["jobs"]["done"]),
        (&0.into(), &1.into())
    );
    assert_eq!(desk.charges(), 1);
}

/// What failed is written out as rows of the same list; mended and run, it is the repair.
#[test]
fn failed_rows_are_exported_mended_and_run() {
    let desk = desk();
    desk.file(
        "words.csv",
        "id;word;note\nperro;perro;x\nnada;nadie;\"a; b\"\ngato;gato;\n",
    );
    desk.file(
        "recipe.json",
        serde_json::json!({
            "outputs": { "sound": { "kind": "audio", "provider": "forvo", "content": "{word}", "language": "es",
                "path": "{id}.mp3" } }
        })
        .to_string(),
    );
    let run = |list: &str| desk.run(&["run", list, "--recipe", "recipe.json", "--out", "out", "--json"]);
    run("words.csv").ended(1).said(&["media export failed"]);
    let export = [
        "export",
        "failed",
        "words.csv",
        "--recipe",
        "recipe.json",
        "--out",
        "out",
    ];
    let failed = desk.run(&export).ended(0).stdout;
    let lines: Vec<_> = failed.lines().collect();
    assert_eq!(lines.len(), 2, "{failed}");
    assert_eq!(lines[0], "id;word;note;_why;_next");
    assert!(
        lines[1].starts_with("nada;nadie;\"a; b\";") && lines[1].contains("sound: "),
        "{failed}"
    );
    desk.file("failed.csv", failed.replace("nadie", "casa"));
    let ran = run("failed.csv").ended(0);
    assert_eq!((ran.count("done"), ran.lines().len()), (1, 1));
    let ran = run("words.csv").ended(0);
    assert_eq!(ran.line("nada/sound")["status"], "changed");
    let failed = desk.run(&export).ended(0).stdout;
    assert_eq!(failed.lines().count(), 1, "{failed}");
    let results = desk.run(&["export", "results", "--out", "out"]).ended(0).stdout;
    let ids: Vec<String> = results
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids, ["nada/sound", "perro/sound", "gato/sound"]);
    // JSON lines come out as JSON lines.
    desk.file("list.jsonl", three());
    desk.run(&["run", "list.jsonl", "--out", "json", "--json"])
        .ended(1);
    let failed = desk
        .run(&["export", "failed", "list.jsonl", "--out", "json"])
        .ended(0)
        .stdout;
    let row: Value = serde_json::from_str(failed.trim()).unwrap();
    assert_eq!((&row["id"], &row["content"]), (&"c".into(), &"nadie".into()));
    assert!(row["_why"].as_str().unwrap().contains("nadie"));
    // As the summary says it: the folder knows its list.
    let noted = desk.run(&["export", "failed", "--out", "json"]).ended(0).stdout;
    assert_eq!(noted, failed);
    // A page is made of the ledger that belongs to its folder.
    desk.run(&["report", "--out", "out", "--ledger", "json/.media/ledger.sqlite"])
        .ended(2)
        .said(&["has a ledger of its own"]);
}

#[test]
fn a_ledger_elsewhere_gets_its_folder_and_is_the_same_by_another_name() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    let run = |ledger: &str| desk.run(&["run", "list.jsonl", "--out", "out", "--json", "--ledger", ledger]);
    assert_eq!(run("far/away/x.sqlite").ended(0).count("done"), 1);
    assert!(!desk.path("out/.media/ledger.sqlite").exists());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(desk.path("far/away/x.sqlite"), desk.path("link.sqlite")).unwrap();
        assert_eq!(run("link.sqlite").ended(0).count("skipped"), 1);
        assert!(!desk.path("link.sqlite.lock").exists());
    }
    assert_eq!(desk.charges(), 1);
}

/// Whoever forgets --ledger must not begin a second ledger that knows of nothing.
#[test]
fn a_folder_has_one_ledger_wherever_it_is() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    let elsewhere = ["run", "list.jsonl", "--out", "out", "--ledger", "l.sqlite"];
    desk.run(&elsewhere).ended(0);
    std::fs::remove_file(desk.path("out/a.webp")).unwrap();
    let found = desk.make("list.jsonl").ended(1);
    assert_eq!(found.count("gone"), 1, "{found:#?}");
    let status = desk.run(&["status", "--out", "out"]).ended(0).stdout;
    assert!(status.contains("l.sqlite: 1 job"), "{status}");
    std::fs::rename(desk.path("l.sqlite"), desk.path("m.sqlite")).unwrap();
    desk.make("list.jsonl")
        .ended(2)
        .said(&["is not where it was", "l.sqlite", "--ledger"]);
    // A typo now would begin an empty ledger, and the folder would know that one from then on.
    let typo = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--ledger",
        "typo.sqlite",
        "--adopt",
    ];
    desk.run(&typo)
        .ended(2)
        .said(&["neither that one", "l.sqlite", "typo.sqlite", "ledger-is-at"]);
    assert!(!desk.path("typo.sqlite").exists());
    desk.run(&["plan", "list.jsonl", "--out", "out"])
        .ended(2)
        .said(&["is not where it was"]);
    std::fs::rename(desk.path("m.sqlite"), desk.path("l.sqlite")).unwrap();
    desk.run(&["run", "list.jsonl", "--out", "out", "--ledger", "typo.sqlite"])
        .ended(2)
        .said(&["is another one"]);
    desk.run(&elsewhere)
        .ended(1)
        .said(&["redo --out out --ledger l.sqlite --missing"]);
    desk.assert_bill_is(1);
    desk.run(&["run", "list.jsonl", "--out", "own"]).ended(0);
    desk.run(&["run", "list.jsonl", "--out", "own", "--ledger", "l.sqlite"])
        .ended(2)
        .said(&["has a ledger of its own"]);
    desk.assert_bill_is(2);
}
