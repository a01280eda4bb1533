//! Configuration that is compiled in: what a library user starts from, the same text that `media init` writes.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// The keys of a provider's file that belong to the loader, not to the provider.
pub(crate) const COMMON: [&str; 3] = ["type", "api_key_env", "key_page"];

/// Takes `$schema` and `$comment` out at every depth: they are allowed anywhere and mean nothing.
#[must_use]
pub fn strip_remarks(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key != "$schema" && *key != "$comment")
            .map(|(key, value)| (key.clone(), strip_remarks(value)))
            .collect(),
        Value::Array(items) => items.iter().map(strip_remarks).collect(),
        plain => plain.clone(),
    }
}

/// Reads a provider's own configuration from the text of its shipped file.
///
/// # Errors
/// [`ErrorKind::Config`] when the text does not fit the type.
pub fn read_shipped<T: DeserializeOwned>(text: &str) -> Result<T> {
    let failed = |error: serde_json::Error| {
        Error::new(ErrorKind::Config, "the shipped configuration is unusable")
            .because(error)
            .not_billed()
    };
    let mut value = strip_remarks(&serde_json::from_str(text).map_err(failed)?);
    if let Value::Object(map) = &mut value {
        map.retain(|key, _| !COMMON.contains(&key.as_str()));
    }
    serde_json::from_value(value).map_err(failed)
}
