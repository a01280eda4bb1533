//! How a run shows what it is doing: bars on a terminal, a line now and then elsewhere, JSON on request.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use media_core::Client;
use media_core::sync::lock;
use media_engine::{Account, Line, Observer, Plan, Stats, Status};

use crate::talk::{self, put_line, say, write_for_people};
use crate::words;

/// How often totals are printed where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// How often bars are redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Shows a run until it is finished.
#[derive(Debug)]
pub(crate) struct Progress {
    observer: Arc<Shown>,
    /// They write to stdout and to stderr.
    writers: Vec<JoinHandle<()>>,
}

/// What is told of every result.
#[derive(Debug)]
struct Shown {
    /// With `--json`, to the thread that writes. Taken out at the end.
    lines: Mutex<Option<mpsc::Sender<String>>>,
}

impl Progress {
    pub(crate) fn start(
        stats: Arc<Stats>,
        plan: &Plan,
        clients: Vec<(String, Client)>,
        json: bool,
        quiet: bool,
    ) -> Progress {
        let pace = plan.providers.iter();
        let pace = pace.filter_map(|(name, plan)| Some((name.clone(), plan.per_minute?)));
        let watched = Watched {
            stats,
            clients: clients.into_iter().collect(),
            per_minute: pace.collect(),
        };
        let screen = if quiet {
            Screen::Quiet
        } else if std::io::stderr().is_terminal() {
            Screen::Bars(Bars::new(watched, plan))
        } else {
            Screen::Totals(watched)
        };
        let (told, heard) = mpsc::channel();
        talk::tell_to(Some(told));
        let (lines, data) = json.then(write_lines).unzip();
        let people = std::thread::spawn(move || screen.show(&heard));
        Progress {
            observer: Arc::new(Shown {
                lines: Mutex::new(lines),
            }),
            writers: data.into_iter().chain([people]).collect(),
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer) as Arc<dyn Observer>
    }

    /// Returns when all that was told has been taken by whoever reads it.
    pub(crate) async fn finish(self) {
        self.observer.lines().take();
        talk::tell_to(None);
        for writer in self.writers {
            // Beside the signals, which somebody may send because nobody reads. It does not panic, and if it did, results
            // would be missing and nothing else.
            let _ = tokio::task::spawn_blocking(|| writer.join()).await;
        }
    }
}

/// A thread that writes lines to stdout until there are no more.
fn write_lines() -> (mpsc::Sender<String>, JoinHandle<()>) {
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
            say!(
                "{} (line {}): {}: {}",
                line.id,
                line.line,
                line.status.as_str(),
                error.message
            );
        }
    }
}

/// How people see a run. It lives on a thread of its own.
#[derive(Debug)]
enum Screen {
    Bars(Bars),
    /// No terminal: a line of totals now and then.
    Totals(Watched),
    /// Only what is said.
    Quiet,
}

impl Screen {
    /// Shows what is said, and how the run stands, until nobody says anything any more.
    fn show(&self, heard: &mpsc::Receiver<String>) {
        let every = match self {
            Screen::Bars(_) => REDRAW_EVERY,
            Screen::Totals(_) | Screen::Quiet => REPORT_EVERY,
        };
        let mut next = Instant::now() + every;
        loop {
            match heard.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(text) => self.line(&text),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if next <= Instant::now() {
                self.stand();
                next = Instant::now() + every;
            }
        }
        if let Screen::Bars(bars) = self {
            // Nothing depends on the bars being wiped.
            let _ = bars.all.clear();
        }
    }

    fn line(&self, text: &str) {
        match self {
            Screen::Bars(bars) => {
                let _ = bars.all.println(text);
            }
            Screen::Totals(_) | Screen::Quiet => write_for_people(text),
        }
    }

    /// How the run stands.
    fn stand(&self) {
        match self {
            Screen::Bars(bars) => bars.draw(),
            Screen::Totals(watched) => {
                for (name, account) in watched.stats.snapshot() {
                    write_for_people(&format!(
                        "{name}: {} of {}  {}",
                        account.reported(),
                        account.asked,
                        watched.message(&name, &account)
                    ));
                }
            }
            Screen::Quiet => {}
        }
    }
}

/// One bar per provider.
#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    each: Vec<(String, ProgressBar)>,
    watched: Watched,
}

impl Bars {
    fn new(watched: Watched, plan: &Plan) -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{prefix:<10} {bar:30} {pos:>6}/{len:<6} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let width = plan.providers.keys().map(String::len).max().unwrap_or(0);
        let each = watched.stats.snapshot().into_iter().map(|(name, account)| {
            let bar = all.add(ProgressBar::new(account.asked));
            bar.set_style(style.clone());
            bar.set_prefix(format!("{name:width$}"));
            (name, bar)
        });
        let each = each.collect();
        Bars { all, each, watched }
    }

    fn draw(&self) {
        let accounts = self.watched.stats.snapshot();
        for (name, bar) in &self.each {
            if let Some(account) = accounts.get(name) {
                bar.set_position(account.reported());
                bar.set_message(self.watched.message(name, account));
            }
        }
    }
}

/// What bars and lines tell of.
#[derive(Debug)]
struct Watched {
    stats: Arc<Stats>,
    clients: BTreeMap<String, Client>,
    /// Files a minute that the limits allow.
    per_minute: BTreeMap<String, f64>,
}

impl Watched {
    /// Failed, in batches, rate against limit, time left, cost, what is waited for.
    fn message(&self, name: &str, account: &Account) -> String {
        let mut parts = Vec::new();
        let failed = account.count(Status::Failed) + account.count(Status::Unknown);
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        if account.in_batches > 0 {
            parts.push(format!("{} in batches", account.in_batches));
        }
        let (done, left) = (account.count(Status::Done), account.left());
        let seconds = self.stats.elapsed().as_secs_f64();
        // Files of a batch come all at once, when the service has made them, whatever the limits: their rate tells nothing.
        if done > 0 && seconds > 1.0 && !self.is_remote(name) {
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

    fn is_remote(&self, name: &str) -> bool {
        let client = self.clients.get(name);
        client.is_some_and(|client| client.info().capabilities.remote_batch_seconds.is_some())
    }

    fn waiting(&self, name: &str) -> Option<String> {
        let waiting = self.clients.get(name)?.provider().http().waiting();
        // Pauses of a moment come and go with every send; only a longer one is worth a word.
        let longest = waiting.into_iter().max_by_key(|waiting| waiting.until)?;
        let left = longest
            .until
            .saturating_duration_since(tokio::time::Instant::now());
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
