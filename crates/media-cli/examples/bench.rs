//! The benchmarks of docs/benchmarks.md: `cargo xtask bench`. Everything runs on this machine, over loopback.
//!
//! Each measurement is a process of its own, started by this one: the simulator, the program `media`, the library's
//! client alone (no list, no engine, no ledger), and a bare loop over reqwest that does the same calls and writes the
//! same files.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a measuring script: whatever goes wrong should end it at once"
)]

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures_util::StreamExt;
use media_core::config::{Config, Setup, Sources};
use media_core::http::Wiring;
use media_core::{ApiKey, CheckLevel, Client, MediaRequest};
use media_registry::Registry;
use media_sim::{Scenario, Sim};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const JOBS: usize = 10_000;
const AT_ONCE: usize = 32;
/// For memory. A connection takes a second block of 9 kB for its 33rd call: with more at once, 1,000 jobs end before that.
const FEW_AT_ONCE: usize = 16;
const LARGE_AT_ONCE: usize = 64;
/// Small pictures: icons. The bare loop only writes them; `check full` also decodes every pixel of them.
const SIZE: &str = "64x64";
const LARGE_JOBS: usize = 192;
const MANY_JOBS: usize = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", scenario] => serve(scenario),
        ["bare", url, list, out, at_once] => bare(url, list, Path::new(out), at_once.parse().unwrap()),
        ["client", config, list, out, check] => client(Path::new(config), list, Path::new(out), check),
        ["media", rest @ ..] => {
            let all = std::iter::once("media")
                .chain(rest.iter().copied())
                .map(OsString::from);
            let code = media_cli::run_with(&Registry::built_in(), all);
            println!("peak {}", peak());
            return code;
        }
        _ => {
            let wants = |what: &str| words.is_empty() || words.contains(&what);
            if wants("rate") {
                measure_rate();
            }
            if wants("resume") {
                measure_resume();
            }
            if wants("memory") {
                measure_memory();
            }
        }
    }
    ExitCode::SUCCESS
}

/// The most memory this process ever held, in kB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The simulator, until its standard input closes.
fn serve(scenario: &str) {
    runtime().block_on(async {
        let sim = Sim::start(Scenario::from_json(scenario).unwrap()).await.unwrap();
        println!("{}", sim.url());
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await;
    });
}

/// What anybody would write first: the same calls, as many at once, each answer decoded and written.
fn bare(url: &str, list: &str, out: &Path, at_once: usize) {
    fs::create_dir_all(out.join("d")).unwrap();
    let rows = rows(list);
    runtime().block_on(async {
        let client = reqwest::Client::new();
        futures_util::stream::iter(rows)
            .map(|row| {
                let address = format!("{url}/openai-compat/v1/images/generations");
                let (client, path) = (client.clone(), out.join(row["output_path"].as_str().unwrap()));
                let body = json!({ "model": "local-image", "prompt": row["content"], "size": SIZE, "n": 1, "response_format": "b64_json" });
                tokio::spawn(async move {
                    let answer = client
                        .post(address)
                        .bearer_auth("sim-openai")
                        .json(&body)
                        .send()
                        .await
                        .unwrap();
                    let value: Value = answer.json().await.unwrap();
                    let text = value["data"][0]["b64_json"].as_str().unwrap();
                    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
                    tokio::fs::write(path, bytes).await.unwrap();
                })
            })
            .buffer_unordered(at_once)
            .for_each(async |done| done.unwrap())
            .await;
    });
    println!("peak {}", peak());
}

