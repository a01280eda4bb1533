//! The Batch API: files of requests at half the price, done within 24 hours, and found again by the key in their metadata.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use media_core::http::{Http, Request, Resend};
use media_core::limit::Units;
use media_core::{Charge, Error, ErrorKind, Generated, Job, Prior, Result, Retry};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::{BATCH_GROUP, BatchConfig, ImageConfig, OpenAiConfig};
use crate::error::says_nothing;
use crate::map;
use crate::results::Results;
use crate::wire::{Batch, BatchList, Images, UploadedFile};

/// The path that every line asks.
const ENDPOINT: &str = "/v1/images/generations";
/// Questions about batches and for their results: of what they name, "not found" means that it is gone.
pub(crate) const ASK_OP: &str = "asking for a batch";
/// See [`ASK_OP`].
pub(crate) const FETCH_OP: &str = "fetching a batch's results";
/// Where the key of a batch stands in its metadata.
const MARK: &str = "media_batch";
/// Batches on one page of the list, and pages that are looked through for one.
const PAGE: &str = "100";
const PAGES: usize = 50;

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

/// A job that wants its line.
#[derive(Debug)]
struct Waiting {
    line: String,
    output: PathBuf,
    answer: oneshot::Sender<Result<Generated>>,
}

/// Jobs that go into one file.
struct Lot<'j> {
    model: String,
    lines: String,
    jobs: Vec<&'j Job>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Results that could not be fetched, now or ever.
