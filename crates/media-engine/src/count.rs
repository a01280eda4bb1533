//! Counts what a run would do, job by job, and finds which requests several jobs make.

use std::collections::{BTreeMap, HashSet};

use media_core::{Prior, Result, Usd};

use crate::chain::fallbacks;
use crate::decision::{Decision, start};
use crate::estimate::Estimates;
use crate::feed::output_name;
use crate::list::JobSpec;
use crate::plan::{Plan, Prepared};
use crate::project::Project;
use crate::resume::{Case, Resume};
use crate::worklist::{Place, prepared, resume_at};

/// How jobs are decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By what there is of them.
    Resumed,
    /// They are made anew.
    Anew,
    /// They are sent once more.
    SentAgain,
}

/// Counts jobs.
pub(crate) struct Counter<'a> {
    project: &'a Project,
    resume: Resume<'a>,
    estimates: Estimates,
    left: Option<Usd>,
    only: &'a [String],
    how: How,
    plan: Plan,
    /// Requests that jobs make, each by its [`short_of`], and those that more than one makes.
    seen: HashSet<u64>,
    shared: HashSet<u64>,
    /// Those of them that are made in this run, or come to be known again: the others share that. What merely stands at a
    /// path, and nobody knows for what it was made, is shared with nobody.
    made: HashSet<u64>,
    /// What jobs may come to ask for later in their chains. A job that asks for it at once shares that purchase, and so
    /// does another one that comes to it.
    passing: HashSet<u64>,
    /// Those of them that are counted.
    fallbacks: HashSet<u64>,
    /// First rows of their requests that are bought if no other row makes the same: what the ledger has of that is theirs too.
    undecided: BTreeMap<u64, Undecided>,
}

/// A row that waits to be counted until it is known whether another one makes the same request.
struct Undecided {
    spec: JobSpec,
    provider: String,
    alone: Decision,
    together: Decision,
}

/// Whether it is made for money, or as one of the day's calls.
fn is_purchase(decision: &Decision) -> bool {
    matches!(decision, Decision::Make(start) if start.prior == Prior::Fresh)
}

/// Enough of a request's hash to find which may be equal: a list of a million rows has one for each. Two that differ share
/// one by chance once in many billions of rows, and are then only looked at more closely.
pub(crate) fn short_of(prepared: &Prepared) -> u64 {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(prepared.checked.hash.bytes()) {
        *to = *from;
    }
    u64::from_le_bytes(first)
}

