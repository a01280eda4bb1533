//! Files that come from equal ones: copied in handfuls, each of which the ledger knows before the first of them has its name.
//! A kill between a copy and its entry would else leave a file that is anybody's.

use std::path::{Path, PathBuf};

use media_core::{Error, ErrorKind, MediaFile, Result};

use super::Feeder;
use crate::book::{Told, Wish};
use crate::decision::{Decision, Stay, stay};
use crate::found::is_as_made;
use crate::ledger::{JobStatus, Made, Planned, TakeRow, asked};
use crate::line::{Line, Status};
use crate::place;
use crate::plan::Prepared;
use crate::results::Beside;

/// Copies that are noted together.
const HANDFUL: usize = 64;

/// A file that is about to be put in its place.
pub(super) struct Copy {
    wish: Wish,
    of: Of,
}

enum Of {
    /// What an equal row has got in this run.
    Equal(Box<Told>),
    /// What this row, or an equal one, had got earlier.
    Take(Box<Taken>),
}

struct Taken {
    from: PathBuf,
    to: PathBuf,
    take: TakeRow,
    /// It was made for what the row asks for.
    is_same: bool,
}

impl Copy {
    pub(super) fn of_equal(wish: Wish, told: Box<Told>) -> Copy {
        Copy {
            wish,
            of: Of::Equal(told),
        }
    }

    pub(super) fn of_take(mut wish: Wish, from: PathBuf, take: Box<TakeRow>, prepared: Prepared) -> Copy {
        let is_same = take.hash == prepared.checked.hash;
        // It stays what it was made for, so that a later run knows what has changed since.
        wish.planned.hash = take.hash;
        wish.subject.request = Some(take.hash.short());
        let of = Of::Take(Box::new(Taken {
            from,
            to: prepared.request.output_path,
            take: *take,
            is_same,
        }));
        Copy { wish, of }
    }

    /// Whether it is in its place already: a kill came between the copy and its entry.
    fn stands(&self) -> bool {
        matches!(&self.of, Of::Take(taken) if taken.from == taken.to)
    }
}

impl Feeder<'_> {
    pub(super) fn copy_later(&mut self, copy: Copy) {
        self.copies.push(copy);
        if self.copies.len() >= HANDFUL {
            self.put_copies();
        }
    }

    /// Puts what waits in its places.
    pub(super) fn put_copies(&mut self) {
        let copies = std::mem::take(&mut self.copies);
        if copies.is_empty() {
            return;
        }
        let ledger = self.shared.folder.ledger();
        for copy in copies.iter().filter(|copy| !copy.stands()) {
            match self.unmade(&copy.wish) {
                Ok(planned) => planned.into_iter().for_each(|planned| ledger.planned(planned)),
                Err(error) => self.shared.give_up(error),
            }
        }
        if let Err(error) = ledger.flush() {
            // Nothing of them has happened: the next run begins them anew.
            for Copy { wish, .. } in &copies {
                let line = Line::not_begun(&wish.subject);
                self.shared.report(&line, &wish.output, None);
            }
            return self.shared.give_up(error);
        }
        for Copy { wish, of } in copies {
            match of {
                Of::Equal(told) => self.shared.share(&told, &wish),
                Of::Take(taken) => self.put_take(&wish, &taken),
            }
        }
    }

    /// The row as the ledger has to know it, if it has no file by what the ledger knows.
    pub(super) fn unmade(&self, wish: &Wish) -> Result<Option<Planned>> {
        if wish.planned.is_redo {
            return Ok(Some(wish.planned.clone()));
        }
        let entry = self.resume.entry(&wish.subject.id)?;
        let (Some(reader), Some(entry)) = (self.resume.reader, entry) else {
            return Ok(Some(wish.as_own()));
        };
        let is_made = reader.take(&wish.subject.id, entry.take)?.is_some();
        // Where it is known as what it is, what was said of it stays said.
        let is_as_noted = entry.hash == wish.planned.hash
            && (entry.spec.path == wish.subject.path || entry.status == JobStatus::Failed);
        Ok((!is_made && !is_as_noted).then(|| wish.as_own()))
    }

    fn put_take(&self, wish: &Wish, taken: &Taken) {
        let Taken {
            from,
            to,
            take,
            is_same,
        } = taken;
        let shared = self.shared;
        let known = self
            .resume
            .reader
            .and_then(|reader| reader.job(&wish.subject.id).ok()?);
        let copied = self.placed(from, to, take);
        let (mut line, file) = match copied {
            Ok(file) => (Line::copied(&wish.subject, &file, &take.provenance), Some(file)),
            Err(error) => (Line::failed_here(&wish.subject, &error), None),
        };
        line.take = wish.planned.take;
        // A copy that failed changes nothing about what the ledger knows: the next run tries it again.
        if let Some(file) = file {
            let was_made = known.as_ref().is_some_and(|entry| {
                let reader = self.resume.reader;
                reader.is_some_and(|reader| matches!(reader.take(&entry.spec.id, entry.take), Ok(Some(_))))
            });
            let is_as_known =
                from == to && !was_made && known.as_ref().is_some_and(|entry| entry.hash == take.hash);
            let planned = (!is_as_known).then(|| wish.planned.clone());
            let made = Made {
                path: wish.subject.path.clone(),
                file,
                provenance: take.provenance.clone(),
            };
            let beside = Beside {
                planned,
                made: Some(made),
                ..Beside::default()
            };
            shared.write_down(wish, &line, beside);
            if from == to && *is_same && was_made {
                // It is where it was, as far as anybody can tell.
                let skipped = Stay {
                    take: Some(take.clone()),
                    ..Stay::new(Status::Skipped)
                };
                line = Line::stays(&wish.subject, &skipped);
            }
            // What a kill had left out of the ledger was made for what the row asked for then.
            let was_changed = known.is_some_and(|entry| entry.asked != asked(&wish.planned.spec));
            if from == to
                && !is_same
                && was_changed
                && let Decision::Stay(changed) = stay(Status::Changed, Some(take.clone()))
            {
                line = Line::stays(&wish.subject, &changed);
            }
        }
        shared.report(&line, &wish.output, None);
    }

    fn placed(&self, from: &Path, to: &Path, take: &TakeRow) -> Result<MediaFile> {
        // It may stand there already: another row shares its path, or a kill came between the copy and its entry.
        if !is_as_made(to, take.bytes, &take.sha256, None) {
            if from == to {
                let message = format!("{} was changed while it was looked at", to.display());
                return Err(Error::new(ErrorKind::Storage, message).not_billed());
            }
            place::copy(from, to, self.shared.folder.out(), &take.sha256)?;
        }
        place::describe(to, Some(&take.sha256))
    }
}
