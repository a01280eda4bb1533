//! The places among the calls in flight of one account. Their number can be lowered while they are taken.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// So many calls may be in flight at once.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    allowed: usize,
    /// Places that were taken when the number was lowered: whoever gets one next gives it up.
    excess: usize,
}

impl Places {
    pub(crate) fn new(allowed: usize) -> Places {
        Places {
            free: Arc::new(Semaphore::new(allowed)),
            count: Mutex::new(Count { allowed, excess: 0 }),
        }
    }

    /// Waits in line for a place, which is free again when the permit is dropped.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            let place = Arc::clone(&self.free).acquire_owned().await?;
            let mut count = self.count();
            if count.excess == 0 {
                return Ok(place);
            }
            count.excess -= 1;
            place.forget();
        }
    }

    /// Allows no more than this from now on. Calls that are in flight end as they would have.
    pub(crate) fn lower_to(&self, allowed: usize) {
        let mut count = self.count();
        let fewer = count.allowed.saturating_sub(allowed);
        count.allowed -= fewer;
        count.excess += fewer - self.free.forget_permits(fewer);
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        let count = self.count();
        (count.allowed + count.excess).saturating_sub(self.free.available_permits())
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        lock(&self.count)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_lower_number_holds_for_places_that_were_taken_before() {
        let places = Places::new(3);
        let take = || places.take().now_or_never().map(Result::unwrap);
        let (first, second, third) = (take().unwrap(), take().unwrap(), take().unwrap());
        places.lower_to(2);
        places.lower_to(1);
        assert_eq!(places.taken(), 3);
        drop((first, second));
        assert!(take().is_none(), "the third is in flight, and one is allowed");
        assert_eq!(places.taken(), 1);
        drop(third);
        let only = take().unwrap();
        assert!(take().is_none());
        // Raising is nobody's wish: of two limits the lower one counts.
        places.lower_to(5);
        assert!(take().is_none());
        drop(only);
        assert!(take().is_some());
    }

    #[test]
    fn free_places_go_first() {
        let places = Places::new(3);
        let taken = places.take().now_or_never().unwrap().unwrap();
        places.lower_to(1);
        assert!(places.take().now_or_never().is_none());
        drop(taken);
        assert!(places.take().now_or_never().is_some());
    }
}
