//! Checking the parameters of a task.

use serde_json::Value;

use super::Object;
use super::error::TaskError;
use crate::hash;
use crate::media::{PictureFormat, SoundFormat};
use crate::scenario::{Runware, RunwareModel};

/// Where media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Url,
    Base64,
    DataUri,
}

/// What is made.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Picture {
        width: u32,
        height: u32,
        format: PictureFormat,
        quality: u8,
        nsfw: Option<bool>,
    },
    Sound {
        voice: String,
        format: SoundFormat,
    },
}

/// A checked task.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) model: String,
    pub(crate) kind: Kind,
    pub(crate) extension: &'static str,
    pub(crate) results: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) output: Output,
    pub(crate) ttl_s: u64,
    pub(crate) include_cost: bool,
    pub(crate) is_async: bool,
    pub(crate) usd_each: f64,
    pub(crate) partner: bool,
}

/// Parameters that every inference takes.
const COMMON: [&str; 14] = [
    "taskType",
    "taskUUID",
    "model",
    "numberResults",
    "outputType",
    "outputFormat",
    "outputQuality",
    "deliveryMethod",
    "ttl",
    "includeCost",
    "seed",
    "providerSettings",
    "settings",
    "routing",
];

const PICTURE: [&str; 15] = [
    "positivePrompt",
    "negativePrompt",
    "width",
    "height",
    "resolution",
    "steps",
    "scheduler",
    "CFGScale",
    "safety",
    "checkNSFW",
    "clipSkip",
    "promptWeighting",
    "vae",
    "lora",
    "acceleratorOptions",
];

const SOUND: [&str; 3] = ["speech", "audioSettings", "positivePrompt"];

/// Parameters that exist, and that the simulator cannot honour.
const NOT_SIMULATED: [&str; 15] = [
    "webhookURL",
    "uploadEndpoint",
    "inputs",
    "seedImage",
    "maskImage",
    "maskMargin",
    "strength",
    "referenceImages",
    "outpaint",
    "controlNet",
    "embeddings",
    "ipAdapters",
    "refiner",
    "watermark",
    "advancedFeatures",
];

/// The UUID of a task, in the only spelling that counts: lower case.
pub(crate) fn task_uuid(object: &Object) -> Result<String, TaskError> {
    let Some(sent) = object.get("taskUUID").filter(|value| !value.is_null()) else {
        return Err(
            TaskError::new(400, "missingTaskUUID", "The parameter 'taskUUID' is required.").about("taskUUID"),
        );
    };
    let parsed = sent
        .as_str()
        .filter(|text| text.len() == 36)
        .and_then(|text| uuid::Uuid::try_parse(text).ok());
    match parsed.filter(|uuid| uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122) {
        Some(uuid) => Ok(uuid.to_string()),
        None => Err(TaskError::new(
            400,
            "invalidTaskUUID",
            "The parameter 'taskUUID' must be a UUID of version 4.",
        )
        .about("taskUUID")
        .expecting("string")),
    }
}

/// `invalid` + the parameter with a capital.
fn invalid(name: &str, message: impl Into<String>, kind: &str) -> TaskError {
    let mut letters = name.chars();
    let code: String = letters
        .next()
        .map(|first| first.to_uppercase().collect())
        .unwrap_or_default();
    TaskError::new(400, format!("invalid{code}{}", letters.as_str()), message)
        .about(name)
        .expecting(kind)
}

fn given<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

fn integer(object: &Object, name: &str, low: u64, high: u64) -> Result<Option<u64>, TaskError> {
    let Some(value) = given(object, name) else {
        return Ok(None);
    };
    match value.as_u64().filter(|number| (low..=high).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid(
            name,
            format!("'{name}' must be an integer between {low} and {high}."),
            "integer",
        )),
    }
}

fn flag(object: &Object, name: &str) -> Result<bool, TaskError> {
    match given(object, name) {
        None => Ok(false),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| invalid(name, format!("'{name}' must be a boolean."), "boolean")),
    }
}

/// One of a closed set. `any_case`: `png` is as good as `PNG`.
fn choice<'a>(
    object: &Object,
    name: &str,
    choices: &[&'a str],
    any_case: bool,
) -> Result<Option<&'a str>, TaskError> {
    let Some(value) = given(object, name) else {
        return Ok(None);
    };
    let equal = |choice: &&&str| {
        value
            .as_str()
            .is_some_and(|text| text == **choice || any_case && text.eq_ignore_ascii_case(choice))
    };
    match choices.iter().find(equal) {
        Some(choice) => Ok(Some(choice)),
        None => Err(invalid(
            name,
            format!("'{name}' must be one of: {}.", choices.join(", ")),
            "string",
        )
        .allowing(choices)),
    }
}

