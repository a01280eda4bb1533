//! What is to be done about a job, by what the ledger knows and what stands on disk. Nothing here changes anything.

mod equal;
mod open;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use media_core::{Charge, Client, ErrorKind, Prior, Result};

use crate::decision::{
    ASK_AGAIN, BUY_ANEW, Decision, SEND_AGAIN, Start, Stay, copy, gone, gone_to, in_doubt_by, in_the_way,
    start, stay,
};
use crate::found::{Found, find};
use crate::ledger::{AttemptRow, AttemptState, Entry, JobStatus, Reader, TakeRow, asked};
use crate::line::{LineError, Status};
use crate::list::JobSpec;
use crate::plan::Prepared;

/// What decisions are made by.
#[derive(Debug)]
pub(crate) struct Resume<'a> {
    /// `None` where there is no ledger yet.
    pub(crate) reader: Option<&'a Reader>,
    pub(crate) out: &'a Path,
    /// The ledger was lost: nobody knows what was sent.
    pub(crate) is_lost: bool,
    /// Nothing is bought: only what was bought earlier is wanted.
    pub(crate) only_fetch: bool,
}

/// A job that is decided about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) client: &'a Client,
    pub(crate) spec: &'a JobSpec,
    pub(crate) prepared: &'a Prepared,
    /// Another row of the list asks for the same.
    pub(crate) is_shared: bool,
}

