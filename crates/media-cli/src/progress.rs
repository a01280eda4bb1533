//! How a run shows what it is doing: bars on a terminal, a line now and then elsewhere, JSON on request.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use media_core::Client;
use media_core::sync::lock;
use media_engine::{Account, Line, Observer, Plan, Stats, Status};
use tokio::time::Instant;

use crate::talk::{put_line, say};
use crate::words;

/// How often totals are printed where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// How often bars are redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Shows a run until it is finished.
#[derive(Debug)]
pub(crate) struct Progress {
    observer: Arc<Shown>,
    /// Writes results to stdout.
    writer: Option<std::thread::JoinHandle<()>>,
    ticker: tokio::task::JoinHandle<()>,
    bars: Option<MultiProgress>,
}

/// What is told of every result.
#[derive(Debug)]
struct Shown {
    /// With `--json`, to the thread that writes. Whoever reads stdout may pause, and what is on the wire must not wait for
    /// that. Taken out at the end.
    lines: Mutex<Option<mpsc::Sender<String>>>,
    bars: Option<MultiProgress>,
}

impl Progress {
    pub(crate) fn start(
        stats: Arc<Stats>,
        plan: &Plan,
        clients: Vec<(String, Client)>,
        json: bool,
        quiet: bool,
    ) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let (lines, writer) = json.then(write_lines).unzip();
        let observer = Arc::new(Shown {
            lines: Mutex::new(lines),
            bars: bars.clone(),
        });
        let pace = plan.providers.iter();
        let pace = pace.filter_map(|(name, plan)| Some((name.clone(), plan.per_minute?)));
        let watched = Watched {
            stats,
            clients: clients.into_iter().collect(),
            per_minute: pace.collect(),
        };
        let ticker = match &bars {
            Some(bars) => tokio::spawn(draw(watched, bars, plan)),
            None if quiet => tokio::spawn(async {}),
            None => tokio::spawn(report(watched)),
        };
        Progress {
            observer,
            writer,
            ticker,
            bars,
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer) as Arc<dyn Observer>
    }

    /// Returns when all that was told has been taken by whoever reads it.
    pub(crate) async fn finish(self) {
        self.ticker.abort();
        self.observer.lines().take();
        if let Some(writer) = self.writer {
            // Beside the signals, which somebody may send because nobody reads. It does not panic, and if it did, results
            // would be missing and nothing else.
            let _ = tokio::task::spawn_blocking(|| writer.join()).await;
        }
        if let Some(bars) = self.bars {
            // Nothing depends on the bars being wiped.
            let _ = bars.clear();
        }
    }
}

/// A thread that writes lines to stdout until there are no more.
fn write_lines() -> (mpsc::Sender<String>, std::thread::JoinHandle<()>) {
    let (lines, taken) = mpsc::channel::<String>();
    let writer = std::thread::spawn(move || {
        for line in taken {
            if !put_line(format_args!("{line}")) {
                break;
            }
        }
    });
    (lines, writer)
}

impl Shown {
    fn lines(&self) -> MutexGuard<'_, Option<mpsc::Sender<String>>> {
        lock(&self.lines)
    }
}

impl Observer for Shown {
    fn result(&self, line: &Line) {
        if let Some(lines) = self.lines().as_ref()
            && let Ok(text) = serde_json::to_string(line)
        {
            // Once stdout is gone nobody reads the rest.
            let _ = lines.send(text);
        }
        let failed = matches!(line.status, Status::Failed | Status::Unknown);
        if let Some(error) = line.error.as_ref().filter(|_| failed) {
            let text = format!(
                "{} (line {}): {}: {}",
                line.id,
                line.line,
                line.status.as_str(),
                error.message
            );
            match &self.bars {
                Some(bars) => {
                    let _ = bars.println(text);
                }
                None => say!("{text}"),
            }
        }
    }
}

/// One bar per provider.
fn draw(watched: Watched, bars: &MultiProgress, plan: &Plan) -> impl Future<Output = ()> + Send + use<> {
    let style = ProgressStyle::with_template("{prefix:<10} {bar:30} {pos:>6}/{len:<6} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let width = plan.providers.keys().map(String::len).max().unwrap_or(0);
    let lines: Vec<_> = watched
        .stats
        .snapshot()
        .into_iter()
        .map(|(name, account)| {
            let bar = bars.add(ProgressBar::new(account.asked));
            bar.set_style(style.clone());
            bar.set_prefix(format!("{name:width$}"));
            (name, bar)
        })
        .collect();
    async move {
        loop {
            let accounts = watched.stats.snapshot();
            for (name, bar) in &lines {
                if let Some(account) = accounts.get(name) {
                    bar.set_position(account.reported());
                    bar.set_message(watched.message(name, account));
                }
            }
            tokio::time::sleep(REDRAW_EVERY).await;
        }
    }
}

/// What bars and lines tell of.
struct Watched {
    stats: Arc<Stats>,
    clients: BTreeMap<String, Client>,
    /// Files a minute that the limits allow.
    per_minute: BTreeMap<String, f64>,
}

impl Watched {
    /// Failed, rate against limit, time left, cost, what is waited for.
    fn message(&self, name: &str, account: &Account) -> String {
        let mut parts = Vec::new();
        let failed = account.count(Status::Failed) + account.count(Status::Unknown);
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let (done, left) = (account.count(Status::Done), account.left());
        let seconds = self.stats.elapsed().as_secs_f64();
        if done > 0 && seconds > 1.0 {
            #[expect(clippy::cast_precision_loss, reason = "shown in whole numbers")]
            let (per_minute, left) = (done as f64 * 60.0 / seconds, left as f64);
            let limit = self.per_minute.get(name);
            // The first ones go at once: over a short time that looks like more than the limit, and is not.
            let per_minute = limit.map_or(per_minute, |limit| per_minute.min(*limit));
            let limit = limit.map_or_else(String::new, |limit| format!(" of {limit:.0}"));
            parts.push(format!("{per_minute:.0}{limit} a minute"));
            if left > 0.0 {
                let left = Duration::from_secs_f64(left * 60.0 / per_minute);
                parts.push(format!("{} left", words::roughly(left)));
            }
        }
        let spent = account.total();
        if spent.micros() > 0 {
            parts.push(format!("{spent} USD"));
        }
        if let Some(waiting) = self.waiting(name) {
            parts.push(waiting);
        }
        parts.join("  ")
    }

    fn waiting(&self, name: &str) -> Option<String> {
        let waiting = self.clients.get(name)?.provider().http().waiting();
        // Pauses of a moment come and go with every send; only a longer one is worth a word.
        let longest = waiting.into_iter().max_by_key(|waiting| waiting.until)?;
        let left = longest.until.saturating_duration_since(Instant::now());
        (left > Duration::from_secs(1)).then(|| match &longest.bucket {
            Some(bucket) => format!(
                "waiting {} for {bucket} ({})",
                words::roughly(left),
                longest.group
            ),
            None => format!("paused by the service for {}", words::roughly(left)),
        })
    }
}

/// A line of totals now and then.
async fn report(watched: Watched) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        for (name, account) in watched.stats.snapshot() {
            say!(
                "{name}: {} of {}  {}",
                account.reported(),
                account.asked,
                watched.message(&name, &account)
            );
        }
    }
}
