//! Limits of one account: how many at once, how many per minute, how many per day.

mod accounts;
mod gauge;
mod headers;
mod pacer;
mod places;
mod quota;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::accounts::Accounts;
pub(crate) use self::headers::rate_reports;
pub use self::headers::{RateReport, parse_duration, retry_after};
pub use self::pacer::{Grant, Pacer, Waiting, Window};
pub(crate) use self::places::Places;
pub(crate) use self::quota::HoldSlot;
pub use self::quota::{Clock, Day, DayUse, Hold, MemoryQuota, QuotaKey, QuotaStore, SystemClock};

use crate::error::{Error, ErrorKind, Result};
use crate::settings::{GroupLimits, Limits};
use crate::sync::lock;

/// What one send takes from each bucket: `requests: 1, images: 1, tokens: 420`.
///
/// `requests` is always counted, as 1, whether named or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Units(BTreeMap<String, u64>);

impl Units {
    /// The same with `amount` of `bucket`.
    #[must_use]
    pub fn with(mut self, bucket: impl Into<String>, amount: u64) -> Units {
        self.0.insert(bucket.into(), amount);
        self
    }

    /// How much of `bucket` one send takes.
    #[must_use]
    pub fn of(&self, bucket: &str) -> u64 {
        self.0
            .get(bucket)
            .copied()
            .unwrap_or(u64::from(bucket == "requests"))
    }
}

/// What a limit did to a run, for its summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowed {
    /// The group: `image`, `speech`, ...
    pub group: String,
    /// The bucket: `requests`, `images`, ...
    pub bucket: String,
    /// The configured ceiling that applied.
    pub configured: u64,
    /// What the service reported as its own limit, when it did.
    pub reported: Option<u64>,
    /// Time spent waiting for it, summed over all waiters that stood first in line.
    pub waited: Duration,
}

/// What a day allows, at a moment of it.
#[derive(Clone, Debug)]
pub(crate) struct Today {
    limit: u64,
    day: Day,
    now: jiff::Timestamp,
}

/// For this long after this machine's clock begins a day, the service may still be in the day before.
const CLOCKS_DIFFER: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// All limits of one account at one service, whichever instances share it.
pub(crate) struct Limiter {
    account: String,
    calls: Places,
    downloads: Places,
    configured: Mutex<BTreeMap<String, GroupLimits>>,
    groups: Mutex<BTreeMap<String, Arc<Pacer>>>,
    quota: Arc<dyn QuotaStore>,
    clock: Arc<dyn Clock>,
    /// The days that the service itself has said to be spent, by group.
    ended: Mutex<BTreeMap<String, Day>>,
}

impl Limiter {
    pub(crate) fn new(
        account: String,
        limits: &Limits,
        quota: Arc<dyn QuotaStore>,
        clock: Arc<dyn Clock>,
    ) -> Limiter {
        Limiter {
            account,
            calls: Places::new(limits.concurrency.get()),
            downloads: Places::new(limits.downloads_at_once()),
            configured: Mutex::new(limits.groups.clone()),
            groups: Mutex::new(BTreeMap::new()),
            quota,
            clock,
            ended: Mutex::default(),
        }
    }

    /// Another instance uses the account: of two limits the lower one counts.
    fn tighten(&self, limits: &Limits) {
        self.calls.lower_to(limits.concurrency.get());
        self.downloads.lower_to(limits.downloads_at_once());
        for (group, theirs) in &limits.groups {
            let mut configured = lock(&self.configured);
            let ours = configured.entry(group.clone()).or_insert_with(|| theirs.clone());
            ours.tighten(theirs);
            drop(configured);
            if let Some(pacer) = lock(&self.groups).get(group) {
                pacer.tighten(theirs.windows(), theirs.raise_to_reported);
            }
        }
    }

    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// Calls on the wire.
    pub(crate) fn in_flight(&self) -> usize {
        self.calls.taken()
    }

