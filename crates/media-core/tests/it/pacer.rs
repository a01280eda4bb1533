//! The pacer under random schedules: never over a limit, in order, and as fast as the limit allows.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use media_core::ErrorKind;
use media_core::limit::{Pacer, Units, Window};
use proptest::prelude::*;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What one waiter does.
#[derive(Clone, Debug)]
struct Waiter {
    arrives: u64,
    /// Of each bucket, in thousandths of its limit.
    takes: Vec<u64>,
    /// Gives up waiting after this long.
    patience: Option<u64>,
    /// Gets its turn and does not use it.
    wastes: bool,
}

#[derive(Clone, Debug)]
struct Schedule {
    /// Limit and length in seconds.
    windows: Vec<(u64, u64)>,
    waiters: Vec<Waiter>,
    /// When and for how long, in milliseconds.
    pauses: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Pass {
    waiter: usize,
    at: Duration,
    amounts: Vec<u64>,
}

fn bucket(index: usize) -> String {
    format!("bucket-{index}")
}

impl Schedule {
    fn pacer(&self) -> Arc<Pacer> {
        let windows = self
            .windows
            .iter()
            .enumerate()
            .map(|(index, (limit, seconds))| Window {
                bucket: bucket(index),
                limit: *limit,
                length: Duration::from_secs(*seconds),
            });
        Arc::new(Pacer::new("image", windows.collect(), false))
    }

    fn amounts(&self, waiter: &Waiter) -> Vec<u64> {
        self.windows
            .iter()
            .zip(&waiter.takes)
            .map(|((limit, _), share)| (limit * share).div_ceil(1000))
            .collect()
    }

