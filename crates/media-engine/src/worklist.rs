//! A list and its recipe, opened together: checked once as a whole, then read again by every lane.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use media_core::validate::NamePolicy;
use media_core::{Error, ErrorKind, Result, Usd};
use sha2::{Digest as _, Sha256};

use crate::chain::{Standing, equal_standing, fallbacks, own_standing, standing};
use crate::count::{Counter, How, short_of};
use crate::decision::Decision;
use crate::ledger::Reader;
use crate::line::Status;
use crate::list::{self, BoundRecipe, Check, JobRows, JobSpec, Jobs, ReadParam, RowProblem, Source, Verdict};
use crate::place::Root;
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

    /// The list and its recipe, where there are both.
    pub(crate) fn by_recipe(&self) -> Option<(&Source, &BoundRecipe)> {
        match &self.work {
            Work::List(source, recipe) => Some((source, recipe.as_deref()?)),
            Work::Given(_) => None,
        }
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
    let (source, recipe) = list::open(list, recipe)?;
    let policy = recipe
        .as_ref()
        .map_or(NamePolicy::Portable, |recipe| recipe.recipe().name_policy());
    let mut check = Check::new(&source, policy);
    let _look = place.ledger.map(Reader::look).transpose()?;
    let mut counter = Counter::at(project, place, How::Resumed)?;
    let mut count = 0;
    let mut root = Root::of(place.out);
    let mut standings = HashMap::new();
    let read = project.reader();
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
