//! Media that has arrived whole: checked, made durable, given its name.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, PathPersistError, PersistError, TempPath};

use super::{Staging, create, defect_error, free_places, hash_rest, parent, stage_copy};
use crate::error::{Charge, Error, ErrorKind, Result};
use crate::format::Format;
use crate::key::{AttemptKey, hex};
use crate::result::MediaFile;
use crate::validate::{Defect, Inspection};

/// The ending of `staging/<attempt key>.made`: these bytes arrived, but the journal could not record it.
pub const MADE: &str = ".made";

#[derive(Debug)]
pub(super) enum Held {
    /// Small media, written once, when they are secured.
    Memory(Vec<u8>),
    /// Still open: opening it again would cost as much as writing it.
    File(NamedTempFile),
    /// It has its name.
    Placed,
}

/// Media that has arrived whole, not yet under its name. Dropping it deletes it.
#[derive(Debug)]
pub struct Staged {
    folder: PathBuf,
    held: Held,
    inspection: Result<Inspection, Defect>,
    bytes: u64,
    sha256: String,
}

impl Staged {
    pub(super) fn new(
        folder: PathBuf,
        held: Held,
        inspection: Result<Inspection, Defect>,
        bytes: u64,
        sha256: String,
    ) -> Staged {
        Staged {
            folder,
            held,
            inspection,
            bytes,
            sha256,
        }
    }

    /// Takes up a file that an earlier process had staged. Dropping it leaves the file where it is.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be read.
    pub(crate) fn again(path: &Path) -> Result<Staged> {
        let gone = |error| Error::storage("cannot read the staged file", path, error);
        let mut file = fs::File::open(path).map_err(gone)?;
        let bytes = file.metadata().map_err(gone)?.len();
        let sha256 = hash_rest(&mut file).map_err(gone)?;
        file.rewind().map_err(gone)?;
        let inspection = crate::validate::inspect_reader(&file).map_err(gone)?;
        let mut path = TempPath::try_from_path(path).map_err(gone)?;
        path.disable_cleanup(true);
        Ok(Staged {
            folder: parent(&path).to_owned(),
            held: Held::File(NamedTempFile::from_parts(file, path)),
            inspection,
            bytes,
            sha256,
        })
    }

