//! Words: what may be asked for, how it is sent, and which answers are the same word.

use media_core::{Error, Result};
use unicode_normalization::UnicodeNormalization;

/// Characters that take no room and that copying brings along: zero-width blanks and joiners, direction marks, the
/// soft hyphen, the byte order mark.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Cyrillic vowels: an acute over one of them is a stress mark of a textbook and never a letter (NFC has made letters
/// such as ѓ, ќ, й and ё whole before).
fn is_cyrillic_vowel(character: char) -> bool {
    "аеёиоуыэюяіїєѵАЕЁИОУЫЭЮЯІЇЄѴ".contains(character)
}

/// A word as it is sent: NFC, without invisible characters, stress marks and outer blanks.
pub(crate) fn clean(content: &str) -> String {
    let visible: String = content.chars().filter(|c| !is_invisible(*c)).nfc().collect();
    let mut cleaned = String::with_capacity(visible.len());
    for character in visible.trim().chars() {
        if character == '\u{301}' && cleaned.chars().next_back().is_some_and(is_cyrillic_vowel) {
            continue;
        }
        cleaned.push(character);
    }
    cleaned
}

/// The word to send, or why it cannot be sent. Every value is a segment of a path, so what could end or split a
/// segment on the way through proxies and Apache is refused rather than risked.
pub(crate) fn check(service: &str, content: &str, most: Option<usize>) -> Result<String> {
    let refuse = |message: String, hint: &str| Err(Error::invalid(message).hint(hint));
    let word = clean(content);
    if word.is_empty() {
        return refuse(
            "the word holds no visible character".to_owned(),
            "give the word to look up",
        );
    }
    // They would collapse into the path's own "here" and "up".
    if word == "." || word == ".." {
        return refuse(
            format!("{word:?} cannot be looked up at {service}"),
            "spell it as a word, such as \"dot\"",
        );
    }
    if let Some(character) = word.chars().find(|c| matches!(c, '/' | '\\' | '?' | '#' | '%')) {
        return refuse(
            format!("the word {word:?} holds {character:?}, which an address of {service} cannot carry"),
            "look up the part before it, or leave it out",
        );
    }
    if word.chars().any(char::is_control) {
        return refuse(
            format!("the word {word:?} holds a tab, a line break or another control character"),
            "put it on one line and leave the character out",
        );
    }
    let length = word.chars().count();
    if let Some(most) = most.filter(|most| length > *most) {
        return refuse(
            format!("the word has {length} characters, and {service} takes at most {most}"),
            "look up single words, not sentences",
        );
    }
    Ok(word)
}

/// What two spellings of one word have in common: case and the sort of blank are folded, accents are not.
///
/// Each letter is folded to one letter: the full folding of Unicode would make "Maße" and "Masse" the same word.
pub(crate) fn fold(word: &str, language: &str) -> String {
    // In Turkish and Azerbaijani i and ı are two letters, each with a capital of its own.
    let dotless = matches!(language, "tr" | "az");
    let mut folded = String::with_capacity(word.len());
    for character in clean(word).chars() {
        match character {
            '_' => folded.push(' '),
            blank if blank.is_whitespace() => folded.push(' '),
            '\u{2019}' | '\u{2bc}' => folded.push('\''),
            'I' if dotless => folded.push('ı'),
            'İ' if dotless => folded.push('i'),
            'ς' => folded.push('σ'),
            other => folded.extend(other.to_lowercase()),
        }
    }
    let single: Vec<&str> = folded.split(' ').filter(|part| !part.is_empty()).collect();
    single.join(" ").nfc().collect()
}

#[cfg(test)]
mod tests {
    use media_core::ErrorKind;

    use super::*;

    #[test]
    fn what_copying_brings_along_is_taken_out() {
        assert_eq!(clean(" man\u{303}ana\u{200b}\u{feff} "), "mañana");
        assert_eq!(clean("соба\u{301}ка"), "собака");
        assert_eq!(
            clean("йод ёлка \u{433}\u{301}"),
            "йод ёлка ѓ",
            "letters stay letters"
        );
        assert_eq!(clean("и\u{306}"), "й");
        assert_eq!(clean("mama\u{301}"), "mamá", "not Cyrillic");
    }

    #[test]
    fn what_an_address_cannot_carry_is_refused() {
        for bad in [
            "",
            "\u{200b}",
            ".",
            "..",
            ".\u{200b}.",
            "and/or",
            "a\\b",
            "qué?",
            "c#",
            "%",
            "%2F",
            "a\tb",
            "a\nb",
        ] {
            let error = check("forvo", bad, Some(100)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}");
            assert!(error.next().is_some(), "{bad:?}");
        }
        assert!(check("forvo", &"a".repeat(101), Some(100)).is_err());
        assert_eq!(
            check("forvo", &"é".repeat(100), Some(100))
                .unwrap()
                .chars()
                .count(),
            100
        );
        for good in ["...", "esadir.cat", "C++", "l'eau", "0", "増える", "a & b", "~"] {
            assert_eq!(check("forvo", good, Some(100)).unwrap(), good);
        }
    }

    #[test]
    fn accents_tell_words_apart_and_case_does_not() {
        let same = |a: &str, b: &str, language: &str| fold(a, language) == fold(b, language);
        assert!(same("México", "me\u{301}xico", "es"));
        assert!(same("auf Wiederschauen", "auf_wiederschauen", "de"));
        assert!(same("l’eau", "L'eau", "fr"));
        assert!(same("ΟΔΟΣ", "οδός".replace('ό', "ο").as_str(), "el"));
        assert!(same("増える\u{3000}x", "増える x", "ja"));
        for (a, b, language) in [
            ("resté", "reste", "fr"),
            ("sábana", "sabana", "es"),
            ("คล่อง", "คลอง", "th"),
            ("κοιλιά", "κοιλία", "el"),
            ("Maße", "Masse", "de"),
            ("ILIK", "ilik", "tr"),
            ("año", "ano", "es"),
        ] {
            assert!(!same(a, b, language), "{a} {b}");
        }
        assert!(same("ILIK", "ılık", "tr"));
    }
}
