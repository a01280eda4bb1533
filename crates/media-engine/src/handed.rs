//! Rows that were handed over in remote batches, and which batch each of them waits for. Only hashes of their ids are kept,
//! some 20 bytes a row, so that a run may hand over any number.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Mutex;

use media_core::Result;

use crate::ledger::{InBatch, Reader};
use crate::sync::lock;

/// What one lane has handed over.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    hasher: RandomState,
    /// For each row, the row whose purchase it waits for: itself, or an equal one.
    rows: Mutex<HashMap<u64, u64>>,
}

/// A batch that rows wait for.
#[derive(Clone, Debug)]
pub(crate) struct AwaitedBatch {
    /// Its key, perhaps with the service's id.
    pub(crate) key: String,
    /// When it was sent, in milliseconds since 1970.
    pub(crate) sent_ms: Option<i64>,
}

/// What was handed over, by batch.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) batches: Vec<AwaitedBatch>,
    hasher: RandomState,
    /// The number of each row's batch.
    rows: Mutex<HashMap<u64, u32>>,
}

impl HandedOver {
    /// Notes a row that was handed over.
    pub(crate) fn note(&self, id: &str) {
        self.note_equal(id, id);
    }

    /// Notes a row that waits for what an equal one has handed over.
    pub(crate) fn note_equal(&self, id: &str, owner: &str) {
        let (row, owner) = (self.hasher.hash_one(id), self.hasher.hash_one(owner));
        lock(&self.rows).insert(row, owner);
    }

    /// Looks up in the ledger which batch each row waits for. What the ledger finds in none is in one of its own, the last.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn by_batch(&self, reader: &Reader, provider: &str) -> Result<Awaited> {
        let rows = std::mem::take(&mut *lock(&self.rows));
        let mut batches: Vec<AwaitedBatch> = Vec::new();
        let mut numbers = HashMap::new();
        let mut batch_of = HashMap::new();
        reader.each_in_batch(provider, |InBatch { job, key, sent_ms }| {
            let job = self.hasher.hash_one(job);
            if rows.contains_key(&job) {
                let number = *numbers.entry(key).or_insert_with_key(|key| {
                    batches.push(AwaitedBatch {
                        key: key.clone(),
                        sent_ms,
                    });
                    batches.len() - 1
                });
                batch_of.insert(job, number);
            }
        })?;
        let rest = batches.len();
        let number = |owner| u32::try_from(batch_of.get(&owner).copied().unwrap_or(rest)).unwrap_or(u32::MAX);
        Ok(Awaited {
            rows: Mutex::new(
                rows.into_iter()
                    .map(|(row, owner)| (row, number(owner)))
                    .collect(),
            ),
            hasher: self.hasher.clone(),
            batches,
        })
    }
}

impl Awaited {
    /// Whether a row waits for this batch. If so, it is the caller's from now on.
    pub(crate) fn take(&self, id: &str, batch: usize) -> bool {
        let row = self.hasher.hash_one(id);
        let mut rows = lock(&self.rows);
        let is_in_it = rows
            .get(&row)
            .is_some_and(|number| usize::try_from(*number) == Ok(batch));
        is_in_it && rows.remove(&row).is_some()
    }

    /// Whether a row waits for any batch. If so, it is the caller's from now on.
    pub(crate) fn take_any(&self, id: &str) -> bool {
        lock(&self.rows).remove(&self.hasher.hash_one(id)).is_some()
    }

    /// Whether no row waits any more.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.rows).is_empty()
    }
}
