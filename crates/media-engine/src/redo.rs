//! Takes: choosing what is made anew, putting an earlier take back, protecting a file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use media_core::{Error, Format, Prior, Result, format_of};

use crate::chain::standing;
use crate::decision::Decision;
use crate::folder::Folder;
use crate::found::{Found, find};
use crate::ledger::{Entry, Reader, modified_ns, retell};
use crate::line::Status;
use crate::list::JobSpec;
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
    /// Jobs that were left out because their files are protected.
    pub protected: Vec<String>,
}

/// Chooses jobs of a list, or of the ledger where there is no list. Rows that share a path are made anew together.
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
    let mut all = Vec::new();
    let mut paths = BTreeSet::new();
    let mut chosen = Chosen::default();
    let mut named: BTreeSet<&str> = match redo {
        Redo::Ids(ids) => ids.iter().map(String::as_str).collect(),
        Redo::Standing(_) => BTreeSet::new(),
    };
    let mut look = |spec: JobSpec| -> Result<()> {
        let is_wanted = match redo {
            Redo::Ids(_) => named.remove(spec.id.as_str()),
            Redo::Standing(statuses) => stands(project, &spec, place, worklist, statuses)?,
        };
        let is_known = || Ok::<_, Error>(reader.job(&spec.id)?.is_some());
        if is_wanted && !is_known()? && !stands(project, &spec, place, worklist, &GONE.into())? {
            return Err(not_made(&spec, out));
        }
        if is_wanted && may_be_redone(reader, &spec.id, redo, &mut chosen)? {
            paths.insert(spec.path.clone());
        }
        all.push(spec);
        Ok(())
    };
    match worklist {
        Some(worklist) => {
            let read =
                |provider: &str, kind, key: &str, cell: &str| project.read_param(provider, kind, key, cell);
            for job in worklist.jobs(&read)? {
                look(job.map_err(|problems| {
                    let first = problems.first().map_or_else(String::new, ToString::to_string);
                    Error::invalid(first)
                })?)?;
            }
        }
        None => reader.each_job(|job| look(job.spec))?,
    }
    if let Some(stray) = named.first() {
        if worklist.is_some() && reader.job(stray)?.is_some() {
            let message = format!("{stray:?} was made once, and its row is no longer in the list");
            return Err(Error::config(message).hint("put the row back, or name another list by --list"));
        }
        let message = format!("there is no job {stray:?}");
        return Err(Error::config(message)
            .hint("an id is ROW/OUTPUT with a recipe: media export results has all of them"));
    }
    all.retain(|spec| paths.contains(&spec.path));
    // Rows that share a file share its protection.
    for spec in &all {
        if paths.contains(&spec.path) && reader.job(&spec.id)?.is_some_and(|job| job.is_protected) {
            may_be_redone(reader, &spec.id, redo, &mut chosen)?;
            paths.remove(&spec.path);
        }
    }
    all.retain(|spec| paths.contains(&spec.path));
    let left_out = all.clone();
    let all = only_made(reader, all)?;
    if let Redo::Ids(ids) = redo
        && let Some(left) = left_out
            .into_iter()
            .find(|spec| ids.contains(&spec.id) && !all.iter().any(|job| job.id == spec.id))
    {
        return Err(not_made(&left, out));
    }
    chosen.jobs = all;
    Ok(chosen)
}

/// Of rows that share a file those that have it: one that was not made yet would take what is about to be replaced for its own. The
/// next run gives it the new file.
fn only_made(reader: &Reader, jobs: Vec<JobSpec>) -> Result<Vec<JobSpec>> {
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
        .filter(|spec| !unmade.contains(&spec.id) || !made_at.contains(&spec.path))
        .collect())
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

/// What is protected is left out of a choice; who names it is told.
fn may_be_redone(reader: &Reader, id: &str, redo: &Redo, chosen: &mut Chosen) -> Result<bool> {
    let by_name = matches!(redo, Redo::Ids(_));
    let refuse = |message: String, next: &str| Err(Error::config(message).hint(next));
    if !reader.job(id)?.is_some_and(|job| job.is_protected) {
        return Ok(true);
    }
    if by_name {
        return refuse(
            format!("the file of {id} is protected"),
            "media keep --off, with its id, lifts that",
        );
    }
    chosen.protected.push(id.to_owned());
    Ok(false)
}

/// Puts the file of an earlier take back in its place; what stands there is moved to `.media/old`.
///
/// # Errors
/// There is no such job or take, its file is no longer there, or [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
pub fn pick(folder: &Folder, id: &str, take: u32) -> Result<()> {
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
        if fs::symlink_metadata(&path).is_ok() {
            place::swap_in(&aside, &path, out, &wanted.sha256)?;
        } else {
            place::copy(&aside, &path, &folder.inner(), &wanted.sha256)?;
        }
    }
    // Rows that share the path share the file.
    let (modified, relative, sha256) = (modified_ns(&path), job.spec.path, wanted.sha256.clone());
    let id = id.to_owned();
    folder.ledger().change(move |db| {
        let jobs = "path = ?1 AND EXISTS (SELECT 1 FROM takes WHERE takes.job = jobs.id AND sha256 = ?2)";
        db.execute(
            &format!(
                "UPDATE jobs SET status = 'done', take = CASE WHEN id = ?3 THEN ?4 ELSE
                     (SELECT take FROM takes WHERE takes.job = jobs.id AND sha256 = ?2 LIMIT 1) END WHERE {jobs}"
            ),
            (&relative, &sha256, &id, take),
        )?;
        db.execute(
            &format!(
                "INSERT INTO former_places SELECT path, job, hash, bytes, sha256, modified_ns FROM takes
                 WHERE sha256 = ?2 AND path <> ?1 AND job IN (SELECT id FROM jobs WHERE {jobs})"
            ),
            (&relative, &sha256),
        )?;
        db.execute(
            &format!(
                "UPDATE takes SET path = ?1, modified_ns = ?3 WHERE sha256 = ?2 AND job IN (SELECT id FROM jobs WHERE {jobs})"
            ),
            (&relative, &sha256, modified),
        )?;
        let mut picked = db.prepare(&format!("SELECT id FROM jobs WHERE {jobs}"))?;
        let ids = picked.query_map((&relative, &sha256), |row| row.get(0))?;
        for id in ids.collect::<rusqlite::Result<Vec<String>>>()? {
            retell(db, &id)?;
        }
        Ok(())
    })
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
    let ids = ids.to_vec();
    folder.ledger().change(move |db| {
        for id in &ids {
            db.execute("UPDATE jobs SET protected = ?2 WHERE id = ?1", (id, on))?;
        }
        Ok(())
    })
}

fn job_of(reader: &Reader, id: &str) -> Result<crate::ledger::Entry> {
    reader.job(id)?.ok_or_else(|| {
        Error::config(format!("the ledger knows no job {id:?}")).hint("media export results has all ids")
    })
}
