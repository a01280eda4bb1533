//! Ctrl-C and SIGTERM: the first lets what was sent finish, the second ends at once.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use media_sim::Scenario;

use crate::support::{Desk, Ran, jobs, until};

/// A run of many pictures that each take a while.
struct Running {
    desk: Desk,
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Running {
    fn start(latency_ms: u64, provider: &str) -> Running {
        let mut scenario = Scenario::instant();
        scenario.openai.latency_ms.image = latency_ms;
        scenario.runware.latency_ms.image = latency_ms;
        let mut desk = Desk::with(scenario);
        desk.configure(provider, "limits__concurrency", &serde_json::json!(2));
        let rows: Vec<_> = (0..40)
            .map(|n| {
                (
                    format!("p{n}"),
                    provider,
                    format!("picture {n}"),
                    format!("p{n}.webp"),
                )
            })
            .collect();
        desk.file("list.jsonl", jobs(&rows));
        let mut command = desk.command(&["run", "list.jsonl", "--out", "out", "--json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Running {
            desk,
            child,
            stderr,
            heard: String::new(),
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits until it says so.
    fn hear(&mut self, part: &str) {
        while !self.heard.contains(part) {
            let mut line = String::new();
            assert!(
                self.stderr.read_line(&mut line).unwrap() > 0,
                "it ended without saying {part:?}: {}",
                self.heard
            );
            self.heard.push_str(&line);
        }
    }

    fn end(mut self) -> (Desk, Ran) {
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        self.stderr.read_to_string(&mut self.heard).unwrap();
        let code = self.child.wait().unwrap().code();
        let ran = Ran {
            code,
            stdout,
            stderr: self.heard,
        };
        ran.look();
        (self.desk, ran)
    }
}

#[test]
fn the_first_signal_lets_what_was_sent_finish() {
    for (signal, code, provider) in [
        ("INT", 130, "openai"),
        ("TERM", 143, "openai"),
        #[cfg(target_os = "linux")]
        ("HUP", 143, "openai"),
        ("INT", 130, "runware"),
    ] {
        let mut running = Running::start(250, provider);
        until("some are done and some are on their way", || {
            running.desk.charges() >= 4
        });
        running.signal(signal);
        running.hear("stopping: what was sent is being finished: ");
        running.hear(&format!(" at {provider} (within "));
        let (desk, ran) = running.end();
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        desk.assert_clean("out");
        // What was sent arrived: nothing was paid for and thrown away.
        let done = ran.count("done");
        assert!((4..40).contains(&done), "{ran:#?}");
        desk.assert_bill_is(done);
        assert_eq!(desk.outputs("out").len(), done);
        assert_eq!((ran.count("unknown"), ran.count("failed")), (0, 0), "{ran:#?}");
        assert!(
            ran.stderr.contains("next: media run list.jsonl --out out"),
            "{ran:#?}"
        );
    }
}

#[test]
fn after_a_stop_the_same_command_makes_the_rest() {
    let mut running = Running::start(50, "runware");
    until("some are done", || running.desk.charges() >= 6);
    running.signal("INT");
    running.hear("stopping");
    let (desk, _) = running.end();
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!(again.count("skipped") + again.count("done"), 40);
    desk.assert_bill_is(40);
    desk.assert_clean("out");
}

#[test]
fn the_second_signal_ends_at_once() {
    for (first, second, code) in [("INT", "INT", 130), ("TERM", "TERM", 143), ("INT", "TERM", 143)] {
        // Nothing of this would end by itself within the patience of these tests.
        let mut running = Running::start(120_000, "openai");
        until("one was sent", || running.desk.charges() >= 1);
        let before = std::time::Instant::now();
        running.signal(first);
        running.hear("stopping");
        // What comes together is one signal, so it is said until it is heard.
        until("it ends", || {
            running.signal(second);
            running.child.try_wait().unwrap().is_some()
        });
        let (desk, ran) = running.end();
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        assert!(before.elapsed().as_secs() < 20);
        desk.assert_clean("out");
        assert_eq!(desk.outputs("out"), Vec::<String>::new());
    }
}

#[test]
fn a_signal_ends_the_waits() {
    let mut running = {
        let mut scenario = Scenario::instant();
        scenario.openai.limits.image.requests_per_minute = 2;
        scenario.openai.limits.image.images_per_minute = 2;
        let desk = Desk::with(scenario);
        let rows = [
            ("a", "openai", "a", "a.webp"),
            ("b", "openai", "b", "b.webp"),
            ("c", "openai", "c", "c.webp"),
            ("d", "openai", "d", "d.webp"),
        ];
        desk.file("list.jsonl", jobs(&rows));
        let mut command = desk.command(&["run", "list.jsonl", "--out", "out", "--json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Running {
            desk,
            child,
            stderr,
            heard: String::new(),
        }
    };
    until("a file is there and the rest waits", || {
        !running.desk.outputs("out").is_empty()
    });
    let before = std::time::Instant::now();
    running.signal("INT");
    running.hear("stopping");
    let (desk, ran) = running.end();
    assert!(before.elapsed().as_secs() < 10);
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    let done = ran.count("done");
    assert_eq!(
        (ran.count("cancelled"), done > 0 && done < 4),
        (4 - done, true),
        "{ran:#?}"
    );
    desk.assert_bill_is(done);
}
