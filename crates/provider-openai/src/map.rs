//! From requests to the API's bodies and from its answers to results. Pure.

use std::collections::BTreeMap;

use media_core::http::Payload;
use media_core::limit::Units;
use media_core::{
    Error, ErrorKind, Facts, Format, Generated, ImageRules, Link, Media, MediaKind, MediaRequest, ParamSpec,
    ParamType, Params, Prices, Resolved, Result, Staged, format_of, text_tokens,
};
use serde_json::Value;
use url::Url;

use crate::config::{
    Delivery, Dialect, IMAGE_GROUP, ImageConfig, OpenAiConfig, ResponseFormat, SPEECH_GROUP, SpeechConfig,
    SpeechRules,
};
use crate::wire::{ImageBody, Images, SpeechBody, Usage};

/// What an unfinished picture on the way takes of the tokens: the API reference, image streaming.
const TOKENS_OF_PARTIAL: u64 = 100;

/// What requests may set.
pub(crate) const PARAMS: &[ParamSpec] = &[
    ParamSpec::image("model", ParamType::Text, "model id"),
    ParamSpec::image("size", ParamType::Text, "auto or WxH in pixels"),
    ParamSpec::image(
        "quality",
        ParamType::Text,
        "low, medium, high, auto; newer models also xhigh, max",
    ),
    ParamSpec::image("background", ParamType::Text, "opaque, transparent or auto"),
    ParamSpec::image("moderation", ParamType::Text, "auto or low"),
    ParamSpec::image(
        "output_compression",
        ParamType::Integer,
        "0 to 100, for jpeg and webp",
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
    Error::new(ErrorKind::InvalidRequest, message).not_billed()
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

fn is_custom(voice: &str) -> bool {
    voice.starts_with("voice_")
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
            if matches!(format, Format::Jpeg | Format::Webp) {
                choose("output_compression", config.output_compression.map(Value::from));
            } else if params.get("output_compression").is_some() {
                return Err(refuse(format!(
                    "\"output_compression\" is for jpeg and webp, not for {format}"
                )));
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
    if is("background", "transparent") && format == Format::Jpeg {
        return Err(refuse("a transparent background needs png or webp").hint("change the path's extension"));
    }
    if let Some(level) = chosen.get("output_compression").and_then(Value::as_i64)
        && !(0..=100).contains(&level)
    {
        return Err(refuse(format!("\"output_compression\" is 0 to 100, not {level}")));
    }
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
    let partial = u64::from(config.partial_images) * TOKENS_OF_PARTIAL;
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
    let price = prices.row(resolved).map_or(0, |row| row.price(resolved).micros());
    // Dollars per million tokens are micro-dollars per token.
    let per_token = prices.of_token(resolved, "image_out").unwrap_or(0.0);
    if per_token <= 0.0 {
        return 0;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of a few thousand"
    )]
    let tokens = (price as f64 / per_token).ceil() as u64;
    tokens
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
    if rules.is_none_or(|rules| rules.instructions) {
        if let Some(how) = params.text("instructions").or(config.instructions.as_deref()) {
            if let Some(most) = config.max_instruction_characters {
                check_length("instructions", how, most)?;
            }
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
        units: Units::default().with("tokens", text_tokens(&request.content)),
        calls: 1,
        dimensions: None,
    })
}

/// The body of an image request.
pub(crate) fn image_body<'a>(config: &ImageConfig, resolved: &'a Resolved) -> ImageBody<'a> {
    let names = [
        "size",
        "quality",
        "background",
        "moderation",
        "output_compression",
        "style",
    ];
    let mut params: BTreeMap<&'static str, Value> = names
        .into_iter()
        .filter_map(|name| Some((name, resolved.params.get(name)?.clone())))
        .collect();
    match config.dialect {
        Dialect::GptImage => {
            params.insert("output_format", Value::from(resolved.format.name()));
            if config.delivery == Delivery::Stream {
                params.insert("stream", Value::from(true));
                // Azure takes 1 to 3 only; none is what all do by themselves.
                if config.partial_images > 0 {
                    params.insert("partial_images", Value::from(config.partial_images));
                }
            }
        }
        Dialect::DallE => {
            let form = match config.response_format {
                ResponseFormat::B64Json => "b64_json",
                ResponseFormat::Url => "url",
            };
            params.insert("response_format", Value::from(form));
            params.insert("n", Value::from(1));
        }
    }
    ImageBody {
        model: &resolved.model,
        prompt: &resolved.content,
        params,
    }
}

