//! A desk to test at: a folder with a configuration of its own, the program run in it, the simulator beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use media_sim::{Scenario, Sim};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::decode::decode;

/// What no run of these tests comes near; one that does hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The keys that the simulator takes. Short as they are, they must never be seen.
pub(crate) const KEYS: [(&str, &str); 3] = [
    ("OPENAI_API_KEY", "sim-openai"),
    ("RUNWARE_API_KEY", "sim-runware"),
    ("FORVO_API_KEY", "sim-forvo"),
];

/// The keys of a result line: each is always there.
const LINE_KEYS: [&str; 26] = [
    "v",
    "id",
    "line",
    "request",
    "status",
    "path",
    "format",
    "bytes",
    "sha256",
    "width",
    "height",
    "duration_ms",
    "provider",
    "model",
    "tried",
    "take",
    "cost_usd",
    "cost_basis",
    "attempts",
    "elapsed_ms",
    "remote_id",
    "credit",
    "until",
    "warnings",
    "simulated",
    "error",
];

/// The top of the checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A folder with a configuration, and perhaps a simulator.
pub(crate) struct Desk {
    dir: TempDir,
    environment: BTreeMap<String, String>,
    sim: Option<Sim>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    /// The shipped configuration, no keys, no simulator.
    pub(crate) fn new() -> Desk {
        let desk = Desk {
            dir: tempfile::tempdir().unwrap(),
            environment: BTreeMap::new(),
            sim: None,
        };
        copy(&checkout().join("config"), &desk.path("config"));
        desk
    }

    /// A simulator that answers at once, all keys set: runs are "real", and the bill shows what they bought.
    pub(crate) fn with_sim() -> Desk {
        Desk::with(Scenario::instant())
    }

    /// The same with this scenario.
    pub(crate) fn with(scenario: Scenario) -> Desk {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sim = runtime.block_on(Sim::start(scenario)).unwrap();
        let mut desk = Desk::new();
        for provider in ["openai", "runware", "forvo"] {
            let overlay = sim.overlay(provider).unwrap();
            for (key, value) in overlay.as_object().unwrap() {
                desk.configure(provider, key, value);
            }
            desk.configure(
                provider,
                "retry",
                &json!({ "first_delay": "10ms", "max_delay": "50ms" }),
            );
        }
        desk.configure(
            "runware",
            "delivery",
            &json!({ "first_poll": "10ms", "max_poll": "50ms" }),
        );
        for (name, key) in KEYS {
            desk.set(name, key);
        }
        desk.sim = Some(sim);
        desk
    }

    pub(crate) fn sim(&self) -> &Sim {
        self.sim.as_ref().unwrap()
    }

    /// Takes away the faults that have not struck yet.
    pub(crate) fn disarm(&self) {
        let answer = self.ask("DELETE", "/_sim/faults");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// Asks the simulator over its socket, as plainly as can be.
    pub(crate) fn ask(&self, method: &str, path: &str) -> String {
        ask(&self.sim().addr().to_string(), method, path)
    }

    /// Lays a value over the configuration, by a variable.
    pub(crate) fn configure(&mut self, instance: &str, key: &str, value: &Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.set(&format!("MEDIA_CONFIG__{instance}__{key}"), &text);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// A day later: the simulator knows it, and what this user's runs counted of the day before is of no matter.
    pub(crate) fn tomorrow(&mut self) {
        self.sim().advance(Duration::from_secs(24 * 3600));
        let state = self.path("state-of-tomorrow");
        self.set("MEDIA_STATE_DIR", state.to_str().unwrap());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program in this folder, in an environment that holds nothing of the tester's.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_media"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .stdin(Stdio::null());
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path());
        command.envs(&self.environment);
        command
    }

    /// Runs it to its end. Wherever it ends: it did not panic, and no key is seen.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(self.command(args))
    }

    pub(crate) fn finish(&self, command: Command) -> Ran {
        let output = assert_cmd::Command::from_std(command)
            .timeout(PATIENCE)
            .output()
            .unwrap();
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        ran.look();
        for (_, key) in KEYS {
            assert!(
                !ran.stdout.contains(key) && !ran.stderr.contains(key),
                "the key {key} is shown: {ran:#?}"
            );
        }
        ran
    }

