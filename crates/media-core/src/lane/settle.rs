//! From a job's answer to its result: a new attempt, recovery, download, checks, the file under its name, the account.

use std::io::Seek as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Answer, Lane, Task, probe_key};
use crate::client::{CheckLevel, Delivery};
use crate::error::{Charge, Error, ErrorKind, Result, Retry};
use crate::format::Format;
use crate::http::Request;
use crate::job::Prior;
use crate::journal::Event;
use crate::money::Usd;
use crate::output::{self, Staged, defect_error};
use crate::provider::{Facts, Generated, Link, Media, Resolved};
use crate::result::{Cost, CostBasis, MediaFile, MediaResult, Provenance};

impl Lane {
    /// Follows one task from its answer to its result.
    pub(super) async fn settle(self: Arc<Self>, mut task: Task, answer: Answer) {
        let span = tracing::debug_span!("job", id = %task.request.id, attempt = task.attempt);
        async {
            let mut answer = received(answer.await);
            let retry = self.http().settings().retry;
            let mut delays = ExponentialBuilder::default()
                .with_min_delay(retry.first_delay.0)
                .with_max_delay(retry.max_delay.0)
                .with_factor(2.0)
                .with_max_times(retry.attempts.saturating_sub(1) as usize)
                .with_jitter()
                .build();
            loop {
                let error = match answer {
                    Ok(generated) => return self.conclude(task, generated).await,
                    Err(error) => error,
                };
                if error.charge() == Some(Charge::Unknown)
                    && let Some(Ok(generated)) = self.recover(&task, Prior::Sent).await
                {
                    return self.conclude(task, generated).await;
                }
                let again = error.charge() == Some(Charge::None) && error.retry() == Retry::Later;
                let Some(delay) = delays
                    .next()
                    .filter(|_| again && self.halt(&task.resolved).is_none())
                else {
                    return self.fail(task, error).await;
                };
                // A per-task refusal answered inside a success; Http could not see it.
                self.http()
                    .journal()
                    .note(task.key(self.client.project()), Event::Refused);
                tracing::debug!(%error, "begun again under a new key");
                task.attempt += 1;
                answer = match self
                    .again(&task, error.retry_after().unwrap_or(delay).max(delay))
                    .await
                {
                    Some(answer) => answer,
                    None => {
                        task.attempt -= 1;
                        return self.fail(task, error).await;
                    }
                };
            }
        }
        .instrument(span)
        .await;
    }

    /// One more attempt, alone, after a wait. `None` when a stop was asked for first.
    async fn again(&self, task: &Task, delay: Duration) -> Option<Result<Generated>> {
        let stop = &self.http().wiring().stop;
        stop.or(tokio::time::sleep(delay)).await?;
        let _call = stop.or(Arc::clone(&self.calls).acquire_owned()).await?.ok()?;
        let (job, answer) = match self.begin(task).await {
            Ok(begun) => begun,
            Err(error) => return Some(Err(error)),
        };
        self.ask(vec![job]).await;
        Some(received(answer.await))
    }

    /// Asks the provider for what the current key made. Never buys. `None` when it cannot tell.
    pub(super) async fn recover(&self, task: &Task, prior: Prior) -> Option<Result<Generated>> {
        if !self.client.provider().info().capabilities.recoverable {
            return None;
        }
        let (job, mut answer) = self.job(task, prior);
        self.client.provider().recover(std::slice::from_ref(&job)).await;
        let recovered = answer.try_recv().ok()?;
        if let Err(error) = &recovered {
            tracing::debug!(%error, "nothing could be recovered");
        }
        Some(recovered)
    }

    /// A task that an earlier process left unfinished.
    pub(super) async fn resume(self: Arc<Self>, task: Task) {
        match task.prior.clone() {
            Prior::Fresh | Prior::Sent => match self.recover(&task, Prior::Sent).await {
                Some(Ok(generated)) => self.conclude(task, generated).await,
                _ => {
                    let error = Error::new(
                        ErrorKind::Cancelled,
                        "it was sent by an earlier run whose answer was lost, so it may have been billed",
                    );
                    self.fail(task, error.with_charge(Charge::Unknown)).await;
                }
            },
            Prior::Linked(link) => {
                let generated = Generated {
                    media: Media::Link(link),
                    facts: Facts::default(),
                };
                self.conclude(task, generated).await;
            }
            Prior::Have { sha256, staged } => self.place_again(task, sha256, staged).await,
        }
    }

