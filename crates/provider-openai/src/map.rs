//! From requests to the API's bodies and from its answers to results. Pure.

use std::collections::BTreeMap;

use media_core::http::Payload;
use media_core::{Error, ErrorKind, Facts, Format, Generated, Link, Media, Resolved, Result, Staged};
use serde_json::Value;
use url::Url;

use crate::check::is_custom;
use crate::config::{Delivery, Dialect, ImageConfig, ResponseFormat};
use crate::wire::{ImageBody, Images, SpeechBody, Usage};

/// The body of an image request.
pub(crate) fn image_body<'a>(config: &ImageConfig, resolved: &'a Resolved) -> ImageBody<'a> {
    // By the names that the API has for them too.
    let mut params = resolved.params.clone();
    let mut put = |name: &str, value: Value| params.insert(name.to_owned(), value);
    match config.dialect {
        Dialect::GptImage => {
            put("output_format", Value::from(resolved.format.name()));
            if config.delivery == Delivery::Stream {
                put("stream", Value::from(true));
                // Azure takes 1 to 3 only; none is what all do by themselves.
                if config.partial_images > 0 {
                    put("partial_images", Value::from(config.partial_images));
                }
            }
        }
        Dialect::DallE => {
            let form = match config.response_format {
                ResponseFormat::B64Json => "b64_json",
                ResponseFormat::Url => "url",
            };
            put("response_format", Value::from(form));
            put("n", Value::from(1));
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
    let media = match (
        media.into_iter().next(),
        image.url,
        image.b64_json.or(answer.b64_json),
    ) {
        (Some(staged), ..) => Media::Staged(staged),
        (None, Some(Payload::Text(link)), _) => {
            let url = Url::parse(&link).map_err(|error| no_picture().because(error))?;
            Media::Link(Link::new(url))
        }
        (None, Some(Payload::Unreadable(why)), _) | (None, _, Some(Payload::Unreadable(why))) => {
            return Err(no_picture().because(why));
        }
        (None, ..) => return Err(no_picture()),
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

/// Tokens by the names of the price table. None where none are told of the picture: it was not made of nothing, and the price
/// list says more.
fn usage(usage: &Usage) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    if usage.output_tokens == 0
        && usage
            .output_tokens_details
            .is_none_or(|made| made.image_tokens == 0)
    {
        return counts;
    }
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
    use media_core::MediaRequest;
    use serde_json::json;

    use super::*;
    use crate::check::resolve;
    use crate::config::OpenAiConfig;

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