    /// Runs it until something is so, and kills it then.
    pub(crate) fn kill_once(&self, args: &[&str], what: &str, is_so: impl Fn() -> bool) {
        let mut child = self.command(args).stderr(Stdio::null()).spawn().unwrap();
        until(what, is_so);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs `list` for real into `out`, with result lines.
    pub(crate) fn make(&self, list: &str) -> Ran {
        self.run(&["run", list, "--out", "out", "--json"])
    }

    /// The files of a folder, sorted, without those in its `.media`.
    pub(crate) fn outputs(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut names: Vec<_> = files(&root)
            .into_iter()
            .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
            .filter(|name| !name.starts_with(".media/"))
            .collect();
        names.sort();
        names
    }

    /// What was set aside as no good: the bytes, without their notes.
    pub(crate) fn rejected(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.path(folder).join(".media/rejected");
        let mut all = files(&folder);
        all.retain(|path| path.extension().is_none());
        all
    }

    /// Nothing half-made is left, and every file is whole by the word of decoders that are not the program's.
    pub(crate) fn assert_clean(&self, folder: &str) {
        for path in files(&self.path(folder)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_left = name.starts_with(".media-") || name.ends_with(".part") || name.contains("tmp");
            assert!(!is_left, "{} was left behind", path.display());
        }
        assert_eq!(
            files(&self.path(folder).join(".media/staging")),
            Vec::<PathBuf>::new()
        );
        for name in self.outputs(folder) {
            if Path::new(&name)
                .extension()
                .is_none_or(|extension| extension != "txt")
            {
                decode(&self.path(folder).join(name));
            }
        }
    }

    /// Charges by the hash of what was asked for.
    pub(crate) fn charges_by_content(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for charge in self.sim().bill().charges {
            *counts.entry(charge.content_sha256).or_insert(0) += 1;
        }
        counts
    }

    /// Words that were looked up.
    pub(crate) fn lookups(&self) -> usize {
        let calls = self.sim().calls();
        calls
            .iter()
            .filter(|call| call.path.contains("word-pronunciations"))
            .count()
    }

    /// How many charges there are on the bill.
    pub(crate) fn charges(&self) -> usize {
        self.sim().bill().charges.len()
    }

    /// Everything billed was delivered, once, and is a file; nothing else is.
    pub(crate) fn assert_bill_is(&self, files: usize) {
        let bill = self.sim().bill();
        assert_eq!(bill.charges.len(), files, "{bill:#?}");
        assert!(
            bill.charges.iter().all(|charge| charge.delivered == 1),
            "{bill:#?}"
        );
    }
}

impl Ran {
    /// A panic is never an answer.
    pub(crate) fn look(&self) {
        assert!(
            !self.stderr.contains("panicked") && self.code != Some(101),
            "it panicked: {self:#?}"
        );
    }

    /// Ended by this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Said this, on stderr.
    #[track_caller]
    pub(crate) fn said(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:#?}");
        }
        self
    }

    /// The result lines by id, each complete.
    #[track_caller]
    pub(crate) fn lines(&self) -> BTreeMap<String, Value> {
        let mut lines = BTreeMap::new();
        for text in self.stdout.lines() {
            let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            for key in LINE_KEYS {
                assert!(line.get(key).is_some(), "{key} is missing: {text}");
            }
            assert_eq!(line["v"], 1);
            assert_eq!(
                ["done", "skipped", "kept"].contains(&line["status"].as_str().unwrap()),
                line["error"].is_null(),
                "{text}"
            );
            if !line["error"].is_null() {
                for key in ["kind", "charge", "message"] {
                    assert!(line["error"][key].is_string(), "{text}");
                }
                assert!(line["error"].get("next").is_some(), "{text}");
            }
            if line["status"] == "done" {
                assert!(
                    line["bytes"].as_u64().unwrap() > 0 && line["sha256"].as_str().unwrap().len() == 64,
                    "{text}"
                );
            }
            let id = line["id"].as_str().unwrap().to_owned();
            assert!(lines.insert(id, line).is_none(), "two lines of one id: {self:#?}");
        }
        lines
    }

    /// The only line of this id.
    #[track_caller]
    pub(crate) fn line(&self, id: &str) -> Value {
        self.lines()
            .remove(id)
            .unwrap_or_else(|| panic!("no line of {id}: {self:#?}"))
    }

    /// Status by id.
    #[track_caller]
    pub(crate) fn statuses(&self) -> BTreeMap<String, String> {
        self.lines()
            .into_iter()
            .map(|(id, line)| (id, line["status"].as_str().unwrap().to_owned()))
            .collect()
    }

    /// How many lines have this status.
    #[track_caller]
    pub(crate) fn count(&self, status: &str) -> usize {
        self.statuses().values().filter(|found| *found == status).count()
    }
}

/// A job list as JSON lines: (id, provider, content, path); the extension decides about the kind.
pub(crate) fn jobs(rows: &[(impl AsRef<str>, impl AsRef<str>, impl AsRef<str>, impl AsRef<str>)]) -> String {
    let mut text = String::new();
    for (id, provider, content, path) in rows {
        let (id, provider) = (id.as_ref(), provider.as_ref());
        let (content, path) = (content.as_ref(), path.as_ref());
        let is_image = ["png", "jpg", "jpeg", "webp"]
            .iter()
            .any(|extension| path.ends_with(extension));
        let mut job = json!({
            "id": id, "kind": if is_image { "image" } else { "audio" }, "provider": [provider], "content": content,
            "output_path": path,
        });
        match (provider, is_image) {
            ("forvo", _) => job["language"] = json!("es"),
            ("runware", true) => job["params"] = json!({ "runware": { "width": 256, "height": 128 } }),
            ("openai", true) => job["params"] = json!({ "openai": { "size": "1024x640" } }),
            _ => {}
        }
        text.push_str(&job.to_string());
        text.push('\n');
    }
    text
}

/// One HTTP request without a body; the answer as it comes.
pub(crate) fn ask(address: &str, method: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// All files under a folder; none when there is no such folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            assert!(fs::copy(&path, &target).is_ok());
        }
    }
}

/// Waits until something holds; fails loudly when it never does.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
