//! Media on its way to its path: staged, walked and hashed as it comes, renamed into place when it is whole.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::error::{Charge, Error, ErrorKind, Result};
use crate::job::{AttemptKey, hex};
use crate::validate::{Defect, Inspection, Inspector};

/// Where bytes wait until they are whole.
#[derive(Clone, Debug, Default)]
pub enum Staging {
    /// In a hidden file beside the output, for library users: nothing but outputs is written.
    #[default]
    Beside,
    /// In `staging/` of this folder, which must be on the file system of the outputs; paid bytes that fail their
    /// checks are kept in its `rejected/`.
    Folder(Arc<Path>),
}

impl Staging {
    fn folder(&self, output: &Path) -> PathBuf {
        match self {
            Staging::Beside => parent(output).to_owned(),
            Staging::Folder(folder) => folder.join("staging"),
        }
    }

    /// Where paid bytes go that are no good.
    fn rejected(&self, key: AttemptKey) -> Option<PathBuf> {
        match self {
            Staging::Beside => None,
            Staging::Folder(folder) => Some(folder.join("rejected").join(key.to_string())),
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn storage(what: &str, path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space and run the same command")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("make the folder writable")
        }
        _ => None,
    };
    let failure = Error::new(ErrorKind::Storage, format!("{what} {}", path.display())).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Checks that a file can be made at `path`, creating its folder, before anything is bought for it.
///
/// # Errors
/// [`ErrorKind::Storage`] when the folder cannot be created or written, or `path` is a folder.
pub fn prepare(path: &Path) -> Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)
        .map_err(|error| storage("cannot create the folder", folder, error).not_billed())?;
    if path.is_dir() {
        return Err(Error::new(ErrorKind::Storage, format!("{} is a folder", path.display())).not_billed());
    }
    tempfile::Builder::new()
        .prefix(".media-")
        .tempfile_in(folder)
        .map(drop)
        .map_err(|error| storage("cannot write in the folder", folder, error).not_billed())
}

/// Bytes kept in memory before a file is opened; small media are written once, when they are accepted.
const BUFFER: usize = 64 << 10;

/// Takes the bytes of one file as they arrive: walks, hashes and stores them in constant memory.
pub(crate) struct StageWriter {
    folder: PathBuf,
    most: u64,
    inspector: Option<Inspector>,
    defect: Option<Defect>,
    hash: Sha256,
    bytes: u64,
    buffer: Vec<u8>,
    file: Option<NamedTempFile>,
}

impl StageWriter {
    /// For a file that will end up at `output`, of at most `most` bytes.
    pub(crate) fn new(staging: &Staging, output: &Path, most: u64) -> StageWriter {
        StageWriter {
            folder: staging.folder(output),
            most,
            inspector: Some(Inspector::new()),
            defect: None,
            hash: Sha256::new(),
            bytes: 0,
            buffer: Vec::new(),
            file: None,
        }
    }

    /// Takes the next bytes. A defect of the media does not stop it: what was paid for is kept whole for a look.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(Error::new(
                ErrorKind::InvalidMedia,
                format!("the media is larger than the allowed {} bytes", self.most),
            ));
        }
        self.hash.update(bytes);
        if let Some(inspector) = &mut self.inspector
            && let Err(defect) = inspector.push(bytes)
        {
            self.defect = Some(defect);
            self.inspector = None;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.spill().await?;
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let file = self.file.take();
        let folder = self.folder.clone();
        let (file, mut buffer) = blocking(move || {
            let mut file = file.map_or_else(|| create(&folder), Ok)?;
            file.write_all(&buffer)
                .map_err(|error| storage("cannot write in", &folder, error))?;
            Ok((file, buffer))
        })
        .await?;
        buffer.clear();
        self.buffer = buffer;
        self.file = Some(file);
        Ok(())
    }

    /// All bytes have come.
    pub(crate) async fn finish(mut self) -> Result<Staged> {
        let inspection = match (self.defect.take(), self.inspector.take()) {
            (None, Some(inspector)) => inspector.finish(),
            (defect, _) => Err(defect.unwrap_or(Defect::Empty)),
        };
        let held = match self.file.take() {
            None => Held::Memory(self.buffer),
            Some(file) => {
                self.file = Some(file);
                if !self.buffer.is_empty() {
                    self.spill().await?;
                }
                match self.file.take() {
                    Some(file) => Held::File(file),
                    None => Held::Memory(self.buffer),
                }
            }
        };
        Ok(Staged {
            folder: self.folder,
            held,
            inspection,
            bytes: self.bytes,
            sha256: hex(&self.hash.finalize()),
        })
    }
}

impl std::fmt::Debug for StageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageWriter")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

fn create(folder: &Path) -> Result<NamedTempFile> {
    fs::create_dir_all(folder).map_err(|error| storage("cannot create the folder", folder, error))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".media-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // An output may be read by whomever the umask allows, as any new file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(|error| storage("cannot write in the folder", folder, error))
}

