//! The output folder and its `.media`: the ledger, staging, what is kept aside, and the mark of a simulation.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use media_core::{Error, Result, format_of, prepare};

use crate::ledger::{Ledger, Reader, locked};
use crate::mend;

/// An output folder, opened for one run: nobody else may run in it meanwhile.
#[derive(Debug)]
pub struct Folder {
    out: PathBuf,
    ledger: Ledger,
    /// Held until the run ends; the operating system lets go of it when the process dies.
    _lock: File,
    simulated: bool,
    project: String,
    is_lost: bool,
    was_empty: bool,
}

const INNER: &str = ".media";
const MARK: &str = "simulated";
/// Noted in the ledger.
const ADOPTED: &str = "adopted";
const LIST: &str = "list";
const RECIPE: &str = "recipe";
const STAGING: &str = "staging";
const PROJECT: &str = "project";
/// Says where the ledger is when it is not in the folder.
const ELSEWHERE: &str = "ledger-is-at";
const LEDGER: &str = "ledger.sqlite";

/// The place in an output folder that is the program's own.
pub(crate) fn inner_of(out: &Path) -> PathBuf {
    out.join(INNER)
}

/// The ledger of an output folder: where it is named, else the folder's own, else where the folder has noted that it is.
#[must_use]
pub fn ledger_path(out: &Path, named: Option<&Path>) -> PathBuf {
    if let Some(named) = named {
        return named.to_owned();
    }
    let own = own_ledger(out);
    match noted_place(out) {
        Some(noted) if !has_content(&own) => noted,
        _ => own,
    }
}

fn own_ledger(out: &Path) -> PathBuf {
    inner_of(out).join(LEDGER)
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn noted_place(out: &Path) -> Option<PathBuf> {
    let noted = fs::read_to_string(inner_of(out).join(ELSEWHERE)).ok()?;
    (!noted.is_empty()).then(|| PathBuf::from(noted))
}

/// The list, and the recipe, that a ledger was last made from; `None` where it is no longer there.
///
/// # Errors
/// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn noted_list(reader: &Reader) -> Result<Option<(PathBuf, Option<PathBuf>)>> {
    let Some(list) = reader
        .meta(LIST)?
        .map(PathBuf::from)
        .filter(|path| path.is_file())
    else {
        return Ok(None);
    };
    let recipe = reader.meta(RECIPE)?.filter(|path| path != "-").map(PathBuf::from);
    Ok(recipe
        .as_ref()
        .is_none_or(|path| path.is_file())
        .then_some((list, recipe)))
}

impl Folder {
    /// Opens `out`, creating it if need be, and finishes what an earlier run had paid for and staged.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage) when it or its ledger cannot be used; [`Config`](media_core::ErrorKind::Config) when another run is in it, or
    /// when it holds simulated results and this run is real, or the other way round.
    pub fn open(out: &Path, ledger: Option<&Path>, simulated: bool) -> Result<Folder> {
        // Nothing has been sent yet, whatever goes wrong here.
        Folder::open_now(out, ledger, simulated).map_err(Error::not_billed)
    }

