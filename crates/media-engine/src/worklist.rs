//! A list and its recipe, opened together: checked once as a whole, then read again by every lane.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media_core::validate::NamePolicy;
use media_core::{Prior, Result, Usd};
use sha2::{Digest as _, Sha256};

use crate::chain::{Standing, fallbacks, standing};
use crate::decision::{Decision, start};
use crate::estimate::Estimates;
use crate::feed::output_name;
use crate::folder::Folder;
use crate::ledger::Reader;
use crate::line::Status;
use crate::list::{
    BoundRecipe, Check, JobRows, JobSpec, Jobs, Made, ReadParam, Recipe, RowProblem, Source, TableWriter,
    Verdict,
};
use crate::place::Root;
use crate::plan::{Plan, Prepared};
use crate::project::Project;
use crate::resume::{Case, Resume};

/// What is to be made: a list with its recipe, or jobs that are given.
#[derive(Clone, Debug)]
pub struct Worklist {
    work: Work,
    /// Requests that more than one row makes, each by its [`short_of`].
    shared: Arc<HashSet<u64>>,
    /// All of it is made anew, whatever there is.
    is_redo: bool,
    /// Positions in provider chains that are known already, so that the ledger is not asked.
    standings: Arc<HashMap<String, Standing>>,
}

#[derive(Clone, Debug)]
enum Work {
    List(Arc<Source>, Option<Arc<BoundRecipe>>),
    Given(Arc<Vec<JobSpec>>),
}

/// Enough of a request's hash to find which may be equal: a list of a million rows has one for each. Two that differ share
/// one by chance once in many billions of rows, and are then only looked at more closely.
fn short_of(prepared: &Prepared) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(prepared.checked.hash.bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(first)
}

/// Checks a job at every provider of its chain; gives what is to be sent to the one that it is at, and what makes two
/// chains equal. `others` takes what it may ask of the other providers of its chain.
fn prepare_all(
    project: &Project,
    spec: &JobSpec,
    provider: &str,
    out: &Path,
    others: &mut HashSet<u64>,
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
            others.insert(short_of(&ready));
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
        self.is_redo
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

/// What jobs are counted by.
struct Counter<'a> {
    project: &'a Project,
    resume: Resume<'a>,
    estimates: Estimates,
    left: Option<Usd>,
    only: &'a [String],
    how: How,
    /// What later providers of chains may be asked, each once, by what makes requests equal.
    fallbacks: RefCell<HashSet<u64>>,
}

impl<'a> Counter<'a> {
    fn at(project: &'a Project, place: Place<'a>) -> Result<Counter<'a>> {
        Ok(Counter {
            project,
            resume: resume_at(place),
            estimates: Estimates::of_ledger(place.ledger)?,
            left: place.left,
            only: place.only,
            how: How::Resumed,
            fallbacks: RefCell::default(),
        })
    }
}

