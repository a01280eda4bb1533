//! What a report counts: by provider and model, by cause of failure, over time.

use std::collections::{BTreeMap, BTreeSet};

use media_core::{Result, Usd};

use crate::ledger::{Entry, JobStatus, Reader, Timing};

/// A gap between two results that is longer than this parts one stretch of work from the next.
const GAP_MS: i64 = 10 * 60 * 1000;
/// Bars of a chart at most.
const BARS: i64 = 60;
/// Widths of a bar, in seconds. Limits hold for a minute: within less, a burst that keeps one would seem to break it.
const WIDTHS: [i64; 6] = [60, 300, 900, 3600, 14_400, 86_400];

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) by_status: BTreeMap<&'static str, u64>,
    pub(super) by_model: BTreeMap<(String, String), Model>,
    /// By kind and provider.
    pub(super) failures: BTreeMap<(String, String), Failures>,
    pub(super) kinds: BTreeSet<&'static str>,
    pub(super) spent: Usd,
    /// Sends that may have been billed, given up or not, and what they are expected to have cost at most.
    pub(super) in_doubt: (u64, Usd),
    /// Those of them, and of what is settled, that no price is known of: they are in no sum.
    pub(super) unpriced: u64,
    /// Files in remote batches, and what is set aside for them.
    pub(super) in_batches: (u64, Usd),
    moments: BTreeMap<String, Vec<i64>>,
    /// What a provider did not have, or would not make, and the next one of a chain was asked for: by provider and kind.
    passed_on: BTreeMap<(String, String), u64>,
}

/// One model of one provider.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) made: u64,
    pub(super) failed: u64,
    /// What it did not have, or would not make, and the next provider was asked for.
    pub(super) passed_on: u64,
    pub(super) unknown: u64,
    pub(super) attempts: u64,
    pub(super) cost: Usd,
    pub(super) costed: u64,
    /// Milliseconds from the last send to the bytes, sorted.
    pub(super) latencies: Vec<u64>,
    /// The same of what went in remote batches.
    pub(super) latencies_in_batches: Vec<u64>,
}

/// Failures of one kind at one provider.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// Beside those: what the next provider was asked for.
    pub(super) passed_on: u64,
    pub(super) message: String,
    pub(super) next: Option<String>,
}

/// The last stretch of work of one provider, in bars.
#[derive(Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) from_ms: i64,
    /// Of one bar, in seconds.
    pub(super) width: i64,
    /// Files in each.
    pub(super) bars: Vec<u64>,
}

impl Stretch {
    /// Files a minute in a bar.
    #[expect(clippy::cast_precision_loss, reason = "for a chart")]
    pub(super) fn rate(&self, files: u64) -> f64 {
        files as f64 * 60.0 / self.width as f64
    }
}

/// What became of a job, as a report calls it.
pub(super) fn status_of(job: &Entry, is_there: bool) -> &'static str {
    match job.status {
        JobStatus::Done if !is_there => "gone",
        status => status.as_str(),
    }
}

impl Numbers {
    /// Counts a ledger; `is_there` says whether a file stands at a path.
    pub(super) fn of(reader: &Reader, is_there: impl Fn(&str) -> bool) -> Result<Numbers> {
        let totals = reader.totals()?;
        let mut numbers = Numbers {
            in_doubt: (
                totals.unknown + totals.given_up,
                totals.at_stake + totals.given_up_usd,
            ),
            unpriced: totals.unpriced + totals.uncounted,
            ..Numbers::default()
        };
        for batch in reader.remote_batches()? {
            numbers.in_batches.0 += batch.files;
            numbers.in_batches.1 += batch.reserved;
        }
        reader.each_job(|job| {
            numbers.job(&job, is_there(&job.spec.path));
            Ok(())
        })?;
        reader.each_timing(|timing| numbers.timing(timing))?;
        numbers.add_passed_on();
        for model in numbers.by_model.values_mut() {
            model.latencies.sort_unstable();
            model.latencies_in_batches.sort_unstable();
        }
        for moments in numbers.moments.values_mut() {
            moments.sort_unstable();
        }
        Ok(numbers)
    }

