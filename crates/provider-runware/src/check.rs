//! The offline check: a request with all defaults filled in, or why Runware would refuse it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use media_core::limit::Units;
use media_core::{
    Error, ImageRules, MediaKind, MediaRequest, ParamSpec, ParamType, Params, Resolved, Result, format_of,
};
use serde_json::Value;

use crate::config::{IMAGE_GROUP, ParameterRules, RunwareConfig, SPEECH_GROUP, is_air};

/// Every parameter that a request may carry.
pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::image("model", ParamType::Text, "the model as an AIR: source:id@version"),
    ParamSpec::image("width", ParamType::Integer, "pixels across"),
    ParamSpec::image("height", ParamType::Integer, "pixels down"),
    ParamSpec::image("steps", ParamType::Integer, "more is slower and finer"),
    ParamSpec::image("negative_prompt", ParamType::Text, "what must not be seen"),
    ParamSpec::image(
        "cfg_scale",
        ParamType::Number,
        "how closely the prompt is followed",
    ),
    ParamSpec::image("scheduler", ParamType::Text, "the scheduler, by Runware's name"),
    ParamSpec::image(
        "seed",
        ParamType::Integer,
        "1 or more; equal seeds give equal pictures",
    ),
    ParamSpec::image(
        "check_content",
        ParamType::Flag,
        "have the result looked at for unsafe content",
    ),
    ParamSpec::image(
        "quality",
        ParamType::Integer,
        "the compression of JPEG and WebP, in percent",
    ),
    ParamSpec::image("lora", ParamType::Json, "a list of {\"model\", \"weight\"}"),
    ParamSpec::image(
        "accelerator_options",
        ParamType::Json,
        "Runware's acceleratorOptions, as documented there",
    ),
    ParamSpec::image(
        "provider_settings",
        ParamType::Json,
        "Runware's providerSettings, as documented there",
    ),
    ParamSpec::image(
        "settings",
        ParamType::Json,
        "Runware's settings, as documented there",
    ),
    ParamSpec::audio("model", ParamType::Text, "the model as an AIR: source:id@version"),
    ParamSpec::audio("voice", ParamType::Text, "a voice of the model"),
    ParamSpec::audio(
        "speech",
        ParamType::Json,
        "more of Runware's speech object: what the model documents",
    ),
    ParamSpec::audio("sample_rate", ParamType::Integer, "samples per second"),
    ParamSpec::audio("bitrate", ParamType::Integer, "the bit rate, in the model's unit"),
    ParamSpec::audio(
        "provider_settings",
        ParamType::Json,
        "Runware's providerSettings, as documented there",
    ),
    ParamSpec::audio(
        "settings",
        ParamType::Json,
        "Runware's settings, as documented there",
    ),
];

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::invalid(message))
}

/// The request as it would be sent.
pub(crate) fn resolve(name: &str, config: &RunwareConfig, request: &MediaRequest) -> Result<Resolved> {
    let params = Params::check(name, request.kind, &request.params, PARAMS)?;
    match request.kind {
        MediaKind::Image => image(config, request, params),
        MediaKind::Audio => speech(config, request, params),
    }
}

