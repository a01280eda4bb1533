//! What a finished batch says of its jobs: its result files are fetched once, and each line is read for the job that it is of.

use std::path::{Path, PathBuf};

use media_core::http::Request;
use media_core::limit::Units;
use media_core::sync::lock;
use media_core::{Charge, Error, ErrorKind, Generated, Job, Result, Retry};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::results::{Results, status_of};
use super::{Batches, FETCH_OP, for_later, gone, is_gone, lost, pending};
use crate::config::BATCH_GROUP;
use crate::error::{says_nothing, shorten};
use crate::map;
use crate::wire::{Batch, Images};

/// What the service says where an account has as much in batches as it may.
const TOO_MUCH: &str = "token_limit_exceeded";

/// A job that wants its line.
#[derive(Debug)]
pub(super) struct Waiting {
    line: String,
    output: PathBuf,
    answer: oneshot::Sender<Result<Generated>>,
}

/// Results that could not be fetched, now or ever.
fn unfetched(batch: &Batch, error: &Error) -> Error {
    let results = format!("the results of the batch {}", batch.id);
    if is_gone(error) {
        return gone(&results, error);
    }
    pending(format!("{results} could not be fetched")).because(error.clone())
}

fn received(told: Result<Result<Generated>, oneshot::error::RecvError>) -> Result<Generated> {
    told.unwrap_or_else(|_| Err(pending("its batch was not read".to_owned())))
}

impl Batches {
    /// What a finished batch says of a job. Whoever comes first reads the file for all that wait for the same batch.
    pub(super) async fn collect(&self, batch: &Batch, job: &Job) -> Result<Generated> {
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
        let response = line.get("response").cloned().unwrap_or_default();
        let status = response.get("status_code").and_then(status_of).unwrap_or(0);
        // Only lines that were completed are billed, and one with a 200 was.
        let is_completed = (200..300).contains(&status);
        if let Some(error) = line
            .get("error")
            .filter(|error| !is_completed && !says_nothing(error))
        {
            let code = error.get("code").unwrap_or(error).as_str().unwrap_or_default();
            let said = error.get("message").and_then(Value::as_str).unwrap_or(code);
            let kind = match code {
                // It did not come to it, and goes into another batch.
                "batch_expired" | "batch_cancelled" => ErrorKind::Cancelled,
                _ => ErrorKind::ProviderFault,
            };
            return Err(for_later(Error::new(
                kind,
                format!("in its batch: {}", shorten(said)),
            )));
        }
        let body = response.get("body").cloned().unwrap_or_default();
        let Some(status) = u16::try_from(status).ok().filter(|status| *status > 0) else {
            let message = "the line of the result file says neither what was made nor what went wrong";
            return Err(Error::new(ErrorKind::BadResponse, message)
                .with_charge(Charge::Unknown)
                .with_retry(Retry::Spent));
        };
        self.http
            .judge_part("image generation", status, body.to_string().as_bytes())
            .map_err(|error| match is_completed {
                true => error.with_retry(Retry::Spent).with_charge(Charge::Unknown),
                false => for_later(error),
            })?;
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

    /// Why a batch was refused as a whole.
    fn refusal(&self, batch: &Batch) -> Error {
        let first = batch.errors.as_ref().and_then(|errors| errors.data.first());
        let said = first.and_then(|error| error.message.as_deref());
        let told = said.map(shorten).filter(|said| !said.is_empty());
        let told = told.unwrap_or_else(|| "no reason was given".to_owned());
        let line = first
            .and_then(|error| error.line)
            .map(|line| format!(", line {line}"));
        let message = format!("the batch was refused{}: {told}", line.unwrap_or_default());
        // A code says more than that it was refused: no money is no matter of this batch.
        let code = first.and_then(|error| error.code.as_deref()).unwrap_or_default();
        if code == TOO_MUCH {
            // Nothing is wrong with it: its turn did not come.
            let hint = "run the same command again when other batches of the account are done";
            return for_later(Error::new(ErrorKind::Cancelled, message).hint(hint));
        }
        let complaint = json!({ "error": { "code": code, "message": said } }).to_string();
        let judged = self.http.judge_part("batch", 400, complaint.as_bytes());
        let judged = judged.err();
        let judged = judged.filter(|error| error.kind().stops_lane() || error.kind().stops_model());
        for_later(match judged {
            Some(judged) => match judged.next() {
                Some(next) => Error::new(judged.kind(), message).hint(next),
                None => Error::new(judged.kind(), message),
            },
            None => Error::new(ErrorKind::BadResponse, message),
        })
    }

    /// Why a batch says nothing of a line. Not billed is only what its own counts leave no place for.
    fn missing(&self, batch: &Batch, results: &Results) -> Error {
        let completed = batch.request_counts.map(|counts| counts.completed);
        let is_refused = batch.status == "failed" && completed.unwrap_or(0) == 0 && results.found() == 0;
        if is_refused {
            return self.refusal(batch);
        }
        let is_accounted = completed.is_some_and(|completed| results.found() >= completed);
        // A file that could not be fetched may be there next time.
        let unread = results.unread();
        let may_come = unread.filter(|error| error.kind() != ErrorKind::BadResponse);
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
                if let Some(error) = may_come {
                    return unfetched(batch, error);
                }
                let message = match unread {
                    Some(error) => format!("the batch {} is {status}, and {error}", batch.id),
                    None => format!(
                        "the batch {} is {status}, and says nothing of this line",
                        batch.id
                    ),
                };
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
