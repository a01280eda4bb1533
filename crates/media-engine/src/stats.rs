//! What a run has come to so far: counters for progress, and the account at its end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use media_core::{Charge, Usd};

use crate::line::{Line, LineError, Status};
use crate::plan::{Plan, ProviderPlan};
use media_core::sync::lock;

/// Names of a failure that are kept for the summary; the rest is counted.
const EXAMPLES: usize = 5;

/// The account of a run, kept while it goes on.
#[derive(Debug)]
pub struct Stats {
    began: Instant,
    inner: Mutex<BTreeMap<String, Account>>,
}

/// The account of one provider.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Files that the list asks of it.
    pub asked: u64,
    /// Files that it did not have and that were asked of the next in their chain.
    pub passed_on: u64,
    /// Results by status.
    pub by_status: BTreeMap<Status, u64>,
    /// Files done, by output of the recipe or kind.
    pub done_by_output: BTreeMap<String, u64>,
    /// What was spent, by how it is known.
    pub spent: BTreeMap<String, Usd>,
    /// What the price list would have said of the files that were bought.
    pub estimated: Usd,
    /// Files whose cost nobody knows.
    pub cost_unknown: u64,
    /// Failures by kind.
    pub failures: BTreeMap<String, Failure>,
    /// When the quota that is waited for resets.
    pub until: Option<String>,
    /// Files that are in remote batches, and waited for.
    pub in_batches: u64,
    /// Odd things said about results, with how often.
    pub warnings: BTreeMap<String, u64>,
}

/// Failures of one kind.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// Some of it was billed and is no good: that is not bought again by itself.
    pub is_spent: bool,
    /// How many.
    pub count: u64,
    /// Some of their ids.
    pub ids: Vec<String>,
    /// What the first one said.
    pub message: String,
    /// What can be done about it.
    pub next: Option<String>,
    /// Those of the ids that it ends with, where it is a command about them.
    pub next_ids: Vec<String>,
    /// What can be done about some of them is something else.
    pub has_others: bool,
}

impl Failure {
    fn add(&mut self, line: &Line, error: &LineError) {
        self.count += 1;
        self.is_spent |= line.status == Status::Failed && error.charge != Charge::None.as_str();
        if self.ids.len() < EXAMPLES {
            self.ids.push(line.id.clone());
        }
        // `... --give-up a` is said of a, and with more ids of all.
        let command = |next: &str| Some(next.strip_suffix(&line.id)?.strip_suffix(' ')?.to_owned());
        let command = error.next.as_deref().and_then(command);
        let takes_id = command.is_some();
        let next = command.or_else(|| error.next.clone());
        if self.count == 1 {
            self.message.clone_from(&error.message);
            self.next.clone_from(&next);
        }
        // Messages of other kinds differ by what the service said to each.
        let is_other = line.status == Status::Gone && self.message != error.message;
        if self.next != next || is_other {
            self.has_others = true;
        } else if takes_id && self.next_ids.len() < EXAMPLES {
            self.next_ids.push(line.id.clone());
        }
    }
}

impl Account {
    /// How many results have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// How many results there are.
    #[must_use]
    pub fn reported(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Files of the list that were never come to.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.asked.saturating_sub(self.reported())
    }

    /// Everything spent.
    #[must_use]
    pub fn total(&self) -> Usd {
        self.spent.values().copied().sum()
    }
}

impl Stats {
    /// Empty accounts for what a plan asks for.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Stats {
        let account = |plan: &ProviderPlan| Account {
            asked: plan.asked(),
            ..Account::default()
        };
        let accounts = plan
            .providers
            .iter()
            .map(|(name, plan)| (name.clone(), account(plan)))
            .collect();
        Stats {
            began: Instant::now(),
            inner: Mutex::new(accounts),
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<String, Account>> {
        lock(&self.inner)
    }

    pub(crate) fn add(&self, line: &Line, output: &str, estimate: Option<Usd>) {
        let mut accounts = self.accounts();
        let account = accounts.entry(line.provider.clone()).or_default();
        *account.by_status.entry(line.status).or_default() += 1;
        if line.status == Status::Done {
            *account.done_by_output.entry(output.to_owned()).or_default() += 1;
        }
        match line.cost_usd.and_then(Usd::from_dollars) {
            Some(usd) => {
                if usd > Usd::ZERO {
                    *account.spent.entry(line.cost_basis.clone()).or_default() += usd;
                    account.estimated += estimate.unwrap_or_default();
                }
            }
            None => account.cost_unknown += 1,
        }
        if account.until.is_none() {
            account.until.clone_from(&line.until);
        }
        for warning in &line.warnings {
            *account.warnings.entry(warning.clone()).or_default() += 1;
        }
        if let Some(error) = line.error.as_ref().filter(|_| line.status != Status::Done) {
            let failure = account.failures.entry(error.kind.clone()).or_default();
            failure.add(line, error);
        }
    }

    /// A file that one provider does not have is asked of the next.
    pub(crate) fn pass_on(&self, from: &str, to: &str) {
        let mut accounts = self.accounts();
        if let Some(from) = accounts.get_mut(from) {
            from.asked = from.asked.saturating_sub(1);
            from.passed_on += 1;
        }
        accounts.entry(to.to_owned()).or_default().asked += 1;
    }

    /// A file is handed over in a remote batch.
    pub(crate) fn hand_over(&self, provider: &str) {
        self.accounts().entry(provider.to_owned()).or_default().in_batches += 1;
    }

    /// A batch with so many files is over.
    pub(crate) fn batch_over(&self, provider: &str, files: usize) {
        if let Some(account) = self.accounts().get_mut(provider) {
            account.in_batches = account.in_batches.saturating_sub(files as u64);
        }
    }

    /// How long the run has been going.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The accounts as they stand.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Account> {
        self.accounts().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Subject;

    #[test]
    fn files_are_in_their_batch_until_that_is_over() {
        let stats = Stats::of_plan(&Plan::default());
        (0..3).for_each(|_| stats.hand_over("openai"));
        assert_eq!(stats.snapshot()["openai"].in_batches, 3);
        stats.batch_over("openai", 2);
        assert_eq!(stats.snapshot()["openai"].in_batches, 1);
    }

    #[test]
    fn what_helps_one_of_them_only_is_not_said_of_all() {
        let mut failure = Failure::default();
        let mut add = |id: &str, next: &str| {
            let subject = Subject {
                id: id.to_owned(),
                ..Subject::default()
            };
            let error = LineError {
                next: Some(next.to_owned()),
                ..LineError::default()
            };
            failure.add(
                &Line::failed_here(
                    &subject,
                    &media_core::Error::new(media_core::ErrorKind::Storage, "x"),
                ),
                &error,
            );
            (
                failure.next.clone().unwrap(),
                failure.next_ids.clone(),
                failure.has_others,
            )
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let command = || "media status".to_owned();
        assert_eq!(add("a", "media status a"), (command(), ids(&["a"]), false));
        assert_eq!(add("b", "media status b"), (command(), ids(&["a", "b"]), false));
        // What is said of `c` is not for it, though it is listed with the others.
        let settle_first = "settle b first: media status b";
        assert_eq!(add("c", settle_first), (command(), ids(&["a", "b"]), true));
    }
}
