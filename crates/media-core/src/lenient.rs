//! For answers of services: what is odd about one value must not cost what was paid for beside it.

use serde::Deserialize as _;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// Reads JSON. What strict JSON refuses and some services send all the same is put right where the strict reading of an object or
/// a list fails: a byte order mark, half a surrogate pair in an escape, `NaN` and the infinities, a number too large for any,
/// control characters in texts, zero bytes after the end. Nothing else is: a text that is no JSON must not become an answer.
///
/// # Errors
/// It is no such JSON even so, or not of this type.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let strict = match serde_json::from_slice(text) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if !matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Err(strict);
    }
    let mended = mended(&String::from_utf8_lossy(text));
    let whole = mended.trim_end_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
    // What was wrong with it as it came says more.
    serde_json::from_str(whole).map_err(|_| strict)
}

/// A text in which every value is one that JSON knows.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '"' => {
                let length = string_length(rest);
                mend_string(rest.get(..length).unwrap_or(rest), &mut out);
                length
            }
            c if is_of_token(c) => {
                let length = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
                let token = rest.get(..length).unwrap_or(rest);
                // What JSON has no word for: not a number, and numbers beyond all that it has.
                let is_beyond = token.parse::<f64>().is_ok_and(|number| !number.is_finite());
                let is_plain =
                    token.starts_with(['-', 'N', 'I']) || token.starts_with(|c: char| c.is_ascii_digit());
                out.push_str(if is_beyond && is_plain { "null" } else { token });
                length
            }
            _ => {
                out.push(next);
                next.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Of a number or of one of the words of JSON.
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_')
}

/// The length of the string that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn mend_string(string: &str, out: &mut String) {
    let mut rest = string;
    while let Some(at) = rest.find(|c: char| c == '\\' || c < ' ') {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let length = match surrogate(special) {
            Some(0xd800..=0xdbff)
                if matches!(
                    surrogate(special.get(6..).unwrap_or_default()),
                    Some(0xdc00..=0xdfff)
                ) =>
            {
                out.push_str(special.get(..12).unwrap_or_default());
                12
            }
            Some(_) => {
                out.push_str("\\ufffd");
                6
            }
            // An escape is two characters for all that matters here.
            None if special.starts_with('\\') => {
                let length = special.char_indices().nth(2).map_or(special.len(), |(at, _)| at);
                out.push_str(special.get(..length).unwrap_or_default());
                length
            }
            // A control character.
            None => {
                out.push(' ');
                1
            }
        };
        rest = special.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The half of a surrogate pair that a text begins with as an escape.
fn surrogate(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&unit).then_some(unit)
}

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

/// A yes or no in whatever dress (`true`, `"true"`, `1`), or none.
///
/// # Errors
/// It is not even JSON.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(flag) => Some(flag),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    })
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
    use super::*;
    use proptest::prelude::*;
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

    #[test]
    fn what_strict_json_refuses_costs_only_itself() {
        let read = |text: &str| json::<Value>(text.as_bytes()).unwrap().to_string();
        assert_eq!(read("\u{feff}{\"a\":1}"), r#"{"a":1}"#);
        assert_eq!(
            read(r#"{"a":NaN,"b":[-Infinity,1e999,-1.5],"c":true}"#),
            r#"{"a":null,"b":[null,null,-1.5],"c":true}"#
        );
        assert_eq!(
            read(r#"{"a":"x \ud83d y","b":"\ud83d\ude00","c":"\\ud83d"}"#),
            r#"{"a":"x � y","b":"😀","c":"\\ud83d"}"#
        );
        assert_eq!(read("{\"a\":\"one\ntwo\",\"b\":2}"), r#"{"a":"one two","b":2}"#);
        assert_eq!(read("{\"a\":1}\0\n"), r#"{"a":1}"#);
        assert_eq!(read(r#"{"a":"\ud83d\ud83d\ude00"}"#), r#"{"a":"�😀"}"#);
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in [
            "",
            "<html>",
            "{\"a\":",
            "{\"a\":\"x",
            "nothing",
            "Internal Server Error",
            "Not Found",
            "null pointer exception",
            "false<br>",
            "{\"a\":1}<b>Fatal error</b>",
            "{\"a\":1}{\"a\":2}",
            "{\"a\":Not}",
            "{\"a\":0x10}",
        ] {
            assert!(json::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..60), odd in "[{}\\[\\]:,\"\\\\ud8cNaI1e.+ -]{0,40}") {
            let _ = json::<Value>(&text);
            let _ = json::<Value>(odd.as_bytes());
        }

        #[test]
        fn strict_json_is_read_as_it_is(text in "\\PC{0,20}", number in any::<f64>()) {
            let value = serde_json::json!({"text": text, "list": [number, null, true, {"": -3}]});
            prop_assert_eq!(mended(&value.to_string()), value.to_string());
        }
    }
}