    fn job(&mut self, job: &Entry, is_there: bool) {
        let status = status_of(job, is_there);
        *self.by_status.entry(status).or_default() += 1;
        self.kinds.insert(match job.spec.kind {
            media_core::MediaKind::Image => "image",
            media_core::MediaKind::Audio => "audio",
        });
        let model = self.model(&job.provider, &job.model);
        match job.status {
            JobStatus::Done => model.made += 1,
            JobStatus::Failed => model.failed += 1,
            JobStatus::Unknown => model.unknown += 1,
            JobStatus::Open => {}
        }
        let line = job.last_line();
        let tried = line.iter().flat_map(|line| &line.tried);
        // Who failed last is among them, and counted by the row's own failure.
        for tried in tried.filter(|tried| tried.provider != job.provider) {
            let key = (tried.provider.clone(), tried.kind.clone());
            *self.passed_on.entry(key).or_default() += 1;
        }
        let is_over = matches!(job.status, JobStatus::Failed | JobStatus::Unknown);
        if let Some(error) = line.and_then(|line| line.error).filter(|_| is_over) {
            let failures = self
                .failures
                .entry((error.kind, job.provider.clone()))
                .or_default();
            failures.count += 1;
            if failures.message.is_empty() {
                failures.message = error.message;
                failures.next = error.next;
            }
        }
    }

    /// Adds what was passed on to the account of those who were asked first. Which of its models a provider was asked for then
    /// is not written down; nearly all have one.
    fn add_passed_on(&mut self) {
        for ((provider, kind), count) in std::mem::take(&mut self.passed_on) {
            let mut models = self.by_model.iter_mut();
            if let Some((_, model)) = models.find(|((name, _), _)| *name == provider) {
                model.passed_on += count;
            }
            let failures = self.failures.entry((kind, provider)).or_default();
            failures.passed_on += count;
            if failures.message.is_empty() {
                "the next provider was asked".clone_into(&mut failures.message);
            }
        }
    }

    fn model(&mut self, provider: &str, model: &str) -> &mut Model {
        self.by_model
            .entry((provider.to_owned(), model.to_owned()))
            .or_default()
    }

    fn timing(&mut self, timing: Timing) {
        let model = self.model(&timing.provider, &timing.model);
        model.attempts += 1;
        if let Some(cost) = timing.cost {
            model.cost += cost;
            // What was refused or cancelled cost nothing, and makes no file cheaper.
            model.costed += u64::from(timing.have_ms.is_some() || cost > Usd::ZERO);
        }
        if let (Some(sent), Some(have)) = (timing.sent_ms, timing.have_ms) {
            // A clock that was set back in between tells nothing.
            let latencies = match timing.is_in_batch {
                true => &mut model.latencies_in_batches,
                false => &mut model.latencies,
            };
            latencies.extend(u64::try_from(have - sent).ok());
        }
        self.spent += timing.cost.unwrap_or_default();
        if let Some(have) = timing.have_ms {
            self.moments.entry(timing.provider).or_default().push(have);
        }
    }

    /// The last stretch of work of each provider.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (&str, Stretch)> {
        self.moments
            .iter()
            .filter_map(|(provider, moments)| Some((provider.as_str(), stretch(moments)?)))
    }
}

/// The last moments without a long gap, in bars.
fn stretch(moments: &[i64]) -> Option<Stretch> {
    let last = *moments.last()?;
    let mut from = last;
    for moment in moments.iter().rev() {
        if from - moment > GAP_MS {
            break;
        }
        from = *moment;
    }
    let seconds = (last - from) / 1000 + 1;
    let width = WIDTHS
        .into_iter()
        .find(|width| seconds <= width * BARS)
        .unwrap_or(seconds / BARS + 1);
    let count = usize::try_from((seconds - 1) / width + 1).unwrap_or(1);
    let mut bars = vec![0; count];
    for moment in moments.iter().filter(|moment| **moment >= from) {
        let at = usize::try_from((moment - from) / 1000 / width).unwrap_or(0);
        if let Some(bar) = bars.get_mut(at) {
            *bar += 1;
        }
    }
    Some(Stretch {
        from_ms: from,
        width,
        bars,
    })
}

/// The value that this part of the sorted ones does not pass.
pub(super) fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[7], 95), Some(7));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (quantile(&hundred, 50), quantile(&hundred, 95)),
            (Some(50), Some(95))
        );
    }

    #[test]
    fn only_the_last_stretch_of_work_is_drawn() {
        let day = 24 * 3600 * 1000;
        let moments = [0, 1000, day, day + 500, day + 61_000, day + 119_999];
        let stretch = stretch(&moments).unwrap();
        assert_eq!((stretch.from_ms, stretch.width), (day, 60));
        assert_eq!(
            (stretch.bars.as_slice(), stretch.rate(2)),
            ([2, 2].as_slice(), 2.0)
        );
        assert_eq!(super::stretch(&[]), None);
    }
}
