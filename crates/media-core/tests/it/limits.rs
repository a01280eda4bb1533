//! Daily quotas: a job is begun only when the day has enough calls left for all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use media_core::http::Scripted;
use media_core::limit::{Clock, Day, DayUse, QuotaKey, QuotaStore, Units};
use media_core::{Charge, ErrorKind, GroupLimits, Result};
use serde_json::json;

use crate::support::{Lab, Mode, failure, gaps, link, png};

/// Noon of one day, for ever.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> jiff::Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }
}

fn today() -> Day {
    Day {
        start: "2026-11-22T22:00:00Z".parse().unwrap(),
        end: "2026-11-23T22:00:00Z".parse().unwrap(),
    }
}

fn daily(limit: u64) -> GroupLimits {
    let text = json!({"requests_per_day": limit, "day_starts": "22:00 UTC"});
    serde_json::from_value(text).unwrap()
}

fn word(request: &http::Request<bytes::Bytes>) -> Scripted {
    if request.uri().path() == "/one.png" {
        Scripted::new(200, png())
    } else {
        link()
    }
}

fn words(limit: u64) -> Lab {
    let mut lab = Lab::new(Mode::Word, |request| word(request).after(Duration::from_secs(1))).concurrency(4);
    lab.settings.limits.groups.insert("image".into(), daily(limit));
    lab.wiring.clock = Arc::new(Noon);
    lab
}

async fn used(lab: &Lab) -> u64 {
    used_of(lab, &today()).await
}

async fn used_of(lab: &Lab, day: &Day) -> u64 {
    let account = media_core::ApiKey::new(crate::support::KEY).account();
    lab.wiring
        .quota
        .used(
            &QuotaKey {
                account,
                bucket: "image.requests".into(),
            },
            day,
        )
        .await
        .unwrap()
        .units
}

