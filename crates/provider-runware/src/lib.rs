//! Runware as a media provider: images and speech, native multi-task batches, async results.
#![doc = ""]
#![doc = include_str!("../docs.md")]

mod check;
mod config;
mod error;
mod fetch;
mod map;
mod provider;
mod submit;
mod wire;

pub use self::check::PARAMS;
pub use self::config::{
    Delivery, ImageDefaults, Mode, Output, ParameterRules, PromptRules, RunwareConfig, SpeechDefaults,
    WhenFlagged,
};
pub use self::provider::Runware;

/// What configurations call this kind of provider.
pub const NAME: &str = "runware";
/// The shipped configuration, complete, as JSON: what [`RunwareConfig::default`] reads.
pub const SHIPPED: &str = include_str!("../config/runware.json");

/// What a registry needs to make instances from configuration files.
#[cfg(feature = "config")]
pub const FACTORY: media_core::Factory = media_core::Factory {
    name: NAME,
    about: "Runware: images and speech of many models, several tasks per call, results fetched when they are ready",
    config: SHIPPED,
    params: PARAMS,
    batches: None,
    build: |setup| setup.make(Runware::with_wiring),
    check_config: |section| section.check(RunwareConfig::validate),
    schema: media_core::config::provider_schema::<RunwareConfig>,
};