    async fn place_again(&self, task: Task, sha256: String, staged: PathBuf) {
        let target = task.request.output_path.clone();
        let outcome = async {
            let gone = |error| {
                Error::new(
                    ErrorKind::Storage,
                    format!("the staged file {} is gone", staged.display()),
                )
                .because(error)
            };
            let mut file = std::fs::File::open(&staged).map_err(gone)?;
            let bytes = file.metadata().map_err(gone)?.len();
            if output::hash_of(&mut file).map_err(gone)? != sha256 {
                return Err(Error::new(
                    ErrorKind::InvalidMedia,
                    format!("the staged file {} is not what it was", staged.display()),
                ));
            }
            file.rewind().map_err(gone)?;
            let inspected = crate::validate::inspect_reader(file).map_err(gone)?;
            let inspection = inspected.map_err(|defect| defect_error(&defect))?;
            output::place_staged(staged, target.clone()).await?;
            Ok(MediaFile {
                path: target,
                format: inspection.format,
                bytes,
                sha256,
                dimensions: inspection.dimensions,
                duration: inspection.duration,
            })
        }
        .await
        .map_err(|error: Error| error.with_charge(Charge::Certain));
        if outcome.is_ok() {
            self.http()
                .journal()
                .note(task.key(self.client.project()), Event::Done);
        }
        self.deliver(task, outcome, Facts::default()).await;
    }

