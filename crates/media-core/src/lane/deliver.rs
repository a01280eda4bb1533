//! The result of a task: its cost, who made it, and what a failure means for those that wait.

use std::sync::Arc;
use std::time::Duration;

use super::{Lane, Task};
use crate::client::Delivery;
use crate::error::{Charge, Error, ErrorKind, Result};
use crate::money::Usd;
use crate::provider::{Facts, Resolved};
use crate::result::{Cost, CostBasis, MediaFile, MediaResult, Provenance};

impl Lane {
    pub(super) async fn fail(&self, task: Task, error: Error) {
        self.fail_with(task, error, Facts::default()).await;
    }

    pub(super) async fn fail_with(&self, task: Task, error: Error, facts: Facts) {
        let error = self.http().scrub(error);
        let kind = error.kind();
        // What was paid for could not be kept: buying more would lose more. Something that stands in the way is about
        // this file alone.
        let cannot_keep = kind == ErrorKind::Storage
            && error.charge() != Some(Charge::None)
            && std::fs::symlink_metadata(&task.request.output_path).is_err();
        if kind.stops_model() {
            self.halts.halt_model(&task.resolved, &error);
        } else if kind.stops_lane() || cannot_keep {
            self.halts.halt_all(&error);
        }
        self.deliver(task, Err(error), facts).await;
    }

    pub(super) async fn deliver(&self, task: Task, outcome: Result<MediaFile>, facts: Facts) {
        self.http().release(task.hold.put(None)).await;
        let outcome = outcome.map_err(|error| match error.charge() {
            Some(_) => error,
            None => error.with_charge(Charge::Unknown),
        });
        let result = MediaResult {
            cost: self.cost(&task.resolved, &outcome, &facts),
            provenance: self.provenance(Some(&task.resolved), &facts),
            take: task.attempt.take,
            attempts: task.attempt.number,
            elapsed: task.began.elapsed(),
            outcome,
            request: Arc::unwrap_or_clone(task.request),
        };
        self.tell(task.tag, result).await;
    }

    /// A reader that went away wants nothing more; the work is done all the same.
    pub(super) async fn tell(&self, tag: u64, result: MediaResult) {
        let _ = self.results.send(Delivery { tag, result }).await;
    }

    fn cost(&self, resolved: &Resolved, outcome: &Result<MediaFile>, facts: &Facts) -> Option<Cost> {
        match outcome.as_ref().err().and_then(Error::charge) {
            Some(Charge::None) => Some(Cost::NOTHING),
            Some(Charge::Unknown) => None,
            Some(Charge::Certain) | None => {
                let told = outcome.as_ref().err().and_then(Error::cost);
                let told = told.map(|usd| Cost {
                    usd,
                    basis: CostBasis::Reported,
                });
                let duration = outcome.as_ref().ok().and_then(|file| file.duration);
                told.or_else(|| self.cost_of_bought(resolved, facts, duration))
            }
        }
    }

    /// What something that was bought has cost: by what the service said, else by how long it plays, else by the price list.
    pub(super) fn cost_of_bought(
        &self,
        resolved: &Resolved,
        facts: &Facts,
        duration: Option<Duration>,
    ) -> Option<Cost> {
        if let Some(usd) = facts.cost {
            return Some(Cost {
                usd,
                basis: CostBasis::Reported,
            });
        }
        if self.is_free() {
            return Some(Cost {
                usd: Usd::ZERO,
                basis: CostBasis::Subscription,
            });
        }
        let prices = &self.http().settings().prices;
        let usage = prices
            .of_usage(resolved, &facts.usage)
            .or_else(|| prices.of_duration(resolved, duration?));
        let factor = facts.price_factor.unwrap_or(1.0);
        if let Some(usd) = usage.and_then(|usd| Usd::from_dollars(usd.dollars() * factor)) {
            return Some(Cost {
                usd,
                basis: CostBasis::Computed,
            });
        }
        Some(Cost {
            usd: prices.expected(resolved)?,
            basis: CostBasis::Estimated,
        })
    }

    pub(super) fn provenance(&self, resolved: Option<&Resolved>, facts: &Facts) -> Provenance {
        let name = &self.client.info().name;
        Provenance::of(
            name,
            resolved.map(|resolved| resolved.model.as_str()),
            facts.clone(),
        )
    }
}
