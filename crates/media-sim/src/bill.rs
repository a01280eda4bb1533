//! The bill: what was charged for, and how often it was handed out.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::state::lock;

/// Everything charged since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bill {
    /// The sum of all charges.
    pub total_usd: f64,
    /// One entry per accepted generation, in the order of acceptance.
    pub charges: Vec<Charge>,
    /// Daily quotas in use (Forvo sells calls, not generations).
    #[serde(default)]
    pub quotas: Vec<Quota>,
}

/// One accepted generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Charge {
    /// "openai", "openai-compat" or "runware".
    pub provider: String,
    /// The taskUUID (Runware), the `custom_id` (a line of an OpenAI batch) or the request id (OpenAI).
    pub key: String,
    /// The model as asked for.
    pub model: String,
    /// SHA-256 of the prompt or the text.
    pub content_sha256: String,
    /// Its price.
    pub usd: f64,
    /// How often the answer, or the media it links to, was handed out to the last byte.
    pub delivered: u64,
}

/// The state of one key's daily quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quota {
    /// "forvo".
    pub provider: String,
    /// The number of the key in the scenario, from 0: a bill shows no keys.
    pub key: usize,
    /// Counted calls today.
    pub used: u64,
    /// Calls allowed a day.
    pub limit: u64,
}

#[derive(Debug)]
struct Entry {
    charge: Charge,
    /// Deliveries per result of the generation; the charge shows the smallest.
    results: Vec<u64>,
}

/// The charges, shared with the bodies that report their delivery.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<(u64, Vec<Entry>)>>);

/// A charge on the ledger; it names nothing after a reset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChargeId {
    era: u64,
    index: usize,
}

impl Ledger {
    /// Enters a charge for a generation of `results` results.
    pub(crate) fn charge(
        &self,
        provider: &str,
        key: &str,
        model: &str,
        content: &str,
        usd: f64,
        results: usize,
    ) -> ChargeId {
        let charge = Charge {
            provider: provider.to_owned(),
            key: key.to_owned(),
            model: model.to_owned(),
            content_sha256: crate::hash::hex_of(content),
            usd,
            delivered: 0,
        };
        let mut ledger = lock(&self.0);
        ledger.1.push(Entry {
            charge,
            results: vec![0; results.max(1)],
        });
        ChargeId {
            era: ledger.0,
            index: ledger.1.len() - 1,
        }
    }

    /// Notes that one result was handed out completely; `None` means all of them at once.
    pub(crate) fn delivered(&self, id: ChargeId, result: Option<usize>) {
        let mut ledger = lock(&self.0);
        if ledger.0 != id.era {
            return;
        }
        let Some(entry) = ledger.1.get_mut(id.index) else {
            return;
        };
        for (index, count) in entry.results.iter_mut().enumerate() {
            if result.is_none_or(|wanted| wanted == index) {
                *count += 1;
            }
        }
        entry.charge.delivered = entry.results.iter().copied().min().unwrap_or(0);
    }

    pub(crate) fn bill(&self, quotas: Vec<Quota>) -> Bill {
        let charges: Vec<Charge> = lock(&self.0).1.iter().map(|entry| entry.charge.clone()).collect();
        // Summed in whole nano-dollars: a sum of many 0.0006 should read like one.
        let nanos: i64 = charges
            .iter()
            .map(|charge| (charge.usd * 1e9).round() as i64)
            .sum();
        Bill {
            total_usd: nanos as f64 / 1e9,
            charges,
            quotas,
        }
    }

    pub(crate) fn clear(&self) {
        let mut ledger = lock(&self.0);
        ledger.0 += 1;
        ledger.1.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_counts_as_delivered_when_each_result_was() {
        let ledger = Ledger::default();
        let id = ledger.charge("runware", "u", "m", "p", 0.0006, 2);
        ledger.delivered(id, Some(0));
        assert_eq!(ledger.bill(Vec::new()).charges[0].delivered, 0);
        ledger.delivered(id, Some(1));
        assert_eq!(ledger.bill(Vec::new()).charges[0].delivered, 1);
        for _ in 0..999 {
            ledger.charge("runware", "u", "m", "p", 0.0006, 1);
        }
        assert_eq!(ledger.bill(Vec::new()).total_usd, 0.6);
    }
}
