//! What may be spent, and what is: sums that every send is checked against before it is written down.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use media_core::{AttemptKey, Error, ErrorKind, Event, Result, Usd};
use rusqlite::Connection;

use super::rows::Ask;

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
    /// What it bounds.
    pub bound: Bound,
    /// The ceiling.
    pub cap: Usd,
    /// What is left of it.
    pub left: Usd,
}

/// What a ceiling bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Everything that a ledger ever bought.
    All,
    /// One run.
    Run,
    /// One day (UTC).
    Day,
}

impl Bound {
    /// As it stands in a sentence after an amount.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Bound::All => "in all",
            Bound::Run => "for one run",
            Bound::Day => "for one day",
        }
    }
}

impl Spending {
    fn of(&self, bound: Bound) -> Usd {
        match bound {
            Bound::All => self.total,
            Bound::Run => self.run,
            Bound::Day => self.day,
        }
    }
}

impl Caps {
    /// The ceiling that leaves the least after what was spent; `None` when there is none.
    #[must_use]
    pub fn left(&self, spent: &Spending) -> Option<Left> {
        self.all_left(spent).min_by_key(|left| left.left)
    }

    /// What each ceiling leaves.
    fn all_left(&self, spent: &Spending) -> impl Iterator<Item = Left> {
        let caps = [
            (Bound::All, self.total),
            (Bound::Run, self.run),
            (Bound::Day, self.day),
        ];
        caps.into_iter().filter_map(|(bound, cap)| {
            let left = cap?.saturating_sub(spent.of(bound));
            Some(Left {
                bound,
                cap: cap?,
                left,
            })
        })
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
        "SELECT coalesce(sum({EXPOSURE}), 0), coalesce(sum({EXPOSURE}) FILTER (WHERE last_sent_ms >= ?1), 0)
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
    /// By job: who is asked, and what one attempt is expected to cost.
    asks: HashMap<String, Ask>,
}

impl Budget {
    /// Begins to watch these ceilings, with what the ledger knows.
    pub(super) fn begin(&mut self, caps: Caps, db: &Connection) -> rusqlite::Result<()> {
        self.caps = caps;
        self.spending = spent(db)?;
        self.day = day_of(Timestamp::now());
        let mut open = db.prepare(
            "SELECT key, coalesce(cost_micros, reserved_micros), state <> 'sending', coalesce(last_sent_ms, 0)
             FROM attempts WHERE ended_ms IS NULL",
        )?;
        let mut rows = open.query(())?;
        while let Some(row) = rows.next()? {
            let Some(key) = AttemptKey::parse(&row.get::<_, String>(0)?) else {
                continue;
            };
            let sent = Timestamp::from_millisecond(row.get(3)?).unwrap_or_default();
            let amount: Option<i64> = row.get(1)?;
            let held = Held {
                amount: Usd::from_micros(amount.unwrap_or(0).unsigned_abs()),
                is_bought: row.get(2)?,
                day: day_of(sent),
                is_ours: false,
                is_priced: amount.is_some(),
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
    pub(super) fn plan(&mut self, job: &str, ask: Ask) {
        self.asks.insert(job.to_owned(), ask);
    }

    /// Who is asked by a send.
    pub(super) fn ask(&self, event: &Event) -> Option<&Ask> {
        match event {
            Event::Sending { attempt, .. } | Event::Found { attempt } => self.asks.get(&attempt.job),
            _ => None,
        }
    }

    /// Sets money aside for what is about to be sent, all or none.
    ///
    /// # Errors
    /// [`ErrorKind::BudgetExceeded`] when a ceiling does not allow it.
    pub(super) fn allow(&mut self, events: &[(AttemptKey, Event)]) -> Result<()> {
        let today = day_of(Timestamp::now());
        // A clock that is set back begins no day anew.
        if today > self.day {
            self.day = today;
            self.spending.day = Usd::ZERO;
        }
        let sends = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Sending { .. }));
        let mut taken = Vec::new();
        let mut wanted = Spending::default();
        for (key, event) in sends {
            let before = self.held.get(key).copied();
            if before.is_some_and(|held| held.is_ours) {
                // Another send of the same purchase.
                continue;
            }
            let expected = self.ask(event).and_then(|ask| ask.expected);
            // What an earlier run sent may be bought only now: it counts in this run and today.
            let known = before.filter(|held| held.is_priced).map(|held| held.amount);
            let amount = expected.max(known);
            if amount.is_none() && self.caps != Caps::default() {
                let message = "it has no price, so nobody can tell whether it fits the budget";
                return Err(Error::new(ErrorKind::BudgetExceeded, message)
                    .not_billed()
                    .hint("add a row to prices.items of its provider's configuration"));
            }
            let held = Held {
                amount: amount.unwrap_or_default(),
                day: today,
                is_ours: true,
                is_priced: amount.is_some(),
                is_bought: before.is_some_and(|held| held.is_bought),
            };
            let counted = before.map_or(Usd::ZERO, |held| held.amount);
            let counted_today = before
                .filter(|held| held.day == today)
                .map_or(Usd::ZERO, |held| held.amount);
            wanted.total += held.amount.saturating_sub(counted);
            wanted.run += held.amount;
            wanted.day += held.amount.saturating_sub(counted_today);
            taken.push((*key, held));
        }
        self.fits(&wanted)?;
        self.spending.total += wanted.total;
        self.spending.run += wanted.run;
        self.spending.day += wanted.day;
        self.held.extend(taken);
        for (key, event) in events {
            if matches!(event, Event::Found { .. }) {
                self.find(*key, event);
            }
            self.hear(*key, event);
        }
        Ok(())
    }

    /// A forgotten purchase counts in all, whatever the ceiling: it was made, on another day and by another run.
    fn find(&mut self, key: AttemptKey, event: &Event) {
        let amount = self.ask(event).and_then(|ask| ask.expected);
        let held = Held {
            amount: amount.unwrap_or_default(),
            day: i64::MIN,
            is_ours: false,
            is_priced: amount.is_some(),
            is_bought: true,
        };
        if let Entry::Vacant(place) = self.held.entry(key) {
            place.insert(held);
            self.spending.total += held.amount;
        }
    }

    fn fits(&self, wanted: &Spending) -> Result<()> {
        for Left { bound, cap, left } in self.caps.all_left(&self.spending) {
            if wanted.of(bound) > left {
                let message = format!(
                    "the cap of {cap} USD {} is reached: {left} USD are left",
                    bound.as_str()
                );
                return Err(Error::new(ErrorKind::BudgetExceeded, message)
                    .not_billed()
                    .hint("raise the cap, and run the same command again"));
            }
        }
        Ok(())
    }

    /// What an event says about the money of its attempt.
    pub(super) fn hear(&mut self, key: AttemptKey, event: &Event) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        match event {
            Event::Refused if !held.is_bought => self.close(key, Some(Usd::ZERO)),
            Event::Linked { .. } => held.is_bought = true,
            Event::Have { cost, .. } => {
                held.is_bought = true;
                if let Some(cost) = cost {
                    self.learn(key, cost.usd);
                }
            }
            Event::Sending { .. }
            | Event::Found { .. }
            | Event::InBatch { .. }
            | Event::Refused
            | Event::Done => {}
        }
    }

