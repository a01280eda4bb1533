//! Output folders that cannot be used, are in use, or hold results of the other sort.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use media_sim::Scenario;
use serde_json::json;

use crate::support::{Desk, files, jobs, until};

fn three() -> String {
    jobs(&[
        ("a", "runware", "a hat", "a.webp"),
        ("b", "runware", "a cap", "b.webp"),
        ("c", "openai", "a bow", "c.webp"),
    ])
}

#[test]
fn a_real_run_refuses_simulated_results_and_the_other_way_round() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three());
    let demo = ["run", "list.jsonl", "--out", "demo"];
    desk.run(&[&demo[..], &["--simulate"]].concat()).ended(0);
    let before = files(&desk.path("demo"));
    desk.run(&demo).ended(2).said(&["demo", "simulated", "--out"]);
    assert_eq!(files(&desk.path("demo")), before);
    assert_eq!(desk.sim().calls(), []);
    desk.run(&["run", "list.jsonl", "--out", "out"]).ended(0);
    let before = files(&desk.path("out"));
    desk.run(&["run", "list.jsonl", "--out", "out", "--simulate"])
        .ended(2)
        .said(&["out", "real", "--out"]);
    assert_eq!(files(&desk.path("out")), before);
    desk.assert_bill_is(3);
}

#[test]
fn a_simulation_sends_nothing_to_the_configured_addresses() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three());
    desk.run(&["run", "list.jsonl", "--out", "demo", "--simulate"])
        .ended(0);
    assert_eq!(desk.sim().calls(), []);
}

#[test]
fn a_file_where_the_folder_should_be() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three());
    desk.file("taken", "mine");
    for out in ["taken", "taken/below"] {
        desk.run(&["run", "list.jsonl", "--out", out])
            .ended(2)
            .said(&["taken", "choose another folder"]);
    }
    assert_eq!(desk.read("taken"), "mine");
    desk.file("half/.media", "mine");
    desk.run(&["run", "list.jsonl", "--out", "half"])
        .ended(2)
        .said(&[".media"]);
    assert_eq!(desk.sim().calls(), []);
}

/// The command as a user for whom permissions count: root passes them all.
fn as_nobody(desk: &Desk, args: &[&str]) -> Command {
    let mut command = desk.command(args);
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    command
}

fn allow(path: PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three());
    allow(desk.path(""), 0o755);
    fs::create_dir(desk.path("locked")).unwrap();
    allow(desk.path("locked"), 0o555);
    for out in ["locked", "locked/below"] {
        desk.finish(as_nobody(&desk, &["run", "list.jsonl", "--out", out]))
            .ended(2)
            .said(&["locked", "ermission"]);
    }
    assert_eq!(files(&desk.path("locked")), Vec::<PathBuf>::new());
    assert_eq!(desk.sim().calls(), []);
}

#[test]
fn a_folder_inside_that_cannot_be_written_costs_nothing() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "openai", "a hat", "sub/a.webp"),
            ("b", "openai", "a cap", "b.webp"),
        ]),
    );
    allow(desk.path(""), 0o777);
    fs::create_dir_all(desk.path("out/sub")).unwrap();
    allow(desk.path("out"), 0o777);
    allow(desk.path("out/sub"), 0o555);
    let ran = desk
        .finish(as_nobody(&desk, &["run", "list.jsonl", "--out", "out", "--json"]))
        .ended(1);
    assert_eq!(ran.line("a")["error"]["kind"], "storage");
    assert_eq!(ran.line("a")["error"]["charge"], "none");
    assert_eq!(ran.line("b")["status"], "done");
    desk.assert_bill_is(1);
}

#[test]
fn two_runs_do_not_share_a_folder() {
    let mut scenario = Scenario::instant();
    scenario.openai.latency_ms.image = 700;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.webp")]));
    let mut first = desk
        .command(&["run", "list.jsonl", "--out", "out"])
        .spawn()
        .unwrap();
    until("the first run sends", || !desk.sim().calls().is_empty());
    desk.make("list.jsonl").ended(2).said(&["another run", "out"]);
    assert!(first.wait().unwrap().success());
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(1);
}

#[test]
fn what_a_killed_run_left_is_swept_and_the_rest_kept() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", three());
    desk.file("out/.media/staging/.media-abc.part", "half a picture");
    desk.file("out/mine.txt", "mine");
    desk.make("list.jsonl").ended(0);
    desk.assert_clean("out");
    assert_eq!(desk.read("out/mine.txt"), "mine");
}

