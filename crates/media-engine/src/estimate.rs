//! What a request is expected to cost: by the price list, put right by what such requests have cost so far.

use std::collections::HashMap;

use media_core::{Client, Resolved, Result, Usd};

use crate::ledger::{CostsSoFar, Reader};

/// Answers of one model before they are believed more than the price list.
const ENOUGH: u64 = 5;

/// Knows what requests have cost so far.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    by_model: HashMap<(String, String), CostsSoFar>,
}

/// What one request is expected to cost; `None` where nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// By the price list alone.
    pub(crate) listed: Option<Usd>,
    /// By all that is known.
    pub(crate) expected: Option<Usd>,
}

impl Estimates {
    /// What this ledger has seen.
    pub(crate) fn of_ledger(ledger: Option<&Reader>) -> Result<Estimates> {
        let seen = ledger.map(Reader::costs).transpose()?.unwrap_or_default();
        let enough = seen.into_iter().filter(|seen| seen.count >= ENOUGH);
        Ok(Estimates {
            by_model: enough
                .map(|seen| ((seen.provider.clone(), seen.model.clone()), seen))
                .collect(),
        })
    }

    /// What this request is expected to cost.
    pub(crate) fn of(&self, client: &Client, resolved: &Resolved) -> Estimate {
        let provider = client.provider();
        let row = provider.http().settings().prices.row(resolved);
        let is_free = provider.info().capabilities.free;
        let listed = row
            .map(|row| row.price(resolved))
            .or(is_free.then_some(Usd::ZERO));
        let name = (provider.info().name.clone(), resolved.model.clone());
        let seen = self.by_model.get(&name).filter(|_| !is_free);
        Estimate {
            listed,
            expected: seen.map_or(listed, |seen| seen.expected(listed)),
        }
    }
}

impl CostsSoFar {
    fn expected(&self, listed: Option<Usd>) -> Option<Usd> {
        let (part, whole, of) = match (listed, self.listed) {
            // The price list knows what is dearer than what, the answers how much it is off in all.
            (Some(listed), Some(all)) if all > Usd::ZERO => (self.cost, all, listed),
            (Some(listed), _) if listed > Usd::ZERO => return Some(listed),
            _ => (self.cost, Usd::from_micros(self.count), Usd::from_micros(1)),
        };
        let micros = u128::from(part.micros()) * u128::from(of.micros());
        let rounded_up = micros.div_ceil(u128::from(whole.micros().max(1)));
        Some(Usd::from_micros(u64::try_from(rounded_up).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: u64, cost: u64, listed: Option<u64>) -> CostsSoFar {
        CostsSoFar {
            provider: String::new(),
            model: String::new(),
            count,
            cost: Usd::from_micros(cost),
            listed: listed.map(Usd::from_micros),
        }
    }

    #[test]
    fn answers_put_the_price_list_right_and_stand_in_where_it_is_silent() {
        let of = |seen: CostsSoFar, listed: Option<u64>| {
            let expected = seen.expected(listed.map(Usd::from_micros));
            expected.map(Usd::micros)
        };
        // Everything cost half as much again.
        assert_eq!(of(seen(10, 9000, Some(6000)), Some(600)), Some(900));
        assert_eq!(of(seen(10, 9000, Some(6000)), Some(1)), Some(2), "rounded up");
        assert_eq!(of(seen(10, 9000, None), None), Some(900));
        assert_eq!(of(seen(10, 0, None), None), Some(0));
        assert_eq!(of(seen(3, 9000, None), Some(600)), Some(600));
    }
}
