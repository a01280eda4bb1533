//! Rows that were handed over in remote batches, and the equal rows that wait for them.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Mutex;

use media_core::{RequestHash, Result};

use crate::book::Wish;
use crate::ledger::Reader;
use crate::list::JobSpec;
use media_core::sync::lock;

/// What one lane has handed over.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    hasher: RandomState,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The hash of each row's id, so that any number may be handed over. The ledger knows which batch each is in.
    rows: HashSet<u64>,
    /// Those of them that the list has changed since.
    changed: HashSet<u64>,
    /// The row that has handed over a purchase which others share.
    owners: HashMap<RequestHash, String>,
    /// The rows that wait for what another one has handed over, by its id.
    equals: HashMap<String, Vec<Wish>>,
}

/// A row that was handed over, and those that share its purchase.
pub(crate) struct Handed {
    pub(crate) spec: JobSpec,
    /// The list asks for something else by now.
    pub(crate) is_changed: bool,
    pub(crate) equals: Vec<Wish>,
}

impl HandedOver {
    /// Notes a row that was handed over, and the purchase where others share it.
    /// `is_changed`: the list asks for something else by now.
    pub(crate) fn note(&self, id: &str, equal: Option<RequestHash>, is_changed: bool) {
        let mut inner = lock(&self.inner);
        let row = self.hasher.hash_one(id);
        inner.rows.insert(row);
        if is_changed {
            inner.changed.insert(row);
        }
        if let Some(equal) = equal {
            inner.owners.entry(equal).or_insert_with(|| id.to_owned());
        }
    }

    /// Lets a row wait for the one that has handed its purchase over; gives it back where there is none.
    pub(crate) fn join(&self, equal: RequestHash, wish: Wish) -> Option<Wish> {
        let mut inner = lock(&self.inner);
        let Some(owner) = inner.owners.get(&equal).cloned() else {
            return Some(wish);
        };
        inner.equals.entry(owner).or_default().push(wish);
        None
    }

    /// Lets rows wait for what this row has handed over.
    pub(crate) fn wait_for(&self, owner: &str, wishes: Vec<Wish>) {
        if !wishes.is_empty() {
            lock(&self.inner)
                .equals
                .entry(owner.to_owned())
                .or_default()
                .extend(wishes);
        }
    }

    /// Whether nothing was handed over that nobody has had since.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.inner).rows.is_empty()
    }

    /// Whether a batch holds a row of this lane.
    pub(crate) fn has_any(&self, reader: &Reader, batch: &str, provider: &str) -> Result<bool> {
        let jobs = reader.jobs_in_batch(batch, provider)?;
        let inner = lock(&self.inner);
        Ok(jobs
            .iter()
            .any(|job| inner.rows.contains(&self.hasher.hash_one(job))))
    }

    /// The rows of a batch. From now on they are the caller's.
    pub(crate) fn take(&self, reader: &Reader, batch: &str, provider: &str) -> Result<Vec<Handed>> {
        let mut handed = Vec::new();
        for id in reader.jobs_in_batch(batch, provider)? {
            let row = self.hasher.hash_one(&id);
            if !lock(&self.inner).rows.contains(&row) {
                continue;
            }
            let Some(entry) = reader.job(&id)? else { continue };
            let spec = reader.last_sent(&entry)?;
            let mut inner = lock(&self.inner);
            // Another of its lanes may have taken it meanwhile.
            if inner.rows.remove(&row) {
                handed.push(Handed {
                    spec,
                    is_changed: inner.changed.remove(&row),
                    equals: inner.equals.remove(&id).unwrap_or_default(),
                });
            }
        }
        Ok(handed)
    }
}
