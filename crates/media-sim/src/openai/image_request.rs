//! Reading and checking the body of `POST /images/generations`.

use super::error::ApiError;
use super::fields::{Fields, empty, too_long};
use super::{Call, models, sizes};
use crate::media::PictureFormat;

/// A checked request.
#[derive(Debug)]
pub(crate) struct ImageRequest {
    pub(crate) model: String,
    pub(crate) family: String,
    pub(crate) prompt: String,
    pub(crate) n: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) quality: String,
    pub(crate) background: &'static str,
    pub(crate) format: PictureFormat,
    pub(crate) compression: u8,
    pub(crate) stream: bool,
    pub(crate) partials: u64,
    /// The answer is a link, in the old dialect.
    pub(crate) url: bool,
    /// The old dialect: no echoes, no usage, a revised prompt.
    pub(crate) dall_e: bool,
}

/// Every field that any model of the endpoint knows.
const KNOWN: [&str; 19] = [
    "prompt",
    "model",
    "n",
    "size",
    "quality",
    "complexity",
    "background",
    "output_format",
    "output_compression",
    "moderation",
    "stream",
    "partial_images",
    "frame_count",
    "frame_duration_ms",
    "svg",
    "safety_identifier",
    "user",
    "response_format",
    "style",
];

/// Checks in the order: shape of the body, existence of the model, what the model takes.
pub(crate) fn read(call: &Call<'_>) -> Result<ImageRequest, ApiError> {
    let fields = Fields(call.object()?);
    fields.only(&KNOWN)?;
    let prompt = fields.required_text("prompt")?;
    if prompt.is_empty() {
        return Err(empty("prompt"));
    }
    let n = fields.integer("n", 1, 10)?.unwrap_or(1) as u64;
    let stream = fields.flag("stream")?.unwrap_or(false);
    let partials = fields.integer("partial_images", 0, 3)?;
    let compression = fields.integer("output_compression", 0, 100)?;
    fields.choice("moderation", &["auto", "low"])?;
    fields.text("safety_identifier")?;
    fields.text("user")?;
    let size = fields.text("size")?.unwrap_or("auto");

    // The default of old is dead, which is why every client has to name a model.
    let id = fields.text("model")?.unwrap_or("dall-e-2");
    let exists = models::find(call.shared, id);
    let exists =
        exists.filter(|model| model.family.starts_with("gpt-image") || model.family.starts_with("dall-e"));
    let Some(model) = exists else {
        // This endpoint says 400 where others say 404.
        return Err(ApiError::image(
            "model",
            format!("The model '{id}' does not exist."),
        ));
    };
    let family = model.family.as_str();
    let dall_e = family.starts_with("dall-e");
    refuse_foreign(&fields, family)?;
    let longest = match family {
        "dall-e-2" => 1000,
        "dall-e-3" => 4000,
        _ => 32_000,
    };
    let length = prompt.chars().count();
    if length > longest {
        return Err(too_long("prompt", longest, length));
    }
    if family == "dall-e-3" && n != 1 {
        return Err(ApiError::value("n", "You must provide n=1 for this model."));
    }

    let (width, height) = size_of(call, family, size)?;
    let quality = quality_of(&fields, family)?;
    let (format, background) = format_of(&fields, family)?;
    if compression.is_some_and(|percent| percent < 100) && format == PictureFormat::Png {
        return Err(ApiError::image(
            "output_compression",
            "Compression less than 100 is not supported for PNG output format",
        ));
    }
    if partials.is_some() && !stream {
        return Err(ApiError::value(
            "partial_images",
            "'partial_images' is only supported when 'stream' is true.",
        ));
    }
    let url = dall_e
        && fields
            .choice("response_format", &["url", "b64_json"])?
            .unwrap_or("url")
            == "url";
    fields.choice("style", &["vivid", "natural"])?;
    Ok(ImageRequest {
        model: id.to_owned(),
        family: family.to_owned(),
        prompt: prompt.to_owned(),
        n,
        width,
        height,
        quality,
        background,
        format,
        compression: compression.unwrap_or(100) as u8,
        stream,
        partials: partials.unwrap_or(0) as u64,
        url,
        dall_e,
    })
}