    /// What the walk through its structure found.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn inspection(&self) -> Result<&Inspection, &Defect> {
        self.inspection.as_ref()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing came at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether it is held in memory until it is secured.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.held, Held::Memory(_))
    }

    /// The SHA-256 of its bytes, hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + use<> {
        let folder = self.folder.clone();
        move |error| Error::storage("cannot finish a file in", &folder, error)
    }

    /// Puts right what its walk found to be open, such as sizes that nobody knew when the header was sent.
    pub(crate) fn mend(&mut self) -> Result<()> {
        let mends = match &self.inspection {
            Ok(inspection) if inspection.mends.is_empty() => return Ok(()),
            Ok(inspection) => inspection.mends.clone(),
            Err(defect) => return Err(defect_error(defect)),
        };
        let failed = self.failed();
        match &mut self.held {
            Held::Memory(bytes) => {
                for mend in &mends {
                    let from = usize::try_from(mend.offset).unwrap_or(usize::MAX);
                    let place = bytes.get_mut(from..from.saturating_add(mend.bytes.len()));
                    if let Some(place) = place {
                        place.copy_from_slice(&mend.bytes);
                    }
                }
                self.sha256 = hex(&Sha256::digest(bytes.as_slice()));
            }
            Held::File(file) => {
                let file = file.as_file_mut();
                for mend in &mends {
                    file.seek(SeekFrom::Start(mend.offset)).map_err(&failed)?;
                    file.write_all(&mend.bytes).map_err(&failed)?;
                }
                file.rewind().map_err(&failed)?;
                self.sha256 = hash_rest(file).map_err(&failed)?;
            }
            Held::Placed => {}
        }
        Ok(())
    }

    /// Decodes all of it with the decoders that are built in.
    pub(crate) fn decode(&mut self) -> Result<()> {
        let format = match &self.inspection {
            Ok(inspection) => inspection.format,
            Err(defect) => return Err(defect_error(defect)),
        };
        let failed = self.failed();
        match &mut self.held {
            Held::Memory(bytes) => decode(io::Cursor::new(bytes.as_slice()), format),
            Held::File(file) => {
                let file = file.as_file_mut();
                file.rewind().map_err(failed)?;
                decode(file, format)
            }
            Held::Placed => Ok(()),
        }
    }

    /// Makes it a durable file that only lacks its name; gives its path.
    pub(crate) fn secure(&mut self) -> Result<PathBuf> {
        let failed = self.failed();
        let file = self.as_file()?;
        file.as_file().sync_all().map_err(failed)?;
        Ok(file.path().to_owned())
    }

    fn as_file(&mut self) -> Result<&mut NamedTempFile> {
        if let Held::Memory(bytes) = &self.held {
            let mut file = create(&self.folder)?;
            file.write_all(bytes)
                .map_err(|error| Error::storage("cannot write in", &self.folder, error))?;
            self.held = Held::File(file);
        }
        match &mut self.held {
            Held::File(file) => Ok(file),
            Held::Memory(_) | Held::Placed => {
                Err(Error::new(ErrorKind::Storage, "the file has its name already"))
            }
        }
    }

    /// Gives it its name. Never over a file that is already there.
    pub(crate) fn place(&mut self, target: &Path) -> Result<()> {
        let file = self.take_file()?;
        let placed = file.persist_noclobber(target);
        self.or_copied(target, placed, |copy| copy.persist_noclobber(target))
    }

    /// Takes the file to give it its name; without one it is placed already.
    fn take_file(&mut self) -> Result<NamedTempFile> {
        match std::mem::replace(&mut self.held, Held::Placed) {
            Held::File(file) => Ok(file),
            held => {
                self.held = held;
                Err(Error::new(ErrorKind::Storage, "the file is not secured"))
            }
        }
    }

    /// Where the name is on another file system, a copy there gets it in the same way. What fails keeps its file.
    fn or_copied(
        &mut self,
        target: &Path,
        placed: std::result::Result<File, PersistError>,
        place: impl FnOnce(TempPath) -> std::result::Result<(), PathPersistError>,
    ) -> Result<()> {
        let Err(mut failure) = placed else { return Ok(()) };
        let outcome = if failure.error.kind() == io::ErrorKind::CrossesDevices {
            stage_copy(failure.file.path(), parent(target))
                .map_err(|error| Error::storage("cannot copy to", target, error))
                .and_then(|copy| {
                    place(copy.into_temp_path()).map_err(|failure| place_failure(target, failure.error))
                })
        } else {
            Err(place_failure(target, failure.error))
        };
        if outcome.is_ok() {
            // Copied: dropping it deletes it.
            failure.file.disable_cleanup(false);
        } else {
            self.held = Held::File(failure.file);
        }
        outcome
    }

    /// Gives it its name in the place of what stands there, which is kept at `aside`, or beside it where that name is taken.
    pub(crate) fn place_over(&mut self, target: &Path, aside: &Path) -> Result<()> {
        if fs::symlink_metadata(target).is_err() {
            return self.place(target);
        }
        keep_aside(target, aside)?;
        let file = self.take_file()?;
        let placed = file.persist(target);
        self.or_copied(target, placed, |copy| copy.persist(target))
    }

    /// Gives it another name in the folder's staging, that of its key: where the journal could not be told, whoever opens the
    /// folder next knows by it whose bytes these are. On a full disk that is all that can be written.
    pub(crate) fn mark_as(&self, key: AttemptKey, staging: &Staging) {
        if let (Staging::Folder(folder), Held::File(file)) = (staging, &self.held) {
            let mark = folder.join("staging").join(format!("{key}{MADE}"));
            if let Err(error) = fs::hard_link(file.path(), &mark) {
                tracing::warn!(%key, %error, "what came could be written down nowhere");
            }
        }
    }

    /// Leaves it in the folder's staging, to be given its name later. Library users have no such folder.
    pub(crate) fn stay(mut self, staging: &Staging) {
        if let (Staging::Folder(_), Held::File(file)) = (staging, &mut self.held) {
            file.disable_cleanup(true);
        }
    }

    /// Keeps bytes that may have been paid for and cannot be used, with the reason, under the folder's `rejected/`; gives
    /// their path. Library users have no such folder: theirs holds nothing but outputs.
    pub(crate) fn reject(
        mut self,
        staging: &Staging,
        key: AttemptKey,
        reason: &str,
    ) -> Result<Option<PathBuf>> {
        let Some(target) = staging.rejected(key) else {
            return Ok(None);
        };
        let failed = |error| Error::storage("cannot keep", &target, error);
        fs::create_dir_all(parent(&target)).map_err(failed)?;
        self.as_file()?;
        let Held::File(file) = self.held else {
            return Ok(None);
        };
        file.persist(&target).map_err(|failure| failed(failure.error))?;
        if let Err(error) = fs::write(target.with_extension("txt"), reason) {
            // The bytes are what was paid for, and they are kept.
            tracing::warn!(%error, "why {} is no good could not be written beside it", target.display());
        }
        Ok(Some(target))
    }

    /// It as a result, at `path`.
    pub(crate) fn described(&self, path: &Path) -> Result<MediaFile> {
        let inspection = self.inspection.as_ref().map_err(defect_error)?;
        Ok(MediaFile {
            path: path.to_owned(),
            format: inspection.format,
            bytes: self.bytes,
            sha256: self.sha256.clone(),
            dimensions: inspection.dimensions,
            duration: inspection.duration,
        })
    }
}