/// The body of a speech request.
pub(crate) fn speech_body(resolved: &Resolved) -> Result<SpeechBody<'_>> {
    let text = |name: &str| resolved.params.get(name).and_then(Value::as_str);
    let voice = text("voice").unwrap_or_default();
    Ok(SpeechBody {
        model: &resolved.model,
        input: &resolved.content,
        // Custom voices are named by an object.
        voice: if is_custom(voice) {
            serde_json::json!({ "id": voice })
        } else {
            Value::from(voice)
        },
        response_format: match resolved.format {
            Format::Mp3 => "mp3",
            // What the API calls opus is Opus in Ogg.
            Format::Opus | Format::Ogg => "opus",
            Format::Flac => "flac",
            Format::Wav => "wav",
            other => {
                return Err(
                    Error::new(ErrorKind::Unsupported, format!("speech does not come as {other}"))
                        .not_billed(),
                );
            }
        },
        speed: resolved.params.get("speed").and_then(Value::as_f64),
        instructions: text("instructions"),
    })
}

/// The one picture of an answer.
pub(crate) fn picture(answer: Images, media: Vec<Staged>, request_id: Option<String>) -> Result<Generated> {
    let image = answer.data.into_iter().next().unwrap_or_default();
    // One picture was asked for, so what came is it, under whichever name.
    let media = match (media.into_iter().next(), image.url) {
        (Some(staged), _) => Media::Staged(staged),
        (None, Some(Payload::Text(link))) => {
            let url = Url::parse(&link).map_err(|error| no_picture().because(error))?;
            Media::Link(Link::new(url))
        }
        (None, _) => return Err(no_picture()),
    };
    let facts = Facts {
        remote_id: request_id,
        usage: answer.usage.as_ref().map(usage).unwrap_or_default(),
        revised_prompt: image.revised_prompt,
        ..Facts::default()
    };
    Ok(Generated { media, facts })
}

fn no_picture() -> Error {
    Error::new(
        ErrorKind::BadResponse,
        "the answer holds no picture, neither as base64 nor as a link",
    )
    .in_op("image generation")
}

