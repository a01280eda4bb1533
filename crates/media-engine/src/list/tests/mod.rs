//! Tests of lists and recipes together, over files on disk as users have them.

mod bad_input;
mod check;
mod examples;
mod jobs;
mod parsing;
mod recipe;
mod table;

use std::path::{Path, PathBuf};

use media_core::MediaKind;
use serde_json::Value;
use tempfile::TempDir;

use super::problem::ListError;
use super::row::Row;
use super::*;

/// A folder with files, and what they are read as.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn open(&self, name: &str, content: impl AsRef<[u8]>) -> Result<Source, ListError> {
        Source::open(&self.file(name, content))
    }

    /// The message about a list that cannot be opened.
    fn refused(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let message = self.open(name, content).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
        message.split_once(": ").unwrap().1.to_owned()
    }

    /// Cells of all rows, and messages in place of bad ones, without the path.
    fn rows(&self, name: &str, content: impl AsRef<[u8]>) -> Vec<(u64, Vec<String>)> {
        let source = self.open(name, content).unwrap();
        let header = source.header().map(<[String]>::to_vec);
        let names = header.unwrap_or_else(|| source.all_columns().unwrap());
        let row = |row: Result<Row, RowProblem>| match row {
            Ok(row) => (
                row.line(),
                names
                    .iter()
                    .map(|name| row.text(name).unwrap_or("-").to_owned())
                    .collect(),
            ),
            Err(problem) => (
                problem.line,
                vec![format!(
                    "! {}: {}",
                    problem.column.unwrap_or_default(),
                    problem.message
                )],
            ),
        };
        source.rows().unwrap().map(row).collect()
    }
}

/// A stand-in for the types of providers: what ends in `width` is a number, `nope` is unknown.
fn read_param(provider: &str, _: MediaKind, key: &str, cell: &str) -> Result<Value, String> {
    match key {
        "nope" => Err(format!("{provider} has no parameter \"nope\"")),
        "width" => cell
            .trim()
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| format!("expected a number, found {cell:?}")),
        _ => Ok(Value::from(cell)),
    }
}

/// Jobs, and what is wrong.
fn all_jobs(source: &Source, recipe: Option<&BoundRecipe>) -> (Vec<JobSpec>, Vec<String>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for job in Jobs::new(source, recipe, &read_param).unwrap() {
        match job {
            Ok(job) => good.push(job),
            Err(problems) => bad.extend(problems.iter().map(|problem| short(problem, source.path()))),
        }
    }
    (good, bad)
}

/// The message without the folder.
fn short(problem: &RowProblem, path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    problem.to_string().replace(&folder, "")
}
