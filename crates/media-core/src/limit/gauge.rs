//! One ceiling of a limit group: what was sent in its last window, and when the next send fits.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result, Retry};

/// How far a send may catch up with its schedule. Timers are late by about a millisecond each; without this a limit of
/// 6,000 per minute would lose a tenth of itself.
const CATCH_UP: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Gauge {
    pub(super) bucket: String,
    pub(super) length: Duration,
    /// The ceiling of the configuration; `None` for a bucket that only the service has spoken of.
    pub(super) configured: Option<u64>,
    pub(super) reported: Option<u64>,
    /// A higher limit that the service reports replaces ours.
    pub(super) raises: bool,
    log: VecDeque<Entry>,
    pub(super) in_log: u64,
    pub(super) next_free: Option<Instant>,
    /// The service said that nothing is left until then.
    pub(super) empty_until: Option<Instant>,
    pub(super) waited: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    amount: u64,
    id: u64,
}

impl Gauge {
    pub(super) fn new(bucket: String, length: Duration, configured: Option<u64>, raises: bool) -> Gauge {
        Gauge {
            bucket,
            // The service measures arrivals, we departures: a hundredth more keeps jitter from making one too many.
            length: length + length / 100,
            configured,
            reported: None,
            raises,
            log: VecDeque::new(),
            in_log: 0,
            next_free: None,
            empty_until: None,
            waited: Duration::ZERO,
        }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        match (self.configured, self.reported) {
            (Some(_), Some(theirs)) if self.raises => Some(theirs),
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        }
    }

    /// The first moment from `now` on at which `amount` may pass.
    pub(super) fn earliest(&mut self, now: Instant, amount: u64) -> Result<Instant> {
        let Some(limit) = self.limit() else {
            return Ok(now);
        };
        if amount > limit {
            let is_ours = self.configured == Some(limit);
            let hint = if is_ours {
                "raise the limit in the provider's configuration if the account allows more"
            } else {
                "the service itself says so: ask it to allow the account more, or make the request smaller"
            };
            // Not what is wrong with the request: with another limit it is sent.
            return Err(Error::new(
                ErrorKind::RateLimited,
                format!(
                    "one request takes {amount} {}, but only {limit} are allowed in {}",
                    self.bucket,
                    // Gauges are a hundredth longer than the limit's time.
                    humantime::format_duration(self.length * 100 / 101)
                ),
            )
            .not_billed()
            .with_retry(Retry::Never)
            .hint(hint));
        }
        while let Some(oldest) = self.log.front()
            && oldest.at + self.length <= now
        {
            self.in_log -= oldest.amount;
            self.log.pop_front();
        }
        let mut at = [self.next_free, self.empty_until]
            .into_iter()
            .flatten()
            .fold(now, Instant::max);
        let mut over = (self.in_log + amount).saturating_sub(limit);
        for entry in &self.log {
            if over == 0 {
                break;
            }
            at = at.max(entry.at + self.length);
            over = over.saturating_sub(entry.amount);
        }
        Ok(at)
    }

    pub(super) fn commit(&mut self, now: Instant, amount: u64, id: u64) {
        let Some(limit) = self.limit().filter(|limit| *limit > 0) else {
            return;
        };
        if amount == 0 {
            return;
        }
        self.log.push_back(Entry { at: now, amount, id });
        self.in_log += amount;
        let spacing = self.length.mul_f64(ratio(amount, limit));
        let schedule = self
            .next_free
            .map_or(now, |free| free.max(now.checked_sub(CATCH_UP).unwrap_or(now)));
        self.next_free = Some(schedule.min(now) + spacing);
    }

    pub(super) fn give_back(&mut self, id: u64) {
        if let Some(place) = self.log.iter().rposition(|entry| entry.id == id)
            && let Some(entry) = self.log.remove(place)
        {
            self.in_log -= entry.amount;
            if place == self.log.len() {
                // It was the newest: the next in line may have its moment.
                self.next_free = Some(entry.at);
            }
        }
    }
}

fn ratio(amount: u64, limit: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    let ratio = amount as f64 / limit as f64;
    ratio
}
