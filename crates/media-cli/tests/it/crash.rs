//! The program is killed at random moments, over and over, and started again: nothing is paid twice, nothing is half-made.
//!
//! `cargo xtask crash-test` does this for long: `MEDIA_CRASH_KILLS` says how many kills, `MEDIA_CRASH_SEED` repeats a run.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use sha2::{Digest, Sha256};

use crate::support::{Desk, Ran, files, jobs};

/// A small generator, so that a seed repeats a run. Kills still come at moments that no seed decides alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

const ROWS: usize = 24;

struct Row {
    id: String,
    provider: &'static str,
    content: String,
    path: String,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..ROWS {
        rows.push(Row {
            id: format!("o{n}"),
            provider: "openai",
            content: format!("an openai picture number {n}"),
            path: format!("o/{n}.webp"),
        });
        rows.push(Row {
            id: format!("r{n}"),
            provider: "runware",
            content: format!("a runware picture number {n}"),
            path: format!("r/{n}.webp"),
        });
        rows.push(Row {
            id: format!("f{n}"),
            provider: "forvo",
            content: format!("palabra{n}"),
            path: format!("f/{n}.mp3"),
        });
    }
    rows
}

fn desk(dice: &mut Dice) -> Desk {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 20 + dice.roll(80);
    scenario.runware.latency_ms.image = 20 + dice.roll(200);
    scenario.forvo.limits.concurrency = 2;
    let mut desk = Desk::with(scenario);
    for provider in ["openai", "runware"] {
        desk.configure(
            provider,
            "limits__concurrency",
            &serde_json::json!(1 + dice.roll(4)),
        );
    }
    // Beside the kills the services misbehave now and then.
    let faults = [
        (Provider::Openai, FaultKind::CutAfterBilling),
        (Provider::Runware, FaultKind::CutAfterBilling),
        (Provider::Runware, FaultKind::CutBefore),
        (Provider::Openai, FaultKind::CutBefore),
    ];
    for (provider, kind) in faults {
        let content = format!("number {}", dice.roll(ROWS as u64));
        desk.sim()
            .arm(Fault::new(provider, kind).on(Op::Image).matching(content));
    }
    desk
}

