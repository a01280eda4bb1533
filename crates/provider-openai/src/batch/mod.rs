//! The Batch API: files of requests at half the price, done within 24 hours, and found again by the key in their metadata.

mod collect;
mod follow;
mod results;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use media_core::http::{Http, Request, Resend};
use media_core::limit::Units;
use media_core::sync::lock;
use media_core::{Charge, Error, ErrorKind, Job, Prior, Result, Retry};
use serde_json::json;
use tokio::time::Instant;

use self::collect::Waiting;
use self::results::Results;
use crate::config::{BATCH_GROUP, BatchConfig, ImageConfig, OpenAiConfig};
use crate::map;
use crate::wire::{Batch, UploadedFile};

/// The path that every line asks.
const ENDPOINT: &str = "/v1/images/generations";
/// Questions about batches and for their results: of what they name, "not found" means that it is gone.
pub(crate) const ASK_OP: &str = "asking for a batch";
/// See [`ASK_OP`].
pub(crate) const FETCH_OP: &str = "fetching a batch's results";
/// Where the key of a batch stands in its metadata.
const MARK: &str = "media_batch";

/// The batches of one instance: how they are made, and what this process knows of them.
#[derive(Debug)]
pub(crate) struct Batches {
    http: Http,
    config: BatchConfig,
    image: ImageConfig,
    known: Mutex<HashMap<String, Arc<Known>>>,
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
    /// One result file at a time is on disk.
    results: tokio::sync::Mutex<Option<Results>>,
}

/// One batch.
#[derive(Debug, Default)]
struct Known {
    id: Mutex<Option<String>>,
    /// What the last look at it came to, and when that was. Who holds this asks for all that wait.
    last: tokio::sync::Mutex<Option<(Result<Option<Batch>>, Instant)>>,
}

/// Jobs that go into one file.
struct Lot<'j> {
    model: String,
    lines: String,
    jobs: Vec<&'j Job>,
}

fn pending(message: String) -> Error {
    Error::new(ErrorKind::Pending, message)
        .with_charge(Charge::Unknown)
        .hint("a later run fetches it, and so does media rescue")
}

/// Whether the service says in its own words that it knows no such thing (any more). A gateway's 404 is a wrong address.
fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Nothing will bring it back, and nobody can tell what was made and billed.
fn lost(message: String) -> Error {
    // By this kind a person may go on without it; what only could not be asked for just now has another.
    Error::new(ErrorKind::NotFound, message)
        .with_charge(Charge::Unknown)
        .with_retry(Retry::Spent)
        .hint("batches are seen only by keys of their project, and kept for a month; else media retry --unknown, with the ids, sends it anew")
}

fn gone(what: &str, error: &Error) -> Error {
    lost(format!("the service does not have {what} (any more)")).because(error.clone())
}

/// It comes to nothing in this run. A later one sends it again, with others.
fn for_later(error: Error) -> Error {
    error.with_retry(Retry::Spent).not_billed()
}

impl Batches {
    /// None where none are configured.
    pub(crate) fn of(config: &OpenAiConfig, http: &Http) -> Option<Batches> {
        Some(Batches {
            http: http.clone(),
            config: config.batch.clone()?,
            image: config.image.clone()?,
            known: Mutex::default(),
            waiting: Mutex::default(),
            results: tokio::sync::Mutex::default(),
        })
    }

    /// Sends jobs in as few files as they fit into, and answers each when its batch is done.
    pub(crate) async fn generate(&self, jobs: &[&Job]) {
        let parts = self.parts(jobs);
        join_all(parts.into_iter().map(|part| self.send(part))).await;
    }

