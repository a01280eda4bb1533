//! What the ledger knows, written out: results as lines, and failed rows in the form of their own list.

use std::io::Write;
use std::path::Path;

use media_core::{Error, ErrorKind, Result};

use crate::chain::stands_at;
use crate::ledger::{JobStatus, Reader};
use crate::list::{JobRows, Recipe, RepairWriter, Source};
use crate::project::Project;

fn written(result: std::io::Result<()>) -> Result<()> {
    // A reader that has gone away wants no more.
    if let Err(error) = &result
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        return Ok(());
    }
    result.map_err(|error| Error::new(ErrorKind::Storage, "the results cannot be written").because(error))
}

/// The last result of every job, one line of JSON each; gives their number.
///
/// # Errors
/// The ledger cannot be read or `out` not be written.
pub fn export_results(reader: &Reader, out: &mut impl Write) -> Result<u64> {
    let mut count = 0;
    reader.each_job(|job| {
        if let Some(line) = &job.result {
            written(writeln!(out, "{line}"))?;
            count += 1;
        }
        Ok(())
    })?;
    written(out.flush())?;
    Ok(count)
}

/// The rows of a list of which a file failed, with why and what to do; gives their number.
///
/// # Errors
/// The list or the ledger cannot be read or `out` not be written.
pub fn export_failed(
    project: &Project,
    list: &Path,
    recipe: Option<&Path>,
    reader: &Reader,
    out: &mut impl Write,
) -> Result<u64> {
    let source = Source::open(list)?;
    let recipe = recipe
        .map(Recipe::read)
        .transpose()?
        .map(|recipe| recipe.bind(&source))
        .transpose()?;
    let read = |name: &str, kind, key: &str, cell: &str| project.read_param(name, kind, key, cell);
    let mut writer = RepairWriter::new(&source, out)?;
    let mut count = 0;
    // The rows as they are written, beside what they ask for.
    let rows = source.rows()?.zip(JobRows::new(&source, recipe.as_ref(), &read)?);
    for (row, jobs) in rows {
        let (Ok(row), Ok(jobs)) = (row, jobs) else {
            continue;
        };
        let (mut why, mut next) = (Vec::new(), Vec::new());
        for spec in &jobs.jobs {
            let Some(entry) = reader
                .job(&spec.id)?
                .filter(|job| job.status == JobStatus::Failed)
            else {
                continue;
            };
            let line = entry.last_line();
            let Some(error) = line.and_then(|line| line.error) else {
                continue;
            };
            let output = spec
                .output
                .as_deref()
                .map_or_else(String::new, |name| format!("{name}: "));
            why.push(format!("{output}{}", error.message));
            let standing = stands_at(&entry.spec, reader)?;
            let goes_on =
                (standing != entry.provider).then(|| format!("a run of its list goes on with {standing}"));
            next.extend(goes_on.or(error.next).map(|next| format!("{output}{next}")));
        }
        if !why.is_empty() {
            writer.row(&source, &row, &why.join("; "), &next.join("; "))?;
            count += 1;
        }
    }
    writer.finish(&source)?;
    Ok(count)
}
