//! Reads the list for one lane: decides about every job, and hands over what is to be made.

mod begin;
mod copy;

use std::collections::HashMap;
use std::sync::Mutex;

use media_core::{Client, Error, Order, Prior, Provenance, RequestHash, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::copy::Copy;
use crate::book::{Book, Told, Wish};
use crate::chain::{Standing, own_standing};
use crate::decision::{Decision, Stay};
use crate::handed::{Handed, HandedOver};
use crate::lane::Part;
use crate::ledger::{JobStatus, Reader};
use crate::line::{Line, Status, Subject};
use crate::list::{JobSpec, RowProblem, first_of};
use crate::place;
use crate::plan::Prepared;
use crate::results::Beside;
use crate::resume::{Case, Resume};
use crate::run::{Share, Shared};
use media_core::sync::lock;

/// Orders on their way to a lane.
pub(crate) const ORDERS_AHEAD: usize = 32;

/// Hands orders over in handfuls: the two sides then wake each other a few times in a hundred, not for each.
struct Outbox {
    orders: mpsc::Sender<Order>,
    runtime: Handle,
    waiting: Vec<Order>,
}

impl Outbox {
    const HANDFUL: usize = ORDERS_AHEAD / 4;

    /// Gives back what the lane takes no more.
    fn send(&mut self, order: Order) -> std::result::Result<(), Vec<Order>> {
        self.waiting.push(order);
        if self.waiting.len() < Outbox::HANDFUL {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> std::result::Result<(), Vec<Order>> {
        let waiting = std::mem::take(&mut self.waiting);
        let Ok(places) = self.runtime.block_on(self.orders.reserve_many(waiting.len())) else {
            return Err(waiting);
        };
        for (place, order) in places.zip(waiting) {
            place.send(order);
        }
        Ok(())
    }
}

/// Reads the list and hands over what this lane has to make.
pub(crate) fn feed(
    shared: &Shared,
    share: &Share,
    client: &Client,
    part: &Part,
    book: &Mutex<Book>,
    orders: mpsc::Sender<Order>,
) -> Result<()> {
    let reader = shared.folder.ledger().reader()?;
    // What this part of a run writes down it knows by itself; a ledger that was empty when it began need not be asked.
    let has_past = shared.is_later_round || !shared.folder.was_empty() || matches!(part, Part::Batch(_));
    let reader = has_past.then_some(reader);
    let mut feeder = Feeder {
        shared,
        client,
        handed: match part {
            Part::List(handed) => Some(handed),
            Part::Batch(_) => None,
        },
        book,
        resume: Resume {
            reader: reader.as_ref(),
            out: shared.folder.out(),
            is_lost: shared.folder.is_lost(),
            only_fetch: shared.only_fetch,
        },
        outbox: Outbox {
            orders,
            runtime: Handle::current(),
            waiting: Vec::new(),
        },
        tag: 0,
        is_changed: false,
        copies: Vec::new(),
        equals: None,
    };
    let fed = match part {
        Part::List(_) => feeder.list(share),
        Part::Batch(rows) => feeder.batch(rows, share),
    };
    feeder.put_copies();
    let flushed = feeder.outbox.flush();
    feeder.take_back(flushed);
    fed
}

struct Feeder<'a> {
    shared: &'a Shared,
    client: &'a Client,
    /// Where rows are noted whose files are had later, batch by batch.
    handed: Option<&'a HandedOver>,
    book: &'a Mutex<Book>,
    resume: Resume<'a>,
    outbox: Outbox,
    tag: u64,
    /// The row at hand is as it was sent in a batch, and the list asks for something else by now.
    is_changed: bool,
    /// Files that are about to be put in their places from equal ones.
    copies: Vec<Copy>,
    /// The ids of rows that ask for the same, by [`short_of`]: for when the ledger was lost.
    equals: Option<HashMap<u64, Vec<String>>>,
}

/// Whether the rest of the list is still wanted.
enum More {
    Yes,
    No,
}

impl Feeder<'_> {
    /// Goes through the list.
    fn list(&mut self, share: &Share) -> Result<()> {
        let shared = self.shared;
        let read = shared.project.reader();
        for job in shared.worklist.jobs(&read)? {
            if shared.stop.is_asked() {
                return Ok(());
            }
            let spec: JobSpec = job.map_err(|problems| changed(&problems))?;
            if spec.kind != share.kind || !spec.providers.contains(&share.provider) {
                continue;
            }
            let standing = self.standing(&spec)?;
            if standing.provider == share.provider
                && shared.take_on(&spec)
                && let More::No = self.job(&spec, standing)?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes through what was handed over in a batch that is over by now, as the ledger has it.
    fn batch(&mut self, rows: &[Handed], share: &Share) -> Result<()> {
        let mut failed = Ok(());
        for row in rows {
            // Whatever fails, no row is left out of the account.
            if failed.is_err() || self.shared.stop.is_asked() {
                let told = self
                    .resume
                    .reader
                    .map_or(Ok(()), |reader| still_in_batch(self.shared, reader, row, share));
                failed = failed.and(told);
            } else {
                failed = self.row_of_batch(row, share);
            }
        }
        failed
    }

    fn row_of_batch(&mut self, row: &Handed, share: &Share) -> Result<()> {
        let equals = row.equals.iter().map(|wish| (&wish.planned.spec, false));
        for (spec, is_changed) in [(&row.spec, row.is_changed)].into_iter().chain(equals) {
            let standing = Standing {
                provider: share.provider.clone(),
                ..self.standing(spec)?
            };
            self.is_changed = is_changed;
            self.job(spec, standing)?;
        }
        Ok(())
    }

    fn standing(&self, spec: &JobSpec) -> Result<Standing> {
        match self.shared.worklist.standing(&spec.id) {
            Some(known) => Ok(known.clone()),
            None => own_standing(spec, self.resume.reader),
        }
    }

    fn job(&mut self, spec: &JobSpec, standing: Standing) -> Result<More> {
        let shared = self.shared;
        let out = shared.folder.out();
        let prepared = shared
            .project
            .prepare(spec, &standing.provider, out)
            .map_err(|why| {
                let message = format!("the list changed while it was being run: {why}");
                Error::invalid(message)
            })?;
        let is_shared = shared.worklist.is_shared(&prepared);
        let equal = is_shared.then_some(prepared.checked.hash);
        let case = Case {
            client: self.client,
            spec,
            prepared: &prepared,
            is_shared,
        };
        let decision = if shared.worklist.is_redo() {
            self.resume.decide_anew(case)?
        } else {
            self.resume.decide(case)?
        };
        let mut wish = self.wish(spec, &prepared, standing.tried);
        match decision {
            Decision::Stay(stay) if shared.only_fetch => {
                self.stays_unfetched(wish, &stay, equal)?;
                Ok(More::Yes)
            }
            Decision::Stay(stay) => {
                self.stays(wish, &stay, &prepared, equal)?;
                Ok(More::Yes)
            }
            Decision::Make(start) if shared.only_fetch => match start.prior {
                Prior::Fresh => Ok(More::Yes),
                _ => self.make(wish, prepared, start, equal),
            },
            Decision::Make(start) => {
                wish.planned.take = start.take;
                wish.planned.is_redo = start.is_redo;
                let wish = match equal.filter(|_| !start.is_own) {
                    None => Some(wish),
                    Some(equal) => self.join(equal, wish),
                };
                match wish {
                    Some(wish) => self.make(wish, prepared, start, equal),
                    None => Ok(More::Yes),
                }
            }
            Decision::Copy { .. } if shared.only_fetch => Ok(More::Yes),
            Decision::Copy {
                from,
                take,
                number,
                is_broken,
            } => {
                wish.planned.take = number;
                if is_broken {
                    place::move_aside(out, &prepared.request.output_path)?;
                }
                self.copy_later(Copy::of_take(wish, from, take, prepared));
                Ok(More::Yes)
            }
        }
    }

    /// Nothing is done about a row; it may still come to share what an equal one is getting.
    fn stays(
        &mut self,
        mut wish: Wish,
        stay: &Stay,
        prepared: &Prepared,
        equal: Option<RequestHash>,
    ) -> Result<()> {
        let shared = self.shared;
        let is_just_made = stay.status == Status::Skipped
            && equal.is_some_and(|key| lock(self.book).makes(key, &wish.subject.path));
        let is_open = [Status::Unknown, Status::Failed, Status::Gone].contains(&stay.status);
        let former = stay
            .take
            .as_ref()
            .filter(|take| take.hash == prepared.checked.hash);
        let number = stay.next_take.or(former.map(|take| take.take));
        if let Some(number) = number {
            wish.planned.take = number;
            wish.planned.is_redo = stay.next_take.is_some();
        }
        // What it has made for another request is not replaced by what an equal row has made for this one.
        let may_join = !stay.is_held && (!stay.keeps_row || number.is_some());
        // Another take of it was asked for together with an equal row's.
        let is_awaited = stay.next_take.is_some();
        if let Some(key) = equal.filter(|_| may_join && (is_open || is_just_made || is_awaited)) {
            // An equal row may be settling it just now, or has put this very file there a moment ago.
            wish = match self.join(key, wish) {
                Some(wish) => wish,
                None => return Ok(()),
            };
        }
        if stay.is_broken {
            place::move_aside(shared.folder.out(), &prepared.request.output_path)?;
        }
        let line = Line::stays(&wish.subject, stay);
        if let Some(reader) = self.resume.reader
            && stay.status == Status::Skipped
            && stay.take.is_none()
            && was_in_doubt(reader, &wish.subject.id)?
        {
            shared.put_off(reader, &line)?;
        }
        let is_of_equal = stay.status == Status::Failed && stay.is_shared;
        if (stay.status == Status::Unknown || is_of_equal) && !stay.keeps_row {
            // A kill left it open, or an equal row's purchase is, or was for nothing; from now on the ledger says it too.
            let planned = (!self.is_known(&wish)?).then(|| wish.as_own());
            let beside = Beside {
                planned,
                ..Beside::default()
            };
            shared.write_down(&wish, &line, beside);
        }
        shared.report(&line, &wish.output, None);
        Ok(())
    }

    /// The same where only what was bought is wanted: rows that nothing was bought for are not spoken of.
    fn stays_unfetched(&mut self, mut wish: Wish, stay: &Stay, equal: Option<RequestHash>) -> Result<()> {
        let shared = self.shared;
        let is_wanted = match stay.status {
            Status::Unknown => true,
            // What stands at its path is in the way.
            Status::Failed => self.has_open_attempt(&wish.subject.id)?,
            _ => false,
        };
        if let Some(number) = stay.next_take {
            wish.planned.take = number;
            wish.planned.is_redo = true;
        }
        let is_open = stay.status == Status::Unknown && !stay.keeps_row;
        let may_join = !stay.is_held && (is_open || stay.next_take.is_some());
        let alone = match equal.filter(|_| may_join) {
            Some(key) => self.join(key, wish),
            None => Some(wish),
        };
        if let Some(wish) = alone.filter(|_| is_wanted) {
            let line = Line::stays(&wish.subject, stay);
            shared.report(&line, &wish.output, None);
        }
        Ok(())
    }

    fn is_known(&self, wish: &Wish) -> Result<bool> {
        Ok(self.resume.entry(&wish.subject.id)?.is_some())
    }

    fn has_open_attempt(&self, id: &str) -> Result<bool> {
        let reader = self.resume.reader;
        reader.map_or(Ok(false), |reader| reader.has_open_attempt(id))
    }

    /// Lets a row wait for an equal one that is under way, or tells it of one that is over; gives it back otherwise.
    fn join(&mut self, equal: RequestHash, wish: Wish) -> Option<Wish> {
        // A kill among the copies leaves files of rows that the ledger must know, or they would be anybody's.
        let planned = self.unmade(&wish).unwrap_or_else(|error| {
            self.shared.give_up(error);
            None
        });
        let ledger = self.shared.folder.ledger();
        let joined = {
            // Under its lock, so that the row is known before it can have a file.
            let mut book = lock(self.book);
            if book.is_making(equal) {
                planned.iter().for_each(|planned| ledger.planned(planned.clone()));
            }
            book.join(equal, wish)
        };
        // In this order: what leaves the book for a remote batch is noted there first.
        match joined {
            None => None,
            Some((wish, Some(told))) => {
                self.copy_later(Copy::of_equal(wish, told));
                None
            }
            Some((wish, None)) => match self.handed {
                Some(handed) => {
                    let alone = handed.join(equal, wish);
                    if let (None, Some(planned)) = (&alone, planned) {
                        ledger.planned(planned);
                    }
                    alone
                }
                None => Some(wish),
            },
        }
    }

    /// Orders that never reached the lane, so that nothing can have been sent for them.
    fn take_back(&self, sent: std::result::Result<(), Vec<Order>>) {
        for order in sent.err().into_iter().flatten() {
            let pending = lock(self.book).take(order.tag);
            if let Some(pending) = pending {
                let line = Line::not_begun(&pending.wish.subject);
                self.shared.report(&line, &pending.wish.output, None);
            }
        }
    }
}

/// Whether the ledger has a row in doubt that has nothing of its own to be in doubt about: an equal one was, and is not any more.
fn was_in_doubt(reader: &Reader, id: &str) -> Result<bool> {
    let entry = reader.job(id)?;
    let Some(entry) = entry.filter(|entry| entry.status == JobStatus::Unknown) else {
        return Ok(false);
    };
    // What a lost ledger may have sent has no attempt either, and stays in doubt.
    Ok(!reader.has_open_attempt(id)? && !reader.is_of_lost_ledger(&entry)?)
}

/// Tells of a row whose batch did not come to its end in this run, and of those that share its purchase.
pub(crate) fn still_in_batch(shared: &Shared, reader: &Reader, row: &Handed, share: &Share) -> Result<()> {
    let spec = &row.spec;
    let subject = Subject {
        id: spec.id.clone(),
        line: spec.line,
        path: spec.path.clone(),
        provider: share.provider.clone(),
        is_simulated: shared.folder.is_simulated(),
        ..Subject::default()
    };
    let line = Line::in_batch(&subject);
    shared.put_off(reader, &line)?;
    shared.report(&line, &output_name(spec), None);
    let told = Told {
        line,
        provenance: Provenance::default(),
    };
    for wish in &row.equals {
        shared.share(&told, wish);
    }
    Ok(())
}

fn changed(problems: &[RowProblem]) -> Error {
    let message = format!("the list changed while it was being run: {}", first_of(problems));
    Error::invalid(message)
}

/// The output's name in a recipe, or the kind.
pub(crate) fn output_name(spec: &JobSpec) -> String {
    spec.output.clone().unwrap_or_else(|| spec.kind.to_string())
}
