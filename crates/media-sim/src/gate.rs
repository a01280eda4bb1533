//! Counting what is in work at the same time, per key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::state::lock;

/// Counts per key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<HashMap<usize, usize>>>);

/// One that is inside; leaves when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    key: usize,
}

impl Gate {
    /// Lets one more in, unless `limit` are inside.
    pub(crate) fn enter(&self, key: usize, limit: usize) -> Option<Pass> {
        let mut inside = lock(&self.0);
        let count = inside.entry(key).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Pass {
            gate: self.clone(),
            key,
        })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(count) = lock(&self.gate.0).get_mut(&self.key) {
            *count = count.saturating_sub(1);
        }
    }
}
