//! The last steps of files that came whole: checked, made durable, written down, given their names.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};
use crate::http::Http;
use crate::journal::Event;
use crate::key::{Attempt, AttemptKey};
use crate::output::{Staged, defect_error};
use crate::provider::{Facts, Resolved};
use crate::result::{Cost, MediaFile};
use crate::sync::lock;

/// A file that came whole, and what has to be known to finish it.
pub(super) struct Piece {
    pub(super) key: AttemptKey,
    pub(super) attempt: Attempt,
    pub(super) staged: Staged,
    pub(super) target: PathBuf,
    /// Where the file is kept that this one takes the place of.
    pub(super) replaces: Option<PathBuf>,
    pub(super) resolved: Arc<Resolved>,
    pub(super) facts: Facts,
    pub(super) cost: Option<Cost>,
}

/// What became of a piece.
pub(super) struct Finished {
    /// The file under its name, and what is odd about it.
    pub(super) placed: Result<(MediaFile, Option<String>)>,
    /// Why it could not be written down that it was there.
    pub(super) unrecorded: Option<Error>,
}

/// Threads that finish files at the same time: enough to keep the processor and a disk busy. Each may hold a decoded
/// picture, so more of them would be memory by the number of calls in flight.
const AT_WORK: usize = 4;

/// Finishes files on a few of the blocking threads. Small ones go in company: waking a thread costs more than writing one
/// of them, and those that are written down together are one commit.
pub(super) struct Finisher {
    http: Http,
    decodes: bool,
    /// What fails its checks is kept all the same, because it was paid for.
    keeps: bool,
    line: Mutex<Line>,
}

/// What waits, and who will look at it.
#[derive(Default)]
struct Line {
    small: Vec<Waiting>,
    large: VecDeque<Waiting>,
    /// Threads that will look at what waits before they end.
    at_work: usize,
}

impl Line {
    /// Whether another thread is needed: for a large file while fewer than [`AT_WORK`] run, for small ones only when more of
    /// them wait than threads run. On a fast disk a few threads take them in handfuls; on a slow one they sync side by side.
    fn join(&mut self, waiting: Waiting) -> bool {
        let is_small = waiting.piece.staged.is_small();
        if is_small {
            self.small.push(waiting);
        } else {
            self.large.push_back(waiting);
        }
        let needs_another = self.at_work < AT_WORK && (!is_small || self.small.len() > self.at_work);
        self.at_work += usize::from(needs_another);
        needs_another
    }

    /// All small files that wait, or else one large.
    fn handful(&mut self) -> Vec<Waiting> {
        if self.small.is_empty() {
            self.large.pop_front().into_iter().collect()
        } else {
            std::mem::take(&mut self.small)
        }
    }
}

struct Waiting {
    piece: Piece,
    answer: oneshot::Sender<Finished>,
}

impl Finisher {
    pub(super) fn new(http: Http, decodes: bool, keeps: bool) -> Arc<Finisher> {
        Arc::new(Finisher {
            http,
            decodes,
            keeps,
            line: Mutex::default(),
        })
    }

    /// # Errors
    /// The runtime is being shut down.
    pub(super) async fn finish(self: &Arc<Self>, piece: Piece) -> Result<Finished> {
        let (answer, answered) = oneshot::channel();
        if self.line().join(Waiting { piece, answer }) {
            let (finisher, runtime) = (Arc::clone(self), Handle::current());
            tokio::task::spawn_blocking(move || finisher.work(&runtime));
        }
        answered
            .await
            .map_err(|_| Error::new(ErrorKind::Storage, "the file work was interrupted"))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }

    fn work(&self, runtime: &Handle) {
        loop {
            let handful = {
                let mut line = self.line();
                let handful = line.handful();
                if handful.is_empty() {
                    line.at_work -= 1;
                    return;
                }
                handful
            };
            // Whoever was promised that a thread looks must not wait for one that broke down.
            let seen_to = catch_unwind(AssertUnwindSafe(|| self.see_to(handful, runtime)));
            if seen_to.is_err() {
                tracing::error!("the work on a handful of files panicked");
            }
        }
    }

