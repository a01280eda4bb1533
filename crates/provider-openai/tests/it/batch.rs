//! Batches against canned answers: what becomes of a job by what its line, its files and its batch say.

use std::sync::{Arc, Mutex};

use media_core::{Charge, Client, Error, ErrorKind, MediaResult, Span};
use mockito::Mock;
use provider_openai::{Delivery, OpenAiConfig};
use serde_json::{Value, json};

use crate::{PNG, Setup, base64};

/// A service with one batch of these jobs.
struct Service {
    setup: Setup,
    ids: Arc<Mutex<Vec<String>>>,
    mocks: Vec<Mock>,
}

fn ids_in(body: &str) -> Vec<String> {
    let lines = body
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter_map(|line| Some(line.get("custom_id")?.as_str()?.to_owned()))
        .collect()
}

impl Service {
    async fn new() -> Service {
        let mut setup = Setup::new().await;
        let ids = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&ids);
        let upload = setup
            .server
            .mock("POST", "/v1/files")
            .with_body_from_request(move |request| {
                *log.lock().unwrap() = ids_in(&String::from_utf8_lossy(request.body().unwrap()));
                br#"{"id":"file-in"}"#.to_vec()
            })
            .create_async()
            .await;
        Service {
            setup,
            ids,
            mocks: vec![upload],
        }
    }

    async fn answers(&mut self, method: &str, path: &str, status: usize, body: &str) {
        let mock = self
            .setup
            .server
            .mock(method, path)
            .with_status(status)
            .with_body(body);
        self.mocks.push(mock.create_async().await);
    }

    /// The batch as created, and as it is once it is asked for.
    async fn batch(&mut self, then: Value) {
        let created = json!({"id": "batch_1", "status": "validating"}).to_string();
        self.answers("POST", "/v1/batches", 200, &created).await;
        let mut batch = then;
        batch["id"] = "batch_1".into();
        self.answers("GET", "/v1/batches/batch_1", 200, &batch.to_string())
            .await;
    }

    /// A result file made from the ids of the jobs.
    async fn file(&mut self, name: &str, content: fn(&[String]) -> String) {
        let ids = Arc::clone(&self.ids);
        let mock = self
            .setup
            .server
            .mock("GET", format!("/v1/files/{name}/content").as_str())
            .with_body_from_request(move |_| content(&ids.lock().unwrap()).into_bytes());
        self.mocks.push(mock.create_async().await);
    }

    async fn run(&self, count: usize, change: impl FnOnce(&mut OpenAiConfig)) -> Vec<MediaResult> {
        let mut config = self.setup.config();
        config.image.as_mut().unwrap().delivery = Delivery::Batch;
        let batch = config.batch.as_mut().unwrap();
        batch.first_poll = Span(std::time::Duration::from_millis(1));
        batch.max_poll = Span(std::time::Duration::from_millis(2));
        change(&mut config);
        let client = Client::new(Setup::provider(config));
        let names = (0..count).map(|number| self.setup.image(&format!("{number}.png")));
        let mut results = client.generate_batch(names.collect::<Vec<_>>());
        let mut all = Vec::new();
        while let Some(result) = results.next().await {
            all.push(result);
        }
        all.sort_by_key(|result| result.request.output_path.clone());
        all
    }

    async fn failures(&self, count: usize) -> Vec<Error> {
        let results = self.run(count, |_| ()).await;
        results
            .into_iter()
            .map(|result| result.outcome.unwrap_err())
            .collect()
    }
}

fn good(id: &str) -> String {
    let body = json!({"created": 1, "data": [{"b64_json": base64(PNG)}]});
    json!({"custom_id": id, "response": {"status_code": 200, "body": body}, "error": null}).to_string()
}

fn completed(count: u64) -> Value {
    json!({"status": "completed", "output_file_id": "out", "request_counts": {"total": count, "completed": count}})
}

