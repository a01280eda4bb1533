//! What may be spent, and what is: sums that every send is checked against before it is written down.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use media_core::{AttemptKey, Error, ErrorKind, Event, Result, Usd};
use rusqlite::Connection;

/// Ceilings for what is bought. What may have been billed counts with all that it may have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// For everything that a ledger ever bought.
    pub total: Option<Usd>,
    /// For one run.
    pub run: Option<Usd>,
    /// For one day (UTC).
    pub day: Option<Usd>,
}

/// What was spent, or may have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// By everything that the ledger knows.
    pub total: Usd,
    /// By this run.
    pub run: Usd,
    /// Today (UTC).
    pub day: Usd,
    /// How much more than was set aside for them answers of this run have cost.
    pub overshoot: Usd,
}

/// The ceiling that leaves the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// What it is called.
    pub name: &'static str,
    /// The ceiling.
    pub cap: Usd,
    /// What is left of it.
    pub left: Usd,
}

impl Caps {
    /// The ceiling that leaves the least after what was spent; `None` when there is none.
    #[must_use]
    pub fn left(&self, spent: &Spending) -> Option<Left> {
        let caps = [
            ("in all", self.total, spent.total),
            ("for one run", self.run, spent.run),
            ("for one day", self.day, spent.day),
        ];
        let left = caps.into_iter().filter_map(|(name, cap, spent)| {
            let left = Usd::from_micros(cap?.micros().saturating_sub(spent.micros()));
            Some(Left {
                name,
                cap: cap?,
                left,
            })
        });
        left.min_by_key(|left| left.left)
    }
}

/// Midnight (UTC) of the day of a moment, in milliseconds since 1970.
fn day_of(moment: Timestamp) -> i64 {
    let midnight = moment.to_zoned(TimeZone::UTC).start_of_day();
    // The years that a clock can show all have midnights.
    midnight.map_or(0, |day| day.timestamp().as_millisecond())
}

/// What an attempt has cost, or may have.
const EXPOSURE: &str = "CASE WHEN state = 'refused' THEN coalesce(cost_micros, 0)
    ELSE coalesce(cost_micros, reserved_micros, 0) END";

/// What a ledger has spent, in all and today.
pub(super) fn spent(db: &Connection) -> rusqlite::Result<Spending> {
    let question = format!(
        "SELECT coalesce(sum({EXPOSURE}), 0), coalesce(sum({EXPOSURE}) FILTER (WHERE first_sent_ms >= ?1), 0)
         FROM attempts"
    );
    db.query_row(&question, [day_of(Timestamp::now())], |row| {
        Ok(Spending {
            total: Usd::from_micros(row.get::<_, i64>(0)?.unsigned_abs()),
            day: Usd::from_micros(row.get::<_, i64>(1)?.unsigned_abs()),
            ..Spending::default()
        })
    })
}

/// Money set aside for an attempt.
#[derive(Clone, Copy, Debug)]
struct Held {
    amount: Usd,
    /// The day that it counts in.
    day: i64,
    /// Whether it counts in this run.
    is_ours: bool,
    /// Whether anything was known of its price.
    is_priced: bool,
    /// The service has made it: a refusal of a later send takes nothing back.
    is_bought: bool,
}

/// Keeps the sums while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Budget {
    caps: Caps,
    spending: Spending,
    day: i64,
    held: HashMap<AttemptKey, Held>,
    /// By job: what one attempt at it is expected to cost.
    estimates: HashMap<String, Option<Usd>>,
}

impl Budget {
    /// Begins to watch these ceilings, with what the ledger knows.
    pub(super) fn begin(&mut self, caps: Caps, db: &Connection) -> rusqlite::Result<()> {
        self.caps = caps;
        self.spending = spent(db)?;
        self.day = day_of(Timestamp::now());
        let mut open = db.prepare(
            "SELECT key, coalesce(cost_micros, reserved_micros, 0), state <> 'sending', coalesce(first_sent_ms, 0)
             FROM attempts WHERE state IN ('sending', 'linked', 'have')",
        )?;
        let mut rows = open.query(())?;
        while let Some(row) = rows.next()? {
            let Some(key) = AttemptKey::parse(&row.get::<_, String>(0)?) else {
                continue;
            };
            let sent = Timestamp::from_millisecond(row.get(3)?).unwrap_or_default();
            let held = Held {
                amount: Usd::from_micros(row.get::<_, i64>(1)?.unsigned_abs()),
                is_bought: row.get(2)?,
                day: day_of(sent),
                is_ours: false,
                is_priced: true,
            };
            self.held.insert(key, held);
        }
        Ok(())
    }

