//! Forvo through the whole client: every documented answer, and what becomes of it as a file.
#![cfg(feature = "http")]

mod choices;
#[cfg(feature = "config")]
mod factory;
mod failures;
mod links;
mod support;
mod with_sim;
