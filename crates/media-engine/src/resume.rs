//! What is to be done about a job, by what the ledger knows and what stands on disk. Nothing here changes anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use media_core::{Client, ErrorKind, Prior, Result};

use crate::found::{Found, find};
use crate::ledger::{AttemptRow, AttemptState, Entry, JobStatus, Reader, TakeRow, asked};
use crate::line::{LineError, Status};
use crate::list::JobSpec;
use crate::plan::Prepared;

/// What is to be done about a job.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Nothing, for this reason.
    Stay(Box<Stay>),
    /// It is made, or an earlier attempt at it is seen to its end.
    Make(Start),
    /// A file that was made for it, or for an equal request, is copied to its place: nothing is bought.
    Copy {
        from: PathBuf,
        take: Box<TakeRow>,
        /// The number of the job's own take.
        number: u32,
        /// What stands at its path is broken, and is to be moved away first.
        is_broken: bool,
    },
}

/// Why nothing is done.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) status: Status,
    /// The file, where the ledger knows it.
    pub(crate) take: Option<TakeRow>,
    pub(crate) error: Option<LineError>,
    /// What stands at its path is broken, and is to be moved away.
    pub(crate) is_broken: bool,
}

/// How a job is begun.
#[derive(Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) take: u32,
    pub(crate) attempt: u32,
    pub(crate) prior: Prior,
    /// Whether it may be bought. Otherwise what fails is only gone.
    pub(crate) buys: bool,
    /// What stands at its path is broken, and is to be moved away first.
    pub(crate) is_broken: bool,
}

/// What decisions are made by.
#[derive(Debug)]
pub(crate) struct Resume<'a> {
    /// `None` where there is no ledger yet.
    pub(crate) reader: Option<&'a Reader>,
    pub(crate) out: &'a Path,
    /// The folder that staged files are named in.
    pub(crate) inner: PathBuf,
    /// The ledger was lost: nobody knows what was sent.
    pub(crate) is_lost: bool,
}

/// A job that is decided about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) client: &'a Client,
    pub(crate) spec: &'a JobSpec,
    pub(crate) prepared: &'a Prepared,
    /// Another row of the list asks for the same.
    pub(crate) is_shared: bool,
}

