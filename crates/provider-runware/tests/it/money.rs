//! What is sent again, under which key, and what is never sent again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use media_core::{Charge, ErrorKind, Span};
use provider_runware::Mode;
use serde_json::{Value, json};

use crate::answers::fake;
use crate::fake::{Base, Fake, Reply, ack, done, error, failed, key, kind, processing};

#[tokio::test]
async fn too_many_requests_repeats_exactly_the_same_send() {
    for (retry_after, status, with_uuid) in [
        ("", 429, true),
        ("0.2", 429, true),
        ("", 429, false),
        ("", 503, false),
    ] {
        let fake = fake!(|base, call, tasks| match call {
            1 if with_uuid => {
                let errors = tasks
                    .iter()
                    .map(|task| error("inferenceRateLimitExceeded", task))
                    .collect();
                Reply::errors(status, errors).retry_after(retry_after)
            }
            1 => Reply::text(status, "<html>busy</html>"),
            _ => Reply::data(vec![done(base, &tasks[0])]),
        });
        let began = Instant::now();
        let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
        assert!(result.outcome.is_ok());
        assert_eq!(result.attempts, 1);
        let calls = fake.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0], calls[1]);
        if !retry_after.is_empty() {
            assert!(began.elapsed() >= Duration::from_millis(200));
        }
    }
}

/// One of several is turned away for pace, beside others that are taken: everybody sends more slowly then.
#[tokio::test]
async fn a_part_that_is_turned_away_for_pace_slows_all_down() {
    for status in [200, 429] {
        let fake = fake!(|base, _call, tasks| match tasks {
            [taken, .., paced] => Reply::json(
                status,
                &json!({"data": [done(base, taken)], "errors": [error("rateLimitExceeded", paced)]}),
            ),
            tasks => Reply::data(tasks.iter().map(|task| done(base, task)).collect()),
        });
        let client = fake.client(|config| config.delivery.mode = Mode::Sync);
        // The first goes alone.
        let names = ["dog", "cat", "pig"];
        let results = fake
            .all(&client, names.map(|name| fake.picture(name)).to_vec())
            .await;
        assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
        assert_eq!(fake.calls().len(), 3);
        let began = Instant::now();
        for name in ["cow", "hen"] {
            assert!(client.generate(fake.picture(name)).await.outcome.is_ok());
        }
        assert!(began.elapsed() >= Duration::from_millis(80), "{status}");
    }
}

#[tokio::test]
async fn a_rate_limit_that_stays_is_a_failure_that_cost_nothing() {
    let fake = fake!(|_base, _call, tasks| Reply::errors(429, vec![error("rateLimitExceeded", &tasks[0])]));
    let error = fake.one(|_| ()).await.outcome.unwrap_err();
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::RateLimited, Some(Charge::None))
    );
    let keys = fake.keys("imageInference");
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|sent| *sent == keys[0]));
}

/// The answer to the submit is lost; the same send again shows by its conflict that the first arrived.
#[tokio::test]
async fn a_lost_answer_then_a_conflict_then_the_result() {
    for lost in ["<html>502</html>", r#"{"data":[{"taskUUID":"#] {
        for status in [200, 502] {
            let fake = fake!(|base, call, tasks| match (call, kind(tasks)) {
                (1, _) => Reply::text(status, lost),
                (_, "imageInference") => Reply::errors(400, vec![error("conflictTaskUUID", &tasks[0])]),
                _ => Reply::data(vec![done(base, &tasks[0])]),
            });
            let result = fake.one(|_| ()).await;
            assert!(result.outcome.is_ok(), "{lost} {:?}", result.outcome);
            assert_eq!(result.attempts, 1);
            let calls = fake.calls();
            assert_eq!(calls[0], calls[1], "the same send");
            assert_eq!(fake.keys("getResponse"), [[key(&calls[0][0])]]);
        }
    }
}

/// In sync mode the result of a task that arrived is in the archive, and getResponse does not know it.
#[tokio::test]
async fn a_conflict_in_sync_mode_is_looked_up_in_the_archive() {
    let fake = fake!(|base, call, tasks| match kind(tasks) {
        "imageInference" if call == 1 => Reply::text(504, "<html>"),
        "imageInference" => Reply::errors(400, vec![error("conflictTaskUUID", &tasks[0])]),
        "getTaskDetails" if call < 5 => Reply::data(vec![
            json!({"taskType": "getTaskDetails", "taskUUID": key(&tasks[0]),
            "request": [], "response": {"data": []}})
        ]),
        "getTaskDetails" => Reply::data(vec![
            json!({"taskType": "getTaskDetails", "taskUUID": key(&tasks[0]),
            "request": [], "response": {"data": [done(base, &tasks[0])]}})
        ]),
        _ => Reply::data(vec![]),
    });
    let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(result.cost.unwrap().usd.micros(), 600);
    assert_eq!(fake.keys("imageInference").len(), 2);
}