#[tokio::test]
async fn a_line_with_a_picture_is_a_file_whatever_stands_beside_it() {
    let cases: [fn(&[String]) -> String; 2] = [
        |ids| format!("\u{feff}{}\r\n", good(&ids[0])),
        |ids| good(&ids[0]).replace(r#""error":null"#, r#""error":{"code":"x","message":"odd"}"#),
    ];
    for content in cases {
        let mut service = Service::new().await;
        service.batch(completed(1)).await;
        service.file("out", content).await;
        let results = service.run(1, |_| ()).await;
        assert!(results[0].outcome.is_ok(), "{:?}", results[0].outcome);
    }
}

/// Only completed lines are billed, and one that was answered by 200 was.
#[tokio::test]
async fn a_line_that_was_completed_and_holds_an_error_may_be_billed() {
    let cases: [fn(&[String]) -> String; 3] = [
        |ids| {
            json!({"custom_id": ids[0], "response": {"status_code": 200, "body": {"error": {"message": "inside"}}}}).to_string()
        },
        |ids| {
            let error =
                json!({"code": "moderation_blocked", "moderation_details": {"moderation_stage": "output"}});
            json!({"custom_id": ids[0], "response": {"status_code": 200, "body": {"error": error}}})
                .to_string()
        },
        |ids| {
            let error = json!({"code": "rate_limit_exceeded"});
            let body = json!({"data": [{"b64_json": base64(PNG)}], "error": error});
            json!({"custom_id": ids[0], "response": {"status_code": 200, "body": body}}).to_string()
        },
    ];
    for content in cases {
        let mut service = Service::new().await;
        service.batch(completed(1)).await;
        service.file("out", content).await;
        let error = service.failures(1).await.remove(0);
        assert_eq!(error.charge(), Some(Charge::Unknown), "{error}");
    }
}

#[tokio::test]
async fn a_line_that_was_not_completed_is_free() {
    let cases: [fn(&[String]) -> String; 3] = [
        |ids| {
            json!({"custom_id": ids[0], "response": null, "error": {"code": "batch_expired", "message": "late"}}).to_string()
        },
        |ids| json!({"custom_id": ids[0], "error": "batch_expired"}).to_string(),
        |ids| {
            let error = json!({"code": "moderation_blocked", "message": "no"});
            json!({"custom_id": ids[0], "response": {"status_code": 400, "body": {"error": error}}})
                .to_string()
        },
    ];
    for content in cases {
        let mut service = Service::new().await;
        let batch = json!({"status": "completed", "error_file_id": "err", "request_counts": {"total": 1, "completed": 0}});
        service.batch(batch).await;
        service.file("err", content).await;
        let error = service.failures(1).await.remove(0);
        assert_eq!(error.charge(), Some(Charge::None), "{error}");
        assert!(!error.to_string().ends_with(": "), "{error}");
    }
}

/// The service counts two completed lines and shows one: which of the others the second is nobody knows.
#[tokio::test]
async fn failed_lines_among_the_results_are_no_results() {
    let mut service = Service::new().await;
    let batch =
        json!({"status": "expired", "output_file_id": "out", "request_counts": {"total": 3, "completed": 2}});
    service.batch(batch).await;
    let content = |ids: &[String]| {
        let late = json!({"custom_id": ids[1], "error": {"code": "batch_expired", "message": "late"}});
        format!("{}\n{late}\n", good(&ids[0]))
    };
    service.file("out", content).await;
    let results = service.run(3, |_| ()).await;
    assert!(results[0].outcome.is_ok());
    let charge = |place: usize| results[place].outcome.as_ref().unwrap_err().charge();
    assert_eq!(
        (charge(1), charge(2)),
        (Some(Charge::None), Some(Charge::Unknown))
    );
}

#[tokio::test]
async fn a_result_file_that_is_none_is_told_as_such_and_asked_for_again() {
    for page in [
        |_: &[String]| "<html>maintenance</html>".to_owned(),
        |_: &[String]| String::new(),
    ] {
        let mut service = Service::new().await;
        service.batch(completed(1)).await;
        service.file("out", page).await;
        let error = service.failures(1).await.remove(0);
        assert_eq!(
            (error.kind(), error.charge()),
            (ErrorKind::Pending, Some(Charge::Unknown))
        );
        assert!(
            error.full().contains("no line that can be read"),
            "{}",
            error.full()
        );
    }
}

/// Its own counts say that nothing was completed, and what became of a line that the service has lost is not asked for ever.
#[tokio::test]
async fn an_empty_result_file_is_no_reason_to_wait_for_ever() {
    let mut service = Service::new().await;
    let batch =
        json!({"status": "expired", "output_file_id": "out", "request_counts": {"total": 1, "completed": 0}});
    service.batch(batch).await;
    service.file("out", |_| String::new()).await;
    assert_eq!(service.failures(1).await.remove(0).charge(), Some(Charge::None));

    let mut service = Service::new().await;
    let mut batch = completed(1);
    batch["completed_at"] = 1_700_000_000.into();
    service.batch(batch).await;
    service.file("out", |_| "\u{1f}not JSON at all".to_owned()).await;
    let error = service.failures(1).await.remove(0);
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::NotFound, Some(Charge::Unknown))
    );
}