impl Resume<'_> {
    /// Decides about a job.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) fn decide(&self, case: Case<'_>) -> Result<Decision> {
        let entry = self
            .reader
            .map(|reader| reader.job(&case.spec.id))
            .transpose()?
            .flatten();
        let Some(entry) = entry else {
            return self.of_stranger(case);
        };
        if let Some(stay) = self.of_former(case)? {
            return Ok(stay);
        }
        // What was made stays made, whatever became of its copies since.
        match self.take(&case.spec.id, entry.take)? {
            Some(take) => self.of_done(case, &entry, take),
            None => self.of_open(case, &entry),
        }
    }

    /// The row, or the configuration, asked for something else when it was last sent, and nobody saw that to its end.
    /// It comes first: who asks for the new request beside it may pay for both.
    fn of_former(&self, case: Case<'_>) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        let hash = &case.prepared.checked.hash;
        if !reader.has_open_attempt_at_another(&case.spec.id, hash)? {
            return Ok(None);
        }
        Ok(Some(Decision::Stay(Box::new(Stay {
            status: Status::Unknown,
            take: None,
            error: Some(LineError {
                kind: ErrorKind::Cancelled.as_str().to_owned(),
                charge: "unknown".to_owned(),
                message: "it asked for something else when it was sent, and that may have been billed and never came"
                    .to_owned(),
                next: Some(format!(
                    "run it with row and configuration as they were, or give that up: media retry --unknown {}",
                    case.spec.id
                )),
            }),
            is_broken: false,
        }))))
    }

    /// The ledger does not know it.
    fn of_stranger(&self, case: Case<'_>) -> Result<Decision> {
        let Case { client, prepared, .. } = case;
        match find(&prepared.request.output_path, None) {
            Found::Nothing => {}
            Found::AsMade | Found::Valid => return Ok(stay(Status::Skipped, None)),
            Found::Broken(what) | Found::InTheWay(what) => {
                return Ok(in_the_way(&prepared.request.output_path, &what));
            }
        }
        if let Some(copy) = self.of_equal(case, 1)? {
            return Ok(copy);
        }
        let is_askable = client.provider().info().capabilities.recoverable;
        let prior = if self.is_lost && is_askable {
            Prior::Perhaps
        } else {
            Prior::Fresh
        };
        Ok(Decision::Make(start(1, 1, prior)))
    }

    /// A take of it was made.
    fn of_done(&self, case: Case<'_>, entry: &Entry, take: TakeRow) -> Result<Decision> {
        let Case {
            client,
            spec,
            prepared,
            ..
        } = case;
        let is_same = take.hash == prepared.checked.hash;
        let path = &prepared.request.output_path;
        let differs = if entry.asked == asked(spec) {
            Status::Outdated
        } else {
            Status::Changed
        };
        let is_broken = match find(path, Some(&take)) {
            Found::AsMade if is_same => return Ok(stay(Status::Skipped, Some(take))),
            Found::AsMade => return Ok(stay(differs, Some(take))),
            Found::Valid => return Ok(stay(Status::Kept, Some(take))),
            Found::InTheWay(what) => {
                return Ok(in_the_way(path, &what));
            }
            Found::Nothing => false,
            Found::Broken(_) => true,
        };
        // Gone. What costs nothing is brought back.
        let former = self.out.join(&take.path);
        if former != *path && matches!(find(&former, Some(&take)), Found::AsMade) {
            if !is_same {
                return Ok(stay(differs, Some(take)));
            }
            let number = take.take;
            return Ok(copy(former, take, number, is_broken));
        }
        if !is_same {
            return Ok(gone(take, is_broken));
        }
        if let Some(equal) = self.copy_of(&take, is_broken)? {
            return Ok(equal);
        }
        let capabilities = client.provider().info().capabilities;
        let last = self.last_attempt(&spec.id, take.take, prepared)?;
        let number = last.as_ref().map_or(1, |attempt| attempt.number);
        if capabilities.free {
            return Ok(Decision::Make(Start {
                is_broken,
                ..start(take.take, number + 1, Prior::Fresh)
            }));
        }
        let link = last.and_then(|attempt| Some((attempt.link?, attempt.facts)));
        let prior = match link {
            Some((link, facts)) => Prior::Linked {
                link,
                facts: Box::new(facts),
            },
            None if capabilities.recoverable => Prior::Sent { ago: None },
            None => return Ok(gone(take, is_broken)),
        };
        Ok(Decision::Make(Start {
            buys: false,
            is_broken,
            ..start(take.take, number, prior)
        }))
    }

    /// It was begun, and no take of it was made.
    fn of_open(&self, case: Case<'_>, entry: &Entry) -> Result<Decision> {
        let Case { client, prepared, .. } = case;
        match find(&prepared.request.output_path, None) {
            Found::Nothing => {}
            Found::AsMade | Found::Valid => return Ok(stay(Status::Skipped, None)),
            Found::Broken(what) | Found::InTheWay(what) => {
                return Ok(in_the_way(&prepared.request.output_path, &what));
            }
        }
        let is_same = entry.hash == prepared.checked.hash;
        let last = self.last_attempt(&entry.spec.id, entry.take, prepared)?;
        let is_recoverable = client.provider().info().capabilities.recoverable;
        let number = last.as_ref().map_or(0, |attempt| attempt.number);
        let again = |prior| Ok(Decision::Make(start(entry.take, number, prior)));
        match last.map(|attempt| (attempt.state, attempt)) {
            Some((AttemptState::Sending, attempt)) if is_recoverable => again(Prior::Sent {
                ago: since(attempt.first_sent_ms),
            }),
            Some((AttemptState::Sending, _)) => Ok(self.told_before(entry, Status::Unknown, SEND_AGAIN)),
            Some((AttemptState::Linked, attempt)) => match attempt.link {
                Some(link) => again(Prior::Linked {
                    link,
                    facts: Box::new(attempt.facts),
                }),
                None => again(Prior::Sent { ago: None }),
            },
            // It could not be placed when the program started.
            Some((AttemptState::Have, attempt)) => match (attempt.sha256, attempt.staged) {
                (Some(sha256), Some(staged)) => again(Prior::Have {
                    sha256,
                    staged: self.inner.join(staged),
                    facts: Box::new(attempt.facts),
                }),
                _ => again(Prior::Sent { ago: None }),
            },
            Some((AttemptState::Spent | AttemptState::Done, _)) => {
                Ok(self.told_before(entry, Status::Failed, ANOTHER_VARIANT))
            }
            // It shared the purchase of another row, and waits for as long as that is in doubt.
            None if entry.status == JobStatus::Unknown => match self.of_equal(case, entry.take)? {
                Some(decision) => Ok(decision),
                None if self.is_in_doubt_elsewhere(case)? => {
                    Ok(self.told_before(entry, Status::Unknown, SEND_AGAIN))
                }
                None => again(Prior::Fresh),
            },
            _ if is_same && entry.status == JobStatus::Failed && is_lasting(entry) => {
                Ok(self.told_before(entry, Status::Failed, ASK_AGAIN))
            }
            Some((AttemptState::Refused | AttemptState::Abandoned, _)) | None => {
                match self.of_equal(case, entry.take)? {
                    Some(copy) => Ok(copy),
                    None => Ok(Decision::Make(start(entry.take, number + 1, Prior::Fresh))),
                }
            }
        }
    }

    /// Whether another job's attempt at an equal request is not settled.
    fn is_in_doubt_elsewhere(&self, case: Case<'_>) -> Result<bool> {
        let hash = &case.prepared.checked.hash;
        self.reader.map_or(Ok(false), |reader| {
            Ok(reader.open_equal(&case.spec.id, hash)?.is_some())
        })
    }

    /// A file that was made for an equal request of another job, where the provider's terms allow its reuse.
    fn of_equal(&self, case: Case<'_>, number: u32) -> Result<Option<Decision>> {
        let may_reuse = case.is_shared || case.client.provider().http().settings().reuse;
        let Some(reader) = self.reader.filter(|_| may_reuse) else {
            return Ok(None);
        };
        let mut made = None;
        for take in reader.equals(&case.prepared.checked.hash)? {
            let path = self.out.join(&take.path);
            if matches!(find(&path, Some(&take)), Found::AsMade) {
                return Ok(Some(copy(path, take, number, false)));
            }
            made.get_or_insert(take);
        }
        let is_free = case.client.provider().info().capabilities.free;
        if let Some(take) = made.filter(|_| case.is_shared && !is_free) {
            return Ok(Some(Decision::Stay(Box::new(Stay {
                status: Status::Gone,
                error: Some(LineError {
                    kind: Status::Gone.as_str().to_owned(),
                    charge: "none".to_owned(),
                    message: format!(
                        "{} was made for an equal row and is gone; it is not bought again by itself",
                        take.path
                    ),
                    next: Some(format!(
                        "put {} back, or give the row another variant to buy it anew",
                        take.path
                    )),
                }),
                take: Some(take),
                is_broken: false,
            }))));
        }
        // Bought for another job, perhaps, and not settled: buying it for this one may be buying it twice.
        let open = reader.open_equal(&case.spec.id, &case.prepared.checked.hash)?;
        Ok(open.map(|other| {
            Decision::Stay(Box::new(Stay {
                status: Status::Unknown,
                take: None,
                error: Some(LineError {
                    kind: ErrorKind::Cancelled.as_str().to_owned(),
                    charge: "unknown".to_owned(),
                    message: format!("{other} asks for the same, and that may have been billed"),
                    next: Some(format!("settle {other} first: media status {other}")),
                }),
                is_broken: false,
            }))
        }))
    }

    /// Another file with the same bytes.
    fn copy_of(&self, take: &TakeRow, is_broken: bool) -> Result<Option<Decision>> {
        let Some(reader) = self.reader else {
            return Ok(None);
        };
        for other in reader.equals(&take.hash)? {
            let path = self.out.join(&other.path);
            if other.sha256 == take.sha256 && matches!(find(&path, Some(&other)), Found::AsMade) {
                return Ok(Some(copy(path, other, take.take, is_broken)));
            }
        }
        Ok(None)
    }

    fn take(&self, job: &str, take: u32) -> Result<Option<TakeRow>> {
        self.reader.map_or(Ok(None), |reader| reader.take(job, take))
    }

    fn last_attempt(&self, job: &str, take: u32, prepared: &Prepared) -> Result<Option<AttemptRow>> {
        self.reader.map_or(Ok(None), |reader| {
            reader.last_attempt(job, take, &prepared.checked.hash)
        })
    }

    /// What was said of it before, said again.
    fn told_before(&self, entry: &Entry, status: Status, next: &str) -> Decision {
        let line: Option<crate::Line> = entry
            .result
            .as_deref()
            .and_then(|line| serde_json::from_str(line).ok());
        let told = line.and_then(|line| line.error);
        let message = match status {
            Status::Unknown => "it was sent and its answer was lost, so it may have been billed",
            _ => "it failed in an earlier run",
        };
        let error = LineError {
            next: Some(next.to_owned()),
            ..told.unwrap_or_else(|| LineError {
                kind: ErrorKind::Cancelled.as_str().to_owned(),
                charge: "unknown".to_owned(),
                message: message.to_owned(),
                next: None,
            })
        };
        Decision::Stay(Box::new(Stay {
            status,
            take: None,
            error: Some(error),
            is_broken: false,
        }))
    }
}

