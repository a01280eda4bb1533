//! Spaces sends so that no window of a limit's length ever holds more than the limit.
//!
//! Two rules together: sends are spread evenly over the window (services punish bursts, and a fixed window at the
//! service never lines up with ours), and a log of the last window refuses whatever spreading alone would let through
//! when sends take different amounts. Waiters stand in a fair queue and only the first one waits for time, so there
//! are no reservations that could all come due together at the end of a pause.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::gauge::Gauge;
use super::headers::RateReport;
use super::{Places, Slowed, Units};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::lock;

/// One configured ceiling: so many of a bucket in so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The bucket: `requests`, `images`, `tokens`.
    pub bucket: String,
    /// The most that any stretch of `length` may hold.
    pub limit: u64,
    /// The length of the window.
    pub length: Duration,
}

/// Lets sends of one limit group through, in order.
#[derive(Debug)]
pub struct Pacer {
    /// The limit group.
    group: String,
    /// Held by the waiter who is first in line. Tokio's semaphore is fair, and a dropped waiter leaves the queue.
    turn: Semaphore,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    gauges: Vec<Gauge>,
    /// For gauges that come later; see [`Gauge::raises`].
    raises: bool,
    paused_until: Option<Instant>,
    /// Spacing found by trial: wider after each refusal, narrower with each success.
    adaptive: Option<Duration>,
    is_dry: bool,
    adaptive_next: Option<Instant>,
    next_id: u64,
    /// What the first in line waits for, while it does.
    waiting: Option<Waiting>,
}

/// What senders wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The group of calls: `image`, `speech`, ...
    pub group: String,
    /// The bucket that is full; `None` when the service asked for a pause.
    pub bucket: Option<String>,
    /// When the first in line may go on.
    pub until: Instant,
}

/// The window of limits that only response headers speak of: they name no length, and all known ones are per minute.
const REPORTED_WINDOW: Duration = Duration::from_secs(60);
const ADAPTIVE_FIRST: Duration = Duration::from_millis(100);
const ADAPTIVE_MOST: Duration = Duration::from_secs(10);
const ADAPTIVE_LEAST: Duration = Duration::from_millis(5);

impl State {
    /// When a send that takes `units` may start, and the gauge that decides it; `None` for now.
    fn due(&mut self, now: Instant, units: &Units) -> Result<Option<(Instant, Option<usize>)>> {
        let mut at = now;
        let mut slowest = None;
        for (index, gauge) in self.gauges.iter_mut().enumerate() {
            let amount = units.of(&gauge.bucket);
            if amount == 0 {
                continue;
            }
            let earliest = gauge.earliest(now, amount)?;
            if earliest > at {
                at = earliest;
                slowest = Some(index);
            }
        }
        for other in [self.paused_until, self.adaptive_next].into_iter().flatten() {
            if other > at {
                at = other;
                slowest = None;
            }
        }
        Ok((at > now).then_some((at, slowest)))
    }

    /// Takes the place of one send from every window; gives its number, to give it back by.
    fn take(&mut self, now: Instant, units: &Units) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        for gauge in &mut self.gauges {
            let amount = units.of(&gauge.bucket);
            gauge.commit(now, amount, id);
        }
        self.adaptive_next = self.adaptive.map(|spacing| now + spacing);
        id
    }
}

/// A wait that is written down when it ends, however it ends.
struct NotedWait<'a>(&'a Pacer, Option<usize>, Instant);

impl Drop for NotedWait<'_> {
    fn drop(&mut self) {
        let NotedWait(pacer, slowest, began) = self;
        let mut state = pacer.state();
        state.waiting = None;
        if let Some(gauge) = slowest.and_then(|index| state.gauges.get_mut(index)) {
            gauge.waited += began.elapsed();
        }
    }
}

