//! Runs a list: a lane for the pictures and one for the sounds of each provider, each reading the list for itself, so
//! that one that waits holds up no other.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use media_core::limit::Slowed;
use media_core::{Client, Error, ErrorKind, MediaKind, Result, Stop, Usd};

use crate::chain::Standing;
use crate::estimate::Estimates;
use crate::folder::Folder;
use crate::lane::lane;
use crate::ledger::{Caps, Spending};
use crate::line::{Line, Status};
use crate::list::JobSpec;
use crate::pace::keep_pace;
use crate::plan::Plan;
use crate::project::Project;
use crate::stats::{Account, Stats};
use crate::worklist::{Place, Worklist, plan_passed};
use media_core::sync::lock;

/// What the caller wishes.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Make at most so many files.
    pub max_items: Option<u64>,
    /// Only fetch what was bought earlier; buy nothing.
    pub only_fetch: bool,
    /// Leave out what is expected to cost more than is left of this.
    pub allowance: Option<Usd>,
    /// What may be spent.
    pub caps: Caps,
    /// The wish to stop; share it with the wiring of the clients.
    pub stop: Stop,
}

/// Is told of every result.
pub trait Observer: Send + Sync {
    /// A result, as it arrives.
    fn result(&self, line: &Line);
}

/// The account of a finished run.
#[derive(Debug)]
pub struct Outcome {
    /// By provider instance.
    pub accounts: BTreeMap<String, Account>,
    /// How long it took.
    pub elapsed: std::time::Duration,
    /// Ceilings of the configuration that made it wait, by provider instance.
    pub slowed: Vec<(String, Slowed)>,
    /// Files that were left out because their expected cost was over the allowance.
    pub unaffordable: u64,
    /// What was spent, or may have been.
    pub spending: Spending,
    /// What ended the run before its end: results can no longer be written down, the list changed.
    pub trouble: Option<Error>,
}

impl Outcome {
    /// Files of all providers that ended like this.
    #[must_use]
    pub fn count(&self, status: Status) -> u64 {
        self.accounts.values().map(|account| account.count(status)).sum()
    }

    /// Files of all providers that nothing was decided about.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.accounts.values().map(Account::left).sum()
    }
}

/// What all lanes of a run share.
pub(crate) struct Shared {
    pub(crate) project: Project,
    pub(crate) worklist: Worklist,
    pub(crate) folder: Folder,
    pub(crate) only_fetch: bool,
    pub(crate) stop: Stop,
    pub(crate) stats: Arc<Stats>,
    pub(crate) observer: Arc<dyn Observer>,
    left: Option<AtomicU64>,
    /// In millionths of a dollar.
    allowance: Option<AtomicU64>,
    caps: Caps,
    unaffordable: AtomicU64,
    pub(crate) estimates: Estimates,
    trouble: Mutex<Option<Error>>,
    /// Who can be asked.
    pub(crate) clients: BTreeMap<String, Client>,
    /// Jobs that go on with the next provider of their chain, when everything that goes before is done.
    pub(crate) passed: Mutex<Vec<(JobSpec, Standing)>>,
    /// Rows with a chain that a lane of this round has taken on. What one lane passes on while the round goes on stands, by
    /// the ledger, at another whose lane may still be reading: it is the next round's all the same.
    taken: Mutex<HashSet<String>>,
    pub(crate) is_later_round: bool,
}

/// What of a list one lane makes.
#[derive(Clone)]
pub(crate) struct Share {
    pub(crate) provider: String,
    pub(crate) kind: MediaKind,
}

/// Runs a list that has been planned without findings; `stats` can be watched meanwhile.
///
/// # Errors
/// When nothing could be begun; what goes wrong later is in [`Outcome::trouble`].
pub async fn run(
    project: Project,
    worklist: Worklist,
    plan: &Plan,
    folder: Folder,
    options: RunOptions,
    observer: Arc<dyn Observer>,
    stats: Arc<Stats>,
) -> Result<(Outcome, Folder)> {
    let clients: BTreeMap<String, Client> = plan
        .providers
        .keys()
        .map(|name| Ok((name.clone(), project.client(name)?.clone())))
        .collect::<Result<_>>()?;
    folder.ledger().cap(options.caps)?;
    let reader = folder.ledger().reader()?;
    let estimates = Estimates::of_ledger((!folder.was_empty()).then_some(&reader))?;
    keep_pace(&clients, &project, &folder, &reader)?;
    drop(reader);
    let mut shared = Shared {
        project,
        worklist,
        folder,
        only_fetch: options.only_fetch,
        stop: options.stop,
        stats: Arc::clone(&stats),
        observer,
        left: options.max_items.map(AtomicU64::new),
        allowance: options.allowance.map(|usd| AtomicU64::new(usd.micros())),
        caps: options.caps,
        unaffordable: AtomicU64::new(0),
        estimates,
        trouble: Mutex::new(None),
        clients,
        passed: Mutex::default(),
        taken: Mutex::default(),
        is_later_round: false,
    };
    let mut shares = shares_of(plan);
    loop {
        shared = shared.round(shares).await?;
        shares = match shared.next_round() {
            Ok(Some(shares)) => shares,
            Ok(None) => break,
            Err(error) => {
                // Money may be spent by now, so that the account of it comes first.
                shared.give_up(error);
                break;
            }
        };
    }
    let ledger = shared.folder.ledger();
    let (settled, spending) = (ledger.flush(), ledger.spending());
    let trouble = lock(&shared.trouble).take().or(settled.err());
    let slowed = shared.clients.iter().flat_map(|(name, client)| {
        client
            .slowed()
            .into_iter()
            .map(move |slowed| (name.clone(), slowed))
    });
    let outcome = Outcome {
        accounts: stats.snapshot(),
        elapsed: stats.elapsed(),
        slowed: slowed.collect(),
        unaffordable: shared.unaffordable.load(Ordering::Relaxed),
        spending: spending.unwrap_or_default(),
        trouble,
    };
    Ok((outcome, shared.folder))
}

