//! From what a provider got to the file under its name.

use std::sync::Arc;

use super::finish::{Finished, Piece};
use super::{Lane, Task};
use crate::error::{Charge, ErrorKind, Result, Retry};
use crate::http::Request;
use crate::job::Prior;
use crate::journal::Event;
use crate::output::Staged;
use crate::provider::{Facts, Generated, Link, Media};
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
        self.client.info().capabilities.free
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
        let ours = [ErrorKind::Storage, ErrorKind::Cancelled];
        // What came whole from where each call counts is as it is: asking again would spend the day's calls on the same.
        let is_broken = first.kind() == ErrorKind::InvalidMedia && link.group.is_some();
        // A link of an earlier process may be of a host that is no more: then no try of this one can tell.
        let is_old = matches!(task.prior, Prior::Linked { .. });
        if (first.retry() == Retry::Spent && !is_old)
            || ours.contains(&first.kind())
            || first.kind().stops_lane()
            || is_broken
        {
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
            self.halts.halt_all(&error);
        }
        let mut request = Request::download(link.url.clone(), &task.request.output_path);
        if let Some(group) = &link.group {
            request = request
                .in_group(group, &task.resolved.units)
                .counted()
                .spending(&task.hold);
        }
        if !self.is_free() {
            request = request.keeping(key);
        }
        self.http().media(request).await
    }

    /// Checks what came, makes it durable, and gives it its name. Whatever fails, bytes that were paid for are kept.
    async fn accept(&self, task: &Task, staged: Staged, facts: &mut Facts) -> Result<MediaFile> {
        let key = task.key;
        let duration = staged.inspection().ok().and_then(|media| media.duration);
        let piece = Piece {
            key,
            attempt: task.attempt.clone(),
            staged,
            target: task.request.output_path.clone(),
            replaces: task.replaces.clone(),
            resolved: Arc::clone(&task.resolved),
            facts: facts.clone(),
            cost: self.cost_of_bought(&task.resolved, facts, duration),
        };
        let Finished { placed, unrecorded } = self.finisher.finish(piece).await?;
        if let Some(error) = &unrecorded {
            self.halts.halt_all(error);
        }
        let (file, warning) = placed?;
        self.space.saw(file.bytes);
        if unrecorded.is_none() {
            self.http().journal().note(key, Event::Done);
        }
        facts.warnings.extend(warning);
        tracing::debug!(id = %task.request.id, path = %file.path.display(), bytes = file.bytes, "file placed");
        Ok(file)
    }
}