    fn see_to(&self, pieces: Vec<Waiting>, runtime: &Handle) {
        let mut events = Vec::new();
        let checked: Vec<_> = pieces
            .into_iter()
            .map(|Waiting { mut piece, answer }| {
                let secured = whatever_happens(|| self.secure(&mut piece)).map(|(event, warning)| {
                    events.push((piece.key, event));
                    warning
                });
                (piece, answer, secured)
            })
            .collect();
        let record = || {
            if events.is_empty() {
                return Ok(());
            }
            runtime.block_on(self.http.journal().record(&events))
        };
        let unrecorded = whatever_happens(record).err();
        for (mut piece, answer, secured) in checked {
            let is_secured = secured.is_ok() && unrecorded.is_none();
            let placed = secured.and_then(|warning| {
                if unrecorded.is_some() {
                    // Then the file system has to remember whose it is.
                    piece.staged.mark_as(piece.key, &self.http.wiring().staging);
                }
                let file = whatever_happens(|| place(&mut piece))?;
                Ok((file, warning))
            });
            let placed = placed.map_err(|error| self.keep(piece, is_secured, error));
            // Whoever asked may have been given up since.
            let _ = answer.send(Finished {
                placed,
                unrecorded: unrecorded.clone(),
            });
        }
    }

    /// Checks it and makes it durable.
    fn secure(&self, piece: &mut Piece) -> Result<(Event, Option<String>)> {
        let staged = &mut piece.staged;
        let warning = compare(&piece.resolved, staged)?;
        staged.mend()?;
        if self.decodes {
            staged.decode()?;
        }
        let have = Event::Have {
            attempt: piece.attempt.clone(),
            staged: staged.secure()?,
            sha256: staged.sha256().to_owned(),
            bytes: staged.len(),
            target: piece.target.clone(),
            facts: Box::new(std::mem::take(&mut piece.facts)),
            cost: piece.cost,
        };
        Ok((have, warning))
    }

    /// Keeps what was paid for and has no name; the error says where.
    fn keep(&self, piece: Piece, is_secured: bool, error: Error) -> Error {
        let error = self.http.scrub(error);
        if !self.keeps {
            return error;
        }
        // It is good, and only has no place yet: the journal knows where it waits for one.
        if is_secured && error.kind() == ErrorKind::Storage {
            piece.staged.stay(&self.http.wiring().staging);
            return error;
        }
        self.http.kept(piece.staged, piece.key, error)
    }
}

fn place(piece: &mut Piece) -> Result<MediaFile> {
    match &piece.replaces {
        Some(aside) => piece.staged.place_over(&piece.target, aside)?,
        None => piece.staged.place(&piece.target)?,
    }
    piece.staged.described(&piece.target)
}

