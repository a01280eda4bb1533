//! The serde types of Forvo's answers, as lenient as their history: numbers may be text, unknown fields come and go.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One recording as a lookup lists it. Only a link to the sound is indispensable; what is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    #[serde(deserialize_with = "number")]
    pub(crate) id: Option<i64>,
    /// The slug: lower case, blanks as underscores, diacritics kept.
    #[serde(deserialize_with = "text")]
    pub(crate) word: String,
    /// The word with its own capitals and blanks.
    #[serde(deserialize_with = "text")]
    pub(crate) original: String,
    #[serde(deserialize_with = "text")]
    pub(crate) username: String,
    #[serde(deserialize_with = "text")]
    pub(crate) sex: String,
    /// An English name, or empty.
    #[serde(deserialize_with = "text")]
    pub(crate) country: String,
    /// Forvo's language code.
    #[serde(deserialize_with = "text")]
    pub(crate) code: String,
    #[serde(deserialize_with = "text")]
    pub(crate) pathmp3: String,
    #[serde(deserialize_with = "text")]
    pub(crate) pathogg: String,
    /// Positive votes minus negative ones.
    #[serde(deserialize_with = "number")]
    pub(crate) rate: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(crate) num_votes: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(crate) num_positive_votes: Option<i64>,
}

/// An answer of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// `{"attributes": …, "items": […]}`. `attributes.total` only counts the items, so it is not read.
    Items(Vec<Item>),
    /// A bare `false`, seen for words without recordings; `null` is its sibling.
    Nothing,
}

impl Answer {
    /// Tells the shapes apart; anything else is an error that names what came, and never "nothing found".
    pub(crate) fn read(value: Value) -> Result<Answer, &'static str> {
        let mut object = match value {
            Value::Bool(false) | Value::Null => return Ok(Answer::Nothing),
            Value::Object(object) => object,
            Value::Array(_) => return Err("a list"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err("a single value"),
        };
        let Some(Value::Array(items)) = object.remove("items") else {
            return Err("an object without a list of items");
        };
        items
            .into_iter()
            .map(|item| serde_json::from_value(item).map_err(|_| "a list with items of an unknown shape"))
            .collect::<Result<_, _>>()
            .map(Answer::Items)
    }
}

/// 100, "100", or nothing that can be used.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// Text; a number where text is due is taken as its digits.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, &'static str> {
        Answer::read(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn php_escapes_and_quoted_numbers() {
        let text = r#"{"attributes":{"total":"1"},"items":[{"id":"4711","word":"m\u00e9xico","original":"M\u00e9xico",
            "hits":3,"rate":"-2","num_votes":4,"sex":null,"pathmp3":"https:\/\/apifree.forvo.com\/audio\/abc"}]}"#;
        let Answer::Items(items) = read(text).unwrap() else {
            panic!("items")
        };
        let item = &items[0];
        assert_eq!(
            (item.id, item.rate, item.num_votes),
            (Some(4711), Some(-2), Some(4))
        );
        assert_eq!(
            (item.word.as_str(), item.original.as_str(), item.sex.as_str()),
            ("méxico", "México", "")
        );
        assert_eq!(item.pathmp3, "https://apifree.forvo.com/audio/abc");
    }

    #[test]
    fn every_shape_of_nothing_and_no_other() {
        assert_eq!(
            read(r#"{"attributes":{"total":0},"items":[]}"#),
            Ok(Answer::Items(Vec::new()))
        );
        assert_eq!(read("false"), Ok(Answer::Nothing));
        assert_eq!(read("null"), Ok(Answer::Nothing));
        for text in [
            "true",
            "[]",
            "{}",
            r#"{"items":{}}"#,
            r#"{"items":["x"]}"#,
            "0",
            "\"\"",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