/// The mode was changed between two runs: what sync made is found all the same.
#[tokio::test]
async fn a_conflict_with_a_task_of_the_other_mode() {
    let fake = fake!(|base, _call, tasks| match kind(tasks) {
        "imageInference" => Reply::errors(400, vec![error("conflictTaskUUID", &tasks[0])]),
        "getTaskDetails" => Reply::data(vec![
            json!({"taskUUID": key(&tasks[0]), "response": {"data": [done(base, &tasks[0])]}})
        ]),
        _ => Reply::data(vec![]),
    });
    assert!(fake.one(|_| ()).await.outcome.is_ok());
}

#[tokio::test]
async fn a_failed_generation_begins_again_under_a_new_key() {
    for (sync, code) in [
        (true, "providerError"),
        (false, "providerError"),
        (false, "timeoutProvider"),
    ] {
        let mut submits = 0;
        let fake = fake!(|base, _call, tasks| {
            let submit = kind(tasks) == "imageInference";
            submits += u32::from(submit);
            match (submit, submits) {
                (true, 1) if sync => Reply::errors(500, vec![error(code, &tasks[0])]),
                (true, _) if sync => Reply::data(vec![done(base, &tasks[0])]),
                (true, _) => Reply::data(vec![ack(&tasks[0])]),
                (false, 1) => Reply::errors(504, vec![failed(code, &tasks[0])]),
                (false, _) => Reply::data(vec![done(base, &tasks[0])]),
            }
        });
        let result = fake
            .one(|config| config.delivery.mode = if sync { Mode::Sync } else { Mode::Async })
            .await;
        assert!(result.outcome.is_ok(), "{code} {:?}", result.outcome);
        assert_eq!(result.attempts, 2);
        let keys = fake.keys("imageInference");
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1]);
    }
}

