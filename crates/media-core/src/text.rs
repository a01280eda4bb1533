//! Words of users and services in messages.

/// In quotes, with what nobody could see (control characters, ends of lines) spelt out. Unlike `{:?}` it leaves the marks
/// of scripts that are written with them, and apostrophes, as they are: `"คล่อง"`, `"l'eau"`.
#[must_use]
pub fn quoted(text: &str) -> String {
    // Of each apostrophe this escapes, and of nothing else, a backslash stands before it.
    let shown = text.escape_debug().to_string().replace("\\'", "'");
    format!("\"{shown}\"")
}

/// Whether a character, put in a message as it is, could change what is read: a command to the terminal, or a mark that turns
/// the direction of what follows.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// On one line of at most so many characters, without what [`is_unseen`].
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !is_unseen(*c)).take(most).collect()
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

    #[test]
    fn a_line_has_nothing_that_cannot_be_seen() {
        assert_eq!(
            one_line("no\u{202e}\u{1b}[31m\n such\u{2067} word", 100),
            "no[31m such word"
        );
        // What a script is written with stays.
        assert_eq!(one_line("من\u{200c}فضل", 100), "من\u{200c}فضل");
        assert_eq!(one_line("abcdef", 3), "abc");
    }
}
