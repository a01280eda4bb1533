//! Forvo through the whole client: every documented answer, and what becomes of it as a file.
#![cfg(feature = "http")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod choices;
mod conformance;
#[cfg(feature = "config")]
mod factory;
mod failures;
mod links;
mod support;
mod with_sim;
