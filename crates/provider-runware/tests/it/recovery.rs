//! Crashed runs and dead links: what was bought is fetched, and nothing is bought.

use media_core::{Charge, CostBasis, ErrorKind, Link, Order, Prior};
use provider_runware::Mode;
use serde_json::{Value, json};

use crate::answers::fake;
use crate::fake::{Base, Fake, Reply, WEBP, done, error, failed, key, kind, processing, run};

fn archived(task: &Value, response: &Value) -> Value {
    json!({"taskType": "getTaskDetails", "taskUUID": key(task), "request": [{}], "response": response})
}

#[tokio::test]
async fn a_dead_link_is_replaced_from_the_archive() {
    for mode in [Mode::Sync, Mode::Async] {
        let fake = fake!(|base, _call, tasks| {
            let mut dead = done(base, &tasks[0]);
            dead["imageURL"] = format!("{base}/gone/{}.webp", key(&tasks[0])).into();
            match kind(tasks) {
                "getTaskDetails" => Reply::data(vec![archived(
                    &tasks[0],
                    &json!({"data": [done(base, &tasks[0])]}),
                )]),
                "getResponse" if mode == Mode::Sync => Reply::data(vec![]),
                "imageInference" if mode == Mode::Async => {
                    Reply::data(vec![json!({"taskUUID": key(&tasks[0])})])
                }
                _ => Reply::data(vec![dead]),
            }
        });
        let result = fake.one(|config| config.delivery.mode = mode).await;
        assert!(result.outcome.is_ok(), "{mode:?} {:?}", result.outcome);
        assert_eq!(result.cost.unwrap().basis, CostBasis::Reported);
        assert_eq!(fake.keys("imageInference").len(), 1);
        assert_eq!(fake.files(), ["dog.webp"]);
    }
}

#[tokio::test]
async fn a_link_that_stays_dead_was_paid_for() {
    let fake = fake!(|base, _call, tasks| {
        let mut dead = done(base, &tasks[0]);
        dead["imageURL"] = format!("{base}/gone/x.webp").into();
        match kind(tasks) {
            "getTaskDetails" => Reply::data(vec![archived(&tasks[0], &json!({"data": [dead]}))]),
            _ => Reply::data(vec![dead]),
        }
    });
    let error = fake
        .one(|config| config.delivery.mode = Mode::Sync)
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.charge(), Some(Charge::Certain));
    assert_eq!(fake.keys("imageInference").len(), 1);
    assert!(fake.files().is_empty());
}

fn earlier(fake: &Fake, prior: Prior) -> Vec<Order> {
    vec![Order {
        prior,
        ..Order::new(0, fake.picture("dog"))
    }]
}

/// The process was killed after its send; the next one asks with the same key.
#[tokio::test]
async fn a_killed_run_fetches_what_it_had_sent() {
    let fake = fake!(|base, call, tasks| match (call, kind(tasks)) {
        (1, "getResponse") => Reply::data(vec![processing(&tasks[0])]),
        (_, "getResponse") => Reply::data(vec![done(base, &tasks[0])]),
        _ => Reply::text(500, "nothing else is asked"),
    });
    let results = run(
        &fake.client(|_| ()),
        earlier(
            &fake,
            Prior::Sent {
                ago: None,
                batch: None,
            },
        ),
    )
    .await;
    assert_eq!(
        std::fs::read(&results[0].outcome.as_ref().unwrap().path).unwrap(),
        WEBP
    );
    assert!(fake.keys("imageInference").is_empty());
}

#[tokio::test]
async fn what_nobody_knows_stays_unknown_after_two_rounds() {
    for missing in [true, false] {
        let fake = fake!(|_base, _call, tasks| match missing {
            true => Reply::errors(404, vec![error("taskNotFound", &tasks[0])]),
            false => Reply::data(vec![]),
        });
        let results = run(
            &fake.client(|_| ()),
            earlier(
                &fake,
                Prior::Sent {
                    ago: None,
                    batch: None,
                },
            ),
        )
        .await;
        let error = results[0].outcome.as_ref().unwrap_err();
        assert_eq!(error.charge(), Some(Charge::Unknown));
        assert!(fake.keys("imageInference").is_empty());
        assert_eq!(
            (fake.keys("getResponse").len(), fake.keys("getTaskDetails").len()),
            (2, 2)
        );
    }
}

