//! A list that can be read from the start as often as needed: CSV, TSV, JSON lines or an export of Anki's.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::layout::TableLayout;
use super::problem::{ListError, RowProblem};
use super::records::Records;
use super::row::{MAX_KEYS, MAX_LINE, Row, json_row, table_row};
use super::template::key_of;
use super::text::{BOM, refuse};

/// What is looked at to tell what a file is. A header line must fit.
pub(super) const HEAD: u64 = 64 << 10;

/// A list, opened: its kind and columns are known, its rows are read by [`rows`](Source::rows).
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: Arc<Path>,
    stamp: Stamp,
    layout: Layout,
    /// It begins with a byte order mark, by which Excel knows the encoding.
    has_mark: bool,
}

#[derive(Clone, Debug)]
enum Layout {
    JsonLines,
    Table(TableLayout),
}

/// What tells that a file is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl Source {
    /// Opens a list and finds out what it is: JSON lines by its extension (`.jsonl`, `.ndjson`), else a table whose
    /// header line decides about the delimiter.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8 text, is empty, or has an unusable header.
    pub(crate) fn open(path: &Path) -> Result<Source, ListError> {
        let wrong = |message: String| ListError::list(path, message);
        // A pipe would wait for a writer when opened.
        let metadata = path
            .metadata()
            .map_err(|error| ListError::io("read", path, error))?;
        if !metadata.is_file() {
            return Err(wrong(
                "this is not a file; a list is read more than once, so give the path of a file".into(),
            ));
        }
        let mut file = open(path)?;
        let stamp = stamp(&file, path)?;
        let mut head = Vec::new();
        file.by_ref()
            .take(HEAD)
            .read_to_end(&mut head)
            .map_err(|error| ListError::io("read", path, error))?;
        let whole = (head.len() as u64) < HEAD;
        if let Some(message) = refuse(&head, whole) {
            return Err(wrong(message));
        }
        let text = head.strip_prefix(BOM).unwrap_or(&head);
        let extension = path
            .extension()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let layout = match (extension.as_str(), first) {
            ("jsonl" | "ndjson", Some(b'[')) => {
                return Err(wrong(
                    "this is one JSON array; write one object {…} per line".to_owned(),
                ));
            }
            ("jsonl" | "ndjson", _) => Layout::JsonLines,
            (_, Some(b'{' | b'[')) => {
                return Err(wrong(
                    "this looks like JSON; write one object per line and name the file .jsonl".to_owned(),
                ));
            }
            _ => Layout::Table(TableLayout::find(text, whole).map_err(wrong)?),
        };
        Ok(Source {
            path: path.into(),
            stamp,
            layout,
            has_mark: head.starts_with(BOM),
        })
    }

    pub(super) fn has_mark(&self) -> bool {
        self.has_mark
    }

    /// The file.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What its cells are separated by, if it is a table.
    pub(super) fn delimiter(&self) -> Option<u8> {
        match &self.layout {
            Layout::JsonLines => None,
            Layout::Table(table) => Some(table.delimiter),
        }
    }

    pub(super) fn shared_path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The columns as the header writes them; `None` for JSON lines, which have none.
    #[must_use]
    pub(crate) fn header(&self) -> Option<&[String]> {
        match &self.layout {
            Layout::JsonLines => None,
            Layout::Table(table) => Some(&table.columns.names),
        }
    }

    /// The columns, or all keys that any line has; for the latter the whole list is read.
    pub(super) fn all_columns(&self) -> Result<Vec<String>, ListError> {
        if let Layout::Table(table) = &self.layout {
            return Ok(table.columns.names.clone());
        }
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        // What is wrong with rows is told where rows are read for their own sake.
        for row in self.rows()?.flatten() {
            for name in row.names() {
                if seen.insert(key_of(name).into_owned()) {
                    names.push(name.to_owned());
                }
            }
            if names.len() > MAX_KEYS {
                let message =
                    format!("the lines have more than {MAX_KEYS} different keys; use the same keys in all");
                return Err(ListError::list(&self.path, message));
            }
        }
        Ok(names)
    }

    /// The rows, from the start.
    ///
    /// # Errors
    /// When it cannot be read, or is not the file that was opened.
    pub(crate) fn rows(&self) -> Result<Rows, ListError> {
        let file = open(&self.path)?;
        if stamp(&file, &self.path)? != self.stamp {
            return Err(ListError::Changed {
                path: self.path.to_path_buf(),
            });
        }
        let file = Unchanged {
            file,
            stamp: self.stamp.clone(),
        };
        let (delimiter, comment, skip_lines) = match &self.layout {
            Layout::JsonLines => (0, None, 0),
            Layout::Table(table) => (table.delimiter, table.comment, table.skip_lines),
        };
        let failed = |error| ListError::io("read", &self.path, error);
        let mut records = Records::new(file, delimiter, comment, skip_lines).map_err(failed)?;
        if let Layout::Table(TableLayout { has_header: true, .. }) = self.layout {
            records.next(0).map_err(failed)?;
        }
        Ok(Rows {
            source: self.clone(),
            records,
            is_over: false,
        })
    }
}

fn open(path: &Path) -> Result<File, ListError> {
    File::open(path).map_err(|error| ListError::io("read", path, error))
}

fn stamp(file: &File, path: &Path) -> Result<Stamp, ListError> {
    file.metadata()
        .map(|metadata| Stamp::of(&metadata))
        .map_err(|error| ListError::io("read", path, error))
}

/// A file that is not read past a change. A run reads its list for hours, and an editor that saves in place shifts what was
/// not read yet: half of one row would be bought with half of another, and rows that were read before once more.
#[derive(Debug)]
struct Unchanged {
    file: File,
    stamp: Stamp,
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        // Looked at after the bytes were read, before anybody sees them.
        if Stamp::of(&self.file.metadata()?) == self.stamp {
            return Ok(count);
        }
        Err(std::io::Error::other(CHANGED))
    }
}

const CHANGED: &str = "it changed while it was being read; run the same command again";

/// The rows of a list; one that cannot be read is an error and the next one is tried.
#[derive(Debug)]
pub(crate) struct Rows {
    source: Source,
    records: Records<Unchanged>,
    is_over: bool,
}

impl Rows {
    fn read(&mut self) -> std::io::Result<Option<Result<Row, RowProblem>>> {
        let path = &self.source.path;
        match &self.source.layout {
            Layout::JsonLines => loop {
                let Some((line, bytes)) = self.records.next_line(MAX_LINE)? else {
                    return Ok(None);
                };
                if bytes
                    .as_ref()
                    .is_none_or(|bytes| !bytes.iter().all(u8::is_ascii_whitespace))
                {
                    return Ok(Some(json_row(path, line, bytes)));
                }
            },
            Layout::Table(table) => {
                let record = self.records.next(table.columns.names.len())?;
                Ok(record.map(|record| table_row(path, table, record)))
            }
        }
    }

    fn is_changed(&self) -> bool {
        self.source
            .path
            .metadata()
            .map_or(true, |metadata| Stamp::of(&metadata) != self.source.stamp)
    }
}

impl Iterator for Rows {
    type Item = Result<Row, RowProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let path = Arc::clone(&self.source.path);
        match self.read() {
            Ok(Some(row)) => Some(row),
            Ok(None) => {
                self.is_over = true;
                self.is_changed().then(|| {
                    Err(RowProblem::new(
                        &path,
                        0,
                        format!("the file is another one now: {CHANGED}"),
                    ))
                })
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(RowProblem::new(
                    &path,
                    0,
                    format!("the file cannot be read further: {error}"),
                )))
            }
        }
    }
}
