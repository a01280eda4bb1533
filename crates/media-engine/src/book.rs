//! What one lane has under way: its orders, and the rows that wait for an equal one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use media_core::{Attempt, Provenance, RequestHash};

use crate::ledger::Planned;
use crate::line::{Line, Status, Subject};

/// A row that wants a file.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) subject: Subject,
    /// The recipe's name for it, or its kind.
    pub(crate) output: String,
    pub(crate) planned: Planned,
    /// What it was sent as is not what is asked for by now: this is how its file will differ.
    pub(crate) differs: Option<Status>,
}

impl Wish {
    /// It as a job of its own, no longer another take of what was made before.
    pub(crate) fn as_own(&self) -> Planned {
        Planned {
            is_redo: false,
            ..self.planned.clone()
        }
    }

    pub(crate) fn attempt(&self, number: u32) -> Attempt {
        Attempt {
            job: self.subject.id.clone(),
            request: self.planned.hash,
            take: self.planned.take,
            number,
        }
    }
}

/// A row whose order is under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) wish: Wish,
    /// It was made before, and is only brought back.
    pub(crate) is_return: bool,
    /// An earlier run told what it cost.
    pub(crate) is_told: bool,
    /// It was sent with another key than today's.
    pub(crate) is_foreign: bool,
    /// The purchase, when other rows share it.
    pub(crate) equal: Option<RequestHash>,
}

/// The orders of one lane that have no result yet.
#[derive(Debug, Default)]
pub(crate) struct Book {
    orders: HashMap<u64, Pending>,
    equals: HashMap<RequestHash, Equal>,
}

/// A purchase that several rows share: made for the first, told to the others.
#[derive(Debug)]
enum Equal {
    Making { path: String, waiting: Vec<Wish> },
    Made(Box<Told>),
}

/// What came of a purchase.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) line: Line,
    pub(crate) provenance: Provenance,
}

impl Equal {
    /// The rows that wait for it.
    fn waiting(self) -> Vec<Wish> {
        match self {
            Equal::Making { waiting, .. } => waiting,
            Equal::Made(_) => Vec::new(),
        }
    }
}

impl Book {
    /// Notes an order.
    pub(crate) fn begin(&mut self, tag: u64, mut pending: Pending) {
        match pending.equal.map(|key| self.equals.entry(key)) {
            Some(Entry::Vacant(equal)) => {
                let path = pending.wish.subject.path.clone();
                let waiting = Vec::new();
                equal.insert(Equal::Making { path, waiting });
            }
            // It has a purchase of its own, beside the one that the others share.
            Some(Entry::Occupied(_)) => pending.equal = None,
            None => {}
        }
        self.orders.insert(tag, pending);
    }

    /// Whether this run makes, or made, this file for an equal row.
    pub(crate) fn makes(&self, equal: RequestHash, file: &str) -> bool {
        match self.equals.get(&equal) {
            Some(Equal::Making { path, .. }) => path == file,
            Some(Equal::Made(told)) => told.line.path == file,
            None => false,
        }
    }

    /// Whether a row can wait for this purchase.
    pub(crate) fn is_making(&self, equal: RequestHash) -> bool {
        matches!(self.equals.get(&equal), Some(Equal::Making { .. }))
    }

    /// Lets a row wait for an equal one. Gives it back when there is none, or with the result when there is one.
    pub(crate) fn join(&mut self, equal: RequestHash, wish: Wish) -> Option<(Wish, Option<Box<Told>>)> {
        match self.equals.get_mut(&equal) {
            None => Some((wish, None)),
            Some(Equal::Making { waiting, .. }) => {
                waiting.push(wish);
                None
            }
            Some(Equal::Made(told)) => Some((wish, Some(told.clone()))),
        }
    }

    /// An order is for another book to see to; the rows that waited for it.
    pub(crate) fn pass_on(&mut self, order: &Pending) -> Vec<Wish> {
        let equal = order.equal.and_then(|key| self.equals.remove(&key));
        equal.map(Equal::waiting).unwrap_or_default()
    }

    /// The order of this tag, which is answered.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Pending> {
        self.orders.remove(&tag)
    }

    /// The rows that waited for this order.
    pub(crate) fn made(&mut self, order: &Pending, told: &Told) -> Vec<Wish> {
        let Some(equal) = order.equal.and_then(|key| self.equals.get_mut(&key)) else {
            return Vec::new();
        };
        std::mem::replace(equal, Equal::Made(Box::new(told.clone()))).waiting()
    }

    /// What never came to a result: orders, and rows that waited for one.
    pub(crate) fn left(self) -> (Vec<Pending>, Vec<Wish>) {
        let waiting = self.equals.into_values().flat_map(Equal::waiting);
        (self.orders.into_values().collect(), waiting.collect())
    }
}
