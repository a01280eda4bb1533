//! Money as whole micro-dollars, so that sums of many small prices are exact.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of US dollars in whole millionths.
///
/// In JSON it is a number of dollars: `0.0006`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Usd(u64);

impl Usd {
    /// Nothing.
    pub const ZERO: Usd = Usd(0);

    /// From millionths of a dollar.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Usd {
        Usd(micros)
    }

    /// From dollars, rounded up to the next millionth so that a sum never understates what was spent.
    /// `None` for a negative, absurdly large or non-finite number.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Usd> {
        // One billionth of slack: 0.0006 is 600.0000000001 millionths in binary.
        let micros = (dollars * 1e6 - 1e-3).ceil();
        if !dollars.is_finite() || dollars < 0.0 || micros > 1e15 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked just above"
        )]
        Some(Usd(micros.max(0.0) as u64))
    }

    /// Millionths of a dollar.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Dollars, for showing and for JSON.
    #[must_use]
    pub fn dollars(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below nine billion dollars")]
        let micros = self.0 as f64;
        micros / 1e6
    }

    /// What is left of it after `other` is taken off; never less than nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// What `count` of something cost at this price per million of them, rounded up.
    #[must_use]
    pub fn per_million(self, count: u64) -> Usd {
        Usd::of_millionths(u128::from(self.0) * u128::from(count))
    }

    /// From millionths of millionths of a dollar, rounded up.
    pub(crate) fn of_millionths(parts: u128) -> Usd {
        Usd(u64::try_from(parts.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// This amount `count` times.
    #[must_use]
    pub fn times(self, count: u64) -> Usd {
        Usd(self.0.saturating_mul(count))
    }
}

impl Add for Usd {
    type Output = Usd;
    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Usd) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(amounts: I) -> Usd {
        amounts.fold(Usd::ZERO, Add::add)
    }
}

/// `0.36`, `0.0006`: at least two decimals, no more than the amount needs.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        let mut shown = text.trim_end_matches('0').to_string();
        let decimals = shown.split('.').nth(1).map_or(0, str::len);
        shown.extend(std::iter::repeat_n('0', 2_usize.saturating_sub(decimals)));
        f.pad(&shown)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Usd::from_dollars(dollars)
            .ok_or_else(|| serde::de::Error::custom(format!("{dollars} is not an amount of dollars")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_prices_are_exact() {
        let price = Usd::from_dollars(0.0006).unwrap();
        assert_eq!(price.micros(), 600);
        assert_eq!(price.times(600).to_string(), "0.36");
        assert_eq!(price.to_string(), "0.0006");
        assert_eq!(Usd::ZERO.to_string(), "0.00");
        assert_eq!(serde_json::to_string(&price).unwrap(), "0.0006");
    }

    #[test]
    fn fractions_of_a_millionth_round_up() {
        assert_eq!(Usd::from_dollars(0.000_000_2).unwrap().micros(), 1);
        assert_eq!(Usd::from_dollars(-1.0), None);
        assert_eq!(Usd::from_dollars(f64::NAN), None);
    }
}
