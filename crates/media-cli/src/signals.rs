//! Ctrl-C and, where there are such things, SIGTERM and SIGHUP (the terminal was closed).

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::exit::Exit;

/// Signals that several listen to in turn: what comes between two of them is there for the next.
pub(crate) type SharedSignals = Arc<Mutex<Signals>>;

/// Signals that ask the program to end. Listened to from the start and without a gap, so that no second one is missed
/// while the first is handled.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` where it does not end programs: under `nohup`, or where nobody can tell whether it is ignored.
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// `None` where signals cannot be listened to; they then end the program as usual.
    pub(crate) fn new() -> Option<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Some(Signals {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            hang_up: (!ignores_hang_up())
                .then(|| signal(SignalKind::hangup()).ok())
                .flatten(),
        })
    }

    /// How the next signal ends the program.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
            () = received(&mut self.hang_up) => Exit::Terminated,
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether `nohup` started it, which wants it to live on. Listening would undo that. Told by Linux alone; elsewhere a
/// closed terminal ends the program as usual, and the next run goes on.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    // SIGHUP is the first signal of the mask.
    ignored.is_none_or(|mask| mask & 1 != 0)
}

/// Signals that ask the program to end.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> Option<Signals> {
        Some(Signals)
    }

    pub(crate) async fn next(&mut self) -> Exit {
        let _ = tokio::signal::ctrl_c().await;
        Exit::Interrupted
    }
}

impl Signals {
    /// For several that listen in turn.
    pub(crate) fn shared() -> Option<SharedSignals> {
        Signals::new().map(|signals| Arc::new(Mutex::new(signals)))
    }
}