pub(crate) fn resume_at(place: Place<'_>) -> Resume<'_> {
    Resume {
        reader: place.ledger,
        out: place.out,
        inner: place.out.join(".media"),
        is_lost: false,
    }
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
    let mut plan = Plan::default();
    let _look = place.ledger.map(Reader::look).transpose()?;
    let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
    // What rows may come to ask for later in their chains: a row that asks for it at once shares that purchase too.
    let mut passing = HashSet::new();
    let counter = Counter::at(project, place)?;
    let mut root = Root::of(place.out);
    let read = |name: &str, kind, key: &str, cell: &str| project.read_param(name, kind, key, cell);
    let mut rows = JobRows::new(&source, recipe.as_ref(), &read)?;
    for row in rows.by_ref() {
        plan.rows += 1;
        let row = match row {
            Ok(row) => row,
            Err(problem) => {
                check.problems(vec![problem]);
                continue;
            }
        };
        check.problems(row.problems);
        for spec in &row.jobs {
            let mut prepared = None;
            let standing = standing(spec, place.ledger)?;
            let verdict = check.job(spec, |spec| {
                root.holds(&spec.path)?;
                let (ready, hash) = prepare_all(project, spec, &standing.provider, place.out, &mut passing)?;
                prepared = ready;
                Ok(hash)
            });
            let (Some(prepared), false) = (prepared, verdict == Verdict::Bad) else {
                continue;
            };
            let key = short_of(&prepared);
            let is_first = seen.insert(key);
            if !is_first {
                shared.insert(key);
            }
            plan.count(
                &counter,
                spec,
                &standing.provider,
                &prepared,
                is_first,
                verdict == Verdict::New,
            )?;
        }
    }
    shared.extend(passing.into_iter().filter(|key| seen.contains(key)));
    plan.fields = rows.counts().clone();
    plan.findings = check.finish();
    for (name, provider) in &mut plan.providers {
        provider.conclude(project.client(name)?);
    }
    let worklist = Worklist {
        work: Work::List(Arc::new(source), recipe.map(Arc::new)),
        shared: Arc::new(shared),
        is_redo: false,
        standings: Arc::default(),
    };
    Ok((worklist, plan))
}

/// Counts what a run of given jobs would do, without a list. Offline.
///
/// # Errors
/// One of them cannot be made with this configuration, or the ledger cannot be read.
pub fn plan_given(project: &Project, jobs: Vec<JobSpec>, place: Place<'_>) -> Result<(Worklist, Plan)> {
    plan_jobs(project, jobs, HashMap::new(), place, How::Resumed)
}

/// Counts what it takes to make given jobs anew, whatever there is of them. Offline.
///
/// # Errors
/// As [`plan_given`].
pub fn plan_anew(project: &Project, jobs: Vec<JobSpec>, place: Place<'_>) -> Result<(Worklist, Plan)> {
    plan_jobs(project, jobs, HashMap::new(), place, How::Anew)
}

/// Counts what it takes to send given jobs once more, whatever there is of them. Offline.
///
/// # Errors
/// As [`plan_given`].
pub fn plan_sent_again(project: &Project, jobs: Vec<JobSpec>, place: Place<'_>) -> Result<(Worklist, Plan)> {
    plan_jobs(project, jobs, HashMap::new(), place, How::SentAgain)
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
    let how = if before.is_redo { How::Anew } else { How::Resumed };
    let (mut worklist, plan) = plan_jobs(project, jobs, standings, place, how)?;
    // What the rounds before have shared is shared with this one.
    let shared = before.shared.union(&worklist.shared).copied().collect();
    worklist.shared = Arc::new(shared);
    Ok((worklist, plan))
}

/// How jobs are decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By what there is of them.
    Resumed,
    /// They are made anew.
    Anew,
    /// They are sent once more.
    SentAgain,
}

fn plan_jobs(
    project: &Project,
    jobs: Vec<JobSpec>,
    standings: HashMap<String, Standing>,
    place: Place<'_>,
    how: How,
) -> Result<(Worklist, Plan)> {
    let counter = Counter {
        how,
        ..Counter::at(project, place)?
    };
    let mut plan = Plan::default();
    let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
    let _look = place.ledger.map(Reader::look).transpose()?;
    for spec in &jobs {
        let standing = match standings.get(&spec.id) {
            Some(known) => known.clone(),
            None => standing(spec, place.ledger)?,
        };
        let prepared = prepared(project, spec, &standing.provider, place.out)?;
        let key = short_of(&prepared);
        let is_first = seen.insert(key);
        if !is_first {
            shared.insert(key);
        }
        plan.count(&counter, spec, &standing.provider, &prepared, is_first, true)?;
    }
    for (name, provider) in &mut plan.providers {
        provider.conclude(project.client(name)?);
    }
    let worklist = Worklist {
        work: Work::Given(Arc::new(jobs)),
        shared: Arc::new(shared),
        is_redo: how == How::Anew,
        standings: Arc::new(standings),
    };
    Ok((worklist, plan))
}

/// Whether a run would leave this job alone because something that may have been billed for it never came, and cannot
/// be asked for. Offline.
///
/// # Errors
/// As [`plan_given`].
pub fn stays_unknown(project: &Project, job: &JobSpec, place: Place<'_>) -> Result<bool> {
    let standing = standing(job, place.ledger)?;
    let prepared = prepared(project, job, &standing.provider, place.out)?;
    let decision = resume_at(place).decide(Case {
        client: project.client(&standing.provider)?,
        spec: job,
        prepared: &prepared,
        is_shared: false,
    })?;
    // Where somebody put a file in its place, nobody asks any more.
    let unsettled = [Status::Unknown, Status::Skipped, Status::Kept];
    Ok(matches!(decision, Decision::Stay(stay) if unsettled.contains(&stay.status)))
}

pub(crate) fn prepared(project: &Project, job: &JobSpec, provider: &str, out: &Path) -> Result<Prepared> {
    project.prepare(job, provider, out).map_err(|why| {
        let message = format!("{}: {why}", job.id);
        media_core::Error::new(media_core::ErrorKind::InvalidRequest, message).not_billed()
    })
}

