//! The output folder and its `.media`: staging, what was kept of earlier runs, and the mark of a simulation.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, Result, prepare};

use crate::line::{Line, Status};

/// An output folder, opened for one run: nobody else may run in it meanwhile.
#[derive(Debug)]
pub struct Folder {
    out: PathBuf,
    results: BufWriter<File>,
    /// Held until the run ends; the operating system lets go of it when the process dies.
    _lock: File,
    simulated: bool,
    project: String,
}

const MARK: &str = "simulated";
const RESULTS: &str = "results.jsonl";

fn storage(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what} {}", path.display())).because(error)
}

impl Folder {
    /// Opens `out`, creating it if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be used; [`ErrorKind::Config`] when another run is in it, or when it holds
    /// simulated results and this run is real, or the other way round.
    pub fn open(out: &Path, simulated: bool) -> Result<Folder> {
        // Nothing has been sent yet, whatever goes wrong here.
        Folder::open_now(out, simulated).map_err(Error::not_billed)
    }

    fn open_now(out: &Path, simulated: bool) -> Result<Folder> {
        let inner = out.join(".media");
        prepare(&inner.join("staging").join("x"))?;
        let lock_path = inner.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| storage("cannot open", &lock_path, error))?;
        if lock.try_lock().is_err() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("another run is at work in {}", out.display()),
            )
            .not_billed()
            .hint("wait for it, or name another folder by --out"));
        }
        check_mark(out, &inner, simulated)?;
        sweep(&inner.join("staging"))?;
        let path = inner.join(RESULTS);
        let results = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| storage("cannot open", &path, error))?;
        end_cut_line(&path)?;
        Ok(Folder {
            out: out.to_owned(),
            results: BufWriter::new(results),
            _lock: lock,
            simulated,
            project: project(out, &inner)?,
        })
    }

    /// Where the outputs go.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The folder's own place, for staging and rejected files.
    #[must_use]
    pub fn inner(&self) -> PathBuf {
        self.out.join(".media")
    }

    /// What attempt keys are computed within.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Whether its results are simulated.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// Keeps a result.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be written.
    pub(crate) fn keep(&mut self, line: &Line) -> Result<()> {
        // A file that was there already is no news; keeping it would let the file of results grow with every run.
        if line.status == Status::Skipped {
            return Ok(());
        }
        let path = self.inner().join(RESULTS);
        let mut text = serde_json::to_string(line).map_err(|error| {
            Error::new(ErrorKind::Storage, "a result cannot be written as JSON").because(error)
        })?;
        text.push('\n');
        let failed = |error| storage("cannot write", &path, error);
        self.results.write_all(text.as_bytes()).map_err(failed)?;
        // A file that is there speaks for itself; a doubt and a name to credit are nowhere else.
        if line.status != Status::Done || line.credit.is_some() {
            self.results.flush().map_err(failed)?;
        }
        Ok(())
    }

    /// Writes down what is still on its way.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be written.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let path = self.inner().join(RESULTS);
        self.results
            .flush()
            .map_err(|error| storage("cannot write", &path, error))
    }

    /// Every result ever kept, oldest first. A line that a crash cut short is passed over, and no other is lost by it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when they cannot be read.
    pub fn kept(&self) -> Result<impl Iterator<Item = Result<Line>>> {
        let path = self.inner().join(RESULTS);
        let file = File::open(&path).map_err(|error| storage("cannot read", &path, error))?;
        // By bytes: a cut in the middle of a letter must not end the reading.
        Ok(BufReader::new(file)
            .split(b'\n')
            .filter_map(move |line| match line {
                Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
                Err(error) => Some(Err(storage("cannot read", &path, error))),
            }))
    }
}

