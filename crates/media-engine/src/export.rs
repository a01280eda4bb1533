//! What the ledger knows, written out: results as lines, and failed rows in the form of their own list.

use std::io::{self, Write};
use std::path::Path;

use media_core::{Error, ErrorKind, Result};

use crate::chain::stands_at;
use crate::ledger::{JobStatus, Reader};
use crate::list::{self, JobRows, RepairWriter};
use crate::project::Project;

/// Where results go. A reader that has gone away, such as `head`, wants no more, which is no failure.
struct Out<W>(W);

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, "the results cannot be written").because(error)
}

/// The last result of every job, one line of JSON each; gives their number.
///
/// # Errors
/// The ledger cannot be read or `out` not be written.
pub fn export_results(reader: &Reader, out: &mut impl Write) -> Result<u64> {
    let mut out = Out(out);
    let mut count = 0;
    reader.each_job(|job| {
        if let Some(line) = &job.result {
            writeln!(out, "{line}").map_err(failed)?;
            count += 1;
        }
        Ok(())
    })?;
    out.flush().map_err(failed)?;
    Ok(count)
}

/// The rows of a list of which a file failed, with why and what to do; gives their number. `only`: of these providers, if any
/// are named.
///
/// # Errors
/// The list or the ledger cannot be read or `out` not be written.
pub fn export_failed(
    project: &Project,
    list: &Path,
    recipe: Option<&Path>,
    only: &[String],
    reader: &Reader,
    out: &mut impl Write,
) -> Result<u64> {
    let (source, recipe) = list::open(list, recipe)?;
    let read = project.reader();
    let mut writer = RepairWriter::new(&source, Out(out)).map_err(failed)?;
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
                .filter(|job| only.is_empty() || only.contains(&job.provider))
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
            writer
                .row(&row, &why.join("; "), &next.join("; "))
                .map_err(failed)?;
            count += 1;
        }
    }
    writer.finish().map_err(failed)?;
    Ok(count)
}
