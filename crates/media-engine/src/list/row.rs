//! Rows: the cells of a record or an object, by the names of their columns.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::json::Json;
use super::layout::{Columns, TableLayout};
use super::problem::{RowProblem, listed, quoted};
use super::records::Record;
use super::template::key_of;
use super::text::text_of;
use super::{MAX_CELL, anki};

/// The longest line of JSON.
pub(super) const MAX_LINE: usize = 8 << 20;

/// How many different keys all objects of a list may have together.
pub(super) const MAX_KEYS: usize = 1000;

/// One row of a list.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    line: u64,
    cells: Cells,
}

#[derive(Clone, Debug)]
enum Cells {
    Table {
        columns: Arc<Columns>,
        cells: Vec<String>,
    },
    Object(Vec<(String, Json)>),
}

/// One cell of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    Json(&'a Json),
}

impl Row {
    /// The line where it starts, counted from 1.
    #[must_use]
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The text of a column, compared without case; `None` where there is no such column or its value is no text.
    #[must_use]
    pub(crate) fn text(&self, column: &str) -> Option<&str> {
        match self.cell(&key_of(column))? {
            Cell::Text(text) => Some(text),
            Cell::Json(Json::Text(text)) => Some(text),
            Cell::Json(_) => None,
        }
    }

    /// All of it, as an object.
    pub(super) fn object(&self) -> serde_json::Map<String, serde_json::Value> {
        match &self.cells {
            Cells::Table { columns, cells } => columns
                .names
                .iter()
                .zip(cells)
                .map(|(name, cell)| (name.clone(), cell.as_str().into()))
                .collect(),
            Cells::Object(entries) => entries
                .iter()
                .map(|(name, value)| (name.clone(), value.value()))
                .collect(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let (table, object) = match &self.cells {
            Cells::Table { columns, .. } => (columns.names.as_slice(), &[][..]),
            Cells::Object(entries) => (&[][..], entries.as_slice()),
        };
        table
            .iter()
            .map(String::as_str)
            .chain(object.iter().map(|(name, _)| name.as_str()))
    }

    /// By the name as [`key_of`] writes it.
    pub(super) fn cell(&self, key: &str) -> Option<Cell<'_>> {
        match &self.cells {
            Cells::Table { columns, cells } => {
                cells.get(*columns.index.get(key)?).map(|text| Cell::Text(text))
            }
            Cells::Object(entries) => entries
                .iter()
                .find(|(name, _)| key_of(name) == key)
                .map(|(_, value)| Cell::Json(value)),
        }
    }
}

pub(super) fn table_row(path: &Arc<Path>, table: &TableLayout, record: Record) -> Result<Row, RowProblem> {
    let names = &table.columns.names;
    let line = record.line;
    let problem = |n: usize, message: String| {
        let problem = RowProblem::new(path, line, message);
        match names.get(n) {
            Some(name) => problem.column(name),
            None => problem,
        }
    };
    if let Some((n, message)) = record.problems.into_iter().next() {
        return Err(problem(n, message));
    }
    if record.found != names.len() {
        let (found, wanted) = (record.found, names.len());
        let last = record
            .cells
            .last()
            .map(|cell| quoted(&String::from_utf8_lossy(cell)))
            .unwrap_or_default();
        let advice = if found > wanted {
            "put text that contains the delimiter in quotes".to_owned()
        } else {
            format!("the last is {last}; add the missing delimiters")
        };
        let message = format!(
            "the row has {found} cells and the header {wanted} ({}); {advice}",
            listed(names)
        );
        return Err(problem(usize::MAX, message));
    }
    let mut cells = Vec::with_capacity(record.cells.len());
    for (n, bytes) in record.cells.into_iter().enumerate() {
        let text = text_of(bytes).map_err(|message| problem(n, message))?;
        cells.push(if table.html { anki::plain(&text) } else { text });
    }
    Ok(Row {
        line,
        cells: Cells::Table {
            columns: Arc::clone(&table.columns),
            cells,
        },
    })
}

pub(super) fn json_row(path: &Arc<Path>, line: u64, bytes: Option<Vec<u8>>) -> Result<Row, RowProblem> {
    let wrong = |message: String| RowProblem::new(path, line, message);
    let bytes = bytes.ok_or_else(|| {
        wrong(format!(
            "the line is longer than {} MiB; shorten it",
            MAX_LINE >> 20
        ))
    })?;
    let text = text_of(bytes).map_err(|message| wrong(format!("the line {message}")))?;
    let json = Json::parse(&text).map_err(|error| {
        wrong(format!(
            "this is not JSON, at character {}: {}",
            error.character, error.message
        ))
    })?;
    let Json::Object(entries) = json else {
        let message = format!(
            "this is {}; every line must be one object, {{…}}",
            json.describe()
        );
        return Err(wrong(message));
    };
    if entries.len() > MAX_KEYS {
        return Err(wrong(format!("the object has more than {MAX_KEYS} keys")));
    }
    let mut seen = HashSet::new();
    for (name, value) in &entries {
        if !seen.insert(key_of(name)) {
            return Err(
                wrong("this key is there twice (upper and lower case count as the same)".into()).column(name),
            );
        }
        if matches!(value, Json::Text(text) if text.len() > MAX_CELL) {
            return Err(wrong(format!(
                "the text is longer than {} MiB; shorten it",
                MAX_CELL >> 20
            ))
            .column(name));
        }
    }
    Ok(Row {
        line,
        cells: Cells::Object(entries),
    })
}
