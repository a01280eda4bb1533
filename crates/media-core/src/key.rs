//! What names a purchase: the hash of a resolved request, and the key of one attempt at it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::provider::Resolved;
use crate::request::MediaRequest;

/// The key of one attempt, sent to services that take one. A UUID v4 in form, computed rather than drawn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptKey(Uuid);

/// Which attempt at which job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The job's id.
    pub job: String,
    /// What is bought.
    pub request: RequestHash,
    /// The number of the take, from 1.
    pub take: u32,
    /// The number of the attempt at this take, from 1.
    pub number: u32,
}

impl AttemptKey {
    /// The key of an attempt within a project.
    ///
    /// The same two give the same key for ever, so a lost ledger can be rebuilt by asking with the same keys.
    #[must_use]
    pub fn compute(project: &str, attempt: &Attempt) -> AttemptKey {
        let mut hash = Sha256::new();
        for part in [project, &attempt.job] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(attempt.request.0);
        hash.update(attempt.take.to_le_bytes());
        hash.update(attempt.number.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        AttemptKey(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads a key in its usual written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<AttemptKey> {
        Uuid::parse_str(text).ok().map(AttemptKey)
    }
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What makes two requests the same purchase: kind, provider, model, resolved content and parameters, language, format
/// and variant. Not the path, not the id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// The hash of a resolved request at this provider instance.
    #[must_use]
    pub fn of(provider: &str, request: &MediaRequest, resolved: &Resolved) -> RequestHash {
        let mut text = String::from("media-request-1\n");
        let kind = request.kind.to_string();
        for part in [&kind, provider, &resolved.model, &resolved.content] {
            push_text(part, &mut text);
            text.push('\n');
        }
        match &resolved.language {
            Some(language) => push_text(language, &mut text),
            None => text.push_str("null"),
        }
        text.push('\n');
        push_text(resolved.format.name(), &mut text);
        text.push('\n');
        text.push_str(&request.variant.to_string());
        text.push('\n');
        for (name, value) in &resolved.params {
            push_text(name, &mut text);
            text.push('\n');
            canonical(value, &mut text);
            text.push('\n');
        }
        RequestHash(Sha256::digest(&text).into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first half, hexadecimal: enough to tell purchases apart where people read it.
    #[must_use]
    pub fn short(&self) -> String {
        hex(self.0.get(..16).unwrap_or_default())
    }

    /// The hash that has these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> RequestHash {
        RequestHash(bytes)
    }
}

impl fmt::Debug for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// JSON with sorted keys, whatever map type serde_json was built with: its `preserve_order` feature can be switched on
/// by any crate of the tree, and a key computed from the text must not change with it.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (name, value) in entries {
                push_text(name, out);
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::String(text) => push_text(text, out),
        plain => out.push_str(&plain.to_string()),
    }
}

/// A text as JSON. Most need no escapes, and making another string of each shows in the rate of small jobs.
fn push_text(text: &str, out: &mut String) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::format::Format;
    use crate::limit::Units;

    pub(crate) fn resolved() -> Resolved {
        Resolved {
            model: "m".into(),
            content: "a dog".into(),
            language: None,
            params: BTreeMap::new(),
            format: Format::Png,
            group: "image".into(),
            units: Units::default(),
            calls: 1,
            dimensions: None,
        }
    }

    pub(crate) fn attempt() -> Attempt {
        let request = MediaRequest::image("a dog", "dog.png");
        Attempt {
            job: "dog".into(),
            request: RequestHash::of("acme", &request, &resolved()),
            take: 1,
            number: 1,
        }
    }

    #[test]
    fn a_key_is_a_uuid_v4_and_depends_on_every_part() {
        let key = |change: fn(&mut Attempt)| {
            let mut attempt = attempt();
            change(&mut attempt);
            AttemptKey::compute("p", &attempt)
        };
        let plain = key(|_| ());
        assert_eq!(plain.0.get_version_num(), 4);
        assert_eq!(plain, key(|_| ()));
        assert_ne!(plain, key(|attempt| attempt.number = 2));
        assert_ne!(plain, key(|attempt| attempt.take = 2));
        let other = MediaRequest::image("a dog", "dog.png").variant(2);
        let other = RequestHash::of("acme", &other, &resolved());
        assert_ne!(
            plain,
            AttemptKey::compute(
                "p",
                &Attempt {
                    request: other,
                    ..attempt()
                }
            )
        );
        let og = Attempt {
            job: "og".into(),
            ..attempt()
        };
        assert_ne!(plain, AttemptKey::compute("pd", &og));
    }

    /// Keys are how a lost ledger is rebuilt, so they must never change between versions.
    #[test]
    fn keys_stay_what_they_were() {
        assert_eq!(
            AttemptKey::compute("p", &attempt()).to_string(),
            "3ce2b55a-54cb-4171-a1a9-a89bacc6c2c5"
        );
    }

    #[test]
    fn the_path_and_the_id_are_not_part_of_the_purchase() {
        let one = MediaRequest::image("a dog", "dog.png").id("one");
        let two = MediaRequest::image("a dog", "other.png").id("two");
        assert_eq!(
            RequestHash::of("acme", &one, &resolved()),
            RequestHash::of("acme", &two, &resolved())
        );
    }

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let mut text = String::new();
        canonical(
            &serde_json::json!({"b": [1, {"d": 1, "c": "x\""}], "a": null}),
            &mut text,
        );
        assert_eq!(text, r#"{"a":null,"b":[1,{"c":"x\"","d":1,},],}"#);
    }
}
