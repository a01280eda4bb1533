//! What is wrong with a value of the configuration, in the words of JSON and not of Rust.

use figment::error::{Actual, Kind};

pub(super) fn of(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            format!("expected {}, found {}", expected(wanted), found_as(found))
        }
        Kind::UnknownField(name, known) => {
            format!(
                "the key {name:?} is not known; the known ones are: {}",
                known.join(", ")
            )
        }
        Kind::UnknownVariant(name, known) => {
            format!("{name:?} is not known; the known ones are: {}", known.join(", "))
        }
        Kind::MissingField(name) => format!("the key {name:?} is missing"),
        Kind::Message(text) => half_an_address(text).unwrap_or_else(|| text.clone()),
        other => other.to_string(),
    }
}

/// What `url` says of an address that lacks its beginning.
fn half_an_address(text: &str) -> Option<String> {
    let found = text.strip_prefix("relative URL without a base: ")?;
    Some(format!(
        "expected a whole address, such as https://example.com, found {found}"
    ))
}

fn expected(wanted: &str) -> &str {
    let name = wanted.trim_start_matches("a ").trim_start_matches("an ");
    let is_integer = |name: &str| {
        let bits = name.trim_start_matches(['u', 'i']);
        name.len() == bits.len() + 1 && ["8", "16", "32", "64", "128", "size"].contains(&bits)
    };
    match name {
        name if name.strip_prefix("nonzero ").is_some_and(is_integer) => "a whole number from 1 on",
        name if is_integer(name) && name.starts_with('u') => "a whole number from 0 on",
        name if is_integer(name) => "a whole number",
        "f32" | "f64" => "a number",
        "string" => "text",
        "bool" | "boolean" => "true or false",
        "sequence" => "a list",
        "map" => "an object {…}",
        name if name.starts_with("struct ") => "an object {…}",
        name if name.starts_with("enum ") => "text, one of the names that `media config schema` lists",
        _ => wanted,
    }
}

fn found_as(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(value) => format!("{value:?}"),
        Actual::Unit | Actual::Option => "null".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use std::num::NonZeroUsize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its errors are of interest")]
    struct Key<T> {
        key: T,
    }

    fn wrong<T: DeserializeOwned + std::fmt::Debug>(json: serde_json::Value) -> String {
        let figment = figment::Figment::from(figment::providers::Serialized::defaults(json));
        of(&figment.extract::<Key<T>>().unwrap_err().kind)
    }

    #[test]
    fn values_are_named_as_json_names_them() {
        use serde_json::json;
        let cases = [
            (
                wrong::<NonZeroUsize>(json!({ "key": 0 })),
                "expected a whole number from 1 on, found 0",
            ),
            (
                wrong::<NonZeroUsize>(json!({ "key": "four" })),
                "expected a whole number from 1 on, found \"four\"",
            ),
            (
                wrong::<u64>(json!({ "key": -3 })),
                "expected a whole number from 0 on, found -3",
            ),
            (
                wrong::<i32>(json!({ "key": true })),
                "expected a whole number, found true",
            ),
            (
                wrong::<f64>(json!({ "key": [] })),
                "expected a number, found a list",
            ),
            (wrong::<String>(json!({ "key": 1 })), "expected text, found 1"),
            (
                wrong::<bool>(json!({ "key": "yes" })),
                "expected true or false, found \"yes\"",
            ),
            (
                wrong::<Vec<u8>>(json!({ "key": {} })),
                "expected a list, found an object",
            ),
            (
                wrong::<bool>(json!({ "kye": true })),
                "the key \"kye\" is not known; the known ones are: key",
            ),
            (wrong::<bool>(json!({})), "the key \"key\" is missing"),
            (
                wrong::<crate::Format>(json!({ "key": 5 })),
                "expected text, one of the names that `media config schema` lists, found 5",
            ),
            (
                wrong::<url::Url>(json!({ "key": "example.com" })),
                "expected a whole address, such as https://example.com, found \"example.com\"",
            ),
        ];
        for (said, wanted) in cases {
            assert_eq!(said, wanted);
        }
    }
}
