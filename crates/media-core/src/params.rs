//! Parameters of a provider's own: named, typed, and never silently ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::MediaKind;

/// The type of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// Any JSON value; a cell of a table must hold JSON.
    Json,
}

impl ParamType {
    fn describe(self) -> &'static str {
        match self {
            ParamType::Text => "text",
            ParamType::Integer => "a whole number",
            ParamType::Number => "a number",
            ParamType::Flag => "true or false",
            ParamType::Json => "JSON",
        }
    }

    /// Reads the text of a table's cell as a value of this type.
    ///
    /// # Errors
    /// A fragment that says what was expected.
    pub fn read(self, cell: &str) -> std::result::Result<Value, String> {
        let wrong = || format!("expected {}, found {cell:?}", self.describe());
        match self {
            ParamType::Text => Ok(Value::from(cell)),
            ParamType::Integer => cell.trim().parse::<i64>().map(Value::from).map_err(|_| wrong()),
            ParamType::Number => {
                let number = cell.trim().parse::<f64>().map_err(|_| wrong())?;
                serde_json::Number::from_f64(number)
                    .map(Value::Number)
                    .ok_or_else(wrong)
            }
            ParamType::Flag => match cell.trim() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(wrong()),
            },
            ParamType::Json => serde_json::from_str(cell).map_err(|_| wrong()),
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            ParamType::Text => value.is_string(),
            ParamType::Integer => value.is_i64() || value.is_u64(),
            ParamType::Number => value.is_number(),
            ParamType::Flag => value.is_boolean(),
            ParamType::Json => true,
        }
    }
}

/// One parameter that a provider understands.
#[derive(Clone, Copy, Debug)]
pub struct ParamSpec {
    /// Its name, as written after `params.PROVIDER.`.
    pub name: &'static str,
    /// The kind of media it belongs to.
    pub kind: MediaKind,
    /// The type of its value.
    pub value: ParamType,
    /// One line for people.
    pub help: &'static str,
}

impl ParamSpec {
    /// A parameter for pictures.
    #[must_use]
    pub const fn image(name: &'static str, value: ParamType, help: &'static str) -> ParamSpec {
        ParamSpec {
            name,
            kind: MediaKind::Image,
            value,
            help,
        }
    }

    /// A parameter for sound.
    #[must_use]
    pub const fn audio(name: &'static str, value: ParamType, help: &'static str) -> ParamSpec {
        ParamSpec {
            name,
            kind: MediaKind::Audio,
            value,
            help,
        }
    }
}

/// The parameters of one request, checked against what the provider understands.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    values: &'a BTreeMap<String, Value>,
}

impl<'a> Params<'a> {
    /// Checks names and types; a JSON null counts as not given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) for an unknown name (listing the known ones) or a wrong type.
    pub fn check(
        provider: &str,
        kind: MediaKind,
        values: &'a BTreeMap<String, Value>,
        specs: &[ParamSpec],
    ) -> Result<Params<'a>> {
        for (name, value) in values {
            let Some(spec) = specs.iter().find(|spec| spec.kind == kind && spec.name == name) else {
                let known: Vec<_> = specs
                    .iter()
                    .filter(|spec| spec.kind == kind)
                    .map(|spec| spec.name)
                    .collect();
                return Err(Error::invalid(format!(
                    "{provider} has no parameter {name:?} for {kind}; it has: {}",
                    known.join(", ")
                )));
            };
            if !value.is_null() && !spec.value.accepts(value) {
                return Err(Error::invalid(format!(
                    "the parameter {name:?} of {provider} must be {}, not {value}",
                    spec.value.describe()
                )));
            }
        }
        Ok(Params { values })
    }

    /// The value, unless it is missing, null or empty text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.values
            .get(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A text parameter.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A whole-number parameter.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::as_i64)
    }

    /// A number parameter.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    /// A true-or-false parameter.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPECS: &[ParamSpec] = &[
        ParamSpec::image("width", ParamType::Integer, "pixels"),
        ParamSpec::audio("voice", ParamType::Text, "name"),
    ];

    #[test]
    fn an_unknown_parameter_lists_the_known_ones() {
        let values = BTreeMap::from([("voice".to_string(), json!("x"))]);
        let error = Params::check("acme", MediaKind::Image, &values, SPECS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "acme has no parameter \"voice\" for image; it has: width"
        );
    }

    #[test]
    fn a_wrong_type_is_refused_and_null_is_absent() {
        let values = BTreeMap::from([("width".to_string(), json!("512"))]);
        assert!(Params::check("acme", MediaKind::Image, &values, SPECS).is_err());
        let values = BTreeMap::from([("width".to_string(), Value::Null)]);
        let params = Params::check("acme", MediaKind::Image, &values, SPECS).unwrap();
        assert_eq!(params.integer("width"), None);
    }

    #[test]
    fn cells_are_read_by_type() {
        assert_eq!(ParamType::Integer.read(" 512 ").unwrap(), json!(512));
        assert!(
            ParamType::Integer
                .read("5.5")
                .unwrap_err()
                .contains("whole number")
        );
        assert_eq!(ParamType::Text.read("007").unwrap(), json!("007"));
        assert_eq!(ParamType::Flag.read("true").unwrap(), json!(true));
    }
}