/// A decoder that breaks down over one file must not take others with it, nor what was paid for.
fn whatever_happens<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "the program failed while it was at work on the file";
        Err(Error::new(ErrorKind::InvalidMedia, message))
    })
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::http::{Auth, HttpOptions, Judge, MemoryTransport, Reply, Scripted, Wiring};
    use crate::journal::Journal;
    use crate::limit::Units;
    use crate::output::{Intake, Staging};
    use crate::{Format, MediaRequest, RequestHash};

    const PICTURE: &[u8] = include_bytes!("../validate/fixtures/interlaced.png");

    /// How many events each record held.
    #[derive(Debug, Default)]
    struct Records(Mutex<Vec<usize>>);

    #[async_trait]
    impl Journal for Records {
        async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()> {
            self.0.lock().unwrap().push(events.len());
            Ok(())
        }

        fn note(&self, _: AttemptKey, _: Event) {}
    }

    #[derive(Debug)]
    struct NoJudge;

    impl Judge for NoJudge {
        fn judge(&self, _: &Reply<'_>) -> Result<()> {
            Ok(())
        }
    }

    fn http(journal: Arc<Records>, folder: &std::path::Path) -> Http {
        let mut wiring = Wiring::over(Arc::new(MemoryTransport::new(|_| Scripted::new(500, ""))));
        wiring.journal = journal;
        wiring.staging = Staging::Folder(folder.join(".media").into());
        Http::new(HttpOptions {
            name: "acme".into(),
            base_url: "https://acme.test".parse().unwrap(),
            key: None,
            auth: Auth::Bearer,
            headers: http::HeaderMap::new(),
            settings: crate::settings::ServiceSettings::default(),
            judge: Arc::new(NoJudge),
            wiring,
        })
    }

    async fn piece(http: &Http, target: PathBuf, bytes: &[u8]) -> Piece {
        let resolved = Resolved {
            model: "m".into(),
            content: "dog".into(),
            language: None,
            params: std::collections::BTreeMap::new(),
            format: Format::Png,
            group: "images".into(),
            units: Units::default(),
            calls: 1,
            dimensions: None,
        };
        let request = MediaRequest::image("dog", &target);
        let attempt = Attempt {
            job: request.id.clone(),
            request: RequestHash::of("acme", &request, &resolved),
            take: 1,
            number: 1,
        };
        let mut writer = Intake::new(&http.wiring().staging, &target, 1 << 20).writer();
        writer.push(bytes).await.unwrap();
        Piece {
            key: AttemptKey::compute("test", &attempt),
            attempt,
            staged: writer.finish().await.unwrap(),
            target,
            replaces: None,
            resolved: Arc::new(resolved),
            facts: Facts::default(),
            cost: None,
        }
    }

    #[tokio::test]
    async fn small_files_that_wait_together_are_one_record_and_fail_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::<Records>::default();
        let http = http(Arc::clone(&journal), folder.path());
        let finisher = Finisher::new(http.clone(), true, true);
        let mut answers = Vec::new();
        for (place, bytes) in [PICTURE, b"no picture", PICTURE, PICTURE].into_iter().enumerate() {
            let piece = piece(&http, folder.path().join(format!("{place}.png")), bytes).await;
            let (answer, answered) = oneshot::channel();
            let needs_another = finisher.line().join(Waiting { piece, answer });
            // Nobody has begun: each that comes is more than are at work.
            assert!(needs_another, "{place}");
            answers.push(answered);
        }
        let runtime = Handle::current();
        let worker = Arc::clone(&finisher);
        let worked = tokio::task::spawn_blocking(move || (0..4).for_each(|_| worker.work(&runtime)));
        worked.await.unwrap();
        assert_eq!(*journal.0.lock().unwrap(), [3]);
        assert_eq!(finisher.line().at_work, 0);
        for (place, answer) in answers.into_iter().enumerate() {
            let placed = answer.await.unwrap().placed;
            let stands = folder.path().join(format!("{place}.png")).exists();
            assert_eq!(
                (placed.is_ok(), stands),
                (place != 1, place != 1),
                "{place}: {placed:?}"
            );
        }
        let rejected = std::fs::read_dir(folder.path().join(".media/rejected")).unwrap();
        assert_eq!(rejected.count(), 2, "the bytes and why");
    }

    #[test]
    fn what_breaks_down_is_a_failure_of_its_file_alone() {
        let broken: Result<()> = whatever_happens(|| std::panic::resume_unwind(Box::new("a decoder")));
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::InvalidMedia);
    }

    #[tokio::test]
    async fn who_is_at_work_takes_what_comes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let http = http(Arc::default(), folder.path());
        let finisher = Finisher::new(http.clone(), true, true);
        finisher.line().at_work = 2;
        let mut calls = Vec::new();
        for place in 0..4 {
            let piece = piece(&http, folder.path().join(format!("{place}.png")), PICTURE).await;
            let (answer, _) = oneshot::channel();
            calls.push(finisher.line().join(Waiting { piece, answer }));
        }
        // Two are at work and will look; a third is called when three wait, and then a fourth.
        assert_eq!(calls, [false, false, true, true]);
        // However many come, no more are called.
        for place in 4..12 {
            let piece = piece(&http, folder.path().join(format!("{place}.png")), PICTURE).await;
            let (answer, _) = oneshot::channel();
            assert!(!finisher.line().join(Waiting { piece, answer }));
        }
    }
}
