//! One line of JSON per result: what `--json` prints and what the run keeps.

use media_core::{
    Candidate, Charge, CostBasis, Error, ErrorKind, MediaFile, MediaResult, Provenance, Result, Usd,
};
use serde::{Deserialize, Serialize};

use crate::chain::Tried;
use crate::decision::Stay;
use crate::ledger::TakeRow;

/// The version of the format of a line.
const VERSION: u32 = 1;

/// What became of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its file stands at its path.
    Done,
    /// Its file is there: as it was made, or valid and unknown to the ledger.
    Skipped,
    /// Its file is valid and not as it was made: the user's now.
    Kept,
    /// Its row was changed after its file was made; the file is there.
    Changed,
    /// Only the configuration was changed since; the file is there.
    Outdated,
    /// Its file was made and is no longer there; it is not bought again by itself.
    Gone,
    /// It failed, and nothing was bought for it, or what was bought is no good.
    Failed,
    /// It may have been billed, and nobody can tell.
    Unknown,
    /// A daily quota is used up, or its remote batch is not done: later.
    Waiting,
    /// The run, its lane, its budget or its remote batch ended before its turn.
    Cancelled,
}

impl Status {
    /// All of them, in the order of a summary.
    pub const ALL: [Status; 10] = [
        Status::Done,
        Status::Skipped,
        Status::Kept,
        Status::Changed,
        Status::Outdated,
        Status::Gone,
        Status::Waiting,
        Status::Failed,
        Status::Unknown,
        Status::Cancelled,
    ];

    /// Its name in lines and summaries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Skipped => "skipped",
            Status::Kept => "kept",
            Status::Changed => "changed",
            Status::Outdated => "outdated",
            Status::Gone => "gone",
            Status::Failed => "failed",
            Status::Unknown => "unknown",
            Status::Waiting => "waiting",
            Status::Cancelled => "cancelled",
        }
    }
}

/// One result. Every key is always there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The version of the format.
    pub v: u32,
    /// The job's id.
    pub id: String,
    /// The line of the list.
    pub line: u64,
    /// What makes it the purchase that it is: the first half of the hash of the resolved request, hexadecimal.
    #[serde(default)]
    pub request: Option<String>,
    /// What became of it.
    pub status: Status,
    /// The file, relative to the output folder.
    pub path: String,
    /// The real format.
    pub format: Option<String>,
    /// Length in bytes.
    pub bytes: Option<u64>,
    /// SHA-256, hexadecimal.
    pub sha256: Option<String>,
    /// Pixels in a row.
    pub width: Option<u32>,
    /// Rows of pixels.
    pub height: Option<u32>,
    /// Playing time.
    pub duration_ms: Option<u64>,
    /// The provider instance.
    pub provider: String,
    /// The model.
    pub model: Option<String>,
    /// Providers that were asked and did not deliver, in order.
    #[serde(default)]
    pub tried: Vec<Tried>,
    /// The take.
    pub take: u32,
    /// Dollars; null is unknown, 0 is free.
    pub cost_usd: Option<f64>,
    /// How the cost is known: reported, computed, estimated, subscription, shared, none, unknown.
    pub cost_basis: String,
    /// The number of the attempt that it ended with, earlier runs counted; 0 where none was begun.
    pub attempts: u32,
    /// From its start to its end.
    pub elapsed_ms: u64,
    /// The service's id of the result.
    pub remote_id: Option<String>,
    /// Whom to name.
    pub credit: Option<String>,
    /// When it can be asked again.
    pub until: Option<String>,
    /// What is odd but no failure.
    pub warnings: Vec<String>,
    /// Made by the simulator.
    pub simulated: bool,
    /// Why there is no file.
    pub error: Option<LineError>,
}

/// Why there is no file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineError {
    /// The kind: `not_found`, `rate_limited`, ...
    pub kind: String,
    /// `none`, `unknown` or `certain`.
    pub charge: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
    /// What the service had, of which nothing was taken, best first.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

impl LineError {
    pub(crate) fn new(kind: &str, charge: Charge, message: impl Into<String>) -> LineError {
        LineError {
            kind: kind.to_owned(),
            charge: charge.as_str().to_owned(),
            message: message.into(),
            ..LineError::default()
        }
    }

    pub(crate) fn next(self, next: impl Into<String>) -> LineError {
        LineError {
            next: Some(next.into()),
            ..self
        }
    }
}

/// The job that a line is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) id: String,
    pub(crate) line: u64,
    pub(crate) path: String,
    pub(crate) provider: String,
    /// The hash of the resolved request, once it is known.
    pub(crate) request: Option<String>,
    /// Providers that were asked before.
    pub(crate) tried: Vec<Tried>,
    pub(crate) is_simulated: bool,
}

