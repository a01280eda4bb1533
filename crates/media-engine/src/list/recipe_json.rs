//! Takes a JSON file of ours apart, and remembers every mistake with the key it is at.

use super::json::Json;
use super::problem::{listed, quoted};

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(pub(super) Vec<String>);

/// Enough to work on; a file that is no recipe at all has no end of them.
const MOST: usize = 50;

impl Mistakes {
    pub(super) fn add(&mut self, key: &str, message: impl AsRef<str>) {
        if self.0.len() < MOST {
            let message = message.as_ref();
            self.0.push(if key.is_empty() {
                message.to_owned()
            } else {
                format!("{key}: {message}")
            });
        }
    }
}

/// An object whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Keys {
    path: String,
    entries: Vec<(String, Json)>,
    known: Vec<&'static str>,
}

impl Keys {
    pub(super) fn of(path: &str, json: Json, mistakes: &mut Mistakes) -> Keys {
        let entries = entries(path, json, mistakes);
        Keys {
            path: path.to_owned(),
            entries,
            known: Vec::new(),
        }
    }

    /// Where a key of it is.
    pub(super) fn at(&self, key: &str) -> String {
        at(&self.path, key)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Json> {
        self.known.push(key);
        let place = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(place).1).filter(|value| *value != Json::Null)
    }

    pub(super) fn need(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Json> {
        let value = self.take(key);
        if value.is_none() {
            mistakes.add(&self.path, format!("the key {key:?} is missing"));
        }
        value
    }

    pub(super) fn text(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<String> {
        let value = self.take(key)?;
        text(&self.at(key), value, mistakes)
    }

    pub(super) fn need_text(&mut self, key: &'static str, mistakes: &mut Mistakes) -> String {
        let value = self.need(key, mistakes);
        value
            .and_then(|value| text(&self.at(key), value, mistakes))
            .unwrap_or_default()
    }

    /// A list of texts, or one text.
    pub(super) fn texts(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Vec<String> {
        let value = self.take(key);
        value
            .map(|value| texts(&self.at(key), value, mistakes))
            .unwrap_or_default()
    }

    pub(super) fn end(self, mistakes: &mut Mistakes) {
        for (name, _) in &self.entries {
            let known = listed(&self.known);
            mistakes.add(
                &self.path,
                format!("unknown key {}; the keys here are: {known}", quoted(name)),
            );
        }
    }
}

/// The path of a key for messages.
pub(super) fn at(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

pub(super) fn entries(path: &str, json: Json, mistakes: &mut Mistakes) -> Vec<(String, Json)> {
    match json {
        Json::Object(entries) => entries,
        other => {
            mistakes.add(
                path,
                format!("expected an object {{…}}, found {}", other.describe()),
            );
            Vec::new()
        }
    }
}

pub(super) fn text(path: &str, json: Json, mistakes: &mut Mistakes) -> Option<String> {
    match json {
        Json::Text(text) => Some(text),
        other => {
            mistakes.add(path, format!("expected text, found {}", other.describe()));
            None
        }
    }
}

fn texts(path: &str, json: Json, mistakes: &mut Mistakes) -> Vec<String> {
    match json {
        Json::List(items) => items
            .into_iter()
            .filter_map(|item| text(path, item, mistakes))
            .collect(),
        Json::Text(text) => vec![text],
        other => {
            mistakes.add(
                path,
                format!("expected text or a list of texts, found {}", other.describe()),
            );
            Vec::new()
        }
    }
}
