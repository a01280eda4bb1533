//! Files and batches: their checks, their states, and what stands in the result files.

use std::time::Duration;

use media_sim::{Fault, FaultKind, Op, Provider, Scenario, Sim};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

struct Bench {
    sim: Sim,
    client: reqwest::Client,
}

impl Bench {
    async fn new(scenario: Scenario) -> Bench {
        Bench {
            sim: Sim::start(scenario).await.unwrap(),
            client: reqwest::Client::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/openai/v1{path}", self.sim.url())
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth("sim-openai").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn upload(&self, lines: &str) -> String {
        let file = Part::text(lines.to_owned()).file_name("in.jsonl");
        let form = Form::new().text("purpose", "batch").part("file", file);
        let (status, file) = self
            .json(self.client.post(self.url("/files")).multipart(form))
            .await;
        assert_eq!((status, &file["status"]), (200, &json!("processed")), "{file}");
        file["id"].as_str().unwrap().to_owned()
    }

    async fn create(&self, lines: &str) -> Value {
        let body = json!({
            "input_file_id": self.upload(lines).await, "endpoint": "/v1/images/generations", "completion_window": "24h",
            "metadata": { "run": "r1" },
        });
        let (status, batch) = self
            .json(self.client.post(self.url("/batches")).json(&body))
            .await;
        assert_eq!(status, 200, "{batch}");
        batch
    }

    async fn look(&self, batch: &Value) -> Value {
        let path = format!("/batches/{}", batch["id"].as_str().unwrap());
        self.json(self.client.get(self.url(&path))).await.1
    }

    async fn lines(&self, file: &Value) -> Vec<Value> {
        let path = format!("/files/{}/content", file.as_str().unwrap());
        let answer = self
            .client
            .get(self.url(&path))
            .bearer_auth("sim-openai")
            .send()
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn line(id: &str, prompt: &str) -> String {
    let body = json!({ "model": "gpt-image-2", "prompt": prompt, "size": "1024x1024", "quality": "low" });
    json!({ "custom_id": id, "method": "POST", "url": "/v1/images/generations", "body": body }).to_string()
        + "\n"
}

fn timed() -> Scenario {
    let mut scenario = Scenario::instant();
    scenario.openai.batch.validating_ms = 1000;
    scenario.openai.batch.line_ms = 1000;
    scenario.openai.batch.finalizing_ms = 1000;
    scenario.openai.batch.cancelling_ms = 1000;
    scenario
}

#[tokio::test]
async fn lines_fail_as_direct_requests_do_and_only_completed_ones_are_charged() {
    let mut scenario = timed();
    scenario.openai.moderation_output = vec!["ghost".to_owned()];
    let bench = Bench::new(scenario).await;
    let failed = |billed| FaultKind::TaskError {
        code: "image_generation_failed".to_owned(),
        message: "no".to_owned(),
        billed,
    };
    for (word, billed) in [("hat", false), ("cap", true)] {
        bench.sim.arm(
            Fault::new(Provider::Openai, failed(billed))
                .on(Op::Batch)
                .matching(word),
        );
    }
    let lines = [
        line("a", "a hat"),
        line("b", "a cap"),
        line("c", "a ghost"),
        line("d", "a pan"),
    ]
    .concat();
    let batch = bench.create(&lines).await;
    bench.sim.advance(Duration::from_secs(60));
    let done = bench.look(&batch).await;
    let told: Vec<_> = bench
        .lines(&done["error_file_id"])
        .await
        .iter()
        .map(|line| {
            let response = &line["response"];
            (
                line["custom_id"].as_str().unwrap().to_owned(),
                response["status_code"].as_u64().unwrap(),
                response["body"]["error"]["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let mut told = told;
    told.sort();
    let row = |id: &str, status, code: &str| (id.to_owned(), status, code.to_owned());
    assert_eq!(
        told,
        [
            row("a", 500, "image_generation_failed"),
            row("b", 500, "image_generation_failed"),
            row("c", 400, "moderation_blocked"),
        ]
    );
    let mut billed: Vec<_> = bench
        .sim
        .bill()
        .charges
        .into_iter()
        .map(|charge| charge.key)
        .collect();
    billed.sort();
    assert_eq!(billed, ["d"]);
}

#[tokio::test]
async fn a_batch_goes_through_its_states_and_answers_every_line() {
    let bench = Bench::new(timed()).await;
    let lines = [line("a", "a hat"), line("b", "a bloody hat"), line("c", "a cap")].concat();
    let batch = bench.create(&lines).await;
    assert_eq!(batch["metadata"], json!({ "run": "r1" }));
    let mut seen = vec![batch["status"].clone()];
    for _ in 0..6 {
        bench.sim.advance(Duration::from_millis(1000));
        seen.push(bench.look(&batch).await["status"].clone());
    }
    seen.dedup();
    assert_eq!(seen, ["validating", "in_progress", "finalizing", "completed"]);
    let done = bench.look(&batch).await;
    assert_eq!(
        done["request_counts"],
        json!({ "total": 3, "completed": 2, "failed": 1 })
    );
    let (good, bad) = (
        bench.lines(&done["output_file_id"]).await,
        bench.lines(&done["error_file_id"]).await,
    );
    let mut ids: Vec<_> = good
        .iter()
        .map(|line| line["custom_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!((ids, bad.len()), (vec!["a", "c"], 1));
    assert!(
        good[0]["response"]["body"]["data"][0]["b64_json"]
            .as_str()
            .unwrap()
            .len()
            > 100
    );
    assert_eq!(bad[0]["response"]["status_code"], 400);
    assert_eq!(bad[0]["response"]["body"]["error"]["code"], "moderation_blocked");
    // Half the price, under the line's own id, delivered once.
    let bill = bench.sim.bill();
    let mut keys: Vec<_> = bill
        .charges
        .iter()
        .map(|charge| (charge.key.as_str(), charge.delivered))
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, [("a", 1), ("c", 1)]);
    let (status, listed) = bench.json(bench.client.get(bench.url("/batches?limit=1"))).await;
    assert_eq!(
        (status, &listed["data"][0]["id"], &listed["has_more"]),
        (200, &done["id"], &json!(false))
    );
}

#[tokio::test]
async fn what_is_not_done_in_time_expires_and_what_is_cancelled_stays_undone() {
    let mut scenario = timed();
    scenario.openai.batch.expires_ms = 2500;
    let bench = Bench::new(scenario).await;
    let lines: String = ["a", "b", "c"].map(|id| line(id, id)).concat();
    let batch = bench.create(&lines).await;
    bench.sim.advance(Duration::from_secs(60));
    let done = bench.look(&batch).await;
    assert_eq!(done["status"], "expired");
    assert_eq!(bench.lines(&done["output_file_id"]).await.len(), 1);
    let rest = bench.lines(&done["error_file_id"]).await;
    assert!(rest.len() == 2 && rest.iter().all(|line| line["error"]["code"] == "batch_expired"));
    assert_eq!(bench.sim.bill().charges.len(), 1);

    let bench = Bench::new(timed()).await;
    let batch = bench.create(&lines).await;
    bench.sim.advance(Duration::from_millis(2500));
    let path = format!("/batches/{}/cancel", batch["id"].as_str().unwrap());
    let (_, cancelled) = bench.json(bench.client.post(bench.url(&path))).await;
    assert_eq!(cancelled["status"], "cancelling");
    bench.sim.advance(Duration::from_secs(60));
    let done = bench.look(&batch).await;
    assert_eq!(done["status"], "cancelled");
    assert_eq!(bench.lines(&done["output_file_id"]).await.len(), 1);
    assert_eq!(bench.sim.bill().charges.len(), 1);
}

#[tokio::test]
async fn bad_files_fail_with_the_number_of_the_line() {
    let bench = Bench::new(Scenario::instant()).await;
    let good = line("a", "a hat");
    let cases = [
        (format!("{good}{{"), 2, "not parseable"),
        (format!("{good}{good}"), 2, "duplicate"),
        (
            good.replace("images/generations", "responses"),
            1,
            "does not match",
        ),
        (
            good.replace("gpt-image-2", "gpt-image-2.5-flare"),
            1,
            "not supported",
        ),
        (
            format!("{good}{}", line("b", "x").replace("gpt-image-2", "gpt-image-1.5")),
            2,
            "same model",
        ),
    ];
    for (lines, number, message) in cases {
        let batch = bench.create(&lines).await;
        let done = bench.look(&batch).await;
        assert_eq!(done["status"], "failed", "{done}");
        let error = &done["errors"]["data"][0];
        assert_eq!(error["line"], number);
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
    }
    assert!(bench.sim.bill().charges.is_empty());
    let speech = json!({ "input_file_id": "x", "endpoint": "/v1/audio/speech", "completion_window": "24h" });
    assert_eq!(
        bench
            .json(bench.client.post(bench.url("/batches")).json(&speech))
            .await
            .0,
        400
    );
}
