//! What response headers say about limits: `x-ratelimit-*`, `Retry-After`, `retry-after-ms`.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// What the service says about one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateReport {
    /// The bucket, in this crate's terms: `requests`, `tokens`, `images`, or the service's own word.
    pub bucket: String,
    /// The limit.
    pub limit: Option<u64>,
    /// What is left of it.
    pub remaining: Option<u64>,
    /// When it is whole again.
    pub reset: Option<Duration>,
}

/// Every `x-ratelimit-{limit,remaining,reset}-BUCKET` of an answer, whatever the bucket is called.
#[must_use]
pub(crate) fn rate_reports(headers: &HeaderMap) -> Vec<RateReport> {
    let mut reports: Vec<RateReport> = Vec::new();
    for (name, value) in headers {
        let Some((field, bucket)) = name
            .as_str()
            .strip_prefix("x-ratelimit-")
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        let Ok(value) = value.to_str() else { continue };
        // `input-images` and `images` are both in use for the same thing.
        let bucket = if bucket == "input-images" {
            "images"
        } else {
            bucket
        };
        let index = reports
            .iter()
            .position(|report| report.bucket == bucket)
            .unwrap_or_else(|| {
                reports.push(RateReport {
                    bucket: bucket.to_owned(),
                    ..RateReport::default()
                });
                reports.len() - 1
            });
        let Some(report) = reports.get_mut(index) else {
            continue;
        };
        match field {
            "limit" => report.limit = value.trim().parse().ok(),
            "remaining" => report.remaining = value.trim().parse().ok(),
            "reset" => report.reset = parse_duration(value),
            _ => {}
        }
    }
    reports
}

/// No service means more, and what is added to a clock must not overflow it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn seconds(value: f64) -> Option<Duration> {
    // Whatever is too long for a `Duration` is too long, not nothing. Infinity is no number of seconds.
    (value >= 0.0 && value.is_finite())
        .then(|| Duration::try_from_secs_f64(value).map_or(LONGEST, |wait| wait.min(LONGEST)))
}

/// The least time to wait, at most a day, from `retry-after-ms` or `Retry-After` (seconds, with or without a fraction, or a date).
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return seconds(millis / 1000.0);
    }
    let value = text("retry-after")?;
    if let Ok(count) = value.parse::<f64>() {
        return seconds(count);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO).min(LONGEST))
}

/// Durations as these services write them: `120ms`, `1s`, `6m0s`, `58.891s`, `1h0m0s`; a bare number is seconds.
/// At most a day.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    if let Ok(count) = rest.parse::<f64>() {
        return seconds(count);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len)?;
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = seconds(number.parse::<f64>().ok()? * factor)?;
        total = (total + part).min(LONGEST);
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn durations_of_every_documented_form() {
        let cases: [(&str, u64); 9] = [
            ("120ms", 120),
            ("1s", 1000),
            ("6m0s", 360_000),
            ("58.891s", 58_891),
            ("7m12s", 432_000),
            ("1h0m0s", 3_600_000),
            ("2", 2000),
            ("0.5", 500),
            ("1m0.5s", 60_500),
        ];
        for (text, millis) in cases {
            assert_eq!(
                parse_duration(text).map(|d| d.as_millis()),
                Some(u128::from(millis)),
                "{text}"
            );
        }
        for text in ["", "s", "5x", "-1s", "1e400s", "m5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn buckets_of_any_name_are_read() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-input-images", "5"),
            ("x-ratelimit-limit-project-tokens", "9"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut reports = rate_reports(&headers);
        reports.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        assert_eq!(reports.len(), 3);
        assert_eq!(
            (reports[0].bucket.as_str(), reports[0].limit),
            ("images", Some(5))
        );
        assert_eq!(reports[1].bucket, "project-tokens");
        assert_eq!(reports[2].reset, Some(Duration::from_millis(120)));
    }

    #[test]
    fn retry_after_in_every_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after-ms", "534"), Some(Duration::from_millis(534)));
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(read("retry-after", "soon"), None);
        assert_eq!(read("retry-after", "-3"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}") {
            let _ = parse_duration(&text);
        }
    }
}
