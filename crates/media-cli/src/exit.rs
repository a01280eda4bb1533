//! How the program ends.

use std::process::ExitCode;

use media_core::{Error, ErrorKind};

/// The exit codes: of two, the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Everything asked for is there.
    Done,
    /// Finished; some failed, are unknown, or are gone.
    SomeFailed,
    /// Usage, configuration or list: nothing was sent.
    Refused,
    /// Not finished, nothing wrong: the same command later.
    Later,
    /// A person must act: key, permission, credit, cap.
    Act,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The same, with something amiss.
    pub(crate) fn amiss(self) -> Exit {
        match self {
            Exit::Done | Exit::Later => Exit::SomeFailed,
            other => other,
        }
    }

    /// For a failure of the program itself.
    pub(crate) fn of_error(error: &Error) -> Exit {
        match error.kind() {
            ErrorKind::Config
            | ErrorKind::MissingApiKey
            | ErrorKind::InvalidRequest
            | ErrorKind::Unsupported => Exit::Refused,
            ErrorKind::Authentication
            | ErrorKind::PermissionDenied
            | ErrorKind::InsufficientCredit
            | ErrorKind::BudgetExceeded => Exit::Act,
            ErrorKind::QuotaExhausted => Exit::Later,
            // A folder that cannot be used before anything was sent is a matter of usage too.
            ErrorKind::Storage if error.charge() == Some(media_core::Charge::None) => Exit::Refused,
            _ => Exit::SomeFailed,
        }
    }
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> u8 {
        match exit {
            Exit::Done => 0,
            Exit::SomeFailed => 1,
            Exit::Refused => 2,
            Exit::Act => 3,
            Exit::Later => 4,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(u8::from(exit))
    }
}
