//! Configuration values that carry their unit: `"30s"`, `"32MiB"`, `"22:00 UTC"`.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::limit::Day;

/// The longest span that is taken.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration written with its unit: `"250ms"`, `"30s"`, `"5m"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = humantime::parse_duration(&text).map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is not a duration; write it like \"30s\", \"5m\" or \"250ms\""
            ))
        })?;
        // Sums and products of them are moments that a clock must be able to show.
        if span > LONGEST {
            return Err(D::Error::custom(format!("{text:?} is longer than a year")));
        }
        Ok(Span(span))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// A number of bytes written with its unit: `"500kB"`, `"32MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// So many mebibytes.
    #[must_use]
    pub const fn mib(count: u64) -> Size {
        Size(count << 20)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map(Size).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a size; write it like \"500kB\", \"32MiB\" or \"1GB\""
            ))
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (amount, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
            .into_iter()
            .find(|(shift, _)| self.0 > 0 && self.0.trailing_zeros() >= *shift)
            .map_or((self.0, "B"), |(shift, unit)| (self.0 >> shift, unit));
        serializer.collect_str(&format_args!("{amount}{unit}"))
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// When a service's day begins: `"22:00 UTC"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayStart {
    hour: i8,
    minute: i8,
}

impl Default for DayStart {
    /// Midnight UTC.
    fn default() -> DayStart {
        DayStart { hour: 0, minute: 0 }
    }
}

impl DayStart {
    /// The service's day that holds `now`.
    #[must_use]
    pub fn day_of(self, now: Timestamp) -> Day {
        let local = now.to_zoned(TimeZone::UTC);
        let time = Time::new(self.hour, self.minute, 0, 0).unwrap_or(Time::MIN);
        let today = local
            .date()
            .to_datetime(time)
            .to_zoned(TimeZone::UTC)
            .map_or(now, |at| at.timestamp());
        let day = jiff::SignedDuration::from_hours(24);
        let start = if today <= now {
            today
        } else {
            today.checked_sub(day).unwrap_or(today)
        };
        Day {
            start,
            end: start.checked_add(day).unwrap_or(Timestamp::MAX),
        }
    }
}

impl fmt::Display for DayStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02} UTC", self.hour, self.minute)
    }
}

impl<'de> Deserialize<'de> for DayStart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DayStart, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = || {
            let (hour, minute) = text.strip_suffix("UTC")?.trim().split_once(':')?;
            let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
            ((0..24).contains(&hour) && (0..60).contains(&minute)).then_some(DayStart { hour, minute })
        };
        parse().ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a time of day; write it like \"22:00 UTC\""
            ))
        })
    }
}

impl Serialize for DayStart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn units_are_required() {
        assert_eq!(read::<Span>("\"5m\"").unwrap().0, Duration::from_secs(300));
        assert!(read::<Span>("\"5\"").unwrap_err().contains("\"30s\""));
        assert!(read::<Span>("5").is_err());
        let eternal = read::<Span>("\"300000000000y\"").unwrap_err();
        assert!(eternal.contains("longer than a year"), "{eternal}");
        assert_eq!(read::<Size>("\"32MiB\"").unwrap().0, 32 << 20);
        assert_eq!(read::<Size>("\"500kB\"").unwrap().0, 500_000);
        assert!(read::<Size>("\"32\"").unwrap_err().contains("32MiB"));
        assert_eq!(serde_json::to_string(&Size::mib(32)).unwrap(), "\"32MiB\"");
    }

    #[test]
    fn a_day_that_starts_at_22_utc() {
        let start: DayStart = read("\"22:00 UTC\"").unwrap();
        let day = start.day_of("2026-11-23T17:00:00Z".parse().unwrap());
        assert_eq!(day.start.to_string(), "2026-11-22T22:00:00Z");
        assert_eq!(day.end.to_string(), "2026-11-23T22:00:00Z");
        let day = start.day_of("2026-11-23T22:00:00Z".parse().unwrap());
        assert_eq!(day.end.to_string(), "2026-11-24T22:00:00Z");
        assert!(read::<DayStart>("\"22:00\"").is_err());
        assert!(read::<DayStart>("\"25:00 UTC\"").is_err());
    }
}
