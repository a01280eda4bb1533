//! Counted allowances per day, kept where every run on the account can see them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Result;
use crate::sync::lock;

/// The wall clock. Only days are told by it; pacing runs on tokio's clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// This moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// One day of a service, which need not start at midnight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Day {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment of the next.
    pub end: Timestamp,
}

/// Which allowance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaKey {
    /// The account: a salted hash of the key, so that runs with the same key share it and nobody can read the key; or the name
    /// of the instance, where there is no key.
    pub account: String,
    /// What is counted.
    pub bucket: String,
}

/// Counts what was used of daily allowances.
#[async_trait]
pub trait QuotaStore: fmt::Debug + Send + Sync {
    /// Takes `units` if that many are left of `limit`; says whether it did. Atomic over all users of the store.
    ///
    /// # Errors
    /// The store failed; then nothing is sent.
    async fn take(&self, key: &QuotaKey, day: &Day, limit: u64, units: u64) -> Result<bool>;

    /// Gives back units that were taken and not used. A day that the service called spent stays spent.
    ///
    /// # Errors
    /// The store failed.
    async fn give_back(&self, key: &QuotaKey, day: &Day, units: u64) -> Result<()>;

    /// The service says that the day's allowance is spent.
    ///
    /// # Errors
    /// The store failed.
    async fn exhaust(&self, key: &QuotaKey, day: &Day, limit: u64) -> Result<()>;

    /// What was used of this day.
    ///
    /// # Errors
    /// The store failed.
    async fn used(&self, key: &QuotaKey, day: &Day) -> Result<DayUse>;
}

/// What was used of one allowance on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayUse {
    /// Units that were taken.
    pub units: u64,
    /// The service said that the day is spent: what is given back afterwards does not open it again.
    pub is_spent: bool,
}

impl DayUse {
    /// See [`QuotaStore::take`].
    pub fn take(&mut self, limit: u64, units: u64) -> bool {
        let fits = !self.is_spent && self.units.saturating_add(units) <= limit;
        if fits {
            self.units += units;
        }
        fits
    }

    /// See [`QuotaStore::give_back`].
    pub fn give_back(&mut self, units: u64) {
        if !self.is_spent {
            self.units = self.units.saturating_sub(units);
        }
    }

    /// See [`QuotaStore::exhaust`].
    pub fn exhaust(&mut self, limit: u64) {
        self.units = limit.max(self.units);
        self.is_spent = true;
    }
}

/// A quota store for one process, forgotten at its end.
#[derive(Debug, Default)]
pub struct MemoryQuota(Mutex<HashMap<(QuotaKey, Day), DayUse>>);

impl MemoryQuota {
    fn change<T>(&self, key: &QuotaKey, day: &Day, change: impl FnOnce(&mut DayUse) -> T) -> T {
        let mut days = lock(&self.0);
        change(days.entry((key.clone(), day.clone())).or_default())
    }
}

#[async_trait]
impl QuotaStore for MemoryQuota {
    async fn take(&self, key: &QuotaKey, day: &Day, limit: u64, units: u64) -> Result<bool> {
        Ok(self.change(key, day, |day| day.take(limit, units)))
    }

    async fn give_back(&self, key: &QuotaKey, day: &Day, units: u64) -> Result<()> {
        self.change(key, day, |day| day.give_back(units));
        Ok(())
    }

    async fn exhaust(&self, key: &QuotaKey, day: &Day, limit: u64) -> Result<()> {
        self.change(key, day, |day| day.exhaust(limit));
        Ok(())
    }

    async fn used(&self, key: &QuotaKey, day: &Day) -> Result<DayUse> {
        Ok(self.change(key, day, |day| *day))
    }
}

/// Where the calls set aside for one task are kept: its attempts and its download spend from the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct HoldSlot(Arc<Mutex<Option<Hold>>>);

impl HoldSlot {
    fn slot(&self) -> MutexGuard<'_, Option<Hold>> {
        lock(&self.0)
    }

    /// Sets calls aside, in place of those that were; gives back what was left of them.
    pub(crate) fn put(&self, hold: Option<Hold>) -> Option<Hold> {
        std::mem::replace(&mut *self.slot(), hold)
    }

    /// Whether calls are set aside and not made yet.
    pub(crate) fn has_calls(&self) -> bool {
        self.slot().as_ref().is_some_and(|hold| hold.left() > 0)
    }

    /// Takes one counted call from what was set aside for `today`; false when nothing is left of it.
    pub(crate) fn spend_one(&self, today: &Day) -> bool {
        self.slot().as_mut().is_some_and(|hold| hold.spend_one(today))
    }
}

/// Calls set aside for one job.
#[derive(Debug)]
pub struct Hold {
    key: QuotaKey,
    day: Day,
    left: u32,
}

impl Hold {
    pub(super) fn new(key: QuotaKey, day: Day, calls: u32) -> Hold {
        Hold {
            key,
            day,
            left: calls,
        }
    }

    pub(super) fn key(&self) -> &QuotaKey {
        &self.key
    }

    pub(super) fn day(&self) -> &Day {
        &self.day
    }

    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Uses one of the calls, if one is left. What was set aside yesterday is no call of today.
    fn spend_one(&mut self, today: &Day) -> bool {
        if self.left == 0 || self.day != *today {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        true
    }
}