/// Fields that exist, but not for this model, are as unknown as any.
fn refuse_foreign(fields: &Fields, family: &str) -> Result<(), ApiError> {
    let foreign: &[&str] = match family {
        "dall-e-2" | "dall-e-3" => &[
            "background",
            "output_format",
            "output_compression",
            "moderation",
            "stream",
            "partial_images",
            "safety_identifier",
            "complexity",
            "frame_count",
            "frame_duration_ms",
            "svg",
        ],
        "gpt-image-2.6" => &["response_format", "style"],
        _ => &[
            "response_format",
            "style",
            "complexity",
            "frame_count",
            "frame_duration_ms",
            "svg",
        ],
    };
    if let Some(name) = foreign.iter().find(|name| fields.has(name)) {
        return Err(ApiError::unknown_parameter(name));
    }
    if family == "dall-e-2" && fields.has("style") {
        return Err(ApiError::unknown_parameter("style"));
    }
    fields.choice("complexity", &["low", "medium", "high"])?;
    let format = fields.text("output_format")?.unwrap_or("png");
    for (name, wanted) in [
        ("frame_count", "gif"),
        ("frame_duration_ms", "gif"),
        ("svg", "svg"),
    ] {
        if fields.has(name) && format != wanted {
            let message = format!("'{name}' is only supported when 'output_format' is '{wanted}'.");
            return Err(ApiError::value(name, message));
        }
    }
    Ok(())
}

fn size_of(call: &Call<'_>, family: &str, size: &str) -> Result<(u32, u32), ApiError> {
    let list: &[&str] = match family {
        "dall-e-2" => &["256x256", "512x512", "1024x1024"],
        "dall-e-3" => &["1024x1024", "1792x1024", "1024x1792"],
        family if family.starts_with("gpt-image-1") => &["1024x1024", "1536x1024", "1024x1536"],
        _ => &[],
    };
    match (size, list.is_empty()) {
        // `auto` may give what cannot be asked for, such as 1254x1254.
        ("auto", _) if family.starts_with("gpt-image") => {
            Ok(sizes::parse(&call.shared.scenario.openai.auto_size).unwrap_or((1024, 1024)))
        }
        ("auto", _) => Ok((1024, 1024)),
        (size, true) => sizes::free_form(size),
        (size, false) => sizes::listed(size, list),
    }
}

fn quality_of(fields: &Fields, family: &str) -> Result<String, ApiError> {
    let choices: &[&str] = match family {
        "dall-e-2" => &["standard"],
        "dall-e-3" => &["standard", "hd"],
        "gpt-image-2.5" | "gpt-image-2.6" => &["low", "medium", "high", "xhigh", "max", "auto"],
        _ => &["low", "medium", "high", "auto"],
    };
    Ok(match fields.choice("quality", choices)? {
        None if family.starts_with("dall-e") => "standard",
        // The answer never says "auto".
        None | Some("auto") => "medium",
        Some(quality) => quality,
    }
    .to_owned())
}

fn format_of(fields: &Fields, family: &str) -> Result<(PictureFormat, &'static str), ApiError> {
    let choices: &[&str] = if family == "gpt-image-2.6" {
        &["png", "jpeg", "webp", "gif", "svg"]
    } else {
        &["png", "jpeg", "webp"]
    };
    let name = fields.choice("output_format", choices)?.unwrap_or("png");
    let format = match name {
        "png" => PictureFormat::Png,
        "jpeg" => PictureFormat::Jpeg,
        "webp" => PictureFormat::Webp,
        // Both are in preview; the simulated organisation has no access.
        other => {
            let message = format!("Your organization does not have access to output_format '{other}'.");
            return Err(ApiError::image("output_format", message));
        }
    };
    let background = fields
        .choice("background", &["transparent", "opaque", "auto"])?
        .unwrap_or("auto");
    if background == "transparent" && format == PictureFormat::Jpeg {
        let message =
            "Transparent background is not supported for output_format 'jpeg'. Use 'png' or 'webp'.";
        return Err(ApiError::image("background", message));
    }
    Ok((
        format,
        if background == "transparent" {
            "transparent"
        } else {
            "opaque"
        },
    ))
}