    /// What senders wait for, by group.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let groups = lock(&self.groups);
        groups.values().filter_map(|pacer| pacer.waiting()).collect()
    }

    /// The pacer of a group; groups without configured limits get one that only learns and pauses.
    pub(crate) fn pacer(&self, group: &str) -> Arc<Pacer> {
        let mut groups = lock(&self.groups);
        if let Some(pacer) = groups.get(group) {
            return Arc::clone(pacer);
        }
        let pacer = Arc::new(match lock(&self.configured).get(group) {
            Some(limits) => Pacer::new(group, limits.windows(), limits.raise_to_reported),
            None => Pacer::new(group, Vec::new(), true),
        });
        groups.insert(group.to_owned(), Arc::clone(&pacer));
        pacer
    }

    /// The places among the calls, or the downloads, in flight.
    pub(crate) fn places(&self, download: bool) -> &Places {
        if download { &self.downloads } else { &self.calls }
    }

    /// What this day allows, for a group whose calls are counted by the day.
    pub(crate) fn day(&self, group: &str) -> Option<Today> {
        let configured = lock(&self.configured);
        let limits = configured.get(group)?;
        let limit = limits.per_day("requests")?;
        let now = self.clock.now();
        let day = limits.day_starts.day_of(now);
        Some(Today { limit, day, now })
    }

    /// How many counted calls of a group were used today, by anybody who shares the store.
    pub(crate) async fn used_today(&self, group: &str) -> Result<u64> {
        match self.day(group) {
            Some(Today { day, .. }) => Ok(self.quota.used(&self.quota_key(group), &day).await?.units),
            None => Ok(0),
        }
    }

    fn quota_key(&self, group: &str) -> QuotaKey {
        QuotaKey {
            account: self.account.clone(),
            bucket: format!("{group}.requests"),
        }
    }

    /// The error of `calls` that are not left today.
    fn spent(&self, group: &str, limit: u64, day: &Day, calls: u32) -> Error {
        let message = if calls > 1 {
            format!(
                "fewer than {calls} of the {limit} {group} calls of today are left, until {}",
                day.end
            )
        } else {
            format!("the {limit} {group} calls of today are used up until {}", day.end)
        };
        Error::new(ErrorKind::QuotaExhausted, message)
            .until(Some(day.end))
            .not_billed()
            .hint(format!("run the same command after {}", day.end))
    }

    /// Sets `calls` counted calls aside, so that a job is never begun that could not be ended today.
    pub(crate) async fn hold(&self, group: &str, calls: u32) -> Result<Option<Hold>> {
        let Some(Today { limit, day, .. }) = self.day(group) else {
            return Ok(None);
        };
        if u64::from(calls) > limit {
            let message =
                format!("it needs {calls} {group} calls, and the configuration allows {limit} a day");
            return Err(Error::config(message).hint("raise requests_per_day in its provider's configuration"));
        }
        let key = self.quota_key(group);
        if self.quota.take(&key, &day, limit, u64::from(calls)).await? {
            return Ok(Some(Hold::new(key, day, calls)));
        }
        Err(self.spent(group, limit, &day, calls))
    }

    /// Gives back what a job set aside and did not spend.
    pub(crate) async fn release(&self, hold: Option<Hold>) {
        if let Some(hold) = hold
            && hold.left() > 0
            && let Err(error) = self
                .quota
                .give_back(hold.key(), hold.day(), u64::from(hold.left()))
                .await
        {
            // Too few calls are then left today, never too many.
            tracing::warn!(%error, "unspent calls could not be given back to the daily quota");
        }
    }

    /// Counts one call, by what was set aside for it or beside that.
    pub(crate) async fn count_call(&self, group: &str, holds: &[HoldSlot]) -> Result<()> {
        let Some(Today { limit, day, .. }) = self.day(group) else {
            return Ok(());
        };
        // Then what was set aside cannot be had either.
        let is_ended = lock(&self.ended).get(group) == Some(&day);
        if is_ended {
            return Err(self.spent(group, limit, &day, 1));
        }
        if holds.iter().any(|hold| hold.spend_one(&day)) {
            return Ok(());
        }
        if self.quota.take(&self.quota_key(group), &day, limit, 1).await? {
            return Ok(());
        }
        Err(self.spent(group, limit, &day, 1))
    }

    /// The service said to a call of this day that it is spent, whatever we counted. Gives the time when calls are allowed
    /// again.
    pub(crate) async fn mark_spent(&self, group: &str, today: Today) -> Option<jiff::Timestamp> {
        let Today { limit, day, now } = today;
        let in_step = day.start.checked_add(CLOCKS_DIFFER).ok()?;
        if now < in_step {
            // The service may mean the day before, which by its clock is not over yet.
            return Some(in_step);
        }
        if let Err(error) = self.quota.exhaust(&self.quota_key(group), &day, limit).await {
            tracing::warn!(%error, "the spent daily quota could not be written down");
        }
        let end = day.end;
        lock(&self.ended).insert(group.to_owned(), day);
        Some(end)
    }

    /// Which configured ceilings made senders wait.
    pub(crate) fn slowed(&self) -> Vec<Slowed> {
        let groups = lock(&self.groups);
        groups.values().flat_map(|pacer| pacer.slowed()).collect()
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("configured", &self.configured)
            .finish_non_exhaustive()
    }
}
