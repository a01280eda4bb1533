//! Forvo as a media provider: native pronunciations.
#![doc = ""]
#![doc = include_str!("../docs.md")]

mod check;
mod choice;
mod config;
mod error;
mod language;
mod map;
mod missing;
mod provider;
mod wire;
mod word;

pub use self::check::PARAMS;
pub use self::choice::Sex;
pub use self::config::{Country, ForvoConfig};
pub use self::map::Pronunciation;
pub use self::provider::Forvo;

/// What configurations call this kind of provider.
pub const NAME: &str = "forvo";
/// The shipped configuration, complete, as JSON: what [`ForvoConfig::default`] reads.
pub const SHIPPED: &str = include_str!("../config/forvo.json");

/// What a registry needs to make instances from configuration files.
#[cfg(feature = "config")]
pub const FACTORY: media_core::Factory = media_core::Factory {
    name: NAME,
    about: "native pronunciations of words, recorded by people (Forvo)",
    config: SHIPPED,
    params: PARAMS,
    batches: None,
    build: |setup| setup.make(Forvo::with_wiring),
    check_config: |section| section.check(ForvoConfig::validate),
    schema: media_core::config::provider_schema::<ForvoConfig>,
};