/// A simulated run marks its folder; afterwards only runs of the same sort may use it.
fn check_mark(out: &Path, inner: &Path, simulated: bool) -> Result<()> {
    let mark = inner.join(MARK);
    let used = inner.join(RESULTS).exists();
    let refuse =
        |message: String, hint: &str| Err(Error::new(ErrorKind::Config, message).not_billed().hint(hint));
    match (simulated, mark.exists()) {
        (false, true) => refuse(
            format!(
                "{} holds simulated results, which a real run does not mix with real ones",
                out.display()
            ),
            "name another folder by --out, or delete this one",
        ),
        (true, false) if used => refuse(
            format!(
                "{} holds real results, which a simulation does not touch",
                out.display()
            ),
            "name another folder by --out",
        ),
        (true, false) => File::create(&mark)
            .map(drop)
            .map_err(|error| storage("cannot write", &mark, error)),
        _ => Ok(()),
    }
}

/// The folder's first absolute path, kept in it. So keys stay the same when the folder is moved, and when what is kept
/// in it is lost, they can be computed again.
fn project(out: &Path, inner: &Path) -> Result<String> {
    let path = inner.join("project");
    if let Ok(kept) = fs::read_to_string(&path)
        && !kept.trim().is_empty()
    {
        return Ok(kept.trim().to_owned());
    }
    let name = out
        .canonicalize()
        .map_err(|error| storage("cannot find", out, error))?
        .to_string_lossy()
        .into_owned();
    fs::write(&path, &name).map_err(|error| storage("cannot write", &path, error))?;
    Ok(name)
}

/// Ends a line that a crash or a full disk cut short, so that the next one does not become part of it.
fn end_cut_line(path: &Path) -> Result<()> {
    let failed = |error| storage("cannot mend", path, error);
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).map_err(failed)?;
    file.read_exact(&mut last).map_err(failed)?;
    if last == *b"\n" {
        Ok(())
    } else {
        file.write_all(b"\n").map_err(failed)
    }
}

/// Deletes what a killed run left half-done.
fn sweep(staging: &Path) -> Result<()> {
    let entries = fs::read_dir(staging).map_err(|error| storage("cannot read", staging, error))?;
    for entry in entries {
        let path = entry
            .map_err(|error| storage("cannot read", staging, error))?
            .path();
        if path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(&path).map_err(|error| storage("cannot delete", &path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Subject;

    fn line(id: &str) -> Line {
        let subject = Subject {
            id: id.into(),
            line: 1,
            path: "a.png".into(),
            provider: "acme".into(),
            request: None,
        };
        Line::not_begun(&subject, false)
    }

    /// A doubt about money may be in any line: one that a crash cut short must not take others with it.
    #[test]
    fn a_cut_line_costs_no_other() {
        let out = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(out.path(), false).unwrap();
        folder.keep(&line("first")).unwrap();
        drop(folder);
        let path = out.path().join(".media").join(RESULTS);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        // Cut in the middle of a letter of two bytes.
        file.write_all(b"{\"v\":1,\"id\":\"ni\xc3").unwrap();
        drop(file);
        let mut folder = Folder::open(out.path(), false).unwrap();
        folder.keep(&line("second")).unwrap();
        let ids: Vec<_> = folder.kept().unwrap().map(|line| line.unwrap().id).collect();
        assert_eq!(ids, ["first", "second"]);
    }

    #[test]
    fn the_project_stays_when_the_folder_is_moved() {
        let place = tempfile::tempdir().unwrap();
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        let project = Folder::open(&here, false).unwrap().project().to_owned();
        fs::rename(&here, &there).unwrap();
        assert_eq!(Folder::open(&there, false).unwrap().project(), project);
    }

    #[test]
    fn simulated_and_real_results_do_not_mix_and_two_runs_do_not_share() {
        let out = tempfile::tempdir().unwrap();
        let simulated = Folder::open(out.path(), true).unwrap();
        assert!(
            Folder::open(out.path(), true)
                .unwrap_err()
                .to_string()
                .contains("another run")
        );
        drop(simulated);
        assert!(
            Folder::open(out.path(), false)
                .unwrap_err()
                .to_string()
                .contains("simulated results")
        );
    }
}
