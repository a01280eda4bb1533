//! How a batch stands: it is asked for by its id, or found by its key, until it is over.

use std::sync::Arc;
use std::time::Duration;

use media_core::http::Request;
use media_core::limit::Units;
use media_core::sync::lock;
use media_core::{Charge, Error, ErrorKind, Result};
use tokio::time::Instant;

use super::{ASK_OP, Batches, Known, MARK, for_later, gone, is_gone, pending};
use crate::config::BATCH_GROUP;
use crate::wire::{Batch, BatchList};

/// Batches on one page of the list: the most that the API gives.
const PAGE: &str = "100";

/// Whether waiting helps nothing: the key, its permission or the address is wrong.
fn takes_a_person(kind: ErrorKind) -> bool {
    kind.stops_lane() || kind.stops_model() || kind.is_lasting()
}

impl Batches {
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

    /// The key of a batch as it was written down, perhaps with the service's id.
    pub(super) fn remember<'k>(&self, batch: &'k str) -> &'k str {
        let Some((key, id)) = batch.split_once(' ') else {
            return batch;
        };
        *lock(&self.known(key).id) = Some(id.to_owned());
        key
    }

    pub(super) fn known(&self, key: &str) -> Arc<Known> {
        Arc::clone(lock(&self.known).entry(key.to_owned()).or_default())
    }

    /// The batch of this key once it is at its end.
    pub(super) async fn ended(&self, key: &str, ago: Option<Duration>) -> Result<Batch> {
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
                    if batch.is_over() {
                        return Ok(batch);
                    }
                    if !self.config.wait {
                        let counts = batch.request_counts.unwrap_or_default();
                        return Err(pending(format!(
                            "the batch {} is {}: {} of {} are done",
                            batch.id, batch.status, counts.completed, counts.total
                        )));
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
                Err(error) if is_gone(&error) => return Err(gone(&format!("the batch {key}"), &error)),
                Err(error) if takes_a_person(error.kind()) => return Err(error.with_charge(Charge::Unknown)),
                Err(error) => {
                    return Err(pending(format!("the batch {key} could not be asked for")).because(error));
                }
            }
            // The lock is kept: whoever waits for the same batch would only ask the same.
            if stop.or(tokio::time::sleep(delay)).await.is_none() {
                return Err(pending(format!("the batch {key} is not done")));
            }
            delay = delay.mul_f64(self.config.poll_growth).min(self.config.max_poll.0);
        }
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
        let mut unreadable = 0;
        for _ in 0..self.config.list_pages.get() {
            let mut query = vec![("limit", PAGE)];
            query.extend(after.as_deref().map(|id| ("after", id)));
            let list: BatchList = self.get(&["batches"], &query).await?;
            let count = list.data.len();
            // Without its metadata it may be any batch; with none it is somebody else's.
            let batches: Vec<Batch> = list
                .data
                .into_iter()
                .filter(|batch| batch.get("metadata").is_some())
                .filter_map(|batch| serde_json::from_value(batch).ok())
                .collect();
            unreadable += count - batches.len();
            let last = batches.last().map(|batch| batch.id.clone());
            let is_it = |batch: &Batch| {
                let marked = batch.metadata.as_ref().and_then(|metadata| metadata.get(MARK));
                marked.is_some_and(|mark| mark.as_str() == Some(key))
            };
            if let Some(batch) = batches.into_iter().find(is_it) {
                return Ok(Some(batch));
            }
            match last.filter(|_| list.has_more) {
                Some(last) => after = Some(last),
                None if unreadable > 0 || list.has_more => {
                    // It may be one of them.
                    let message = match unreadable {
                        0 => "the account's batches cannot be looked through to their end".to_owned(),
                        count => format!("{count} of the account's batches cannot be read"),
                    };
                    return Err(Error::new(ErrorKind::BadResponse, message));
                }
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
}