/// A lane for each kind that is asked of a provider.
fn shares_of(plan: &Plan) -> Vec<Share> {
    let shares = plan.providers.iter().flat_map(|(name, plan)| {
        plan.kinds.iter().map(|kind| Share {
            provider: name.clone(),
            kind: *kind,
        })
    });
    shares.collect()
}

impl Shared {
    /// Every lane once through the list.
    async fn round(self, shares: Vec<Share>) -> Result<Shared> {
        let shared = Arc::new(self);
        let mut lanes = tokio::task::JoinSet::new();
        for share in shares {
            if let Some(client) = shared.clients.get(&share.provider) {
                lanes.spawn(lane(Arc::clone(&shared), share, client.clone()));
            }
        }
        while let Some(ended) = lanes.join_next().await {
            if let Err(failure) = ended {
                let error = Error::new(ErrorKind::Cancelled, "a lane of the run broke down");
                shared.give_up(error.because(failure));
            }
        }
        Arc::into_inner(shared).ok_or_else(|| Error::new(ErrorKind::Cancelled, "the run was torn down"))
    }

    /// A chain goes on when all that goes before is done: its next provider is then asked for all of them together.
    fn next_round(&mut self) -> Result<Option<Vec<Share>>> {
        let passed = std::mem::take(&mut *lock(&self.passed));
        if passed.is_empty() || self.stop.is_asked() {
            return Ok(None);
        }
        self.folder.ledger().flush()?;
        let reader = self.folder.ledger().reader()?;
        let place = Place::new(self.folder.out(), Some(&reader));
        let (worklist, plan) = plan_passed(&self.project, passed, place, &self.worklist)?;
        drop(reader);
        self.allow_round(&plan);
        self.worklist = worklist;
        self.taken = Mutex::default();
        self.is_later_round = true;
        Ok(Some(shares_of(&plan)))
    }

    /// Whether later providers would cost more than is left was not known before: then what fits is made.
    fn allow_round(&mut self, plan: &Plan) {
        let spent = self.folder.ledger().spending().unwrap_or_default();
        let left = self.caps.left(&spent).map(|left| left.left);
        // An allowance of an earlier round has been taken from by what was not billed in the end.
        let is_tight = |left: &Usd| self.allowance.is_some() || plan.cost() > *left || plan.unpriced() > 0;
        if let Some(left) = left.filter(is_tight) {
            self.allowance = Some(AtomicU64::new(left.micros()));
        }
    }

    /// Takes a row on, unless another lane of this round has.
    pub(crate) fn take_on(&self, spec: &JobSpec) -> bool {
        spec.providers.len() == 1 || lock(&self.taken).insert(spec.id.clone())
    }

    /// Ends the run: nothing more is begun, what was sent is finished.
    pub(crate) fn give_up(&self, error: Error) {
        lock(&self.trouble).get_or_insert(error);
        self.stop.ask();
    }

    /// Whether there is a place for another file. Another lane may take it first.
    pub(crate) fn has_place(&self) -> bool {
        self.left
            .as_ref()
            .is_none_or(|left| left.load(Ordering::Relaxed) > 0)
    }

    /// Takes a place for another file, if there is one.
    pub(crate) fn may_make(&self) -> bool {
        let Some(left) = &self.left else { return true };
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }

    /// What was taken from the allowance for a file that is not made.
    pub(crate) fn give_back(&self, expected: Option<Usd>) {
        if let (Some(allowance), Some(expected)) = (&self.allowance, expected) {
            allowance.fetch_add(expected.micros(), Ordering::Relaxed);
        }
    }

    /// Whether a file that is expected to cost this may be made; what is unknown may not, where there is an allowance.
    pub(crate) fn may_spend(&self, expected: Option<Usd>) -> bool {
        let Some(allowance) = &self.allowance else {
            return true;
        };
        let expected = expected.map(Usd::micros);
        let taken = allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(expected?)
        });
        if taken.is_err() {
            self.unaffordable.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}
