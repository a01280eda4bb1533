//! What other jobs have, or may have bought, for the same request, or at the same path.

use media_core::{Charge, ErrorKind, Result};

use super::{Case, Resume, in_doubt};
use crate::decision::{BUY_ANEW, Decision, Stay, copy, is_of_another};
use crate::found::{Found, is_as_made};
use crate::ledger::{Entry, TakeRow, asked};
use crate::line::{LineError, Status};

/// Another row asks for the same, and that may have been billed.
fn doubt_of(other: &str) -> Stay {
    let message = format!("{other} asks for the same, and that may have been billed");
    let next = format!(
        "settle {other} first: media rescue fetches what can be had, media status {other} tells of it"
    );
    let error = in_doubt(message).next(next);
    Stay {
        is_shared: true,
        ..Stay::new(Status::Unknown).because(error)
    }
}

/// Another row asks for the same, and what was billed for that was no good.
fn spent_on(other: &str) -> Stay {
    let message = format!("{other} asks for the same; that was billed, and what came was no good");
    let error = LineError::new(ErrorKind::InvalidMedia.as_str(), Charge::Certain, message);
    Stay {
        is_shared: true,
        ..Stay::new(Status::Failed).because(error.next(BUY_ANEW))
    }
}

impl Resume<'_> {
    /// An equal row may have bought it already: it is not sent beside that, and stays what it is. `next`: the take that it
    /// would be.
    pub(super) fn waits_for_equal(&self, case: Case<'_>, next: Option<u32>) -> Result<Decision> {
        let reader = self.reader;
        let hash = &case.prepared.checked.hash;
        let other = reader.map_or(Ok(None), |reader| reader.open_equal(&case.spec.id, hash))?;
        Ok(Decision::from(Stay {
            keeps_row: true,
            next_take: next,
            ..doubt_of(&other.unwrap_or_default())
        }))
    }

    /// What stands at its path was made for another job, which asked for something else: paths were exchanged, or
    /// numbered anew. It is not this one's, whatever its name says.
    pub(super) fn file_of_another_job(&self, case: Case<'_>, is_made: bool) -> Result<Option<Decision>> {
        let path = &case.prepared.request.output_path;
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        for made in reader.made_at(&case.spec.path, &case.spec.id)? {
            // The configuration may have made another request of the same row since; what that job asks for by now says
            // nothing of a file that it had made before.
            let is_same_row = |job: Entry| job.hash == made.hash && job.asked == asked(case.spec);
            let is_equal =
                made.hash == case.prepared.checked.hash || reader.job(&made.job)?.is_some_and(is_same_row);
            if !is_equal && is_as_made(path, made.bytes, &made.sha256, made.modified_ns) {
                return Ok(Some(is_of_another(path, &made.job, is_made)));
            }
        }
        Ok(None)
    }

    /// Whether another job's attempt at an equal request is not settled.
    pub(super) fn is_in_doubt_elsewhere(&self, case: Case<'_>) -> Result<bool> {
        let hash = &case.prepared.checked.hash;
        self.reader.map_or(Ok(false), |reader| {
            Ok(reader.open_equal(&case.spec.id, hash)?.is_some())
        })
    }

    /// A file that was made for an equal request of another job, where the provider's terms allow its reuse.
    pub(super) fn made_for_equal(
        &self,
        case: Case<'_>,
        entry: Option<&Entry>,
        number: u32,
    ) -> Result<Option<Decision>> {
        // A list that names this row alone, such as one of failures, changes nothing about what it shared.
        let has_shared = |entry: &Entry| entry.hash == case.prepared.checked.hash && entry.shares_purchase();
        let is_shared = case.is_shared || entry.is_some_and(has_shared);
        let may_reuse = is_shared || case.client.provider().http().settings().reuse;
        let Some(reader) = self.reader.filter(|_| may_reuse) else {
            return Ok(None);
        };
        let mut made = None;
        // Where another take is on its way to this very path, that is what the row gets.
        let is_replaced = self.is_being_replaced(case)?;
        let standing = reader.find_equal(&case.prepared.checked.hash, |take| {
            let stands = !is_replaced && self.is_made_at(&self.out.join(&take.path), take);
            if !stands {
                made.get_or_insert_with(|| take.clone());
            }
            stands
        })?;
        if let Some(take) = standing {
            return Ok(Some(copy(self.out.join(&take.path), take, number, false)));
        }
        // Bought for another job, perhaps, and not settled: buying it for this one may be buying it twice.
        if let Some(other) = reader.open_equal(&case.spec.id, &case.prepared.checked.hash)? {
            return Ok(Some(doubt_of(&other).into()));
        }
        if case.client.info().capabilities.free {
            return Ok(None);
        }
        if let Some(take) = made {
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
        let spent = reader.spent_equal(&case.spec.id, &case.prepared.checked.hash)?;
        Ok(spent.map(|other| spent_on(&other).into()))
    }

    /// What a row that asks for the same has by the configuration before, or was sent by it: rows that share their purchases
    /// share that too, and are outdated together.
    pub(super) fn had_by_equal(&self, case: Case<'_>, number: u32) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let Case { spec, prepared, .. } = case;
        for entry in reader.jobs_asking(&asked(spec), &spec.id)? {
            if !entry.asks_for(spec) {
                continue;
            }
            let id = &entry.spec.id;
            if let Some(take) = reader.take(id, entry.take)? {
                let path = self.out.join(&take.path);
                let fits = take.fits(&prepared.request.output_path);
                if fits && self.is_made_at(&path, &take) {
                    return Ok(Some(copy(path, take, number, false)));
                }
            } else if reader.open_at_another(id, &prepared.checked.hash)?.is_some() {
                return Ok(Some(doubt_of(id).into()));
            }
        }
        Ok(None)
    }

    /// What stands at its path is what an equal row had for what it asked for before: a kill came between the copy and its
    /// entry, and then the row was changed.
    pub(super) fn copied_before(&self, case: Case<'_>, entry: &Entry) -> Result<Option<Decision>> {
        let Some(reader) = self.reader.filter(|_| entry.hash != case.prepared.checked.hash) else {
            return Ok(None);
        };
        let path = &case.prepared.request.output_path;
        let made = reader.find_equal(&entry.hash, |take| self.is_made_at(path, take))?;
        Ok(made.map(|take| copy(path.clone(), take, entry.take, false)))
    }

    /// What stands at its path has been put there in the place of its own file, as an equal row's new take: a kill came before its
    /// entry.
    pub(super) fn swapped_before(&self, case: Case<'_>, own: &TakeRow) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let hash = &case.prepared.checked.hash;
        // Its redo has no attempt of its own where an equal row's bought the file for both.
        let redone = reader.noted_redo(&case.spec.id, own.take, hash)?;
        if own.hash == *hash && redone.is_none() {
            return Ok(None);
        }
        let path = &case.prepared.request.output_path;
        let made = reader.find_equal(hash, |take| self.is_made_at(path, take))?;
        let next = reader.last_take(&case.spec.id)?.max(own.take) + 1;
        let number = redone.unwrap_or(next);
        Ok(made.map(|take| copy(path.clone(), take, number, false)))
    }

    /// Another take was asked of this row together with an equal one, whose purchase is under way: the number that it gets here.
    /// Not where a file of the user's stands in its place.
    pub(super) fn shared_redo(&self, case: Case<'_>, entry: &Entry, own: &TakeRow) -> Result<Option<u32>> {
        let Some(reader) = self.reader.filter(|_| case.is_shared) else {
            return Ok(None);
        };
        let path = &case.prepared.request.output_path;
        if !matches!(self.find(path, Some(own)), Found::AsMade | Found::Nothing) {
            return Ok(None);
        }
        reader.awaited_redo(&case.spec.id, entry.take, &case.prepared.checked.hash)
    }

    /// Whether another take is on its way to this path, for a row that shares it.
    pub(super) fn is_being_replaced(&self, case: Case<'_>) -> Result<bool> {
        let Some(reader) = self.reader else {
            return Ok(false);
        };
        for made in reader.made_at(&case.spec.path, &case.spec.id)? {
            let Some(entry) = reader.job(&made.job)? else {
                continue;
            };
            if reader.open_redo(&made.job, entry.take, None)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Another file with the same bytes.
    pub(super) fn identical_file(&self, take: &TakeRow, is_broken: bool) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let other = reader.find_equal(&take.hash, |other| {
            other.sha256 == take.sha256 && self.is_made_at(&self.out.join(&other.path), other)
        })?;
        Ok(other.map(|other| copy(self.out.join(&other.path), other, take.take, is_broken)))
    }
}
