//! The contract between a format's walker and the machine that feeds it, and that machine.

use super::defect::Defect;
use super::{Inspection, sniff};
use crate::format::Format;
use std::fmt;

/// What a walker makes of the bytes it was shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So many bytes are dealt with; more than were shown means that the next ones are of no interest.
    Used(u64),
    /// At least so many bytes must be shown at once.
    More(usize),
    /// The file is complete; the bytes shown do not belong to it.
    End,
}

/// The grammar of one container.
pub(super) trait Walk: fmt::Debug + Send {
    /// Looks at `window`, which holds what is known of the file from offset `at` on, never nothing.
    ///
    /// What it does must not depend on how much more than enough it is shown.
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect>;

    /// The file ended at offset `at`; of its last bytes, `rest` were shown but never used.
    fn end(&mut self, rest: &[u8], at: u64) -> Result<Inspection, Defect>;

    /// What this walks.
    fn format(&self) -> Format;

    /// What is still to come, for "ends before ...".
    fn missing(&self) -> &'static str;

    /// The file ended too early.
    fn truncated(&self, at: u64) -> Defect {
        Defect::Truncated {
            format: self.format(),
            at,
            missing: self.missing(),
        }
    }
}

/// How much of what follows the end is kept for the message.
const EXCERPT: usize = 64;

/// Shows a walker the bytes of chunks of any size. Holds only what the walker wants to see at once.
#[derive(Debug)]
pub(super) struct Feeder {
    walk: Box<dyn Walk>,
    /// Offset of the first byte that is not dealt with.
    at: u64,
    /// How many bytes the walker does not care for.
    skip: u64,
    /// Bytes shown that were too few.
    held: Vec<u8>,
    /// How many are enough.
    want: usize,
    /// After the end: where it is.
    ended: Option<u64>,
}

impl Feeder {
    pub(super) fn new(walk: Box<dyn Walk>) -> Self {
        Self {
            walk,
            at: 0,
            skip: 0,
            held: Vec::new(),
            want: 0,
            ended: None,
        }
    }

    pub(super) fn push(&mut self, mut chunk: &[u8]) -> Result<(), Defect> {
        loop {
            if self.ended.is_some() {
                self.count_trailing(chunk);
                return Ok(());
            }
            if self.skip > 0 {
                let n = clamp(self.skip, chunk.len());
                chunk = tail(chunk, n);
                self.skip -= n as u64;
                self.at += n as u64;
            }
            if chunk.is_empty() {
                return Ok(());
            }
            if self.held.is_empty() {
                match self.walk.step(chunk, self.at)? {
                    Step::Used(n) => {
                        self.skip = n;
                    }
                    Step::More(n) => {
                        self.want = n.max(chunk.len() + 1);
                        self.held.extend_from_slice(chunk);
                        return Ok(());
                    }
                    Step::End => self.ended = Some(self.at),
                }
                continue;
            }
            // Some more than needed, so that a walker that leaves a bit of every window gets back to the chunk.
            let added = chunk
                .len()
                .min(self.want.saturating_sub(self.held.len()).max(EXCERPT));
            self.held.extend_from_slice(head(chunk, added));
            if self.held.len() < self.want {
                return Ok(());
            }
            match self.walk.step(&self.held, self.at)? {
                Step::More(n) => {
                    self.want = n.max(self.held.len() + 1);
                    chunk = tail(chunk, added);
                }
                Step::Used(n) => {
                    let used = clamp(n, self.held.len());
                    self.at += used as u64;
                    self.skip = n - used as u64;
                    let left = self.held.len() - used;
                    if left <= added {
                        // What is left came with this chunk: go on there, without a copy.
                        chunk = tail(chunk, added - left);
                        self.held.clear();
                    } else {
                        self.held.drain(..used);
                        // Show the rest as it is; the walker says how much it lacks.
                        self.want = self.held.len();
                        chunk = tail(chunk, added);
                        self.settle()?;
                    }
                }
                Step::End => {
                    self.ended = Some(self.at);
                    chunk = tail(chunk, added);
                }
            }
        }
    }

    /// Lets the walker work on held bytes alone until it needs more of them, or none are left.
    fn settle(&mut self) -> Result<(), Defect> {
        while !self.held.is_empty() {
            match self.walk.step(&self.held, self.at)? {
                Step::More(n) => {
                    self.want = n.max(self.held.len() + 1);
                    return Ok(());
                }
                Step::Used(n) => {
                    let used = clamp(n, self.held.len());
                    self.at += used as u64;
                    self.skip = n - used as u64;
                    self.held.drain(..used);
                }
                Step::End => {
                    self.ended = Some(self.at);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn count_trailing(&mut self, chunk: &[u8]) {
        let room = EXCERPT.saturating_sub(self.held.len());
        self.held.extend_from_slice(head(chunk, room));
        self.skip += (chunk.len() - chunk.len().min(room)) as u64;
    }

    pub(super) fn finish(mut self) -> Result<Inspection, Defect> {
        if let Some(at) = self.ended {
            let inspection = self.walk.end(&[], at)?;
            let length = self.held.len() as u64 + self.skip;
            if length > 0 {
                let excerpt = sniff::excerpt(head(&self.held, EXCERPT), length > EXCERPT as u64);
                return Err(Defect::TrailingData {
                    format: inspection.format,
                    at,
                    length,
                    excerpt,
                });
            }
            return Ok(inspection);
        }
        if self.skip > 0 {
            return Err(self.walk.truncated(self.at));
        }
        let at = self.at + self.held.len() as u64;
        self.walk.end(&self.held, at)
    }
}

/// `n`, or `most` if that is less.
pub(super) fn clamp(n: u64, most: usize) -> usize {
    usize::try_from(n).map_or(most, |n| n.min(most))
}

/// The first `n` bytes, or all.
pub(super) fn head(bytes: &[u8], n: usize) -> &[u8] {
    bytes.get(..n).unwrap_or(bytes)
}

/// What follows the first `n` bytes, or nothing.
pub(super) fn tail(bytes: &[u8], n: usize) -> &[u8] {
    bytes.get(n..).unwrap_or_default()
}

/// The `N` bytes at `at`, if they are there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