/// How long ago a moment was, in milliseconds since 1970. A clock that was set back makes it unknown.
fn since(moment_ms: Option<i64>) -> Option<Duration> {
    let passed = Timestamp::now().as_millisecond().checked_sub(moment_ms?)?;
    u64::try_from(passed).ok().map(Duration::from_millis)
}

fn start(take: u32, attempt: u32, prior: Prior) -> Start {
    Start {
        take,
        attempt: attempt.max(1),
        prior,
        buys: true,
        is_broken: false,
    }
}

fn copy(from: PathBuf, take: TakeRow, number: u32, is_broken: bool) -> Decision {
    Decision::Copy {
        from,
        take: Box::new(take),
        number,
        is_broken,
    }
}

fn stay(status: Status, take: Option<TakeRow>) -> Decision {
    let told = match status {
        Status::Changed => Some("the row was changed after its file was made; the file is left as it is"),
        Status::Outdated => {
            Some("the configuration was changed after the file was made; the file is left as it is")
        }
        _ => None,
    };
    let error = told.map(|message| LineError {
        kind: status.as_str().to_owned(),
        charge: "none".to_owned(),
        message: message.to_owned(),
        next: Some("to have it made anew give the row another id and path".to_owned()),
    });
    Decision::Stay(Box::new(Stay {
        status,
        take,
        error,
        is_broken: false,
    }))
}