    fn open_now(out: &Path, ledger: Option<&Path>, simulated: bool) -> Result<Folder> {
        let inner = inner_of(out);
        prepare(&inner.join(STAGING).join("x"))?;
        let busy = format!("another run is at work in {}", out.display());
        let lock = locked(&inner.join("lock"), busy)?;
        let was_used = inner.join(PROJECT).exists();
        let named = project_of(out, &inner)?;
        let named_elsewhere = check_ledger_place(out, ledger)?;
        let ledger = Ledger::open(&ledger_path(out, ledger), &inner)?;
        let reader = ledger.reader()?;
        // A run that was refused before it began anything has left marks and nothing that they are true of.
        let is_blank = reader.meta(MARK)?.is_some()
            && reader.is_empty()?
            && reader.meta("lost")?.is_none()
            && reader.meta(ADOPTED)?.is_none();
        if !is_blank {
            check_mark(out, &inner, simulated, was_used)?;
            check_ledger_mark(&reader, simulated)?;
        }
        let known = reader.meta("project")?;
        // A ledger that knows nothing in a folder that was used: what was sent from here is known to nobody.
        let is_lost = reader.meta("lost")?.is_some() || (known.is_none() && was_used);
        if was_used && known.as_ref().is_some_and(|known| *known != named) {
            let message = format!("the ledger belongs to another folder than {}", out.display());
            return Err(Error::config(message)
                .hint("name the folder that it was begun with by --out, or another ledger by --ledger"));
        }
        let project = known.unwrap_or(named);
        ledger.note_meta(&[
            ("project", &project),
            (MARK, if simulated { "yes" } else { "no" }),
            ("lost", if is_lost { "yes" } else { "" }),
        ])?;
        let mark = |name: &str, text: &str| {
            let path = inner.join(name);
            fs::write(&path, text).map_err(|error| Error::storage("cannot write", &path, error))
        };
        // Before the folder counts as used, so that a kill in between makes nobody begin another ledger here.
        if let Some(place) = named_elsewhere {
            mark(ELSEWHERE, &place)?;
        }
        // After the ledger knows it: a kill in between must not look like a folder whose ledger was lost.
        if simulated {
            mark(MARK, "")?;
        } else if let Err(error) = fs::remove_file(inner.join(MARK))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::storage("cannot remove", &inner.join(MARK), error));
        }
        if !was_used {
            mark(PROJECT, &project)?;
        }
        let was_empty = reader.is_empty()?;
        let kept = mend::finish_staged(&ledger, &reader, out, simulated)?;
        sweep(&inner.join(STAGING), &kept)?;
        Ok(Folder {
            out: out.to_owned(),
            ledger,
            _lock: lock,
            simulated,
            project,
            is_lost,
            was_empty,
        })
    }

    /// Where the outputs go.
    #[must_use]
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The folder's own place, for staging and what is kept aside.
    #[must_use]
    pub fn inner(&self) -> PathBuf {
        inner_of(&self.out)
    }

    /// Where files wait until they are whole.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.inner().join(STAGING)
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

    /// Whether its ledger was lost, so that nobody knows what was sent from here.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether a person said that what is missing may be bought though the ledger was lost.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn is_adopted(&self) -> Result<bool> {
        Ok(self.ledger.reader()?.meta(ADOPTED)?.is_some())
    }

    /// A person says it.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn adopt(&self) -> Result<()> {
        self.ledger.note_meta(&[(ADOPTED, "yes")])
    }

    /// Notes which list it is made from, for commands that name none.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn note_list(&self, list: &Path, recipe: Option<&Path>) -> Result<()> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.to_string_lossy().into_owned()
        };
        // No recipe is noted too: it takes back an earlier one.
        let recipe = recipe.map_or_else(|| "-".to_owned(), absolute);
        self.ledger
            .note_meta(&[(LIST, &absolute(list)), (RECIPE, &recipe)])
    }

    /// Whether there is any media file in it, wherever it came from.
    #[must_use]
    pub fn holds_media(&self) -> bool {
        holds_media(&self.out)
    }

    /// Whether its ledger knew of no job when it was opened.
    #[must_use]
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// Its ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ends the run in it: the ledger becomes one file again.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage) when something could not be written down.
    pub fn close(self) -> Result<()> {
        self.ledger.close()
    }
}

/// A simulated run marks its folder; afterwards only runs of the same sort may use it.
fn check_mark(out: &Path, inner: &Path, simulated: bool, was_used: bool) -> Result<()> {
    match (simulated, inner.join(MARK).exists()) {
        (false, true) => Err(holds(&out.display().to_string(), true, OTHER_FOLDER)),
        (true, false) if was_used => Err(holds(&out.display().to_string(), false, OTHER_FOLDER)),
        _ => Ok(()),
    }
}

