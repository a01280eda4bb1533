//! What requests may ask for: from a request to what is sent, offline, refusing what the service would refuse.

use std::collections::BTreeMap;

use media_core::limit::Units;
use media_core::{
    Error, ErrorKind, Format, ImageRules, MediaKind, MediaRequest, ParamSpec, ParamType, Params, Prices,
    Resolved, Result, Usd, format_of, text_tokens,
};
use serde_json::Value;

use crate::config::{
    Dialect, IMAGE_GROUP, ImageConfig, OpenAiConfig, SPEECH_GROUP, SpeechConfig, SpeechRules,
};

/// What requests may set.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::image("model", ParamType::Text, "model id"),
    ParamSpec::image("size", ParamType::Text, "auto or WxH in pixels"),
    ParamSpec::image(
        "quality",
        ParamType::Text,
        "as the model documents, such as low, medium or high",
    ),
    ParamSpec::image("background", ParamType::Text, "opaque, transparent or auto"),
    ParamSpec::image("moderation", ParamType::Text, "auto or low"),
    ParamSpec::image(
        "output_compression",
        ParamType::Integer,
        "0 to 100, for formats that lose by it",
    ),
    ParamSpec::image(
        "style",
        ParamType::Text,
        "vivid or natural, for the older dialect",
    ),
    ParamSpec::audio("model", ParamType::Text, "model id"),
    ParamSpec::audio(
        "voice",
        ParamType::Text,
        "a voice's name, or voice_... for a custom one",
    ),
    ParamSpec::audio("instructions", ParamType::Text, "how to speak"),
    ParamSpec::audio("speed", ParamType::Number, "1 is as the voice does"),
];

fn refuse(message: impl Into<String>) -> Error {
    Error::invalid(message)
}

/// The request as it would be sent.
pub(crate) fn resolve(name: &str, config: &OpenAiConfig, request: &MediaRequest) -> Result<Resolved> {
    let params = Params::check(name, request.kind, &request.params, PARAMS)?;
    let format = format_of(&request.output_path)?;
    match (request.kind, &config.image, &config.speech) {
        (MediaKind::Image, Some(image), _) => resolve_image(image, &config.prices, request, params, format),
        (MediaKind::Audio, _, Some(speech)) => resolve_speech(speech, request, params, format),
        (kind, _, _) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{name} is not configured for {kind}"),
        )
        .not_billed()),
    }
}

fn check_length(what: &str, text: &str, most: usize) -> Result<()> {
    let length = text.chars().count();
    if length > most {
        return Err(refuse(format!(
            "the {what} may have at most {most} characters, found {length}"
        )));
    }
    Ok(())
}

/// Custom voices are for the service to judge.
fn check_voice(rules: &SpeechRules, model: &str, voice: &str) -> Result<()> {
    if is_custom(voice) || rules.voices.is_empty() || rules.voices.iter().any(|one| one == voice) {
        return Ok(());
    }
    let listed = rules.voices.join(", ");
    Err(refuse(format!(
        "the model {model} has no voice {voice:?}, it has {listed}"
    ))
    .hint(
        "choose one of them; a voice that is newer than this list is added to \"speech.rules\" of the \
             provider's configuration",
    ))
}

/// The service may cut the sound of a longer text off, and bill it.
fn check_tokens(rules: &SpeechRules, model: &str, text: &str) -> Result<()> {
    let tokens = text_tokens(text);
    match rules.max_tokens {
        Some(most) if tokens > most => Err(refuse(format!(
            "the text has about {tokens} tokens, and the model {model} takes {most}"
        ))
        .hint("divide it into several rows")),
        _ => Ok(()),
    }
}

pub(crate) fn is_custom(voice: &str) -> bool {
    voice.starts_with("voice_")
}

/// That something goes with these formats only; none where the configuration names none in its list `key`.
fn only_for(what: &str, formats: &[Format], key: &str) -> Error {
    if formats.is_empty() {
        return refuse(format!(
            "{what} goes with no format of this instance: image.{key} names none"
        ));
    }
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    refuse(format!("{what} needs {}", names.join(" or "))).hint("change the path's extension")
}

