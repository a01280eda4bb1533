//! What a list asks for: every row checked, counted, priced and timed, before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use media_core::{Checked, Client, Error, ErrorKind, MediaKind, MediaRequest, Resolved, Usd};

use crate::line::Status;
use crate::list::{FieldCounts, Findings, JobSpec};
use crate::project::Project;

/// What a run of the list would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows of the list.
    pub rows: u64,
    /// Files that it asks for; equal ones under one name count once.
    pub files: u64,
    /// Files by output of the recipe, or by kind.
    pub by_output: BTreeMap<String, u64>,
    /// By provider instance.
    pub providers: BTreeMap<String, ProviderPlan>,
    /// All instances that the jobs name, whether there is anything left to ask of them or not.
    pub named: BTreeSet<String>,
    /// How often the rules of each field changed something.
    pub fields: FieldCounts,
    /// What is wrong with the list.
    pub findings: Findings,
    /// Of the files to make, how many a budget still allows, in the order of the list.
    pub affordable: u64,
    /// What those are expected to cost.
    pub affordable_cost: Usd,
}

/// What a run would do at one provider.
#[derive(Clone, Debug, Default)]
pub struct ProviderPlan {
    /// The kinds of media among its files.
    pub kinds: BTreeSet<MediaKind>,
    /// Files to make.
    pub make: u64,
    /// Jobs that nothing is done about, by why: their files are there, or gone, or they failed for good.
    pub stays: BTreeMap<Status, u64>,
    /// Files that were bought by an earlier run and are only fetched.
    pub fetch: u64,
    /// Rows that get the file of an equal row.
    pub shared: u64,
    /// Files of other providers that are asked for here when those have nothing.
    pub fallback: u64,
    /// What those would cost at most, as far as they have a price.
    pub fallback_cost: Usd,
    /// Those that have none.
    pub fallback_unpriced: u64,
    /// What the files to make are expected to cost, as far as they have a price.
    pub cost: Usd,
    /// Files to make that have no price.
    pub unpriced: u64,
    /// How long the limits per minute and the usual times take.
    pub time: Duration,
    /// What decides the time, in words.
    pub because: String,
    /// How many files a minute the limits allow, where they set a pace.
    pub per_minute: Option<f64>,
    /// Calls needed and allowed per day, where they are counted.
    pub daily: Option<DayPlan>,
    tally: Tally,
}

/// Counted calls against a daily quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayPlan {
    /// The group of calls that is counted.
    pub group: String,
    /// Calls that the files to make need.
    pub calls: u64,
    /// Calls that a day allows.
    pub per_day: u64,
    /// Calls of today that were used already; a plan without a key does not know.
    pub used: u64,
    /// Calls that one file needs.
    pub per_file: u64,
    /// The moment at which today's quota ends.
    pub resets: jiff::Timestamp,
}

impl DayPlan {
    /// Days that it takes, today among them.
    #[must_use]
    pub fn days(&self) -> u64 {
        let files = self.calls / self.per_file.max(1);
        let later = files.saturating_sub(self.files_today());
        1 + later.div_ceil(self.files_per_day().max(1))
    }

    /// Files that a day's quota allows at most.
    #[must_use]
    pub fn files_per_day(&self) -> u64 {
        // A file is only begun with all of its calls left, so what does not fill a file is not used.
        self.per_day / self.per_file.max(1)
    }

    /// Files that what is left of today's quota allows at most.
    #[must_use]
    pub fn files_today(&self) -> u64 {
        self.per_day.saturating_sub(self.used) / self.per_file.max(1)
    }
}

/// Sums from which the time is worked out.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// By (group, bucket, window): units in all.
    units: BTreeMap<(String, String, Duration), (u64, u64)>,
    typical: Duration,
    /// The longest of one file.
    longest: Duration,
    calls: BTreeMap<String, (u64, u64)>,
}

/// A job with everything that is needed to send it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) request: MediaRequest,
    pub(crate) checked: Checked,
}

impl Project {
    /// Turns a job of the list into a checked request to one of its providers, for `out`.
    ///
    /// # Errors
    /// Why it cannot be sent, as a fragment.
    pub(crate) fn prepare(&self, spec: &JobSpec, provider: &str, out: &Path) -> Result<Prepared, String> {
        // What is wrong, and what to do about it.
        let told = |error: Error| match error.next() {
            Some(next) => format!("{}; {next}", error.full()),
            None => error.full(),
        };
        let client = self.client(provider).map_err(told)?;
        let request = MediaRequest {
            output_path: out.join(&spec.path),
            ..spec.request(provider)
        };
        let resolved = client.check(&request).map_err(told)?;
        let hash = client.hash(&request, &resolved);
        Ok(Prepared {
            request,
            checked: Checked { resolved, hash },
        })
    }

    /// What a job is sent as at one of its providers.
    ///
    /// # Errors
    /// It cannot be made there with this configuration.
    pub fn resolved(&self, spec: &JobSpec, provider: &str, out: &Path) -> media_core::Result<Resolved> {
        let prepared = self.prepare(spec, provider, out);
        let prepared = prepared.map_err(|why| Error::new(ErrorKind::Unsupported, why))?;
        Ok(prepared.checked.resolved)
    }
}

