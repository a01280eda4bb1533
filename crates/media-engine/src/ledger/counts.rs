//! What the ledger holds, counted and added up.

use media_core::{Result, Usd};

use super::budget::{self, Spending};
use super::columns::{count, named, sum, usd};
use super::entry::JobStatus;
use super::reader::Reader;

/// What the ledger holds, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs by status.
    pub jobs: Vec<(JobStatus, u64)>,
    /// What is known to have been spent.
    pub spent: Usd,
    /// Attempts whose fate is unknown.
    pub unknown: u64,
    /// What those are expected to have cost at most.
    pub at_stake: Usd,
    /// How many of them have no price, so that they are not in that sum.
    pub unpriced: u64,
    /// Files that were bought and are not here, of which nobody has written down what they cost.
    pub unfetched: u64,
    /// What those cost as estimated.
    pub unfetched_usd: Usd,
    /// Attempts that may have been billed and that a person went on without.
    pub given_up: u64,
    /// What those are expected to have cost at most.
    pub given_up_usd: Usd,
    /// What is settled, was billed or may have been, and neither had a price nor was told one: it is in none of the sums,
    /// and counts nothing against a budget.
    pub uncounted: u64,
}

/// A remote batch that is not settled.
#[derive(Clone, Debug)]
pub struct RemoteBatch {
    /// The key by which it is found at the service.
    pub key: String,
    /// The provider instance.
    pub provider: String,
    /// Files of it that are not here.
    pub files: u64,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: Option<i64>,
    /// What is set aside for those files.
    pub reserved: Usd,
}

impl RemoteBatch {
    /// The key alone, without the service's id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.split(' ').next().unwrap_or(&self.key)
    }
}

/// What requests of one model have cost.
#[derive(Clone, Debug)]
pub(crate) struct CostsSoFar {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) count: u64,
    pub(crate) cost: Usd,
    /// The same by the price list as it was then.
    pub(crate) listed: Usd,
}

/// When an attempt was sent and answered, and what it cost.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) cost: Option<Usd>,
    /// Its last send; of a free one, when its link came.
    pub(crate) sent_ms: Option<i64>,
    pub(crate) have_ms: Option<i64>,
    /// It went in a remote batch, which takes hours.
    pub(crate) is_in_batch: bool,
}

