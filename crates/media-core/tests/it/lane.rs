//! The lane: who goes first, what stops it, and that every request gets exactly one answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media_core::http::{Recorded, Scripted};
use media_core::{Charge, ErrorKind, MediaRequest, MediaResult};
use serde_json::json;

use crate::support::{Lab, Mode, failure, gaps, link, links_for, png, tasks_in};

const SECOND: Duration = Duration::from_secs(1);

fn slow_media() -> Lab {
    Lab::new(Mode::Media, |_| Scripted::new(200, png()).after(SECOND))
}

/// Exactly one result for each of these requests.
fn assert_each_once(requests: &[MediaRequest], results: &[MediaResult]) {
    let mut asked: Vec<_> = requests.iter().map(|request| request.id.clone()).collect();
    let mut answered: Vec<_> = results.iter().map(|result| result.request.id.clone()).collect();
    asked.sort();
    answered.sort();
    assert_eq!(
        answered.len(),
        asked.len(),
        "{} requests, {} results",
        asked.len(),
        answered.len()
    );
    assert_eq!(answered, asked);
}

#[tokio::test(start_paused = true)]
async fn the_first_job_of_a_model_goes_alone() {
    let lab = slow_media().concurrency(8);
    let requests: Vec<_> = lab
        .images(12)
        .into_iter()
        .enumerate()
        .map(|(place, request)| request.param("model", if place < 6 { "one" } else { "two" }))
        .collect();
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    assert_each_once(&requests, &results);
    let sent = lab.sent();
    let since = |place: usize| sent[place].at - sent[0].at;
    assert!(
        since(1) >= SECOND,
        "the first one was not waited for: {:?}",
        gaps(&sent)
    );
    assert!(since(5) < SECOND * 2, "the others go together: {:?}", gaps(&sent));
    assert!(
        since(7) - since(6) >= SECOND,
        "nor the first one of the second model: {:?}",
        gaps(&sent)
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_at_once_than_allowed() {
    for most in [1, 3, 7] {
        let lab = slow_media().concurrency(most);
        let results = lab.client().generate_batch(lab.images(22)).collect().await;
        assert!(results.iter().all(|result| result.outcome.is_ok()));
        let sent = lab.sent();
        let at_once = |first: &Recorded| {
            sent.iter()
                .filter(|other| other.at >= first.at && other.at < first.at + SECOND)
                .count()
        };
        let found = sent.iter().map(at_once).max().unwrap();
        assert_eq!(found, most, "{found} calls at once");
    }
}

/// One key that is refused costs one refusal, not a lane full.
#[tokio::test(start_paused = true)]
async fn what_would_stop_everybody_stops_the_lane() {
    for (answer, kind) in [
        (Scripted::new(401, "no such key"), ErrorKind::Authentication),
        (Scripted::new(402, "no money"), ErrorKind::InsufficientCredit),
        (Scripted::new(403, "verify first"), ErrorKind::PermissionDenied),
        (
            Scripted::new(200, json!({"error": "credit"}).to_string()),
            ErrorKind::InsufficientCredit,
        ),
    ] {
        let lab = Lab::new(Mode::Link, move |_| answer.clone()).concurrency(5);
        let requests = lab.images(20);
        let results = lab.client().generate_batch(requests.clone()).collect().await;
        assert_eq!(lab.sent().len(), 1, "{kind}");
        assert_each_once(&requests, &results);
        for result in &results {
            assert_eq!(failure(result), (kind, Charge::None));
        }
        let begun: Vec<u32> = results.iter().map(|result| result.attempts).collect();
        assert_eq!(begun.iter().sum::<u32>(), 1, "only one was begun: {begun:?}");
        assert!(lab.files().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_in_the_middle_stops_the_rest() {
    let count = AtomicUsize::new(0);
    let lab = Lab::new(Mode::Media, move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0..5 => Scripted::new(200, png()).after(SECOND),
        _ => Scripted::new(401, "revoked").after(SECOND),
    })
    .concurrency(2);
    let requests = lab.images(30);
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert_each_once(&requests, &results);
    assert_eq!(results.iter().filter(|result| result.outcome.is_ok()).count(), 5);
    assert!(lab.sent().len() <= 7, "{} sends", lab.sent().len());
}

/// What waits to be begun again must not be bought after somebody heard that nothing more is to be.
#[tokio::test(start_paused = true)]
async fn nothing_is_begun_again_once_the_lane_is_halted() {
    let busy = || Scripted::new(200, json!({"error": "busy"}).to_string());
    let refused = || Scripted::new(402, "no money").after(SECOND / 10);
    let ok = || Scripted::new(200, png());
    let answers = vec![link(), ok(), busy(), refused(), link(), ok()];
    let lab = Lab::script(Mode::Link, answers).concurrency(2);
    let requests = lab.images(3);
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert_each_once(&requests, &results);
    assert_eq!(
        lab.sent().len(),
        4,
        "one and its download, the busy one, the refused one"
    );
    for result in results.iter().filter(|result| result.outcome.is_err()) {
        assert_eq!(failure(result).1, Charge::None);
    }
}

/// Nor must what waits to be sent again, or for its turn, below the lane.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_again_once_the_lane_is_halted() {
    let ok = || Scripted::new(200, png());
    let turned_away = || Scripted::new(429, "later").header("retry-after", "5");
    let refused = || Scripted::new(402, "no money").after(SECOND / 10);
    for (mode, answers) in [
        (Mode::Media, vec![ok(), turned_away(), refused()]),
        // Calls of a day's quota are left for a later run.
        (Mode::Word, vec![link(), ok(), turned_away(), refused()]),
    ] {
        let sends = answers.len();
        let lab = Lab::script(mode, answers).concurrency(2);
        let requests = lab.images(3);
        let results = lab.client().generate_batch(requests.clone()).collect().await;
        assert_each_once(&requests, &results);
        assert_eq!(
            lab.sent().len(),
            sends,
            "{mode:?}: what was turned away was sent again"
        );
        let failed = results.iter().filter(|result| result.outcome.is_err());
        let mut failed: Vec<_> = failed.map(failure).collect();
        failed.sort_by_key(|(kind, _)| *kind == ErrorKind::Cancelled);
        let expected = [ErrorKind::InsufficientCredit, ErrorKind::Cancelled];
        assert_eq!(failed, expected.map(|kind| (kind, Charge::None)), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_failures_stop_only_themselves() {
    let lab = Lab::new(Mode::Media, |request| {
        match request.body().ends_with(b"3.png\"}]") {
            true => Scripted::new(400, "not this one"),
            false => Scripted::new(200, png()),
        }
    })
    .concurrency(3);
    let results = lab.client().generate_batch(lab.images(10)).collect().await;
    let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failure(failed[0]), (ErrorKind::InvalidRequest, Charge::None));
}

/// What was sent is finished and delivered; everything else is answered as stopped, for nothing.
#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_was_sent_finish() {
    for mode in [
        Mode::Media,
        Mode::Poll {
            serving: true,
            counted: false,
        },
    ] {
        let lab = Lab::new(mode, move |request| {
            let answer = match request.uri().path() {
                "/v1/submit" => Scripted::new(200, json!({"id": "7"}).to_string()),
                "/v1/poll/7" => link(),
                _ => Scripted::new(200, png()),
            };
            answer.after(SECOND)
        })
        .concurrency(3);
        let requests = lab.images(20);
        let stop = lab.stop().clone();
        let running = tokio::spawn(lab.client().generate_batch(requests.clone()).collect());
        tokio::time::sleep(Duration::from_millis(2500)).await;
        stop.ask();
        let results = running.await.unwrap();
        let bought = lab.keys().len();
        assert!((1..=7).contains(&bought), "{bought} were bought");
        let made = results.iter().filter(|result| result.outcome.is_ok()).count();
        assert_eq!(made, bought, "{mode:?}: what was sent is finished");
        assert_each_once(&requests, &results);
        for result in results.iter().filter(|result| result.outcome.is_err()) {
            assert_eq!(failure(result), (ErrorKind::Cancelled, Charge::None));
            assert_eq!(result.attempts, 0, "it was never begun");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_waits_for_the_pace() {
    let mut lab = slow_media().concurrency(4);
    let limits = media_core::GroupLimits::default().with("requests_per_hour", 2);
    lab.settings.limits.groups.insert("image".into(), limits);
    let stop = lab.stop().clone();
    let running = tokio::spawn(lab.client().generate_batch(lab.images(4)).collect());
    tokio::time::sleep(Duration::from_secs(60)).await;
    stop.ask();
    let results = tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .expect("it ends soon")
        .unwrap();
    assert_eq!(results.len(), 4);
    assert_eq!(lab.sent().len(), 1);
    let stopped = results.iter().filter(|result| result.outcome.is_err());
    assert!(
        stopped
            .map(failure)
            .all(|(kind, charge)| (kind, charge) == (ErrorKind::Cancelled, Charge::None))
    );
}

/// Nobody reads the results any more: what has not been sent stays unsent, as `generate_batch` promises.
#[tokio::test(start_paused = true)]
async fn dropping_the_results_stops_what_has_not_been_sent() {
    let lab = slow_media().concurrency(2);
    let mut results = lab.client().generate_batch(lab.images(200));
    results.next().await.unwrap();
    drop(results);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(
        lab.sent().len() <= 8,
        "{} were bought for nobody",
        lab.sent().len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_forgets_a_job_still_answers_it() {
    let lab = slow_media().concurrency(2);
    let mut requests = lab.images(5);
    requests[0].content = "forget".into();
    requests[3].content = "forget".into();
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert_each_once(&requests, &results);
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.outcome.is_err())
        .map(failure)
        .collect();
    assert_eq!(failed, [(ErrorKind::Cancelled, Charge::None); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_forgets_half_a_batch_still_answers_it() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/v1/batch" => Scripted::new(200, json!({"tasks": [{"url": crate::support::FILE}]}).to_string()),
        _ => Scripted::new(200, png()),
    })
    .batches(4);
    let requests = lab.images(13);
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert_each_once(&requests, &results);
    assert_eq!(
        results.iter().filter(|result| result.outcome.is_ok()).count(),
        lab.keys().len()
    );
    let forgotten = results
        .iter()
        .filter(|result| result.outcome.is_err())
        .map(failure);
    assert!(
        forgotten.into_iter().all(|(_, charge)| charge == Charge::Unknown),
        "it may have been billed"
    );
}

/// Alone as the first of its model, among others, and in the offline check.
#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_still_answers_every_job() {
    for (place, content) in [
        (0, "panic"),
        (3, "panic"),
        (0, "panic in check"),
        (3, "panic in check"),
    ] {
        let lab = slow_media().concurrency(2);
        let mut requests = lab.images(6);
        requests[place].content = content.into();
        let results = lab.client().generate_batch(requests.clone()).collect().await;
        assert_each_once(&requests, &results);
        let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
        assert_eq!(failed.len(), 1, "{content} at {place}");
        assert_eq!(failed[0].request.content, content);
        assert_eq!(failure(failed[0]).1, Charge::None, "nothing was sent for it");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_full_when_there_is_enough_and_never_too_large() {
    let lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/v1/batch" => links_for(request).after(SECOND),
        _ => Scripted::new(200, png()),
    })
    .batches(5);
    let requests = lab.images(41);
    let results = lab.client().generate_batch(requests.clone()).collect().await;
    assert_each_once(&requests, &results);
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    let calls: Vec<_> = lab
        .sent()
        .into_iter()
        .filter(|sent| sent.head.uri().path() == "/v1/batch")
        .collect();
    let sizes: Vec<_> = calls.iter().map(|sent| tasks_in(&sent.body)).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 41);
    assert!(sizes.iter().all(|size| *size <= 5), "{sizes:?}");
    assert_eq!(sizes[0], 1, "the first one goes alone");
    assert!(
        sizes.len() <= 12,
        "the service was busy and orders were there, yet batches stayed small: {sizes:?}"
    );
}

/// However long the list and however slow its reader: few jobs are begun, and few requests taken from the list.
#[tokio::test(start_paused = true)]
async fn a_long_list_is_not_held_in_memory() {
    const MANY: usize = 10_000;
    const RESULTS_AHEAD: usize = 32;
    for (concurrency, batch) in [(3, 1), (4, 5)] {
        let mut lab = Lab::new(Mode::Link, |_| Scripted::new(404, "")).concurrency(concurrency);
        if batch > 1 {
            lab = lab.batches(batch);
        }
        let taken = Arc::new(AtomicUsize::new(0));
        let (counter, request) = (Arc::clone(&taken), lab.image("x.png"));
        let list = (0..MANY).map(move |place| {
            counter.fetch_add(1, Ordering::SeqCst);
            request.clone().id(place.to_string())
        });
        let mut results = lab.client().generate_batch(list);
        let room = concurrency * batch * 2;
        let mut seen = BTreeMap::new();
        // A reader that is slow at first.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        while let Some(result) = results.next().await {
            let begun = lab.checks.load(Ordering::SeqCst) - seen.len();
            assert!(
                begun <= room + RESULTS_AHEAD + 1,
                "{begun} begun with room for {room}"
            );
            let held = taken.load(Ordering::SeqCst) - seen.len();
            assert!(
                held <= room + RESULTS_AHEAD + batch + 4,
                "{held} of the list are held"
            );
            assert!(seen.insert(result.request.id, ()).is_none());
        }
        assert_eq!(seen.len(), MANY);
    }
}

/// Two clients of one account pace together only if they share their way to the service; one paused does not hold
/// the other.
#[tokio::test(start_paused = true)]
async fn one_paused_provider_does_not_block_another() {
    let paused = Lab::script(
        Mode::Media,
        vec![Scripted::new(429, "").header("retry-after", "600")],
    );
    let other = slow_media();
    let began = tokio::time::Instant::now();
    let waiting = tokio::spawn(paused.client().generate_batch(paused.images(1)).collect());
    assert!(other.generate(other.image("dog.png")).await.outcome.is_ok());
    assert!(began.elapsed() < Duration::from_secs(10));
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn results_come_as_they_arrive() {
    let lab = Lab::new(Mode::Media, |request| {
        let last = request.body().ends_with(b"00001.png\"}]");
        Scripted::new(200, png()).after(if last { Duration::from_secs(100) } else { SECOND })
    })
    .concurrency(4);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut results = lab.client().generate_batch(lab.images(4));
    while let Some(result) = results.next().await {
        order
            .lock()
            .unwrap()
            .push(result.request.output_path.file_name().unwrap().to_owned());
    }
    assert_eq!(order.lock().unwrap().last().unwrap().to_str(), Some("00001.png"));
}
