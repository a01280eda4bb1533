//! Attempts that were not seen to their end: whether the job goes on with one, waits for it, or is told of it.

use media_core::{Prior, Result};

use super::{Case, Resume, in_doubt, since};
use crate::decision::{
    AsSent, Decision, GIVE_UP_TAKE, SEND_AGAIN, Start, Stay, in_doubt_by, in_the_way, start, with_its_key,
};
use crate::folder::inner_of;
use crate::found::Found;
use crate::ledger::{AttemptRow, AttemptState, Entry, JobStatus, OpenAttempt, has_format_of};
use crate::line::Status;
use crate::list::JobSpec;

/// Of a job that has a file: whatever is said of another take of it, it stays made.
fn made(decision: Decision) -> Decision {
    match decision {
        Decision::Stay(stay) => Decision::Stay(Box::new(Stay {
            keeps_row: true,
            ..*stay
        })),
        decision => decision,
    }
}

impl Resume<'_> {
    /// Another take of it was sent, and nobody saw that to its end.
    pub(super) fn open_redo(&self, case: Case<'_>, entry: &Entry) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let Some(attempt) = reader.open_redo(&case.spec.id, entry.take, Some(&case.prepared.checked.hash))?
        else {
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
                return Ok(Some(made(in_doubt_by(Some(&attempt), in_the_way(path, changed)))));
            }
            Found::InTheWay(what) => {
                return Ok(Some(made(in_doubt_by(Some(&attempt), in_the_way(path, &what)))));
            }
        }
        let (number, of_take) = (attempt.number, attempt.take);
        let decision = match self.continue_attempt(case, entry, attempt) {
            Decision::Make(begun) => Decision::Make(Start {
                take: of_take,
                attempt: number,
                is_redo: true,
                ..begun
            }),
            stays => made(stays),
        };
        Ok(Some(decision))
    }

    /// The row, or the configuration, asked for something else when it was last sent, and nobody saw that to its end.
    /// It comes first: who asks for the new request beside it may pay for both.
    pub(super) fn open_for_other_request(&self, case: Case<'_>, entry: &Entry) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let hash = &case.prepared.checked.hash;
        // What it shared with an equal row is open for as long as that one's is.
        let shares = matches!(entry.status, JobStatus::Unknown | JobStatus::Open)
            && entry.hash != *hash
            && !reader.has_open_attempt(&case.spec.id)?;
        let shared = shares
            .then(|| reader.open_equal(&case.spec.id, &entry.hash))
            .transpose()?
            .flatten();
        if let Some(other) = shared {
            let message =
                format!("when {other} was sent it asked for the same, and that may have been billed");
            let error = in_doubt(message).next(format!("settle {other} first: media status {other}"));
            return Ok(Some(Decision::from(Stay {
                is_held: true,
                is_shared: true,
                ..Stay::new(Status::Unknown).because(error)
            })));
        }
        let open = reader.open_at_another(&case.spec.id, hash)?;
        if let Some(open) = &open
            && let Some(begun) = self.continue_as_sent(case, entry, open)
        {
            return Ok(Some(begun));
        }
        let is_open = open.is_some()
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
            keeps_row: is_made,
            is_held: true,
            ..Stay::new(Status::Unknown).because(in_doubt(message).next(next))
        })))
    }

    /// Configuration or row were changed since it was sent: what was bought is fetched all the same, where that cannot send
    /// anything, and is then a file of what was asked for before.
    fn continue_as_sent(&self, case: Case<'_>, entry: &Entry, open: &OpenAttempt) -> Option<Decision> {
        let attempt = &open.attempt;
        let same_format = has_format_of(&entry.spec.path, &case.spec.path);
        // What stands at its path is looked at by those who come to know that it is the same request.
        let is_free = matches!(
            self.find(&case.prepared.request.output_path, None),
            Found::Nothing
        );
        let is_as_sent = is_free
            && (entry.asks_for(case.spec) || (attempt.batch.is_some() && same_format))
            && attempt.take == entry.take
            && attempt.provider.as_deref() == Some(&*case.client.info().name);
        if !is_as_sent || !(self.only_fetch || attempt.batch.is_some()) {
            return None;
        }
        let sent = AsSent {
            hash: open.hash,
            spec: JobSpec {
                path: case.spec.path.clone(),
                line: case.spec.line,
                ..entry.spec.clone()
            },
            asked: entry.asked,
            model: attempt.model.clone()?,
        };
        match self.continue_attempt(case, entry, attempt.clone()) {
            Decision::Make(begun) => Some(Decision::Make(Start {
                as_sent: Some(Box::new(sent)),
                ..begun
            })),
            Decision::Stay(_) | Decision::Copy { .. } => None,
        }
    }

    /// An attempt was not seen to its end.
    pub(super) fn continue_attempt(&self, case: Case<'_>, entry: &Entry, attempt: AttemptRow) -> Decision {
        let is_recoverable = case.client.info().capabilities.recoverable;
        let is_bought = matches!(attempt.state, AttemptState::Linked | AttemptState::Have);
        // Of a link the cost is written down when it is told.
        let is_known = attempt.state == AttemptState::Linked && attempt.cost.is_some();
        let is_told = is_bought && (entry.status == JobStatus::Failed || is_known);
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
                staged: inner_of(self.out).join(staged),
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

    /// What was said of it before, said again.
    pub(super) fn told_before(&self, entry: &Entry, status: Status, next: &str) -> Decision {
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