/// Checks everything that can be refused before a task exists.
pub(crate) fn inference(scenario: &Runware, kind: &str, object: &Object) -> Result<Wanted, TaskError> {
    let picture = kind == "imageInference";
    let own: &[&str] = if picture { &PICTURE } else { &SOUND };
    if let Some(name) = object.keys().find(|name| NOT_SIMULATED.contains(&name.as_str())) {
        let message = format!("The parameter '{name}' is not supported by the simulator.");
        return Err(TaskError::new(400, "unsupportedParameter", message).about(name));
    }
    if let Some(name) = object
        .keys()
        .find(|name| !COMMON.contains(&name.as_str()) && !own.contains(&name.as_str()))
    {
        let message = format!("The parameter '{name}' is unknown.");
        return Err(TaskError::new(400, "unknownParameter", message).about(name));
    }
    let (air, model) = model_of(scenario, kind, object)?;
    if let Some(name) = object.keys().find(|name| model.lacks.contains(name)) {
        let message = format!("The parameter '{name}' is not supported by the model '{air}'.");
        return Err(TaskError::new(400, "unsupportedParameter", message).about(name));
    }
    let results = integer(object, "numberResults", 1, 20)?.unwrap_or(1) as usize;
    let output = match choice(object, "outputType", &["URL", "base64Data", "dataURI"], false)? {
        Some("base64Data") => Output::Base64,
        Some("dataURI") => Output::DataUri,
        _ => Output::Url,
    };
    let ttl = integer(object, "ttl", 60, u64::from(u32::MAX))?;
    if ttl.is_some() && output != Output::Url {
        return Err(invalid(
            "ttl",
            "'ttl' can only be used with outputType 'URL'.",
            "integer",
        ));
    }
    let quality = integer(object, "outputQuality", 20, 99)?.unwrap_or(95) as u8;
    let is_async = choice(object, "deliveryMethod", &["sync", "async"], false)? == Some("async");
    let seed = integer(object, "seed", 1, i64::MAX as u64)?;
    let (made, extension, usd_each) = if picture {
        let (made, extension) = picture_of(scenario, model, object, quality)?;
        let asked = object
            .get("providerSettings")
            .and_then(|settings| settings.pointer("/openai/quality")?.as_str());
        let usd = asked
            .and_then(|quality| model.usd_by_quality.get(quality))
            .copied()
            .unwrap_or(model.usd);
        (made, extension, usd)
    } else {
        let (made, extension, letters) = sound_of(model, object)?;
        (
            made,
            extension,
            model.usd + model.usd_per_1000_chars * letters as f64 / 1000.0,
        )
    };
    Ok(Wanted {
        model: air,
        kind: made,
        extension,
        results,
        seed,
        output,
        ttl_s: ttl.unwrap_or(scenario.media_ttl_s),
        include_cost: flag(object, "includeCost")?,
        is_async,
        usd_each: varied(usd_each, model.usd_spread, &super::tasks::content_of(object)),
        partner: model.partner,
    })
}

/// A price that differs by content, between `1 - spread` and `1 + spread` of the usual one, in whole millionths.
fn varied(usd: f64, spread: f64, content: &str) -> f64 {
    let draw = (hash::number(&["price", content]) % 2001) as f64 / 1000.0 - 1.0;
    (usd * (1.0 + spread * draw) * 1e6).round() / 1e6
}

fn model_of<'a>(
    scenario: &'a Runware,
    kind: &str,
    object: &Object,
) -> Result<(String, &'a RunwareModel), TaskError> {
    let Some(value) = given(object, "model") else {
        return Err(
            TaskError::new(400, "missingModel", "The parameter 'model' is required.")
                .about("model")
                .expecting("string"),
        );
    };
    let air = value.as_str().unwrap_or_default();
    let shaped = air.split_once(':').is_some_and(|(source, rest)| {
        !source.is_empty()
            && rest
                .split_once('@')
                .is_some_and(|(id, version)| !id.is_empty() && !version.is_empty())
    });
    if !shaped {
        return Err(invalid(
            "model",
            "'model' must be an AIR identifier: source:id@version.",
            "string",
        ));
    }
    let Some(model) = scenario.models.get(air) else {
        return Err(
            TaskError::new(404, "modelNotFound", format!("The model '{air}' was not found.")).about("model"),
        );
    };
    if model.task_type != kind {
        let message = format!("The model '{air}' does not support the task type '{kind}'.");
        return Err(TaskError::new(400, "unsupportedTaskType", message)
            .about("taskType")
            .allowing(&[&model.task_type]));
    }
    Ok((air.to_owned(), model))
}

