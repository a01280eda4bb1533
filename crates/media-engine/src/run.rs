//! Runs a list: a lane for the pictures and one for the sounds of each provider, each reading the list for itself, so
//! that one that waits holds up no other.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use media_core::limit::Slowed;
use media_core::{AttemptKey, Client, Error, ErrorKind, MediaKind, MediaResult, Result, Stop, Usd};

use crate::book::{Pending, Wish};
use crate::chain::{self, Standing};
use crate::decision::{told_of, with_its_key};
use crate::estimate::Estimates;
use crate::folder::Folder;
use crate::found::is_as_made;
use crate::lane::lane;
use crate::ledger::{Caps, Finished, JobStatus, Made, Planned, Settled, Spending};
use crate::line::{Line, Status};
use crate::list::JobSpec;
use crate::pace::keep_pace;
use crate::place;
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
    stats: Arc<Stats>,
    observer: Arc<dyn Observer>,
    left: Option<AtomicU64>,
    /// In millionths of a dollar.
    allowance: Option<AtomicU64>,
    caps: Caps,
    unaffordable: AtomicU64,
    pub(crate) estimates: Estimates,
    trouble: Mutex<Option<Error>>,
    /// Who can be asked.
    clients: BTreeMap<String, Client>,
    /// Jobs that go on with the next provider of their chain, when everything that goes before is done.
    passed: Mutex<Vec<(JobSpec, Standing)>>,
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

    /// The provider that is asked after this result, where there is one.
    fn passes_to<'w>(&self, line: &Line, wish: &'w Wish) -> Option<&'w str> {
        let error = line.error.as_ref()?;
        // That a provider did not make what the row asked for once says nothing of what it asks for now.
        if line.status == Status::Done || self.only_fetch || wish.differs == Some(Status::Changed) {
            return None;
        }
        chain::next(&wish.planned.spec, &line.provider, error).filter(|next| self.clients.contains_key(*next))
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

    /// Tells of a result, unless it is for the next provider of the job's chain to tell.
    fn conclude(&self, line: &Line, wish: &Wish, estimate: Option<Usd>) {
        match self.passes_to(line, wish) {
            Some(next) => {
                tracing::debug!(id = %line.id, next, "asked of the next provider");
                self.stats.pass_on(&line.provider, next);
                let standing = Standing {
                    provider: next.to_owned(),
                    tried: chain::tried_with(line),
                };
                lock(&self.passed).push((wish.planned.spec.clone(), standing));
            }
            None => self.report(line, &wish.output, estimate),
        }
    }

    /// Tells of a result; where it is written down is the caller's affair.
    pub(crate) fn report(&self, line: &Line, output: &str, estimate: Option<Usd>) {
        self.stats.add(line, output, estimate);
        self.observer.result(line);
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

    /// Writes down and tells what came of an order.
    pub(crate) fn delivered(&self, pending: &Pending, result: &MediaResult) -> Line {
        let subject = &pending.wish.subject;
        let mut line = Line::of(subject, result, self.folder.is_simulated());
        line.take = pending.wish.planned.take;
        if pending.is_foreign
            && line.status == Status::Unknown
            && let Some(error) = &mut line.error
        {
            error.next = Some(with_its_key(&subject.id));
        }
        if pending.is_return && line.status != Status::Done {
            // The file was made once, and it could not be had again for nothing.
            let is_gone = matches!(line.status, Status::Failed | Status::Unknown);
            if is_gone {
                line.status = Status::Gone;
            }
            let redo = format!("media redo {} makes it anew, at its price", subject.id);
            let kind = result.outcome.as_ref().err().map(Error::kind);
            let is_passing = kind.is_some_and(|kind| !kind.is_lasting());
            if let Some(error) = line.error.as_mut().filter(|_| is_gone) {
                error.next = Some(match error.next.take() {
                    Some(next) if is_passing => {
                        format!("{next}; then run the same command again; else {redo}")
                    }
                    None if is_passing => format!("run the same command again; else {redo}"),
                    _ => redo,
                });
            }
        } else {
            self.write_down(
                &pending.wish,
                &line,
                None,
                self.settled(pending, result, &line),
                None,
                || {
                    let file = result.outcome.as_ref().ok()?;
                    Some(Made {
                        path: subject.path.clone(),
                        file: file.clone(),
                        provenance: result.provenance.clone(),
                    })
                },
            );
        }
        // Of what was bought and not fetched the cost is told when it is.
        let is_unfetched = line.status == Status::Cancelled;
        if pending.is_return || pending.is_told || is_unfetched {
            // What it once cost was told then, and stays in the ledger.
            line.cost_usd = Some(0.0);
            "none".clone_into(&mut line.cost_basis);
        }
        if let Some(differs) = pending.wish.differs.filter(|_| line.status == Status::Done) {
            line.status = differs;
            line.error = told_of(differs);
        }
        self.conclude(&line, &pending.wish, pending.wish.planned.estimate);
        line
    }

    /// What the last attempt of an order came to.
    fn settled(&self, pending: &Pending, result: &MediaResult, line: &Line) -> Option<Settled> {
        let number = result.attempts;
        let attempt = pending.wish.attempt(number);
        let failure = result.outcome.as_ref().err();
        let charge = failure.and_then(Error::charge);
        (number > 0 && line.status != Status::Cancelled).then(|| Settled {
            key: AttemptKey::compute(self.folder.project(), &attempt),
            cost: result.cost.map(|cost| cost.usd),
            basis: line.cost_basis.clone(),
            // What a full disk or a broken one kept from us is still to be had where the service keeps it.
            is_billed_failure: charge == Some(media_core::Charge::Certain)
                && failure.is_some_and(|error| error.kind() != ErrorKind::Storage),
            is_no_good: failure.is_some_and(|error| {
                matches!(error.kind(), ErrorKind::InvalidMedia | ErrorKind::ContentRejected)
            }),
        })
    }

    /// Gives a row the file that an equal one has: told where they share it, copied where they do not.
    pub(crate) fn share(&self, made: &Line, wish: &Wish) {
        let mut line = made.shared(&wish.subject);
        line.take = wish.planned.take;
        if wish.planned.is_redo && made.status != Status::Done {
            // It keeps the file that it has.
            return self.conclude(&line, wish, None);
        }
        let mut file = None;
        if made.status == Status::Done {
            let from = self.folder.out().join(&made.path);
            match self.placed(&from, wish, made) {
                Ok(placed) => file = Some(placed),
                Err(error) => {
                    // Nothing is written down: the next run tries to copy it again.
                    let line = Line::failed_here(&wish.subject, &error, self.folder.is_simulated());
                    return self.report(&line, &wish.output, None);
                }
            }
        }
        // The row and its file in one commit: a kill in between must not leave a row that was begun and never made.
        let planned = Some(wish.as_own());
        self.write_down(wish, &line, planned, None, Some(made.id.clone()), || {
            let provenance = media_core::Provenance {
                provider: made.provider.clone(),
                model: made.model.clone(),
                remote_id: made.remote_id.clone(),
                credit: made.credit.clone(),
                ..media_core::Provenance::default()
            };
            Some(Made {
                path: wish.subject.path.clone(),
                file: file?,
                provenance,
            })
        });
        self.conclude(&line, wish, None);
    }

    fn placed(&self, from: &Path, wish: &Wish, made: &Line) -> Result<media_core::MediaFile> {
        let to = self.folder.out().join(&wish.subject.path);
        let sha256 = made.sha256.as_deref().unwrap_or_default();
        let is_there = std::fs::symlink_metadata(&to).is_ok();
        // Another row shares its path, and has put it there.
        let is_done = !wish.planned.is_redo
            && made
                .bytes
                .is_some_and(|bytes| is_as_made(&to, bytes, sha256, None));
        if from != to && !is_done {
            match wish.planned.is_redo && is_there {
                true => place::swap_in(from, &to, self.folder.out(), sha256)?,
                false => place::copy(from, &to, &self.folder.inner(), sha256)?,
            }
        }
        place::describe(&to, made.sha256.as_deref())
    }

    /// Writes down what was told of a job that waits for its remote batch.
    pub(crate) fn put_off(&self, line: &Line) -> Result<()> {
        let Some(entry) = self.folder.ledger().reader()?.job(&line.id)? else {
            return Ok(());
        };
        self.folder.ledger().finished(Finished {
            id: entry.spec.id,
            planned: None,
            take: entry.take,
            // Whatever becomes of another take, what was made before stays made.
            status: (entry.status != JobStatus::Done).then_some(JobStatus::Open),
            line: line.to_json()?,
            hash: entry.hash,
            attempt: None,
            made: None,
            shared_with: None,
        });
        Ok(())
    }

    pub(crate) fn write_down(
        &self,
        wish: &Wish,
        line: &Line,
        planned: Option<Planned>,
        attempt: Option<Settled>,
        shared_with: Option<String>,
        made: impl FnOnce() -> Option<Made>,
    ) {
        let status = match line.status {
            Status::Failed => JobStatus::Failed,
            Status::Unknown => JobStatus::Unknown,
            // Its provider is done with it; the next one goes on from here, in a later run too.
            _ if self.passes_to(line, wish).is_some() => JobStatus::Failed,
            Status::Waiting | Status::Cancelled => JobStatus::Open,
            Status::Done
            | Status::Skipped
            | Status::Kept
            | Status::Changed
            | Status::Outdated
            | Status::Gone => JobStatus::Done,
        };
        // Whatever became of another take, what was made before stays made.
        let keeps = wish.planned.is_redo && line.status != Status::Done;
        match line.to_json() {
            Ok(text) => self.folder.ledger().finished(Finished {
                id: wish.subject.id.clone(),
                planned,
                take: wish.planned.take,
                status: (!keeps).then_some(status),
                line: text,
                hash: wish.planned.hash,
                attempt,
                made: made(),
                shared_with,
            }),
            Err(error) => self.give_up(error),
        }
    }
}
