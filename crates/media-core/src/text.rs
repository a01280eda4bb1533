//! Words of users and services in messages.

/// In quotes, with what nobody could see (control characters, ends of lines) spelt out. Unlike `{:?}` it leaves the marks
/// of scripts that are written with them, and apostrophes, as they are: `"คล่อง"`, `"l'eau"`.
#[must_use]
pub fn quoted(text: &str) -> String {
    // Of each apostrophe this escapes, and of nothing else, a backslash stands before it.
    let shown = text.escape_debug().to_string().replace("\\'", "'");
    format!("\"{shown}\"")
}

/// On one line of at most so many characters, without what a terminal would take for a command.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_left_as_it_is() {
        for (text, shown) in [
            ("คล่อง", "\"คล่อง\""),
            ("l'eau", "\"l'eau\""),
            ("a\u{301}b", "\"a\u{301}b\""),
            ("say \"no\"", "\"say \\\"no\\\"\""),
            ("a\\'b", "\"a\\\\'b\""),
            ("two\nlines", "\"two\\nlines\""),
            ("a\u{202e}b", "\"a\\u{202e}b\""),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }
}
