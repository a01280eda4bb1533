//! One line of JSON per result: what `--json` prints and what the run keeps.

use media_core::{Charge, CostBasis, ErrorKind, MediaResult};
use serde::{Deserialize, Serialize};

/// The version of the format of a line.
const VERSION: u32 = 1;

/// What became of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its file stands at its path.
    Done,
    /// A valid file was there already.
    Skipped,
    /// It failed, and nothing was bought for it, or what was bought is no good.
    Failed,
    /// It may have been billed, and nobody can tell.
    Unknown,
    /// A daily quota is used up; it will be possible later.
    Waiting,
    /// The run ended before it was begun.
    Cancelled,
}

impl Status {
    /// All of them, in the order of a summary.
    pub const ALL: [Status; 6] = [
        Status::Done,
        Status::Skipped,
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
    /// The take.
    pub take: u32,
    /// Dollars; null is unknown, 0 is free.
    pub cost_usd: Option<f64>,
    /// How the cost is known: reported, computed, estimated, subscription, shared, none, unknown.
    pub cost_basis: String,
    /// How often it was begun.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// The kind: `not_found`, `rate_limited`, ...
    pub kind: String,
    /// `none`, `unknown` or `certain`.
    pub charge: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
}

/// The job that a line is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: String,
    pub(crate) line: u64,
    pub(crate) path: String,
    pub(crate) provider: String,
    /// The hash of the resolved request, once it is known.
    pub(crate) request: Option<String>,
}

impl Line {
    fn about(subject: &Subject, status: Status, simulated: bool) -> Line {
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
            take: 1,
            cost_usd: Some(0.0),
            cost_basis: "none".to_owned(),
            attempts: 0,
            elapsed_ms: 0,
            remote_id: None,
            credit: None,
            until: None,
            warnings: Vec::new(),
            simulated,
            error: None,
        }
    }

    /// The line of a finished order.
    pub(crate) fn of(subject: &Subject, result: &MediaResult, simulated: bool) -> Line {
        let mut line = Line::about(subject, status_of(result), simulated);
        let provenance = &result.provenance;
        line.model.clone_from(&provenance.model);
        line.attempts = result.attempts;
        line.elapsed_ms = u64::try_from(result.elapsed.as_millis()).unwrap_or(u64::MAX);
        line.remote_id.clone_from(&provenance.remote_id);
        line.credit.clone_from(&provenance.credit);
        line.warnings.clone_from(&provenance.warnings);
        line.cost_usd = result.cost.map(|cost| cost.usd.dollars());
        line.cost_basis = result
            .cost
            .map_or("unknown", |cost| basis_name(cost.basis))
            .to_owned();
        match &result.outcome {
            Ok(file) => {
                line.format = Some(file.format.name().to_owned());
                line.bytes = Some(file.bytes);
                line.sha256 = Some(file.sha256.clone());
                line.width = file.dimensions.map(|size| size.width);
                line.height = file.dimensions.map(|size| size.height);
                line.duration_ms = file
                    .duration
                    .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            }
            Err(error) => {
                line.until = error.resets_at().map(|moment| moment.to_string());
                line.error = Some(LineError {
                    kind: error.kind().as_str().to_owned(),
                    charge: error.charge().unwrap_or(Charge::Unknown).as_str().to_owned(),
                    message: error.full(),
                    next: error.next().map(str::to_owned),
                });
            }
        }
        line
    }

    /// A file that was there before.
    pub(crate) fn skipped(subject: &Subject, simulated: bool) -> Line {
        Line::about(subject, Status::Skipped, simulated)
    }

    /// Whether it says that money was or may have been spent for which there is no file.
    pub(crate) fn is_at_stake(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Unknown)
            && self
                .error
                .as_ref()
                .is_some_and(|error| error.charge != Charge::None.as_str())
    }

    /// Whether what was bought came, and is no good: asking for it again would bring the same.
    pub(crate) fn is_no_good(&self) -> bool {
        self.error
            .as_ref()
            .is_some_and(|error| error.kind == ErrorKind::InvalidMedia.as_str())
    }

    /// The same word again, for a job that is not asked for again because of it.
    pub(crate) fn again(&self, subject: &Subject) -> Line {
        let mut line = self.clone();
        line.line = subject.line;
        // Told anew, not spent anew.
        line.cost_usd = (line.status != Status::Unknown).then_some(0.0);
        if let Some(error) = &mut line.error {
            error.next = Some(
                "it is not bought again by itself: give the row another variant to buy it anew".to_owned(),
            );
        }
        line
    }

    /// A job that never came to its turn.
    pub(crate) fn not_begun(subject: &Subject, simulated: bool) -> Line {
        let mut line = Line::about(subject, Status::Cancelled, simulated);
        line.error = Some(LineError {
            kind: ErrorKind::Cancelled.as_str().to_owned(),
            charge: Charge::None.as_str().to_owned(),
            message: "the run ended before it was begun".to_owned(),
            next: Some("run the same command again".to_owned()),
        });
        line
    }

    /// A job that was handed over and got no answer: nobody can tell whether it was paid for.
    pub(crate) fn lost(subject: &Subject, simulated: bool) -> Line {
        let mut line = Line::about(subject, Status::Unknown, simulated);
        line.attempts = 1;
        line.cost_usd = None;
        "unknown".clone_into(&mut line.cost_basis);
        line.error = Some(LineError {
            kind: ErrorKind::Cancelled.as_str().to_owned(),
            charge: Charge::Unknown.as_str().to_owned(),
            message: "the program failed while it was at work on it, so it may have been billed".to_owned(),
            next: None,
        });
        line
    }

    /// A file that stands in the way.
    pub(crate) fn in_the_way(subject: &Subject, what: &str, simulated: bool) -> Line {
        let mut line = Line::about(subject, Status::Failed, simulated);
        line.error = Some(LineError {
            kind: ErrorKind::Storage.as_str().to_owned(),
            charge: Charge::None.as_str().to_owned(),
            message: format!("{} is there, but is {what}", subject.path),
            next: Some("move it away and run the same command again".to_owned()),
        });
        line
    }

    /// The line of an equal request that was made only once: the other one carries what it cost, or may have cost.
    pub(crate) fn shared(&self, subject: &Subject) -> Line {
        let mut line = self.clone();
        line.id.clone_from(&subject.id);
        line.line = subject.line;
        line.cost_usd = Some(0.0);
        basis_name(CostBasis::Shared).clone_into(&mut line.cost_basis);
        line
    }
}

fn status_of(result: &MediaResult) -> Status {
    let Err(error) = &result.outcome else {
        return Status::Done;
    };
    let kind = error.kind();
    match error.charge() {
        Some(Charge::Unknown) | None => Status::Unknown,
        Some(Charge::None) if kind == ErrorKind::QuotaExhausted => Status::Waiting,
        Some(Charge::None) if kind == ErrorKind::Cancelled => Status::Cancelled,
        // The lane had stopped for good before its turn came.
        Some(Charge::None) if result.attempts == 0 && (kind.stops_lane() || kind.stops_model()) => {
            Status::Cancelled
        }
        Some(_) => Status::Failed,
    }
}

fn basis_name(basis: CostBasis) -> &'static str {
    match basis {
        CostBasis::Reported => "reported",
        CostBasis::Computed => "computed",
        CostBasis::Estimated => "estimated",
        CostBasis::Subscription => "subscription",
        CostBasis::Shared => "shared",
        CostBasis::None => "none",
    }
}