fn rows(list: &str) -> Vec<Value> {
    let text = fs::read_to_string(list).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The same calls through the client: paced, checked, staged and named as by `media run`, but nothing is written down.
fn client(config: &Path, list: &str, out: &Path, check: &str) {
    let config = Config::load(&Sources {
        dir: Some(config.to_owned()),
        ..Sources::default()
    })
    .unwrap();
    let rows = rows(list);
    runtime().block_on(async {
        let setup = Setup {
            section: config.provider("openai").unwrap().clone(),
            key: Some(ApiKey::new("sim-openai")),
            wiring: Wiring::new(Duration::from_secs(10)).unwrap(),
        };
        let level = if check == "full" {
            CheckLevel::Full
        } else {
            CheckLevel::Structure
        };
        let client = Client::of(Registry::built_in().build(setup).unwrap()).checking(level);
        let out = out.to_owned();
        let requests = rows.into_iter().map(move |row| {
            let path = out.join(row["output_path"].as_str().unwrap());
            MediaRequest::image(row["content"].as_str().unwrap(), path)
        });
        let mut results = client.generate_batch(requests);
        while let Some(result) = results.next().await {
            result.outcome.unwrap();
        }
    });
    println!("peak {}", peak());
}

struct Lab {
    folder: PathBuf,
    server: Child,
    url: String,
}

impl Lab {
    /// A simulator, and a configuration that points at it.
    fn new(scenario: &Value, at_once: usize, check: &str) -> Lab {
        let folder = scratch();
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &scenario.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        let lab = Lab {
            folder,
            server,
            url: url.trim().to_owned(),
        };
        fs::create_dir_all(lab.folder.join("config/providers")).unwrap();
        let program = json!({ "out": "out", "check": check, "sizes": { "media": "256MiB", "text": "8MiB" } });
        let provider = json!({
            "type": "openai", "base_url": format!("{}/openai-compat/v1", lab.url), "api_key_env": "OPENAI_API_KEY",
            "image": { "dialect": "dall-e", "model": "local-image", "formats": ["png"], "size": SIZE, "max_characters": 1000 },
            "limits": { "concurrency": at_once },
            "timeouts": { "connect": "10s", "first_byte": "60s", "idle": "60s", "total": "10m" },
            "retry": { "attempts": 1, "first_delay": "1s", "max_delay": "1s" },
            "prices": { "as_of": "2026-11-23", "source": "none" },
        });
        fs::write(lab.folder.join("config/media.json"), program.to_string()).unwrap();
        fs::write(
            lab.folder.join("config/providers/openai.json"),
            provider.to_string(),
        )
        .unwrap();
        lab
    }

    /// The shipped configuration of OpenAI pointed at it, asked as often as anybody likes.
    fn with_batches(self) -> Lab {
        let file = self.folder.join("config/providers/openai.json");
        let registry = Registry::built_in();
        let openai = registry
            .factories()
            .find(|factory| factory.name == "openai")
            .unwrap();
        let mut provider: Value = serde_json::from_str(openai.config).unwrap();
        provider["base_url"] = json!(format!("{}/openai/v1", self.url));
        provider["batch"]["first_poll"] = json!("200ms");
        provider["batch"]["max_poll"] = json!("500ms");
        fs::write(file, provider.to_string()).unwrap();
        self
    }

    fn list(&self, jobs: usize) -> PathBuf {
        let path = self.folder.join(format!("list-{jobs}.jsonl"));
        let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
        for job in 0..jobs {
            let row = json!({ "id": format!("{job:06}"), "kind": "image", "provider": ["openai"],
                "content": format!("picture {job}"), "output_path": format!("d/{job:06}.png") });
            writeln!(file, "{row}").unwrap();
        }
        path
    }

    /// Runs one child to its end in an empty folder: seconds, and kilobytes at its peak.
    fn run(&self, arguments: &[&str], jobs: usize) -> (f64, u64) {
        let _ = fs::remove_dir_all(self.folder.join("out"));
        self.run_again(arguments, jobs)
    }

    /// The same in the folder as it is.
    fn run_again(&self, arguments: &[&str], jobs: usize) -> (f64, u64) {
        self.run_program(&std::env::current_exe().unwrap(), arguments, jobs)
    }

    fn run_program(&self, program: &Path, arguments: &[&str], jobs: usize) -> (f64, u64) {
        let out = self.folder.join("out");
        let began = Instant::now();
        let output = Command::new(program)
            .args(arguments)
            .env("OPENAI_API_KEY", "sim-openai")
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let seconds = began.elapsed().as_secs_f64();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let files = fs::read_dir(out.join("d")).unwrap().count();
        assert_eq!(files, jobs, "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let peak = text.lines().find_map(|line| line.strip_prefix("peak ")).unwrap();
        (seconds, peak.parse().unwrap())
    }

    /// List, configuration and output folder.
    fn paths(&self, jobs: usize) -> [String; 3] {
        [
            self.list(jobs),
            self.folder.join("config"),
            self.folder.join("out"),
        ]
        .map(|path| path.to_str().unwrap().to_owned())
    }

    fn media(&self, jobs: usize) -> (f64, u64) {
        self.media_with(jobs, &[])
    }

    fn media_with(&self, jobs: usize, flags: &[&str]) -> (f64, u64) {
        let [list, config, out] = self.paths(jobs);
        let words = [
            "media", "run", &list, "--config", &config, "--out", &out, "--quiet",
        ];
        self.run(&[&words, flags].concat(), jobs)
    }

    /// The program as it was built without a ledger.
    fn media_without_ledger(&self, program: &Path, jobs: usize) -> (f64, u64) {
        let _ = fs::remove_dir_all(self.folder.join("out"));
        let [list, config, out] = self.paths(jobs);
        let words = [
            "media", "run", &list, "--config", &config, "--out", &out, "--quiet",
        ];
        self.run_program(program, &words, jobs)
    }

    fn resumed(&self, jobs: usize) -> (f64, u64) {
        let [list, config, out] = self.paths(jobs);
        let words = [
            "media", "run", &list, "--config", &config, "--out", &out, "--quiet",
        ];
        self.run_again(&words, jobs)
    }

    fn client(&self, jobs: usize, check: &str) -> (f64, u64) {
        let [list, config, out] = self.paths(jobs);
        self.run(&["client", &config, &list, &out, check], jobs)
    }

    fn bare(&self, jobs: usize, at_once: usize) -> (f64, u64) {
        let [list, _, out] = self.paths(jobs);
        self.run(&["bare", &self.url, &list, &out, &at_once.to_string()], jobs)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Its standard input closes, and it ends.
        drop(self.server.stdin.take());
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder in memory where there is one, so that no disk is measured.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = base.join(format!("media-bench-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn scenario(latency: Duration, bytes: u64) -> Value {
    json!({
        "media": { "picture": "plain", "bytes": bytes },
        "openai": { "compat": { "models": ["local-image"], "keys": [], "delivery": "b64_json",
            "latency_ms": u64::try_from(latency.as_millis()).unwrap() } },
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure_rate() {
    // `cargo xtask bench` builds it.
    let without_ledger = std::env::var_os("MEDIA_BENCH_NO_LEDGER").map(PathBuf::from);
    let settings = [AT_ONCE, LARGE_AT_ONCE].map(|at_once| [(at_once, "structure"), (at_once, "full")]);
    for (at_once, check) in settings.into_iter().flatten() {
        let lab = Lab::new(&scenario(Duration::ZERO, 0), at_once, check);
        lab.media(1000);
        let rate = |(seconds, _): (f64, u64)| JOBS as f64 / seconds;
        let mut sides = [(); 4].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            sides[0].push(rate(lab.media(JOBS)));
            if let Some(program) = &without_ledger {
                sides[1].push(rate(lab.media_without_ledger(program, JOBS)));
            }
            sides[2].push(rate(lab.client(JOBS, check)));
            sides[3].push(rate(lab.bare(JOBS, at_once)));
        }
        let [program, unledgered, library, bare] = sides;
        println!("rate, check {check}: {JOBS} jobs, {at_once} at once, median of {ROUNDS} rounds");
        for (name, rates) in [
            ("media run", &program),
            ("without ledger", &unledgered),
            ("client alone", &library),
            ("bare loop", &bare),
        ] {
            if rates.is_empty() {
                continue;
            }
            let ratios: Vec<f64> = rates
                .iter()
                .zip(&bare)
                .map(|(ours, theirs)| ours / theirs)
                .collect();
            println!(
                "  {name:15}{:8.0} files/s  {:5.2} of the bare loop  (round by round: {ratios:.2?})",
                median(rates.clone()),
                median(ratios.clone())
            );
        }
        for (what, others) in [("ledger", &unledgered), ("list, engine and ledger", &library)] {
            let cost: Vec<f64> = program
                .iter()
                .zip(others)
                .map(|(with, without)| (1.0 / with - 1.0 / without) * 1e6)
                .collect();
            if !cost.is_empty() {
                println!(
                    "  {what}: {:.0} microseconds a job  {cost:.0?}",
                    median(cost.clone())
                );
            }
        }
    }
}

fn measure_resume() {
    let lab = Lab::new(&scenario(Duration::ZERO, 0), AT_ONCE, "structure");
    let (first, _) = lab.media(MANY_JOBS);
    let again: Vec<(f64, u64)> = (0..3).map(|_| lab.resumed(MANY_JOBS)).collect();
    let seconds = median(again.iter().map(|(seconds, _)| *seconds).collect());
    let peak = median(again.iter().map(|(_, peak)| *peak as f64 / 1024.0).collect());
    println!(
        "{MANY_JOBS} jobs: made in {first:.1} s, resumed when all are done in {seconds:.1} s, {peak:.1} MiB"
    );
}

fn measure_memory() {
    let lab = Lab::new(&scenario(Duration::ZERO, 0), FEW_AT_ONCE, "full");
    for jobs in [1_000, 10_000] {
        let peaks: Vec<f64> = (0..3).map(|_| lab.media(jobs).1 as f64 / 1024.0).collect();
        println!(
            "peak memory of {jobs:6} small jobs, {FEW_AT_ONCE} at once: {:6.1} MiB {peaks:.1?}",
            median(peaks.clone())
        );
    }
    drop(lab);
    for bytes in [20_000, 2_000_000, 20_000_000] {
        let lab = Lab::new(
            &scenario(Duration::from_millis(500), bytes),
            LARGE_AT_ONCE,
            "structure",
        );
        let peaks: Vec<f64> = (0..3).map(|_| lab.media(LARGE_JOBS).1 as f64 / 1024.0).collect();
        println!(
            "peak memory of {LARGE_JOBS} pictures of {bytes} bytes, {LARGE_AT_ONCE} at once: {:6.1} MiB {peaks:.1?}",
            median(peaks.clone())
        );
    }
    let batches = json!({
        "media": { "picture": "plain", "bytes": 1_000_000 },
        "openai": { "batch": { "validating_ms": 500, "line_ms": 5 } },
    });
    let lab = Lab::new(&batches, AT_ONCE, "structure").with_batches();
    for jobs in [200, 1_000, 4_000] {
        let peaks: Vec<f64> = (0..3)
            .map(|_| lab.media_with(jobs, &["--batch-api"]).1 as f64 / 1024.0)
            .collect();
        println!(
            "peak memory of {jobs:6} pictures of 1 MB by the Batch API: {:6.1} MiB {peaks:.1?}",
            median(peaks.clone())
        );
    }
}
