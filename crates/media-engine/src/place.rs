//! Files within an output folder: copied whole or not at all, moved aside and never deleted.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, MediaFile, Result, format_of, free_places, stage_copy, validate};
use tempfile::NamedTempFile;

use crate::folder::inner_of;
use crate::found::hash_of;
use crate::ledger::TakeRow;

/// The output folder, out of which no path of a list may lead: not by a name, which the list's check sees to, and not by a
/// link that stands in it.
#[derive(Debug)]
pub(crate) struct Root<'a> {
    out: &'a Path,
    /// Where it really is; `None` before there is one, when nothing can stand in it.
    real: Option<PathBuf>,
    /// Folders below it that lie within it.
    within: HashSet<PathBuf>,
}

impl<'a> Root<'a> {
    pub(crate) fn of(out: &'a Path) -> Root<'a> {
        Root {
            out,
            real: out.canonicalize().ok(),
            within: HashSet::new(),
        }
    }

    /// # Errors
    /// Where the file would be, as words.
    pub(crate) fn holds(&mut self, path: &str) -> std::result::Result<(), String> {
        let Some((real, folder)) = self.real.as_ref().zip(Path::new(path).parent()) else {
            return Ok(());
        };
        if folder.as_os_str().is_empty() || self.within.contains(folder) {
            return Ok(());
        }
        // What is missing will be made, where its nearest folder is that is there.
        let found = folder
            .ancestors()
            .find_map(|folder| self.out.join(folder).canonicalize().ok());
        if let Some(found) = found.as_ref().filter(|found| !found.starts_with(real)) {
            return Err(format!(
                "the folder {} leads out of the output folder, to {}; name one that lies in it",
                folder.display(),
                found.display()
            ));
        }
        if let Some(found) = found.filter(|found| !found.is_dir()) {
            return Err(format!(
                "the folder {} cannot be made: {} is a file; rename one",
                folder.display(),
                found.display()
            ));
        }
        self.within.insert(folder.to_owned());
        Ok(())
    }
}

/// Copies the file with these bytes; it appears under its name when it is whole, and never over another one.
pub(crate) fn copy(from: &Path, to: &Path, out: &Path, sha256: &str) -> Result<()> {
    media_core::prepare(to)?;
    let failed = |error: io::Error| {
        let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
        let failure = Error::storage("cannot copy to", to, error).not_billed();
        match is_taken {
            true => failure.hint("move away what stands there and run the same command again"),
            false => failure,
        }
    };
    stage_exactly(from, to, out, sha256)?
        .persist_noclobber(to)
        .map(drop)
        .map_err(|failure| failed(failure.error))
}

/// A staged copy of a file that has these bytes and no others: since it was made it may have been changed, or be in the
/// middle of that.
fn stage_exactly(from: &Path, to: &Path, out: &Path, sha256: &str) -> Result<NamedTempFile> {
    let failed = |error| Error::storage("cannot copy to", to, error).not_billed();
    let staged = stage_copy(from, &inner_of(out).join("staging")).map_err(failed)?;
    if hash_of(staged.path()).as_deref() == Some(sha256) {
        return Ok(staged);
    }
    let message = format!("{} is not the file that was made there any more", from.display());
    Err(Error::new(ErrorKind::Storage, message).not_billed())
}

/// What a file of ours is. Its hash is worked out when it is not known.
pub(crate) fn describe(path: &Path, sha256: Option<&str>) -> Result<MediaFile> {
    let failed = |error| Error::storage("cannot read", path, error).not_billed();
    let file = fs::File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let inspection = validate::inspect_reader(file).map_err(failed)?.ok();
    Ok(MediaFile {
        path: path.to_owned(),
        format: match &inspection {
            Some(inspection) => inspection.format,
            None => format_of(path)?,
        },
        bytes,
        sha256: match sha256 {
            Some(sha256) => sha256.to_owned(),
            None => hash_of(path).unwrap_or_default(),
        },
        dimensions: inspection.as_ref().and_then(|inspection| inspection.dimensions),
        duration: inspection.and_then(|inspection| inspection.duration),
    })
}

/// Moves a file to `.media/old`, under a name that is free there.
pub(crate) fn move_aside(out: &Path, path: &Path) -> Result<PathBuf> {
    let place = free_aside(out, path)?;
    fs::rename(path, &place)
        .map(|()| place)
        .map_err(|error| Error::storage("cannot move aside", path, error).not_billed())
}

/// Looks in `.media/old` for the file that was made as this take.
pub(crate) fn find_aside(out: &Path, take: &TakeRow) -> Option<PathBuf> {
    find_kept(&aside(out, &out.join(&take.path)), take.bytes, &take.sha256)
}

/// Whether these very bytes are kept already.
fn is_aside(out: &Path, path: &Path) -> bool {
    let found = || find_kept(&aside(out, path), fs::metadata(path).ok()?.len(), &hash_of(path)?);
    found().is_some()
}

/// A file that is kept under this name, or with a number before it.
fn find_kept(old: &Path, bytes: u64, sha256: &str) -> Option<PathBuf> {
    let name = old.file_name()?.to_string_lossy().into_owned();
    let entries = fs::read_dir(old.parent()?).ok()?;
    let mut found = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let is_named = path
            .file_name()
            .is_some_and(|found| found.to_string_lossy().ends_with(&name));
        let has_length = || fs::metadata(path).is_ok_and(|file| file.len() == bytes);
        is_named && has_length() && hash_of(path).as_deref() == Some(sha256)
    });
    found.next()
}

/// Where a file belongs in `.media/old`.
pub(crate) fn aside(out: &Path, path: &Path) -> PathBuf {
    let relative = path.strip_prefix(out).unwrap_or(path);
    inner_of(out).join("old").join(relative)
}

/// Puts a copy of a file in the place of another one, which is kept in `.media/old`. The place is never empty.
pub(crate) fn swap_in(from: &Path, to: &Path, out: &Path, sha256: &str) -> Result<()> {
    let failed = |error| Error::storage("cannot put a file at", to, error).not_billed();
    let staged = stage_exactly(from, to, out, sha256)?;
    if !is_aside(out, to) {
        media_core::keep_aside(to, &aside(out, to))?;
    }
    staged
        .persist(to)
        .map(drop)
        .map_err(|failure| failed(failure.error))
}

/// A place in `.media/old` for a file, under a name that is free there.
fn free_aside(out: &Path, path: &Path) -> Result<PathBuf> {
    let old = aside(out, path);
    let failed = |error| Error::storage("cannot move aside", path, error).not_billed();
    if let Some(folder) = old.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let is_free = |place: &PathBuf| fs::symlink_metadata(place).is_err();
    free_places(&old)
        .find(is_free)
        .ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_was_made_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at(".media/staging")).unwrap();
        fs::write(at("a.webp"), "made").unwrap();
        let sha256 = hash_of(&at("a.webp")).unwrap();
        copy(&at("a.webp"), &at("b.webp"), &at(""), &sha256).unwrap();
        assert_eq!(fs::read(at("b.webp")).unwrap(), b"made");
        fs::write(at("a.webp"), "edited").unwrap();
        let refused = copy(&at("a.webp"), &at("c.webp"), &at(""), &sha256).unwrap_err();
        assert!(
            refused.to_string().contains("not the file that was made"),
            "{refused}"
        );
        swap_in(&at("a.webp"), &at("b.webp"), folder.path(), &sha256).unwrap_err();
        assert!(!at("c.webp").exists());
        assert_eq!(fs::read(at("b.webp")).unwrap(), b"made");
    }
}