fn unfetched(batch: &Batch, error: &Error) -> Error {
    let results = format!("the results of the batch {}", batch.id);
    if is_gone(error) {
        gone(&results, error)
    } else {
        pending(format!("{results} could not be fetched")).because(error.clone())
    }
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
                lot.jobs.len() < self.config.images_per_file.max(1) && lot.lines.len() + line.len() <= most
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

    /// Returns when a batch is over, or there is nothing to wait for: what went wrong is told to each of its jobs.
    pub(crate) async fn wait_for(&self, batch: &str, ago: Option<Duration>) {
        let key = self.remember(batch);
        let stop = &self.http.wiring().stop;
        // A network that is gone for a while ends no wait of hours.
        while let Err(error) = self.ended(key, ago).await {
            tracing::debug!(%error, key, "a batch is not over, as far as anybody knows");
            let may_come = self.config.wait && error.kind() == ErrorKind::Pending;
            if !may_come
                || stop
                    .or(tokio::time::sleep(self.config.max_poll.0))
                    .await
                    .is_none()
            {
                return;
            }
        }
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

    /// The key of a batch as it was written down, perhaps with the service's id.
    fn remember<'k>(&self, batch: &'k str) -> &'k str {
        let Some((key, id)) = batch.split_once(' ') else {
            return batch;
        };
        *lock(&self.known(key).id) = Some(id.to_owned());
        key
    }

    fn known(&self, key: &str) -> Arc<Known> {
        Arc::clone(lock(&self.known).entry(key.to_owned()).or_default())
    }

    /// The batch of this key once it is at its end.
    async fn ended(&self, key: &str, ago: Option<Duration>) -> Result<Batch> {
        let began = Instant::now();
        let known = self.known(key);
        let stop = &self.http.wiring().stop;
        let mut delay = self.config.first_poll.0;
        loop {
            let mut last = known.last.lock().await;
            let seen = last.as_ref().and_then(|(looked, at)| {
                let is_new = match looked {
                    Ok(Some(batch)) => {
                        batch.is_over() || (!self.config.wait && at.elapsed() < self.config.first_poll.0)
                    }
                    // That it was not there a while ago proves nothing; only callers that do not wait may say so again.
                    Ok(None) => !self.config.wait && *at >= began,
                    Err(_) => *at >= began,
                };
                is_new.then(|| looked.clone())
            });
            let looked = match seen {
                // Many jobs wait for one batch: one of them asks for all.
                Some(looked) => looked,
                None if stop.is_asked() => {
                    return Err(pending(format!("the batch {key} is not done")));
                }
                None => {
                    // Boxed, here and below: hundreds of jobs wait for each batch, and only one of them does this.
                    let looked = Box::pin(self.look(key, &known)).await;
                    *last = Some((looked.clone(), Instant::now()));
                    looked
                }
            };
            match looked {
                Ok(Some(batch)) => {
                    tracing::info!(key, status = batch.status, "batch");
                    if batch.is_over() || !self.config.wait {
                        return self.over(batch);
                    }
                }
                Ok(None) => {
                    // A clock that was set back tells no age; then it is that of this wait.
                    let age = ago.unwrap_or_default() + began.elapsed();
                    if age >= self.config.lost_after.0 {
                        let message = format!("the batch {key} was never created");
                        return Err(for_later(Error::new(ErrorKind::Network, message)));
                    }
                    if !self.config.wait {
                        return Err(pending(format!("the batch {key} is not there yet")));
                    }
                }
                Err(error) if error.kind().stops_lane() => return Err(error.with_charge(Charge::Unknown)),
                Err(error) if is_gone(&error) => return Err(gone(&format!("the batch {key}"), &error)),
                Err(error) => {
                    return Err(pending(format!("the batch {key} could not be asked for")).because(error));
                }
            }
            // The lock is kept: whoever waits for the same batch would only ask the same.
            if stop.or(tokio::time::sleep(delay)).await.is_none() {
                return Err(pending(format!("the batch {key} is not done")));
            }
            delay = (delay * 2).min(self.config.max_poll.0);
        }
    }

    fn over(&self, batch: Batch) -> Result<Batch> {
        if batch.is_over() {
            return Ok(batch);
        }
        let counts = batch.request_counts.unwrap_or_default();
        Err(pending(format!(
            "the batch {} is {}: {} of {} are done",
            batch.id, batch.status, counts.completed, counts.total
        )))
    }

    /// The batch as it is now; none where there is none of this key.
    async fn look(&self, key: &str, known: &Known) -> Result<Option<Batch>> {
        let id = lock(&known.id).clone();
        let found = match id {
            Some(id) => Some(self.get(&["batches", &id], &[]).await?),
            None => self.find(key).await?,
        };
        if let Some(batch) = &found {
            *lock(&known.id) = Some(batch.id.clone());
        }
        Ok(found)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T> {
        let mut url = self.http.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = Request::free(ASK_OP, url).in_group(BATCH_GROUP, &Units::default());
        self.http.json(request).await
    }

    /// Looks through the account's batches, newest first.
    async fn find(&self, key: &str) -> Result<Option<Batch>> {
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![("limit", PAGE)];
            query.extend(after.as_deref().map(|id| ("after", id)));
            let list: BatchList = self.get(&["batches"], &query).await?;
            let last = list.data.last().map(|batch| batch.id.clone());
            let is_it = |batch: &Batch| {
                let marked = batch.metadata.as_ref().and_then(|metadata| metadata.get(MARK));
                marked.is_some_and(|mark| mark.as_str() == Some(key))
            };
            if let Some(batch) = list.data.into_iter().find(is_it) {
                return Ok(Some(batch));
            }
            match last.filter(|_| list.has_more) {
                Some(last) => after = Some(last),
                None => return Ok(None),
            }
        }
        let message = format!("the account has too many batches to find {key} among them");
        Err(Error::new(ErrorKind::BadResponse, message))
    }

    pub(crate) async fn cancel(&self, batch: &str) -> Result<String> {
        let key = self.remember(batch);
        let known = self.known(key);
        let Some(batch) = self.look(key, &known).await? else {
            let message = format!("the account has no batch {key}");
            return Err(Error::new(ErrorKind::NotFound, message).not_billed());
        };
        if batch.is_over() {
            return Ok(batch.status);
        }
        let request = Request::free(
            "cancelling a batch",
            self.http.url(&["batches", &batch.id, "cancel"]),
        )
        .in_group(BATCH_GROUP, &Units::default())
        .post();
        Ok(self.http.json::<Batch>(request).await?.status)
    }

    /// What a finished batch says of a job. Whoever comes first reads the file for all that wait for the same batch.
    async fn collect(&self, batch: &Batch, job: &Job) -> Result<Generated> {
        let (answer, mut answered) = oneshot::channel();
        let waiting = Waiting {
            line: job.key().to_string(),
            output: job.request().output_path.clone(),
            answer,
        };
        lock(&self.waiting)
            .entry(batch.id.clone())
            .or_default()
            .push(waiting);
        let mut results = tokio::select! {
            biased;
            told = &mut answered => return received(told),
            results = self.results.lock() => results,
        };
        loop {
            let wanted = lock(&self.waiting).remove(&batch.id).unwrap_or_default();
            if wanted.is_empty() {
                break;
            }
            if results.as_ref().is_none_or(|results| !results.are_of(&batch.id)) {
                // The other one's files go first: there is never more than one on disk.
                *results = None;
                match Box::pin(self.fetch(batch, &job.request().output_path)).await {
                    Ok(fetched) => *results = Some(fetched),
                    Err(error) => {
                        let error = unfetched(batch, &error);
                        for one in wanted {
                            let _ = one.answer.send(Err(error.clone()));
                        }
                        continue;
                    }
                }
            }
            if let Some(results) = results.as_mut() {
                for one in wanted {
                    let told = Box::pin(self.read(batch, results, &one)).await;
                    results.done(&one.line);
                    // Who asked may have been given up since.
                    let _ = one.answer.send(told);
                }
            }
        }
        if results.as_ref().is_some_and(Results::is_empty) {
            *results = None;
        }
        drop(results);
        received(answered.await)
    }

    async fn fetch(&self, batch: &Batch, output: &Path) -> Result<Results> {
        let mut results = Results::of(&batch.id);
        for id in [&batch.output_file_id, &batch.error_file_id]
            .into_iter()
            .flatten()
        {
            let file = self.http.wiring().staging.scratch(output)?;
            let url = self.http.url(&["files", id, "content"]);
            let request = Request::free(FETCH_OP, url).in_group(BATCH_GROUP, &Units::default());
            match self.http.save(request, &file).await {
                Ok(_) => {
                    let is_output = Some(id) == batch.output_file_id.as_ref();
                    results.add(file, is_output).await?;
                }
                // What the other file tells of is no less true.
                Err(error) if !error.kind().stops_lane() => results.lacks(error),
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// What stands in a job's line.
    async fn read(&self, batch: &Batch, results: &Results, one: &Waiting) -> Result<Generated> {
        let Some((file, range)) = results.line(&one.line) else {
            return Err(self.missing(batch, results));
        };
        let fields = &["b64_json", "url"];
        let (line, media) = self.http.file_media((file, range), fields, &one.output).await?;
        if let Some(error) = line.get("error").filter(|error| !says_nothing(error)) {
            let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
            let said = error.get("message").and_then(Value::as_str).unwrap_or(code);
            let kind = match code {
                // It did not come to it, and goes into another batch.
                "batch_expired" | "batch_cancelled" => ErrorKind::Cancelled,
                _ => ErrorKind::ProviderFault,
            };
            return Err(for_later(Error::new(kind, format!("in its batch: {said}"))));
        }
        let response = line.get("response").cloned().unwrap_or_default();
        let status = response.get("status_code").and_then(Value::as_u64).unwrap_or(0);
        let body = response.get("body").cloned().unwrap_or_default();
        let Some(status) = u16::try_from(status).ok().filter(|status| *status > 0) else {
            let message = "the line of the result file says neither what was made nor what went wrong";
            return Err(Error::new(ErrorKind::BadResponse, message)
                .with_charge(Charge::Unknown)
                .with_retry(Retry::Spent));
        };
        // Only lines that were completed are billed.
        self.http
            .judge_part("image generation", status, body.to_string().as_bytes())
            .map_err(for_later)?;
        let images: Images = serde_json::from_value(body).map_err(|error| {
            Error::new(
                ErrorKind::BadResponse,
                "the line of the result file is not as documented",
            )
            .because(error)
        })?;
        let id = response
            .get("request_id")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let mut generated = map::picture(images, media, id)?;
        generated.facts.price_factor = Some(self.config.price_factor);
        Ok(generated)
    }

    /// Why a batch says nothing of a line. Not billed is only what its own counts leave no place for.
    fn missing(&self, batch: &Batch, results: &Results) -> Error {
        if let Some(error) = results.unread() {
            return unfetched(batch, error);
        }
        let completed = batch.request_counts.map(|counts| counts.completed);
        let is_refused = batch.status == "failed" && completed.unwrap_or(0) == 0;
        if is_refused {
            let first = batch.errors.as_ref().and_then(|errors| errors.data.first());
            let said = first.and_then(|error| error.message.as_deref());
            let line = first
                .and_then(|error| error.line)
                .map(|line| format!(", line {line}"));
            let message = format!(
                "the batch was refused{}: {}",
                line.unwrap_or_default(),
                said.unwrap_or("no reason was given")
            );
            // A code says more than that it was refused: no money is no matter of this batch.
            let code = first.and_then(|error| error.code.as_deref()).unwrap_or_default();
            let complaint = json!({ "error": { "code": code, "message": said } }).to_string();
            let judged = self.http.judge_part("batch", 400, complaint.as_bytes());
            let kind = judged.err().map(|error| error.kind());
            return for_later(
                match kind.filter(|kind| kind.stops_lane() || kind.stops_model()) {
                    Some(kind) => Error::new(kind, message),
                    None => Error::new(ErrorKind::BadResponse, message),
                },
            );
        }
        let is_accounted = completed.is_some_and(|completed| results.found() >= completed);
        match batch.status.as_str() {
            "expired" | "cancelled" if is_accounted => {
                let message = format!(
                    "the batch {} before its turn came",
                    if batch.status == "expired" {
                        "ended"
                    } else {
                        "was cancelled"
                    }
                );
                for_later(Error::new(ErrorKind::Cancelled, message))
            }
            status => {
                let message = format!(
                    "the batch {} is {status}, and says nothing of this line",
                    batch.id
                );
                let now = self.http.wiring().clock.now().as_second();
                let lost_after = i64::try_from(self.config.lost_after.0.as_secs()).unwrap_or(i64::MAX);
                // At first the service may count slower than it writes. Later it has lost the line.
                let is_lost = batch
                    .ended_at()
                    .is_some_and(|ended| now.saturating_sub(ended) >= lost_after);
                if is_lost { lost(message) } else { pending(message) }
            }
        }
    }
}

/// A refusal of a whole file says nothing about a single row: none of them fails for good.
fn of_all(error: Error) -> Error {
    let kind = error.kind();
    if kind.stops_lane() || kind.stops_model() || kind == ErrorKind::BudgetExceeded {
        return error;
    }
    if !kind.is_lasting() {
        return error;
    }
    let charge = error.charge();
    let whole = Error::new(ErrorKind::BadResponse, "the batch was not taken").because(error);
    charge.map_or(whole.clone(), |charge| whole.with_charge(charge))
}

fn received(told: Result<Result<Generated>, oneshot::error::RecvError>) -> Result<Generated> {
    told.unwrap_or_else(|_| Err(pending("its batch was not read".to_owned())))
}

fn answer_all(jobs: &[&Job], error: &Error) {
    for job in jobs {
        job.finish(Err(error.clone().with_retry(Retry::Spent)));
    }
}
