//! Waits for a moment of the wall clock.

use std::time::Duration;

use jiff::Timestamp;
use media_core::limit::Clock;

/// Timers stand still while a machine sleeps, so the clock is looked at again and again.
const LOOK: Duration = Duration::from_secs(20);

/// Waits until the clock shows `moment` or later.
pub(crate) async fn until(moment: Timestamp, clock: &dyn Clock) {
    while let Ok(left) = Duration::try_from(moment.duration_since(clock.now())) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Shows one moment after the other.
    #[derive(Debug)]
    struct Shown(Mutex<Vec<i64>>);

    impl Clock for Shown {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.lock().unwrap().pop().unwrap()).unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_goes_on_at_the_wall_clocks_time() {
        // An hour to go, a look, and then the machine sleeps through the night.
        let clock = Shown(Mutex::new(vec![90_000, 3620, 3600]));
        let began = tokio::time::Instant::now();
        until(Timestamp::from_second(7200).unwrap(), &clock).await;
        assert_eq!(began.elapsed(), 2 * LOOK);
        until(
            Timestamp::from_second(7200).unwrap(),
            &Shown(Mutex::new(vec![7200])),
        )
        .await;
        let clock = Shown(Mutex::new(vec![7201, 7190]));
        let began = tokio::time::Instant::now();
        until(Timestamp::from_second(7200).unwrap(), &clock).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