/// Tokens by the names of the price table.
fn usage(usage: &Usage) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut count = |name: &str, amount: u64| {
        if amount > 0 {
            counts.insert(name.to_owned(), amount);
        }
    };
    // What the details leave out of the sum is of the usual sort: text in, pictures out.
    let sent = usage.input_tokens_details.unwrap_or_default();
    let made = usage.output_tokens_details.unwrap_or_default();
    let pictures = sent.image_tokens;
    let text = usage.input_tokens.saturating_sub(pictures).max(sent.text_tokens);
    let cached = sent.cached_tokens.min(text);
    count("text_in", text - cached);
    count("text_in_cached", cached);
    count("image_in", pictures);
    let words = made.text_tokens;
    count(
        "image_out",
        usage.output_tokens.saturating_sub(words).max(made.image_tokens),
    );
    count("text_out", words);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(request: &MediaRequest) -> Result<(Resolved, Value)> {
        let config = OpenAiConfig::default();
        let resolved = resolve("openai", &config, request)?;
        let body = serde_json::to_value(image_body(config.image.as_ref().unwrap(), &resolved)).unwrap();
        Ok((resolved, body))
    }

    #[test]
    fn a_gpt_image_body_holds_what_the_model_takes_and_nothing_else() {
        let (resolved, body) = image(&MediaRequest::image("a red kettle", "k.webp")).unwrap();
        assert_eq!(
            body,
            json!({"model": "gpt-image-2", "prompt": "a red kettle", "size": "1024x1024", "quality": "medium",
                "background": "opaque", "moderation": "auto", "output_format": "webp", "output_compression": 85})
        );
        assert_eq!(resolved.dimensions, Some((1024, 1024)));
        assert_eq!(resolved.units.of("images"), 1);
        // 0.053 USD at 30 USD per million tokens.
        assert_eq!(resolved.units.of("tokens"), 1767 + 3);
        let snapshot = MediaRequest::image("a red kettle", "k.webp").param("model", "gpt-image-2-2026-04-21");
        assert_eq!(image(&snapshot).unwrap().0.units.of("tokens"), 1767 + 3);
        let (_, body) = image(&MediaRequest::image("a red kettle", "k.png")).unwrap();
        assert_eq!(body.get("output_compression"), None);
        assert_eq!(body.get("response_format"), None);
    }

    #[test]
    fn what_the_service_would_refuse_is_refused_here() {
        let said = |request: MediaRequest| image(&request).unwrap_err().to_string();
        let base = || MediaRequest::image("x", "x.png");
        assert!(said(base().param("size", "1000x1000")).contains("multiples of 16"));
        assert!(said(base().param("size", "big")).contains("neither auto"));
        assert!(said(base().param("style", "vivid")).contains("style"));
        assert!(said(base().param("output_compression", 50)).contains("for jpeg and webp"));
        assert!(
            said(MediaRequest::image("x".repeat(32_001), "x.png"))
                .contains("at most 32000 characters, found 32001")
        );
        let jpeg = MediaRequest::image("x", "x.jpg").param("background", "transparent");
        assert!(said(jpeg).contains("needs png or webp"));
        assert!(
            image(&base().param("size", "auto"))
                .unwrap()
                .0
                .dimensions
                .is_none()
        );
    }

    #[test]
    fn the_older_dialect_asks_for_base64_and_sends_no_newer_field() {
        let mut config = OpenAiConfig::default();
        let image = config.image.as_mut().unwrap();
        image.dialect = Dialect::DallE;
        image.model = "sd".into();
        image.quality = None;
        let request = MediaRequest::image("x", "x.png");
        let resolved = resolve("local", &config, &request).unwrap();
        let body = serde_json::to_value(image_body(config.image.as_ref().unwrap(), &resolved)).unwrap();
        assert_eq!(
            body,
            json!({"model": "sd", "prompt": "x", "size": "1024x1024", "response_format": "b64_json", "n": 1})
        );
        let webp = MediaRequest::image("x", "x.webp");
        assert!(
            resolve("local", &config, &webp)
                .unwrap_err()
                .to_string()
                .contains("cannot ask for webp")
        );
        config.image.as_mut().unwrap().formats = vec![Format::Webp];
        assert!(resolve("local", &config, &webp).is_ok());
    }

    #[test]
    fn speech_bodies() {
        let config = OpenAiConfig::default();
        let request = MediaRequest::audio("Hola", "h.ogg")
            .param("voice", "voice_123")
            .param("speed", 0.5);
        let resolved = resolve("openai", &config, &request).unwrap();
        let body = serde_json::to_value(speech_body(&resolved).unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"model": "gpt-4o-mini-tts", "input": "Hola", "voice": {"id": "voice_123"}, "speed": 0.5,
                "response_format": "opus", "instructions": "Speak slowly and clearly."})
        );
        let older = MediaRequest::audio("Hola", "h.mp3")
            .param("model", "tts-1")
            .param("voice", "alloy");
        let resolved = resolve("openai", &config, &older).unwrap();
        assert!(!resolved.params.contains_key("instructions"));
        let refused = |request: MediaRequest| {
            let error = resolve("openai", &config, &request).unwrap_err();
            error.to_string()
        };
        assert!(refused(older.clone().param("instructions", "whisper")).contains("takes no instructions"));
        let spoken = || MediaRequest::audio("Hola", "h.mp3");
        assert!(refused(spoken().param("speed", 4.5)).contains("0.25 to 4, not 4.5"));
        assert!(refused(spoken().param("instructions", "x".repeat(4097))).contains("found 4097"));
        assert!(refused(older.clone().param("voice", "marin")).contains("tts-1 has no voice \"marin\""));
        assert!(resolve("openai", &config, &older.param("voice", "voice_123")).is_ok());
        assert!(refused(MediaRequest::audio("字".repeat(2001), "h.mp3")).contains("about 2001 tokens"));
        assert!(resolve("openai", &config, &MediaRequest::audio("a".repeat(4096), "h.mp3")).is_ok());
        let unlisted = spoken().param("model", "newer-tts").param("voice", "newest");
        assert!(resolve("openai", &config, &unlisted).is_ok());
    }

    #[test]
    fn usage_in_every_shape() {
        let read = |value: Value| usage(&serde_json::from_value(value).unwrap());
        let full = read(
            json!({"input_tokens": 12, "output_tokens": 196, "total_tokens": 208,
            "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
            "output_tokens_details": {"image_tokens": 196, "text_tokens": 0}}),
        );
        assert_eq!(
            full,
            BTreeMap::from([("text_in".into(), 12), ("image_out".into(), 196)])
        );
        let short = read(json!({"input_tokens": 12, "output_tokens": 196}));
        assert_eq!(short, full);
        assert_eq!(
            read(json!({"input_tokens": 12, "output_tokens": 196, "output_tokens_details": {}})),
            full
        );
        assert_eq!(
            read(
                json!({"input_tokens": 12, "output_tokens": 200, "input_tokens_details": {"image_tokens": 2, "cached_tokens": 4},
                "output_tokens_details": {"text_tokens": 4}})
            ),
            BTreeMap::from([
                ("text_in".into(), 6),
                ("text_in_cached".into(), 4),
                ("image_in".into(), 2),
                ("image_out".into(), 196),
                ("text_out".into(), 4),
            ])
        );
        let only_details = json!({"input_tokens_details": {"text_tokens": 12}, "output_tokens_details": {"image_tokens": 196}});
        assert_eq!(read(only_details), full);
        assert!(read(json!({"input_tokens": 0, "output_tokens": 0})).is_empty());
        assert!(read(json!({"input_tokens": null, "output_tokens_details": "none"})).is_empty());
        let floats =
            read(json!({"input_tokens": 12.0, "output_tokens": 196.0, "input_tokens_details": null}));
        assert_eq!(floats, full);
    }
}
