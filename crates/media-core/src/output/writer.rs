//! Takes the bytes of one file as they arrive.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::staged::Held;
use super::{BUFFER, Staged, Staging, blocking, create};
use crate::error::{Error, ErrorKind, Result};
use crate::key::hex;
use crate::validate::{Defect, Inspector};

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
            )
            .hint("raise sizes.media in media.json if such files are wanted"));
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
                .map_err(|error| Error::storage("cannot write in", &folder, error))?;
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
        Ok(Staged::new(
            self.folder,
            held,
            inspection,
            self.bytes,
            hex(&self.hash.finalize()),
        ))
    }
}

impl std::fmt::Debug for StageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageWriter")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
