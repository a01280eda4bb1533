//! What stands at a path: nothing, the file that was made, another one, a broken one.

use std::fs::File;
use std::path::Path;

use media_core::{format_of, hash_rest, validate};

use crate::ledger::{TakeRow, modified_ns};

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    AsMade,
    Valid,
    /// A file, and what is wrong with it.
    Broken(String),
    /// No file at all.
    InTheWay(String),
}

/// Looks at what stands at a path of the output folder.
pub(crate) fn find(out: &Path, path: &Path, take: Option<&TakeRow>) -> Found {
    if std::fs::symlink_metadata(path).is_err() {
        return Found::Nothing;
    }
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).is_ok_and(|file| file.is_file()) {
        return Found::InTheWay("no file".to_owned());
    }
    let is_it = |take: &TakeRow| {
        // Its time tells it from nothing but itself: files that are written together have the same.
        let time = take.modified_ns.filter(|_| path == out.join(&take.path));
        is_as_made(path, take.bytes, &take.sha256, time)
    };
    if take.is_some_and(is_it) {
        return Found::AsMade;
    }
    match look_at(path) {
        Ok(()) => Found::Valid,
        Err(what) => Found::Broken(what),
    }
}

/// Whether a file is the one that was made: by its size and time where they are known, else by its bytes.
pub(crate) fn is_as_made(path: &Path, bytes: u64, sha256: &str, time: Option<i64>) -> bool {
    let has_size = std::fs::symlink_metadata(path).is_ok_and(|entry| entry.len() == bytes);
    let is_untouched = || time.is_some() && modified_ns(path) == time;
    has_size && (is_untouched() || hash_of(path).is_some_and(|hash| hash == sha256))
}

pub(crate) fn hash_of(path: &Path) -> Option<String> {
    hash_rest(&mut File::open(path).ok()?).ok()
}

/// Whether a file that is already there is whole and what its name says.
pub(crate) fn look_at(path: &Path) -> std::result::Result<(), String> {
    let file = File::open(path).map_err(|error| format!("not readable: {error}"))?;
    let inspection = validate::inspect_reader(file)
        .map_err(|error| format!("not readable: {error}"))?
        .map_err(|defect| defect.to_string())?;
    let wanted = format_of(path).map_err(|error| error.to_string())?;
    if inspection.format.satisfies(wanted) {
        return Ok(());
    }
    Err(format!("{} under the name of {wanted}", inspection.format))
}