impl<'a> Counter<'a> {
    pub(crate) fn at(project: &'a Project, place: Place<'a>, how: How) -> Result<Counter<'a>> {
        Ok(Counter {
            project,
            resume: resume_at(place),
            estimates: Estimates::of_ledger(place.ledger)?,
            left: place.left,
            only: place.only,
            how,
            plan: Plan::default(),
            seen: HashSet::new(),
            shared: HashSet::new(),
            made: HashSet::new(),
            passing: HashSet::new(),
            fallbacks: HashSet::new(),
            undecided: BTreeMap::new(),
        })
    }

    /// Notes what a job may ask of another provider of its chain.
    pub(crate) fn may_come_to(&mut self, ready: &Prepared) {
        let key = short_of(ready);
        if !self.passing.insert(key) {
            self.shared.insert(key);
        }
    }

    /// Counts a job that is at this provider. One that shares its path with another has no file of its own.
    pub(crate) fn count(
        &mut self,
        spec: &JobSpec,
        name: &str,
        prepared: &Prepared,
        is_new_file: bool,
    ) -> Result<()> {
        let key = short_of(prepared);
        let is_first = self.seen.insert(key);
        if !is_first {
            self.shared.insert(key);
        }
        for name in &spec.providers {
            if !self.plan.named.contains(name) {
                self.plan.named.insert(name.clone());
            }
        }
        if let Some(first) = self.undecided.remove(&key) {
            self.tally(&first.spec, &first.provider, prepared, first.together)?;
        }
        let client = self.project.client(name)?;
        let provider = self.plan.providers.entry(name.to_owned()).or_default();
        provider.kinds.insert(spec.kind);
        if !is_new_file {
            provider.shared += 1;
            return Ok(());
        }
        self.plan.files += 1;
        *self.plan.by_output.entry(output_name(spec)).or_default() += 1;
        let case = Case {
            client,
            spec,
            prepared,
            is_shared: !is_first,
        };
        let decision = match self.how {
            How::Resumed => self.resume.decide(case)?,
            How::Anew => self.resume.decide_anew(case)?,
            How::SentAgain => Decision::Make(start(1, 1, Prior::Fresh)),
        };
        let has_past = self.resume.reader.is_some() && self.how == How::Resumed;
        if is_first && has_past && is_purchase(&decision) {
            let is_shared = true;
            let together = self.resume.decide(Case { is_shared, ..case })?;
            if !is_purchase(&together) {
                let undecided = Undecided {
                    spec: spec.clone(),
                    provider: name.to_owned(),
                    alone: decision,
                    together,
                };
                self.undecided.insert(key, undecided);
                return Ok(());
            }
        }
        self.tally(spec, name, prepared, decision)
    }

    /// Counts what was decided.
    fn tally(&mut self, spec: &JobSpec, name: &str, prepared: &Prepared, decision: Decision) -> Result<()> {
        let key = short_of(prepared);
        let client = self.project.client(name)?;
        let provider = self.plan.providers.entry(name.to_owned()).or_default();
        match decision {
            // Paid for already, or copied.
            Decision::Make(start) if start.prior != Prior::Fresh => {
                provider.fetch += 1;
                self.made.insert(key);
                // It may turn out to have come to nothing, and then its chain goes on.
                self.count_fallbacks(spec, name)?;
            }
            Decision::Make(_) if self.made.contains(&key) => {
                provider.shared += 1;
                // What it shares may come to nothing, and then it goes on by its own chain.
                self.count_fallbacks(spec, name)?;
            }
            Decision::Make(_) => {
                self.made.insert(key);
                let expected = self.estimates.of(client, &prepared.checked.resolved).expected;
                provider.add(client, prepared, expected);
                let is_wanted = self.only.is_empty() || self.only.iter().any(|only| only == name);
                let cost = self.plan.affordable_cost + expected.unwrap_or_default();
                if is_wanted && self.left.is_none_or(|left| cost <= left) {
                    self.plan.affordable += 1;
                    self.plan.affordable_cost = cost;
                }
                self.count_fallbacks(spec, name)?;
            }
            Decision::Copy { .. } => provider.shared += 1,
            Decision::Stay(stay) => *provider.stays.entry(stay.status).or_default() += 1,
        }
        Ok(())
    }

    /// Counts those that are asked where the providers before them do not have it.
    fn count_fallbacks(&mut self, spec: &JobSpec, name: &str) -> Result<()> {
        for next in fallbacks(spec, name) {
            // Whether it comes to it nobody knows; its key must be there all the same. A list that names one who is not there
            // is refused as a whole; what the ledger knows of earlier lists is not.
            let Ok(client) = self.project.client(next) else {
                continue;
            };
            let ready = self.project.prepare(spec, next, self.resume.out).ok();
            if let Some(ready) = &ready
                && !self.fallbacks.insert(short_of(ready))
            {
                continue;
            }
            let cost = ready.and_then(|ready| self.estimates.of(client, &ready.checked.resolved).expected);
            let next = self.plan.providers.entry(next.clone()).or_default();
            next.kinds.insert(spec.kind);
            next.fallback += 1;
            match cost {
                Some(usd) => next.fallback_cost += usd,
                None => next.fallback_unpriced += 1,
            }
        }
        Ok(())
    }

    /// The plan, and the requests that more than one job makes or may come to.
    pub(crate) fn finish(mut self) -> Result<(Plan, HashSet<u64>)> {
        for (key, row) in std::mem::take(&mut self.undecided) {
            let ready = prepared(self.project, &row.spec, &row.provider, self.resume.out)?;
            let decision = if self.passing.contains(&key) {
                row.together
            } else {
                row.alone
            };
            self.tally(&row.spec, &row.provider, &ready, decision)?;
        }
        for (name, provider) in &mut self.plan.providers {
            provider.conclude(self.project.client(name)?);
        }
        self.shared
            .extend(self.passing.into_iter().filter(|key| self.seen.contains(key)));
        Ok((self.plan, self.shared))
    }
}
