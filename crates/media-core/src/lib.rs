//! One interface over web APIs that make images and spoken audio.
//!
//! A [`MediaProvider`] knows one service. A [`Client`] joins it with what all of them need: pacing within the
//! account's limits, retries that never buy twice, downloads, validation of every byte, and files that appear under
//! their name only when they are whole. A failed request is a value: see [`MediaResult`].
//!
//! Start with [`Client`]; to add a service, with [`MediaProvider`].

mod client;
#[cfg(feature = "config")]
pub mod config;
mod error;
mod format;
pub mod http;
mod image_rules;
mod job;
mod journal;
mod key;
mod lane;
pub mod lenient;
pub mod limit;
mod money;
mod output;
mod params;
mod prices;
mod provider;
mod request;
mod result;
mod secret;
mod settings;
mod shipped;
mod stop;
pub mod sync;
mod text;
mod units;
pub mod validate;

pub use self::client::{CheckLevel, Checked, Client, Delivery, Order, Results, format_of};
pub use self::error::{Charge, Error, ErrorKind, Result, Retry};
pub use self::format::{Format, MediaKind};
pub use self::image_rules::ImageRules;
pub use self::job::{Job, Prior};
pub use self::journal::{Event, Journal, NoJournal};
pub use self::key::{Attempt, AttemptKey, RequestHash, hex};
pub use self::money::Usd;
pub use self::output::{
    MADE, Scratch, Staged, Staging, free_places, hash_rest, keep_aside, prepare, stage_copy, stage_in,
};
pub use self::params::{ParamSpec, ParamType, Params};
pub use self::prices::{PriceRow, Prices, TokenRow, text_tokens, undated};
pub use self::provider::{
    BatchSwitch, Candidate, Capabilities, Connection, Factory, Facts, Generated, Link, Media, MediaProvider,
    ProviderInfo, Resolved,
};
pub use self::request::MediaRequest;
pub use self::result::{Cost, CostBasis, MediaFile, MediaResult, Provenance};
pub use self::secret::ApiKey;
pub use self::settings::{
    GroupLimits, Limits, RetrySettings, ServiceSettings, SizeLimits, Timeouts, check_address, check_base_url,
};
pub use self::shipped::{read_shipped, strip_remarks};
pub use self::stop::Stop;
pub use self::text::{is_unseen, one_line, quoted};
pub use self::units::{DayStart, Size, Span};
