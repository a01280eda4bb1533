//! Reading and checking the body of `POST /audio/speech`.

use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, empty, missing, too_long};
use super::{Call, models, tokens_of};
use crate::media::SoundFormat;

/// A checked request.
#[derive(Debug)]
pub(crate) struct SpeechRequest {
    pub(crate) model: String,
    pub(crate) family: String,
    pub(crate) input: String,
    pub(crate) voice: String,
    pub(crate) format: SoundFormat,
    pub(crate) speed: f64,
    pub(crate) instructions: String,
    pub(crate) events: bool,
}

/// The schema has additionalProperties = false.
const KNOWN: [&str; 7] = [
    "model",
    "input",
    "voice",
    "response_format",
    "speed",
    "instructions",
    "stream_format",
];

const OLD_VOICES: [&str; 9] = [
    "alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer",
];
const NEW_VOICES: [&str; 4] = ["ballad", "verse", "marin", "cedar"];

pub(crate) const FORMATS: [&str; 6] = ["mp3", "opus", "aac", "flac", "wav", "pcm"];

/// The format of a name; `None` for AAC, for which there is no encoder under a permissive licence.
pub(crate) fn format_of(name: &str) -> Option<SoundFormat> {
    Some(match name {
        "mp3" => SoundFormat::Mp3,
        "opus" => SoundFormat::OggOpus,
        "flac" => SoundFormat::Flac,
        "wav" => SoundFormat::StreamedWav,
        "pcm" => SoundFormat::Pcm,
        _ => return None,
    })
}

/// Checks in the order: shape of the body, existence of the model, what the model takes.
pub(crate) fn read(call: &Call<'_>) -> Result<SpeechRequest, ApiError> {
    let fields = Fields(call.object()?);
    fields.only(&KNOWN)?;
    let id = fields.required_text("model")?;
    let input = fields.required_text("input")?;
    if input.is_empty() {
        return Err(empty("input"));
    }
    let length = input.chars().count();
    if length > 4096 {
        return Err(too_long("input", 4096, length));
    }
    let speed = fields.decimal("speed", 0.25, 4.0)?.unwrap_or(1.0);
    let name = fields.choice("response_format", &FORMATS)?.unwrap_or("mp3");
    let instructions = fields.text("instructions")?.unwrap_or_default();
    if instructions.chars().count() > 4096 {
        return Err(too_long("instructions", 4096, instructions.chars().count()));
    }
    let events = fields
        .choice("stream_format", &["audio", "sse"])?
        .unwrap_or("audio")
        == "sse";

    let model = models::find(call.shared, id);
    let speaks = |family: &str| matches!(family, "tts-1" | "tts-1-hd" | "gpt-4o-mini-tts");
    let Some(model) = model.filter(|model| speaks(&model.family)) else {
        let message = format!("The model `{id}` does not exist or you do not have access to it.");
        return Err(ApiError::new(404, "invalid_request_error", message).code("model_not_found"));
    };
    let old = model.family.starts_with("tts-1");
    let voice = voice(&fields, old)?;
    for (name, used) in [
        ("instructions", fields.has("instructions")),
        ("stream_format", events),
    ] {
        if old && used {
            let message = format!("'{name}' does not work with the model '{id}'.");
            return Err(ApiError::value(name, message));
        }
    }
    if !old && tokens_of(input) > 2000 {
        let message = format!(
            "The input has {} tokens; this model takes at most 2000.",
            tokens_of(input)
        );
        return Err(ApiError::value("input", message));
    }
    let Some(format) = format_of(name) else {
        return Err(ApiError::value(
            "response_format",
            "The simulator does not make AAC; ask for mp3, opus, flac, wav or pcm.",
        ));
    };
    Ok(SpeechRequest {
        model: id.to_owned(),
        family: model.family.clone(),
        input: input.to_owned(),
        voice,
        format,
        speed,
        instructions: instructions.to_owned(),
        events,
    })
}

fn voice(fields: &Fields, old: bool) -> Result<String, ApiError> {
    let custom = |id: &str| {
        let message = format!("The voice '{id}' does not exist.");
        Err(ApiError::value("voice", message))
    };
    match fields.get("voice") {
        None => Err(missing("voice")),
        // No custom voices exist here.
        Some(Value::Object(object)) => custom(object.get("id").and_then(Value::as_str).unwrap_or_default()),
        Some(_) => {
            let all: Vec<&str> = OLD_VOICES
                .into_iter()
                .chain(NEW_VOICES.into_iter().filter(|_| !old))
                .collect();
            Ok(fields.choice("voice", &all)?.unwrap_or_default().to_owned())
        }
    }
}