/// Keeps a file under another name too, before something else takes its place: at `aside`, or where that is taken with a
/// number before its name. Nothing is replaced.
///
/// # Errors
/// [`ErrorKind::Storage`]; then nothing has changed.
pub fn keep_aside(file: &Path, aside: &Path) -> Result<PathBuf> {
    let failed = |error| Error::storage("cannot keep aside", file, error);
    let folder = parent(aside);
    fs::create_dir_all(folder).map_err(failed)?;
    for place in free_places(aside) {
        match fs::hard_link(file, &place) {
            Ok(()) => return Ok(place),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // File systems without second names, and folders on another one.
            Err(_) if fs::symlink_metadata(&place).is_err() => {
                let copy = stage_copy(file, folder).map_err(failed)?;
                match copy.persist_noclobber(&place) {
                    Ok(_) => return Ok(place),
                    Err(failure) if failure.error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(failure) => return Err(failed(failure.error)),
                }
            }
            Err(_) => {}
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

/// Decodes a whole file with the decoders that are built in.
fn decode(source: impl Read + Seek + Send + Sync, format: Format) -> Result<()> {
    let decoded: Result<(), Defect> = match format.kind() {
        #[cfg(feature = "decode-image")]
        crate::MediaKind::Image => {
            crate::validate::decode_image(source, format, crate::validate::DecodeLimits::default()).map(drop)
        }
        #[cfg(feature = "decode-audio")]
        crate::MediaKind::Audio => crate::validate::decode_audio(source, format).map(drop),
        #[cfg(not(all(feature = "decode-image", feature = "decode-audio")))]
        _ => {
            drop(source);
            Ok(())
        }
    };
    decoded.map_err(|defect| defect_error(&defect))
}

fn place_failure(target: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Error::new(
            ErrorKind::Storage,
            format!("{} has appeared meanwhile and is not replaced", target.display()),
        )
        .with_charge(Charge::Unknown);
    }
    Error::storage("cannot give the file its name", target, error)
}