    /// One model for each file, and no more of pictures or bytes than it may have.
    fn parts<'j>(&self, jobs: &[&'j Job]) -> Vec<Lot<'j>> {
        let most = usize::try_from(self.config.file_size.0).unwrap_or(usize::MAX);
        let mut lots: Vec<Lot<'_>> = Vec::new();
        for job in jobs {
            let line = self.line(job);
            let model = job.resolved().model.as_str();
            let last = lots.iter_mut().rev().find(|lot| lot.model == model);
            let open = last.filter(|lot| {
                lot.jobs.len() < self.config.images_per_file.get() && lot.lines.len() + line.len() <= most
            });
            match open {
                Some(lot) => {
                    lot.lines.push_str(&line);
                    lot.jobs.push(job);
                }
                None => lots.push(Lot {
                    model: model.to_owned(),
                    lines: line,
                    jobs: vec![job],
                }),
            }
        }
        lots
    }

    fn line(&self, job: &Job) -> String {
        let body = map::image_body(&self.image, job.resolved());
        let line =
            json!({ "custom_id": job.key().to_string(), "method": "POST", "url": ENDPOINT, "body": body });
        format!("{line}\n")
    }

    async fn send(&self, lot: Lot<'_>) {
        let Lot { jobs, lines, .. } = lot;
        let Some(first) = jobs.first() else { return };
        // Every attempt has a key of its own, so the first one names the batch.
        let key = format!("media-{}", first.key());
        let file = match self.upload(&key, lines).await {
            Ok(file) => file,
            Err(error) => return answer_all(&jobs, &of_all(error).not_billed()),
        };
        let body = json!({
            "input_file_id": file.id, "endpoint": ENDPOINT, "completion_window": format!("{}h", self.config.completion_window.0.as_secs() / 3600),
            "metadata": { MARK: key },
        });
        let request = Request::paid(
            "creating a batch",
            self.http.url(&["batches"]),
            &jobs,
            Resend::Never,
        )
        .in_batch(&key)
        .in_group(BATCH_GROUP, &Units::default())
        .with_json(&body);
        let created: Result<Batch> = match request {
            Ok(request) => self.http.json(request).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(batch) => {
                // From now on it is asked for by its id: that it cannot be seen says nothing about whether it exists.
                self.http.in_batch(&jobs, &format!("{key} {}", batch.id)).await;
                *lock(&self.known(&key).id) = Some(batch.id);
            }
            Err(error) if !jobs.iter().any(|job| job.is_in_doubt()) => {
                return answer_all(&jobs, &of_all(error));
            }
            // It may have been created all the same: its key tells.
            Err(error) => tracing::debug!(%error, key, "the answer to a new batch was lost"),
        }
        let since = Some(Duration::ZERO);
        let (awaited, left): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.waits());
        for job in left {
            job.finish(Err(pending(format!("it was handed over in the batch {key}"))));
        }
        join_all(awaited.into_iter().map(|job| self.answer(&key, job, since))).await;
    }

    async fn upload(&self, key: &str, lines: String) -> Result<UploadedFile> {
        let mark = format!("{key}-part");
        let field = |name: &str, value: &str| {
            format!("--{mark}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut body = field("purpose", "batch");
        body.push_str(&format!(
            "--{mark}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{key}.jsonl\"\r\n\
             Content-Type: application/jsonl\r\n\r\n{lines}\r\n--{mark}--\r\n"
        ));
        let request = Request::free("uploading a batch", self.http.url(&["files"]))
            .in_group(BATCH_GROUP, &Units::default())
            .with_body(&format!("multipart/form-data; boundary={mark}"), body)?;
        self.http.json(request).await
    }

    /// Jobs that an earlier run sent in batches.
    pub(crate) async fn recover(&self, jobs: &[Job]) {
        let each = jobs.iter().map(|job| async move {
            if let Prior::Sent {
                ago,
                batch: Some(batch),
            } = job.prior()
            {
                let key = self.remember(batch);
                self.answer(key, job, *ago).await;
            }
        });
        join_all(each).await;
    }

    /// Waits for a job's batch and answers the job by what became of its line. `ago`: when it was sent.
    async fn answer(&self, key: &str, job: &Job, ago: Option<Duration>) {
        let result = match self.ended(key, ago).await {
            Ok(batch) => self.collect(&batch, job).await,
            Err(error) => Err(error),
        };
        if matches!(&result, Err(error) if error.charge() == Some(Charge::None)) {
            // The service says what became of this very line.
            job.fate_is_known();
        }
        job.finish(result);
    }
}

/// A refusal of a whole file says nothing about a single row: none of them fails for good.
fn of_all(error: Error) -> Error {
    if !error.kind().is_lasting() {
        return error;
    }
    let charge = error.charge();
    let whole = Error::new(ErrorKind::BadResponse, "the batch was not taken").because(error);
    charge.map_or(whole.clone(), |charge| whole.with_charge(charge))
}

fn answer_all(jobs: &[&Job], error: &Error) {
    for job in jobs {
        job.finish(Err(error.clone().with_retry(Retry::Spent)));
    }
}