/// Two lines of one job: what was made is not unmade, in whichever order and file they come.
#[tokio::test]
async fn a_result_counts_more_than_a_failure_of_the_same_job() {
    let mut service = Service::new().await;
    service.batch(completed(1)).await;
    let content = |ids: &[String]| {
        let failed = json!({"custom_id": ids[0], "response": {"status_code": "500", "body": {}}});
        format!("{failed}\n{}\n", good(&ids[0]))
    };
    service.file("out", content).await;
    assert!(service.run(1, |_| ()).await[0].outcome.is_ok());
}

/// That a batch was never created follows from a list that does not have it, and from nothing less.
#[tokio::test]
async fn a_list_that_says_nothing_proves_nothing() {
    for (list, is_proof) in [
        (r#"{"object":"list","data":[],"has_more":false}"#, true),
        (
            r#"{"data":[{"id":"batch_9","status":"completed","metadata":null}]}"#,
            true,
        ),
        ("{}", false),
        (r#"{"object":"list"}"#, false),
        (r#"{"data":null}"#, false),
        (r#"{"data":[{"status":"completed"}]}"#, false),
        (r#"{"data":[{"id":"batch_9","metadata":[]}]}"#, false),
        (r#"{"data":[{"id":"batch_9"}]}"#, false),
        (r#"{"data":[],"has_more":true}"#, false),
        (r#"{"data":[]}{"data":[]}"#, false),
    ] {
        let mut service = Service::new().await;
        service.answers("POST", "/v1/batches", 502, "<html>").await;
        service.answers("GET", "/v1/batches?limit=100", 200, list).await;
        let results = service
            .run(1, |config| {
                let batch = config.batch.as_mut().unwrap();
                batch.lost_after = Span(std::time::Duration::ZERO);
            })
            .await;
        let error = results[0].outcome.as_ref().unwrap_err();
        let charge = if is_proof { Charge::None } else { Charge::Unknown };
        assert_eq!(error.charge(), Some(charge), "{list}: {error}");
    }
}

/// No waiting helps where the key may not look, or where there is no such address.
#[tokio::test]
async fn a_batch_that_may_not_be_looked_at_is_not_waited_for() {
    let scopes =
        json!({"error": {"message": "Missing scopes: api.batch.read", "type": "invalid_request_error"}});
    for (status, body, kind) in [
        (403, scopes.to_string(), ErrorKind::PermissionDenied),
        (404, "<html>nginx".to_owned(), ErrorKind::Config),
    ] {
        let mut service = Service::new().await;
        let created = json!({"id": "batch_1", "status": "validating"}).to_string();
        service.answers("POST", "/v1/batches", 200, &created).await;
        service.answers("GET", "/v1/batches/batch_1", status, &body).await;
        let error = service.failures(1).await.remove(0);
        assert_eq!(
            (error.kind(), error.charge()),
            (kind, Some(Charge::Unknown)),
            "{error}"
        );
    }
}

/// The account has too much in batches at once: the rows are as good as they were, and wait.
#[tokio::test]
async fn a_batch_that_is_too_much_at_once_waits_for_others() {
    let mut service = Service::new().await;
    let errors = json!({"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": null}]});
    service.batch(json!({"status": "failed", "errors": errors})).await;
    let error = service.failures(1).await.remove(0);
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::Cancelled, Some(Charge::None)),
        "{error}"
    );
    assert!(error.next().unwrap().contains("when other batches"), "{error:?}");
}
