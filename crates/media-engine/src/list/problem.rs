//! What can be wrong with a list: as a whole, or in one row.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_core::{Error, ErrorKind, is_unseen};

/// Why a list, a recipe or a table cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// A file could not be opened, read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The list is not one that can be read.
    #[error("{}: {message}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The recipe has mistakes, or does not fit the list; all of them, one per line.
    #[error("{}", lines(path, problems))]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// Each names the key first.
        problems: Vec<String>,
    },
    /// The list is not the one that was opened.
    #[error("{} changed while it was being read; run the same command again", path.display())]
    Changed {
        /// The list.
        path: PathBuf,
    },
    /// The table may not be written there.
    #[error("{}: {message}", path.display())]
    Table {
        /// Where it was to go.
        path: PathBuf,
        /// Why not, and what to do.
        message: String,
    },
}

fn lines(path: &Path, problems: &[String]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {problem}", path.display()))
        .collect();
    lines.join("\n")
}

impl ListError {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> ListError {
        ListError::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn list(path: &Path, message: impl Into<String>) -> ListError {
        ListError::List {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

impl From<ListError> for Error {
    fn from(error: ListError) -> Error {
        let kind = match &error {
            ListError::Io { .. } | ListError::Table { .. } => ErrorKind::Storage,
            ListError::Recipe { .. } => ErrorKind::Config,
            ListError::List { .. } | ListError::Changed { .. } => ErrorKind::InvalidRequest,
        };
        Error::new(kind, error.to_string()).not_billed()
    }
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// The list.
    pub file: Arc<Path>,
    /// The line where the row starts, counted from 1; 0 when it is about the list as a whole.
    pub line: u64,
    /// The column, where one is to blame.
    pub column: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl RowProblem {
    pub(super) fn new(file: &Arc<Path>, line: u64, message: impl Into<String>) -> RowProblem {
        RowProblem {
            file: Arc::clone(file),
            line,
            column: None,
            message: message.into(),
        }
    }

    pub(super) fn column(mut self, name: impl Into<String>) -> RowProblem {
        self.column = Some(name.into());
        self
    }
}

/// The first of what is wrong with a row.
pub(crate) fn first_of(problems: &[RowProblem]) -> Error {
    Error::invalid(problems.first().map_or_else(String::new, ToString::to_string))
}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column {}", quoted(column))?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Text from a list for a message: in quotes, without control characters, cut where it gets long.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    media_core::quoted(&shown)
}

/// `one`, `two` and `three`, at most a dozen of them.
pub(super) fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    const MOST: usize = 12;
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names.by_ref().take(MOST).map(|name| cut(name.as_ref())).collect();
    match names.count() {
        0 if shown.is_empty() => shown.push("none".to_owned()),
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

fn cut(name: &str) -> String {
    const MOST: usize = 40;
    let clean: String = name
        .chars()
        .take(MOST)
        .map(|c| if is_unseen(c) { ' ' } else { c })
        .collect();
    if clean.chars().count() < name.chars().count() {
        clean + "…"
    } else {
        clean
    }
}
