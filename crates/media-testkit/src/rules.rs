//! What must hold after every play, and what must hold after a certain fault.

use http::HeaderValue;
use media_core::{Charge, ErrorKind, MediaRequest, MediaResult};
use url::Url;

use crate::cases::{Case, Cases};
use crate::fault::{Fault, Trouble, WAIT};
use crate::finding::Findings;
use crate::play::{Make, Play};

/// Plays a case as recorded; says for each call that it makes how many values are in its answer.
pub(crate) async fn as_recorded(
    make: Make<'_>,
    cases: &Cases,
    case: &Case,
    found: &mut Findings,
) -> Vec<usize> {
    let mut play = Play::new(make, cases, &case.exchanges, None);
    play.run(std::slice::from_ref(&case.request)).await;
    let place = format!("{:?} as recorded", case.name);
    always(&play, cases, std::slice::from_ref(&case.request), &place, found);
    for result in &play.results {
        if let Err(error) = &result.outcome {
            let text = error.full().replace(&cases.key, "KEY");
            found.add(
                "a recorded success fails",
                format!("{place}: {}: {text}", error.kind()),
            );
        }
        if result.attempts != 1 {
            found.add(
                "a recorded success is begun more than once",
                format!("{place}: {} times", result.attempts),
            );
        }
    }
    let arrivals = play.arrivals();
    for stray in arrivals.iter().filter(|call| call.exchange.is_none()) {
        found.add(
            "it makes a call that is not recorded",
            format!("{place}: {}", stray.shown),
        );
    }
    for (index, exchange) in case.exchanges.iter().enumerate() {
        if !arrivals.iter().any(|call| call.exchange == Some(index)) {
            found.add(
                "it never makes a call that is recorded",
                format!("{place}: {exchange}"),
            );
        }
    }
    let paid = arrivals.iter().filter(|call| call.paid).count();
    if play.notes.purchases().len() > paid {
        found.add(
            "it sends as a purchase what is none",
            format!("{place}: one of its calls lacks `buys`, or is free"),
        );
    }
    arrivals.iter().map(|call| call.places).collect()
}

/// Plays a case with a fault.
pub(crate) async fn with_fault(
    make: Make<'_>,
    cases: &Cases,
    case: &Case,
    trouble: Trouble,
    found: &mut Findings,
) {
    let mut play = Play::new(make, cases, &case.exchanges, Some(trouble));
    play.run(std::slice::from_ref(&case.request)).await;
    let place = format!("{:?} with {trouble}", case.name);
    always(&play, cases, std::slice::from_ref(&case.request), &place, found);
    if let [result] = play.results.as_slice() {
        money(&play, result, &place, found);
        if trouble.call == 0 {
            first_call(&play, result, trouble, &place, found);
        }
    }
}

/// Plays three of a case at once, with a fault from the first or from the second call on.
pub(crate) async fn several(make: Make<'_>, cases: &Cases, case: &Case, fault: Fault, found: &mut Findings) {
    let extension = case
        .request
        .output_path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let copy = |number: u32| {
        let mut request = case.request.clone().variant(number).id(format!("copy {number}"));
        request.output_path = format!("copy-{number}.{extension}").into();
        request
    };
    let requests: Vec<MediaRequest> = (1..=3).map(copy).collect();
    for call in [0, 1] {
        let trouble = Trouble {
            fault,
            call,
            lasting: true,
        };
        let mut play = Play::new(make, cases, &case.exchanges, Some(trouble));
        play.run(&requests).await;
        always(
            &play,
            cases,
            &requests,
            &format!("three of {:?} with {trouble}", case.name),
            found,
        );
    }
}

/// Tries `test_connection`, if there are recorded calls of it.
pub(crate) async fn connection(make: Make<'_>, cases: &Cases, found: &mut Findings) {
    if cases.connection.is_empty() {
        return;
    }
    let bad_key = Trouble {
        fault: Fault::BadKey,
        call: 0,
        lasting: true,
    };
    for trouble in [None, Some(bad_key)] {
        let mut play = Play::new(make, cases, &cases.connection, trouble);
        let answer = play.connect().await;
        let place = if trouble.is_some() {
            "the connection test with a bad key"
        } else {
            "the connection test"
        };
        match (answer, trouble) {
            (None, _) => found.add("it never ends", place),
            (Some(Err(error)), None) => found.add(
                "the connection test fails",
                error.full().replace(&cases.key, "KEY"),
            ),
            (Some(Ok(_)), Some(_)) => found.add("a refused key passes the connection test", place),
            (Some(Err(error)), Some(_)) => {
                if error.kind() != ErrorKind::Authentication {
                    found.add(
                        "401 is not understood as a refused key",
                        format!("{place}: {}", error.kind()),
                    );
                }
                if format!("{error:?} {}", error.full()).contains(&cases.key) {
                    found.add("an error shows the key", place);
                }
            }
            (Some(Ok(_)), None) => {}
        }
        if !play.notes.all().is_empty() || play.arrivals().iter().any(|call| call.paid) {
            found.add("the connection test buys", place);
        }
        key_stays_home(&play, cases, place, found);
    }
}