    /// From the answer to the file.
    pub(super) async fn conclude(&self, task: Task, generated: Generated) {
        let Generated { media, mut facts } = generated;
        let outcome = match self.fetch(&task, media, &mut facts).await {
            Ok(staged) => self.accept(&task, staged, &mut facts).await,
            Err(error) => Err(error),
        };
        // From here on the money is spent, whatever became of the file.
        let charge = if self.is_free() {
            Charge::None
        } else {
            Charge::Certain
        };
        match outcome {
            Ok(file) => self.deliver(task, Ok(file), facts).await,
            Err(error) => self.fail_with(task, error.with_charge(charge), facts).await,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.client.provider().info().capabilities.free
    }

    async fn fetch(&self, task: &Task, media: Media, facts: &mut Facts) -> Result<Staged> {
        let link = match media {
            Media::Staged(staged) => return Ok(staged),
            Media::Link(link) => link,
        };
        let first = match self.download(task, &link).await {
            Ok(staged) => return Ok(staged),
            Err(error) => error,
        };
        let ours = [
            ErrorKind::QuotaExhausted,
            ErrorKind::Storage,
            ErrorKind::Cancelled,
        ];
        if first.retry() == Retry::Spent || ours.contains(&first.kind()) {
            return Err(first);
        }
        // The link may have expired; the service may give a fresh one without selling the same thing again.
        let generated = match self.recover(task, Prior::Linked(link)).await {
            Some(Ok(generated)) => generated,
            Some(Err(error)) if error.kind().stops_lane() => return Err(error),
            _ => return Err(first),
        };
        *facts = generated.facts;
        match generated.media {
            Media::Staged(staged) => Ok(staged),
            Media::Link(fresh) => self.download(task, &fresh).await,
        }
    }

    async fn download(&self, task: &Task, link: &Link) -> Result<Staged> {
        let key = task.key(self.client.project());
        // Durable before the fetch: from now on a failure is downloaded again, never bought again.
        self.http()
            .journal()
            .record(&[(key, Event::Linked(link.clone()))])
            .await?;
        let mut request = Request::download("download", link.url.clone(), &task.request.output_path);
        if let Some(group) = &link.group {
            request = request
                .in_group(group, &task.resolved.units)
                .counted()
                .spending(&task.hold);
        }
        self.http().media(request).await
    }

    /// Checks what came, makes it durable, and gives it its name.
    async fn accept(&self, task: &Task, staged: Staged, facts: &mut Facts) -> Result<MediaFile> {
        let key = task.key(self.client.project());
        let wiring = self.http().wiring();
        let free = self.is_free();
        if let Err(error) = self.inspect(task, &staged, facts) {
            if !free {
                staged
                    .reject(&wiring.staging, key, self.http().scrub(error.clone()).full())
                    .await?;
            }
            return Err(error);
        }
        let (staging, journal) = (wiring.staging.clone(), Arc::clone(&wiring.journal));
        let (target, level) = (task.request.output_path.clone(), self.client.level());
        // One visit to the blocking threads for all of it: each costs more than writing a small file.
        let runtime = tokio::runtime::Handle::current();
        let (file, journal) = output::blocking(move || {
            let secured = staged.secure()?;
            if level == CheckLevel::Full
                && let Err(error) = decode(&secured.path, secured.inspection.format)
            {
                if !free {
                    secured.reject(&staging, key, &error.full())?;
                }
                return Err(error);
            }
            let have = Event::Have {
                sha256: secured.sha256.clone(),
                bytes: secured.bytes,
                staged: secured.path.to_path_buf(),
            };
            runtime.block_on(journal.record(&[(key, have)]))?;
            let file = MediaFile {
                path: target.clone(),
                format: secured.inspection.format,
                bytes: secured.bytes,
                sha256: secured.sha256.clone(),
                dimensions: secured.inspection.dimensions,
                duration: secured.inspection.duration,
            };
            secured.place(&target, &staging, key)?;
            Ok((file, journal))
        })
        .await?;
        journal.note(key, Event::Done);
        tracing::debug!(id = %task.request.id, path = %file.path.display(), bytes = file.bytes, "file placed");
        Ok(file)
    }

    fn inspect(&self, task: &Task, staged: &Staged, facts: &mut Facts) -> Result<()> {
        let inspection = staged.inspection().map_err(defect_error)?;
        let wanted = task.resolved.format;
        if !inspection.format.satisfies(wanted) {
            return Err(Error::new(
                ErrorKind::InvalidMedia,
                format!("{wanted} was asked for and {} came", inspection.format),
            ));
        }
        if let (Some((width, height)), Some(found)) = (task.resolved.dimensions, inspection.dimensions)
            && (found.width, found.height) != (width, height)
        {
            facts.warnings.push(format!(
                "{width}x{height} was asked for and {}x{} came",
                found.width, found.height
            ));
        }
        Ok(())
    }

    pub(super) async fn fail(&self, task: Task, error: Error) {
        self.fail_with(task, error, Facts::default()).await;
    }

    async fn fail_with(&self, task: Task, error: Error, facts: Facts) {
        let error = self.http().scrub(error);
        let kind = error.kind();
        // What was paid for could not be kept: buying more would lose more.
        let cannot_keep = kind == ErrorKind::Storage && error.charge() != Some(Charge::None);
        if kind.stops_lane() || kind.stops_model() || cannot_keep {
            let what = kind.stops_model().then(|| probe_key(&task.resolved));
            let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
            halted
                .entry(what)
                .or_insert_with(|| error.clone().with_charge(Charge::None));
        }
        self.deliver(task, Err(error), facts).await;
    }

    async fn deliver(&self, task: Task, outcome: Result<MediaFile>, facts: Facts) {
        self.http().release(task.hold.put(None)).await;
        let outcome = outcome.map_err(|error| match error.charge() {
            Some(_) => error,
            None => error.with_charge(Charge::Unknown),
        });
        let result = MediaResult {
            cost: self.cost(&task.resolved, &outcome, &facts),
            provenance: self.provenance(Some(&task.resolved), &facts),
            attempts: task.attempt,
            elapsed: task.began.elapsed(),
            outcome,
            request: Arc::unwrap_or_clone(task.request),
        };
        // A reader that went away wants nothing more; the work is done all the same.
        let _ = self
            .results
            .send(Delivery {
                tag: task.tag,
                result,
            })
            .await;
    }

    fn cost(&self, resolved: &Resolved, outcome: &Result<MediaFile>, facts: &Facts) -> Option<Cost> {
        match outcome.as_ref().err().and_then(Error::charge) {
            Some(Charge::None) => {
                return Some(Cost {
                    usd: Usd::ZERO,
                    basis: CostBasis::None,
                });
            }
            Some(Charge::Unknown) => return None,
            Some(Charge::Certain) | None => {}
        }
        if let Some(usd) = facts.cost {
            return Some(Cost {
                usd,
                basis: CostBasis::Reported,
            });
        }
        if self.client.provider().info().capabilities.free {
            return Some(Cost {
                usd: Usd::ZERO,
                basis: CostBasis::Subscription,
            });
        }
        let prices = &self.http().settings().prices;
        if let Some(usd) = prices.of_usage(resolved, &facts.usage) {
            return Some(Cost {
                usd,
                basis: CostBasis::Computed,
            });
        }
        Some(Cost {
            usd: prices.row(resolved)?.price(resolved),
            basis: CostBasis::Estimated,
        })
    }

    pub(super) fn provenance(&self, resolved: Option<&Resolved>, facts: &Facts) -> Provenance {
        let facts = facts.clone();
        Provenance {
            provider: self.client.provider().info().name.clone(),
            model: resolved.map(|resolved| resolved.model.clone()),
            remote_id: facts.remote_id,
            seed: facts.seed,
            revised_prompt: facts.revised_prompt,
            credit: facts.credit,
            licence: facts.licence,
            warnings: facts.warnings,
        }
    }
}

/// Decodes a whole file with the decoders that are built in.
fn decode(path: &Path, format: Format) -> Result<()> {
    #[cfg(feature = "decode-image")]
    if format.kind() == crate::MediaKind::Image {
        let limits = crate::validate::DecodeLimits::default();
        crate::validate::decode_image(path, format, limits).map_err(|defect| defect_error(&defect))?;
    }
    #[cfg(feature = "decode-audio")]
    if format.kind() == crate::MediaKind::Audio {
        crate::validate::decode_audio(path, format).map_err(|defect| defect_error(&defect))?;
    }
    let _ = (path, format);
    Ok(())
}

fn received(answer: Result<Result<Generated>, oneshot::error::RecvError>) -> Result<Generated> {
    // A job answers when it is dropped, so this is only reached when the runtime itself is torn down.
    answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Cancelled, "the work was given up")))
}
