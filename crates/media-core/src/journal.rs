//! Where the fate of every paid attempt is written down before and after it happens.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::error::Result;
use crate::key::{Attempt, AttemptKey};
use crate::provider::{Facts, Link};
use crate::result::Cost;

/// One step in the life of an attempt, in the order in which they happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is about to be sent: from here on it may have been billed.
    Sending {
        /// Which attempt it is.
        attempt: Attempt,
        /// The key of the remote batch that it is part of, where there is one.
        batch: Option<String>,
    },
    /// It was sent by a run of which nothing else is known any more: the service knows its key.
    Found {
        /// Which attempt it is.
        attempt: Attempt,
    },
    /// The service took on the remote batch that it was sent in.
    InBatch {
        /// By what the provider finds the batch from now on: its key and the service's own id.
        batch: String,
    },
    /// It is over, and nothing was billed.
    Refused,
    /// The service made it and said where it is.
    Linked {
        /// Which attempt it is; of a free one this is the first that is heard.
        attempt: Attempt,
        /// Where.
        link: Link,
        /// What it said beside.
        facts: Box<Facts>,
    },
    /// Its bytes are whole and safe on disk, not yet under their name.
    Have {
        /// Which attempt it is.
        attempt: Attempt,
        /// SHA-256 of the bytes, hexadecimal.
        sha256: String,
        /// Their length.
        bytes: u64,
        /// Where they are staged.
        staged: PathBuf,
        /// The path that they are for.
        target: PathBuf,
        /// What the service said of them.
        facts: Box<Facts>,
        /// What they cost, as far as anybody knows.
        cost: Option<Cost>,
    },
    /// The file stands at its path.
    Done,
}

/// Keeps the events of attempts. The engine's ledger is one; a library user without a ledger has [`NoJournal`].
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Writes down all events, and returns only when they survive a power cut.
    ///
    /// `Have` is recorded from a blocking thread: an implementation must not wait for tokio's timers.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage); then nothing is sent. A budget or quota kept with the
    /// journal may refuse here too.
    async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()>;

    /// Writes down an event whose loss would cost only time.
    fn note(&self, key: AttemptKey, event: Event);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn record(&self, _events: &[(AttemptKey, Event)]) -> Result<()> {
        Ok(())
    }

    fn note(&self, _key: AttemptKey, _event: Event) {}
}
