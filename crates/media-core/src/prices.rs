//! What requests are expected to cost, and what the tokens of answers cost. The prices come from configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::money::Usd;
use crate::provider::Resolved;
use crate::units::Span;

/// `prices`: what a request is expected to cost, and what tokens cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The day the prices were read, `YYYY-MM-DD`.
    pub as_of: String,
    /// Where they were read.
    pub source: String,
    /// What one request costs; the first row whose `when` equals the resolved request counts.
    #[serde(default)]
    pub items: Vec<PriceRow>,
    /// What tokens cost, to settle from the usage in an answer.
    #[serde(default)]
    pub tokens: Vec<TokenRow>,
    /// Models that are or will be shut down, with the day, `YYYY-MM-DD`.
    #[serde(default)]
    pub shut_down: BTreeMap<String, String>,
}

/// One row of `prices.items`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PriceRow {
    /// Resolved values that must all be equal: `{"model": "...", "quality": "medium"}`.
    pub when: BTreeMap<String, Value>,
    /// The price of one.
    pub usd: Usd,
    /// US dollars per million characters of the content, on top of `usd`.
    #[serde(default)]
    pub usd_per_million_characters: Usd,
    /// US dollars per minute of the sound that came, which then count in place of its characters: for models whose sounds are
    /// billed by their length and whose answers do not tell it.
    #[serde(default)]
    pub usd_per_minute: Usd,
    /// How long one usually takes.
    #[serde(default)]
    pub typical: Option<Span>,
}

/// One row of `prices.tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRow {
    /// Resolved values that must all be equal.
    pub when: BTreeMap<String, Value>,
    /// Dollars per million tokens of each sort.
    pub usd_per_million: BTreeMap<String, Usd>,
    /// Parameters whose text counts as `text_in`, beside the content.
    #[serde(default)]
    pub text_of: Vec<String>,
}

impl PriceRow {
    /// The price of this request by this row.
    #[must_use]
    pub fn price(&self, resolved: &Resolved) -> Usd {
        let characters = resolved.content.chars().count() as u64;
        self.usd + self.usd_per_million_characters.per_million(characters)
    }
}

/// The first row for this request; where none names its model, which may be a snapshot, the first for the model that it is of.
fn first<'r, R>(
    rows: &'r [R],
    when: impl Fn(&R) -> &BTreeMap<String, Value>,
    resolved: &Resolved,
) -> Option<&'r R> {
    let fits = |row: &&R, model: &str| {
        when(row).iter().all(|(name, value)| match name.as_str() {
            "model" => value.as_str() == Some(model),
            other => resolved.value(other).as_ref() == Some(value),
        })
    };
    let exact = rows.iter().find(|row| fits(row, &resolved.model));
    exact.or_else(|| {
        let model = undated(&resolved.model)?;
        rows.iter().find(|row| fits(row, model))
    })
}

/// The model that an id with a date at its end (`gpt-image-2-2026-04-21`) is a snapshot of. It costs the same and ends with
/// it, unless something is said of the snapshot itself.
#[must_use]
pub fn undated(model: &str) -> Option<&str> {
    const DATE: &str = "-0000-00-00";
    let (name, date) = model.split_at_checked(model.len().checked_sub(DATE.len())?)?;
    let fits = |(found, wanted): (char, char)| match wanted {
        '0' => found.is_ascii_digit(),
        other => found == other,
    };
    (!name.is_empty() && date.chars().zip(DATE.chars()).all(fits)).then_some(name)
}

/// About how many tokens a text is: four ASCII letters are one, two of other alphabets, and of scripts without one
/// (Chinese, Japanese, Korean, Thai) each character may be one.
#[must_use]
pub fn text_tokens(text: &str) -> u64 {
    let quarters: u64 = text
        .chars()
        .map(|character| match character {
            '\0'..='\x7f' => 1,
            '\u{80}'..='\u{dff}' => 2,
            _ => 4,
        })
        .sum();
    quarters.div_ceil(4)
}

impl Prices {
    /// The first row that fits.
    #[must_use]
    pub fn row(&self, resolved: &Resolved) -> Option<&PriceRow> {
        first(&self.items, |row| &row.when, resolved)
    }

    /// What a request is expected to cost: the first row that fits, and the text itself where its tokens have a price of
    /// their own. `None` where no row fits.
    #[must_use]
    pub fn expected(&self, resolved: &Resolved) -> Option<Usd> {
        let row = self.row(resolved)?;
        Some(row.price(resolved) + self.of_text(resolved))
    }

