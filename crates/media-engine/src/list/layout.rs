//! Tables: what the first lines of a file say about its delimiter and its columns.

use std::collections::HashMap;
use std::sync::Arc;

use super::anki::{self, Directives};
use super::problem::quoted;
use super::records::{Record, Records};
use super::source::HEAD;
use super::template::key_of;

#[derive(Clone, Debug)]
pub(super) struct TableLayout {
    pub(super) delimiter: u8,
    pub(super) columns: Arc<Columns>,
    pub(super) comment: Option<u8>,
    pub(super) html: bool,
    pub(super) skip_lines: usize,
    pub(super) has_header: bool,
}

/// The columns of a table, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) index: HashMap<String, usize>,
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
            if let Some(first) = index.insert(key_of(name).into_owned(), n) {
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

impl TableLayout {
    pub(super) fn find(head: &[u8], whole: bool) -> Result<TableLayout, String> {
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