/// The service says of this very key that it failed, and failures are free: the doubt is over, and it is made anew.
#[tokio::test]
async fn what_is_known_to_have_failed_is_made_anew_under_a_new_key() {
    let fake = fake!(|base, _call, tasks| match kind(tasks) {
        "imageInference" => Reply::data(vec![done(base, &tasks[0])]),
        _ => Reply::errors(200, vec![failed("providerError", &tasks[0])]),
    });
    let results = run(
        &fake.client(|_| ()),
        earlier(
            &fake,
            Prior::Sent {
                ago: None,
                batch: None,
            },
        ),
    )
    .await;
    assert!(results[0].outcome.is_ok(), "{results:?}");
    assert_eq!(results[0].attempts, 2);
    assert_eq!(fake.keys("imageInference").len(), 1);
}

#[tokio::test]
async fn a_recovery_waits_only_a_little_for_what_is_in_progress() {
    let fake = fake!(|_base, _call, tasks| match kind(tasks) {
        "getResponse" => Reply::data(vec![processing(&tasks[0])]),
        _ => Reply::text(500, "nothing else is asked"),
    });
    let results = run(
        &fake.client(|_| ()),
        earlier(
            &fake,
            Prior::Sent {
                ago: None,
                batch: None,
            },
        ),
    )
    .await;
    assert_eq!(
        results[0].outcome.as_ref().unwrap_err().charge(),
        Some(Charge::Unknown)
    );
    let polls = fake.keys("getResponse").len();
    assert!((3..10).contains(&polls), "{polls}");
}

#[tokio::test]
async fn an_earlier_link_is_downloaded_without_asking() {
    let fake = fake!(|_base, _call, _tasks| Reply::text(500, "nothing is asked"));
    let link = Link::new(format!("{}/media/x.webp", fake.server.url()).parse().unwrap());
    let results = run(
        &fake.client(|_| ()),
        earlier(
            &fake,
            Prior::Linked {
                link,
                facts: Box::default(),
            },
        ),
    )
    .await;
    assert!(results[0].outcome.is_ok());
    assert!(fake.calls().is_empty());
}

/// What came in place of the picture is refused, and the money is known to be spent.
#[tokio::test]
async fn something_else_at_the_link_is_no_file() {
    let fake = fake!(|base, _call, tasks| {
        let mut item = done(base, &tasks[0]);
        item["imageURL"] = format!("{base}/page/x.webp").into();
        match kind(tasks) {
            "imageInference" => Reply::data(vec![item]),
            _ => Reply::data(vec![]),
        }
    });
    let mut fake = fake;
    let page = fake
        .server
        .mock("GET", "/page/x.webp")
        .with_body("<html>soon</html>")
        .create_async()
        .await;
    let error = fake
        .one(|config| config.delivery.mode = Mode::Sync)
        .await
        .outcome
        .unwrap_err();
    page.remove_async().await;
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::InvalidMedia, Some(Charge::Certain))
    );
    assert!(fake.files().is_empty());
}

/// The ledger is lost and nobody knows what was sent. What is under way, or could not be asked for, may be bought: nothing
/// is sent beside it.
#[tokio::test]
async fn what_may_be_under_way_is_not_bought_beside_it() {
    type Answer = fn(&Value) -> Reply;
    let cases: [(Answer, usize); 4] = [
        // The archive alone would know it.
        (
            |task| match kind(std::slice::from_ref(task)) {
                "getTaskDetails" => Reply::text(502, "<html>Bad gateway</html>"),
                _ => Reply::data(vec![]),
            },
            0,
        ),
        (|task| Reply::data(vec![processing(task)]), 0),
        (|_| Reply::text(502, "<html>Bad gateway</html>"), 0),
        (|_| Reply::data(vec![]), 1),
    ];
    for (answer, sends) in cases {
        let mut bought = false;
        let fake = fake!(|base, _call, tasks| {
            bought |= kind(tasks) == "imageInference";
            match kind(tasks) {
                "imageInference" => Reply::data(vec![json!({"taskUUID": key(&tasks[0])})]),
                _ if bought => Reply::data(vec![done(base, &tasks[0])]),
                _ => answer(&tasks[0]),
            }
        });
        let client = fake.client(|config| config.retry.attempts = 2.try_into().unwrap());
        let result = run(&client, earlier(&fake, Prior::Perhaps)).await.remove(0);
        assert_eq!(fake.keys("imageInference").len(), sends);
        match result.outcome {
            Ok(_) => assert_eq!(sends, 1),
            Err(error) => assert_eq!(
                (error.charge(), result.attempts),
                (Some(Charge::Unknown), 0),
                "{error}"
            ),
        }
    }
}