impl Plan {
    fn count(
        &mut self,
        counter: &Counter<'_>,
        spec: &JobSpec,
        name: &str,
        prepared: &Prepared,
        is_first: bool,
        is_new_file: bool,
    ) -> Result<()> {
        let client = counter.project.client(name)?;
        if is_new_file {
            self.files += 1;
            *self.by_output.entry(output_name(spec)).or_default() += 1;
        }
        let is_wanted = counter.only.is_empty() || counter.only.iter().any(|only| only == name);
        let provider = self.providers.entry(name.to_owned()).or_default();
        provider.kinds.insert(spec.kind);
        if !is_new_file {
            provider.shared += 1;
            return Ok(());
        }
        let case = Case {
            client,
            spec,
            prepared,
            is_shared: !is_first,
        };
        let decision = match counter.how {
            How::Resumed => counter.resume.decide(case)?,
            How::Anew => counter.resume.decide_anew(case)?,
            How::SentAgain => Decision::Make(start(1, 1, Prior::Fresh)),
        };
        match decision {
            // Paid for already, or copied.
            Decision::Make(start) if start.prior != Prior::Fresh => provider.fetch += 1,
            Decision::Make(_) if !is_first => {
                provider.shared += 1;
                // What it shares may come to nothing, and then it goes on by its own chain.
                self.count_fallbacks(counter, spec, name)?;
            }
            Decision::Make(_) => {
                self.count_fallbacks(counter, spec, name)?;
                let provider = self.providers.entry(name.to_owned()).or_default();
                let resolved = &prepared.checked.resolved;
                let expected = counter.estimates.of(client, resolved).expected;
                provider.add(client, prepared, expected);
                let cost = self.affordable_cost + expected.unwrap_or_default();
                if is_wanted && counter.left.is_none_or(|left| cost <= left) {
                    self.affordable += 1;
                    self.affordable_cost = cost;
                }
            }
            Decision::Copy { .. } => provider.shared += 1,
            Decision::Stay(stay) => *provider.stays.entry(stay.status).or_default() += 1,
        }
        Ok(())
    }

    /// Counts those that are asked where the providers before them do not have it.
    fn count_fallbacks(&mut self, counter: &Counter<'_>, spec: &JobSpec, name: &str) -> Result<()> {
        for next in fallbacks(spec, name) {
            // Whether it comes to it nobody knows; its key must be there all the same.
            let client = counter.project.client(next)?;
            let ready = counter.project.prepare(spec, next, counter.resume.out).ok();
            if let Some(ready) = &ready
                && !counter.fallbacks.borrow_mut().insert(short_of(ready))
            {
                continue;
            }
            let cost = ready.and_then(|ready| counter.estimates.of(client, &ready.checked.resolved).expected);
            let next = self.providers.entry(next.clone()).or_default();
            next.kinds.insert(spec.kind);
            next.fallback += 1;
            match cost {
                Some(usd) => next.fallback_cost += usd,
                None => next.fallback_unpriced += 1,
            }
        }
        Ok(())
    }
}

/// Whether the table that the recipe asks for can be written, so that this is not found out after everything is bought.
///
/// # Errors
/// Why it cannot.
pub fn check_table(worklist: &Worklist, folder: &Folder) -> Result<()> {
    if let Work::List(source, Some(recipe)) = &worklist.work {
        TableWriter::create(folder.out(), &folder.staging(), recipe, source)
            .map_err(|error| media_core::Error::from(error).not_billed())?;
    }
    Ok(())
}

/// Writes the table that the recipe asks for; gives its path.
///
/// # Errors
/// When the list cannot be read again or the table cannot be written.
pub fn write_table(worklist: &Worklist, folder: &Folder) -> Result<Option<PathBuf>> {
    let Work::List(source, Some(recipe)) = &worklist.work else {
        return Ok(None);
    };
    let Some(mut table) = TableWriter::create(folder.out(), &folder.staging(), recipe, source)? else {
        return Ok(None);
    };
    folder.ledger().settle()?;
    let credits = folder.ledger().reader()?.credits()?;
    // The cells of parameters do not matter to the table.
    let read = |_: &str, _, _: &str, cell: &str| Ok(serde_json::Value::from(cell));
    for row in JobRows::new(source, Some(recipe), &read)? {
        // A row that could not be read was found when the list was checked; it has changed since.
        let row = row.map_err(|problem| {
            media_core::Error::new(media_core::ErrorKind::InvalidRequest, problem.to_string())
        })?;
        table.row(&row, |spec| {
            let there = std::fs::symlink_metadata(folder.out().join(&spec.path)).is_ok();
            there.then(|| Made {
                credit: credits.get(&spec.path).cloned(),
            })
        })?;
    }
    Ok(Some(table.finish()?))
}
