//! Rows of a list written again, with why they failed and what to do: to be mended and run as a list of their own.

use std::io::{self, Write};

use super::row::Row;
use super::source::Source;
use super::template::key_of;
use super::text::BOM;

/// The columns that are added. A name that starts with `_` is a remark in every list.
const WHY: &str = "_why";
/// See [`WHY`].
const NEXT: &str = "_next";

/// Writes rows in the form of the list that they come from: the same columns, the same delimiter, or JSON lines.
pub(crate) struct RepairWriter<W: Write> {
    form: Form<W>,
}

enum Form<W: Write> {
    Table {
        out: Box<csv::Writer<W>>,
        /// The list's own columns, without remarks of an earlier repair.
        columns: Vec<String>,
    },
    Json(W),
}

impl<W: Write> std::fmt::Debug for RepairWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RepairWriter")
    }
}

impl<W: Write> RepairWriter<W> {
    /// Begins with the header of the list, if it has one.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn new(source: &Source, out: W) -> io::Result<RepairWriter<W>> {
        let Some(header) = source.header() else {
            return Ok(RepairWriter {
                form: Form::Json(out),
            });
        };
        let is_own = |name: &&String| ![WHY, NEXT].contains(&key_of(name).as_ref());
        let columns: Vec<String> = header.iter().filter(is_own).cloned().collect();
        let mut out = out;
        if source.has_mark() {
            out.write_all(BOM)?;
        }
        let mut out = csv::WriterBuilder::new()
            .delimiter(source.delimiter().unwrap_or(b','))
            .from_writer(out);
        let names = columns.iter().map(String::as_str).chain([WHY, NEXT]);
        out.write_record(names)?;
        Ok(RepairWriter {
            form: Form::Table {
                out: Box::new(out),
                columns,
            },
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn row(&mut self, row: &Row, why: &str, next: &str) -> io::Result<()> {
        match &mut self.form {
            Form::Table { out, columns } => {
                let cells = columns.iter().map(|name| row.text(name).unwrap_or_default());
                out.write_record(cells.chain([why, next]))?;
                Ok(())
            }
            Form::Json(out) => {
                let mut object = row.object();
                object.insert(WHY.to_owned(), why.into());
                object.insert(NEXT.to_owned(), next.into());
                let line = serde_json::to_string(&object)?;
                writeln!(out, "{line}")
            }
        }
    }

    /// All rows are written.
    ///
    /// # Errors
    /// They cannot be.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.form {
            Form::Table { mut out, .. } => out.flush(),
            Form::Json(mut out) => out.flush(),
        }
    }
}
