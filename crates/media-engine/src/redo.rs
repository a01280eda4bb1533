//! Takes: choosing what is made anew, putting an earlier take back, protecting a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use media_core::{Error, Format, Prior, Result, format_of};

use crate::chain::standing;
use crate::decision::Decision;
use crate::folder::Folder;
use crate::found::{Found, find};
use crate::ledger::{Entry, Picked, Reader};
use crate::line::Status;
use crate::list::{JobSpec, first_of};
use crate::place;
use crate::project::Project;
use crate::resume::Case;
use crate::worklist::{Place, Worklist, prepared, resume_at};

/// Which jobs are to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redo {
    /// These, whatever they are.
    Ids(Vec<String>),
    /// Those whose rows were changed, whose configuration was, or whose files are gone.
    Standing(BTreeSet<Status>),
}

/// What was chosen to be made anew.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The jobs, as they are to be made.
    pub jobs: Vec<JobSpec>,
    /// Jobs that were left out because their files are protected; one of each file.
    pub protected: Vec<String>,
}

/// Chooses jobs of a list, or of the ledger where there is no list. Rows that share a path are made anew together, and share
/// its protection.
///
/// # Errors
/// A name that nothing has, a protected file or a job that cannot be made anew among those that were named, a list that
/// cannot be read.
pub fn choose(
    project: &Project,
    worklist: Option<&Worklist>,
    reader: &Reader,
    out: &Path,
    redo: &Redo,
) -> Result<Chosen> {
    let place = Place::new(out, Some(reader));
    let mut paths = BTreeSet::new();
    let mut named: BTreeSet<&str> = match redo {
        Redo::Ids(ids) => ids.iter().map(String::as_str).collect(),
        Redo::Standing(_) => BTreeSet::new(),
    };
    let ids = named.clone();
    each_row(project, worklist, reader, |spec| {
        let is_wanted = match redo {
            Redo::Ids(_) => named.remove(spec.id.as_str()),
            Redo::Standing(statuses) => stands(project, &spec, place, worklist, statuses)?,
        };
        if !is_wanted {
            return Ok(());
        }
        let is_known = reader.job(&spec.id)?.is_some();
        if !is_known && !stands(project, &spec, place, worklist, &GONE.into())? {
            return Err(not_made(&spec, out));
        }
        paths.insert(spec.path);
        Ok(())
    })?;
    if let Some(stray) = named.first() {
        return Err(stray_name(
            stray,
            worklist.is_some() && reader.job(stray)?.is_some(),
        ));
    }
    let mut jobs = Vec::new();
    let mut protected = BTreeMap::new();
    each_row(project, worklist, reader, |spec| {
        if !paths.contains(&spec.path) {
            return Ok(());
        }
        if reader.job(&spec.id)?.is_some_and(|job| job.is_protected) {
            if !ids.is_empty() {
                let message = format!("the file of {} is protected", spec.id);
                return Err(Error::config(message).hint("media keep --off, with its id, lifts that"));
            }
            protected.entry(spec.path).or_insert(spec.id);
        } else {
            jobs.push(spec);
        }
        Ok(())
    })?;
    jobs.retain(|spec| !protected.contains_key(&spec.path));
    let (jobs, unmade) = only_made(reader, jobs)?;
    match unmade.iter().find(|spec| ids.contains(spec.id.as_str())) {
        Some(left_out) => Err(not_made(left_out, out)),
        None => Ok(Chosen {
            jobs,
            protected: protected.into_values().collect(),
        }),
    }
}

/// Goes through the rows of a list, or of the ledger where there is no list.
fn each_row(
    project: &Project,
    worklist: Option<&Worklist>,
    reader: &Reader,
    mut look: impl FnMut(JobSpec) -> Result<()>,
) -> Result<()> {
    let Some(worklist) = worklist else {
        return reader.each_job(|job| look(job.spec));
    };
    let read = project.reader();
    for job in worklist.jobs(&read)? {
        look(job.map_err(|problems| first_of(&problems))?)?;
    }
    Ok(())
}

fn stray_name(id: &str, was_made: bool) -> Error {
    if was_made {
        let message = format!("{id:?} was made once, and its row is no longer in the list");
        return Error::config(message).hint("put the row back, or name another list by --list");
    }
    Error::config(format!("there is no job {id:?}"))
        .hint("an id is ROW/OUTPUT with a recipe: media export results has all of them")
}

/// Of rows that share a file those that have it, and the others: one that was not made yet would take what is about to be replaced
/// for its own. The next run gives it the new file.
fn only_made(reader: &Reader, jobs: Vec<JobSpec>) -> Result<(Vec<JobSpec>, Vec<JobSpec>)> {
    let mut made_at = BTreeSet::new();
    let mut unmade = BTreeSet::new();
    for spec in &jobs {
        let entry = reader.job(&spec.id)?;
        let take = entry.map_or(Ok(None), |entry| reader.take(&spec.id, entry.take))?;
        if take.is_some() {
            made_at.insert(spec.path.clone());
        } else {
            unmade.insert(spec.id.clone());
        }
    }
    Ok(jobs
        .into_iter()
        .partition(|spec| !unmade.contains(&spec.id) || !made_at.contains(&spec.path)))
}

/// Why a job that the ledger does not know is not made anew.
fn not_made(spec: &JobSpec, out: &Path) -> Error {
    let id = &spec.id;
    if fs::symlink_metadata(out.join(&spec.path)).is_ok() {
        let message = format!(
            "what stands at {} was not made by this ledger for {id}",
            spec.path
        );
        return Error::config(message).hint("media run takes it over, if it is an equal row's; else move it away, and media run makes another");
    }
    Error::config(format!("{id} was not made yet")).hint("media run makes it")
}