#[derive(Debug)]
enum Held {
    Memory(Vec<u8>),
    File(NamedTempFile),
}

impl Held {
    /// As a file in `folder`, still open: opening it again would cost as much as writing it.
    fn into_file(self, folder: &Path) -> Result<NamedTempFile> {
        match self {
            Held::File(file) => Ok(file),
            Held::Memory(bytes) => {
                let mut file = create(folder)?;
                file.write_all(&bytes)
                    .map_err(|error| storage("cannot write in", folder, error))?;
                Ok(file)
            }
        }
    }
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

    /// Makes it a durable file that only lacks its name: headers mended, hashed as it will stand, synced.
    pub(crate) fn secure(self) -> Result<Secured> {
        let inspection = match self.inspection {
            Ok(inspection) => inspection,
            Err(defect) => return Err(defect_error(&defect)),
        };
        let mut sha256 = self.sha256;
        let mut staged = self.held.into_file(&self.folder)?;
        let path = staged.path().to_owned();
        let failed = |error| storage("cannot finish", &path, error);
        let file = staged.as_file_mut();
        if !inspection.mends.is_empty() {
            for mend in &inspection.mends {
                file.seek(SeekFrom::Start(mend.offset)).map_err(failed)?;
                file.write_all(&mend.bytes).map_err(failed)?;
            }
            file.rewind().map_err(failed)?;
            sha256 = hash_of(file).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        Ok(Secured {
            path: staged.into_temp_path(),
            inspection,
            bytes: self.bytes,
            sha256,
        })
    }

    /// Keeps bytes that failed their checks, with the reason, under the folder's `rejected/`. Does nothing for library
    /// users, whose folders hold nothing but outputs.
    pub(crate) async fn reject(self, staging: &Staging, key: AttemptKey, reason: String) -> Result<()> {
        let Some(target) = staging.rejected(key) else {
            return Ok(());
        };
        blocking(move || {
            let path = self.held.into_file(&self.folder)?.into_temp_path();
            keep(path, &target, &reason)
        })
        .await
    }
}

/// Moves paid bytes out of the way, with the reason beside them.
fn keep(path: TempPath, target: &Path, reason: &str) -> Result<()> {
    let failed = |error| storage("cannot keep", target, error);
    fs::create_dir_all(parent(target)).map_err(failed)?;
    path.persist(target).map_err(|failure| failed(failure.error))?;
    fs::write(target.with_extension("txt"), reason).map_err(failed)
}

/// The error of media that failed its walk.
pub(crate) fn defect_error(defect: &Defect) -> Error {
    Error::new(ErrorKind::InvalidMedia, defect.to_string())
}

/// The SHA-256 of a file, hexadecimal.
pub(crate) fn hash_of(file: &mut fs::File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// A durable staged file.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) path: TempPath,
    pub(crate) inspection: Inspection,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Secured {
    /// Gives it its name. Never over a file that is already there; then it is kept among the rejected ones, because it
    /// may have been paid for.
    pub(crate) fn place(self, target: &Path, staging: &Staging, key: AttemptKey) -> Result<()> {
        let failure = match self.path.persist_noclobber(target) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if failure.error.kind() == io::ErrorKind::CrossesDevices {
            return copy_across(&failure.path, target);
        }
        let error = place_failure(target, failure.error);
        if let Some(rejected) = staging.rejected(key) {
            keep(failure.path, &rejected, &error.full())?;
        }
        Err(error)
    }

    /// Keeps bytes that a decoder refused.
    pub(crate) fn reject(self, staging: &Staging, key: AttemptKey, reason: &str) -> Result<()> {
        match staging.rejected(key) {
            Some(target) => keep(self.path, &target, reason),
            None => Ok(()),
        }
    }
}

/// Finishes a file that an earlier process had secured: gives the staged file its name.
pub(crate) async fn place_staged(staged: PathBuf, target: PathBuf) -> Result<()> {
    blocking(move || {
        TempPath::try_from_path(staged)
            .map_err(|error| storage("cannot finish", &target, error))?
            .persist_noclobber(&target)
            .map_err(|failure| place_failure(&target, failure.error))
    })
    .await
}

fn place_failure(target: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Error::new(
            ErrorKind::Storage,
            format!("{} has appeared meanwhile and is not replaced", target.display()),
        )
        .with_charge(Charge::Unknown);
    }
    storage("cannot give the file its name", target, error)
}

fn copy_across(from: &Path, target: &Path) -> Result<()> {
    let folder = parent(target);
    let mut copy = create(folder)?;
    let failed = |error| storage("cannot copy to", target, error);
    let mut source = fs::File::open(from).map_err(failed)?;
    io::copy(&mut source, &mut copy).map_err(failed)?;
    copy.as_file().sync_all().map_err(failed)?;
    copy.into_temp_path()
        .persist_noclobber(target)
        .map_err(|failure| place_failure(target, failure.error))
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|failure| Error::new(ErrorKind::Storage, "the file work was interrupted").because(failure))?
}
