//! A list and its recipe, opened together: checked once as a whole, then read again by every lane.

use std::collections::{HashMap, HashSet};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_core::validate::NamePolicy;
use media_core::{Error, ErrorKind, Result, Usd};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::chain::{Standing, equal_standing, fallbacks, own_standing, standing};
use crate::count::{Counter, How, short_of};
use crate::decision::Decision;
use crate::folder::Folder;
use crate::found::{Found, find, hash_of, is_as_made};
use crate::ledger::{Entry, Reader};
use crate::line::Status;
use crate::list::{
    BoundRecipe, Check, JobRows, JobSpec, Jobs, Made, ReadParam, Recipe, RowProblem, Source, TableWriter,
    Verdict,
};
use crate::place::{self, Root};
use crate::plan::{Plan, Prepared};
use crate::project::Project;
use crate::resume::{Case, Resume};

/// What is to be made: a list with its recipe, or jobs that are given.
#[derive(Clone, Debug)]
pub struct Worklist {
    work: Work,
    /// Requests that more than one row makes, as [`Counter`] has them.
    shared: Arc<HashSet<u64>>,
    how: How,
    /// Positions in provider chains that are known already, so that the ledger is not asked.
    standings: Arc<HashMap<String, Standing>>,
}

#[derive(Clone, Debug)]
enum Work {
    List(Arc<Source>, Option<Arc<BoundRecipe>>),
    Given(Arc<Vec<JobSpec>>),
}

/// Checks a job at every provider of its chain; gives what is to be sent to the one that it is at, and what makes two
/// chains equal.
fn prepare_all(
    project: &Project,
    spec: &JobSpec,
    provider: &str,
    out: &Path,
    counter: &mut Counter<'_>,
) -> std::result::Result<(Option<Prepared>, [u8; 32]), String> {
    let (mut wanted, mut hashes) = (None, Sha256::new());
    let mut only = None;
    for name in &spec.providers {
        let ready = project.prepare(spec, name, out)?;
        let hash = *ready.checked.hash.bytes();
        hashes.update(hash);
        only = Some(hash);
        if name == provider {
            wanted = Some(ready);
        } else {
            counter.may_come_to(&ready);
        }
    }
    let hash = match only {
        Some(hash) if spec.providers.len() == 1 => hash,
        _ => hashes.finalize().into(),
    };
    Ok((wanted, hash))
}

type SpecOrProblems = std::result::Result<JobSpec, Vec<RowProblem>>;

impl Worklist {
    pub(crate) fn jobs<'a>(
        &'a self,
        read_param: &'a ReadParam<'a>,
    ) -> Result<Box<dyn Iterator<Item = SpecOrProblems> + 'a>> {
        Ok(match &self.work {
            Work::List(source, recipe) => Box::new(Jobs::new(source, recipe.as_deref(), read_param)?),
            Work::Given(jobs) => Box::new(jobs.iter().cloned().map(Ok)),
        })
    }

    pub(crate) fn standing(&self, id: &str) -> Option<&Standing> {
        self.standings.get(id)
    }

    pub(crate) fn is_redo(&self) -> bool {
        self.how == How::Anew
    }

    /// Whether more than one row makes this request.
    pub(crate) fn is_shared(&self, prepared: &Prepared) -> bool {
        self.shared.contains(&short_of(prepared))
    }
}

/// Where a list is made, and what is known of that place.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The output folder.
    pub out: &'a Path,
    /// Its ledger, where there is one.
    pub ledger: Option<&'a Reader>,
    /// What may still be spent, where there is a budget.
    pub left: Option<Usd>,
    /// The only providers that are wanted; none named means all.
    pub only: &'a [String],
}

impl<'a> Place<'a> {
    /// An output folder, its ledger, and no budget.
    #[must_use]
    pub fn new(out: &'a Path, ledger: Option<&'a Reader>) -> Place<'a> {
        Place {
            out,
            ledger,
            left: None,
            only: &[],
        }
    }
}