/// A sync task that the service stopped waiting for goes on and is billed, so its key is asked again, never replaced.
#[tokio::test]
async fn a_sync_timeout_is_not_a_failed_generation() {
    let fake = fake!(|base, call, tasks| match kind(tasks) {
        "imageInference" if call == 1 => Reply::errors(504, vec![error("requestTimeout", &tasks[0])]),
        "imageInference" => Reply::errors(400, vec![error("conflictTaskUUID", &tasks[0])]),
        "getTaskDetails" => Reply::data(vec![
            json!({"taskUUID": key(&tasks[0]), "response": {"data": [done(base, &tasks[0])]}})
        ]),
        _ => Reply::data(vec![]),
    });
    let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
    assert!(result.outcome.is_ok());
    assert_eq!(result.attempts, 1);
    let keys = fake.keys("imageInference");
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

/// What the answer to a first send left open stays in doubt, whatever the second send is refused for.
#[tokio::test]
async fn a_refusal_after_a_task_was_left_open_proves_nothing() {
    for (status, code) in [(429, "rateLimitExceeded"), (402, "insufficientCredits")] {
        for is_told in [true, false] {
            let fake = fake!(|base, call, tasks| match kind(tasks) {
                "imageInference" if call == 1 && is_told =>
                    Reply::errors(504, vec![error("requestTimeout", &tasks[0])]),
                "imageInference" if call == 1 => Reply::data(vec![]),
                "imageInference" => Reply::errors(status, vec![error(code, &tasks[0])]),
                _ => Reply::data(vec![]),
            });
            let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
            let failure = result.outcome.unwrap_err();
            assert_eq!(failure.charge(), Some(Charge::Unknown), "{code}: {failure}");
            let keys = fake.keys("imageInference");
            assert!(
                keys.len() > 1 && keys.iter().all(|key| *key == keys[0]),
                "{keys:?}"
            );
        }
    }
}

/// Words without a code do not say that the task was not taken on: it is sent again under its key, and not bought anew.
#[tokio::test]
async fn mere_words_in_an_answer_prove_nothing() {
    let fake = fake!(|_base, _call, tasks| match kind(tasks) {
        "imageInference" => Reply::errors(
            200,
            vec![json!({"taskUUID": key(&tasks[0]), "message": "timed out, task goes on"})]
        ),
        _ => Reply::data(vec![]),
    });
    let failure = fake.one(|_| ()).await.outcome.unwrap_err();
    assert_eq!(failure.charge(), Some(Charge::Unknown), "{failure}");
    let keys = fake.keys("imageInference");
    assert!(
        keys.len() > 1 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_task_missing_from_the_answer_is_sent_again_alone() {
    let fake = fake!(|base, call, tasks| match (call, kind(tasks)) {
        // The second call holds the rest of the batch; its first task is forgotten, the others conflict.
        (3, "imageInference") => Reply::errors(
            400,
            tasks[1..]
                .iter()
                .map(|task| error("conflictTaskUUID", task))
                .collect()
        ),
        (_, "imageInference") => Reply::data(tasks.iter().map(ack).collect()),
        _ => Reply::data(tasks.iter().map(|task| done(base, task)).collect()),
    });
    let client = fake.client(|_| ());
    let results = fake
        .all(
            &client,
            ["dog", "cat", "pig", "cow"]
                .map(|name| fake.picture(name))
                .to_vec(),
        )
        .await;
    assert!(
        results
            .iter()
            .all(|result| result.outcome.is_ok() && result.attempts == 1)
    );
    let keys = fake.keys("imageInference");
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[2], [keys[1][0].clone()]);
}

#[tokio::test]
async fn a_server_that_refuses_the_whole_array_for_one_task() {
    let mut accepted: Vec<String> = Vec::new();
    let fake = fake!(|base, _call, tasks| match kind(tasks) {
        "imageInference" => {
            let known = tasks
                .iter()
                .find(|task| accepted.contains(&key(task)) || task["positivePrompt"] == "a cat");
            match known {
                Some(task) => Reply::errors(400, vec![error("conflictTaskUUID", task)]),
                None => {
                    accepted.extend(tasks.iter().map(key));
                    Reply::data(tasks.iter().map(ack).collect())
                }
            }
        }
        _ => Reply::data(tasks.iter().map(|task| done(base, task)).collect()),
    });
    let client = fake.client(|_| ());
    let results = fake
        .all(
            &client,
            ["dog", "cat", "pig", "cow"]
                .map(|name| fake.picture(name))
                .to_vec(),
        )
        .await;
    assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
}

/// The archive holds that somebody stopped waiting; the task itself goes on, and its key is never replaced.
#[tokio::test]
async fn an_archived_timeout_is_not_a_failed_generation() {
    let fake = fake!(|base, call, tasks| match kind(tasks) {
        "imageInference" if call == 1 => Reply::errors(504, vec![error("requestTimeout", &tasks[0])]),
        "imageInference" => Reply::errors(400, vec![error("conflictTaskUUID", &tasks[0])]),
        "getTaskDetails" if call < 6 => Reply::data(vec![
            json!({"taskUUID": key(&tasks[0]), "response": {"errors": [error("requestTimeout", &tasks[0])]}})
        ]),
        "getTaskDetails" => Reply::data(vec![
            json!({"taskUUID": key(&tasks[0]), "response": {"data": [done(base, &tasks[0])]}})
        ]),
        _ => Reply::data(vec![]),
    });
    let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(result.attempts, 1);
    let keys = fake.keys("imageInference");
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

/// Too many at once, or one of them at fault, without a word about which: each is asked for alone, under its own key.
#[tokio::test]
async fn an_array_that_is_refused_without_a_task_goes_one_by_one() {
    let fake = fake!(|base, _call, tasks| match kind(tasks) {
        "imageInference" if tasks.len() > 1 || tasks[0]["positivePrompt"] == "a cat" => Reply::json(
            400,
            &json!({"errors": [{"code": "invalidRequest", "message": "No."}]})
        ),
        "imageInference" => Reply::data(tasks.iter().map(ack).collect()),
        _ => Reply::data(tasks.iter().map(|task| done(base, task)).collect()),
    });
    let client = fake.client(|_| ());
    let pictures = ["dog", "cat", "pig", "cow"]
        .map(|name| fake.picture(name))
        .to_vec();
    let results = fake.all(&client, pictures).await;
    let done: Vec<bool> = results.iter().map(|result| result.outcome.is_ok()).collect();
    assert_eq!(done, [true, false, true, true], "{results:?}");
}

/// Nothing at all in the answers: it is said that nobody knows, and nothing is bought under another key.
#[tokio::test]
async fn answers_without_the_task_end_as_unknown() {
    let fake = fake!(|_base, _call, _tasks| Reply::data(vec![]));
    let error = fake.one(|_| ()).await.outcome.unwrap_err();
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::BadResponse, Some(Charge::Unknown))
    );
    let keys = fake.keys("imageInference");
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn part_of_a_batch_over_the_pace_goes_again_under_its_keys() {
    let mut refused = false;
    let fake = fake!(|base, _call, tasks| match kind(tasks) {
        "imageInference" if tasks.len() == 3 && !refused => {
            refused = true;
            Reply::json(
                200,
                &json!({"data": [ack(&tasks[0])],
                "errors": tasks[1..].iter().map(|task| error("inferenceRateLimitExceeded", task)).collect::<Vec<_>>()}),
            )
        }
        "imageInference" => Reply::data(tasks.iter().map(ack).collect()),
        _ => Reply::data(tasks.iter().map(|task| done(base, task)).collect()),
    });
    let client = fake.client(|_| ());
    let results = fake
        .all(
            &client,
            ["dog", "cat", "pig", "cow"]
                .map(|name| fake.picture(name))
                .to_vec(),
        )
        .await;
    assert!(
        results
            .iter()
            .all(|result| result.outcome.is_ok() && result.attempts == 1)
    );
    let keys = fake.keys("imageInference");
    assert_eq!(keys[2], keys[1][1..], "the two that were turned away, together");
}

#[tokio::test]
async fn an_accepted_task_that_never_ends_is_unknown() {
    for answer in ["data", "taskNotFound", "processing"] {
        let fake = fake!(|_base, call, tasks| match answer {
            _ if call == 1 => Reply::data(vec![ack(&tasks[0])]),
            "data" => Reply::data(vec![]),
            "processing" => Reply::data(vec![processing(&tasks[0])]),
            code => Reply::errors(404, vec![error(code, &tasks[0])]),
        });
        let result = fake
            .one(|config| config.timeouts.total = Span(Duration::from_millis(200)))
            .await;
        let error = result.outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.charge()),
            (ErrorKind::Timeout, Some(Charge::Unknown)),
            "{answer}"
        );
        assert_eq!(error.to_string(), "result: accepted, but no result within 200ms");
        assert_eq!(fake.keys("imageInference").len(), 1);
        let archived = fake.keys("getTaskDetails").len();
        // Only when it ended in doubt, and only where getResponse knew nothing.
        assert_eq!(archived, if answer == "processing" { 0 } else { 2 }, "{answer}");
    }
}