impl Resume<'_> {
    /// Decides about a job.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn decide(&self, case: Case<'_>) -> Result<Decision> {
        match self.decide_alone(case)? {
            Decision::Make(start) if case.is_shared && !self.only_fetch && start.prior == Prior::Fresh => {
                let had = self.had_by_equal(case, start.take)?;
                Ok(had.unwrap_or(Decision::Make(start)))
            }
            decision => Ok(decision),
        }
    }

    fn decide_alone(&self, case: Case<'_>) -> Result<Decision> {
        let entry = self.entry(&case.spec.id)?;
        let Some(entry) = entry else {
            return self.decide_new(case);
        };
        if let Some(stay) = self.open_for_other_request(case, &entry)? {
            return Ok(stay);
        }
        if let Some(decision) = self.open_redo(case, &entry)? {
            return Ok(decision);
        }
        // What was made stays made, whatever became of its copies since.
        match self.take(&case.spec.id, entry.take)? {
            Some(take) => {
                let shared = self.shared_redo(case, &entry, &take)?;
                let decision = self.decide_made(case, &entry, take)?;
                Ok(match (decision, shared) {
                    (Decision::Stay(stay), Some(number)) => Decision::from(Stay {
                        next_take: Some(number),
                        keeps_row: true,
                        ..*stay
                    }),
                    (decision, _) => decision,
                })
            }
            None => self.decide_unmade(case, &entry),
        }
    }

    pub(crate) fn entry(&self, id: &str) -> Result<Option<Entry>> {
        self.reader.map_or(Ok(None), |reader| reader.job(id))
    }

    /// Decides about another take of a job, which a person asked for.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn decide_anew(&self, case: Case<'_>) -> Result<Decision> {
        let entry = self.entry(&case.spec.id)?;
        let (Some(entry), Some(reader)) = (entry, self.reader) else {
            let decision = self.decide_new(case)?;
            return self.or_anew(case, decision, start(1, 1, Prior::Fresh));
        };
        if let Some(stay) = self.open_for_other_request(case, &entry)? {
            return Ok(stay);
        }
        if let Some(decision) = self.open_redo(case, &entry)? {
            return Ok(decision);
        }
        let take = self.take(&case.spec.id, entry.take)?;
        if take.is_none() {
            return self.anew_of_unmade(case, reader, &entry);
        }
        let path = &case.prepared.request.output_path;
        let found = self.find(path, take.as_ref());
        if let Found::InTheWay(what) = found {
            return Ok(in_the_way(path, &what));
        }
        // Its own file is its own, though rows that shared it have been changed together.
        if found != Found::AsMade
            && let Some(other) = self.file_of_another_job(case, true)?
        {
            return Ok(other);
        }
        let next = reader.last_take(&case.spec.id)?.max(entry.take) + 1;
        if self.is_in_doubt_elsewhere(case)? {
            return self.waits_for_equal(case, Some(next));
        }
        Ok(Decision::Make(Start {
            is_redo: true,
            ..start(next, 1, Prior::Fresh)
        }))
    }

    /// Another take of a job of which none was made.
    fn anew_of_unmade(&self, case: Case<'_>, reader: &Reader, entry: &Entry) -> Result<Decision> {
        let last = reader.last_attempt(&case.spec.id, entry.take, &case.prepared.checked.hash)?;
        let number = last.as_ref().map_or(0, |attempt| attempt.number);
        // A redo of it was begun and came to nothing before it was sent: what was bought before that is still no good.
        let is_spent = last
            .as_ref()
            .is_some_and(|attempt| attempt.state == AttemptState::Spent);
        let is_open = last.is_some_and(|attempt| attempt.state.is_open());
        // A file that stands at its path is told as on any run.
        let is_free = matches!(
            self.find(&case.prepared.request.output_path, None),
            Found::Nothing
        );
        let has_failed = entry.status == JobStatus::Failed || is_spent;
        if is_open || !has_failed || !is_free {
            let decision = self.decide_unmade(case, entry)?;
            return self.or_anew(case, decision, start(entry.take, number + 1, Prior::Fresh));
        }
        if self.is_in_doubt_elsewhere(case)? {
            // What is known of it stays written down.
            return self.waits_for_equal(case, None);
        }
        if let Some(copy @ Decision::Copy { .. }) = self.made_for_equal(case, Some(entry), entry.take)? {
            return Ok(copy);
        }
        // What failed for good is asked again on a person's word, which this is; what was billed and came to nothing
        // is bought again.
        Ok(Decision::Make(start(entry.take, number + 1, Prior::Fresh)))
    }

    /// What an equal row has lost, or has bought in vain, is no answer to a person who wants this one.
    fn or_anew(&self, case: Case<'_>, decision: Decision, anew: Start) -> Result<Decision> {
        Ok(match decision {
            Decision::Stay(stay)
                if (stay.status == Status::Gone || (stay.status == Status::Failed && stay.is_shared))
                    && !self.is_in_doubt_elsewhere(case)? =>
            {
                Decision::Make(anew)
            }
            decision => decision,
        })
    }

    /// The ledger does not know it.
    fn decide_new(&self, case: Case<'_>) -> Result<Decision> {
        let prepared = case.prepared;
        match self.find(&prepared.request.output_path, None) {
            Found::Nothing => {}
            Found::AsMade | Found::Valid => return self.file_at_path(case, 1),
            Found::Broken(what) | Found::InTheWay(what) => {
                return Ok(in_the_way(&prepared.request.output_path, &what));
            }
        }
        if let Some(copy) = self.made_for_equal(case, None, 1)? {
            return Ok(copy);
        }
        Ok(Decision::Make(start(1, 1, self.prior_of_new(case))))
    }

    /// What may have been sent for a job of which nothing is written down: nobody knows when the ledger was lost.
    fn prior_of_new(&self, case: Case<'_>) -> Prior {
        let is_askable = case.client.info().capabilities.recoverable;
        if self.is_lost && is_askable {
            Prior::Perhaps
        } else {
            Prior::Fresh
        }
    }

    /// A valid file stands where nothing was made: the user's, or what an equal row had made, which a kill left out of the
    /// ledger.
    fn file_at_path(&self, case: Case<'_>, number: u32) -> Result<Decision> {
        let path = &case.prepared.request.output_path;
        if let Some(other) = self.file_of_another_job(case, false)? {
            return Ok(other);
        }
        let Some(reader) = self.reader.filter(|_| case.is_shared) else {
            return Ok(stay(Status::Skipped, None));
        };
        if self.is_being_replaced(case)? {
            // What it gets is what comes; the next run notes that.
            return Ok(stay(Status::Skipped, None));
        }
        let made = reader.find_equal(&case.prepared.checked.hash, |take| self.is_made_at(path, take))?;
        Ok(match made {
            Some(take) => copy(path.clone(), take, number, false),
            None => stay(Status::Skipped, None),
        })
    }

    /// A take of it was made.
    fn decide_made(&self, case: Case<'_>, entry: &Entry, take: TakeRow) -> Result<Decision> {
        let Case { spec, prepared, .. } = case;
        let is_same = take.hash == prepared.checked.hash;
        let path = &prepared.request.output_path;
        let differs = if entry.asked == asked(spec) && take.fits(path) {
            Status::Outdated
        } else {
            Status::Changed
        };
        let is_broken = match self.find(path, Some(&take)) {
            // It was moved by hand, or a kill came between its copy and its entry: from now on the ledger knows it there.
            Found::AsMade if is_same && self.out.join(&take.path) != *path => {
                let number = take.take;
                return Ok(copy(path.clone(), take, number, false));
            }
            Found::AsMade if is_same => return Ok(stay(Status::Skipped, Some(take))),
            // A person put this take back in the place of a newer one.
            Found::AsMade if differs == Status::Outdated && self.has_newer(&spec.id, take.take)? => {
                return Ok(stay(Status::Kept, Some(take)));
            }
            Found::AsMade => return Ok(stay(differs, Some(take))),
            Found::Valid => {
                if let Some(copy) = self.swapped_before(case, &take)? {
                    return Ok(copy);
                }
                return Ok(match self.file_of_another_job(case, true)? {
                    Some(other) => other,
                    None => stay(Status::Kept, Some(take)),
                });
            }
            Found::InTheWay(what) => {
                return Ok(in_the_way(path, &what));
            }
            Found::Nothing => false,
            Found::Broken(_) => true,
        };
        self.bring_back(case, take, is_same || differs == Status::Outdated, is_broken)
    }

    /// Its file is gone. What costs nothing is brought back: the file of this row, by whatever configuration it was made.
    /// `is_its_own`: the row still asks for it.
    fn bring_back(
        &self,
        case: Case<'_>,
        take: TakeRow,
        is_its_own: bool,
        is_broken: bool,
    ) -> Result<Decision> {
        let Case {
            client,
            spec,
            prepared,
            ..
        } = case;
        let path = &prepared.request.output_path;
        let former = self.out.join(&take.path);
        if former != *path && self.is_made_at(&former, &take) {
            if is_its_own {
                let number = take.take;
                return Ok(copy(former, take, number, is_broken));
            }
            return Ok(gone_to(&former, is_broken));
        }
        if take.hash != prepared.checked.hash {
            return Ok(gone(take, is_broken));
        }
        if let Some(equal) = self.identical_file(&take, is_broken)? {
            return Ok(equal);
        }
        let capabilities = client.info().capabilities;
        let last = self.last_attempt(&spec.id, take.take, prepared)?;
        let number = last.as_ref().map_or(1, |attempt| attempt.number);
        let is_own = last.is_some();
        if capabilities.free {
            return Ok(Decision::Make(Start {
                is_broken,
                ..start(take.take, number + 1, Prior::Fresh)
            }));
        }
        let link = last.and_then(|attempt| Some((attempt.link?, attempt.facts)));
        let prior = match link {
            Some((link, facts)) => Prior::Linked {
                link,
                facts: Box::new(facts),
            },
            None if capabilities.recoverable => Prior::Sent {
                ago: None,
                batch: None,
            },
            None => return Ok(gone(take, is_broken)),
        };
        Ok(Decision::Make(Start {
            buys: false,
            is_broken,
            is_own,
            ..start(take.take, number, prior)
        }))
    }

    /// It was begun, and no take of it was made.
    fn decide_unmade(&self, case: Case<'_>, entry: &Entry) -> Result<Decision> {
        let Case { prepared, .. } = case;
        let last = self.last_attempt(&entry.spec.id, entry.take, prepared)?;
        match self.find(&prepared.request.output_path, None) {
            Found::Nothing => {}
            Found::AsMade | Found::Valid => {
                if let Some(copy) = self.copied_before(case, entry)? {
                    return Ok(copy);
                }
                let there = self.file_at_path(case, entry.take)?;
                return Ok(match last.filter(is_open) {
                    Some(attempt) => in_place_of_sent(case, &attempt, there),
                    None => there,
                });
            }
            Found::Broken(what) | Found::InTheWay(what) => {
                let there = in_the_way(&prepared.request.output_path, &what);
                return Ok(in_doubt_by(last.as_ref(), there));
            }
        }
        let is_same = entry.hash == prepared.checked.hash;
        let number = last.as_ref().map_or(0, |attempt| attempt.number);
        // This ledger has only noted the row: a ledger that was lost may have sent it all the same.
        let prior = match &last {
            None => self.prior_of_new(case),
            Some(_) => Prior::Fresh,
        };
        match last.map(|attempt| (attempt.state, attempt)) {
            Some((AttemptState::Sending | AttemptState::Linked | AttemptState::Have, attempt)) => {
                Ok(self.continue_attempt(case, entry, attempt))
            }
            Some((AttemptState::Spent | AttemptState::Done, _)) => {
                Ok(match self.made_for_equal(case, Some(entry), entry.take)? {
                    // An equal row was bought anew since.
                    Some(copy @ Decision::Copy { .. }) => copy,
                    _ if entry.was_billed() => self.told_before(entry, Status::Failed, BUY_ANEW),
                    _ => {
                        let message = "it was billed in an earlier run, and what came was no good";
                        let error =
                            LineError::new(ErrorKind::InvalidMedia.as_str(), Charge::Certain, message);
                        Stay::new(Status::Failed).because(error.next(BUY_ANEW)).into()
                    }
                })
            }
            // It shared the purchase of another row, and waits for as long as that is in doubt.
            None if entry.status == JobStatus::Unknown => {
                match self.made_for_equal(case, Some(entry), entry.take)? {
                    Some(decision) => Ok(decision),
                    None if self.is_in_doubt_elsewhere(case)? => {
                        Ok(self.told_before(entry, Status::Unknown, SEND_AGAIN))
                    }
                    None => Ok(Decision::Make(start(entry.take, number, prior))),
                }
            }
            // It shared a purchase that was billed, and either came to nothing or came later.
            None if is_same && entry.status == JobStatus::Failed && entry.was_billed() => {
                Ok(match self.made_for_equal(case, Some(entry), entry.take)? {
                    Some(copy @ Decision::Copy { .. }) => copy,
                    _ => self.told_before(entry, Status::Failed, BUY_ANEW),
                })
            }
            _ if is_same && entry.status == JobStatus::Failed && is_lasting(entry) => {
                Ok(self.told_before(entry, Status::Failed, ASK_AGAIN))
            }
            Some((AttemptState::Refused | AttemptState::Abandoned, _)) | None => {
                match self.made_for_equal(case, Some(entry), entry.take)? {
                    Some(copy) => Ok(copy),
                    None => Ok(Decision::Make(start(entry.take, number + 1, prior))),
                }
            }
        }
    }

    fn find(&self, path: &Path, take: Option<&TakeRow>) -> Found {
        find(self.out, path, take)
    }

    /// Whether the file of a take stands there as it was made.
    fn is_made_at(&self, path: &Path, take: &TakeRow) -> bool {
        matches!(self.find(path, Some(take)), Found::AsMade)
    }

    fn has_newer(&self, job: &str, take: u32) -> Result<bool> {
        self.reader
            .map_or(Ok(false), |reader| reader.has_newer_take(job, take))
    }

    fn take(&self, job: &str, take: u32) -> Result<Option<TakeRow>> {
        self.reader.map_or(Ok(None), |reader| reader.take(job, take))
    }

    fn last_attempt(&self, job: &str, take: u32, prepared: &Prepared) -> Result<Option<AttemptRow>> {
        self.reader.map_or(Ok(None), |reader| {
            reader.last_attempt(job, take, &prepared.checked.hash)
        })
    }
}

