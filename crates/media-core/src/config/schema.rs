//! The JSON Schema of configuration files, for editors; derived from the types that read them.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::money::Usd;
use crate::settings::{GroupLimits, Limits};
use crate::units::{DayStart, Size, Span};

/// The schema of a file that is read as `T`.
#[must_use]
pub fn file_schema<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    allow_remarks(&mut schema);
    schema
}

/// The schema of a provider's file: its own configuration `T`, and the keys that every provider has.
#[must_use]
pub fn provider_schema<T: JsonSchema>() -> Value {
    let mut schema = file_schema::<T>();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let about = "The provider that this is an instance of.";
        properties.insert(
            "type".to_owned(),
            json!({ "type": "string", "description": about }),
        );
        let about = "The environment variable that holds the key; null for servers without keys.";
        properties.insert(
            "api_key_env".to_owned(),
            json!({ "type": ["string", "null"], "description": about }),
        );
        let about = "Where a key is to be had.";
        properties.insert(
            "key_page".to_owned(),
            json!({ "type": "string", "description": about }),
        );
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.extend(["type".into(), "api_key_env".into()]);
    }
    schema
}

/// `$schema` and `$comment` are allowed anywhere.
fn allow_remarks(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(allow_remarks);
            if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("$schema".to_owned(), json!({ "type": "string" }));
                properties.insert("$comment".to_owned(), json!(true));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(allow_remarks),
        _ => {}
    }
}

/// A type whose schema is written out, because it is read by hand.
macro_rules! written {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let written: fn(&mut SchemaGenerator) -> Schema = $schema;
                written(generator)
            }
        }
    };
}

written!(Span, "Span", |_| json_schema!({
    "type": "string", "pattern": "^[0-9]", "examples": ["250ms", "30s", "5m", "7d"],
    "description": "A duration with its unit."
}));
written!(Size, "Size", |_| json_schema!({
    "type": "string", "pattern": "^[0-9]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB)$", "description": "A number of bytes with its unit."
}));
written!(DayStart, "DayStart", |_| json_schema!({
    "type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2} *UTC$", "examples": ["22:00 UTC"]
}));
written!(
    Usd,
    "Usd",
    |_| json_schema!({ "type": "number", "minimum": 0, "description": "US dollars." })
);
written!(GroupLimits, "GroupLimits", |_| json_schema!({
    "type": "object",
    "patternProperties": {
        "^.+_per_(second|minute|hour)$": { "type": ["integer", "null"], "minimum": 1 },
    },
    "properties": {
        "requests_per_day": { "type": ["integer", "null"], "minimum": 1 },
        "day_starts": { "type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2} *UTC$", "examples": ["22:00 UTC"] },
        "raise_to_reported": { "type": "boolean", "description": "A higher limit that the service reports replaces ours." },
    },
    "additionalProperties": false,
}));
written!(Limits, "Limits", |generator| json_schema!({
    "type": "object",
    "properties": {
        "concurrency": { "type": "integer", "minimum": 1, "description": "Calls in flight at once." },
        "downloads": { "type": ["integer", "null"], "minimum": 1, "description": "Downloads in flight at once." },
        "$comment": true,
    },
    "required": ["concurrency"],
    "additionalProperties": generator.subschema_for::<GroupLimits>(),
}));