fn image(config: &RunwareConfig, request: &MediaRequest, params: Params<'_>) -> Result<Resolved> {
    let defaults = &config.image;
    let model = model(params, &defaults.model)?;
    // Steps, guidance and scheduler were chosen for the configured model; another one has its own.
    let own = model == defaults.model;
    let mut out = BTreeMap::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };

    let rule = config
        .prompt_rules
        .iter()
        .find(|rule| model.starts_with(&rule.model));
    let prompt_fits = |what: &str, text: &str| match rule {
        Some(rule) => {
            let (count, allowed) = (text.chars().count(), rule.min_characters..=rule.max_characters);
            if allowed.contains(&count) {
                return Ok(());
            }
            let (least, most) = (rule.min_characters, rule.max_characters);
            refuse(format!(
                "the {what} has {count} characters, and {model} takes {least} to {most}"
            ))
        }
        None => Ok(()),
    };
    prompt_fits("prompt", &request.content)?;
    if let Some(text) = params.text("negative_prompt") {
        prompt_fits("negative_prompt", text)?;
        put("negative_prompt", Some(Value::from(text)));
    }

    let width = edge(params, "width")?.unwrap_or(defaults.width);
    let height = edge(params, "height")?.unwrap_or(defaults.height);
    if let Some(rules) = ImageRules::of_model(&config.image_rules, model) {
        rules.check(width, height)?;
    }
    put("width", Some(Value::from(width)));
    put("height", Some(Value::from(height)));

    let mut rules = config.parameter_rules.iter();
    let rules = rules.find(|rule| model.starts_with(&rule.model));
    let within = |range: fn(&ParameterRules) -> Option<[i64; 2]>| {
        let [least, most] = rules.and_then(range).unwrap_or([0, i64::MAX]);
        least..=most
    };
    let steps = defaults.steps.filter(|_| own).map(i64::from);
    let steps = integer(params, "steps", within(|rules| rules.steps), steps)?;
    put("steps", steps.map(Value::from));
    let quality = defaults.quality.map(i64::from);
    let quality = integer(params, "quality", within(|rules| rules.quality), quality)?;
    put("quality", quality.map(Value::from));
    put(
        "seed",
        integer(params, "seed", within(|rules| rules.seed), None)?.map(Value::from),
    );
    let scale = params.number("cfg_scale").or(defaults.cfg_scale.filter(|_| own));
    if let (Some(scale), Some([least, most])) = (scale, rules.and_then(|rules| rules.cfg_scale))
        && !(least..=most).contains(&scale)
    {
        return refuse(format!("cfg_scale is {scale}, and {least} to {most} is possible"));
    }
    put("cfg_scale", scale.map(Value::from));
    let scheduler = params
        .text("scheduler")
        .or(defaults.scheduler.as_deref().filter(|_| own));
    put("scheduler", scheduler.map(Value::from));
    put(
        "check_content",
        Some(Value::from(
            params.flag("check_content").unwrap_or(defaults.check_content),
        )),
    );
    put("lora", lora(params)?);
    for name in ["accelerator_options", "provider_settings", "settings"] {
        put(name, object(params, name)?);
    }

    Ok(Resolved {
        model: model.to_owned(),
        content: request.content.clone(),
        language: None,
        params: out,
        format: format_of(&request.output_path)?,
        group: IMAGE_GROUP.to_owned(),
        units: Units::default().with("images", 1),
        calls: 1,
        dimensions: Some((width, height)),
    })
}

fn speech(config: &RunwareConfig, request: &MediaRequest, params: Params<'_>) -> Result<Resolved> {
    let defaults = &config.speech;
    let model = model(params, &defaults.model)?;
    let own = Some(defaults.voice.as_str()).filter(|_| model == defaults.model);
    let Some(voice) = params.text("voice").or(own) else {
        return refuse(format!(
            "{model} is not the configured model, so a voice of it must be named: voice"
        ));
    };
    let mut out = BTreeMap::from([("voice".to_owned(), Value::from(voice))]);
    for name in ["sample_rate", "bitrate"] {
        if let Some(number) = integer(params, name, 1..=i64::MAX, None)? {
            out.insert(name.to_owned(), Value::from(number));
        }
    }
    for name in ["speech", "provider_settings", "settings"] {
        if let Some(value) = object(params, name)? {
            out.insert(name.to_owned(), value);
        }
    }
    if let Some(taken) = ["text", "voice"]
        .iter()
        .find(|key| out.get("speech").is_some_and(|o| o.get(**key).is_some()))
    {
        return refuse(format!(
            "speech must not hold {taken:?}: it comes from the request itself"
        ));
    }
    Ok(Resolved {
        model: model.to_owned(),
        content: request.content.clone(),
        // Runware is told the voice, not the language.
        language: None,
        params: out,
        format: format_of(&request.output_path)?,
        group: SPEECH_GROUP.to_owned(),
        units: Units::default(),
        calls: 1,
        dimensions: None,
    })
}

fn model<'a>(params: Params<'a>, default: &'a str) -> Result<&'a str> {
    let model = params.text("model").unwrap_or(default);
    if is_air(model) {
        Ok(model)
    } else {
        refuse(format!(
            "{model:?} is not an AIR; write models like source:id@version"
        ))
    }
}

fn edge(params: Params<'_>, name: &str) -> Result<Option<u32>> {
    let edge = integer(params, name, 1..=i64::from(u32::MAX), None)?;
    Ok(edge.and_then(|edge| u32::try_from(edge).ok()))
}

fn integer(
    params: Params<'_>,
    name: &str,
    range: RangeInclusive<i64>,
    default: Option<i64>,
) -> Result<Option<i64>> {
    // A number beyond i64 was given, but is out of every range.
    let given = params.get(name).map(|value| value.as_i64().unwrap_or(i64::MIN));
    let Some(number) = given.or(default) else {
        return Ok(None);
    };
    if range.contains(&number) {
        return Ok(Some(number));
    }
    let shown = params
        .get(name)
        .map_or_else(|| number.to_string(), ToString::to_string);
    let (least, most) = (range.start(), range.end());
    if *most == i64::MAX {
        return refuse(format!("{name} is {shown}, and {least} or more is possible"));
    }
    refuse(format!("{name} is {shown}, and {least} to {most} is possible"))
}