/// What holds whatever happened.
fn always(play: &Play, cases: &Cases, requests: &[MediaRequest], place: &str, found: &mut Findings) {
    if !play.ended {
        return found.add("it never ends", place);
    }
    let mut asked: Vec<_> = requests.iter().map(|request| request.id.clone()).collect();
    let mut answered: Vec<_> = play
        .results
        .iter()
        .map(|result| result.request.id.clone())
        .collect();
    asked.sort();
    answered.sort();
    if asked != answered {
        found.add(
            "a request does not get exactly one answer",
            format!("{place}: {answered:?} for {asked:?}"),
        );
    }
    let mut wanted = Vec::new();
    for result in &play.results {
        match &result.outcome {
            Ok(file) => wanted.extend(
                file.path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            ),
            Err(error) => {
                if error.charge().is_none() {
                    found.add("a failure does not say what it may have cost", place);
                }
                if format!("{error} {error:?} {} {:?}", error.full(), error.next()).contains(&cases.key) {
                    found.add("an error shows the key", place);
                }
            }
        }
        if format!("{result:?}").contains(&cases.key) {
            found.add("a result shows the key", place);
        }
    }
    wanted.sort();
    if wanted != play.files() {
        found.add(
            "the folder holds something else than the files that were made",
            format!("{place}: {:?}", play.files()),
        );
    }
    if format!("{:?}", play.notes.all()).contains(&cases.key) {
        found.add("the journal shows the key", place);
    }
    let arrivals = play.arrivals();
    for (before, call) in arrivals.iter().filter(|call| call.paid).enumerate() {
        if call.announced.len() <= before {
            found.add(
                "a purchase is not in the journal before it is sent",
                format!("{place}: {}", call.shown),
            );
        }
    }
    key_stays_home(play, cases, place, found);
}

fn key_stays_home(play: &Play, cases: &Cases, place: &str, found: &mut Findings) {
    let Ok(home) = Url::parse(&cases.base_url) else {
        return found.add("the address of the cases is none", &cases.base_url);
    };
    for (sent, call) in play.sent().iter().zip(play.arrivals()) {
        let key = cases.key.as_bytes();
        let within = |bytes: &[u8]| bytes.windows(key.len()).any(|part| part == key);
        let address = sent.head.uri().to_string();
        let carries = within(address.as_bytes())
            || within(&sent.body)
            || sent
                .head
                .headers()
                .values()
                .map(HeaderValue::as_bytes)
                .any(within);
        let at_home = Url::parse(&address).is_ok_and(|address| address.origin() == home.origin());
        if carries && !at_home {
            found.add("the key goes to another host", format!("{place}: {}", call.shown));
        }
    }
}

/// What a single request may say about its money, and whether it was bought again.
fn money(play: &Play, result: &MediaResult, place: &str, found: &mut Findings) {
    let arrivals = play.arrivals();
    let claims_free = result
        .outcome
        .as_ref()
        .err()
        .is_some_and(|error| error.charge() == Some(Charge::None));
    let may_claim = play.provider.info().capabilities.free;
    for call in arrivals.iter().filter(|call| call.paid) {
        match call.fault {
            None if claims_free && !may_claim => {
                found.add(
                    "a purchase that was answered is called free",
                    format!("{place}: {}", call.shown),
                );
            }
            Some(fault) if fault.leaves_doubt() => {
                if claims_free && !may_claim {
                    found.add(
                        "a purchase whose answer says nothing is called free",
                        format!("{place}: {}", call.shown),
                    );
                }
                let keys = call.announced.last().cloned().unwrap_or_default();
                let later = play
                    .notes
                    .purchases()
                    .into_iter()
                    .skip(call.announced.len())
                    .flatten();
                if later.into_iter().any(|key| !keys.contains(&key)) {
                    found.add(
                        "it buys again while the first purchase may have been billed",
                        place,
                    );
                }
            }
            _ => {}
        }
    }
}

/// What a fault of the very first call must lead to.
fn first_call(play: &Play, result: &MediaResult, trouble: Trouble, place: &str, found: &mut Findings) {
    let calls = play.arrivals().len();
    let tries = play.provider.http().settings().retry.attempts;
    let kind = match trouble.fault {
        Fault::BadKey => ErrorKind::Authentication,
        Fault::TooFast => ErrorKind::RateLimited,
        Fault::NoConnection => ErrorKind::Network,
        _ => return,
    };
    if trouble.fault == Fault::BadKey && calls != 1 {
        found.add(
            "it goes on after its key was refused",
            format!("{place}: {calls} calls"),
        );
    }
    if trouble.fault == Fault::TooFast
        && let [first, second, ..] = play.sent().as_slice()
        && second.at - first.at < WAIT
    {
        found.add("it does not wait as long as it was asked to", place);
    }
    match &result.outcome {
        Ok(_) if trouble.lasting || trouble.fault == Fault::BadKey => {
            found.add("it succeeds where it cannot", place);
        }
        Ok(_) => {}
        Err(error) if !trouble.lasting && trouble.fault != Fault::BadKey && tries > 1 => {
            found.add(
                "it gives up after what passes by itself",
                format!("{place}: {}", error.kind()),
            );
        }
        Err(error) => {
            if error.kind() != kind {
                found.add(
                    "a plain failure is misunderstood",
                    format!("{place}: {} where {kind} is meant", error.kind()),
                );
            }
            if error.charge() != Some(Charge::None) {
                found.add("a refusal that bills nothing is not called free", place);
            }
        }
    }
}
