//! Reads the list for one lane: decides about every job, and hands over what is to be made.

use std::collections::HashMap;
use std::sync::Mutex;

use media_core::{Checked, Client, Error, MediaRequest, Order, Prior, RequestHash, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::book::{Book, Pending, Wish};
use crate::chain::{Standing, Tried, own_standing};
use crate::count::short_of;
use crate::decision::{Decision, Start};
use crate::handed::{Handed, HandedOver};
use crate::lane::Part;
use crate::ledger::{Made, Planned, TakeRow, asked};
use crate::line::{Line, Status, Subject};
use crate::list::{JobSpec, RowProblem};
use crate::place;
use crate::plan::Prepared;
use crate::resume::{Case, Resume};
use crate::run::{Share, Shared};
use crate::sync::lock;

/// How far the seeds of two variants of a row lie apart: more takes than anybody makes.
const SEEDS_OF_A_VARIANT: u64 = 1000;
/// Equal rows by whose names a purchase is asked for when the ledger was lost.
const EQUALS_ASKED_FOR: usize = 20;
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
            inner: shared.folder.inner(),
            is_lost: shared.folder.is_lost(),
            only_fetch: shared.only_fetch,
        },
        outbox: Outbox {
            orders,
            runtime: Handle::current(),
            waiting: Vec::new(),
        },
        tag: 0,
        equals: None,
    };
    let fed = match part {
        Part::List(_) => feeder.list(share),
        Part::Batch(rows) => feeder.batch(rows, share),
    };
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
        let read = |name: &str, kind, key: &str, cell: &str| shared.project.read_param(name, kind, key, cell);
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
                failed = failed.and(still_in_batch(self.shared, row, share));
            } else {
                failed = self.row_of_batch(row, share);
            }
        }
        failed
    }

    fn row_of_batch(&mut self, row: &Handed, share: &Share) -> Result<()> {
        let equals = row.equals.iter().map(|wish| &wish.planned.spec);
        for spec in [&row.spec].into_iter().chain(equals) {
            let standing = Standing {
                provider: share.provider.clone(),
                ..self.standing(spec)?
            };
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
        if shared.only_fetch {
            return match decision {
                Decision::Make(start) if start.prior != Prior::Fresh => {
                    self.make(wish, prepared, start, equal)
                }
                Decision::Stay(stay) if stay.status == Status::Unknown => {
                    let mine = match equal.filter(|_| !stay.is_held && !stay.is_made) {
                        Some(key) => self.join(key, wish),
                        None => Some(wish),
                    };
                    let Some(wish) = mine else {
                        return Ok(More::Yes);
                    };
                    let line = Line::stays(&wish.subject, &stay, shared.folder.is_simulated());
                    shared.report(&line, &wish.output, None);
                    Ok(More::Yes)
                }
                // Something was bought for it, and what stands at its path is in the way.
                Decision::Stay(stay)
                    if stay.status == Status::Failed && self.has_open_attempt(&spec.id)? =>
                {
                    let line = Line::stays(&wish.subject, &stay, shared.folder.is_simulated());
                    shared.report(&line, &wish.output, None);
                    Ok(More::Yes)
                }
                _ => Ok(More::Yes),
            };
        }
        match decision {
            Decision::Stay(stay) => {
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
                let may_join = !stay.is_held && (!stay.is_made || number.is_some());
                if let Some(key) = equal.filter(|_| may_join && (is_open || is_just_made)) {
                    // An equal row may be settling it just now, or has put this very file there a moment ago.
                    wish = match self.join(key, wish) {
                        Some(wish) => wish,
                        None => return Ok(More::Yes),
                    };
                }
                if stay.is_broken {
                    place::move_aside(out, &prepared.request.output_path)?;
                }
                let line = Line::stays(&wish.subject, &stay, shared.folder.is_simulated());
                if stay.status == Status::Unknown && !stay.is_made {
                    // A kill left it open, or an equal row's purchase is; from now on the ledger says it too.
                    let reader = self.resume.reader;
                    let is_known = reader.map_or(Ok(None), |reader| reader.job(&spec.id))?.is_some();
                    let planned = (!is_known).then(|| wish.made_anew());
                    shared.write_down(&wish, &line, planned, None, None, || None);
                }
                shared.report(&line, &wish.output, None);
                Ok(More::Yes)
            }
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
                self.copy(wish, &from, &take, &prepared);
                Ok(More::Yes)
            }
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
        }
    }

    fn has_open_attempt(&self, id: &str) -> Result<bool> {
        let reader = self.resume.reader;
        reader.map_or(Ok(false), |reader| reader.has_open_attempt(id))
    }

    /// Lets a row wait for an equal one that is under way, or tells it of one that is over; gives it back otherwise.
    fn join(&self, equal: RequestHash, wish: Wish) -> Option<Wish> {
        // A kill among the copies leaves files of rows that the ledger must know, or they would be anybody's.
        let reader = self.resume.reader;
        let is_known = reader.is_some_and(|reader| !matches!(reader.job(&wish.subject.id), Ok(None)));
        let planned = (!is_known).then(|| wish.made_anew());
        // In this order: what leaves the book for a remote batch is noted there first.
        let joined = lock(self.book).join(equal, wish);
        let alone = match joined {
            None => None,
            Some((wish, Some(line))) => {
                self.shared.share(&line, &wish);
                return None;
            }
            Some((wish, None)) => match self.handed {
                Some(handed) => handed.join(equal, wish),
                None => Some(wish),
            },
        };
        if let (None, Some(planned)) = (&alone, planned) {
            self.shared.folder.ledger().planned(planned);
        }
        alone
    }

    fn wish(&self, spec: &JobSpec, prepared: &Prepared, tried: Vec<Tried>) -> Wish {
        let resolved = &prepared.checked.resolved;
        let estimate = self.shared.estimates.of(self.client, resolved);
        let provider = self.client.provider().info().name.clone();
        Wish {
            subject: Subject {
                id: spec.id.clone(),
                line: spec.line,
                path: spec.path.clone(),
                provider: provider.clone(),
                request: Some(prepared.checked.hash.short()),
                tried,
            },
            output: output_name(spec),
            planned: Planned {
                spec: spec.clone(),
                provider,
                account: self.client.provider().http().account().to_owned(),
                model: resolved.model.clone(),
                asked: asked(spec),
                hash: prepared.checked.hash,
                take: 1,
                listed: estimate.listed,
                estimate: estimate.expected,
                is_redo: false,
            },
        }
    }

    fn make(
        &mut self,
        mut wish: Wish,
        mut prepared: Prepared,
        start: Start,
        mut equal: Option<RequestHash>,
    ) -> Result<More> {
        let shared = self.shared;
        if let Some(sent) = &start.as_sent {
            // It is what it was sent as, and no equal of what the row asks for now.
            wish.planned.hash = sent.hash;
            wish.subject.request = Some(sent.hash.short());
            let Checked { resolved, hash } = &mut prepared.checked;
            *hash = sent.hash;
            // By its model it is priced. What size was asked for nobody knows any more.
            wish.planned.model.clone_from(&sent.model);
            resolved.model.clone_from(&sent.model);
            resolved.dimensions = None;
            equal = None;
        }
        wish.planned.take = start.take;
        wish.planned.is_redo = start.is_redo;
        let is_in_batch = matches!(&start.prior, Prior::Sent { batch: Some(_), .. });
        if let Some(handed) = self.handed.filter(|_| is_in_batch) {
            let id = wish.subject.id.clone();
            // By this it is found when its batch is over, at the path that it has now.
            shared.folder.ledger().planned(wish.planned);
            shared.folder.ledger().handed_over(&id);
            handed.note(&id, equal);
            return Ok(More::Yes);
        }
        let is_return = !start.buys;
        if matches!(start.prior, Prior::Fresh | Prior::Perhaps) {
            // One that passed on has its place already. What was paid for may come later in the list, and takes none.
            if !shared.is_later_round && !shared.has_place() {
                return Ok(More::Yes);
            }
            // Something cheaper may still fit, and what does not fit takes no place.
            if !shared.may_spend(wish.planned.estimate) {
                return Ok(More::Yes);
            }
            if !shared.is_later_round && !shared.may_make() {
                shared.give_back(wish.planned.estimate);
                return Ok(More::Yes);
            }
        }
        if start.is_broken {
            place::move_aside(shared.folder.out(), &prepared.request.output_path)?;
        }
        // What was sent in a batch is expected to cost what it was then, though batches may not be wanted now.
        if is_in_batch {
            wish.planned.estimate = start.reserved.or(wish.planned.estimate);
        }
        let replaces = start
            .is_redo
            .then(|| place::aside(shared.folder.out(), &prepared.request.output_path));
        let equals = match (&start.prior, equal) {
            (Prior::Perhaps, Some(_)) => self.equals_of(&prepared, &wish.subject)?,
            _ => Vec::new(),
        };
        let (request, checked) = match self.of_take(prepared, start.take) {
            Ok(taken) => taken,
            Err(error) => {
                // A seed that would go on beyond what its provider takes is this row's affair.
                shared.give_back(wish.planned.estimate);
                let line = Line::failed_here(&wish.subject, &error, shared.folder.is_simulated());
                shared.report(&line, &wish.output, None);
                return Ok(More::Yes);
            }
        };
        if !is_return {
            shared.folder.ledger().planned(wish.planned.clone());
        }
        let order = Order {
            take: start.take,
            attempt: start.attempt,
            prior: start.prior,
            equals,
            buys: start.buys && !shared.only_fetch,
            checked: Some(checked),
            replaces,
            ..Order::new(self.tag, request)
        };
        let pending = Pending {
            wish,
            is_return,
            is_told: start.is_told,
            is_foreign: start.is_foreign,
            equal,
        };
        lock(self.book).begin(self.tag, pending);
        self.tag += 1;
        let sent = self.outbox.send(order);
        let is_over = sent.is_err();
        self.take_back(sent);
        Ok(if is_over { More::No } else { More::Yes })
    }

    /// Other rows that ask for the same. When the ledger was lost nobody knows under which of their names it was bought.
    fn equals_of(&mut self, prepared: &Prepared, subject: &Subject) -> Result<Vec<String>> {
        let equals = match &self.equals {
            Some(equals) => equals,
            None => {
                let read = self.read_equals(&subject.provider)?;
                self.equals.insert(read)
            }
        };
        let ids = equals.get(&short_of(prepared)).into_iter().flatten();
        Ok(ids
            .filter(|id| **id != subject.id)
            .take(EQUALS_ASKED_FOR)
            .cloned()
            .collect())
    }

    fn read_equals(&self, provider: &str) -> Result<HashMap<u64, Vec<String>>> {
        let shared = self.shared;
        let read = |name: &str, kind, key: &str, cell: &str| shared.project.read_param(name, kind, key, cell);
        let mut equals: HashMap<u64, Vec<String>> = HashMap::new();
        for job in shared.worklist.jobs(&read)? {
            let spec: JobSpec = job.map_err(|problems| changed(&problems))?;
            let is_asked = spec.providers.iter().any(|name| name == provider);
            if is_asked
                && let Ok(prepared) = shared.project.prepare(&spec, provider, shared.folder.out())
                && shared.worklist.is_shared(&prepared)
            {
                equals.entry(short_of(&prepared)).or_default().push(spec.id);
            }
        }
        Ok(equals)
    }

    /// The request of one take: a seed that is fixed would bring the same again, so it goes on by one with each take, and by
    /// many with each variant, which has takes of its own.
    fn of_take(&self, prepared: Prepared, take: u32) -> Result<(MediaRequest, Checked)> {
        let Prepared { mut request, checked } = prepared;
        let seed = checked
            .resolved
            .params
            .get("seed")
            .and_then(serde_json::Value::as_u64);
        let ahead = u64::from(request.variant.saturating_sub(1)) * SEEDS_OF_A_VARIANT
            + u64::from(take.saturating_sub(1));
        let Some(seed) = seed.filter(|_| ahead > 0) else {
            return Ok((request, checked));
        };
        let next = serde_json::Value::from(seed.saturating_add(ahead));
        request.params.insert("seed".to_owned(), next);
        let resolved = self.client.check(&request)?;
        // It is still the row's request, whatever its seed: by that it is known again.
        let hash = checked.hash;
        Ok((request, Checked { resolved, hash }))
    }

    /// Orders that never reached the lane, so that nothing can have been sent for them.
    fn take_back(&self, sent: std::result::Result<(), Vec<Order>>) {
        for order in sent.err().into_iter().flatten() {
            let pending = lock(self.book).take(order.tag);
            if let Some(pending) = pending {
                let line = Line::not_begun(&pending.wish.subject, self.shared.folder.is_simulated());
                self.shared.report(&line, &pending.wish.output, None);
            }
        }
    }

    /// Puts a file in its place that is there already under another name.
    fn copy(&self, mut wish: Wish, from: &std::path::Path, take: &TakeRow, prepared: &Prepared) {
        let shared = self.shared;
        // It stays what it was made for, so that a later run knows what has changed since.
        wish.planned.hash = take.hash;
        let wish = &wish;
        let to = &prepared.request.output_path;
        let is_simulated = shared.folder.is_simulated();
        // It may stand there already: a kill came between the copy and its entry.
        let placed = if from == to {
            Ok(())
        } else {
            place::copy(from, to, &shared.folder.inner(), &take.sha256)
        };
        let copied = placed.and_then(|()| place::describe(to, Some(&take.sha256)));
        let (line, file) = match copied {
            Ok(file) => (
                Line::copied(&wish.subject, &file, &take.provenance, is_simulated),
                Some(file),
            ),
            Err(error) => (Line::failed_here(&wish.subject, &error, is_simulated), None),
        };
        // A copy that failed changes nothing about what the ledger knows: the next run tries it again.
        if let Some(file) = file {
            // What the ledger knows it as it stays, so that a later run sees what has changed since.
            let known = self
                .resume
                .reader
                .and_then(|reader| reader.job(&wish.subject.id).ok()?);
            let is_as_known = from == to && known.is_some_and(|entry| entry.hash == take.hash);
            let planned = (!is_as_known).then(|| wish.planned.clone());
            shared.write_down(wish, &line, planned, None, None, || {
                Some(Made {
                    path: wish.subject.path.clone(),
                    file,
                    provenance: take.provenance.clone(),
                })
            });
        }
        shared.report(&line, &wish.output, None);
    }
}

/// Tells of a row whose batch did not come to its end in this run, and of those that share its purchase.
pub(crate) fn still_in_batch(shared: &Shared, row: &Handed, share: &Share) -> Result<()> {
    let spec = &row.spec;
    let subject = Subject {
        id: spec.id.clone(),
        line: spec.line,
        path: spec.path.clone(),
        provider: share.provider.clone(),
        ..Subject::default()
    };
    let line = Line::in_batch(&subject, shared.folder.is_simulated());
    shared.put_off(&line)?;
    shared.report(&line, &output_name(spec), None);
    for wish in &row.equals {
        shared.share(&line, wish);
    }
    Ok(())
}

fn changed(problems: &[RowProblem]) -> Error {
    let first = problems.first().map_or_else(String::new, ToString::to_string);
    let message = format!("the list changed while it was being run: {first}");
    Error::invalid(message)
}

/// The output's name in a recipe, or the kind.
pub(crate) fn output_name(spec: &JobSpec) -> String {
    spec.output.clone().unwrap_or_else(|| spec.kind.to_string())
}
