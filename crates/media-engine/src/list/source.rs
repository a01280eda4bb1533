//! A list that can be read from the start as often as needed: CSV, TSV, JSON lines or an export of Anki's.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::MAX_CELL;
use super::anki::{self, Directives};
use super::json::Json;
use super::problem::{ListError, RowProblem, listed, quoted};
use super::records::{Record, Records};
use super::template::key_of;
use super::text::{BOM, refuse, refuse_cell};

/// What is looked at to tell what a file is. A header line must fit.
const HEAD: u64 = 64 << 10;

/// The longest line of JSON.
const MAX_LINE: usize = 8 << 20;

/// How many different keys all objects of a list may have together.
const MAX_KEYS: usize = 1000;

/// A list, opened: its kind and columns are known, its rows are read by [`rows`](Source::rows).
#[derive(Clone, Debug)]
pub struct Source {
    path: Arc<Path>,
    stamp: Stamp,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    JsonLines,
    Table(TableLayout),
}

#[derive(Clone, Debug)]
struct TableLayout {
    delimiter: u8,
    columns: Arc<Columns>,
    comment: Option<u8>,
    html: bool,
    skip_lines: usize,
    has_header: bool,
}

/// The columns of a table, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    index: HashMap<String, usize>,
}

impl Columns {
    fn new(names: Vec<String>) -> Result<Columns, String> {
        let mut index = HashMap::new();
        for (n, name) in names.iter().enumerate() {
            if name.is_empty() {
                let number = n + 1;
                return Err(format!(
                    "the header of column {number} is empty; name the column or delete it"
                ));
            }
            if let Some(first) = index.insert(key_of(name), n) {
                return Err(format!(
                    "columns {} and {} are both called {}; rename one (upper and lower case count as the same)",
                    first + 1,
                    n + 1,
                    quoted(name)
                ));
            }
        }
        Ok(Columns { names, index })
    }
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
    pub fn open(path: &Path) -> Result<Source, ListError> {
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
        let is_json = text
            .iter()
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|byte| b"{[".contains(byte));
        let layout = match extension.as_str() {
            "jsonl" | "ndjson" => Layout::JsonLines,
            _ if is_json => {
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
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn shared_path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The columns as the header writes them; `None` for JSON lines, which have none.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
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
                if seen.insert(key_of(name)) {
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
    pub fn rows(&self) -> Result<Rows, ListError> {
        let file = open(&self.path)?;
        if stamp(&file, &self.path)? != self.stamp {
            return Err(ListError::Changed {
                path: self.path.to_path_buf(),
            });
        }
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

impl TableLayout {
    fn find(head: &[u8], whole: bool) -> Result<TableLayout, String> {
        // The head may end within a character.
        let text = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let directives = Directives::read(text)?;
        if let Some(directives) = directives {
            return TableLayout::of_anki(&directives, head, whole);
        }
        // Excel writes and obeys a first line that names the delimiter.
        let first = text.lines().next().unwrap_or_default().trim_matches('"');
        let named = first
            .to_ascii_lowercase()
            .strip_prefix("sep=")
            .and_then(|rest| rest.bytes().next());
        let skip_lines = usize::from(named.is_some());
        let delimiter = match named {
            Some(delimiter) if delimiter.is_ascii() => delimiter,
            Some(_) => {
                return Err(format!(
                    "line 1 names a delimiter that is none: {}",
                    quoted(first)
                ));
            }
            None => delimiter_of(text)?,
        };
        let record = first_record(head, whole, delimiter, None, skip_lines)?;
        let names = names(&record)?;
        let columns = Arc::new(Columns::new(names)?);
        Ok(TableLayout {
            delimiter,
            columns,
            comment: None,
            html: false,
            skip_lines,
            has_header: true,
        })
    }

    fn of_anki(directives: &Directives, head: &[u8], whole: bool) -> Result<TableLayout, String> {
        let delimiter = match (directives.separator, &directives.columns) {
            (Some(delimiter), _) => delimiter,
            (None, Some(columns)) => delimiter_of(columns)?,
            (None, None) => b'\t',
        };
        let names = match &directives.columns {
            Some(columns) => names(&first_record(columns.as_bytes(), true, delimiter, None, 0)?)?,
            None => directives.names(first_record(head, whole, delimiter, Some(anki::COMMENT), 0)?.found),
        };
        let columns = Arc::new(Columns::new(names)?);
        let comment = Some(anki::COMMENT);
        Ok(TableLayout {
            delimiter,
            columns,
            comment,
            html: directives.html,
            skip_lines: 0,
            has_header: false,
        })
    }
}

fn first_record(
    head: &[u8],
    whole: bool,
    delimiter: u8,
    comment: Option<u8>,
    skip_lines: usize,
) -> Result<Record, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut records = Records::new(head, delimiter, comment, skip_lines).map_err(failed)?;
    let record = records
        .next(usize::MAX)
        .map_err(failed)?
        .ok_or("there are no rows; write one row per file to make")?;
    // Something must follow it, or it may go on behind the head.
    if !whole && records.next(0).map_err(failed)?.is_none() {
        return Err(format!(
            "the header line is longer than {} KiB; is a closing quote missing?",
            HEAD >> 10
        ));
    }
    if let Some((n, problem)) = record.problems.first() {
        return Err(format!("the header, column {}: {problem}", n + 1));
    }
    Ok(record)
}

fn names(record: &Record) -> Result<Vec<String>, String> {
    let read = |cell: &Vec<u8>| match std::str::from_utf8(cell) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(_) => Err("the header is not UTF-8".to_owned()),
    };
    record.cells.iter().map(read).collect()
}

/// The delimiter that the first line uses, outside quotes.
fn delimiter_of(text: &str) -> Result<u8, String> {
    let (mut counts, mut in_quotes) = ([(b'\t', 0), (b';', 0), (b',', 0)], false);
    for byte in text.trim_start().bytes() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\n' | b'\r' if !in_quotes => break,
            _ if in_quotes => {}
            _ => counts
                .iter_mut()
                .filter(|(delimiter, _)| *delimiter == byte)
                .for_each(|(_, count)| *count += 1),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match counts {
        [(_, most), (_, second), _] if most == second && most > 0 => Err(
            "the header line has as many commas as semicolons or tabs, so the delimiter is unclear; put names that \
             contain one in quotes"
                .to_owned(),
        ),
        // One column needs none.
        [(_, 0), ..] => Ok(b','),
        [(delimiter, _), ..] => Ok(delimiter),
    }
}

/// One row of a list.
#[derive(Clone, Debug)]
pub struct Row {
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
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The text of a column, compared without case; `None` where there is no such column or its value is no text.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.cell(&key_of(column))? {
            Cell::Text(text) => Some(text),
            Cell::Json(Json::Text(text)) => Some(text),
            Cell::Json(_) => None,
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

/// The rows of a list; one that cannot be read is an error and the next one is tried.
#[derive(Debug)]
pub struct Rows {
    source: Source,
    records: Records<File>,
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
                    return Ok(Some(json_row(path, line, bytes.as_deref())));
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
                let message = "the file changed while it was being read; run the same command again";
                self.is_changed()
                    .then(|| Err(RowProblem::new(&path, 0, message).fatal()))
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(RowProblem::new(
                    &path,
                    0,
                    format!("the file cannot be read further: {error}"),
                )
                .fatal()))
            }
        }
    }
}

fn table_row(path: &Arc<Path>, table: &TableLayout, record: Record) -> Result<Row, RowProblem> {
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
        if let Some(message) = refuse_cell(&bytes) {
            return Err(problem(n, message));
        }
        let text = String::from_utf8(bytes).map_err(|_| problem(n, "is not UTF-8".to_owned()))?;
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

fn json_row(path: &Arc<Path>, line: u64, bytes: Option<&[u8]>) -> Result<Row, RowProblem> {
    let wrong = |message: String| RowProblem::new(path, line, message);
    let bytes = bytes.ok_or_else(|| {
        wrong(format!(
            "the line is longer than {} MiB; shorten it",
            MAX_LINE >> 20
        ))
    })?;
    if let Some(message) = refuse_cell(bytes) {
        return Err(wrong(format!("the line {message}")));
    }
    let text = String::from_utf8_lossy(bytes);
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
