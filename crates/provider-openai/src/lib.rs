//! OpenAI and OpenAI-compatible servers as a media provider: images and speech.
#![doc = ""]
#![doc = include_str!("../docs.md")]

mod batch;
mod check;
mod config;
mod error;
mod map;
mod provider;
mod wire;

pub use self::check::PARAMS;
pub use self::config::{
    Authorization, BatchConfig, Delivery, Dialect, ImageConfig, OpenAiConfig, ResponseFormat, SpeechConfig,
    SpeechRules,
};
pub use self::provider::OpenAi;

/// What configurations call this kind of provider.
pub const NAME: &str = "openai";
/// The shipped configuration, complete, as JSON: what [`OpenAiConfig::default`] reads.
pub const SHIPPED: &str = include_str!("../config/openai.json");

/// What a registry needs to make instances from configuration files.
#[cfg(feature = "config")]
pub const FACTORY: media_core::Factory = media_core::Factory {
    name: NAME,
    about: "OpenAI and OpenAI-compatible servers: images, speech",
    config: SHIPPED,
    params: PARAMS,
    batches: Some(media_core::BatchSwitch {
        on: r#"{ "image": { "delivery": "batch" } }"#,
        leave: r#"{ "batch": { "wait": false } }"#,
    }),
    build: |setup| setup.make(OpenAi::with_wiring),
    check_config: |section| section.check(OpenAiConfig::validate),
    schema: media_core::config::provider_schema::<OpenAiConfig>,
};