/// Whether something was bought by it, or may have been, and was not seen to its end.
fn is_open(attempt: &AttemptRow) -> bool {
    // What costs nothing is not sent for money: a link of it is no purchase.
    attempt.sends > 0 && attempt.state.is_open()
}

/// A file stands where something that was bought, or may have been, has its place. `there`: what is said of the file itself.
fn in_place_of_sent(case: Case<'_>, attempt: &AttemptRow, there: Decision) -> Decision {
    let is_skipped = matches!(&there, Decision::Stay(stay) if stay.status == Status::Skipped);
    if !is_skipped {
        return in_doubt_by(Some(attempt), there);
    }
    let other = "not the file that was sent for, which gets its place when that is free";
    let mut told = in_doubt_by(
        Some(attempt),
        in_the_way(&case.prepared.request.output_path, other),
    );
    if let Decision::Stay(stay) = &mut told
        && attempt.state != AttemptState::Have
        && let Some(error) = &mut stay.error
    {
        error.next = Some(format!(
            "move it away and run the same command again; or keep it and give up what was sent for: \
             media retry --unknown --give-up {}",
            case.spec.id
        ));
    }
    told
}

/// How long ago a moment was, in milliseconds since 1970. A clock that was set back makes it unknown.
pub(crate) fn since(moment_ms: Option<i64>) -> Option<Duration> {
    let passed = Timestamp::now().as_millisecond().checked_sub(moment_ms?)?;
    u64::try_from(passed).ok().map(Duration::from_millis)
}

/// Whether a failure fails the same way again.
fn is_lasting(entry: &Entry) -> bool {
    let line = entry.last_line();
    let kind = line.and_then(|line| ErrorKind::named(&line.error?.kind));
    kind.is_some_and(ErrorKind::is_lasting)
}

fn in_doubt(message: impl Into<String>) -> LineError {
    LineError::new(ErrorKind::Cancelled.as_str(), Charge::Unknown, message)
}
