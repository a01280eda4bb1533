//! What comes of a job in a run: written down, told, and shared with the rows that ask for the same.

use std::path::Path;

use media_core::sync::lock;
use media_core::{AttemptKey, Error, ErrorKind, MediaResult, Result, Usd};

use crate::book::{Pending, Told, Wish};
use crate::chain::{self, Standing};
use crate::decision::{told_of, with_its_key};
use crate::found::is_as_made;
use crate::ledger::{Finished, JobStatus, Made, Planned, Reader, Settled};
use crate::line::{Line, Status};
use crate::place;
use crate::run::Shared;

/// What is written down beside the line of a job.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The job itself, where the ledger does not know it as it is now.
    pub(crate) planned: Option<Planned>,
    /// What its attempt came to.
    pub(crate) attempt: Option<Settled>,
    /// The file that it has.
    pub(crate) made: Option<Made>,
    /// The job whose purchase it shares.
    pub(crate) shared_with: Option<String>,
}

impl Shared {
    /// The provider that is asked after this result, where there is one.
    fn passes_to<'w>(&self, line: &Line, wish: &'w Wish) -> Option<&'w str> {
        let error = line.error.as_ref()?;
        // That a provider did not make what the row asked for once says nothing of what it asks for now.
        if line.status == Status::Done || self.only_fetch || wish.differs == Some(Status::Changed) {
            return None;
        }
        chain::next(&wish.planned.spec, &line.provider, error).filter(|next| self.clients.contains_key(*next))
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

    /// Writes down and tells what came of an order.
    pub(crate) fn delivered(&self, pending: &Pending, result: &MediaResult) -> Line {
        let subject = &pending.wish.subject;
        let mut line = Line::of(subject, result);
        line.take = pending.wish.planned.take;
        if pending.is_foreign
            && line.status == Status::Unknown
            && let Some(error) = &mut line.error
        {
            error.next = Some(with_its_key(&subject.id));
        }
        if pending.wish.planned.is_redo
            && line.status == Status::Cancelled
            && let Some(error) = &mut line.error
        {
            // A run makes no other takes by itself.
            error.next = Some(format!("media redo {} asks for it again", subject.id));
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
            let made = result.outcome.as_ref().ok().map(|file| Made {
                path: subject.path.clone(),
                file: file.clone(),
                provenance: result.provenance.clone(),
            });
            let beside = Beside {
                attempt: self.settled(pending, result, &line),
                made,
                ..Beside::default()
            };
            self.write_down(&pending.wish, &line, beside);
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
    pub(crate) fn share(&self, told: &Told, wish: &Wish) {
        let made = &told.line;
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
                    let line = Line::failed_here(&wish.subject, &error);
                    return self.report(&line, &wish.output, None);
                }
            }
        }
        // The row and its file in one commit: a kill in between must not leave a row that was begun and never made.
        let beside = Beside {
            planned: Some(wish.as_own()),
            made: file.map(|file| Made {
                path: wish.subject.path.clone(),
                file,
                provenance: told.provenance.clone(),
            }),
            shared_with: Some(made.id.clone()),
            ..Beside::default()
        };
        self.write_down(wish, &line, beside);
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
                false => place::copy(from, &to, self.folder.out(), sha256)?,
            }
        }
        place::describe(&to, made.sha256.as_deref())
    }

    /// Leaves a job open, with what was told of it.
    pub(crate) fn put_off(&self, reader: &Reader, line: &Line) -> Result<()> {
        let Some(entry) = reader.job(&line.id)? else {
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

    pub(crate) fn write_down(&self, wish: &Wish, line: &Line, beside: Beside) {
        let Beside {
            planned,
            attempt,
            made,
            shared_with,
        } = beside;
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
                made,
                shared_with,
            }),
            Err(error) => self.give_up(error),
        }
    }
}