    /// A job came to its end.
    pub(super) fn finish(&mut self, job: &str, settled: Option<(AttemptKey, Option<Usd>)>) {
        self.asks.remove(job);
        if let Some((key, cost)) = settled {
            self.close(key, cost);
        }
    }

    /// Its cost is known now, or will not be known in this run: then it counts with all that was set aside.
    fn close(&mut self, key: AttemptKey, cost: Option<Usd>) {
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
        // Of an earlier run's send too, such as one in a remote batch: this run is the one that can tell.
        if before.is_priced && cost > before.amount {
            self.spending.overshoot += cost.saturating_sub(before.amount);
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
            *sum = sum.saturating_sub(before) + after;
        }
    }
}

#[cfg(test)]
mod tests {
    use media_core::{Attempt, Cost, CostBasis, RequestHash};

    use super::*;

    fn usd(micros: u64) -> Usd {
        Usd::from_micros(micros)
    }

    fn sending(job: &str) -> (AttemptKey, Event) {
        let attempt = Attempt {
            job: job.to_owned(),
            request: RequestHash::from_bytes([1; 32]),
            take: 1,
            number: 1,
        };
        let key = AttemptKey::compute("project", &attempt);
        (key, Event::Sending { attempt, batch: None })
    }

    /// A budget over a ledger in which these jobs were sent, each with what was set aside for it.
    fn after(caps: Caps, open: &[(&str, Option<i64>)]) -> Budget {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE attempts (key TEXT, state TEXT, cost_micros INTEGER, reserved_micros INTEGER, last_sent_ms INTEGER, ended_ms INTEGER)",
        )
        .unwrap();
        for (job, reserved) in open {
            let key = sending(job).0.to_string();
            db.execute(
                "INSERT INTO attempts VALUES (?1, 'sending', NULL, ?2, 1000, NULL)",
                (key, reserved),
            )
            .unwrap();
        }
        let mut budget = Budget::default();
        budget.begin(caps, &db).unwrap();
        budget
    }

