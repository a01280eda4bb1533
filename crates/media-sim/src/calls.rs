//! The log of API requests: what came, and what it was answered.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::state::lock;

/// How many calls are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

/// One API request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Call {
    /// Whose API was called: "openai", "openai-compat", "runware" or "forvo".
    pub provider: String,
    /// The HTTP method.
    pub method: String,
    /// The path, with a key in it replaced.
    pub path: String,
    /// The status of the answer; 0 while there is none, and for ever when the connection was cut before one.
    pub status: u16,
    /// Milliseconds after the start of the simulator.
    pub at_ms: u64,
}

#[derive(Debug, Default)]
struct Log {
    first: u64,
    calls: VecDeque<Call>,
}

/// A bounded ring of calls.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Log>);

impl Calls {
    /// Notes the arrival; the number is for [`Calls::answered`].
    pub(crate) fn arrived(&self, call: Call) -> u64 {
        let mut log = lock(&self.0);
        if log.calls.len() >= REMEMBERED {
            log.calls.pop_front();
            log.first += 1;
        }
        log.calls.push_back(call);
        log.first + log.calls.len() as u64 - 1
    }

    /// Notes the answer of a call that may have been forgotten since.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        let mut log = lock(&self.0);
        let Some(index) = number.checked_sub(log.first) else {
            return;
        };
        if let Some(call) = log.calls.get_mut(index as usize) {
            call.status = status;
        }
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        lock(&self.0).calls.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        let mut log = lock(&self.0);
        log.first += log.calls.len() as u64;
        log.calls.clear();
    }
}
