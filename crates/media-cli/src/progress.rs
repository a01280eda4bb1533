//! How a run shows what it is doing: bars on a terminal, a line now and then elsewhere, JSON on request.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::talk::say;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use media_engine::{Account, Line, Observer, Plan, Stats, Status};

/// How often totals are printed where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// How often bars are redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Shows a run until it is finished.
#[derive(Debug)]
pub(crate) struct Progress {
    observer: Arc<Shown>,
    ticker: tokio::task::JoinHandle<()>,
    bars: Option<MultiProgress>,
}

/// What is told of every result.
#[derive(Debug)]
struct Shown {
    json: bool,
    bars: Option<MultiProgress>,
    /// Once stdout is gone nobody reads the rest.
    stdout: Mutex<bool>,
}

impl Progress {
    pub(crate) fn start(stats: Arc<Stats>, plan: &Plan, json: bool, quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let observer = Arc::new(Shown {
            json,
            bars: bars.clone(),
            stdout: Mutex::new(true),
        });
        let ticker = match &bars {
            Some(bars) => tokio::spawn(draw(stats, bars, plan)),
            None if quiet => tokio::spawn(async {}),
            None => tokio::spawn(report(stats)),
        };
        Progress {
            observer,
            ticker,
            bars,
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer) as Arc<dyn Observer>
    }

    pub(crate) fn finish(self) {
        self.ticker.abort();
        if let Some(bars) = self.bars {
            // Nothing depends on the bars being wiped.
            let _ = bars.clear();
        }
    }
}

impl Observer for Shown {
    fn result(&self, line: &Line) {
        if self.json {
            let mut open = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
            if *open && let Ok(text) = serde_json::to_string(line) {
                use std::io::Write as _;
                *open = writeln!(std::io::stdout(), "{text}").is_ok();
            }
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
fn draw(stats: Arc<Stats>, bars: &MultiProgress, plan: &Plan) -> impl Future<Output = ()> + Send + use<> {
    let style = ProgressStyle::with_template("{prefix:<10} {bar:30} {pos:>6}/{len:<6} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let width = plan.providers.keys().map(String::len).max().unwrap_or(0);
    let lines: Vec<_> = stats
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
            let accounts = stats.snapshot();
            for (name, bar) in &lines {
                if let Some(account) = accounts.get(name) {
                    bar.set_position(account.reported());
                    bar.set_message(message(account, stats.elapsed()));
                }
            }
            tokio::time::sleep(REDRAW_EVERY).await;
        }
    }
}

fn message(account: &Account, elapsed: Duration) -> String {
    let mut text = String::new();
    let failed = account.count(Status::Failed) + account.count(Status::Unknown);
    if failed > 0 {
        let _ = write!(text, "{failed} failed  ");
    }
    let done = account.count(Status::Done);
    let seconds = elapsed.as_secs_f64();
    if done > 0 && seconds > 1.0 {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let per_minute = done as f64 * 60.0 / seconds;
        let _ = write!(text, "{per_minute:.0}/min  ");
        #[expect(clippy::cast_precision_loss, reason = "shown in whole seconds")]
        let left = account.left() as f64 * 60.0 / per_minute;
        if account.left() > 0 {
            let _ = write!(text, "{left:.0} s left  ");
        }
    }
    let spent = account.total();
    if spent.micros() > 0 {
        let _ = write!(text, "{spent} USD");
    }
    text
}

/// A line of totals now and then.
async fn report(stats: Arc<Stats>) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        for (name, account) in stats.snapshot() {
            say!(
                "{name}: {} of {}  {}",
                account.reported(),
                account.asked,
                message(&account, stats.elapsed())
            );
        }
    }
}