fn object(params: Params<'_>, name: &str) -> Result<Option<Value>> {
    match params.get(name) {
        Some(value) if !value.is_object() => refuse(format!("{name} must be a JSON object")),
        value => Ok(value.cloned()),
    }
}

fn lora(params: Params<'_>) -> Result<Option<Value>> {
    let Some(value) = params.get("lora") else {
        return Ok(None);
    };
    let whole = value.as_array().is_some_and(|list| {
        !list.is_empty()
            && list
                .iter()
                .all(|entry| entry.get("model").is_some_and(Value::is_string))
    });
    if whole {
        Ok(Some(value.clone()))
    } else {
        refuse("lora must be a list of {\"model\", \"weight\"}".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(request: &MediaRequest) -> Result<Resolved> {
        resolve("runware", &RunwareConfig::default(), request)
    }

    fn said(request: &MediaRequest) -> String {
        check(request).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_filled_in() {
        let resolved = check(&MediaRequest::image("a dog", "dog.webp")).unwrap();
        assert_eq!(resolved.model, "runware:100@1");
        let params = json!({"width": 1024, "height": 1024, "steps": 4, "check_content": true});
        assert_eq!(serde_json::to_value(&resolved.params).unwrap(), params);
        assert_eq!(resolved.dimensions, Some((1024, 1024)));
        assert_eq!(
            (
                resolved.group.as_str(),
                resolved.calls,
                resolved.units.of("images")
            ),
            ("image", 1, 1)
        );
        let spoken = check(&MediaRequest::audio("hola", "hola.mp3")).unwrap();
        assert_eq!(
            (spoken.model.as_str(), &spoken.params["voice"]),
            ("inworld:tts@2", &json!("Diego"))
        );
        assert_eq!(spoken.group, "speech");
    }

    #[test]
    fn settings_of_one_model_are_not_sent_to_another() {
        let other = MediaRequest::image("a dog", "dog.png").param("model", "openai:gpt-image@2");
        assert!(!check(&other).unwrap().params.contains_key("steps"));
        let other = MediaRequest::audio("hola", "hola.mp3").param("model", "minimax:speech@2.8");
        assert!(said(&other).contains("a voice of it must be named"));
        assert!(check(&other.param("voice", "Wise_Woman")).is_ok());
    }

    #[test]
    fn what_runware_would_refuse_is_refused_here() {
        let image = || MediaRequest::image("a dog", "dog.png");
        for (request, part) in [
            (MediaRequest::image("x", "x.png"), "has 1 characters"),
            (MediaRequest::image("x".repeat(3001), "x.png"), "takes 2 to 3000"),
            (image().param("width", 1000), "multiples of 64"),
            (image().param("width", 64), "shorter than 128"),
            (image().param("height", 4096), "longer than 2048"),
            (image().param("width", -64), "width is -64"),
            (image().param("seed", 0), "seed is 0, and 1 or more"),
            (image().param("seed", u64::MAX), "seed is 18446744073709551615"),
            (image().param("steps", 101), "1 to 100"),
            (image().param("quality", 100), "20 to 99"),
            (image().param("cfg_scale", 50.5), "0 to 50"),
            (image().param("model", "flux"), "not an AIR"),
            (image().param("negative_prompt", "x"), "the negative_prompt has 1"),
            (image().param("lora", json!([{"weight": 1}])), "lora must be"),
            (image().param("provider_settings", "x"), "JSON object"),
            (image().param("voice", "x"), "no parameter \"voice\""),
            (
                MediaRequest::audio("hola", "x.mp3").param("speech", json!({"text": "x"})),
                "must not hold \"text\"",
            ),
        ] {
            let error = check(&request).unwrap_err();
            assert!(error.to_string().contains(part), "{error} / {part}");
            assert_eq!(error.charge(), Some(media_core::Charge::None));
        }
    }

    #[test]
    fn rules_go_by_model() {
        let klein = MediaRequest::image("a dog", "x.png")
            .param("model", "runware:400@2")
            .param("width", 1040);
        assert!(check(&klein).is_ok());
        let gpt = |text: String| MediaRequest::image(text, "x.png").param("model", "openai:gpt-image@2");
        assert!(check(&gpt("x".repeat(32_000))).is_ok());
        assert!(said(&gpt("x".repeat(32_001))).contains("2 to 32000"));
    }

    #[test]
    fn a_whole_number_and_a_fraction_of_equal_value_are_one_purchase() {
        let scale = |value: Value| {
            check(&MediaRequest::image("a dog", "x.png").param("cfg_scale", value))
                .unwrap()
                .params
        };
        assert_eq!(scale(json!(7)), scale(json!(7.0)));
    }
}