pub(crate) fn resume_at(place: Place<'_>) -> Resume<'_> {
    Resume {
        reader: place.ledger,
        out: place.out,
        inner: place.out.join(".media"),
        is_lost: false,
        only_fetch: false,
    }
}

/// Where a job stands; noted where that is known by an equal row, for the lanes, which look at each row alone.
fn stand(
    spec: &JobSpec,
    ledger: Option<&Reader>,
    standings: &mut HashMap<String, Standing>,
) -> Result<Standing> {
    let own = own_standing(spec, ledger)?;
    let Some(further) = equal_standing(spec, ledger, &own)? else {
        return Ok(own);
    };
    standings.insert(spec.id.clone(), further.clone());
    Ok(further)
}

/// Opens a list, checks every row of it, and counts what a run would do. Offline, and nothing is changed.
///
/// # Errors
/// When the list, the recipe or the ledger cannot be read at all; what is wrong with single rows is in
/// [`Plan::findings`].
pub fn plan(
    project: &Project,
    list: &Path,
    recipe: Option<&Path>,
    place: Place<'_>,
) -> Result<(Worklist, Plan)> {
    let source = Source::open(list)?;
    let recipe = recipe
        .map(Recipe::read)
        .transpose()?
        .map(|recipe| recipe.bind(&source))
        .transpose()?;
    let policy = recipe
        .as_ref()
        .map_or(NamePolicy::Portable, |recipe| recipe.recipe().name_policy());
    let mut check = Check::new(&source, policy);
    let _look = place.ledger.map(Reader::look).transpose()?;
    let mut counter = Counter::at(project, place, How::Resumed)?;
    let mut count = 0;
    let mut root = Root::of(place.out);
    let mut standings = HashMap::new();
    let read = |name: &str, kind, key: &str, cell: &str| project.read_param(name, kind, key, cell);
    let mut rows = JobRows::new(&source, recipe.as_ref(), &read)?;
    for row in rows.by_ref() {
        count += 1;
        let row = match row {
            Ok(row) => row,
            Err(problem) => {
                check.problems(vec![problem]);
                continue;
            }
        };
        let line = row.jobs.first().map_or(0, |job| job.line);
        for change in row.changes.iter().filter(|change| change.is_change()) {
            let (field, before, after) = (&change.field, &change.before, &change.after);
            tracing::debug!("line {line}: {field}: {before:?} becomes {after:?}");
        }
        check.problems(row.problems);
        for spec in &row.jobs {
            let mut prepared = None;
            let standing = stand(spec, place.ledger, &mut standings)?;
            let verdict = check.job(spec, |spec| {
                root.holds(&spec.path)?;
                let (ready, hash) = prepare_all(project, spec, &standing.provider, place.out, &mut counter)?;
                prepared = ready;
                Ok(hash)
            });
            let (Some(prepared), false) = (prepared, verdict == Verdict::Bad) else {
                continue;
            };
            counter.count(spec, &standing.provider, &prepared, verdict == Verdict::New)?;
        }
    }
    let (mut plan, shared) = counter.finish()?;
    plan.rows = count;
    plan.fields = rows.counts().clone();
    plan.findings = check.finish();
    let worklist = Worklist {
        work: Work::List(Arc::new(source), recipe.map(Arc::new)),
        shared: Arc::new(shared),
        how: How::Resumed,
        standings: Arc::new(standings),
    };
    Ok((worklist, plan))
}

/// Counts what a run of given jobs would do, without a list. Offline.
///
/// # Errors
/// One of them cannot be made with this configuration, or the ledger cannot be read.
pub fn plan_jobs(
    project: &Project,
    jobs: Vec<JobSpec>,
    how: How,
    place: Place<'_>,
) -> Result<(Worklist, Plan)> {
    plan_given(project, jobs, HashMap::new(), how, place)
}

/// Counts what it takes to ask the next provider for what passed on to it. Offline.
pub(crate) fn plan_passed(
    project: &Project,
    passed: Vec<(JobSpec, Standing)>,
    place: Place<'_>,
    before: &Worklist,
) -> Result<(Worklist, Plan)> {
    let standings = passed
        .iter()
        .map(|(spec, standing)| (spec.id.clone(), standing.clone()))
        .collect();
    let jobs = passed.into_iter().map(|(spec, _)| spec).collect();
    // What was sent once more is over by now.
    let how = match before.how {
        How::Anew => How::Anew,
        How::Resumed | How::SentAgain => How::Resumed,
    };
    let (mut worklist, plan) = plan_given(project, jobs, standings, how, place)?;
    // What the rounds before have shared is shared with this one.
    let shared = before.shared.union(&worklist.shared).copied().collect();
    worklist.shared = Arc::new(shared);
    Ok((worklist, plan))
}

fn plan_given(
    project: &Project,
    jobs: Vec<JobSpec>,
    mut standings: HashMap<String, Standing>,
    how: How,
    place: Place<'_>,
) -> Result<(Worklist, Plan)> {
    let _look = place.ledger.map(Reader::look).transpose()?;
    let mut counter = Counter::at(project, place, how)?;
    for spec in &jobs {
        let standing = match standings.get(&spec.id) {
            Some(known) => known.clone(),
            None => stand(spec, place.ledger, &mut standings)?,
        };
        for next in fallbacks(spec, &standing.provider) {
            if let Ok(ready) = project.prepare(spec, next, place.out) {
                counter.may_come_to(&ready);
            }
        }
        let prepared = prepared(project, spec, &standing.provider, place.out)?;
        counter.count(spec, &standing.provider, &prepared, true)?;
    }
    let (plan, shared) = counter.finish()?;
    let worklist = Worklist {
        work: Work::Given(Arc::new(jobs)),
        shared: Arc::new(shared),
        how,
        standings: Arc::new(standings),
    };
    Ok((worklist, plan))
}

/// Whether this configuration can make a job at the provider that it is at. Offline.
///
/// # Errors
/// Why it cannot, or the ledger cannot be read.
pub fn can_be_made(project: &Project, job: &JobSpec, place: Place<'_>) -> Result<()> {
    let standing = standing(job, place.ledger)?;
    prepared(project, job, &standing.provider, place.out).map(drop)
}

/// Whether a run would leave this job alone because something that may have been billed for it never came, and cannot
/// be asked for. Offline.
///
/// # Errors
/// As [`plan_jobs`].
pub fn stays_unknown(project: &Project, job: &JobSpec, place: Place<'_>) -> Result<bool> {
    let standing = standing(job, place.ledger)?;
    let prepared = prepared(project, job, &standing.provider, place.out)?;
    let decision = resume_at(place).decide(Case {
        client: project.client(&standing.provider)?,
        spec: job,
        prepared: &prepared,
        is_shared: false,
    })?;
    let is_askable = project
        .client(&standing.provider)?
        .info()
        .capabilities
        .recoverable;
    Ok(match decision {
        Decision::Stay(stay) => match stay.status {
            // Where somebody put a file in its place, nobody asks any more.
            Status::Unknown | Status::Skipped | Status::Kept => true,
            // Something stands in its way. Once that is gone it is asked for, where it can be.
            Status::Failed => !is_askable,
            _ => false,
        },
        Decision::Make(_) | Decision::Copy { .. } => false,
    })
}

pub(crate) fn prepared(project: &Project, job: &JobSpec, provider: &str, out: &Path) -> Result<Prepared> {
    project.prepare(job, provider, out).map_err(|why| {
        let message = format!("{}: {why}", job.id);
        Error::new(ErrorKind::InvalidRequest, message).not_billed()
    })
}

/// Whether the table that the recipe asks for can be written, so that this is not found out after everything is bought.
///
/// # Errors
/// Why it cannot.
pub fn check_table(worklist: &Worklist, folder: &Folder) -> Result<()> {
    if let Work::List(source, Some(recipe)) = &worklist.work {
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
    let Work::List(source, Some(recipe)) = &worklist.work else {
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