impl Line {
    fn about(subject: &Subject, status: Status) -> Line {
        Line {
            v: VERSION,
            id: subject.id.clone(),
            line: subject.line,
            request: subject.request.clone(),
            status,
            path: subject.path.clone(),
            format: None,
            bytes: None,
            sha256: None,
            width: None,
            height: None,
            duration_ms: None,
            provider: subject.provider.clone(),
            model: None,
            tried: subject.tried.clone(),
            take: 1,
            cost_usd: Some(0.0),
            cost_basis: "none".to_owned(),
            attempts: 0,
            elapsed_ms: 0,
            remote_id: None,
            credit: None,
            until: None,
            warnings: Vec::new(),
            simulated: subject.is_simulated,
            error: None,
        }
    }

    /// The line of a finished order.
    pub(crate) fn of(subject: &Subject, result: &MediaResult) -> Line {
        let mut line = Line::about(subject, status_of(result));
        let provenance = &result.provenance;
        line.tell(provenance);
        line.attempts = result.attempts;
        line.elapsed_ms = u64::try_from(result.elapsed.as_millis()).unwrap_or(u64::MAX);
        line.cost_usd = result.cost.map(|cost| cost.usd.dollars());
        line.cost_basis = result
            .cost
            .map_or("unknown", |cost| cost.basis.as_str())
            .to_owned();
        match &result.outcome {
            Ok(file) => line.describe(file),
            Err(error) => {
                line.until = error.resets_at().map(|moment| moment.to_string());
                line.did_not_deliver(error.kind());
                line.error = Some(LineError {
                    kind: error.kind().as_str().to_owned(),
                    charge: error.charge().unwrap_or(Charge::Unknown).as_str().to_owned(),
                    message: error.full(),
                    next: next_of(line.status, error),
                    candidates: error.candidates().to_vec(),
                });
            }
        }
        line
    }

    /// The line of a file that an earlier run had made, and this one found out about.
    pub(crate) fn finished(
        subject: &Subject,
        file: &MediaFile,
        provenance: &Provenance,
        attempts: u32,
        cost: Option<Usd>,
        basis: CostBasis,
    ) -> Line {
        let mut line = Line::about(subject, Status::Done);
        line.describe(file);
        line.tell(provenance);
        line.attempts = attempts;
        line.cost_usd = cost.map(Usd::dollars);
        line.cost_basis = basis.as_str().to_owned();
        line
    }

    /// The line of a job that nothing is done about.
    pub(crate) fn stays(subject: &Subject, stay: &Stay) -> Line {
        let mut line = Line::about(subject, stay.status);
        line.error.clone_from(&stay.error);
        if stay.is_shared {
            CostBasis::Shared.as_str().clone_into(&mut line.cost_basis);
        } else if stay.status == Status::Unknown {
            line.cost_usd = None;
            "unknown".clone_into(&mut line.cost_basis);
        }
        let Some(take) = &stay.take else { return line };
        // What is told of a file is true of the file that stands there: of one that was changed the ledger knows nothing.
        if stay.status == Status::Kept || stay.status == Status::Gone {
            line.take = take.take;
            line.tell(&take.provenance);
        } else {
            line.shows(take);
        }
        line
    }

    /// The file is this take.
    pub(crate) fn shows(&mut self, take: &TakeRow) {
        self.take = take.take;
        self.tell(&take.provenance);
        self.format = Some(take.format.clone());
        self.bytes = Some(take.bytes);
        self.sha256 = Some(take.sha256.clone());
        (self.width, self.height) = (take.width, take.height);
        self.duration_ms = take.duration_ms;
    }

    /// The line of a file that was copied from an equal one.
    pub(crate) fn copied(subject: &Subject, file: &MediaFile, provenance: &Provenance) -> Line {
        Line::finished(subject, file, provenance, 0, Some(Usd::ZERO), CostBasis::Shared)
    }

    /// The line of a job that failed here, before anything was asked.
    pub(crate) fn failed_here(subject: &Subject, error: &Error) -> Line {
        let mut line = Line::about(subject, Status::Failed);
        line.error = Some(LineError {
            next: error.next().map(str::to_owned),
            ..LineError::new(error.kind().as_str(), Charge::None, error.full())
        });
        line
    }

    /// Names its provider among those that were asked; what was never begun was not.
    fn did_not_deliver(&mut self, kind: ErrorKind) {
        if self.attempts > 0 && kind != ErrorKind::Pending {
            self.tried.push(Tried {
                provider: self.provider.clone(),
                kind: kind.as_str().to_owned(),
                candidates: Vec::new(),
            });
        }
    }