    fn plan(budget: &mut Budget, job: &str, expected: Option<u64>) {
        let ask = Ask {
            expected: expected.map(usd),
            ..Ask::default()
        };
        budget.plan(job, ask);
    }

    #[test]
    fn what_an_earlier_run_sent_counts_in_the_run_that_sends_it_again() {
        let caps = Caps {
            run: Some(usd(600)),
            ..Caps::default()
        };
        let mut budget = after(caps, &[("a", Some(600)), ("b", Some(600))]);
        for job in ["a", "b"] {
            plan(&mut budget, job, Some(600));
        }
        assert_eq!(budget.spending().total, usd(1200));
        budget.allow(&[sending("a")]).unwrap();
        // Sent already: a second send of it is the same purchase.
        budget.allow(&[sending("a")]).unwrap();
        assert_eq!(
            budget.allow(&[sending("b")]).unwrap_err().kind(),
            ErrorKind::BudgetExceeded
        );
        let spending = budget.spending();
        assert_eq!(
            (spending.total, spending.run, spending.day),
            (usd(1200), usd(600), usd(600))
        );
    }

    #[test]
    fn what_was_sent_without_a_price_gets_one_or_is_refused() {
        let caps = Caps {
            total: Some(usd(1000)),
            ..Caps::default()
        };
        let mut budget = after(caps, &[("a", None), ("b", None)]);
        plan(&mut budget, "a", Some(600));
        budget.allow(&[sending("a")]).unwrap();
        assert_eq!(budget.spending().total, usd(600));
        plan(&mut budget, "b", Some(600));
        assert!(budget.allow(&[sending("b")]).is_err());
        plan(&mut budget, "b", None);
        assert!(budget.allow(&[sending("b")]).is_err());
    }

    #[test]
    fn a_price_that_was_raised_since_counts_in_full() {
        let mut budget = after(Caps::default(), &[("a", Some(600))]);
        plan(&mut budget, "a", Some(900));
        budget.allow(&[sending("a")]).unwrap();
        assert_eq!(budget.spending().total, usd(900));
    }

    #[test]
    fn all_of_a_request_or_none_of_it() {
        let caps = Caps {
            total: Some(usd(1000)),
            ..Caps::default()
        };
        let mut budget = after(caps, &[]);
        for job in ["a", "b"] {
            plan(&mut budget, job, Some(600));
        }
        assert!(budget.allow(&[sending("a"), sending("b")]).is_err());
        assert_eq!(budget.spending(), Spending::default());
        budget.allow(&[sending("a")]).unwrap();
        let (key, _) = sending("a");
        budget.hear(key, &Event::Refused);
        budget.allow(&[sending("b")]).unwrap();
        assert_eq!(budget.spending().total, usd(600));
    }

    #[test]
    fn a_cost_takes_the_place_of_what_was_set_aside_and_its_excess_is_told() {
        let mut budget = after(Caps::default(), &[]);
        plan(&mut budget, "a", Some(600));
        let (key, event) = sending("a");
        budget.allow(&[(key, event.clone())]).unwrap();
        let cost = Cost {
            usd: usd(700),
            basis: CostBasis::Reported,
        };
        let Event::Sending { attempt, .. } = event else {
            unreachable!()
        };
        let have = Event::Have {
            attempt,
            sha256: String::new(),
            bytes: 1,
            staged: "s".into(),
            target: "t".into(),
            facts: Box::default(),
            cost: Some(cost),
        };
        budget.allow(&[(key, have)]).unwrap();
        // A refusal of a later send takes back nothing that was bought.
        budget.hear(key, &Event::Refused);
        budget.finish("a", Some((key, Some(usd(700)))));
        let spending = budget.spending();
        assert_eq!(
            (spending.total, spending.run, spending.overshoot),
            (usd(700), usd(700), usd(100))
        );
    }
}
