//! For serde types of answers: a field of an unexpected type must not cost what was paid for beside it.

use serde::Deserialize as _;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// A value of the expected type, or nothing.
///
/// # Errors
/// It is not even JSON.
pub fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// All entries of the expected type of an array, or a single one that stands without its array.
///
/// # Errors
/// It is not even JSON.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = match Value::deserialize(deserializer)? {
        Value::Array(entries) => entries,
        single => vec![single],
    };
    Ok(entries
        .into_iter()
        .filter_map(|entry| serde_json::from_value(entry).ok())
        .collect())
}

/// A count: a whole number in whatever dress (`12`, `12.0`, `"12"`), or 0.
///
/// # Errors
/// It is not even JSON.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .unwrap_or(0))
}

/// The whole part of a number that is no smaller than 0 and exact as a float.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (0.0..=EXACT).contains(&number).then_some(number as u64)
}

/// A number in whatever dress (`0.5`, `"0.5"`), or none.
///
/// # Errors
/// It is not even JSON.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Answer {
        #[serde(default, deserialize_with = "super::optional")]
        name: Option<String>,
        #[serde(default, deserialize_with = "super::list")]
        parts: Vec<String>,
        #[serde(default, deserialize_with = "super::count")]
        tokens: u64,
    }

    #[test]
    fn a_field_of_another_type_costs_only_itself() {
        let read = |text: &str| {
            let answer: Answer = serde_json::from_str(text).unwrap();
            (answer.name, answer.parts, answer.tokens)
        };
        assert_eq!(
            read(r#"{"name":3,"parts":null,"tokens":null}"#),
            (None, vec![], 0)
        );
        let parts = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            read(r#"{"name":"x","parts":["a",null,"b"],"tokens":12.0}"#),
            (Some("x".to_owned()), parts, 12)
        );
        assert_eq!(
            read(r#"{"parts":"a","tokens":"7"}"#),
            (None, vec!["a".to_owned()], 7)
        );
        assert_eq!(read(r#"{"tokens":-3}"#).2, 0);
        assert_eq!(read("{}"), (None, vec![], 0));
    }
}
