//! Runware driven as a user drives it: through a client, into files.

#![cfg(feature = "http")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod answers;
mod clock;
mod conformance;
mod connection;
mod fake;
mod money;
mod recovery;
mod simulated;