impl Pacer {
    /// The pacer of a limit group with these ceilings. With `raise_to_reported`, a higher limit that the service reports replaces ours.
    #[must_use]
    pub fn new(group: &str, windows: Vec<Window>, raise_to_reported: bool) -> Pacer {
        let gauges = windows
            .into_iter()
            .map(|w| Gauge::new(w.bucket, w.length, Some(w.limit), raise_to_reported))
            .collect();
        Pacer {
            group: group.to_owned(),
            turn: Semaphore::new(1),
            state: Mutex::new(State {
                gauges,
                raises: raise_to_reported,
                paused_until: None,
                adaptive: None,
                is_dry: false,
                adaptive_next: None,
                next_id: 0,
                waiting: None,
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits in line until a send that takes `units` may start.
    ///
    /// Dropping the future leaves the line; dropping the [`Grant`] unused gives its place back.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`], not to be retried, when one send takes more than a whole window allows.
    pub async fn wait(self: &Arc<Self>, units: &Units) -> Result<Grant> {
        // A place of its own is always free.
        let (grant, _) = self.wait_for(units, &Places::new(1)).await?;
        Ok(grant)
    }

    /// The same for a send that also needs one of these places, such as one among the calls in flight. It is asked for
    /// when the time has come, so that nobody holds one while waiting for time, and time is taken when there is a place.
    pub(crate) async fn wait_for(
        self: &Arc<Self>,
        units: &Units,
        places: &Places,
    ) -> Result<(Grant, OwnedSemaphorePermit)> {
        let closed = |_| Error::new(ErrorKind::Cancelled, "the client was shut down").not_billed();
        let _turn = self.turn.acquire().await.map_err(closed)?;
        loop {
            self.until_due(units).await?;
            let place = places.take().await.map_err(closed)?;
            let mut state = self.state();
            // Time went by while a place was waited for; a pause may have come.
            let now = Instant::now();
            if state.due(now, units)?.is_none() {
                let id = state.take(now, units);
                let grant = Grant {
                    pacer: Arc::clone(self),
                    id,
                    used: false,
                };
                return Ok((grant, place));
            }
        }
    }

    /// Waits until a send that takes `units` is due, and takes nothing.
    async fn until_due(&self, units: &Units) -> Result<()> {
        loop {
            let changed = self.changed.notified();
            let began = Instant::now();
            let (at, slowest) = {
                let mut state = self.state();
                let Some((at, slowest)) = state.due(began, units)? else {
                    return Ok(());
                };
                let bucket = slowest.and_then(|index| Some(state.gauges.get(index)?.bucket.clone()));
                state.waiting = Some(Waiting {
                    group: self.group.clone(),
                    bucket,
                    until: at,
                });
                (at, slowest)
            };
            let _noted = NotedWait(self, slowest, began);
            tokio::select! {
                () = sleep_until(at) => {}
                () = changed => {}
            }
        }
    }

    /// Counts a send that an earlier process made so long ago. To be told of in their order, and before any of this one.
    pub(crate) fn sent_before(&self, units: &Units, ago: Duration) {
        let mut state = self.state();
        // What was sent at a pace that only the service knows is not measured by ours.
        if let Some(at) = Instant::now().checked_sub(ago).filter(|_| !state.raises) {
            state.take(at, units);
        }
    }

    /// What the first in line waits for.
    #[must_use]
    pub fn waiting(&self) -> Option<Waiting> {
        self.state().waiting.clone()
    }

    /// Stops everybody until `delay` from now; a longer pause that already holds stays. Called for a refusal for pace.
    pub fn pause(&self, delay: Duration) {
        let mut state = self.state();
        let until = Instant::now() + delay;
        state.paused_until = Some(state.paused_until.map_or(until, |other| other.max(until)));
        // Everybody would start together at its end; so find a pace by trial. A ceiling that is known may be lower by now.
        let wider = state
            .adaptive
            .map_or(ADAPTIVE_FIRST, |spacing| (spacing * 2).min(ADAPTIVE_MOST));
        state.adaptive = Some(wider);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A sender waited as long as such limits usually last, and was refused again.
    pub(crate) fn waited_in_vain(&self) {
        self.state().is_dry = true;
    }

    /// Whether nothing was accepted since. Then nobody else need wait that long to find out the same.
    pub(crate) fn is_dry(&self) -> bool {
        self.state().is_dry
    }

    /// A send was accepted: a pace found by trial may become a little faster.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.is_dry = false;
        if let Some(spacing) = state.adaptive {
            let narrower = spacing.mul_f64(0.95);
            state.adaptive = (narrower > ADAPTIVE_LEAST).then_some(narrower);
        }
    }

    /// Holds to these ceilings too: of two for the same bucket and time the lower one counts, and a report raises them only
    /// where both may be raised.
    pub(crate) fn tighten(&self, windows: Vec<Window>, raises: bool) {
        let mut state = self.state();
        state.raises &= raises;
        state.gauges.iter_mut().for_each(|gauge| gauge.raises &= raises);
        for window in windows {
            let new = Gauge::new(window.bucket, window.length, Some(window.limit), state.raises);
            let same = |gauge: &&mut Gauge| gauge.bucket == new.bucket && gauge.length == new.length;
            match state.gauges.iter_mut().find(same) {
                Some(gauge) => gauge.configured = gauge.configured.into_iter().chain(new.configured).min(),
                None => state.gauges.push(new),
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes in what the service says about one of its limits.
    pub fn learn(&self, report: &RateReport) {
        let mut state = self.state();
        let now = Instant::now();
        let reported = report.limit.filter(|limit| *limit > 0);
        // What is reported is about a minute, and says nothing about our ceilings for other windows.
        let window = REPORTED_WINDOW + REPORTED_WINDOW / 100;
        let known = |gauge: &Gauge| gauge.bucket == report.bucket && gauge.length == window;
        let place = state.gauges.iter().position(known).unwrap_or_else(|| {
            let new = Gauge::new(report.bucket.clone(), REPORTED_WINDOW, None, state.raises);
            state.gauges.push(new);
            state.gauges.len() - 1
        });
        if let Some(gauge) = state.gauges.get_mut(place) {
            gauge.reported = reported.or(gauge.reported);
            if report.remaining == Some(0)
                && let Some(reset) = report.reset
            {
                gauge.empty_until = gauge.empty_until.max(Some(now + reset.min(gauge.length)));
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Until when the service asked everybody to wait.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.state().paused_until.filter(|until| *until > Instant::now())
    }

    /// The ceilings that made senders wait.
    #[must_use]
    pub fn slowed(&self) -> Vec<Slowed> {
        let state = self.state();
        let slowed = state.gauges.iter().filter_map(|gauge| {
            Some(Slowed {
                group: self.group.clone(),
                bucket: gauge.bucket.clone(),
                configured: gauge.configured?,
                reported: gauge.reported,
                waited: gauge.waited,
            })
        });
        slowed.filter(|slowed| slowed.waited > Duration::ZERO).collect()
    }

    fn give_back(&self, id: u64) {
        for gauge in &mut self.state().gauges {
            gauge.give_back(id);
        }
        self.changed.notify_waiters();
    }
}

/// The right to one send.
#[derive(Debug)]
#[must_use = "a grant that is dropped unused gives its place back"]
pub struct Grant {
    pacer: Arc<Pacer>,
    id: u64,
    used: bool,
}

impl Grant {
    /// The send is happening: its place is spent.
    pub fn spend(mut self) {
        self.used = true;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if !self.used {
            self.pacer.give_back(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place among the calls is for calls: pictures that wait for their minute must not hold up speech.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_time_holds_no_place() {
        let minute = Window {
            bucket: "requests".into(),
            limit: 1,
            length: Duration::from_secs(60),
        };
        let pacer = Arc::new(Pacer::new("image", vec![minute], false));
        let places = Arc::new(Places::new(1));
        let (grant, place) = pacer.wait_for(&Units::default(), &places).await.unwrap();
        grant.spend();
        drop(place);
        let waiting = tokio::spawn({
            let (pacer, places) = (Arc::clone(&pacer), Arc::clone(&places));
            async move { pacer.wait_for(&Units::default(), &places).await.map(|_| ()) }
        });
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(places.taken(), 0);
        let waited_for = pacer.waiting().unwrap();
        assert_eq!(waited_for.bucket.as_deref(), Some("requests"));
        assert!(waited_for.until > Instant::now());
        // A place that is taken when the time has come is waited for too, and time is not spent meanwhile.
        let taken = places.take().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!waiting.is_finished());
        drop(taken);
        waiting.await.unwrap().unwrap();
        assert_eq!(pacer.waiting(), None);
    }
}
