//! Readers that go away: `| head` is no reason to panic, and none to lose what is being paid for.

use std::process::{Command, Stdio};

use media_sim::Scenario;

use crate::support::{Desk, Ran, jobs};

/// Runs the program with its stdout or stderr going to a pipe that nobody reads.
fn unread(desk: &Desk, mut command: Command, is_stderr: bool) -> Ran {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    if is_stderr {
        command.stderr(writer).stdout(Stdio::piped());
    } else {
        command.stdout(writer).stderr(Stdio::piped());
    }
    let child = command.spawn().unwrap();
    // The command holds an end of the pipe.
    drop(command);
    let output = child.wait_with_output().unwrap();
    let _ = desk;
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn nobody_reads_the_answer() {
    let desk = Desk::new();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    let commands: [&[&str]; 8] = [
        &["providers"],
        &["providers", "--json"],
        &["config", "show"],
        &["plan", "list.jsonl"],
        &["plan", "list.jsonl", "--json"],
        &["verify", "config/media.json"],
        &["check"],
        &["init", "deck"],
    ];
    for args in commands {
        let ran = unread(&desk, desk.command(args), false);
        assert!(
            !ran.stderr.contains("panicked") && ran.code != Some(101),
            "{args:?} panicked: {ran:#?}"
        );
    }
}

#[test]
fn nobody_reads_the_results() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("b", "openai", "a cap", "b.webp"),
        ]),
    );
    let ran = unread(
        &desk,
        desk.command(&["run", "list.jsonl", "--out", "out", "--json"]),
        false,
    );
    ran.look();
    ran.ended(0);
    desk.assert_bill_is(2);
    desk.assert_clean("out");
}

#[test]
fn nobody_reads_the_talk_and_nothing_paid_is_lost() {
    // The terminal of a long run went away; a failure has to be told to nobody.
    for flags in [&["--json"][..], &["--json", "-vv"][..]] {
        let mut scenario = Scenario::instant();
        scenario.openai.latency_ms.image = 150;
        let desk = Desk::with(scenario);
        let mut text = String::new();
        for n in 0..10 {
            let (id, path) = (format!("p{n}"), format!("p{n}.webp"));
            text.push_str(&jobs(&[(&id, "openai", &format!("picture {n}"), &path)]));
            if n == 4 {
                text.push_str(&jobs(&[("x", "openai", "a bloody mess", "x.webp")]));
            }
        }
        desk.file("list.jsonl", text);
        let args = [&["run", "list.jsonl", "--out", "out"][..], flags].concat();
        let ran = unread(&desk, desk.command(&args), true);
        desk.assert_clean("out");
        assert_eq!(
            desk.outputs("out").len(),
            desk.charges(),
            "paid for and lost: {ran:#?}"
        );
        assert_eq!((ran.count("done"), ran.count("failed")), (10, 1), "{ran:#?}");
        assert_eq!(ran.code, Some(1));
    }
}

/// What is on the wire was paid for, and does not wait for a reader who is looking at the first page.
#[test]
fn a_reader_that_pauses_stops_no_work() {
    use std::io::Read as _;
    let desk = Desk::with_sim();
    let rows: Vec<_> = (0..400)
        .map(|n| {
            (
                format!("p{n}"),
                "runware",
                format!("picture {n}"),
                format!("p{n}.webp"),
            )
        })
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    for (out, flags) in [("results", ["--json", "-q"]), ("talk", ["-v", "-v"])] {
        let bought = desk.charges();
        let args = [&["run", "list.jsonl", "--out", out][..], &flags].concat();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = desk.command(&args);
        match out {
            "results" => command.stdout(writer),
            _ => command.stdout(Stdio::null()).stderr(writer),
        };
        let mut child = command.spawn().unwrap();
        // It holds an end of the pipe.
        drop(command);
        crate::support::until("all of it is bought", || desk.charges() == bought + rows.len());
        let mut lines = String::new();
        reader.read_to_string(&mut lines).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(lines.lines().count() >= rows.len(), "{out}");
        assert!(lines.len() > 128 << 10, "{out} would fit into a pipe's buffer");
    }
}

/// A full disk behind it is no reader that went away: what somebody wanted is lost, and told.
#[test]
fn results_that_cannot_be_written_are_told() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
    for args in [
        &["run", "list.jsonl", "--out", "out", "--json"][..],
        &["status", "--out", "out"],
        &["config", "show"],
    ] {
        let mut command = desk.command(args);
        command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let ran = command.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("could not all be written"), "{args:?}: {said}");
    }
    desk.assert_bill_is(1);
}