/// And so does a ledger that is kept elsewhere.
fn check_ledger_mark(reader: &Reader, simulated: bool) -> Result<()> {
    match reader.meta(MARK)?.as_deref() {
        Some("yes") if !simulated => Err(holds("the ledger", true, OTHER_LEDGER)),
        Some("no") if simulated => Err(holds("the ledger", false, OTHER_LEDGER)),
        _ => Ok(()),
    }
}

const OTHER_FOLDER: &str = "name another folder by --out";
const OTHER_LEDGER: &str = "name another ledger by --ledger";

fn holds(what: &str, simulated: bool, next: &str) -> Error {
    let message = match simulated {
        true => format!("{what} holds simulated results, which a real run does not mix with real ones"),
        false => format!("{what} holds real results, which a simulation does not touch"),
    };
    Error::config(message).hint(next)
}

/// The folder's first absolute path, kept in it. So keys stay the same when the folder is moved, and when the ledger is
/// lost, they can be computed again.
fn project_of(out: &Path, inner: &Path) -> Result<String> {
    match fs::read_to_string(inner.join(PROJECT)) {
        Ok(kept) if !kept.trim().is_empty() => Ok(kept.trim().to_owned()),
        _ => {
            let path = out.canonicalize();
            let path = path.map_err(|error| Error::storage("cannot find", out, error))?;
            Ok(path.to_string_lossy().into_owned())
        }
    }
}

/// Looks for media by name, in a folder and those in it, except in ones of ours.
fn holds_media(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => entry.file_name() != INNER && holds_media(&path),
            Ok(_) => format_of(&path).is_ok(),
            Err(_) => false,
        }
    })
}

/// A folder has one ledger: with another beside it each would know half of what was bought. Gives the place of one that is
/// elsewhere, where that is news to the folder.
///
/// # Errors
/// [`Config`](media_core::ErrorKind::Config): it is another one, or not where it was.
pub fn check_ledger_place(out: &Path, named: Option<&Path>) -> Result<Option<String>> {
    let own = own_ledger(out);
    let (has_own, noted) = (has_content(&own), noted_place(out));
    let refuse = |message: String, next: String| Err(Error::config(message).hint(next));
    let Some(named) = named else {
        return match noted {
            Some(noted) if !has_own && !noted.exists() => refuse(
                format!(
                    "the ledger of {} is not where it was: {}",
                    out.display(),
                    noted.display()
                ),
                "put it back, or name its new place by --ledger; without it, what was bought is not known"
                    .to_owned(),
            ),
            _ => Ok(None),
        };
    };
    let place = real(named);
    if place == real(&own) {
        return Ok(None);
    }
    if has_own {
        return refuse(
            format!("{} has a ledger of its own", out.display()),
            if named.exists() {
                "leave --ledger out; or set one of the two aside, the one that knows less (media status counts)".to_owned()
            } else {
                format!("leave --ledger out; or move {} there first", own.display())
            },
        );
    }
    match noted {
        Some(noted) if noted == place => Ok(None),
        // Moved, and named at its new place.
        Some(noted) if !noted.exists() && has_content(&place) => Ok(Some(place.display().to_string())),
        Some(noted) if !noted.exists() => refuse(
            format!(
                "the ledger of {} was {}, and neither that one nor {} is there",
                out.display(),
                noted.display(),
                place.display()
            ),
            format!(
                "name the place where it is now by --ledger; only where it is lost for good, delete {} to begin a new one, \
                 which does not know what was bought",
                inner_of(out).join(ELSEWHERE).display()
            ),
        ),
        Some(noted) => refuse(
            format!(
                "the ledger of {} is another one: {}",
                out.display(),
                noted.display()
            ),
            format!(
                "leave --ledger out; or, where that one is lost, delete {} to begin a new one",
                inner_of(out).join(ELSEWHERE).display()
            ),
        ),
        None => Ok(Some(place.display().to_string())),
    }
}

