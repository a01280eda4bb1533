//! Whether what a plan would cost is allowed, before anything is sent.

use media_core::{Error, ErrorKind, Result, Usd};
use media_engine::{Bound, Caps, Left, Plan, ProviderPlan, Reader};

use crate::say;
use crate::words::{counted, number};

/// What a budget leaves to a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    left: Option<Left>,
    /// Earlier sends that may have been billed and had no price.
    unpriced: u64,
    /// Settled purchases that had none, so that they count nothing.
    uncounted: u64,
}

impl Budget {
    /// These ceilings, after what this ledger has bought.
    pub(crate) fn of(caps: Caps, ledger: Option<&Reader>) -> Result<Budget> {
        let spent = ledger.map(Reader::spending).transpose()?.unwrap_or_default();
        Ok(Budget {
            left: caps.left(&spent),
            unpriced: ledger
                .map(Reader::unpriced_sends)
                .transpose()?
                .unwrap_or_default(),
            uncounted: ledger.map(Reader::uncounted).transpose()?.unwrap_or_default(),
        })
    }

    /// Says what a ceiling knows nothing of.
    pub(crate) fn tell_uncounted(&self) {
        if self.left.is_some() && self.uncounted > 0 {
            say!(
                "{} of earlier runs may have been billed and had no price: the cap counts nothing for them",
                counted(self.uncounted, "request")
            );
        }
    }

    /// Says what chains may come to over a ceiling that the files themselves keep within.
    pub(crate) fn tell_of_chains(&self, plan: &Plan) {
        let later: Usd = plan
            .providers
            .values()
            .map(|provider| provider.fallback_cost)
            .sum();
        let cost = plan.cost();
        if self
            .left
            .is_some_and(|left| cost <= left.left && cost + later > left.left)
        {
            say!(
                "what the first provider of a chain does not have may cost up to {later} USD more at the next ones, over the cap: \
                 what does not fit is not begun"
            );
        }
    }

    /// What may still be spent; `None` without a ceiling.
    pub(crate) fn left(&self) -> Option<Usd> {
        self.left.map(|left| left.left)
    }

    /// Whether it can be told what a plan would buy; without a ceiling it need not be.
    ///
    /// # Errors
    /// Which provider's files have no price, or that what was sent before had none.
    pub(crate) fn can_count(&self, plan: &Plan) -> Result<()> {
        if self.left.is_none() {
            return Ok(());
        }
        let buys = |provider: &ProviderPlan| {
            provider.cost + provider.fallback_cost > Usd::ZERO
                || provider.unpriced + provider.fallback_unpriced > 0
        };
        if self.unpriced > 0 && plan.providers.values().any(buys) {
            let message = format!(
                "{} of earlier runs may have been billed and had no price, so nobody can tell what is left of the budget",
                counted(self.unpriced, "request")
            );
            return Err(Error::new(ErrorKind::BudgetExceeded, message)
                .not_billed()
                .hint("settle them first: media status names them, media rescue fetches what can be had, and media retry --unknown --give-up, with their ids, gives them up"));
        }
        let unpriced = |provider: &ProviderPlan| provider.unpriced + provider.fallback_unpriced;
        if let Some((name, provider)) = plan.providers.iter().find(|(_, provider)| unpriced(provider) > 0) {
            let message = format!(
                "there is no price for {} from {name}, so nobody can tell what fits the budget",
                counted(unpriced(provider), "file")
            );
            return Err(Error::new(ErrorKind::BudgetExceeded, message)
                .not_billed()
                .hint(format!("add a row to prices.items in providers/{name}.json")));
        }
        Ok(())
    }

    /// Whether all that a plan would buy, or the first `most` files of it, is allowed.
    ///
    /// # Errors
    /// How many of its files are, and what to do; or as [`can_count`](Budget::can_count).
    ///
    /// `otherwise` is what the command offers for that.
    pub(crate) fn allows(&self, plan: &Plan, most: Option<u64>, otherwise: &str) -> Result<()> {
        self.can_count(plan)?;
        let Some(left) = self.left else { return Ok(()) };
        let cost = plan.cost();
        if cost <= left.left || most.is_some_and(|most| most <= plan.affordable) {
            return Ok(());
        }
        let message = format!(
            "{} to make would cost about {cost} USD, and of the {} USD {} {} are left: {} would fit",
            counted(plan.make(), "file"),
            left.cap,
            left.bound.as_str(),
            left.left,
            format_args!("{} of them", number(plan.affordable))
        );
        Err(Error::new(ErrorKind::BudgetExceeded, message)
            .not_billed()
            .hint(format!("{otherwise}{}", way_out(left.bound))))
    }
}

fn way_out(bound: Bound) -> &'static str {
    match bound {
        Bound::All => "raise the cap (--max-cost, or budget.total_usd in media.json)",
        Bound::Run => "raise the cap (--max-run-cost)",
        Bound::Day => "raise the cap (budget.per_day_usd in media.json), or go on after midnight (UTC)",
    }
}
