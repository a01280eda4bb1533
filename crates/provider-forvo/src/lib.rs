//! Forvo as a media provider: native pronunciations.
#![doc = ""]
#![doc = include_str!("../docs.md")]

mod choice;
mod config;
mod error;
mod language;
mod map;
mod missing;
mod provider;
mod wire;
mod word;

pub use self::choice::Sex;
pub use self::config::{Country, ForvoConfig};
pub use self::map::Pronunciation;
#[cfg(feature = "config")]
pub use self::provider::FACTORY;
pub use self::provider::Forvo;

/// The shipped configuration, complete, as JSON text: what [`ForvoConfig::default`] reads.
pub const SHIPPED_CONFIG: &str = include_str!("../config/forvo.json");