impl Reader {
    /// Counts and sums.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn totals(&self) -> Result<Totals> {
        let by_status = "SELECT status, count(*) FROM jobs GROUP BY status";
        let mut jobs: Vec<(JobStatus, u64)> =
            self.all(by_status, (), |row| Ok((named(row, 0)?, count(row, 1)?)))?;
        jobs.sort();
        let sums = "SELECT sum(cost_micros),
                count(*) FILTER (WHERE state = 'sending' AND group_key IS NULL),
                sum(reserved_micros) FILTER (WHERE state = 'sending' AND group_key IS NULL),
                count(*) FILTER (WHERE state = 'sending' AND group_key IS NULL AND reserved_micros IS NULL),
                count(*) FILTER (WHERE state = 'abandoned'),
                sum(reserved_micros) FILTER (WHERE state = 'abandoned'),
                count(*) FILTER (WHERE state IN ('linked', 'have') AND sends > 0),
                sum(reserved_micros) FILTER (WHERE state IN ('linked', 'have') AND cost_micros IS NULL AND sends > 0)
            FROM attempts";
        let totals = self.one(sums, (), |row| {
            Ok(Totals {
                jobs: Vec::new(),
                spent: sum(row, 0)?,
                unknown: count(row, 1)?,
                at_stake: sum(row, 2)?,
                unpriced: count(row, 3)?,
                given_up: count(row, 4)?,
                given_up_usd: sum(row, 5)?,
                unfetched: count(row, 6)?,
                unfetched_usd: sum(row, 7)?,
                uncounted: 0,
            })
        })?;
        Ok(Totals {
            jobs,
            uncounted: self.uncounted()?,
            ..totals.unwrap_or_default()
        })
    }

    /// What was spent, or may have been, in all and today (UTC).
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn spending(&self) -> Result<Spending> {
        self.ask(budget::spent(&self.db))
    }

    /// What was sent, is not settled and had no price, so that it is in none of the sums.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn unpriced_sends(&self) -> Result<u64> {
        let text = "SELECT count(*) FROM attempts
            WHERE ended_ms IS NULL AND sends > 0 AND coalesce(cost_micros, reserved_micros) IS NULL";
        Ok(self.one(text, (), |row| count(row, 0))?.unwrap_or_default())
    }

    /// What was sent, is settled otherwise than as never billed, and had no price.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn uncounted(&self) -> Result<u64> {
        let text = "SELECT count(*) FROM attempts WHERE state IN ('done', 'spent', 'abandoned')
            AND sends > 0 AND coalesce(cost_micros, reserved_micros) IS NULL";
        Ok(self.one(text, (), |row| count(row, 0))?.unwrap_or_default())
    }

    /// Remote batches with files that are not here, oldest first.
    ///
    /// # Errors
    /// [`Storage`](media_core::ErrorKind::Storage): the ledger or the disk fails.
    pub fn remote_batches(&self) -> Result<Vec<RemoteBatch>> {
        let text =
            "SELECT group_key, coalesce(provider, ''), count(*), min(first_sent_ms), sum(reserved_micros) FROM attempts
            WHERE ended_ms IS NULL AND state = 'sending' AND group_key IS NOT NULL GROUP BY 1, 2 ORDER BY 4";
        self.all(text, (), |row| {
            Ok(RemoteBatch {
                key: row.get(0)?,
                provider: row.get(1)?,
                files: count(row, 2)?,
                sent_ms: row.get(3)?,
                reserved: sum(row, 4)?,
            })
        })
    }

    /// The jobs whose lines of a remote batch are not here, in the order in which they were sent.
    pub(crate) fn jobs_in_batch(&self, key: &str, provider: &str) -> Result<Vec<String>> {
        let text = "SELECT job FROM attempts WHERE ended_ms IS NULL AND state = 'sending' AND group_key = ?1
                AND coalesce(provider, '') = ?2 ORDER BY rowid";
        self.all(text, [key, provider], |row| row.get(0))
    }

    /// The names of the tables that were written.
    pub(crate) fn tables(&self) -> Result<Vec<String>> {
        let text = "SELECT substr(name, 7) FROM meta WHERE name LIKE 'table %' ORDER BY name";
        self.all(text, (), |row| row.get(0))
    }

    /// What paid requests have cost so far, beside what the price list says of them, by provider and model.
    pub(crate) fn costs(&self) -> Result<Vec<CostsSoFar>> {
        let text = "SELECT provider, model, count(*), sum(cost_micros), sum(listed_micros) FROM attempts
            WHERE cost_basis IN ('reported', 'computed') AND state IN ('have', 'done') AND listed_micros IS NOT NULL
                AND provider IS NOT NULL AND model IS NOT NULL GROUP BY 1, 2";
        self.all(text, (), |row| {
            Ok(CostsSoFar {
                provider: row.get(0)?,
                model: row.get(1)?,
                count: count(row, 2)?,
                cost: sum(row, 3)?,
                listed: sum(row, 4)?,
            })
        })
    }

    /// Every attempt's times and cost.
    pub(crate) fn each_timing(&self, mut each: impl FnMut(Timing)) -> Result<()> {
        let text = "SELECT coalesce(a.provider, j.provider), coalesce(a.model, j.model), a.cost_micros,
                coalesce(a.last_sent_ms, a.linked_ms), a.have_ms, a.group_key IS NOT NULL
            FROM attempts a JOIN jobs j ON j.id = a.job";
        let timing = |row: &rusqlite::Row<'_>| {
            Ok(Timing {
                provider: row.get(0)?,
                model: row.get(1)?,
                cost: usd(row, 2)?,
                sent_ms: row.get(3)?,
                have_ms: row.get(4)?,
                is_in_batch: row.get(5)?,
            })
        };
        self.each(text, timing, |timing| {
            each(timing);
            Ok(())
        })
    }
}
