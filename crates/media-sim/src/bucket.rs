//! Token buckets and the durations that OpenAI prints in its rate-limit headers.

/// What a bucket says to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Until the bucket is full again.
    pub(crate) reset_ms: u64,
}

/// A bucket that holds a minute's worth and refills evenly.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_minute: u64,
    level: f64,
    at_ms: u64,
}

impl Bucket {
    pub(crate) fn full(per_minute: u64, now_ms: u64) -> Self {
        Self {
            per_minute,
            level: per_minute as f64,
            at_ms: now_ms,
        }
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at_ms) as f64;
        self.level = (self.level + passed * self.per_minute as f64 / 60_000.0).min(self.per_minute as f64);
        self.at_ms = now_ms.max(self.at_ms);
    }

    /// Milliseconds until `amount` is there; 0 = now; `None` = never, the bucket is too small.
    pub(crate) fn wait_ms(&mut self, amount: u64, now_ms: u64) -> Option<u64> {
        self.refill(now_ms);
        if amount > self.per_minute {
            return None;
        }
        // The tiny margin keeps a bucket that is full but for rounding from refusing.
        let missing = amount as f64 - self.level - 1e-6;
        if missing <= 0.0 {
            return Some(0);
        }
        Some(((missing * 60_000.0 / self.per_minute as f64).ceil() as u64).max(1))
    }

    pub(crate) fn take(&mut self, amount: u64, now_ms: u64) {
        self.refill(now_ms);
        self.level -= amount as f64;
    }

    pub(crate) fn show(&mut self, now_ms: u64) -> Level {
        self.refill(now_ms);
        let missing = (self.per_minute as f64 - self.level).max(0.0);
        let reset_ms = if self.per_minute == 0 {
            60_000
        } else {
            (missing * 60_000.0 / self.per_minute as f64).ceil() as u64
        };
        Level {
            limit: self.per_minute,
            remaining: self.level.max(0.0).floor() as u64,
            reset_ms,
        }
    }
}

/// A duration as Go prints it: `0s`, `120ms`, `58.891s`, `6m0s`, `1h0m0s`.
pub(crate) fn go_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let mut seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_refills_and_says_when() {
        let mut bucket = Bucket::full(60, 0);
        bucket.take(60, 0);
        assert_eq!(bucket.wait_ms(1, 0), Some(1000));
        assert_eq!(bucket.wait_ms(1, 1000), Some(0));
        assert_eq!(bucket.wait_ms(61, 1000), None);
        assert_eq!(
            bucket.show(1000),
            Level {
                limit: 60,
                remaining: 1,
                reset_ms: 59_000
            }
        );
        assert_eq!(Bucket::full(0, 0).wait_ms(1, 0), None);
    }

    #[test]
    fn durations_read_like_go() {
        for (ms, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1000, "1s"),
            (58_891, "58.891s"),
            (360_000, "6m0s"),
            (432_000, "7m12s"),
            (3_600_000, "1h0m0s"),
            (10_500, "10.5s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }
}
