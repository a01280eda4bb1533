//! What a lane's feeder does about a row once that is decided: an order for the client, or a copy of a file that is there.

use std::collections::HashMap;

use media_core::{Checked, MediaRequest, Order, Prior, RequestHash, Result, Usd};

use super::{Feeder, More, changed, output_name};
use crate::book::{Pending, Wish};
use crate::chain::Tried;
use crate::count::short_of;
use crate::decision::{AsSent, Start};
use crate::ledger::{Planned, asked};
use crate::line::{Line, Status, Subject};
use crate::list::JobSpec;
use crate::place;
use crate::plan::Prepared;
use crate::run::Shared;
use media_core::sync::lock;

/// How far the seeds of two variants of a row lie apart: more takes than anybody makes.
const SEEDS_OF_A_VARIANT: u64 = 1000;
/// Equal rows by whose names a purchase is asked for when the ledger was lost.
const EQUALS_ASKED_FOR: usize = 20;

impl Feeder<'_> {
    pub(super) fn wish(&self, spec: &JobSpec, prepared: &Prepared, tried: Vec<Tried>) -> Wish {
        let resolved = &prepared.checked.resolved;
        let estimate = self.shared.estimates.of(self.client, resolved);
        let provider = self.client.info().name.clone();
        Wish {
            subject: Subject {
                id: spec.id.clone(),
                line: spec.line,
                path: spec.path.clone(),
                provider: provider.clone(),
                request: Some(prepared.checked.hash.short()),
                tried,
                is_simulated: self.shared.folder.is_simulated(),
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
            differs: None,
        }
    }

    pub(super) fn make(
        &mut self,
        mut wish: Wish,
        mut prepared: Prepared,
        start: Start,
        mut equal: Option<RequestHash>,
    ) -> Result<More> {
        let shared = self.shared;
        if let Some(sent) = &start.as_sent {
            self.as_sent(&mut wish, &mut prepared.checked, sent);
            // It is no equal of what the row asks for now.
            equal = None;
        } else if self.is_changed {
            wish.differs = Some(Status::Changed);
        }
        wish.planned.take = start.take;
        wish.planned.is_redo = start.is_redo;
        let is_in_batch = matches!(&start.prior, Prior::Sent { batch: Some(_), .. });
        if let Some(handed) = self.handed.filter(|_| is_in_batch) {
            let id = wish.subject.id.clone();
            // By this it is found when its batch is over, at the path that it has now.
            shared.folder.ledger().planned(wish.planned);
            shared.folder.ledger().handed_over(&id);
            handed.note(&id, equal, wish.differs == Some(Status::Changed));
            shared.stats.hand_over(&wish.subject.provider);
            return Ok(More::Yes);
        }
        let is_return = !start.buys;
        let equals = match (&start.prior, equal) {
            (Prior::Perhaps, Some(_)) => {
                self.equals_of(&prepared, &wish.subject.id, &wish.subject.provider)?
            }
            _ => Vec::new(),
        };
        let output_path = prepared.request.output_path.clone();
        let (request, checked) = match self.of_take(prepared, start.take) {
            Ok(taken) => taken,
            Err(error) => {
                // A seed that would go on beyond what its provider takes is this row's affair.
                let line = Line::failed_here(&wish.subject, &error);
                shared.report(&line, &wish.output, None);
                return Ok(More::Yes);
            }
        };
        if matches!(start.prior, Prior::Fresh | Prior::Perhaps) && !may_begin(shared, wish.planned.estimate) {
            return Ok(More::Yes);
        }
        if start.is_broken {
            place::move_aside(shared.folder.out(), &output_path)?;
        }
        // What was sent in a batch is expected to cost what it was then, though batches may not be wanted now.
        if is_in_batch {
            wish.planned.estimate = start.reserved.or(wish.planned.estimate);
        }
        let replaces = start
            .is_redo
            .then(|| place::aside(shared.folder.out(), &output_path));
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
        // The lane may be long in taking it.
        self.put_copies();
        lock(self.book).begin(self.tag, pending);
        self.tag += 1;
        let sent = self.outbox.send(order);
        let is_over = sent.is_err();
        self.take_back(sent);
        Ok(if is_over { More::No } else { More::Yes })
    }

    /// Makes a row what it was sent as.
    fn as_sent(&self, wish: &mut Wish, checked: &mut Checked, sent: &AsSent) {
        wish.planned.hash = sent.hash;
        wish.planned.spec.clone_from(&sent.spec);
        let is_changed = std::mem::replace(&mut wish.planned.asked, sent.asked) != sent.asked;
        wish.differs = Some(match is_changed || self.is_changed {
            true => Status::Changed,
            false => Status::Outdated,
        });
        wish.subject.request = Some(sent.hash.short());
        checked.hash = sent.hash;
        // By its model it is priced. What size was asked for nobody knows any more.
        wish.planned.model.clone_from(&sent.model);
        checked.resolved.model.clone_from(&sent.model);
        checked.resolved.dimensions = None;
    }

    /// Other rows that ask for the same: under any of their names it may have been bought.
    fn equals_of(&mut self, prepared: &Prepared, id: &str, provider: &str) -> Result<Vec<String>> {
        let equals = match &self.equals {
            Some(equals) => equals,
            None => {
                let read = self.read_equals(provider)?;
                self.equals.insert(read)
            }
        };
        let ids = equals.get(&short_of(prepared)).into_iter().flatten();
        Ok(ids
            .filter(|equal| *equal != id)
            .take(EQUALS_ASKED_FOR)
            .cloned()
            .collect())
    }

    fn read_equals(&self, provider: &str) -> Result<HashMap<u64, Vec<String>>> {
        let shared = self.shared;
        let read = shared.project.reader();
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
}

/// Takes a place for a file that may be bought, and what it is expected to cost, where both are to be had.
fn may_begin(shared: &Shared, estimate: Option<Usd>) -> bool {
    // One that passed on has its place already. What was paid for may come later in the list, and takes none.
    if !shared.is_later_round && !shared.has_place() {
        return false;
    }
    // Something cheaper may still fit, and what does not fit takes no place.
    if !shared.may_spend(estimate) {
        return false;
    }
    let may_make = shared.is_later_round || shared.may_make();
    if !may_make {
        shared.give_back(estimate);
    }
    may_make
}
