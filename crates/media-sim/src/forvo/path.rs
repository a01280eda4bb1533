//! Forvo's path grammar: name/value pairs in any order.

use percent_encoding::percent_decode_str;

use crate::answer::Answer;

/// The pairs of a path, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads the part after the host. `None`: a name without a value, an empty segment, an encoded slash (Apache
    /// refuses those before PHP sees them) or bytes that are no UTF-8.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let mut pairs = Vec::new();
        for pair in segments.chunks(2) {
            let [name, value] = pair else { return None };
            if value.to_ascii_lowercase().contains("%2f") {
                return None;
            }
            let value = percent_decode_str(value).decode_utf8().ok()?;
            if name.is_empty() || value.is_empty() {
                return None;
            }
            pairs.push(((*name).to_owned(), value.into_owned()));
        }
        Some(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Refuses names that are not in `known`, and names given twice. The real service is likely to ignore them;
    /// a client that sends them is wrong all the same (an unescaped slash in a word makes such a pair).
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Answer> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            let twice = self.0.iter().skip(index + 1).any(|(other, _)| other == name);
            if twice || !known.contains(&name.as_str()) {
                return Err(super::invalid(name));
            }
        }
        Ok(())
    }
}

/// The path with its key replaced, for logs.
pub(crate) fn redacted(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    let mut hide = false;
    // Names and values alternate after "" and "forvo"; a word "key" is a value and hides nothing.
    for (index, segment) in segments.iter_mut().enumerate().skip(2) {
        if index % 2 == 0 {
            hide = *segment == "key";
        } else if hide {
            *segment = "KEY";
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_in_any_order_with_or_without_a_last_slash() {
        let path = "/action/word-pronunciations/format/json/word/ni%C3%B1o%20azul/key/K/";
        let pairs = Pairs::parse(path).unwrap();
        assert_eq!(pairs.get("word"), Some("niño azul"));
        assert_eq!(pairs.get("key"), Some("K"));
        assert_eq!(pairs, Pairs::parse(path.trim_end_matches('/')).unwrap());
    }

    #[test]
    fn broken_paths_are_no_pairs() {
        for path in [
            "/key",
            "/key/K/word",
            "/word/a%2Fb",
            "/word/%ff",
            "//x",
            "/word//language/es",
            "",
        ] {
            assert_eq!(Pairs::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_key_never_reaches_the_log() {
        assert_eq!(
            redacted("/forvo/key/secret/word/key/language/es"),
            "/forvo/key/KEY/word/key/language/es"
        );
        assert_eq!(redacted("/forvo/word/key/key/secret"), "/forvo/word/key/key/KEY");
    }
}
