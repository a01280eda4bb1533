//! The table for Anki: `notes.txt`, ready for File > Import.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use media_core::MediaKind;
use tempfile::NamedTempFile;

use super::anki;
use super::bind::{BoundRecipe, made_of};
use super::jobs::{JobRow, JobSpec};
use super::problem::ListError;
use super::recipe::Table;
use super::source::Source;
use super::template::{Piece, Template, key_of};

/// How every table of ours starts; Anki's own exports have no `#columns` there.
const START: &str = "#separator:tab\n#html:true\n#columns:";

/// What there is of a job whose file exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    /// Whom to name.
    pub credit: Option<String>,
}

/// Writes the table row by row into a hidden file beside it, which takes its name when it is whole.
#[derive(Debug)]
pub(crate) struct TableWriter {
    path: PathBuf,
    columns: Vec<(String, Template)>,
    rows: csv::Writer<BufWriter<NamedTempFile>>,
}

impl TableWriter {
    /// The table of a recipe, below the output folder; `None` when the recipe has none. It is in `staging`, which is
    /// swept after a kill, until it is whole.
    ///
    /// # Errors
    /// When it cannot be written, or a file that is no table of ours (or is the list itself) is there.
    pub(crate) fn create(
        folder: &Path,
        staging: &Path,
        recipe: &BoundRecipe,
        source: &Source,
    ) -> Result<Option<TableWriter>, ListError> {
        let Some(table) = recipe.recipe().table() else {
            return Ok(None);
        };
        let path = folder.join(&table.path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| ListError::io("create the folder", parent, error))?;
        tempfile::tempfile_in(parent).map_err(|error| ListError::io("write in", parent, error))?;
        may_replace(&path, source)?;
        let failed = |error| ListError::io("write", &path, error);
        let mut out = BufWriter::new(media_core::stage_in(staging).map_err(failed)?);
        header(table, &mut out).map_err(failed)?;
        let rows = writer(out);
        Ok(Some(TableWriter {
            path,
            columns: table.columns.clone(),
            rows,
        }))
    }

    /// Writes a row. `made` tells what there is of a job: `None` without a file, which leaves its tag out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn row(&mut self, row: &JobRow, made: &[(&JobSpec, Made)]) -> Result<(), ListError> {
        let cells = self.columns.iter().map(|(_, template)| cell(template, row, made));
        self.rows
            .write_record(cells)
            .map_err(|error| ListError::io("write", &self.path, error.into()))
    }

    /// The table, whole and without its name, and the path that it is for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(self) -> Result<(NamedTempFile, PathBuf), ListError> {
        let failed = |error| ListError::io("write", &self.path, error);
        let out = self
            .rows
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        Ok((file, self.path))
    }
}

fn writer<W: std::io::Write>(out: W) -> csv::Writer<W> {
    // A first cell that starts with `#` would be a remark to Anki: naming the sign makes it quoted.
    csv::WriterBuilder::new()
        .delimiter(b'\t')
        .comment(Some(anki::COMMENT))
        .from_writer(out)
}

fn header(table: &Table, out: &mut BufWriter<NamedTempFile>) -> std::io::Result<()> {
    out.write_all(START.as_bytes())?;
    let mut names = writer(&mut *out);
    names.write_record(table.columns.iter().map(|(name, _)| name))?;
    names.flush()?;
    drop(names);
    match &table.deck {
        Some(deck) => writeln!(out, "#deck:{deck}"),
        None => Ok(()),
    }
}

/// Only a table of ours is replaced.
fn may_replace(path: &Path, source: &Source) -> Result<(), ListError> {
    let wrong = |message: &str| ListError::Table {
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListError::io("read", path, error)),
    };
    let failed = |error| ListError::io("read", path, error);
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(wrong(
            "this is a folder, and the table of the recipe is to go there; rename one",
        ));
    }
    if let (Ok(table), Ok(list)) = (path.canonicalize(), source.path().canonicalize())
        && table == list
    {
        return Err(wrong(
            "the table of the recipe would replace the list; rename table.path in the recipe",
        ));
    }
    let mut start = Vec::new();
    file.take(START.len() as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    if start.is_empty() || start == START.as_bytes() {
        return Ok(());
    }
    Err(wrong(
        "a file that is not one of our tables is there; move it, or rename table.path in the recipe",
    ))
}

fn cell(template: &Template, row: &JobRow, made: &[(&JobSpec, Made)]) -> String {
    let mut out = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Column { key, file } => match made_of(key) {
                Some((output, what)) => out.push_str(&of_made(output, what, made)),
                None if *file => out.push_str(&anki::escape(&media_core::validate::file_safe(
                    row.values.get(key),
                ))),
                None => out.push_str(&anki::escape(row.values.get(key))),
            },
        }
    }
    out.replace("\r\n", "<br>")
        .replace(['\r', '\n'], "<br>")
        .replace('\t', " ")
}

fn of_made(output: &str, what: &str, made: &[(&JobSpec, Made)]) -> String {
    let of_output = |job: &JobSpec| job.output.as_deref().is_some_and(|name| key_of(name) == output);
    let Some((job, made)) = made.iter().find(|(job, _)| of_output(job)) else {
        return String::new();
    };
    if what == "credit" {
        return anki::escape(made.credit.as_deref().unwrap_or_default());
    }
    // Anki resolves entities in both tags; a quote would end the first one early and a bracket the second.
    let name = job.path.rsplit('/').next().unwrap_or_default();
    let name = anki::escape(name)
        .replace('"', "&quot;")
        .replace('[', "&#91;")
        .replace(']', "&#93;");
    match job.kind {
        MediaKind::Image => format!("<img src=\"{name}\">"),
        MediaKind::Audio => format!("[sound:{name}]"),
    }
}