    /// What is spent by now.
    pub(super) fn spending(&self) -> Spending {
        self.spending
    }

    /// A job is about to be made.
    pub(super) fn plan(&mut self, job: &str, estimate: Option<Usd>) {
        self.estimates.insert(job.to_owned(), estimate);
    }

    /// What one attempt at a job is expected to cost.
    pub(super) fn estimate(&self, event: &Event) -> Option<Usd> {
        match event {
            Event::Sending { attempt, .. } => self.estimates.get(&attempt.job).copied().flatten(),
            _ => None,
        }
    }

    /// Sets money aside for what is about to be sent, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::BudgetExceeded`] when a ceiling does not allow it.
    pub(super) fn allow(&mut self, events: &[(AttemptKey, Event)]) -> Result<()> {
        let today = day_of(Timestamp::now());
        if today != self.day {
            self.day = today;
            self.spending.day = Usd::ZERO;
        }
        let new: Vec<(AttemptKey, Option<Usd>)> = events
            .iter()
            .filter(|(key, event)| matches!(event, Event::Sending { .. }) && !self.held.contains_key(key))
            .map(|(key, event)| (*key, self.estimate(event)))
            .collect();
        let wanted: Usd = new.iter().filter_map(|(_, estimate)| *estimate).sum();
        if let Some(left) = self.caps.left(&self.spending) {
            if new.iter().any(|(_, estimate)| estimate.is_none()) {
                let message = "it has no price, so nobody can tell whether it fits the cap";
                return Err(Error::new(ErrorKind::BudgetExceeded, message).not_billed());
            }
            if wanted > left.left {
                let message = format!(
                    "the cap of {} USD {} is reached: {} USD are left",
                    left.cap, left.name, left.left
                );
                return Err(Error::new(ErrorKind::BudgetExceeded, message)
                    .not_billed()
                    .hint("raise the cap, and run the same command again"));
            }
        }
        for (key, estimate) in new {
            let held = Held {
                amount: estimate.unwrap_or_default(),
                day: today,
                is_ours: true,
                is_priced: estimate.is_some(),
                is_bought: false,
            };
            self.held.insert(key, held);
            self.change(held, Usd::ZERO, held.amount);
        }
        for (key, event) in events {
            self.hear(*key, event);
        }
        Ok(())
    }

    /// What an event says about the money of its attempt.
    pub(super) fn hear(&mut self, key: AttemptKey, event: &Event) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match event {
            Event::Refused if !held.is_bought => self.settle(key, Some(Usd::ZERO)),
            Event::Linked { .. } => held.is_bought = true,
            Event::Have { cost, .. } => {
                held.is_bought = true;
                if let Some(cost) = cost {
                    self.learn(key, cost.usd);
                }
            }
            Event::Sending { .. } | Event::Refused | Event::Done => {}
        }
    }

    /// A job came to its end.
    pub(super) fn finish(&mut self, job: &str, settled: Option<(AttemptKey, Option<Usd>)>) {
        self.estimates.remove(job);
        if let Some((key, cost)) = settled {
            self.settle(key, cost);
        }
    }

    /// Its cost is known now, or will not be known in this run: then it counts with all that was set aside.
    fn settle(&mut self, key: AttemptKey, cost: Option<Usd>) {
        if let Some(cost) = cost {
            self.learn(key, cost);
        }
        self.held.remove(&key);
    }

    fn learn(&mut self, key: AttemptKey, cost: Usd) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let before = *held;
        held.amount = cost;
        self.change(before, before.amount, cost);
        if before.is_ours && before.is_priced && cost > before.amount {
            self.spending.overshoot += less(cost, before.amount);
        }
    }

    fn change(&mut self, held: Held, before: Usd, after: Usd) {
        let spending = &mut self.spending;
        let sums = [
            (&mut spending.total, true),
            (&mut spending.run, held.is_ours),
            (&mut spending.day, held.day == self.day),
        ];
        for (sum, _) in sums.into_iter().filter(|(_, counts)| *counts) {
            *sum = less(*sum, before) + after;
        }
    }
}

fn less(from: Usd, amount: Usd) -> Usd {
    Usd::from_micros(from.micros().saturating_sub(amount.micros()))
}
