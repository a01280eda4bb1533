//! Media on its way to its path: staged, walked and hashed as it comes, renamed into place when it is whole.

mod staged;
mod writer;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

pub use self::staged::{MADE, Staged, keep_aside};
pub(crate) use self::writer::{Intake, StageWriter};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{AttemptKey, hex};
use crate::validate::Defect;

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

    /// A file for whatever is needed on the way to `output`. It is deleted when it is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`].
    pub fn scratch(&self, output: &Path) -> Result<Scratch> {
        Ok(Scratch(create(&self.folder(output))?.into_temp_path()))
    }

    /// Where paid bytes go that are no good.
    fn rejected(&self, key: AttemptKey) -> Option<PathBuf> {
        match self {
            Staging::Beside => None,
            Staging::Folder(folder) => Some(folder.join("rejected").join(key.to_string())),
        }
    }
}

/// A file for something on the way. Dropping it deletes it.
#[derive(Debug)]
pub struct Scratch(tempfile::TempPath);

impl std::ops::Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Checks that a file can be made at `path`, creating its folder, before anything is bought for it.
///
/// # Errors
/// [`ErrorKind::Storage`] when the folder cannot be created or written, or `path` is a folder.
pub fn prepare(path: &Path) -> Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)
        .map_err(|error| Error::storage("cannot create the folder", folder, error).not_billed())?;
    if path.is_dir() {
        return Err(Error::new(ErrorKind::Storage, format!("{} is a folder", path.display())).not_billed());
    }
    // A file without a name, where the system has such: a kill at this moment leaves nothing.
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|error| Error::storage("cannot write in the folder", folder, error).not_billed())
}

/// Bytes kept in memory before a file is opened; small media are written once, when they are accepted.
pub(crate) const BUFFER: usize = 32 << 10;

/// An empty staged file. The folder is made only when it is missing: asking first would cost as much as writing.
fn create(folder: &Path) -> Result<NamedTempFile> {
    match stage_in(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)
                .map_err(|error| Error::storage("cannot create the folder", folder, error))?;
            stage_in(folder)
        }
        created => created,
    }
    .map_err(|error| Error::storage("cannot write in the folder", folder, error))
}

/// An empty file that has no name of its own yet, in a folder that is there. Dropped, it is gone.
///
/// # Errors
/// The file system's.
pub fn stage_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".media-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // An output may be read by whomever the umask allows, as any new file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// A whole copy of a file, safe on disk, that has no name of its own yet.
///
/// # Errors
/// The file system's.
pub fn stage_copy(from: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let mut source = fs::File::open(from)?;
    let mut copy = stage_in(folder)?;
    io::copy(&mut source, &mut copy)?;
    copy.as_file().sync_all()?;
    Ok(copy)
}

/// The SHA-256 of the rest of a file, hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn hash_rest(file: &mut fs::File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Where something can be kept that replaces nothing: at `place`, or with a number before its name, as many as anybody
/// could want.
pub fn free_places(place: &Path) -> impl Iterator<Item = PathBuf> {
    let name = place.file_name().unwrap_or_default().to_os_string();
    (1..10_000_u32).map(move |number| match number {
        1 => place.to_owned(),
        _ => place.with_file_name(format!("{number}-{}", name.to_string_lossy())),
    })
}

/// The error of media that failed its walk.
pub(crate) fn defect_error(defect: &Defect) -> Error {
    Error::new(ErrorKind::InvalidMedia, defect.to_string())
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|failure| Error::new(ErrorKind::Storage, "the file work was interrupted").because(failure))?
}
