//! Answers that are not quite as documented: one value of their JSON is missing, or is something else.

use std::fmt;

use serde_json::{Value, json};

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turned {
    Missing,
    Null,
    Number,
    Text,
    List,
    Object,
}

impl Turned {
    pub(crate) const ALL: [Turned; 6] = [
        Turned::Missing,
        Turned::Null,
        Turned::Number,
        Turned::Text,
        Turned::List,
        Turned::Object,
    ];
}

/// A change of one value, by its place in the order in which the values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mangled {
    pub(crate) place: usize,
    pub(crate) turned: Turned,
}

impl Mangled {
    /// Every change of every value of a JSON text; none of what is no JSON.
    pub fn all(text: &[u8]) -> impl Iterator<Item = Mangled> + use<> {
        let of_place = |place| {
            Turned::ALL
                .into_iter()
                .map(move |turned| Mangled { place, turned })
        };
        (0..places(text)).flat_map(of_place)
    }

    /// The text with this change.
    #[must_use]
    pub fn of(self, text: &[u8]) -> Vec<u8> {
        mangle(text, self)
    }
}

impl fmt::Display for Mangled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.turned {
            Turned::Missing => "missing",
            Turned::Null => "null",
            Turned::Number => "a number",
            Turned::Text => "a text",
            Turned::List => "a list",
            Turned::Object => "an object",
        };
        write!(f, "value {} of the answer as {what}", self.place + 1)
    }
}

/// How many values there are below an answer's own; none in what is no JSON.
pub(crate) fn places(answer: &[u8]) -> usize {
    fn below(value: &Value) -> usize {
        match value {
            Value::Array(items) => items.iter().map(|item| 1 + below(item)).sum(),
            Value::Object(members) => members.values().map(|member| 1 + below(member)).sum(),
            _ => 0,
        }
    }
    serde_json::from_slice(answer).map_or(0, |answer: Value| below(&answer))
}

/// The answer with that change; as it is where there is no such place.
pub(crate) fn mangle(answer: &[u8], change: Mangled) -> Vec<u8> {
    let Ok(mut parsed) = serde_json::from_slice::<Value>(answer) else {
        return answer.to_vec();
    };
    let mut place = change.place;
    turn(&mut parsed, &mut place, change.turned);
    parsed.to_string().into_bytes()
}

/// Whether it was done; otherwise `place` is counted down by what was passed.
fn turn(value: &mut Value, place: &mut usize, turned: Turned) -> bool {
    let mut reached = |child: &mut Value| {
        if *place == 0 {
            return Some(false);
        }
        *place -= 1;
        turn(child, place, turned).then_some(true)
    };
    match value {
        Value::Array(items) => {
            let found = items
                .iter_mut()
                .enumerate()
                .find_map(|(at, item)| Some((at, reached(item)?)));
            let Some((at, is_done)) = found else { return false };
            if !is_done {
                drop(items.splice(at..=at, replacement(turned)));
            }
        }
        Value::Object(members) => {
            let found = members
                .iter_mut()
                .find_map(|(name, member)| Some((name.clone(), reached(member)?)));
            let Some((name, is_done)) = found else {
                return false;
            };
            if !is_done {
                match replacement(turned) {
                    Some(new) => members.insert(name, new),
                    None => members.remove(&name),
                };
            }
        }
        _ => return false,
    }
    true
}

fn replacement(turned: Turned) -> Option<Value> {
    match turned {
        Turned::Missing => None,
        Turned::Null => Some(Value::Null),
        Turned::Number => Some(json!(7)),
        Turned::Text => Some(json!("seven")),
        Turned::List => Some(json!([])),
        Turned::Object => Some(json!({})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_reached_once() {
        let answer = br#"{"a":[{"b":1},2],"c":{"d":null}}"#;
        assert_eq!(places(answer), 6);
        let all: Vec<String> = (0..7)
            .map(|place| {
                let change = Mangled {
                    place,
                    turned: Turned::Missing,
                };
                String::from_utf8(mangle(answer, change)).unwrap()
            })
            .collect();
        assert_eq!(
            all,
            [
                r#"{"c":{"d":null}}"#,
                r#"{"a":[2],"c":{"d":null}}"#,
                r#"{"a":[{},2],"c":{"d":null}}"#,
                r#"{"a":[{"b":1}],"c":{"d":null}}"#,
                r#"{"a":[{"b":1},2]}"#,
                r#"{"a":[{"b":1},2],"c":{}}"#,
                r#"{"a":[{"b":1},2],"c":{"d":null}}"#,
            ]
        );
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        assert_eq!(places(b"<html>"), 0);
        let change = Mangled {
            place: 0,
            turned: Turned::Null,
        };
        assert_eq!(mangle(b"<html>", change), b"<html>");
    }
}
