//! The table that a recipe asks for, beside the files: which of them are a row's own, and the table before it.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, Result};
use tempfile::NamedTempFile;

use crate::folder::Folder;
use crate::found::{Found, find, hash_of, is_as_made};
use crate::ledger::{Entry, Reader};
use crate::list::{JobRows, JobSpec, Made, TableWriter};
use crate::place;
use crate::worklist::Worklist;

/// Whether the table that the recipe asks for can be written, so that this is not found out after everything is bought.
///
/// # Errors
/// Why it cannot.
pub fn check_table(worklist: &Worklist, folder: &Folder) -> Result<()> {
    if let Some((source, recipe)) = worklist.by_recipe() {
        TableWriter::create(folder.out(), &folder.staging(), recipe, source)
            .map_err(|error| Error::from(error).not_billed())?;
    }
    Ok(())
}

/// A table that was written.
#[derive(Clone, Debug)]
pub struct WrittenTable {
    /// Where it is.
    pub path: PathBuf,
    /// Where the one before it is kept, when that was edited since, or had more rows.
    pub former: Option<PathBuf>,
}

/// Writes the table that the recipe asks for.
///
/// # Errors
/// When the list cannot be read again or the table cannot be written.
pub fn write_table(worklist: &Worklist, folder: &Folder) -> Result<Option<WrittenTable>> {
    let Some((source, recipe)) = worklist.by_recipe() else {
        return Ok(None);
    };
    let Some(mut table) = TableWriter::create(folder.out(), &folder.staging(), recipe, source)? else {
        return Ok(None);
    };
    folder.ledger().flush()?;
    let reader = folder.ledger().reader()?;
    // The cells of parameters do not matter to the table.
    let read = |_: &str, _, _: &str, cell: &str| Ok(serde_json::Value::from(cell));
    for row in JobRows::new(source, Some(recipe), &read)? {
        // A row that could not be read was found when the list was checked; it has changed since.
        let row = row.map_err(|problem| Error::new(ErrorKind::InvalidRequest, problem.to_string()))?;
        let mut made = Vec::new();
        for spec in &row.jobs {
            made.extend(own_file(&reader, folder.out(), spec)?.map(|file| (spec, file)));
        }
        table.row(&row, &made)?;
    }
    let (staged, path) = table.finish()?;
    put_table(folder, staged, path).map(Some)
}

/// Whether what stands at a row's path is its own, and whom to name for it. A row that failed because another one's file stands there
/// must not get that on its card.
fn own_file(reader: &Reader, out: &Path, spec: &JobSpec) -> Result<Option<Made>> {
    let path = out.join(&spec.path);
    if std::fs::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let take_of =
        |entry: Option<Entry>| entry.map_or(Ok(None), |entry| reader.take(&entry.spec.id, entry.take));
    if let Some(take) = take_of(reader.job(&spec.id)?)?.filter(|take| take.path == spec.path) {
        return Ok(match find(out, &path, Some(&take)) {
            Found::AsMade => Some(Made {
                credit: take.provenance.credit,
            }),
            // A person's own.
            Found::Valid => Some(Made { credit: None }),
            Found::Nothing | Found::Broken(_) | Found::InTheWay(_) => None,
        });
    }
    for made in reader.made_at(&spec.path, &spec.id)? {
        if !is_as_made(&path, made.bytes, &made.sha256, made.modified_ns) {
            continue;
        }
        // Rows that ask for the same at one path share its file.
        let is_equal = |job: &Entry| {
            job.hash == made.hash && job.spec.content == spec.content && job.spec.language == spec.language
        };
        let take = take_of(reader.job(&made.job)?.filter(is_equal))?;
        return Ok(take.map(|take| Made {
            credit: take.provenance.credit,
        }));
    }
    let is_valid = find(out, &path, None) == Found::Valid;
    Ok(is_valid.then_some(Made { credit: None }))
}

/// The tables that runs of this folder have written, by their names.
///
/// # Errors
/// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn tables(folder: &Folder) -> Result<Vec<String>> {
    folder.ledger().reader()?.tables()
}

/// Gives a table its name. One that stands there is replaced when a run has written it and the new one is no shorter.
fn put_table(folder: &Folder, staged: NamedTempFile, path: PathBuf) -> Result<WrittenTable> {
    let failed = |error| Error::storage("cannot write", &path, error);
    // By its name: recipes with other names for their tables may share the folder.
    let name = format!("table {}", path.file_name().unwrap_or_default().to_string_lossy());
    let (old, new) = (hash_of(&path), hash_of(staged.path()));
    let is_as_written = folder.ledger().reader()?.meta(&name)? == old;
    let former = if old.is_none() || old == new || is_as_written && lines_of(&path) <= lines_of(staged.path())
    {
        None
    } else {
        Some(place::move_aside(folder.out(), &path)?)
    };
    staged.persist(&path).map_err(|error| failed(error.error))?;
    folder.ledger().note_meta(&[(&name, &new.unwrap_or_default())])?;
    Ok(WrittenTable { path, former })
}

fn lines_of(path: &Path) -> usize {
    let file = std::fs::File::open(path).map(std::io::BufReader::new);
    file.map_or(0, |file| file.split(b'\n').count())
}
