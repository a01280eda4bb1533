//! Reading fields of a JSON body with OpenAI's complaints about wrong types and ranges.

use serde_json::{Map, Value};

use super::error::ApiError;

/// The fields of a body.
#[derive(Debug)]
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl Fields {
    /// Refuses fields that are not in `known`.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::unknown_parameter(name)),
            None => Ok(()),
        }
    }

    /// Whether a field is there; `null` counts as left out.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(name, "a string", other)),
        }
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong_type(name, "a boolean", other)),
        }
    }

    pub(crate) fn integer(&self, name: &str, low: i64, high: i64) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(number) = value.as_i64() else {
            return Err(wrong_type(name, "an integer", value));
        };
        let complain = |side, sign, bound, code| {
            let message = format!(
                "Invalid '{name}': integer {side} value. Expected a value {sign} {bound}, but got {number} instead."
            );
            Err(ApiError::invalid(message).param(name).code(code))
        };
        match number {
            number if number < low => complain("below minimum", ">=", low, "integer_below_min_value"),
            number if number > high => complain("above maximum", "<=", high, "integer_above_max_value"),
            number => Ok(Some(number)),
        }
    }

    pub(crate) fn decimal(&self, name: &str, low: f64, high: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(number) = value.as_f64() else {
            return Err(wrong_type(name, "a decimal", value));
        };
        let complain = |side, sign, bound: f64, code| {
            let message = format!(
                "Invalid '{name}': decimal {side} value. Expected a value {sign} {bound}, but got {number} instead."
            );
            Err(ApiError::invalid(message).param(name).code(code))
        };
        match number {
            number if number < low => complain("below minimum", ">=", low, "decimal_below_min_value"),
            number if number > high => complain("above maximum", "<=", high, "decimal_above_max_value"),
            number => Ok(Some(number)),
        }
    }

    /// One of a closed set.
    pub(crate) fn choice(&self, name: &str, choices: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.text(name)? {
            Some(text) if !choices.contains(&text) => Err(ApiError::value(
                name,
                format!(
                    "Invalid value: '{text}'. Supported values are: {}.",
                    enumerate(choices)
                ),
            )),
            text => Ok(text),
        }
    }
}

/// `'a', 'b', and 'c'`
fn enumerate(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("'{choice}'")).collect();
    match quoted.split_last() {
        Some((last, [first])) => format!("{first} and {last}"),
        Some((last, rest)) if !rest.is_empty() => format!("{}, and {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

pub(crate) fn missing(name: &str) -> ApiError {
    ApiError::invalid(format!("Missing required parameter: '{name}'."))
        .param(name)
        .code("missing_required_parameter")
}

fn wrong_type(name: &str, expected: &str, got: &Value) -> ApiError {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ApiError::invalid(format!(
        "Invalid type for '{name}': expected {expected}, but got {got} instead."
    ))
    .param(name)
    .code("invalid_type")
}

/// `string_above_max_length`
pub(crate) fn too_long(name: &str, most: usize, got: usize) -> ApiError {
    ApiError::invalid(format!(
        "Invalid '{name}': string too long. Expected a string with maximum length {most}, but got a string with \
         length {got} instead."
    ))
    .param(name)
    .code("string_above_max_length")
}

/// `string_below_min_length`
pub(crate) fn empty(name: &str) -> ApiError {
    ApiError::invalid(format!(
        "Invalid '{name}': string too short. Expected a string with minimum length 1, but got an empty string instead."
    ))
    .param(name)
    .code("string_below_min_length")
}
