//! What the pacer does after a pause, and what it learns from a service's headers.

use std::sync::Arc;
use std::time::Duration;

use media_core::limit::{Pacer, RateReport, Units, Window};
use tokio::time::Instant;

fn window(bucket: &str, limit: u64, seconds: u64) -> Window {
    Window {
        bucket: bucket.into(),
        limit,
        length: Duration::from_secs(seconds),
    }
}

fn pacer(windows: Vec<Window>, raise: bool) -> Arc<Pacer> {
    Arc::new(Pacer::new("image", windows, raise))
}

fn report(limit: u64) -> RateReport {
    RateReport {
        bucket: "requests".into(),
        limit: Some(limit),
        remaining: None,
        reset: None,
    }
}

/// When each of `count` sends may start, from now on.
async fn times(pacer: &Arc<Pacer>, count: usize) -> Vec<Duration> {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let pacer = Arc::clone(pacer);
        tasks.push(tokio::spawn(async move {
            pacer.wait(&Units::default()).await.unwrap().spend();
            began.elapsed()
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.unwrap());
    }
    times
}

fn smallest_gap(times: &[Duration]) -> Duration {
    times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap()
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_nobody_bursts() {
    let pacer = pacer(vec![window("requests", 60, 60)], false);
    pacer.wait(&Units::default()).await.unwrap().spend();
    pacer.pause(Duration::from_secs(30));
    assert!(pacer.paused_until().is_some());
    let times = times(&pacer, 20).await;
    assert!(times[0] >= Duration::from_secs(30), "{times:?}");
    assert!(smallest_gap(&times) >= Duration::from_millis(980), "{times:?}");
    assert!(pacer.paused_until().is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_known_limit_a_pace_is_found_by_trial() {
    let pacer = pacer(Vec::new(), true);
    assert_eq!(
        times(&pacer, 10).await.last(),
        Some(&Duration::ZERO),
        "nothing is known, so nothing is slowed"
    );
    pacer.pause(Duration::from_secs(5));
    let after_one = times(&pacer, 10).await;
    assert!(after_one[0] >= Duration::from_secs(5));
    let one = smallest_gap(&after_one);
    assert!(
        one >= Duration::from_millis(50),
        "they would all be refused again: {after_one:?}"
    );
    pacer.pause(Duration::from_secs(5));
    assert!(
        smallest_gap(&times(&pacer, 10).await) > one,
        "a second refusal widens the gaps"
    );
    for _ in 0..200 {
        pacer.succeeded();
    }
    let began = Instant::now();
    // The gap that the last send left behind, and no more.
    times(&pacer, 10).await;
    assert!(
        began.elapsed() <= Duration::from_secs(1),
        "successes close the gaps again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_longer_pause_is_not_shortened() {
    let pacer = pacer(vec![window("requests", 6000, 60)], false);
    pacer.pause(Duration::from_secs(60));
    pacer.pause(Duration::from_secs(1));
    assert!(times(&pacer, 1).await[0] >= Duration::from_secs(60));
}

/// Who already waits is stopped too, and so is who waits for another reason.
#[tokio::test(start_paused = true)]
async fn a_pause_reaches_who_is_waiting_already() {
    let pacer = pacer(vec![window("requests", 60, 60)], false);
    let waiting = {
        let pacer = Arc::clone(&pacer);
        tokio::spawn(async move { times(&pacer, 3).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    pacer.pause(Duration::from_secs(20));
    let times = waiting.await.unwrap();
    assert!(times[1] >= Duration::from_millis(20_500), "{times:?}");
    assert!(times[2] - times[1] >= Duration::from_millis(980), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_of_the_service_counts_always() {
    for raise in [false, true] {
        let pacer = pacer(vec![window("requests", 600, 60)], raise);
        pacer.learn(&report(60));
        assert!(smallest_gap(&times(&pacer, 5).await) >= Duration::from_millis(980));
    }
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_of_the_service_counts_only_if_allowed() {
    for (raise, least) in [(false, 980), (true, 80)] {
        let pacer = pacer(vec![window("requests", 60, 60)], raise);
        pacer.learn(&report(600));
        let gap = smallest_gap(&times(&pacer, 5).await);
        assert!(gap >= Duration::from_millis(least), "{gap:?}");
        assert!(
            raise != (gap > Duration::from_millis(500)),
            "raise is {raise}, the gap {gap:?}"
        );
        if !raise {
            let slowed = pacer.slowed();
            assert_eq!(
                (slowed[0].configured, slowed[0].reported),
                (60, Some(600)),
                "the summary can say so"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_only_the_service_knows_counts() {
    let pacer = pacer(Vec::new(), false);
    pacer.learn(&report(60));
    assert!(smallest_gap(&times(&pacer, 5).await) >= Duration::from_millis(980));
}

#[tokio::test(start_paused = true)]
async fn nothing_left_means_wait_for_the_reset() {
    let spent = RateReport {
        remaining: Some(0),
        reset: Some(Duration::from_secs(20)),
        ..report(60)
    };
    for windows in [vec![window("requests", 60, 60)], Vec::new()] {
        let known = !windows.is_empty();
        let pacer = pacer(windows, false);
        pacer.learn(&spent);
        let first = times(&pacer, 1).await[0];
        assert!(
            first >= Duration::from_secs(20),
            "configured: {known}; it waited only {first:?}"
        );
    }
}

/// Headers speak of minutes; a ceiling per second or per hour is another thing.
#[tokio::test(start_paused = true)]
async fn a_report_per_minute_says_nothing_about_hours_and_seconds() {
    let hourly = pacer(vec![window("requests", 3600, 3600)], false);
    hourly.learn(&report(60));
    let last = *times(&hourly, 3).await.last().unwrap();
    assert!(
        last <= Duration::from_secs(5),
        "60 a minute became 60 an hour: three sends took {last:?}"
    );

    let second = pacer(vec![window("requests", 2, 1), window("requests", 60, 60)], true);
    second.learn(&report(600));
    let gap = smallest_gap(&times(&second, 5).await);
    assert!(
        gap >= Duration::from_millis(480),
        "2 a second were raised to 600 a second: {gap:?}"
    );
}

/// A place that is given back must not undo what the service said meanwhile.
#[tokio::test(start_paused = true)]
async fn giving_a_place_back_does_not_end_a_wait_for_the_reset() {
    let pacer = pacer(vec![window("requests", 60, 60)], false);
    let grant = pacer.wait(&Units::default()).await.unwrap();
    pacer.learn(&RateReport {
        remaining: Some(0),
        reset: Some(Duration::from_secs(20)),
        ..report(60)
    });
    drop(grant);
    let first = times(&pacer, 1).await[0];
    assert!(first >= Duration::from_secs(20), "it waited only {first:?}");
}

/// A call that counts in none of the known limits was refused for pace all the same.
#[tokio::test(start_paused = true)]
async fn after_a_pause_uncounted_calls_do_not_burst_either() {
    let pacer = pacer(vec![window("images", 60, 60)], false);
    pacer.pause(Duration::from_secs(5));
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..5 {
        pacer
            .wait(&Units::default().with("images", 0))
            .await
            .unwrap()
            .spend();
        times.push(began.elapsed());
    }
    assert!(
        smallest_gap(&times) >= Duration::from_millis(50),
        "they would all be refused again: {times:?}"
    );
}

/// Also a place that is given back late, when the next in line already has its own.
#[tokio::test(start_paused = true)]
async fn a_place_given_back_late_counts_in_no_window() {
    let pacer = pacer(vec![window("requests", 2, 60)], false);
    let wasted = pacer.wait(&Units::default()).await.unwrap();
    pacer.wait(&Units::default()).await.unwrap().spend();
    drop(wasted);
    let times = times(&pacer, 1).await;
    assert!(
        times[0] <= Duration::from_secs(31),
        "the window holds one of two, and it waited {times:?}"
    );
}