/// Failing polls fail no job, and "too many requests" for a poll is not taken for the failure of the task.
#[tokio::test]
async fn trouble_with_polls_is_not_trouble_with_tasks() {
    let fake = fake!(|base, call, tasks| match call {
        1 => Reply::data(vec![ack(&tasks[0])]),
        2 => Reply::text(500, "<html>"),
        3 => Reply::errors(429, vec![error("rateLimitExceeded", &tasks[0])]),
        4 => Reply::errors(500, vec![error("internalServerError", &tasks[0])]),
        5 => Reply::errors(404, vec![error("taskNotFound", &tasks[0])]),
        6..=12 => Reply::text(502, "<html>"),
        _ => Reply::data(vec![done(base, &tasks[0])]),
    });
    let result = fake.one(|_| ()).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(result.attempts, 1);
    assert_eq!(fake.keys("imageInference").len(), 1);
}

/// Jobs of a batch end one by one, and finished ones are asked about no more.
#[tokio::test]
async fn jobs_end_as_their_results_come() {
    let mut polls: HashMap<String, usize> = HashMap::new();
    let fake = fake!(|base, _call, tasks| {
        if kind(tasks) == "imageInference" {
            return Reply::data(tasks.iter().map(ack).collect());
        }
        Reply::data(
            tasks
                .iter()
                .enumerate()
                .map(|(place, task)| {
                    *polls.entry(key(task)).or_default() += 1;
                    if place == 0 {
                        done(base, task)
                    } else {
                        processing(task)
                    }
                })
                .collect(),
        )
    });
    let client = fake.client(|_| ());
    let results = fake
        .all(
            &client,
            ["dog", "cat", "pig", "cow"]
                .map(|name| fake.picture(name))
                .to_vec(),
        )
        .await;
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    let sizes: Vec<usize> = fake.keys("getResponse").iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 3, 2, 1]);
}

