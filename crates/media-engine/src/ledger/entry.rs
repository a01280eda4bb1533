//! What the ledger knows of a job.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use media_core::{
    AttemptKey, Charge, CostBasis, Error, ErrorKind, Facts, Format, Link, Provenance, RequestHash, Result,
    Usd, format_of,
};

use super::asked;
use crate::line::Line;
use crate::list::JobSpec;

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobStatus {
    /// It was planned, and nothing came of it yet.
    Open,
    /// A take of it was made.
    Done,
    /// It failed. What may pass is tried again by the next run.
    Failed,
    /// It may have been billed, and nobody can tell.
    Unknown,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptState {
    /// It was sent, and no answer is known.
    Sending,
    /// It is over, and nothing was billed.
    Refused,
    /// The service said where the result is.
    Linked,
    /// Its bytes are staged.
    Have,
    /// Its file got its name.
    Done,
    /// It was billed and came to nothing.
    Spent,
    /// It may have been billed, and a person decided to go on without it.
    Abandoned,
}

impl AttemptState {
    /// Whether what it was sent for is not settled.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(
            self,
            AttemptState::Sending | AttemptState::Linked | AttemptState::Have
        )
    }
}

macro_rules! names {
    ($type:ident: $($variant:ident $name:literal),+) => {
        impl $type {
            /// Its name in the file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<$type, UnknownName> {
                match name {
                    $($name => Ok($type::$variant),)+
                    _ => Err(UnknownName(name.to_owned())),
                }
            }
        }
    };
}

names!(JobStatus: Open "open", Done "done", Failed "failed", Unknown "unknown");
names!(AttemptState: Sending "sending", Refused "refused", Linked "linked", Have "have", Done "done", Spent "spent", Abandoned "abandoned");

/// A name that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a known state", self.0)
    }
}

impl std::error::Error for UnknownName {}

/// A job.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The job as the list gave it, when it was last begun.
    pub spec: JobSpec,
    /// The provider instance.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What the list asked for, configuration left out.
    pub asked: [u8; 32],
    /// The resolved request.
    pub hash: RequestHash,
    /// The number of its current take.
    pub take: u32,
    /// How it stands.
    pub status: JobStatus,
    /// Its last result line, JSON.
    pub result: Option<String>,
    /// A person protects its file from every redo.
    pub is_protected: bool,
}

impl Entry {
    /// The result line of the last run that came to it.
    #[must_use]
    pub fn last_line(&self) -> Option<Line> {
        serde_json::from_str(self.result.as_deref()?).ok()
    }

    /// Whether the list still asks for the same file, whatever its name and the configuration: the ending of its path asks
    /// for a format.
    pub(crate) fn asks_for(&self, spec: &JobSpec) -> bool {
        self.asked == asked(spec) && has_format_of(&self.spec.path, &spec.path)
    }

    /// Whether what was last said of it was said of an equal row, whose purchase it shares.
    pub(crate) fn shares_purchase(&self) -> bool {
        let line = self.last_line();
        line.is_some_and(|line| line.cost_basis == CostBasis::Shared.as_str())
    }

    /// Whether that was billed and came to nothing: to ask again is to buy again.
    #[must_use]
    pub fn was_billed(&self) -> bool {
        let error = self.last_line().and_then(|line| line.error);
        error.is_some_and(|error| error.charge == Charge::Certain.as_str())
    }
}

/// Whether two paths ask for one format.
pub(crate) fn has_format_of(one: &str, other: &str) -> bool {
    let format = |path: &str| format_of(Path::new(path)).ok();
    format(one) == format(other)
}

/// A file that was made.
#[derive(Clone, Debug)]
pub struct TakeRow {
    /// The number of the take.
    pub take: u32,
    /// The resolved request that it was made for.
    pub hash: RequestHash,
    /// Where it was put, relative to the output folder.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// The file's time of change when it was put there, in nanoseconds: where length and time are the same, so is the file.
    pub modified_ns: Option<i64>,
    /// Pixels in a row.
    pub width: Option<u32>,
    /// Rows of pixels.
    pub height: Option<u32>,
    /// Playing time.
    pub duration_ms: Option<u64>,
    /// Who made it, and what has to be said about it.
    pub provenance: Provenance,
}

impl TakeRow {
    /// Whether its bytes are what the ending of this path says.
    pub(crate) fn fits(&self, path: &Path) -> bool {
        let is = Format::from_extension(&self.format);
        is.zip(format_of(path).ok())
            .is_some_and(|(is, wanted)| is.satisfies(wanted))
    }
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Its key.
    pub key: String,
    /// The take.
    pub take: u32,
    /// The number of the attempt at this take.
    pub number: u32,
    /// How it stands.
    pub state: AttemptState,
    /// Where the result is.
    pub link: Option<Link>,
    /// What the service said beside.
    pub facts: Facts,
    /// SHA-256 of the bytes that came.
    pub sha256: Option<String>,
    /// Where they are staged.
    pub staged: Option<PathBuf>,
    /// What it cost, where that is known.
    pub cost: Option<Usd>,
    /// How that is known.
    pub basis: Option<CostBasis>,
    /// Whom it asked, where that was written down.
    pub provider: Option<String>,
    /// The account that it was sent by: a hash of its key.
    pub account: Option<String>,
    /// For which model.
    pub model: Option<String>,
    /// The file that it was to become, relative to the output folder.
    pub path: Option<String>,
    /// The key of the remote batch that it was sent in.
    pub batch: Option<String>,
    /// What was set aside for it when it was sent, where it had a price.
    pub reserved: Option<Usd>,
    /// How often it was sent.
    pub sends: u32,
    /// When it was sent first, in milliseconds since 1970.
    pub first_sent_ms: Option<i64>,
}

impl AttemptRow {
    /// Its key, as the clients know it.
    ///
    /// # Errors
    /// Somebody has changed it.
    pub(crate) fn parsed_key(&self) -> Result<AttemptKey> {
        AttemptKey::parse(&self.key).ok_or_else(|| {
            Error::new(
                ErrorKind::Storage,
                format!("{:?} is not an attempt key", self.key),
            )
        })
    }
}

/// An attempt that was not seen to its end, with its job.
#[derive(Clone, Debug)]
pub(crate) struct OpenAttempt {
    /// The job's id.
    pub job: String,
    /// The request that it was made for.
    pub hash: RequestHash,
    /// The attempt.
    pub attempt: AttemptRow,
}
