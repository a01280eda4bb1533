//! What Forvo counts: calls per key and day, lookups and recordings alike; and the pace.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::bucket::Bucket;
use crate::gate::Gate;
use crate::scenario::Forvo;
use crate::state::lock;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// The quota day: it begins at 22:00 UTC for everybody.
pub(crate) fn day_of(now_ms: u64) -> u64 {
    (now_ms + 2 * 3600 * 1000) / DAY_MS
}

#[derive(Debug)]
struct Meter {
    day: u64,
    used: u64,
}

/// What the simulated Forvo remembers.
#[derive(Debug)]
pub(crate) struct State {
    meters: Mutex<HashMap<usize, Meter>>,
    pace: Mutex<HashMap<usize, Bucket>>,
    pub(crate) busy: Gate,
    /// The words of recordings that were listed: faults are armed by word.
    words: Mutex<HashMap<u64, String>>,
    /// Goes into every token, so that links of another simulator are no good here.
    pub(crate) secret: u64,
}

impl State {
    pub(crate) fn new(scenario: &Forvo) -> Self {
        let secret = crate::hash::number(&[
            "forvo",
            &std::process::id().to_string(),
            &scenario.keys.len().to_string(),
        ]);
        Self {
            meters: Mutex::default(),
            pace: Mutex::default(),
            busy: Gate::default(),
            words: Mutex::default(),
            secret,
        }
    }

    pub(crate) fn clear(&self) {
        lock(&self.meters).clear();
        lock(&self.pace).clear();
        lock(&self.words).clear();
    }

    pub(crate) fn listed(&self, id: u64, word: &str) {
        lock(&self.words).entry(id).or_insert_with(|| word.to_owned());
    }

    pub(crate) fn word(&self, id: u64) -> String {
        lock(&self.words).get(&id).cloned().unwrap_or_default()
    }

    /// Counts a call; `false` when the quota is spent already.
    pub(crate) fn count(&self, scenario: &Forvo, key: usize, today: u64) -> bool {
        let Some(entry) = scenario.keys.get(key) else {
            return false;
        };
        let mut meters = lock(&self.meters);
        let meter = meters.entry(key).or_insert(Meter {
            day: today,
            used: entry.used,
        });
        if meter.day != today {
            *meter = Meter { day: today, used: 0 };
        }
        if meter.used >= entry.requests_per_day {
            return false;
        }
        meter.used += 1;
        true
    }

    /// Takes one call from the minute's bucket, or says how many milliseconds to wait.
    pub(crate) fn pace(&self, scenario: &Forvo, key: usize, now_ms: u64) -> Result<(), u64> {
        let mut buckets = lock(&self.pace);
        let bucket = buckets
            .entry(key)
            .or_insert_with(|| Bucket::full(scenario.limits.requests_per_minute, now_ms));
        match bucket.wait_ms(1, now_ms) {
            Some(0) => {
                bucket.take(1, now_ms);
                Ok(())
            }
            wait => Err(wait.unwrap_or(60_000)),
        }
    }

    /// Key number, calls used today, limit.
    pub(crate) fn quotas(&self, scenario: &Forvo, today: u64) -> Vec<(usize, u64, u64)> {
        let meters = lock(&self.meters);
        let used = |key: usize, first: u64| match meters.get(&key) {
            Some(meter) if meter.day == today => meter.used,
            Some(_) => 0,
            None => first,
        };
        let keys = scenario.keys.iter().enumerate();
        keys.map(|(key, entry)| (key, used(key, entry.used), entry.requests_per_day))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_turns_at_22_utc() {
        let midnight = 20_000 * DAY_MS;
        let at = |hour: u64, minute: u64| midnight + (hour * 60 + minute) * 60_000;
        assert_eq!(day_of(at(0, 0)), day_of(at(21, 59)));
        assert_eq!(day_of(at(21, 59)) + 1, day_of(at(22, 0)));
        assert_eq!(day_of(at(22, 0)), day_of(at(24, 0)));
    }

    #[test]
    fn a_spent_quota_comes_back_the_next_day() {
        let mut scenario = Forvo::default();
        scenario.keys[0].requests_per_day = 2;
        scenario.keys[0].used = 1;
        let state = State::new(&scenario);
        assert_eq!(state.quotas(&scenario, 5), [(0, 1, 2)]);
        assert!(state.count(&scenario, 0, 5));
        assert!(!state.count(&scenario, 0, 5));
        assert!(state.count(&scenario, 0, 6));
        assert_eq!(state.quotas(&scenario, 6), [(0, 1, 2)]);
    }
}