    /// What a sound of this length has cost, where its model is billed by that.
    #[must_use]
    pub fn of_duration(&self, resolved: &Resolved, duration: Duration) -> Option<Usd> {
        let row = self.row(resolved).filter(|row| row.usd_per_minute > Usd::ZERO)?;
        let of_sound = u128::from(row.usd_per_minute.micros()) * duration.as_micros() / 60;
        Some(row.usd + Usd::of_millionths(of_sound) + self.of_text(resolved))
    }

    fn of_text(&self, resolved: &Resolved) -> Usd {
        let Some(row) = first(&self.tokens, |row| &row.when, resolved) else {
            return Usd::ZERO;
        };
        let values = row.text_of.iter().filter_map(|name| resolved.value(name));
        let beside: u64 = values.filter_map(|value| value.as_str().map(text_tokens)).sum();
        let price = row.usd_per_million.get("text_in").copied().unwrap_or_default();
        price.per_million(text_tokens(&resolved.content) + beside)
    }

    /// US dollars per million tokens of a sort, such as `image_out`; `None` where it has no price.
    #[must_use]
    pub fn of_token(&self, resolved: &Resolved, sort: &str) -> Option<Usd> {
        first(&self.tokens, |row| &row.when, resolved)?
            .usd_per_million
            .get(sort)
            .copied()
    }

    /// What the tokens of an answer cost; `None` when a sort of token has no price.
    #[must_use]
    pub fn of_usage(&self, resolved: &Resolved, usage: &BTreeMap<String, u64>) -> Option<Usd> {
        if usage.values().all(|count| *count == 0) {
            return None;
        }
        let row = first(&self.tokens, |row| &row.when, resolved)?;
        let mut cost = 0;
        for (sort, count) in usage.iter().filter(|(_, count)| **count > 0) {
            cost += u128::from(row.usd_per_million.get(sort)?.micros()) * u128::from(*count);
        }
        Some(Usd::of_millionths(cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_known_by_its_date() {
        assert_eq!(undated("gpt-image-2-2026-04-21"), Some("gpt-image-2"));
        for other in ["gpt-image-2", "-2026-04-21", "m-2026-4-21", "", "ñ-2026-04-2x"] {
            assert_eq!(undated(other), None, "{other}");
        }
    }

    #[test]
    fn the_first_fitting_price_counts_and_usage_settles() {
        let prices: Prices = serde_json::from_str(
            r#"{"as_of": "2026-11-23", "source": "x",
                "items": [{"when": {"model": "m", "quality": "low"}, "usd": 0.006}, {"when": {"model": "m"}, "usd": 0.053}],
                "tokens": [{"when": {"model": "m"}, "usd_per_million": {"text_in": 5.0, "image_out": 30.0}}]}"#,
        )
        .unwrap();
        let resolved = Resolved {
            model: "m".into(),
            content: "x".into(),
            language: None,
            params: BTreeMap::from([("quality".into(), Value::from("high"))]),
            format: crate::Format::Png,
            group: "image".into(),
            units: crate::limit::Units::default(),
            calls: 1,
            dimensions: None,
        };
        assert_eq!(prices.row(&resolved).unwrap().usd.to_string(), "0.053");
        assert_eq!(prices.of_duration(&resolved, Duration::from_secs(9)), None);
        let usage = BTreeMap::from([("text_in".to_string(), 12), ("image_out".to_string(), 196)]);
        assert_eq!(prices.of_usage(&resolved, &usage).unwrap().micros(), 5940);
        let unknown = BTreeMap::from([("audio_out".to_string(), 12)]);
        assert_eq!(prices.of_usage(&resolved, &unknown), None);
        // Half a million tokens beside the content.
        let mut prices = prices;
        let mut spoken = resolved.clone();
        spoken
            .params
            .insert("instructions".into(), Value::from("slow".repeat(500_000)));
        assert_eq!(prices.expected(&spoken).unwrap().to_string(), "0.053005");
        prices.tokens[0].text_of.push("instructions".to_owned());
        assert_eq!(prices.expected(&spoken).unwrap().to_string(), "2.553005");
        assert_eq!(prices.expected(&resolved).unwrap().to_string(), "0.053005");
        // A rate below nothing would count as nothing, and no budget would hold it back.
        let below: Result<Prices, _> = serde_json::from_str(
            r#"{"as_of": "2026-11-23", "source": "x", "items": [{"when": {}, "usd": 0, "usd_per_minute": -0.015}]}"#,
        );
        assert!(
            below
                .unwrap_err()
                .to_string()
                .contains("is not an amount of dollars")
        );
    }
}