    /// Plays it; who passed and when, in order.
    fn play(&self) -> Vec<Pass> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let began = Instant::now();
            let pacer = self.pacer();
            let passes = Arc::new(Mutex::new(Vec::new()));
            let mut tasks = tokio::task::JoinSet::new();
            for (index, waiter) in self.waiters.iter().cloned().enumerate() {
                let (pacer, passes, amounts) =
                    (Arc::clone(&pacer), Arc::clone(&passes), self.amounts(&waiter));
                tasks.spawn(async move {
                    // A microsecond apart, so that it is certain who came first.
                    sleep_until(began + Duration::from_millis(waiter.arrives)).await;
                    let units = amounts
                        .iter()
                        .enumerate()
                        .fold(Units::default(), |units, (index, amount)| {
                            units.with(bucket(index), *amount)
                        });
                    let grant = match waiter.patience {
                        None => pacer.wait(&units).await.unwrap(),
                        Some(patience) => {
                            match timeout(Duration::from_millis(patience), pacer.wait(&units)).await {
                                Ok(grant) => grant.unwrap(),
                                Err(_) => return,
                            }
                        }
                    };
                    if waiter.wastes {
                        drop(grant);
                    } else {
                        grant.spend();
                        let at = began.elapsed();
                        passes.lock().unwrap().push(Pass {
                            waiter: index,
                            at,
                            amounts,
                        });
                    }
                });
            }
            for (at, length) in self.pauses.clone() {
                let pacer = Arc::clone(&pacer);
                tasks.spawn(async move {
                    sleep(Duration::from_millis(at)).await;
                    pacer.pause(Duration::from_millis(length));
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            Arc::try_unwrap(passes).unwrap().into_inner().unwrap()
        })
    }
}

fn waiter(buckets: usize) -> impl Strategy<Value = Waiter> {
    (
        0..90_000_u64,
        proptest::collection::vec(0..=1000_u64, buckets),
        proptest::option::weighted(0.2, 0..60_000_u64),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(arrives, takes, patience, wastes)| Waiter {
            arrives,
            takes,
            patience,
            wastes,
        })
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let window = (1..200_u64, prop_oneof![Just(1_u64), Just(60), Just(3600)]);
    proptest::collection::vec(window, 1..4).prop_flat_map(|windows| {
        (
            Just(windows.clone()),
            proptest::collection::vec(waiter(windows.len()), 1..60),
            proptest::collection::vec((0..120_000_u64, 1..40_000_u64), 0..4),
        )
            .prop_map(|(windows, waiters, pauses)| Schedule {
                windows,
                waiters,
                pauses,
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_window_ever_holds_more_than_its_limit(schedule in schedule()) {
        let passes = schedule.play();
        for (index, (limit, seconds)) in schedule.windows.iter().enumerate() {
            for first in &passes {
                let end = first.at + Duration::from_secs(*seconds);
                let within = passes.iter().filter(|pass| (first.at..end).contains(&pass.at));
                let sum: u64 = within.map(|pass| pass.amounts[index]).sum();
                prop_assert!(sum <= *limit, "{sum} of {limit} per {seconds} s from {:?}: {passes:?}", first.at);
            }
        }
    }

    #[test]
    fn sends_stay_spread_over_the_window(schedule in schedule()) {
        let passes = schedule.play();
        for (index, (limit, seconds)) in schedule.windows.iter().enumerate() {
            let takers: Vec<_> = passes.iter().filter(|pass| pass.amounts[index] > 0).collect();
            for (place, first) in takers.iter().enumerate() {
                let mut taken = 0;
                for (before, pass) in takers[place..].iter().zip(&takers[place + 1..]) {
                    taken += before.amounts[index];
                    let due = Duration::from_secs(*seconds).mul_f64(taken as f64 / *limit as f64);
                    // Late timers may be caught up with, by at most 20 ms.
                    prop_assert!(
                        pass.at - first.at + Duration::from_millis(21) >= due,
                        "{taken} of {limit} per {seconds} s within {:?}", pass.at - first.at
                    );
                }
            }
        }
    }

    #[test]
    fn everybody_passes_in_the_order_of_arrival(schedule in schedule()) {
        let passes = schedule.play();
        for pair in passes.windows(2) {
            let arrived = |pass: &Pass| schedule.waiters[pass.waiter].arrives;
            prop_assert!(arrived(&pair[0]) <= arrived(&pair[1]), "{pair:?} of {schedule:?}");
        }
        for (index, waiter) in schedule.waiters.iter().enumerate() {
            let passed = passes.iter().filter(|pass| pass.waiter == index).count();
            if !waiter.wastes && waiter.patience.is_none() {
                prop_assert_eq!(passed, 1);
            }
        }
    }

    #[test]
    fn a_pause_stops_everybody(schedule in schedule()) {
        for pass in schedule.play() {
            for (at, length) in &schedule.pauses {
                let (at, until) = (Duration::from_millis(*at), Duration::from_millis(at + length));
                prop_assert!(pass.at <= at || pass.at >= until, "{:?} is within {at:?}..{until:?}", pass.at);
            }
        }
    }

    /// Who gives up, in line or at the front, delays nobody by more than one place.
    #[test]
    fn who_gives_up_costs_the_others_nothing(
        limit in 5..300_u64,
        rows in proptest::collection::vec((any::<bool>(), proptest::option::of(0..20_000_u64)), 2..80),
    ) {
        let waiters: Vec<Waiter> = rows
            .iter()
            .map(|(leaves, patience)| Waiter {
                arrives: 0,
                takes: vec![1],
                patience: if *leaves { patience.or(Some(0)) } else { None },
                wastes: *leaves,
            })
            .collect();
        let stay = waiters.iter().filter(|waiter| !waiter.wastes).count() as u32;
        prop_assume!(stay > 0);
        let schedule = Schedule { windows: vec![(limit, 60)], waiters, pauses: Vec::new() };
        let last = schedule.play().last().unwrap().at;
        let spacing = Duration::from_secs(60).mul_f64(1.01 / limit as f64);
        let most = spacing * stay + Duration::from_millis(20);
        prop_assert!(last <= most, "{stay} took {last:?}, more than {most:?}");
    }
}

/// How much of a limit per minute is used when there is always somebody waiting.
async fn share_of(limit: u64) -> f64 {
    let window = Window {
        bucket: "requests".into(),
        limit,
        length: Duration::from_secs(60),
    };
    let pacer = Arc::new(Pacer::new("image", vec![window], false));
    let count = (limit * 3).min(3000) as u32;
    let began = Instant::now();
    for place in 0..=count {
        pacer.wait(&Units::default()).await.unwrap().spend();
        if place == count {
            break;
        }
    }
    let per_minute = f64::from(count) / began.elapsed().as_secs_f64() * 60.0;
    per_minute / limit as f64
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_used_up_from_5_to_6000_per_minute() {
    for limit in [5, 7, 15, 60, 150, 500, 999, 1500, 3000, 4000, 5000, 6000] {
        let share = share_of(limit).await;
        assert!(
            (0.95..=1.0).contains(&share),
            "{limit} per minute: {share:.3} of it was used"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_refused_at_once() {
    let window = Window {
        bucket: "tokens".into(),
        limit: 1000,
        length: Duration::from_secs(60),
    };
    let pacer = Arc::new(Pacer::new("image", vec![window], false));
    let began = Instant::now();
    let error = pacer
        .wait(&Units::default().with("tokens", 1001))
        .await
        .unwrap_err();
    // With a higher limit it is sent: nothing is wrong with the request itself.
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry(), media_core::Retry::Never);
    assert_eq!(error.charge(), Some(media_core::Charge::None));
    assert!(error.to_string().contains("takes 1001 tokens"), "{error}");
    assert!(
        error
            .next()
            .unwrap()
            .contains("raise the limit in the provider's configuration")
    );
    pacer
        .wait(&Units::default().with("tokens", 1000))
        .await
        .unwrap()
        .spend();
    assert_eq!(began.elapsed(), Duration::ZERO);
}