/// An equal row's file was made and is gone: that is the one thing which stands in the way of a job that was never begun.
const GONE: [Status; 1] = [Status::Gone];

fn stands(
    project: &Project,
    spec: &JobSpec,
    place: Place<'_>,
    worklist: Option<&Worklist>,
    statuses: &BTreeSet<Status>,
) -> Result<bool> {
    let standing = standing(spec, place.ledger)?;
    let prepared = prepared(project, spec, &standing.provider, place.out)?;
    let decision = resume_at(place).decide(Case {
        client: project.client(&standing.provider)?,
        spec,
        prepared: &prepared,
        is_shared: worklist.is_some_and(|worklist| worklist.is_shared(&prepared)),
    })?;
    let stay = match decision {
        Decision::Stay(stay) => stay,
        // A run fetches it again, while the service has it. Whoever asks for what is missing has run the list before.
        Decision::Make(start) if !start.buys && start.prior != Prior::Fresh => {
            return Ok(statuses.contains(&Status::Gone) && has_take(place, spec)?);
        }
        Decision::Make(_) | Decision::Copy { .. } => return Ok(false),
    };
    // A changed row whose path was changed too has no file there.
    let is_changed = stay.status == Status::Gone
        && statuses.contains(&Status::Changed)
        && job_in(place, spec)?.is_some_and(|job| !job.asks_for(spec));
    Ok(is_changed || statuses.contains(&stay.status))
}

/// Whether a file was made for it once.
fn has_take(place: Place<'_>, spec: &JobSpec) -> Result<bool> {
    let Some((reader, job)) = place.ledger.zip(job_in(place, spec)?) else {
        return Ok(false);
    };
    Ok(reader.take(&spec.id, job.take)?.is_some())
}

fn job_in(place: Place<'_>, spec: &JobSpec) -> Result<Option<Entry>> {
    place.ledger.map_or(Ok(None), |reader| reader.job(&spec.id))
}

/// Puts the file of an earlier take back in its place; what stands there is moved to `.media/old`. Gives whether something was.
///
/// # Errors
/// There is no such job or take, its file is no longer there, or [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn pick(folder: &Folder, id: &str, take: u32) -> Result<bool> {
    let reader = folder.ledger().reader()?;
    let refuse = |message: String, next: String| Err(Error::config(message).hint(next));
    let job = job_of(&reader, id)?;
    let takes = reader.takes(id)?;
    let Some(wanted) = takes.iter().find(|made| made.take == take) else {
        let known: Vec<_> = takes.iter().map(|made| made.take.to_string()).collect();
        let message = match known.as_slice() {
            [] => format!("{id} has no takes: it was not made yet"),
            known => format!("{id} has no take {take}; it has {}", known.join(", ")),
        };
        return refuse(message, format!("media status {id} tells of each"));
    };
    let out = folder.out();
    let path = out.join(&job.spec.path);
    let named = format_of(&path)?;
    if !Format::from_extension(&wanted.format).is_some_and(|format| format.satisfies(named)) {
        let message = format!(
            "take {take} of {id} is {}, and its path is now {}",
            wanted.format, job.spec.path
        );
        return refuse(
            message,
            "give the row its earlier path, and run the list once".to_owned(),
        );
    }
    let mut is_moved = false;
    if !matches!(find(out, &path, Some(wanted)), Found::AsMade) {
        let aside = place::find_aside(out, wanted).or_else(|| {
            // Made under another path, and still there.
            let elsewhere = out.join(&wanted.path);
            matches!(find(out, &elsewhere, Some(wanted)), Found::AsMade).then_some(elsewhere)
        });
        let Some(aside) = aside else {
            let message = format!(
                "the file of take {take} of {id} is not in .media/old as it was made: it was edited, or moved away"
            );
            return refuse(
                message,
                format!("copy it from there by hand, or make another one: media redo {id}"),
            );
        };
        is_moved = fs::symlink_metadata(&path).is_ok();
        if is_moved {
            place::swap_in(&aside, &path, out, &wanted.sha256)?;
        } else {
            place::copy(&aside, &path, out, &wanted.sha256)?;
        }
    }
    let picked = Picked {
        job: id.to_owned(),
        take,
        path: job.spec.path,
        sha256: wanted.sha256.clone(),
    };
    folder.ledger().picked(picked, &path)?;
    Ok(is_moved)
}

/// Protects the files of jobs from every redo, or lifts that.
///
/// # Errors
/// There is no such job, or [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn keep(folder: &Folder, ids: &[String], on: bool) -> Result<()> {
    let reader = folder.ledger().reader()?;
    for id in ids {
        let job = job_of(&reader, id)?;
        if on && reader.open_redo(id, job.take, None)?.is_some() {
            let message = format!("another take of {id} was sent already and is not settled");
            return Err(Error::config(message)
                .hint("run the list, which fetches it where that can be done; what stays unknown is given up by media retry --unknown --give-up ID"));
        }
    }
    folder.ledger().protect(ids.to_vec(), on)
}

fn job_of(reader: &Reader, id: &str) -> Result<Entry> {
    reader.job(id)?.ok_or_else(|| {
        Error::config(format!("the ledger knows no job {id:?}")).hint("media export results has all ids")
    })
}