#[tokio::test(start_paused = true)]
async fn a_day_admits_whole_jobs_only() {
    for limit in [1, 2, 3, 10, 11] {
        let lab = words(limit);
        let results = lab.client().generate_batch(lab.images(9)).collect().await;
        assert_eq!(results.len(), 9);
        let made = results.iter().filter(|result| result.outcome.is_ok()).count() as u64;
        assert_eq!(made, limit / 2, "{limit} calls a day, two per word");
        assert_eq!(
            lab.sent().len() as u64,
            made * 2,
            "no call of a word that cannot be finished"
        );
        assert_eq!(used(&lab).await, made * 2);
        for result in results.iter().filter(|result| result.outcome.is_err()) {
            // No day will ever allow it: waiting for one would be waiting for ever.
            let never = limit < 2;
            let kind = if never {
                ErrorKind::Config
            } else {
                ErrorKind::QuotaExhausted
            };
            assert_eq!(failure(result), (kind, Charge::None));
            let error = result.outcome.as_ref().unwrap_err();
            assert_eq!(error.resets_at(), (!never).then_some(today().end));
            assert!(error.next().is_some(), "it should say when to come back");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_client_of_the_same_account_finds_the_day_spent() {
    let lab = words(2);
    assert!(lab.generate(lab.image("one.png")).await.outcome.is_ok());
    let result = lab.generate(lab.image("two.png")).await;
    assert_eq!(failure(&result), (ErrorKind::QuotaExhausted, Charge::None));
}

/// Every call counts, those too that are refused for pace and sent again.
#[tokio::test(start_paused = true)]
async fn calls_sent_again_count() {
    let count = AtomicUsize::new(0);
    let mut lab = Lab::new(Mode::Word, move |request| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Scripted::new(429, ""),
            _ => word(request),
        }
    });
    lab.settings.limits.groups.insert("image".into(), daily(10));
    lab.wiring.clock = Arc::new(Noon);
    assert!(lab.generate(lab.image("dog.png")).await.outcome.is_ok());
    assert_eq!((lab.sent().len(), used(&lab).await), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_needed_goes_back() {
    let mut lab = Lab::new(Mode::Word, |_| Scripted::new(400, "no such word"));
    lab.settings.limits.groups.insert("image".into(), daily(10));
    lab.wiring.clock = Arc::new(Noon);
    // The ninth takes the last two and gives one back.
    let results = lab.client().generate_batch(lab.images(9)).collect().await;
    assert!(
        results
            .iter()
            .all(|result| failure(result) == (ErrorKind::InvalidRequest, Charge::None))
    );
    assert_eq!(used(&lab).await, 9);
}

fn spent_by_service() -> Scripted {
    Scripted::new(400, json!({"error": {"code": "quota"}}).to_string())
}

/// The service counts better than we do: its word ends the day, whatever we set aside and give back.
#[tokio::test(start_paused = true)]
async fn the_day_ends_when_the_service_says_so() {
    let mut lab = Lab::new(Mode::Word, |_| spent_by_service());
    lab.settings.limits.groups.insert("image".into(), daily(500));
    lab.wiring.clock = Arc::new(Noon);
    let results = lab.client().generate_batch(lab.images(5)).collect().await;
    assert_eq!(lab.sent().len(), 1);
    for result in &results {
        assert_eq!(failure(result), (ErrorKind::QuotaExhausted, Charge::None));
        assert_eq!(
            result.outcome.as_ref().unwrap_err().resets_at(),
            Some(today().end)
        );
    }
    assert_eq!(
        used(&lab).await,
        500,
        "what the job gives back does not reopen the day"
    );
}

/// What was set aside is used up: that the next one found too little left calls off nobody who waits for the pace.
#[tokio::test(start_paused = true)]
async fn who_has_calls_of_the_day_uses_them_when_the_day_is_spent() {
    let lab = paced_words(7, word);
    let results = lab.client().generate_batch(lab.images(8)).collect().await;
    let made = results.iter().filter(|result| result.outcome.is_ok()).count();
    let left = results.iter().filter(|result| result.outcome.is_err());
    let left: Vec<_> = left.map(failure).collect();
    assert_eq!((made, used(&lab).await), (3, 6));
    assert_eq!(left, [(ErrorKind::QuotaExhausted, Charge::None); 5]);
}

/// When the service says so, not even those are there.
#[tokio::test(start_paused = true)]
async fn a_day_that_the_service_ends_is_over_for_who_waits_for_the_pace() {
    let first = AtomicUsize::new(0);
    let mut lab = paced_words(500, move |request| {
        let is_first = first.fetch_add(1, Ordering::SeqCst) < 2;
        if is_first {
            word(request)
        } else {
            spent_by_service()
        }
    });
    lab.settings.limits.concurrency = 6.try_into().unwrap();
    let results = lab.client().generate_batch(lab.images(8)).collect().await;
    assert_eq!(results.iter().filter(|result| result.outcome.is_ok()).count(), 1);
    assert_eq!(lab.sent().len(), 3, "{:?}", lab.paths());
    for result in results.iter().filter(|result| result.outcome.is_err()) {
        assert_eq!(failure(result), (ErrorKind::QuotaExhausted, Charge::None));
    }
}

/// One call a second, and so many of the day.
fn paced_words(
    daily: u64,
    answer: impl Fn(&http::Request<bytes::Bytes>) -> Scripted + Send + Sync + 'static,
) -> Lab {
    let mut lab = Lab::new(Mode::Word, answer).concurrency(4);
    let limits = json!({"requests_per_day": daily, "day_starts": "22:00 UTC", "requests_per_minute": 60});
    lab.settings
        .limits
        .groups
        .insert("image".into(), serde_json::from_value(limits).unwrap());
    lab.wiring.clock = Arc::new(Noon);
    lab
}

/// A clock that goes on from here with the virtual time.
#[derive(Debug)]
struct From(jiff::Timestamp, tokio::time::Instant);

impl Clock for From {
    fn now(&self) -> jiff::Timestamp {
        self.0 + self.1.elapsed()
    }
}

/// What the service says of the day that ends must not cost the day that begins, whoever's clock is ahead.
#[tokio::test(start_paused = true)]
async fn the_end_of_one_day_costs_nothing_of_the_next() {
    let next = Day {
        start: today().end,
        end: "2026-11-24T22:00:00Z".parse().unwrap(),
    };
    let minute = next.start + Duration::from_secs(60);
    // Sent before midnight and answered after it; sent when the service's clock has not come to midnight yet.
    for (now, old, new, resets) in [
        ("2026-11-23T21:59:59.5Z", 500, 0, today().end),
        ("2026-11-23T22:00:05Z", 0, 1, minute),
        ("2026-11-23T22:01:05Z", 0, 500, next.end),
    ] {
        let mut lab = Lab::new(Mode::Word, |_| spent_by_service().after(Duration::from_secs(1)));
        lab.settings.limits.groups.insert("image".into(), daily(500));
        lab.wiring.clock = Arc::new(From(now.parse().unwrap(), tokio::time::Instant::now()));
        let results = lab.client().generate_batch(lab.images(1)).collect().await;
        assert_eq!(
            (used_of(&lab, &today()).await, used_of(&lab, &next).await),
            (old, new),
            "{now}"
        );
        assert_eq!(
            results[0].outcome.as_ref().unwrap_err().resets_at(),
            Some(resets),
            "{now}"
        );
    }
}

/// Its word may also come where a file was due; that stops the lane like any other.
#[tokio::test(start_paused = true)]
async fn a_spent_day_stops_the_lane_wherever_it_is_noticed() {
    let lab = Lab::new(Mode::Word, |request| {
        if request.uri().path() == "/one.png" {
            spent_by_service()
        } else {
            link()
        }
    });
    let results = lab.client().generate_batch(lab.images(6)).collect().await;
    assert!(
        results
            .iter()
            .all(|result| failure(result) == (ErrorKind::QuotaExhausted, Charge::None))
    );
    assert_eq!(lab.paths().len(), 2, "{:?}", lab.paths());
}

#[derive(Debug)]
struct Broken;

#[async_trait]
impl QuotaStore for Broken {
    async fn take(&self, _: &QuotaKey, _: &Day, _: u64, _: u64) -> Result<bool> {
        Err(media_core::Error::new(ErrorKind::Storage, "the disk is full"))
    }
    async fn give_back(&self, _: &QuotaKey, _: &Day, _: u64) -> Result<()> {
        Ok(())
    }
    async fn exhaust(&self, _: &QuotaKey, _: &Day, _: u64) -> Result<()> {
        Ok(())
    }
    async fn used(&self, _: &QuotaKey, _: &Day) -> Result<DayUse> {
        Ok(DayUse::default())
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_counted_is_not_sent() {
    let mut lab = words(100);
    lab.wiring.quota = Arc::new(Broken);
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::None));
    assert!(lab.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_keep_to_the_minute_and_downloads_that_are_not_counted_do_not() {
    let mut lab = Lab::new(Mode::Link, |request| match request.uri().path() {
        "/one.png" => Scripted::new(200, png()),
        _ => link(),
    })
    .concurrency(4);
    lab.settings.limits.groups.insert(
        "image".into(),
        GroupLimits::default().with("requests_per_minute", 60),
    );
    let results = lab.client().generate_batch(lab.images(10)).collect().await;
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    let calls: Vec<_> = lab
        .sent()
        .into_iter()
        .filter(|sent| sent.head.uri().path() == "/v1/make")
        .collect();
    assert!(
        gaps(&calls).iter().all(|gap| *gap >= Duration::from_millis(980)),
        "{:?}",
        gaps(&calls)
    );
    let all = lab.sent();
    assert!(all.last().unwrap().at - all[0].at < Duration::from_secs(11));
}

/// What an earlier process sent a moment ago is in the window too.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_begun_again_keeps_to_the_minute() {
    // The clock of a test begins at nothing, before which there is no moment.
    tokio::time::advance(Duration::from_secs(600)).await;
    let mut lab = Lab::new(Mode::Link, |_| link());
    lab.settings.limits.groups.insert(
        "image".into(),
        GroupLimits::default().with("requests_per_minute", 3),
    );
    let client = lab.client();
    let http = client.provider().http();
    for ago in [50, 30, 10] {
        http.sent_before("image", &Units::default(), Duration::from_secs(ago));
    }
    let began = tokio::time::Instant::now();
    client.generate_batch(lab.images(2)).collect().await;
    let waits: Vec<u64> = lab
        .sent()
        .iter()
        .filter(|sent| sent.head.uri().path() == "/v1/make")
        .map(|sent| (sent.at - began).as_secs())
        .collect();
    // Three a minute are one in twenty seconds, and the last was ten ago; the window is a hundredth longer than a minute.
    assert_eq!(waits, [10, 30], "{waits:?}");
}

/// What the answers' headers say is learnt, from the service and from nobody else.
#[tokio::test(start_paused = true)]
async fn limits_in_headers_are_believed_from_the_service_only() {
    for (from_service, slow) in [(true, true), (false, false)] {
        let lab = Lab::new(Mode::Link, move |request| {
            let file = request.uri().path() == "/one.png";
            let answer = if file { Scripted::new(200, png()) } else { link() };
            if file == from_service {
                answer
            } else {
                answer.header("x-ratelimit-limit-requests", "6")
            }
        });
        lab.client().generate_batch(lab.images(4)).collect().await;
        let sent = lab.sent();
        let took = sent.last().unwrap().at - sent[0].at;
        assert_eq!(took > Duration::from_secs(15), slow, "{took:?}");
    }
}

/// Two instances with one key at one service are one account: together they take what it allows, not twice that.
#[tokio::test(start_paused = true)]
async fn two_instances_of_one_account_share_its_limits() {
    let mut lab = Lab::new(Mode::Media, |_| {
        Scripted::new(200, png()).after(Duration::from_secs(2))
    })
    .concurrency(8);
    let limits = |per_minute| serde_json::from_value(json!({"requests_per_minute": per_minute})).unwrap();
    lab.settings.limits.groups.insert("image".into(), limits(600));
    let first = lab.client();
    // The second knows a lower limit, and fewer calls at once: these hold for both.
    lab.settings.limits.groups.insert("image".into(), limits(60));
    let lab = lab.concurrency(2);
    let second = lab.client();
    let (left, right): (Vec<_>, Vec<_>) = (0..12)
        .map(|number| lab.image(&format!("{number}.png")))
        .partition(|request| request.id.len() % 2 == 0);
    let (left, right) = tokio::join!(
        first.generate_batch(left).collect(),
        second.generate_batch(right).collect()
    );
    assert!(left.iter().chain(&right).all(|result| result.outcome.is_ok()));
    let sent = lab.sent();
    assert_eq!(sent.len(), 12);
    assert!(
        gaps(&sent).iter().all(|gap| *gap >= Duration::from_millis(990)),
        "{:?}",
        gaps(&sent)
    );
    // No three within the two seconds that a call takes.
    assert!(
        sent.windows(3)
            .all(|three| three[2].at - three[0].at >= Duration::from_secs(2))
    );
}
