//! The simulator's own clock: real time plus whatever a test has fast-forwarded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, moving with real time from a start that the scenario may set.
#[derive(Debug)]
pub(crate) struct SimClock {
    started: Instant,
    start_ms: u64,
    ahead_ms: AtomicU64,
}

impl SimClock {
    pub(crate) fn new(start_ms: Option<u64>) -> Self {
        let real = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64)
        };
        Self {
            started: Instant::now(),
            start_ms: start_ms.unwrap_or_else(real),
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// Now, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.start_ms + self.since_start_ms()
    }

    /// Milliseconds since the simulator started, fast-forwards included.
    pub(crate) fn since_start_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + self.ahead_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self) {
        self.ahead_ms.store(0, Ordering::Relaxed);
    }
}
