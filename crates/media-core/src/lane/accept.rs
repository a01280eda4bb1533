//! From what a provider got to the file under its name: download, checks, durability, placing.

use std::sync::{Arc, PoisonError};

use super::{Lane, Task};
use crate::client::CheckLevel;
use crate::error::{Charge, Error, ErrorKind, Result, Retry};
use crate::http::{Damaged, Request};
use crate::job::Prior;
use crate::journal::Event;
use crate::output::{self, Staged, defect_error};
use crate::provider::{Facts, Generated, Link, Media, Resolved};
use crate::result::MediaFile;

impl Lane {
    /// From the answer to the result.
    pub(super) async fn conclude(&self, task: Task, generated: Generated) {
        let Generated { media, mut facts } = generated;
        let outcome = match self.fetch(&task, media, &mut facts).await {
            Ok(staged) => self.accept(&task, staged, &mut facts).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(file) => self.deliver(task, Ok(file), facts).await,
            Err(error) => {
                let error = error.with_charge(self.charge_of_bought());
                self.fail_with(task, error, facts).await;
            }
        }
    }

    /// What a failure has cost after the service delivered: the money is spent, whatever became of the file.
    pub(super) fn charge_of_bought(&self) -> Charge {
        if self.is_free() {
            Charge::None
        } else {
            Charge::Certain
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
        let first = match self.download(task, &link, facts).await {
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
        let known = Box::new(facts.clone());
        let generated = match self.recover(task, Prior::Linked { link, facts: known }).await {
            Some(Ok(generated)) => generated,
            Some(Err(error)) if error.kind().stops_lane() => return Err(error),
            _ => return Err(first),
        };
        *facts = generated.facts.over(std::mem::take(facts));
        match generated.media {
            Media::Staged(staged) => Ok(staged),
            Media::Link(fresh) => self.download(task, &fresh, facts).await,
        }
    }

    async fn download(&self, task: &Task, link: &Link, facts: &Facts) -> Result<Staged> {
        // Durable before the fetch: from now on a failure is downloaded again, never bought again. Where it cannot be
        // written down, fetching what was paid for is still better than losing it.
        let linked = Event::Linked {
            attempt: task.attempt.clone(),
            link: link.clone(),
            facts: Box::new(facts.clone()),
        };
        let key = task.key;
        if let Err(error) = self.http().journal().record(&[(key, linked)]).await {
            self.halt_all(&error);
        }
        let mut request = Request::download("download", link.url.clone(), &task.request.output_path);
        if let Some(group) = &link.group {
            request = request
                .in_group(group, &task.resolved.units)
                .counted()
                .spending(&task.hold);
        }
        let damaged = Damaged::default();
        let downloaded = self.http().media(request.leaving(&damaged)).await;
        let damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
        downloaded.map_err(|error| match damaged {
            Some(staged) if !self.is_free() => kept(staged, self.http(), key, error),
            _ => error,
        })
    }

    /// Checks what came, makes it durable, and gives it its name. Whatever fails, bytes that were paid for are kept.
    async fn accept(&self, task: &Task, mut staged: Staged, facts: &mut Facts) -> Result<MediaFile> {
        let key = task.key;
        let http = self.http().clone();
        let (target, decodes) = (
            task.request.output_path.clone(),
            self.client.level() == CheckLevel::Full,
        );
        let keeps = !self.is_free();
        let replaces = task.replaces.clone();
        let resolved = Arc::clone(&task.resolved);
        let (attempt, said) = (task.attempt.clone(), Box::new(facts.clone()));
        let cost = self.cost_of_bought(&resolved, facts);
        let runtime = tokio::runtime::Handle::current();
        // One visit to the blocking threads for all of it: each costs more than writing a small file.
        let work = move || {
            let mut unrecorded = None;
            let mut is_secured = false;
            let place = || {
                let warning = compare(&resolved, &staged)?;
                staged.mend()?;
                if decodes {
                    staged.decode()?;
                }
                let have = Event::Have {
                    attempt,
                    staged: staged.secure()?,
                    sha256: staged.sha256().to_owned(),
                    bytes: staged.len(),
                    target: target.clone(),
                    facts: said,
                    cost,
                };
                // Where this cannot be written down, the file under its name is the best record there is.
                unrecorded = runtime.block_on(http.journal().record(&[(key, have)])).err();
                is_secured = unrecorded.is_none();
                match &replaces {
                    Some(aside) => staged.place_over(&target, aside)?,
                    None => staged.place(&target)?,
                }
                Ok((staged.described(&target)?, warning))
            };
            let placed = place().map_err(|error: Error| {
                let error = http.scrub(error);
                match keeps {
                    // It is good, and only has no place yet: the journal knows where it waits for one.
                    true if is_secured && error.kind() == ErrorKind::Storage => {
                        staged.stay(&http.wiring().staging);
                        error
                    }
                    true => kept(staged, &http, key, error),
                    false => error,
                }
            });
            Ok((placed, unrecorded))
        };
        let (placed, unrecorded) = output::blocking(work).await?;
        let is_recorded = unrecorded.is_none();
        if let Some(error) = unrecorded {
            self.halt_all(&error);
        }
        let (file, warning) = placed?;
        if is_recorded {
            self.http().journal().note(key, Event::Done);
        }
        facts.warnings.extend(warning);
        tracing::debug!(id = %task.request.id, path = %file.path.display(), bytes = file.bytes, "file placed");
        Ok(file)
    }
}

/// Compares what came with what was asked for; another pixel size is only odd.
fn compare(resolved: &Resolved, staged: &Staged) -> Result<Option<String>> {
    let inspection = staged.inspection().map_err(defect_error)?;
    let wanted = resolved.format;
    if !inspection.format.satisfies(wanted) {
        return Err(Error::new(
            ErrorKind::InvalidMedia,
            format!("{wanted} was asked for and {} came", inspection.format),
        ));
    }
    let (Some((width, height)), Some(found)) = (resolved.dimensions, inspection.dimensions) else {
        return Ok(None);
    };
    Ok(((found.width, found.height) != (width, height)).then(|| {
        format!(
            "{width}x{height} was asked for and {}x{} came",
            found.width, found.height
        )
    }))
}

/// Keeps what was paid for and cannot be used; the error says where.
fn kept(staged: Staged, http: &crate::http::Http, key: crate::job::AttemptKey, error: Error) -> Error {
    match staged.reject(&http.wiring().staging, key, &error.full()) {
        Ok(Some(path)) => error.hint(format!("what came is kept as {}", path.display())),
        Ok(None) => error,
        Err(failure) => {
            tracing::error!(%key, error = %failure.full(), "what was paid for could not be kept");
            error
        }
    }
}
