//! What can be decided about a job, and the words for it.

use std::path::{Path, PathBuf};

use media_core::{Charge, ErrorKind, Prior, RequestHash, Usd};

use crate::ledger::{AttemptRow, AttemptState, TakeRow};
use crate::line::{LineError, Status};
use crate::list::JobSpec;

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
    /// What is said is no news of this row itself: what the ledger has of it stays written down.
    pub(crate) keeps_row: bool,
    /// What is in doubt is an equal row's purchase, which carries what it may have cost.
    pub(crate) is_shared: bool,
    /// Something of its own is not settled: what an equal row is getting is not its file.
    pub(crate) is_held: bool,
    /// The take that it is made anew as, if an equal row's purchase becomes its file.
    pub(crate) next_take: Option<u32>,
}

impl Stay {
    pub(crate) fn new(status: Status) -> Stay {
        Stay {
            status,
            take: None,
            error: None,
            is_broken: false,
            keeps_row: false,
            is_held: false,
            is_shared: false,
            next_take: None,
        }
    }

    pub(crate) fn because(self, error: LineError) -> Stay {
        Stay {
            error: Some(error),
            ..self
        }
    }
}

impl From<Stay> for Decision {
    fn from(stay: Stay) -> Decision {
        Decision::Stay(Box::new(stay))
    }
}

/// What a job was sent as.
#[derive(Debug, PartialEq)]
pub(crate) struct AsSent {
    pub(crate) hash: RequestHash,
    /// The row as it was then, with the path that it has now.
    pub(crate) spec: JobSpec,
    pub(crate) asked: [u8; 32],
    pub(crate) model: String,
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
    /// It is another take of a job that was made: what stands at its path is moved away when the new file is whole.
    pub(crate) is_redo: bool,
    /// An earlier run told that it failed after it was billed, and for how much.
    pub(crate) is_told: bool,
    /// It was sent with another key than today's.
    pub(crate) is_foreign: bool,
    /// What it was sent as, where the configuration has made something else of it since.
    pub(crate) as_sent: Option<Box<AsSent>>,
    /// What was set aside for it when it was sent, where it was and had a price.
    pub(crate) reserved: Option<Usd>,
    /// It has an attempt of its own that is to be seen to its end: no equal row's file is its.
    pub(crate) is_own: bool,
}

pub(crate) fn start(take: u32, attempt: u32, prior: Prior) -> Start {
    Start {
        take,
        attempt: attempt.max(1),
        prior,
        buys: true,
        is_broken: false,
        is_redo: false,
        is_told: false,
        is_foreign: false,
        as_sent: None,
        reserved: None,
        is_own: false,
    }
}

pub(crate) fn copy(from: PathBuf, take: TakeRow, number: u32, is_broken: bool) -> Decision {
    Decision::Copy {
        from,
        take: Box::new(take),
        number,
        is_broken,
    }
}

pub(crate) fn stay(status: Status, take: Option<TakeRow>) -> Decision {
    Decision::from(Stay {
        take,
        error: told_of(status),
        ..Stay::new(status)
    })
}

/// What is said of a file that is not what is asked for by now.
pub(crate) fn told_of(status: Status) -> Option<LineError> {
    let told = match status {
        Status::Changed => Some((
            "the row was changed after its file was made; the file is left as it is",
            "media redo --changed makes such files anew",
        )),
        Status::Outdated => Some((
            "the configuration was changed after the file was made; the file is left as it is",
            "media redo --settings makes such files anew",
        )),
        _ => None,
    };
    told.map(|(message, next)| LineError::new(status.as_str(), Charge::None, message).next(next))
}

pub(crate) const BUY_ANEW: &str = "to buy it anew: media redo, with its id";
pub(crate) const ASK_AGAIN: &str = "change the row, or ask again: media retry";
pub(crate) const SEND_AGAIN: &str = "look at the service's usage page; media retry --unknown sends it again";

pub(crate) const GIVE_UP_TAKE: &str = "look at the service's usage page; media retry --unknown gives this take up, and media redo makes another";

/// What helps about a job that was sent with another key.
pub(crate) fn with_its_key(id: &str) -> String {
    format!(
        "it was sent with another key: run it with that one; or give it up, so that the next run sends it again: \
         media retry --unknown --give-up {id}"
    )
}

/// Row and path were changed, so its file is another one's by now, and none stands at its path.
pub(crate) fn gone_to(former: &Path, is_broken: bool) -> Decision {
    let message = format!(
        "the row was changed after its file was made, which stands at {}; nothing is made for it by itself",
        former.display()
    );
    let error = LineError::new(Status::Gone.as_str(), Charge::None, message)
        .next("give the row its earlier path, or buy it anew: media redo --changed");
    Decision::from(Stay {
        is_broken,
        keeps_row: true,
        ..Stay::new(Status::Gone).because(error)
    })
}

pub(crate) fn gone(take: TakeRow, is_broken: bool) -> Decision {
    let message = if is_broken {
        "its file is damaged and was moved to .media/old; it is not bought again by itself"
    } else {
        "its file was made and is gone; it is not bought again by itself"
    };
    let error = LineError::new(Status::Gone.as_str(), Charge::None, message)
        .next("put it back, or buy it anew: media redo --missing");
    Decision::from(Stay {
        take: Some(take),
        is_broken,
        keeps_row: true,
        ..Stay::new(Status::Gone).because(error)
    })
}

/// `keeps_row`: this job has a file of its own somewhere, which stays written down.
pub(crate) fn is_of_another(path: &Path, job: &str, keeps_row: bool) -> Decision {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let message = format!("{name} is the file of {job}, which asked for something else");
    let error = LineError::new(ErrorKind::InvalidRequest.as_str(), Charge::None, message).next(
        "give each row the path that it had, or one of its own; or move that file away, and this one is made",
    );
    Decision::from(Stay {
        keeps_row,
        ..Stay::new(Status::Failed).because(error)
    })
}

pub(crate) fn in_the_way(path: &Path, what: &str) -> Decision {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let message = format!("{name} is there, but is {what}");
    let error = LineError::new(ErrorKind::Storage.as_str(), Charge::None, message)
        .next("move it away and run the same command again");
    Stay::new(Status::Failed).because(error).into()
}

/// What keeps a job from its place is no mere failure where an attempt at it may have been billed.
pub(crate) fn in_doubt_by(attempt: Option<&AttemptRow>, mut decision: Decision) -> Decision {
    let is_in_doubt =
        attempt.is_some_and(|attempt| attempt.state == AttemptState::Sending && attempt.sends > 0);
    if let Decision::Stay(stay) = &mut decision
        && stay.status == Status::Failed
        && is_in_doubt
    {
        stay.status = Status::Unknown;
        // What was said of the doubt itself stays written down.
        stay.keeps_row = true;
        if let Some(error) = &mut stay.error {
            Charge::Unknown.as_str().clone_into(&mut error.charge);
            error.message += "; it was sent, and may have been billed";
        }
    }
    decision
}