/// A path without links and detours, also of a file that is not there yet.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Deletes what a killed run left half-done: nothing else is ever put there.
fn sweep(staging: &Path, kept: &[PathBuf]) -> Result<()> {
    let entries = fs::read_dir(staging).map_err(|error| Error::storage("cannot read", staging, error))?;
    for entry in entries {
        let path = entry
            .map_err(|error| Error::storage("cannot read", staging, error))?
            .path();
        if !kept.contains(&path) {
            fs::remove_file(&path).map_err(|error| Error::storage("cannot delete", &path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use media_core::ErrorKind;

    use super::*;

    #[test]
    fn the_project_stays_when_the_folder_is_moved_or_its_ledger_is_lost() {
        let place = tempfile::tempdir().unwrap();
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        let folder = Folder::open(&here, None, false).unwrap();
        let project = folder.project().to_owned();
        assert!(!folder.is_lost());
        folder.close().unwrap();
        fs::rename(&here, &there).unwrap();
        let folder = Folder::open(&there, None, false).unwrap();
        assert_eq!((folder.project(), folder.is_lost()), (project.as_str(), false));
        folder.close().unwrap();
        fs::remove_file(ledger_path(&there, None)).unwrap();
        for _ in 0..2 {
            let folder = Folder::open(&there, None, false).unwrap();
            assert_eq!((folder.project(), folder.is_lost()), (project.as_str(), true));
            folder.close().unwrap();
        }
    }

    #[test]
    fn a_ledger_is_not_used_with_a_folder_that_has_another() {
        let place = tempfile::tempdir().unwrap();
        let (one, other) = (place.path().join("one"), place.path().join("other"));
        for folder in [&one, &other] {
            Folder::open(folder, None, false).unwrap().close().unwrap();
        }
        let error = Folder::open(&other, Some(&ledger_path(&one, None)), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("has a ledger of its own"), "{error}");
        fs::remove_file(ledger_path(&other, None)).unwrap();
        let error = Folder::open(&other, Some(&ledger_path(&one, None)), false).unwrap_err();
        assert!(error.to_string().contains("belongs to another folder"), "{error}");
        // A folder that is new takes it: then what it knows is gone, and not bought again.
        let new = place.path().join("new");
        let folder = Folder::open(&new, Some(&ledger_path(&one, None)), false).unwrap();
        assert!(!folder.is_lost());
    }

    #[test]
    fn simulated_and_real_results_do_not_mix_and_two_runs_do_not_share() {
        let out = tempfile::tempdir().unwrap();
        let simulated = Folder::open(out.path(), None, true).unwrap();
        let refused = |out: &Path, ledger: Option<&Path>, simulated| {
            Folder::open(out, ledger, simulated).unwrap_err().to_string()
        };
        assert!(refused(out.path(), None, true).contains("another run"));
        simulated.close().unwrap();
        // One that knows of nothing belongs to nobody yet: a run that was refused leaves it like this.
        for simulated in [false, true] {
            Folder::open(out.path(), None, simulated)
                .unwrap()
                .close()
                .unwrap();
        }
        let job = "INSERT INTO jobs (id, line, path, provider, model, request, asked, hash, take, status, updated_ms)
            VALUES ('a', 1, 'a.png', 'p', 'm', '{}', x'', x'', 1, 'done', 0)";
        rusqlite::Connection::open(ledger_path(out.path(), None))
            .unwrap()
            .execute(job, ())
            .unwrap();
        assert!(refused(out.path(), None, false).contains("simulated results"));
        // A ledger elsewhere knows it too, and is used by one at a time.
        let ledger = ledger_path(out.path(), None);
        let other = tempfile::tempdir().unwrap();
        assert!(refused(other.path(), Some(&ledger), false).contains("simulated results"));
        let third = tempfile::tempdir().unwrap();
        let simulated = Folder::open(out.path(), None, true).unwrap();
        assert!(refused(third.path(), Some(&ledger), true).contains("another run"));
        simulated.close().unwrap();
    }
}
