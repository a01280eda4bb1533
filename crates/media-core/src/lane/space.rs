//! Whether the disk has room for what is about to be bought: an answer that cannot be kept is lost, and usually already paid for.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Room that is asked for before any file was seen: most pictures and recordings need less.
const FIRST: u64 = 4 << 20;

/// The largest file of a lane so far, by which the next ones are judged.
#[derive(Default)]
pub(super) struct Space {
    largest: AtomicU64,
}

impl Space {
    /// A file of `bytes` came.
    pub(super) fn saw(&self, bytes: u64) {
        self.largest.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Bytes that may be needed for `files` that are under way. Files vary: each may be twice the largest so far.
    fn needed(&self, files: u64) -> u64 {
        let each = match self.largest.load(Ordering::Relaxed) {
            0 => FIRST,
            largest => largest.saturating_mul(2),
        };
        each.saturating_mul(files)
    }

    /// Checks that `folder` has room for `files` more and for `unwritten` bytes that are in memory yet. A file system that
    /// does not tell is taken to have it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`], with nothing billed.
    pub(super) fn check(&self, folder: &Path, files: u64, unwritten: u64) -> Result<()> {
        match fs4::available_space(folder) {
            Ok(free) => suffices(folder, free, self.needed(files).saturating_add(unwritten)),
            Err(_) => Ok(()),
        }
    }
}

fn suffices(folder: &Path, free: u64, needed: u64) -> Result<()> {
    if free >= needed {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Storage,
        format!(
            "{} MB are free in {}, and what is under way may need {} MB",
            megabytes(free),
            folder.display(),
            megabytes(needed)
        ),
    )
    .not_billed()
    .hint("free some space and run the same command"))
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_twice_the_largest_that_was_seen() {
        let space = Space::default();
        assert_eq!(space.needed(3), 3 * FIRST);
        space.saw(700);
        space.saw(500);
        assert_eq!(space.needed(3), 4200);
    }

    #[test]
    fn what_is_missing_is_told() {
        let folder = Path::new("out");
        assert!(suffices(folder, 4_000_000, 4_000_000).is_ok());
        let error = suffices(folder, 3_999_999, 4_000_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "3.9 MB are free in out, and what is under way may need 4.0 MB"
        );
        assert_eq!(error.charge(), Some(crate::error::Charge::None));
    }
}