/// What is sent beside model and prompt: what the request says, else what is configured; refused where it does not go together.
fn chosen_params(
    config: &ImageConfig,
    params: Params<'_>,
    format: Format,
) -> Result<BTreeMap<String, Value>> {
    let mut chosen = BTreeMap::new();
    let mut choose = |name: &str, configured: Option<Value>| {
        if let Some(value) = params.get(name).cloned().or(configured) {
            chosen.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    choose("size", text(&config.size));
    choose("quality", text(&config.quality));
    match config.dialect {
        Dialect::GptImage => {
            if params.get("style").is_some() {
                return Err(refuse("the parameter \"style\" is refused by GPT image models"));
            }
            choose("background", text(&config.background));
            choose("moderation", text(&config.moderation));
            if config.compressed_formats.contains(&format) {
                choose("output_compression", config.output_compression.map(Value::from));
            } else if params.get("output_compression").is_some() {
                let what = "\"output_compression\"";
                return Err(only_for(what, &config.compressed_formats, "compressed_formats"));
            }
        }
        Dialect::DallE => {
            // It cannot ask for a format: what comes is PNG, or the only one that the configuration names.
            if format != Format::Png && config.formats.len() > 1 {
                return Err(refuse(format!(
                    "the older dialect cannot ask for {format}, and servers send png"
                ))
                .hint("name the file .png, or set image.formats to the one format that the server sends"));
            }
            choose("style", text(&config.style));
            if let Some(name) = ["background", "moderation", "output_compression"]
                .into_iter()
                .find(|name| params.get(name).is_some())
            {
                return Err(refuse(format!("the older dialect has no parameter {name:?}")));
            }
        }
    }
    let is = |name: &str, value: &str| chosen.get(name).and_then(Value::as_str) == Some(value);
    if is("background", "transparent") && !config.transparent_formats.contains(&format) {
        let what = "a transparent background";
        return Err(only_for(what, &config.transparent_formats, "transparent_formats"));
    }
    if let Some(level) = chosen.get("output_compression").and_then(Value::as_i64)
        && let Some([least, most]) = config.compression_range
        && !(least..=most).contains(&level)
    {
        let message = format!("\"output_compression\" is {least} to {most}, not {level}");
        return Err(refuse(message));
    }
    Ok(chosen)
}

fn resolve_image(
    config: &ImageConfig,
    prices: &Prices,
    request: &MediaRequest,
    params: Params<'_>,
    format: Format,
) -> Result<Resolved> {
    check_length("text", &request.content, config.max_characters)?;
    let model = params.text("model").unwrap_or(&config.model).to_owned();
    let chosen = chosen_params(config, params, format)?;
    let dimensions = match chosen.get("size").and_then(Value::as_str) {
        None | Some("auto") => None,
        Some(size) => Some(parse_size(size).ok_or_else(|| {
            refuse(format!(
                "the size {size:?} is neither auto nor WIDTHxHEIGHT, such as 1024x1024"
            ))
        })?),
    };
    if let (Some((width, height)), Some(rules)) = (dimensions, ImageRules::of_model(&config.rules, &model)) {
        rules.check(width, height)?;
    }
    let mut resolved = Resolved {
        model,
        content: request.content.clone(),
        language: None,
        params: chosen,
        format,
        group: IMAGE_GROUP.to_owned(),
        units: Units::default(),
        calls: 1,
        dimensions,
    };
    let partial = u64::from(config.partial_images) * config.tokens_per_partial;
    let tokens = text_tokens(&request.content) + output_tokens(prices, &resolved) + partial;
    resolved.units = Units::default().with("images", 1).with("tokens", tokens);
    Ok(resolved)
}

fn parse_size(size: &str) -> Option<(u32, u32)> {
    let (width, height) = size.split_once('x')?;
    let edge = |text: &str| text.parse::<u32>().ok().filter(|edge| *edge > 0);
    Some((edge(width)?, edge(height)?))
}

/// What the picture itself takes of the tokens per minute: its listed price, over the listed price of a token.
fn output_tokens(prices: &Prices, resolved: &Resolved) -> u64 {
    let price = prices.row(resolved).map_or(Usd::ZERO, |row| row.price(resolved));
    let per_million = prices.of_token(resolved, "image_out").unwrap_or_default();
    if per_million == Usd::ZERO {
        return 0;
    }
    price
        .micros()
        .saturating_mul(1_000_000)
        .div_ceil(per_million.micros())
}

fn resolve_speech(
    config: &SpeechConfig,
    request: &MediaRequest,
    params: Params<'_>,
    format: Format,
) -> Result<Resolved> {
    check_length("text", &request.content, config.max_characters)?;
    let model = params.text("model").unwrap_or(&config.model).to_owned();
    let mut chosen = BTreeMap::new();
    let voice = params.text("voice").unwrap_or(&config.voice);
    let rules = config.rules.iter().find(|rule| model.starts_with(&rule.model));
    if let Some(rules) = rules {
        check_voice(rules, &model, voice)?;
        check_tokens(rules, &model, &request.content)?;
    }
    chosen.insert("voice".to_owned(), Value::from(voice));
    if let Some(speed) = params.number("speed").or(config.speed) {
        if let Some([least, most]) = config.speed_range
            && !(least..=most).contains(&speed)
        {
            return Err(refuse(format!("\"speed\" is {least} to {most}, not {speed}")));
        }
        chosen.insert("speed".to_owned(), Value::from(speed));
    }
    let mut tokens = text_tokens(&request.content);
    if rules.is_none_or(|rules| rules.instructions) {
        if let Some(how) = params.text("instructions").or(config.instructions.as_deref()) {
            if let Some(most) = config.max_instruction_characters {
                check_length("instructions", how, most)?;
            }
            tokens += text_tokens(how);
            chosen.insert("instructions".to_owned(), Value::from(how));
        }
    } else if params.get("instructions").is_some() {
        return Err(refuse(format!("the model {model} takes no instructions")));
    }
    Ok(Resolved {
        model,
        content: request.content.clone(),
        language: None,
        params: chosen,
        format,
        group: SPEECH_GROUP.to_owned(),
        units: Units::default().with("tokens", tokens),
        calls: 1,
        dimensions: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(request: &MediaRequest) -> Result<Resolved> {
        resolve("openai", &OpenAiConfig::default(), request)
    }

    #[test]
    fn what_the_service_would_refuse_is_refused_here() {
        let said = |request: MediaRequest| image(&request).unwrap_err().to_string();
        let base = || MediaRequest::image("x", "x.png");
        assert!(said(base().param("size", "1000x1000")).contains("multiples of 16"));
        assert!(said(base().param("size", "big")).contains("neither auto"));
        assert!(said(base().param("style", "vivid")).contains("style"));
        assert!(said(base().param("output_compression", 50)).contains("needs jpeg or webp"));
        assert!(
            said(MediaRequest::image("x".repeat(32_001), "x.png"))
                .contains("at most 32000 characters, found 32001")
        );
        let jpeg = MediaRequest::image("x", "x.jpg").param("background", "transparent");
        assert!(said(jpeg).contains("needs png or webp"));
        assert!(image(&base().param("size", "auto")).unwrap().dimensions.is_none());
    }

    /// The service counts them by the minute, and bills them.
    #[test]
    fn instructions_are_tokens_too() {
        let tokens = |request: &MediaRequest| image(request).unwrap().units;
        let spoken = || MediaRequest::audio("good day!", "x.mp3");
        let of = |tokens| Units::default().with("tokens", tokens);
        let without = spoken().param("model", "tts-1").param("voice", "alloy");
        assert_eq!(tokens(&without), of(3), "it takes none");
        let told = spoken().param("instructions", "as to a friend, softly");
        assert_eq!(tokens(&told), of(3 + 6));
    }
}