/// Runs until it is killed after `patience`, or has ended by itself.
fn run_and_kill(desk: &Desk, out: &str, flags: &[&str], patience: Duration) -> bool {
    let mut child = desk
        .command(&[&["run", "list.jsonl", "--out", out], flags].concat())
        .stdout(Stdio::null())
        .stderr(File::create(desk.path("said.txt")).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            let said = std::fs::read_to_string(desk.path("said.txt")).unwrap();
            assert!(matches!(status.code(), Some(0 | 1 | 4)), "{status:?}: {said}");
            // Files may fail; the run itself may not.
            assert!(!said.contains("error:"), "{said}");
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

fn hash(content: &str) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What must hold whatever happened.
fn check(desk: &Desk, rows: &[Row], ran: &Ran, seed: u64) {
    assert!(!ran.stderr.contains("error:"), "seed {seed}: {ran:#?}");
    let billed = desk.charges_by_content();
    let lines = ran.lines();
    for row in rows {
        let line = lines
            .get(&row.id)
            .unwrap_or_else(|| panic!("seed {seed}: nothing was said about {}: {ran:#?}", row.id));
        let status = line["status"].as_str().unwrap();
        let bought = billed.get(&hash(&row.content)).copied().unwrap_or(0);
        let said = format!("seed {seed}: {} was bought {bought} times: {line}", row.id);
        assert!(bought <= 1, "{said}");
        match (row.provider, status) {
            (_, "done" | "skipped") => {
                assert!(desk.path("out").join(&row.path).is_file(), "{said}");
                assert!(row.provider == "forvo" || bought == 1, "{said}");
            }
            // Whatever was bought there can be asked for.
            ("runware" | "forvo", _) => panic!("{said}"),
            (_, "unknown") => assert!(!desk.path("out").join(&row.path).exists(), "{said}"),
            _ => panic!("{said}"),
        }
    }
    let hidden: Vec<_> = files(&desk.path("out"))
        .into_iter()
        .filter(|path| path.to_str().unwrap().ends_with(".part"))
        .collect();
    assert_eq!(hidden, Vec::<std::path::PathBuf>::new(), "seed {seed}");
    desk.assert_clean("out");
}

#[test]
fn whenever_it_is_killed_nothing_is_paid_twice_and_nothing_is_half_made() {
    let wanted = setting("MEDIA_CRASH_KILLS").unwrap_or(16);
    let seed = setting("MEDIA_CRASH_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::from(now.unwrap().subsec_nanos())
    });
    println!("MEDIA_CRASH_SEED={seed}");
    let mut dice = Dice(seed);
    let rows = rows();
    let (mut kills, mut rounds, mut unknown) = (0, 0, 0);
    while kills < wanted {
        rounds += 1;
        let desk = desk(&mut dice);
        let list: Vec<_> = rows
            .iter()
            .map(|row| (&*row.id, row.provider, &*row.content, &*row.path))
            .collect();
        desk.file("list.jsonl", jobs(&list));
        let mut out = "out";
        // Often early, when few things are under way, and sometimes late.
        while run_and_kill(
            &desk,
            out,
            &[],
            Duration::from_millis(80 + dice.roll(70) * dice.roll(12)),
        ) {
            kills += 1;
            // A folder may be moved, whatever is on its way in it.
            let next = ["out", "moved"][usize::from(dice.roll(3) == 0)];
            if next != out && std::fs::rename(desk.path(out), desk.path(next)).is_ok() {
                out = next;
            }
        }
        if out != "out" {
            std::fs::rename(desk.path(out), desk.path("out")).unwrap();
        }
        let ran = desk.make("list.jsonl");
        assert!(matches!(ran.code, Some(0 | 1)), "seed {seed}: {ran:#?}");
        check(&desk, &rows, &ran, seed);
        desk.disarm();
        // A person decides about what may have been billed; only that is bought once more.
        let before = desk.charges();
        let stake = ran.count("unknown");
        unknown += stake;
        if stake > 0 {
            let retried = desk
                .run(&["retry", "--unknown", "--out", "out", "--json"])
                .ended(0);
            assert_eq!(retried.count("done"), stake, "seed {seed}: {retried:#?}");
            assert_eq!(desk.charges(), before + stake, "seed {seed}");
        }
        let ran = desk.make("list.jsonl").ended(0);
        assert_eq!(ran.count("skipped"), rows.len(), "seed {seed}: {ran:#?}");
        desk.assert_clean("out");
    }
    println!(
        "{kills} kills in {rounds} rounds of {} files; {unknown} were unknown",
        rows.len()
    );
}

/// Pictures that are made in remote batches, and sounds of which the first provider has only some.
fn batches_and_chains() -> (Vec<String>, String) {
    let (mut contents, mut list) = (Vec::new(), String::new());
    for n in 0..ROWS {
        let picture = format!("a picture number {n} for a batch");
        let size = serde_json::json!({ "openai": { "size": "1024x1024" } });
        let job = serde_json::json!({ "id": format!("b{n}"), "kind": "image", "provider": ["openai"], "content": picture,
            "output_path": format!("b/{n}.webp"), "params": size });
        list.push_str(&format!("{job}\n"));
        contents.push(picture);
        let word = format!("{}{n}", if n % 2 == 0 { "palabra" } else { "xyzzy" });
        let job = serde_json::json!({ "id": format!("c{n}"), "kind": "audio", "provider": ["forvo", "runware"],
            "content": word, "language": "es", "output_path": format!("c/{n}.mp3") });
        list.push_str(&format!("{job}\n"));
        contents.push(word);
    }
    (contents, list)
}

#[test]
fn whenever_it_is_killed_batches_are_found_again_and_chains_go_on() {
    let wanted = setting("MEDIA_CRASH_KILLS").unwrap_or(10);
    let seed = setting("MEDIA_CRASH_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::from(now.unwrap().subsec_nanos())
    });
    println!("MEDIA_CRASH_SEED={seed}");
    let mut dice = Dice(seed);
    let (contents, list) = batches_and_chains();
    let (mut kills, mut rounds) = (0, 0);
    while kills < wanted {
        rounds += 1;
        let mut scenario = Scenario::instant();
        scenario.openai.batch.validating_ms = dice.roll(100);
        scenario.openai.batch.line_ms = dice.roll(40);
        scenario.openai.batch.finalizing_ms = dice.roll(60);
        scenario.openai.batch.expires_ms = 300 + dice.roll(600);
        scenario.runware.latency_ms.audio = dice.roll(100);
        scenario.forvo.missing = (0..ROWS).map(|n| format!("xyzzy{n}")).collect();
        let mut desk = Desk::with(scenario);
        let batch = serde_json::json!({ "images_per_file": 5, "first_poll": "10ms", "max_poll": "40ms", "lost_after": "300ms" });
        desk.configure("openai", "batch", &batch);
        for (provider, kind, op) in [
            (Provider::Openai, FaultKind::CutAfterBilling, Op::Batch),
            (Provider::Openai, FaultKind::CutBefore, Op::Batch),
            (Provider::Openai, FaultKind::CutBefore, Op::File),
            (Provider::Openai, FaultKind::CutBefore, Op::Poll),
            (Provider::Runware, FaultKind::CutAfterBilling, Op::Speech),
        ] {
            desk.sim().arm(Fault::new(provider, kind).on(op));
        }
        desk.file("list.jsonl", &list);
        // A batch takes its time, so that a run may never come to its end between two kills.
        for _ in 0..10 {
            let patience = Duration::from_millis(60 + dice.roll(60) * dice.roll(12));
            if !run_and_kill(&desk, "out", &["--batch-api"], patience) {
                break;
            }
            kills += 1;
        }
        // What expired, or was never created, is sent again by the next run; each run gets on.
        let mut ran = desk.run(&["run", "list.jsonl", "--out", "out", "--json", "--batch-api"]);
        for _ in 0..20 {
            if ran.code == Some(0) {
                break;
            }
            assert!(matches!(ran.code, Some(1 | 4)), "seed {seed}: {ran:#?}");
            ran = desk.run(&["run", "list.jsonl", "--out", "out", "--json", "--batch-api"]);
        }
        assert_eq!(ran.code, Some(0), "seed {seed}: {ran:#?}");
        let billed = desk.charges_by_content();
        for content in &contents {
            let bought = billed.get(&hash(content)).copied().unwrap_or(0);
            let wanted = usize::from(!content.starts_with("palabra"));
            assert_eq!(bought, wanted, "seed {seed}: {content} was bought {bought} times");
        }
        assert_eq!(desk.outputs("out").len(), contents.len(), "seed {seed}");
        desk.assert_clean("out");
    }
    println!("{kills} kills in {rounds} rounds of {} files", contents.len());
}