fn prompt<'a>(object: &'a Object, name: &str, most: usize) -> Result<Option<&'a str>, TaskError> {
    let Some(value) = given(object, name) else {
        return Ok(None);
    };
    let Some(text) = value.as_str() else {
        return Err(invalid(name, format!("'{name}' must be a string."), "string"));
    };
    let length = text.chars().count();
    if !(2..=most).contains(&length) {
        let code = format!("{name}Length");
        return Err(invalid(
            &code,
            format!("'{name}' must have between 2 and {most} characters."),
            "string",
        )
        .about(name));
    }
    Ok(Some(text))
}

fn picture_of(
    scenario: &Runware,
    model: &RunwareModel,
    object: &Object,
    quality: u8,
) -> Result<(Kind, &'static str), TaskError> {
    let Some(text) = prompt(object, "positivePrompt", model.max_prompt)? else {
        return Err(TaskError::new(
            400,
            "missingPositivePrompt",
            "The parameter 'positivePrompt' is required.",
        )
        .about("positivePrompt")
        .expecting("string"));
    };
    prompt(object, "negativePrompt", model.max_prompt)?;
    if !object.contains_key("width") || !object.contains_key("height") {
        return Err(TaskError::new(
            400,
            "missingDimensionParameters",
            "Either width and height, or referenceImages are needed.",
        )
        .about_all(&["width", "height", "referenceImages"])
        .expecting("integer|array"));
    }
    let side = |name: &str| {
        let number = given(object, name).and_then(Value::as_u64);
        let fits = |side: &u64| {
            (model.min_side..=model.max_side).contains(side) && side.is_multiple_of(model.step.max(1))
        };
        number.filter(fits).map(|side| side as u32).ok_or_else(|| {
            let message = format!(
                "'{name}' must be an integer between {} and {}, in multiples of {}.",
                model.min_side, model.max_side, model.step
            );
            invalid(name, message, "integer")
        })
    };
    let (width, height) = (side("width")?, side("height")?);
    integer(object, "steps", 1, 100)?;
    if let Some(value) = given(object, "CFGScale")
        && !value
            .as_f64()
            .is_some_and(|number| (0.0..=50.0).contains(&number))
    {
        return Err(invalid(
            "CFGScale",
            "'CFGScale' must be a number between 0 and 50.",
            "float",
        ));
    }
    choice(object, "resolution", &["1k", "2k", "4k"], false)?;
    let (format, extension) = match choice(object, "outputFormat", &["JPG", "PNG", "WEBP"], true)? {
        Some("PNG") => (PictureFormat::Png, "png"),
        Some("WEBP") => (PictureFormat::Webp, "webp"),
        _ => (PictureFormat::Jpeg, "jpg"),
    };
    let mut checked = flag(object, "checkNSFW")?;
    if let Some(safety) = given(object, "safety") {
        let Some(safety) = safety.as_object() else {
            return Err(invalid("safety", "'safety' must be an object.", "object"));
        };
        checked |= flag(safety, "checkContent")?;
    }
    let lower = text.to_lowercase();
    let nsfw = checked.then(|| {
        scenario
            .nsfw
            .iter()
            .any(|word| lower.contains(&word.to_lowercase()))
    });
    Ok((
        Kind::Picture {
            width,
            height,
            format,
            quality,
            nsfw,
        },
        extension,
    ))
}

fn sound_of(model: &RunwareModel, object: &Object) -> Result<(Kind, &'static str, usize), TaskError> {
    let speech = match given(object, "speech") {
        Some(Value::Object(speech)) => speech,
        Some(_) => return Err(invalid("speech", "'speech' must be an object.", "object")),
        None => {
            return Err(TaskError::new(
                400,
                "missingSpeech",
                "The parameter 'speech' is required; music is not simulated.",
            )
            .about("speech")
            .expecting("object"));
        }
    };
    let required = |name: &str, code: &str| match given(speech, name) {
        None => Err(
            TaskError::new(400, code, format!("The parameter 'speech.{name}' is required."))
                .about(&format!("speech.{name}")),
        ),
        Some(value) => value
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(&format!("speech.{name}"), "A text is expected.", "string")),
    };
    let text = required("text", "missingSpeechText")?;
    let voice = required("voice", "missingSpeechVoice")?;
    let length = text.chars().count();
    if length > model.max_prompt {
        return Err(TaskError::new(
            400,
            "invalidSpeechText",
            format!("'speech.text' must have at most {} characters.", model.max_prompt),
        )
        .about("speech.text"));
    }
    let (format, extension) = match choice(object, "outputFormat", &["MP3", "WAV", "FLAC", "OGG"], true)? {
        Some("WAV") => (SoundFormat::Wav, "wav"),
        Some("FLAC") => (SoundFormat::Flac, "flac"),
        Some("OGG") => (SoundFormat::OggVorbis, "ogg"),
        _ => (SoundFormat::Mp3, "mp3"),
    };
    Ok((
        Kind::Sound {
            voice: voice.to_owned(),
            format,
        },
        extension,
        length,
    ))
}
