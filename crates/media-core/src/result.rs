//! What a caller gets back: one result per request, a failure being a value like any other.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::Format;
use crate::money::Usd;
use crate::provider::Facts;
use crate::request::MediaRequest;
use crate::validate::Dimensions;

/// The outcome of one request.
#[derive(Clone, Debug)]
pub struct MediaResult {
    /// What was asked.
    pub request: MediaRequest,
    /// The file on disk, or why there is none.
    pub outcome: Result<MediaFile, Error>,
    /// The take that it is of: the one that was asked for, or a later one, which a run whose ledger was lost had made.
    pub take: u32,
    /// The number of the attempt that it ended with, by whose key it can be asked for. They are counted on from process to
    /// process; 0 where none was begun.
    pub attempts: u32,
    /// From its start in the lane to its end, waits included.
    pub elapsed: Duration,
    /// What it cost; `None` when nobody knows.
    pub cost: Option<Cost>,
    /// Who made it, and what has to be said about it.
    pub provenance: Provenance,
}

/// A file that stands at its path: complete, checked and renamed into place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its real format, read from its bytes.
    pub format: Format,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Pixel size, for a picture.
    pub dimensions: Option<Dimensions>,
    /// Playing time, for sound and animations where it can be told.
    pub duration: Option<Duration>,
}

/// An amount and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The amount.
    pub usd: Usd,
    /// How it is known.
    pub basis: CostBasis,
}

impl Cost {
    /// Of what was not billed.
    pub const NOTHING: Cost = Cost {
        usd: Usd::ZERO,
        basis: CostBasis::None,
    };
}

/// How a cost is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBasis {
    /// The service said what it billed.
    Reported,
    /// Computed from the usage in the answer, or the length of a sound, and the configured prices.
    Computed,
    /// Taken from the configured price list; the service said nothing.
    Estimated,
    /// Covered by a subscription: no price of its own.
    Subscription,
    /// Made once for several equal requests; another one carries the cost.
    Shared,
    /// Nothing was bought.
    None,
}

impl CostBasis {
    /// All of them.
    pub const ALL: [CostBasis; 6] = [
        CostBasis::Reported,
        CostBasis::Computed,
        CostBasis::Estimated,
        CostBasis::Subscription,
        CostBasis::Shared,
        CostBasis::None,
    ];

    /// Its name in result lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CostBasis::Reported => "reported",
            CostBasis::Computed => "computed",
            CostBasis::Estimated => "estimated",
            CostBasis::Subscription => "subscription",
            CostBasis::Shared => "shared",
            CostBasis::None => "none",
        }
    }
}

/// Who made a file, with what, and what has to be said about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The name of the provider instance.
    pub provider: String,
    /// The model, as it was asked for.
    pub model: Option<String>,
    /// The service's own id of the result.
    pub remote_id: Option<String>,
    /// The seed that was used.
    pub seed: Option<u64>,
    /// The prompt as the service rewrote it.
    pub revised_prompt: Option<String>,
    /// Whom to name.
    pub credit: Option<String>,
    /// Under which terms it may be used.
    pub licence: Option<String>,
    /// What is odd about the result but no failure: another pixel size than asked, ...
    pub warnings: Vec<String>,
}

impl Provenance {
    /// From what a service said.
    #[must_use]
    pub fn of(provider: &str, model: Option<&str>, facts: Facts) -> Provenance {
        Provenance {
            provider: provider.to_owned(),
            model: model.map(str::to_owned),
            remote_id: facts.remote_id,
            seed: facts.seed,
            revised_prompt: facts.revised_prompt,
            credit: facts.credit,
            licence: facts.licence,
            warnings: facts.warnings,
        }
    }
}
