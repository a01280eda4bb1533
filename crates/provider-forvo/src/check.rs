//! What requests may ask for: from a request to what is looked up, offline.

use media_core::limit::Units;
use media_core::{Error, MediaRequest, ParamSpec, ParamType, Params, Resolved, Result, format_of};

use crate::choice::Choice;
use crate::config::{ForvoConfig, GROUP};
use crate::{language, word};

/// The parameters of a request.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::audio(
        "id",
        ParamType::Integer,
        "take this recording of the word and no other",
    ),
    ParamSpec::audio(
        "country",
        ParamType::Text,
        "countries to take it from, groups in order of preference: MX,CO;ES;*",
    ),
    ParamSpec::audio(
        "speaker",
        ParamType::Text,
        "preferred speakers within a group of countries, comma separated",
    ),
    ParamSpec::audio("sex", ParamType::Text, "f, m or any"),
    ParamSpec::audio(
        "minimum_rate",
        ParamType::Integer,
        "the least positive minus negative votes",
    ),
];

/// Stands for the model: there is only one.
const MODEL: &str = "forvo";
/// A lookup and the fetch of the recording: both are counted.
const CALLS: u32 = 2;

/// The request as it is looked up. Its kind and format are checked by the client.
pub(crate) fn resolve(name: &str, config: &ForvoConfig, request: &MediaRequest) -> Result<Resolved> {
    let refuse = |message: String| Error::invalid(message);
    let format = format_of(&request.output_path)?;
    let params = Params::check(name, request.kind, &request.params, PARAMS)?;
    let tag = request
        .language
        .as_deref()
        .filter(|tag| !tag.trim().is_empty())
        .ok_or_else(|| {
            refuse(format!("{name} needs the language of the word"))
                .hint("give a BCP 47 tag such as es or pt-BR")
        })?;
    let spoken = language::resolve(config, name, tag)?;
    let word = word::check(name, &request.content, config.max_characters)?;
    if request.variant == 0 {
        return Err(refuse("variants are counted from 1".to_owned()));
    }
    let choice = Choice::of(config, &params, &spoken, request.variant)?;
    Ok(Resolved {
        model: MODEL.to_owned(),
        content: word,
        language: Some(spoken.code),
        params: choice.to_params(),
        format,
        group: GROUP.to_owned(),
        units: Units::default(),
        calls: CALLS,
        dimensions: None,
    })
}
