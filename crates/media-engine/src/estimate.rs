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
        let enough = seen
            .into_iter()
            .filter(|seen| seen.count >= ENOUGH && seen.listed > Usd::ZERO);
        Ok(Estimates {
            by_model: enough
                .map(|seen| ((seen.provider.clone(), seen.model.clone()), seen))
                .collect(),
        })
    }

    /// What this request is expected to cost.
    pub(crate) fn of(&self, client: &Client, resolved: &Resolved) -> Estimate {
        let provider = client.provider();
        let priced = provider.http().settings().prices.expected(resolved);
        let is_free = provider.info().capabilities.free;
        let listed = priced.or(is_free.then_some(Usd::ZERO));
        let name = (provider.info().name.clone(), resolved.model.clone());
        let seen = self.by_model.get(&name).filter(|_| !is_free);
        Estimate {
            listed,
            // Where the list is silent nothing is known: requests of one model differ by their size and quality.
            expected: listed.map(|listed| seen.map_or(listed, |seen| seen.put_right(listed))),
        }
    }
}

impl CostsSoFar {
    /// Scales the listed price by what this model has really cost so far, over what the list said of that.
    fn put_right(&self, listed: Usd) -> Usd {
        let micros = u128::from(self.cost.micros()) * u128::from(listed.micros());
        let rounded_up = micros.div_ceil(u128::from(self.listed.micros().max(1)));
        Usd::from_micros(u64::try_from(rounded_up).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_put_the_price_list_right() {
        // Everything cost half as much again.
        let seen = CostsSoFar {
            provider: String::new(),
            model: String::new(),
            count: 10,
            cost: Usd::from_micros(9000),
            listed: Usd::from_micros(6000),
        };
        let expected = |listed| seen.put_right(Usd::from_micros(listed)).micros();
        assert_eq!(expected(600), 900);
        assert_eq!(expected(1), 2, "rounded up");
        assert_eq!(expected(0), 0);
    }
}