const ANOTHER_VARIANT: &str = "to buy it anew give the row another variant";
const ASK_AGAIN: &str = "change the row, or ask again: media retry";
const SEND_AGAIN: &str = "look at the service's usage page; media retry --unknown sends it again";

fn gone(take: TakeRow, is_broken: bool) -> Decision {
    let message = if is_broken {
        "its file is damaged and was moved to .media/old; it is not bought again by itself"
    } else {
        "its file was made and is gone; it is not bought again by itself"
    };
    Decision::Stay(Box::new(Stay {
        status: Status::Gone,
        take: Some(take),
        error: Some(LineError {
            kind: Status::Gone.as_str().to_owned(),
            charge: "none".to_owned(),
            message: message.to_owned(),
            next: Some("put it back; to buy it anew give the row another id and variant".to_owned()),
        }),
        is_broken,
    }))
}

fn in_the_way(path: &Path, what: &str) -> Decision {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Decision::Stay(Box::new(Stay {
        status: Status::Failed,
        take: None,
        error: Some(LineError {
            kind: ErrorKind::Storage.as_str().to_owned(),
            charge: "none".to_owned(),
            message: format!("{name} is there, but is {what}"),
            next: Some("move it away and run the same command again".to_owned()),
        }),
        is_broken: false,
    }))
}

/// Whether a failure fails the same way again.
fn is_lasting(entry: &Entry) -> bool {
    let line: Option<crate::Line> = entry
        .result
        .as_deref()
        .and_then(|line| serde_json::from_str(line).ok());
    let kind = line.and_then(|line| line.error).map(|error| error.kind);
    let lasting = [
        ErrorKind::InvalidRequest,
        ErrorKind::Unsupported,
        ErrorKind::ContentRejected,
        ErrorKind::NotFound,
    ];
    kind.is_some_and(|kind| lasting.iter().any(|known| known.as_str() == kind))
}