impl Plan {
    /// Files to make.
    #[must_use]
    pub fn make(&self) -> u64 {
        self.providers.values().map(|provider| provider.make).sum()
    }

    /// What all files to make are expected to cost, as far as they have a price.
    #[must_use]
    pub fn cost(&self) -> Usd {
        self.providers.values().map(|provider| provider.cost).sum()
    }

    /// Files to make that have no price.
    #[must_use]
    pub fn unpriced(&self) -> u64 {
        self.providers.values().map(|provider| provider.unpriced).sum()
    }

    /// Leaves out providers that are only asked after others: nobody is where nothing is bought.
    pub fn without_fallbacks(&mut self) {
        self.providers.retain(|_, plan| plan.asked() > 0);
    }

    /// Leaves out what other providers make.
    ///
    /// # Errors
    /// A name that the list does not use.
    pub fn keep_only(&mut self, providers: &[String]) -> media_core::Result<()> {
        if let Some(stray) = providers.iter().find(|name| !self.providers.contains_key(*name)) {
            let used: Vec<_> = self.providers.keys().map(String::as_str).collect();
            let message = format!(
                "nothing in the list comes from {stray:?}; it uses {}",
                used.join(", ")
            );
            return Err(Error::config(message));
        }
        self.providers.retain(|name, _| providers.contains(name));
        Ok(())
    }
}

impl ProviderPlan {
    /// The daily quota, where it is what decides the time.
    #[must_use]
    pub fn days(&self) -> Option<&DayPlan> {
        let daily = self.daily.as_ref();
        daily.filter(|daily| daily.calls > daily.per_day.saturating_sub(daily.used))
    }

    /// Files that are there.
    #[must_use]
    pub fn there(&self) -> u64 {
        let there = [Status::Skipped, Status::Kept, Status::Changed, Status::Outdated];
        there.iter().filter_map(|status| self.stays.get(status)).sum()
    }

    /// All that the list asks of the provider.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.make + self.fetch + self.shared + self.stays.values().sum::<u64>()
    }

    /// Counts a file to make.
    pub(crate) fn add(&mut self, client: &Client, prepared: &Prepared, expected: Option<Usd>) {
        let resolved = &prepared.checked.resolved;
        let settings = client.provider().http().settings();
        self.make += 1;
        match expected {
            Some(usd) => self.cost += usd,
            None => self.unpriced += 1,
        }
        if let Some(span) = settings.prices.row(resolved).and_then(|row| row.typical) {
            self.tally.typical += span.0;
            self.tally.longest = self.tally.longest.max(span.0);
        }
        if let Some(limits) = settings.limits.groups.get(&resolved.group) {
            for window in limits.windows() {
                let units = resolved.units.of(&window.bucket) * u64::from(resolved.calls.max(1));
                let key = (resolved.group.clone(), window.bucket, window.length);
                let entry = self.tally.units.entry(key).or_insert((0, window.limit));
                entry.0 += units;
            }
            if limits.per_day("requests").is_some() {
                let entry = self.tally.calls.entry(resolved.group.clone()).or_default();
                entry.0 += u64::from(resolved.calls);
                entry.1 = entry.1.max(u64::from(resolved.calls));
            }
        }
    }

    /// Works out time and days from the sums.
    pub(crate) fn conclude(&mut self, client: &Client) {
        let http = client.provider().http();
        let limits = &http.settings().limits;
        let at_once = limits
            .concurrency
            .get()
            .saturating_mul(client.info().capabilities.max_batch.max(1));
        let parallel = u32::try_from(at_once).unwrap_or(u32::MAX);
        // However many go at once, none is done before its own time.
        self.time = (self.tally.typical / parallel).max(self.tally.longest);
        self.because = format!("{at_once} at a time");
        for ((_, bucket, length), (units, limit)) in &self.tally.units {
            #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
            let needed = length.mul_f64(*units as f64 / (*limit).max(1) as f64);
            #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
            let per_minute = self.make as f64 * 60.0 / needed.as_secs_f64();
            if per_minute.is_finite() && self.per_minute.is_none_or(|other| per_minute < other) {
                self.per_minute = Some(per_minute);
            }
            if needed > self.time {
                self.time = needed;
                self.because = format!("{limit} {bucket} in {}", humantime::format_duration(*length));
            }
        }
        let within = client.info().capabilities.remote_batch_seconds;
        if let Some(seconds) = within.filter(|_| self.make > 0) {
            self.time = Duration::from_secs(seconds);
            self.because = "at most, in remote batches".to_owned();
        }
        for (group, (calls, per_file)) in &self.tally.calls {
            let Some(limits) = limits.groups.get(group) else {
                continue;
            };
            let Some(per_day) = limits.per_day("requests") else {
                continue;
            };
            let resets = limits.day_starts.day_of(http.wiring().clock.now()).end;
            self.daily = Some(DayPlan {
                group: group.clone(),
                calls: *calls,
                per_day,
                used: 0,
                per_file: *per_file,
                resets,
            });
        }
    }
}