    fn describe(&mut self, file: &MediaFile) {
        self.format = Some(file.format.name().to_owned());
        self.bytes = Some(file.bytes);
        self.sha256 = Some(file.sha256.clone());
        self.width = file.dimensions.map(|size| size.width);
        self.height = file.dimensions.map(|size| size.height);
        self.duration_ms = file
            .duration
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    fn tell(&mut self, provenance: &Provenance) {
        self.model.clone_from(&provenance.model);
        self.remote_id.clone_from(&provenance.remote_id);
        self.credit.clone_from(&provenance.credit);
        self.warnings.clone_from(&provenance.warnings);
    }

    /// As JSON, on one line.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Storage, "a result cannot be written as JSON").because(error)
        })
    }

    /// A job that never came to its turn.
    pub(crate) fn not_begun(subject: &Subject) -> Line {
        let mut line = Line::about(subject, Status::Cancelled);
        let kind = ErrorKind::Cancelled.as_str();
        let error = LineError::new(kind, Charge::None, "the run ended before it was begun");
        line.error = Some(error.next("run the same command again"));
        line
    }

    /// A job whose remote batch was not done when the run ended.
    pub(crate) fn in_batch(subject: &Subject) -> Line {
        let mut line = Line::about(subject, Status::Waiting);
        line.attempts = 1;
        line.cost_usd = None;
        "unknown".clone_into(&mut line.cost_basis);
        let error = LineError::new(
            ErrorKind::Pending.as_str(),
            Charge::Unknown,
            "the run ended before its batch was done",
        );
        line.error = Some(error.next("a later run fetches it, and so does media rescue"));
        line
    }

    /// A job that was handed over and got no answer: nobody can tell whether it was paid for.
    pub(crate) fn lost(subject: &Subject) -> Line {
        let mut line = Line::about(subject, Status::Unknown);
        line.attempts = 1;
        line.cost_usd = None;
        "unknown".clone_into(&mut line.cost_basis);
        line.error = Some(LineError::new(
            ErrorKind::Cancelled.as_str(),
            Charge::Unknown,
            "the program failed while it was at work on it, so it may have been billed",
        ));
        line
    }

    /// The line of an equal request that was made only once: the other one carries what it cost, or may have cost.
    pub(crate) fn shared(&self, subject: &Subject) -> Line {
        let mut line = self.clone();
        line.id.clone_from(&subject.id);
        line.line = subject.line;
        line.path.clone_from(&subject.path);
        line.cost_usd = Some(0.0);
        CostBasis::Shared.as_str().clone_into(&mut line.cost_basis);
        line
    }
}

/// What to do about a failure.
fn next_of(status: Status, error: &Error) -> Option<String> {
    const IN_DOUBT: &str = "the next run asks for it where the service can be asked; else look at its usage page: \
                            media retry --unknown sends it again";
    const IS_THERE: &str = "the same command again fetches it, for nothing, as long as the service has it";
    match error.next() {
        Some(next) if status == Status::Unknown && !next.contains("media retry") => {
            Some(format!("{next}; {IN_DOUBT}"))
        }
        None if status == Status::Unknown => Some(IN_DOUBT.to_owned()),
        // It was on its way here.
        None if error.charge() == Some(Charge::Certain)
            && matches!(error.kind(), ErrorKind::Network | ErrorKind::Timeout) =>
        {
            Some(IS_THERE.to_owned())
        }
        next => next.map(str::to_owned),
    }
}

fn status_of(result: &MediaResult) -> Status {
    let Err(error) = &result.outcome else {
        return Status::Done;
    };
    let kind = error.kind();
    match error.charge() {
        _ if kind == ErrorKind::Pending => Status::Waiting,
        Some(Charge::Unknown) | None => Status::Unknown,
        Some(Charge::None) if kind == ErrorKind::QuotaExhausted => Status::Waiting,
        // Nothing is wrong with what the budget has no room for.
        Some(Charge::None) if matches!(kind, ErrorKind::Cancelled | ErrorKind::BudgetExceeded) => {
            Status::Cancelled
        }
        // What was bought waits to be fetched.
        Some(Charge::Certain) if kind == ErrorKind::Cancelled => Status::Cancelled,
        // The lane had stopped for good before its turn came.
        Some(Charge::None) if result.attempts == 0 && (kind.stops_lane() || kind.stops_model()) => {
            Status::Cancelled
        }
        Some(_) => Status::Failed,
    }
}
