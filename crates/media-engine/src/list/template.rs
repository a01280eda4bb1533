//! Templates: `{column}`, `{column|file}`, `{{` and `}}` for braces. That is the whole language.

use media_core::validate::file_safe;
use std::borrow::Cow;

/// A template, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template {
    /// As written.
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Column {
        /// As columns are compared.
        key: String,
        /// Whether it becomes a piece of a file name.
        file: bool,
    },
}

/// Names are compared trimmed and without case. Most are written that way already, and then nothing is made.
pub(super) fn key_of(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.trim().to_lowercase())
}

impl Template {
    /// # Errors
    /// What is wrong, as the end of a sentence that starts with the template.
    pub(super) fn parse(source: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut chars = source.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    text.push(c);
                }
                '{' => {
                    let mut inside = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some('{') | None => {
                                return Err("has a { without its }; write {{ for a plain brace".to_owned());
                            }
                            Some(other) => inside.push(other),
                        }
                    }
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(column(&inside)?);
                }
                '}' => return Err("has a } without its {; write }} for a plain brace".to_owned()),
                plain => text.push(plain),
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Template {
            source: source.to_owned(),
            pieces,
        })
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The columns it names.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Column { key, .. } => Some(key.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The plain text, when it names no column.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn render<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Column { key, file: false } => out.push_str(value(key)),
                Piece::Column { key, file: true } => out.push_str(&file_safe(value(key))),
            }
        }
        out
    }
}

fn column(inside: &str) -> Result<Piece, String> {
    let (name, filter) = match inside.split_once('|') {
        Some((name, filter)) => (name, Some(filter.trim())),
        None => (inside, None),
    };
    let key = key_of(name).into_owned();
    if key.is_empty() {
        return Err("has {} without a column name; write {{}} for plain braces".to_owned());
    }
    match filter {
        None => Ok(Piece::Column { key, file: false }),
        Some("file") => Ok(Piece::Column { key, file: true }),
        Some(other) => Err(format!(
            "has the filter {other:?}; the only filter is file, as in {{id|file}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(source: &str) -> Result<String, String> {
        Template::parse(source).map(|template| {
            template.render(|key| match key {
                "word" => "El niño",
                "id" => "A/1",
                _ => "",
            })
        })
    }

    #[test]
    fn columns_filters_and_braces() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("{word}", "El niño"),
            ("{ Word }, {id}", "El niño, A/1"),
            ("es_{id|file}.webp", "es_a_1.webp"),
            ("{word | file}", "el_niño"),
            ("{{word}} {{{word}}}", "{word} {El niño}"),
            ("{empty}!", "!"),
        ];
        for (source, text) in cases {
            assert_eq!(render(source).as_deref(), Ok(text), "{source}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("{word", "{ without its }"),
            ("{wo{rd}", "{ without its }"),
            ("word}", "} without its {"),
            ("a {} b", "without a column name"),
            ("{|file}", "without a column name"),
            ("{word|upper}", "\"upper\""),
            ("{word|file|file}", "the only filter"),
        ];
        for (source, part) in cases {
            let message = render(source).unwrap_err();
            assert!(message.contains(part), "{source}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(source in any::<String>()) {
            drop(Template::parse(&source));
        }

        #[test]
        fn doubled_braces_are_plain(text in any::<String>()) {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            let template = Template::parse(&doubled).unwrap();
            prop_assert_eq!(template.literal(), Some(text.as_str()));
        }

        #[test]
        fn a_column_renders_as_it_is(before in "[^{}]*", value in any::<String>(), after in "[^{}]*") {
            let template = Template::parse(&format!("{before}{{x}}{after}")).unwrap();
            prop_assert_eq!(template.render(|_| value.as_str()), format!("{before}{value}{after}"));
        }
    }
}