/// A mount that is taken away again.
struct Mount(PathBuf);

impl Mount {
    /// A file system in memory with these limits.
    fn of(limits: &str, path: PathBuf) -> Option<Mount> {
        fs::create_dir(&path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", limits, "tmpfs"])
            .arg(&path)
            .output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Mount(path));
        }
        println!("skipped: mounting a small file system is not permitted here");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A list of pictures of 100 kB by OpenAI, which gives nothing twice, and a small disk to put them on.
fn pictures_on_a_small_disk(count: usize, limits: &str) -> Option<(Desk, Mount)> {
    let mut scenario = Scenario::instant();
    scenario.media.bytes = 100_000;
    let desk = Desk::with(scenario);
    let mount = Mount::of(limits, desk.path("out"))?;
    let rows: Vec<_> = (0..count)
        .map(|n| {
            (
                format!("p{n}"),
                "openai",
                format!("picture {n}"),
                format!("p{n}.png"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    Some((desk, mount))
}

#[test]
fn nothing_is_bought_that_the_disk_has_no_room_for() {
    let Some((desk, mount)) = pictures_on_a_small_disk(80, "size=6m") else {
        return;
    };
    let ran = desk.run(&[
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--concurrency",
        "4",
    ]);
    let ran = ran.said(&["MB are free", "free some space"]);
    let done = ran.count("done");
    assert!((10..60).contains(&done), "{ran:#?}");
    // What was asked for came to its place: nothing is lost, and nothing is in doubt.
    desk.assert_bill_is(done);
    assert_eq!(ran.count("unknown"), 0, "{ran:#?}");
    assert_eq!(desk.outputs("out").len(), done);
    desk.assert_clean("out");
    let more = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(&mount.0)
        .status();
    assert!(more.unwrap().success());
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(80);
}

#[test]
fn a_disk_that_fills_up_all_the_same_is_told_and_leaves_nothing_half_made() {
    // Room enough, but not for the names of so many files: nobody can see that before.
    let Some((desk, _mount)) = pictures_on_a_small_disk(30, "size=64m,nr_inodes=24") else {
        return;
    };
    let ran = desk.run(&[
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--concurrency",
        "1",
    ]);
    // Whoever finds out first: the file or the ledger.
    assert!(
        ran.stderr.contains("No space left") || ran.stderr.contains("disk is full"),
        "{ran:#?}"
    );
    // Money was spent: "nothing was sent" (2) would be a lie.
    assert!(matches!(ran.code, Some(1 | 3)), "{ran:#?}");
    let done = ran.count("done");
    assert!((1..24).contains(&done), "{ran:#?}");
    assert_eq!(desk.outputs("out").len(), done);
    desk.assert_clean("out");
    // A disk that is full stays full: it is not bought on and on.
    assert!(
        desk.charges() <= done + 2,
        "{} were bought for {done} files",
        desk.charges()
    );
}

/// What a service keeps is asked for again when there is room, whatever the answer that was lost had cost.
#[test]
fn what_found_no_room_is_had_from_the_service_later() {
    let mut desk = Desk::with_sim();
    let Some(mount) = Mount::of("size=64m,nr_inodes=24", desk.path("out")) else {
        return;
    };
    // No link stays behind: the picture is in the answer.
    desk.configure("runware", "delivery__output", &json!("base64"));
    let rows: Vec<_> = (0..30)
        .map(|n| {
            (
                format!("p{n}"),
                "runware",
                format!("picture {n}"),
                format!("p{n}.png"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    let full = desk.run(&[
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--concurrency",
        "1",
    ]);
    assert!(full.count("failed") > 0, "{full:#?}");
    let bought = desk.charges();
    let more = Command::new("mount")
        .args(["-o", "remount,nr_inodes=1000"])
        .arg(&mount.0)
        .status();
    assert!(more.unwrap().success());
    assert!(bought > full.count("done"), "{full:#?}");
    let again = desk.make("list.jsonl");
    assert_eq!(
        (again.code, desk.charges()),
        (Some(0), 30),
        "{full:#?} {again:#?}"
    );
    desk.assert_clean("out");
}

/// The ledger's disk is full before the file's is: what came is known all the same, and so is what it cost.
#[test]
fn what_a_full_ledger_could_not_write_down_is_known_to_the_next_run() {
    let mut was_left_to_the_next = 0;
    for room in (4..=64).step_by(4) {
        let desk = Desk::with_sim();
        let Some(mount) = Mount::of("size=1m", desk.path("small")) else {
            return;
        };
        let args = [
            "run",
            "list.jsonl",
            "--out",
            "out",
            "--ledger",
            "small/ledger",
            "--json",
            "--concurrency",
            "1",
        ];
        let row = |n| {
            (
                format!("p{n}"),
                "openai",
                format!("picture {n}"),
                format!("p{n}.png"),
            )
        };
        let rows: Vec<_> = (0..6).map(row).collect();
        desk.file("list.jsonl", jobs(&rows[..1]));
        desk.run(&args).ended(0);
        // Fills all but so many kB.
        let free = Command::new("df")
            .args(["--output=avail", "-k"])
            .arg(&mount.0)
            .output()
            .unwrap();
        let free: u64 = String::from_utf8(free.stdout)
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let fills = (free.saturating_sub(room) * 1024) as usize;
        fs::write(desk.path("small/fill"), vec![1; fills]).unwrap();
        desk.file("list.jsonl", jobs(&rows));
        let full = desk.run(&args);
        let marks = files(&desk.path("out/.media/staging"));
        was_left_to_the_next += marks
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "made"))
            .count();
        fs::remove_file(desk.path("small/fill")).unwrap();
        let again = desk.run(&args);
        let status = desk
            .run(&["status", "--out", "out", "--ledger", "small/ledger"])
            .ended(0)
            .stdout;
        assert!(
            !status.contains("unknown") && !status.contains("open "),
            "{room}: {status}\n{full:#?}"
        );
        assert_eq!(desk.charges(), 6, "{room}: {full:#?} {again:#?}");
        desk.assert_clean("out");
    }
    assert!(
        was_left_to_the_next > 0,
        "no size left a file that was not written down"
    );
}

#[test]
fn a_table_that_cannot_be_written_is_told_after_the_account() {
    let desk = Desk::with_sim();
    desk.run(&["init", "deck"]).ended(0);
    fs::create_dir_all(desk.path("out/notes.txt")).unwrap();
    let args = [
        "run",
        "deck/words.csv",
        "--recipe",
        "deck/flashcards.json",
        "--out",
        "out",
        "--json",
        "--max-items",
        "2",
    ];
    let ran = desk.run(&args);
    assert!(ran.stderr.contains("notes.txt"), "{ran:#?}");
    // Either it is found before anything is sent, or the account is given all the same.
    if ran.code == Some(2) {
        assert_eq!(
            desk.sim().calls(),
            [],
            "exit 2 says that nothing was sent: {ran:#?}"
        );
    } else {
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("  done"), "{ran:#?}");
    }
}

/// What somebody wrote into it, and the rows that another list does not have, are kept.
#[test]
fn a_table_that_was_edited_or_had_more_rows_is_kept() {
    let desk = Desk::with_sim();
    desk.run(&["init", "deck"]).ended(0);
    let run = |list: &str| {
        desk.run(&["run", list, "--recipe", "deck/flashcards.json", "--out", "out"])
            .ended(0)
    };
    run("deck/words.csv");
    let whole = desk.read("out/notes.txt");
    run("deck/words.csv");
    assert!(!desk.path("out/.media/old").exists(), "it is as it was written");
    let words = desk.read("deck/words.csv");
    let few: Vec<_> = words.lines().take(3).collect();
    desk.file("few.csv", few.join("\n"));
    run("few.csv").said(&["had more rows", "out/.media/old/notes.txt"]);
    assert_eq!(desk.read("out/.media/old/notes.txt"), whole);
    let ran = run("deck/words.csv");
    assert!(!ran.stderr.contains(".media/old"), "{ran:#?}");
    assert_eq!(desk.read("out/notes.txt"), whole);
    desk.file("out/notes.txt", format!("{whole}mine\n"));
    run("deck/words.csv").said(&["edited", ".media/old"]);
    assert_eq!(desk.read("out/notes.txt"), whole);
}

#[test]
fn the_table_does_not_replace_the_list_it_is_made_from() {
    let desk = Desk::with_sim();
    desk.run(&["init", "deck"]).ended(0);
    let words = desk.read("deck/words.csv");
    let recipe = desk
        .read("deck/flashcards.json")
        .replace("notes.txt", "words.txt");
    desk.file("deck/flashcards.json", recipe);
    desk.file("deck/words.txt", &words);
    let args = [
        "run",
        "deck/words.txt",
        "--recipe",
        "deck/flashcards.json",
        "--out",
        "deck",
        "--max-items",
        "1",
    ];
    let ran = desk.run(&args);
    assert_eq!(desk.read("deck/words.txt"), words, "{ran:#?}");
}
