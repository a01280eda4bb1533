//! Everything the running simulator remembers, shared by all connections.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::bill::{Bill, Ledger, Quota};
use crate::calls::Calls;
use crate::clock::SimClock;
use crate::fault::Armory;
use crate::media::Studio;
use crate::scenario::Scenario;
use crate::{forvo, openai, runware};

/// Locks, and does not care whether another thread panicked while it held the lock: a test server goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) scenario: Scenario,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    pub(crate) clock: SimClock,
    pub(crate) ledger: Ledger,
    pub(crate) calls: Calls,
    pub(crate) faults: Armory,
    pub(crate) studio: Studio,
    pub(crate) openai: openai::State,
    pub(crate) runware: runware::State,
    pub(crate) forvo: forvo::State,
}

impl Shared {
    pub(crate) fn new(scenario: Scenario, url: String) -> Self {
        let clock = SimClock::new(scenario.clock.start_unix_ms);
        let state = Self {
            url,
            clock,
            ledger: Ledger::default(),
            calls: Calls::default(),
            faults: Armory::default(),
            studio: Studio::new(&scenario.media),
            openai: openai::State::default(),
            runware: runware::State::new(&scenario.runware),
            forvo: forvo::State::new(&scenario.forvo),
            scenario,
        };
        state.arm_scenario();
        state
    }

    fn arm_scenario(&self) {
        for fault in &self.scenario.faults {
            self.faults.arm(fault.clone());
        }
    }

    pub(crate) fn bill(&self) -> Bill {
        let today = forvo::day_of(self.clock.now_ms());
        let quotas = self.forvo.quotas(&self.scenario.forvo, today);
        let quotas = quotas.into_iter().map(|(key, used, limit)| Quota {
            provider: "forvo".to_owned(),
            key,
            used,
            limit,
        });
        self.ledger.bill(quotas.collect())
    }

    /// Back to the state after the start; running requests keep running.
    pub(crate) fn reset(&self) {
        self.ledger.clear();
        self.calls.clear();
        self.faults.clear();
        self.clock.reset();
        self.openai.clear();
        self.runware.clear(&self.scenario.runware);
        self.forvo.clear();
        self.arm_scenario();
    }

    /// What a client lays over its configuration of a provider of this type.
    pub(crate) fn overlay(&self, provider_type: &str) -> Option<serde_json::Value> {
        let url = &self.url;
        match provider_type {
            "openai" => {
                let limits = &self.scenario.openai.limits;
                Some(json!({"base_url": format!("{url}/openai/v1"), "limits": {
                    "concurrency": limits.concurrency,
                    "image": {
                        "requests_per_minute": limits.image.requests_per_minute,
                        "images_per_minute": limits.image.images_per_minute,
                        "tokens_per_minute": limits.image.tokens_per_minute,
                    },
                    "speech": {
                        "requests_per_minute": limits.speech.requests_per_minute,
                        "tokens_per_minute": limits.speech.tokens_per_minute,
                    },
                }}))
            }
            "runware" => Some(json!({
                "base_url": format!("{url}/runware/v1"),
                "limits": {"concurrency": self.scenario.runware.limits.concurrency},
                "delivery": {"first_poll": "200ms", "max_poll": "1s"},
            })),
            "forvo" => {
                let limits = &self.scenario.forvo.limits;
                let per_day = self.scenario.forvo.keys.first().map(|key| key.requests_per_day);
                Some(json!({"base_url": format!("{url}/forvo"), "limits": {
                    "concurrency": limits.concurrency,
                    "audio": {"requests_per_minute": limits.requests_per_minute, "requests_per_day": per_day},
                }}))
            }
            _ => None,
        }
    }
}
