//! Takes the bytes of one file as they arrive.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::staged::Held;
use super::{BUFFER, Staged, Staging, blocking, create};
use crate::error::{Error, ErrorKind, Result};
use crate::key::hex;
use crate::validate::Inspector;

/// Answers longer than this may hold media that will not stay in memory.
const LONG: u64 = 2 * BUFFER as u64;
/// Bytes of their media that are collected before they are written, from the first on: many such answers come at once.
const STEP: usize = 8 << 10;

/// Where the media of one answer go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake<'a> {
    staging: &'a Staging,
    output: &'a Path,
    most: u64,
    step: usize,
}

impl<'a> Intake<'a> {
    /// Media of at most `most` bytes, each of which will end up at `output`.
    pub(crate) fn new(staging: &'a Staging, output: &'a Path, most: u64) -> Intake<'a> {
        Intake {
            staging,
            output,
            most,
            step: BUFFER,
        }
    }

    /// In an answer of this length in bytes, where it is known.
    pub(crate) fn of_length(self, length: Option<u64>) -> Intake<'a> {
        let is_long = length.is_some_and(|length| length > LONG);
        Intake {
            step: if is_long { STEP } else { BUFFER },
            ..self
        }
    }

    /// For the next of them.
    pub(crate) fn writer(self) -> StageWriter {
        StageWriter {
            folder: self.staging.folder(self.output),
            most: self.most,
            step: self.step,
            inspector: Inspector::new(),
            hash: Sha256::new(),
            bytes: 0,
            buffer: Vec::new(),
            file: None,
        }
    }
}

/// Takes the bytes of one file as they arrive: walks, hashes and stores them in constant memory.
pub(crate) struct StageWriter {
    folder: PathBuf,
    most: u64,
    step: usize,
    inspector: Inspector,
    hash: Sha256,
    bytes: u64,
    buffer: Vec<u8>,
    file: Option<NamedTempFile>,
}

impl StageWriter {
    /// Takes the next bytes.
    pub(crate) async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(|buffer| {
            buffer.extend_from_slice(bytes);
            Ok(())
        })?;
        self.write_if_full().await
    }

    /// Takes the bytes that `append` puts at the end of a buffer, and none where it fails. A defect of the media does not
    /// stop it: what was paid for is kept whole for a look. [`write_if_full`](StageWriter::write_if_full) is to follow.
    pub(crate) fn append(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let before = self.buffer.len();
        if let Err(error) = append(&mut self.buffer) {
            self.buffer.truncate(before);
            return Err(error);
        }
        let bytes = self.buffer.get(before..).unwrap_or_default();
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(Error::new(
                ErrorKind::InvalidMedia,
                format!("the media is larger than the allowed {} bytes", self.most),
            )
            .hint("raise sizes.media in media.json if such files are wanted"));
        }
        self.hash.update(bytes);
        // It remembers what it refuses, and what was paid for is kept whole for a look.
        let _ = self.inspector.push(bytes);
        Ok(())
    }

    /// Writes what has come, if that is enough for it.
    pub(crate) async fn write_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= self.step {
            self.spill().await?;
        }
        Ok(())
    }

    /// Whether what has come begins as media, whatever is wrong with them since.
    pub(crate) fn is_media(&self) -> bool {
        self.inspector.is_media()
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
        if self.file.is_some() && !self.buffer.is_empty() {
            self.spill().await?;
        }
        let held = match self.file.take() {
            Some(file) => Held::File(file),
            None => Held::Memory(self.buffer),
        };
        Ok(Staged::new(
            self.folder,
            held,
            self.inspector.finish(),
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
