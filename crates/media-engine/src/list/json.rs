//! JSON that keeps the order of keys and refuses a key given twice, where `serde_json::Value` drops one silently.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Where and why text is not JSON.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) line: usize,
    pub(super) character: usize,
    pub(super) message: String,
}

impl Json {
    pub(super) fn parse(text: &str) -> Result<Json, Syntax> {
        serde_json::from_str(text).map_err(|error| {
            let full = error.to_string();
            // The position is given on its own: inside a list the line is another one.
            let message = full
                .rfind(" at line ")
                .and_then(|end| full.get(..end))
                .unwrap_or(&full)
                .to_owned();
            Syntax {
                line: error.line(),
                character: error.column(),
                message,
            }
        })
    }

    pub(super) fn describe(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::Text(_) => "text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => Value::Number(number.clone()),
            Json::Text(text) => Value::String(text.clone()),
            Json::List(items) => items.iter().map(Json::value).collect(),
            Json::Object(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.value()))
                .collect(),
        }
    }

    /// The same without `$schema` and `$comment`, which are allowed anywhere in files of ours.
    pub(super) fn without_remarks(self) -> Json {
        match self {
            Json::List(items) => Json::List(items.into_iter().map(Json::without_remarks).collect()),
            Json::Object(entries) => Json::Object(
                entries
                    .into_iter()
                    .filter(|(key, _)| key != "$schema" && key != "$comment")
                    .map(|(key, value)| (key, value.without_remarks()))
                    .collect(),
            ),
            plain => plain,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Number::from_f64(number)
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("the key {key:?} is there twice")));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Json::Object(entries))
    }
}
