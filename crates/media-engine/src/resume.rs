//! What is to be done about a job, by what the ledger knows and what stands on disk. Nothing here changes anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use media_core::{Charge, Client, ErrorKind, Prior, Result};

use crate::decision::{
    ANOTHER_VARIANT, ASK_AGAIN, Decision, GIVE_UP_TAKE, SEND_AGAIN, Start, Stay, copy, gone, gone_to,
    in_the_way, is_of_another, start, stay, with_its_key,
};
use crate::found::{Found, find, is_as_made};
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
    /// The folder that staged files are named in.
    pub(crate) inner: PathBuf,
    /// The ledger was lost: nobody knows what was sent.
    pub(crate) is_lost: bool,
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
        let entry = self
            .reader
            .map(|reader| reader.job(&case.spec.id))
            .transpose()?
            .flatten();
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
            Some(take) => self.decide_made(case, &entry, take),
            None => self.decide_unmade(case, &entry),
        }
    }

    /// Decides about another take of a job, which a person asked for.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn decide_anew(&self, case: Case<'_>) -> Result<Decision> {
        let entry = self
            .reader
            .map(|reader| reader.job(&case.spec.id))
            .transpose()?
            .flatten();
        let (Some(entry), Some(reader)) = (entry, self.reader) else {
            return Ok(match self.decide_new(case)? {
                // What is gone is another row's, and a person wants this one's.
                Decision::Stay(stay) if stay.status == Status::Gone => {
                    Decision::Make(start(1, 1, Prior::Fresh))
                }
                decision => decision,
            });
        };
        if let Some(stay) = self.open_for_other_request(case, &entry)? {
            return Ok(stay);
        }
        if let Some(decision) = self.open_redo(case, &entry)? {
            return Ok(decision);
        }
        let is_made = self.take(&case.spec.id, entry.take)?.is_some();
        if !is_made {
            let last = reader.last_attempt(&case.spec.id, entry.take, &case.prepared.checked.hash)?;
            let number = last.as_ref().map_or(0, |attempt| attempt.number);
            let open = [AttemptState::Sending, AttemptState::Linked, AttemptState::Have];
            let is_open = last.is_some_and(|attempt| open.contains(&attempt.state));
            // A file that stands at its path is told as on any run.
            let is_free = matches!(
                self.find(&case.prepared.request.output_path, None),
                Found::Nothing
            );
            if is_open || entry.status != JobStatus::Failed || !is_free {
                return self.decide_unmade(case, &entry);
            }
            if self.is_in_doubt_elsewhere(case)? {
                // What is known of it stays written down.
                return Ok(self.waits_for_equal(&entry, None));
            }
            if let Some(copy @ Decision::Copy { .. }) = self.made_for_equal(case, entry.take)? {
                return Ok(copy);
            }
            // What failed for good is asked again on a person's word, which this is; what was billed and came to nothing
            // is bought again.
            return Ok(Decision::Make(start(entry.take, number + 1, Prior::Fresh)));
        }
        let path = &case.prepared.request.output_path;
        if let Found::InTheWay(what) = self.find(path, None) {
            return Ok(in_the_way(path, &what));
        }
        if let Some(other) = self.file_of_another_job(case, true)? {
            return Ok(other);
        }
        let next = reader.last_take(&case.spec.id)?.max(entry.take) + 1;
        if self.is_in_doubt_elsewhere(case)? {
            return Ok(self.waits_for_equal(&entry, Some(next)));
        }
        Ok(Decision::Make(Start {
            is_redo: true,
            ..start(next, 1, Prior::Fresh)
        }))
    }

    /// An equal row may have bought it already: it is not sent beside that, and stays what it is. `next`: the take that it
    /// would be.
    fn waits_for_equal(&self, entry: &Entry, next: Option<u32>) -> Decision {
        let mut waits = self.told_before(entry, Status::Unknown, SEND_AGAIN);
        if let Decision::Stay(stay) = &mut waits {
            stay.is_made = true;
            stay.next_take = next;
        }
        waits
    }

    /// Another take of it was sent, and nobody saw that to its end.
    fn open_redo(&self, case: Case<'_>, entry: &Entry) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let Some(attempt) = reader.open_redo(&case.spec.id, entry.take, &case.prepared.checked.hash)? else {
            return Ok(None);
        };
        let Some(take) = self.take(&case.spec.id, entry.take)? else {
            // There is nothing that it could replace.
            return Ok(None);
        };
        let path = &case.prepared.request.output_path;
        match self.find(path, Some(&take)) {
            Found::Nothing | Found::AsMade => {}
            Found::Valid | Found::Broken(_) => {
                let changed = "not the file that its new take was to replace";
                return Ok(Some(in_the_way(path, changed)));
            }
            Found::InTheWay(what) => return Ok(Some(in_the_way(path, &what))),
        }
        let (number, of_take) = (attempt.number, attempt.take);
        let decision = match self.continue_attempt(case, entry, attempt) {
            Decision::Make(begun) => Decision::Make(Start {
                take: of_take,
                attempt: number,
                is_redo: true,
                ..begun
            }),
            Decision::Stay(stay) => Decision::Stay(Box::new(Stay {
                is_made: true,
                ..*stay
            })),
            copy @ Decision::Copy { .. } => copy,
        };
        Ok(Some(decision))
    }

    /// The row, or the configuration, asked for something else when it was last sent, and nobody saw that to its end.
    /// It comes first: who asks for the new request beside it may pay for both.
    fn open_for_other_request(&self, case: Case<'_>, entry: &Entry) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let hash = &case.prepared.checked.hash;
        // What it shared with an equal row is open for as long as that one's is.
        let shared = (entry.hash != *hash && entry.status == JobStatus::Unknown)
            .then(|| reader.open_equal(&case.spec.id, &entry.hash))
            .transpose()?
            .flatten();
        if let Some(other) = shared {
            let message =
                format!("when {other} was sent it asked for the same, and that may have been billed");
            let error = in_doubt(message).next(format!("settle {other} first: media status {other}"));
            return Ok(Some(Stay::new(Status::Unknown).because(error).into()));
        }
        let is_open = reader.has_open_attempt_at_another(&case.spec.id, hash)?
            // What a lost ledger may have sent has no attempt, until the service tells what became of it.
            || (entry.hash != *hash && reader.is_of_lost_ledger(entry)?);
        if !is_open {
            return Ok(None);
        }
        let is_made = self.take(&case.spec.id, entry.take)?.is_some();
        let message =
            "it asked for something else when it was sent, and that may have been billed and never came";
        let next = format!(
            "media rescue fetches what can still be had; else run it with row and configuration as they were, or give that \
             up, so that the next run makes the row as it is now: media retry --unknown --give-up {}",
            case.spec.id
        );
        Ok(Some(Decision::from(Stay {
            is_made,
            ..Stay::new(Status::Unknown).because(in_doubt(message).next(next))
        })))
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
        if let Some(copy) = self.made_for_equal(case, 1)? {
            return Ok(copy);
        }
        Ok(Decision::Make(start(1, 1, self.prior_of_new(case))))
    }

    /// What may have been sent for a job of which nothing is written down: nobody knows when the ledger was lost.
    fn prior_of_new(&self, case: Case<'_>) -> Prior {
        let is_askable = case.client.provider().info().capabilities.recoverable;
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
        let made = reader.find_equal(&case.prepared.checked.hash, |take| {
            matches!(self.find(path, Some(take)), Found::AsMade)
        })?;
        Ok(match made {
            Some(take) => copy(path.clone(), take, number, false),
            None => stay(Status::Skipped, None),
        })
    }

    /// What stands at its path was made for another job, which asked for something else: paths were exchanged, or
    /// numbered anew. It is not this one's, whatever its name says.
    fn file_of_another_job(&self, case: Case<'_>, is_made: bool) -> Result<Option<Decision>> {
        let path = &case.prepared.request.output_path;
        let (Some(reader), Some(place)) = (
            self.reader,
            path.strip_prefix(self.out).ok().and_then(Path::to_str),
        ) else {
            return Ok(None);
        };
        for made in reader.made_at(place, &case.spec.id)? {
            let is_equal = made.hash == case.prepared.checked.hash
                || reader
                    .job(&made.job)?
                    .is_some_and(|job| job.asked == asked(case.spec));
            if !is_equal && is_as_made(path, made.bytes, &made.sha256, made.modified_ns) {
                return Ok(Some(is_of_another(path, &made.job, is_made)));
            }
        }
        Ok(None)
    }

    /// A take of it was made.
    fn decide_made(&self, case: Case<'_>, entry: &Entry, take: TakeRow) -> Result<Decision> {
        let Case {
            client,
            spec,
            prepared,
            ..
        } = case;
        let is_same = take.hash == prepared.checked.hash;
        let path = &prepared.request.output_path;
        let differs = if entry.asked == asked(spec) {
            Status::Outdated
        } else {
            Status::Changed
        };
        let is_broken = match self.find(path, Some(&take)) {
            Found::AsMade if is_same => return Ok(stay(Status::Skipped, Some(take))),
            // A person put this take back in the place of a newer one.
            Found::AsMade if differs == Status::Outdated && self.has_newer(&spec.id, take.take)? => {
                return Ok(stay(Status::Kept, Some(take)));
            }
            Found::AsMade => return Ok(stay(differs, Some(take))),
            Found::Valid => {
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
        // Gone. What costs nothing is brought back: the file of this row, by whatever configuration it was made.
        let former = self.out.join(&take.path);
        if former != *path && matches!(self.find(&former, Some(&take)), Found::AsMade) {
            if is_same || differs == Status::Outdated {
                let number = take.take;
                return Ok(copy(former, take, number, is_broken));
            }
            return Ok(gone_to(&former, is_broken));
        }
        if !is_same {
            return Ok(gone(take, is_broken));
        }
        if let Some(equal) = self.identical_file(&take, is_broken)? {
            return Ok(equal);
        }
        let capabilities = client.provider().info().capabilities;
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
        match self.find(&prepared.request.output_path, None) {
            Found::Nothing => {}
            Found::AsMade | Found::Valid => return self.file_at_path(case, entry.take),
            Found::Broken(what) | Found::InTheWay(what) => {
                return Ok(in_the_way(&prepared.request.output_path, &what));
            }
        }
        let is_same = entry.hash == prepared.checked.hash;
        let last = self.last_attempt(&entry.spec.id, entry.take, prepared)?;
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
                Ok(self.told_before(entry, Status::Failed, ANOTHER_VARIANT))
            }
            // It shared the purchase of another row, and waits for as long as that is in doubt.
            None if entry.status == JobStatus::Unknown => match self.made_for_equal(case, entry.take)? {
                Some(decision) => Ok(decision),
                None if self.is_in_doubt_elsewhere(case)? => {
                    Ok(self.told_before(entry, Status::Unknown, SEND_AGAIN))
                }
                None => Ok(Decision::Make(start(entry.take, number, prior))),
            },
            // It shared a purchase that was billed, and either came to nothing or came later.
            None if is_same && entry.status == JobStatus::Failed && entry.was_billed() => {
                Ok(match self.made_for_equal(case, entry.take)? {
                    Some(copy @ Decision::Copy { .. }) => copy,
                    _ => self.told_before(entry, Status::Failed, ANOTHER_VARIANT),
                })
            }
            _ if is_same && entry.status == JobStatus::Failed && is_lasting(entry) => {
                Ok(self.told_before(entry, Status::Failed, ASK_AGAIN))
            }
            Some((AttemptState::Refused | AttemptState::Abandoned, _)) | None => {
                match self.made_for_equal_of(case, Some(entry), entry.take)? {
                    Some(copy) => Ok(copy),
                    None => Ok(Decision::Make(start(entry.take, number + 1, prior))),
                }
            }
        }
    }

    /// Whether another job's attempt at an equal request is not settled.
    fn is_in_doubt_elsewhere(&self, case: Case<'_>) -> Result<bool> {
        let hash = &case.prepared.checked.hash;
        self.reader.map_or(Ok(false), |reader| {
            Ok(reader.open_equal(&case.spec.id, hash)?.is_some())
        })
    }

    /// A file that was made for an equal request of another job, where the provider's terms allow its reuse.
    fn made_for_equal(&self, case: Case<'_>, number: u32) -> Result<Option<Decision>> {
        self.made_for_equal_of(case, None, number)
    }

    /// The same for a job that the ledger knows.
    fn made_for_equal_of(
        &self,
        case: Case<'_>,
        entry: Option<&Entry>,
        number: u32,
    ) -> Result<Option<Decision>> {
        let may_reuse = case.is_shared
            || entry.is_some_and(Entry::shares_purchase)
            || case.client.provider().http().settings().reuse;
        let Some(reader) = self.reader.filter(|_| may_reuse) else {
            return Ok(None);
        };
        let mut made = None;
        let standing = reader.find_equal(&case.prepared.checked.hash, |take| {
            let stands = matches!(self.find(&self.out.join(&take.path), Some(take)), Found::AsMade);
            if !stands {
                made.get_or_insert_with(|| take.clone());
            }
            stands
        })?;
        if let Some(take) = standing {
            return Ok(Some(copy(self.out.join(&take.path), take, number, false)));
        }
        let is_free = case.client.provider().info().capabilities.free;
        // A list that names this row alone, such as one of failures, changes nothing about what it shared.
        let is_shared = case.is_shared || entry.is_some_and(Entry::shares_purchase);
        if let Some(take) = made.filter(|_| is_shared && !is_free) {
            let path = &take.path;
            let message =
                format!("{path} was made for an equal row and is gone; it is not bought again by itself");
            let error = LineError::new(Status::Gone.as_str(), Charge::None, message).next(format!(
                "put {path} back, or give the row another variant to buy it anew"
            ));
            return Ok(Some(Decision::from(Stay {
                take: Some(take),
                ..Stay::new(Status::Gone).because(error)
            })));
        }
        // Bought for another job, perhaps, and not settled: buying it for this one may be buying it twice.
        let open = reader.open_equal(&case.spec.id, &case.prepared.checked.hash)?;
        Ok(open.map(|other| {
            let error = in_doubt(format!(
                "{other} asks for the same, and that may have been billed"
            ))
            .next(format!("settle {other} first: media status {other}"));
            Stay::new(Status::Unknown).because(error).into()
        }))
    }

    /// An attempt was not seen to its end.
    fn continue_attempt(&self, case: Case<'_>, entry: &Entry, attempt: AttemptRow) -> Decision {
        let is_recoverable = case.client.provider().info().capabilities.recoverable;
        let is_bought = matches!(attempt.state, AttemptState::Linked | AttemptState::Have);
        let is_told = is_bought && entry.status == JobStatus::Failed;
        let again = |prior| {
            Decision::Make(Start {
                is_told,
                reserved: attempt.reserved,
                is_own: true,
                ..start(entry.take, attempt.number, prior)
            })
        };
        let asked = Prior::Sent {
            ago: None,
            batch: None,
        };
        // A plan has no keys, and a server of one's own wants none.
        let http = case.client.provider().http();
        let account = http.key().map(|_| http.account());
        let is_foreign = attempt
            .account
            .zip(account)
            .is_some_and(|(sender, ours)| sender != ours);
        let is_batch_without_id = attempt.batch.as_ref().is_some_and(|batch| !batch.contains(' '));
        match (attempt.state, attempt.link, attempt.sha256, attempt.staged) {
            (AttemptState::Linked, Some(link), ..) => again(Prior::Linked {
                link,
                facts: Box::new(attempt.facts),
            }),
            // It could not be placed when the program started.
            (AttemptState::Have, _, Some(sha256), Some(staged)) => again(Prior::Have {
                sha256,
                staged: self.inner.join(staged),
                facts: Box::new(attempt.facts),
            }),
            // To another account a service says that there is nothing, and would take it on once more.
            (AttemptState::Sending, ..) if is_foreign && is_batch_without_id => {
                let message = "to this key the service would not tell of it";
                let error = in_doubt(message).next(with_its_key(&case.spec.id));
                Stay::new(Status::Unknown).because(error).into()
            }
            (AttemptState::Sending, ..) if is_foreign && is_recoverable => Decision::Make(Start {
                is_foreign,
                reserved: attempt.reserved,
                is_own: true,
                ..start(entry.take, attempt.number, asked)
            }),
            (AttemptState::Sending, ..) if is_recoverable || attempt.batch.is_some() => again(Prior::Sent {
                ago: since(attempt.first_sent_ms),
                batch: attempt.batch,
            }),
            (AttemptState::Sending, ..) => {
                let next = if attempt.take > entry.take {
                    GIVE_UP_TAKE
                } else {
                    SEND_AGAIN
                };
                self.told_before(entry, Status::Unknown, next)
            }
            _ => again(asked),
        }
    }

    fn find(&self, path: &Path, take: Option<&TakeRow>) -> Found {
        find(self.out, path, take)
    }

    /// Another file with the same bytes.
    fn identical_file(&self, take: &TakeRow, is_broken: bool) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let other = reader.find_equal(&take.hash, |other| {
            let path = self.out.join(&other.path);
            other.sha256 == take.sha256 && matches!(self.find(&path, Some(other)), Found::AsMade)
        })?;
        Ok(other.map(|other| copy(self.out.join(&other.path), other, take.take, is_broken)))
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

    /// What was said of it before, said again.
    fn told_before(&self, entry: &Entry, status: Status, next: &str) -> Decision {
        let line = entry.last_line();
        let told = line.and_then(|line| line.error);
        let message = match status {
            Status::Unknown => "it was sent and its answer was lost, so it may have been billed",
            _ => "it failed in an earlier run",
        };
        let error = told.unwrap_or_else(|| in_doubt(message)).next(next);
        Stay::new(status).because(error).into()
    }
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