/// Equal requests with equal ids are one key: one task, and the second file is fetched, not bought.
#[tokio::test]
async fn equal_keys_in_one_batch_are_one_purchase() {
    let mut known: Vec<String> = Vec::new();
    let mut bought = 0;
    let fake = fake!(|base, _call, tasks| {
        let mut errors = Vec::new();
        let mut data = Vec::new();
        for task in tasks {
            if kind(tasks) == "getResponse" {
                data.push(done(base, task));
            } else if known.contains(&key(task)) {
                errors.push(error("conflictTaskUUID", task));
            } else {
                known.push(key(task));
                bought += 1;
                assert!(bought <= 2);
                data.push(ack(task));
            }
        }
        Reply::json(200, &json!({"data": data, "errors": errors}))
    });
    let client = fake.client(|_| ());
    let twin = |name: &str| {
        let mut request = fake.picture("cat");
        request.output_path = fake.folder.path().join(name);
        request
    };
    let requests = vec![fake.picture("dog"), twin("cat-1.webp"), twin("cat-2.webp")];
    let results = fake.all(&client, requests).await;
    assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
    assert_eq!(fake.files(), ["cat-1.webp", "cat-2.webp", "dog.webp"]);
    let keys: Vec<Value> = fake
        .keys("imageInference")
        .into_iter()
        .map(|keys| json!(keys.len()))
        .collect();
    assert_eq!(keys, [1, 1, 1]);
}

/// A question that the service failed to answer is asked again: nothing was said of the task.
#[tokio::test]
async fn a_service_that_fails_a_question_has_not_failed_the_task() {
    let fake = fake!(|base, call, tasks| match (call, kind(tasks)) {
        (_, "imageInference") => Reply::data(vec![ack(&tasks[0])]),
        (2, _) => Reply::errors(503, vec![error("providerUnavailable", &tasks[0])]),
        _ => Reply::data(vec![done(base, &tasks[0])]),
    });
    let result = fake.one(|_| ()).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(fake.keys("imageInference").len(), 1);
}

/// What a failed task cost is what the service says, not what the price list does.
#[tokio::test]
async fn the_cost_of_a_failure_is_reported() {
    let fake = fake!(|_base, _call, tasks| {
        let mut failure = failed("providerError", &tasks[0]);
        failure["cost"] = 0.5.into();
        Reply::errors(200, vec![failure])
    });
    let result = fake.one(|config| config.delivery.mode = Mode::Sync).await;
    let cost = result.cost.unwrap();
    assert_eq!(
        (cost.usd.dollars(), cost.basis),
        (0.5, media_core::CostBasis::Reported)
    );
    assert_eq!(result.outcome.unwrap_err().charge(), Some(Charge::Certain));
}

/// One answer of several tasks in base64: one that cannot be read costs none of the others.
#[tokio::test]
async fn one_unreadable_picture_costs_none_beside_it() {
    let fake = fake!(|_base, _call, tasks| {
        let good = crate::answers::base64(crate::fake::WEBP);
        if kind(tasks) != "imageInference" {
            return Reply::data(Vec::new());
        }
        let items = tasks.iter().map(|task| {
            let is_bad = task["positivePrompt"] == "a bad";
            let media = if is_bad { "*****" } else { &good };
            json!({"taskType": "imageInference", "taskUUID": key(task), "imageBase64Data": media, "cost": 0.01})
        });
        Reply::data(items.collect())
    });
    let client = fake.client(|config| {
        config.delivery.mode = Mode::Sync;
        config.delivery.output = provider_runware::Output::Base64;
        config.tasks_per_request = 3.try_into().unwrap();
        config.timeouts.total = Span(Duration::from_millis(200));
    });
    // The first of a model goes alone.
    let first = client.generate(fake.picture("first")).await;
    assert!(first.outcome.is_ok(), "{:?}", first.outcome);
    let requests = ["a", "bad", "c", "d"].map(|name| fake.picture(name)).to_vec();
    let mut good = 0;
    for result in fake.all(&client, requests).await {
        match result.outcome {
            Ok(_) => good += 1,
            Err(error) => assert!(error.full().contains("base64"), "{}", error.full()),
        }
    }
    assert_eq!(good, 3);
    let is_shared =
        |tasks: &Vec<Value>| tasks.len() > 1 && tasks.iter().any(|task| task["positivePrompt"] == "a bad");
    assert!(fake.calls().iter().any(is_shared));
}

/// A key that is refused with the name of a task is refused for all of them.
#[tokio::test]
async fn a_refused_key_stops_everything_whatever_task_it_names() {
    for status in [401, 402] {
        let fake = fake!(|_base, _call, tasks| Reply::errors(status, vec![error("somethingNew", &tasks[0])]));
        let client = fake.client(|_| ());
        let requests = (0..5).map(|number| fake.picture(&format!("p{number}"))).collect();
        let results = fake.all(&client, requests).await;
        assert!(results.iter().all(|result| result.outcome.is_err()));
        assert_eq!(fake.calls().len(), 1, "{status}");
    }
}
