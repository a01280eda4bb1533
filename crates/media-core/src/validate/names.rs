//! Which file names and relative paths are safe to create, and how to make safe ones out of any text.

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::text::quoted;

/// What a name has to be fit for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamePolicy {
    /// Works on Windows, macOS and Linux.
    #[default]
    Portable,
    /// Also works in Anki's media folder: no folders, NFC, at most 120 bytes.
    Anki,
}

/// Most file systems allow 255 bytes or UTF-16 units per name; the smaller of the two is bytes.
const SEGMENT_BYTES: usize = 255;

/// macOS allows 1024 bytes for a path and Windows, unless told otherwise, 260 units with the root in front.
/// The root is not known here, so this is only the bound that is hopeless everywhere.
const PATH_BYTES: usize = 1000;

/// Anki cuts longer names when media are checked, and then cards do not find them.
const ANKI_BYTES: usize = 120;

/// How long [`file_safe`] lets a name get: leaves room for a suffix and an extension under every limit.
const SAFE_BYTES: usize = 100;

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// Nothing there.
    #[error("the path is empty")]
    Empty,
    /// Starts at a root.
    #[error("the path is absolute; it must be relative to the output folder")]
    Absolute,
    /// Begins with a drive letter.
    #[error("the path begins with a drive letter")]
    Drive,
    /// A backslash is a separator on Windows and part of a name elsewhere.
    #[error("the path contains a backslash; use `/` between folders")]
    Backslash,
    /// The program's own place in the output folder.
    #[error("the folder `.media` belongs to the program")]
    Ours,
    /// `..` would leave the folder.
    #[error("the path contains `..`")]
    Parent,
    /// `.` or nothing between two slashes, so that two spellings would be one file.
    #[error("the path contains an empty segment or `.`")]
    EmptySegment,
    /// A folder where none is allowed.
    #[error("the name contains a folder, and Anki keeps its media in one folder without any others")]
    Folder,
    /// A character that some system cannot store.
    #[error(
        "{} contains {character:?}, which is not allowed in file names",
        quoted(segment)
    )]
    Character {
        /// The name.
        segment: String,
        /// The character.
        character: char,
    },
    /// A device on Windows.
    #[error("{} is a reserved name on Windows", quoted(segment))]
    Reserved {
        /// The name.
        segment: String,
    },
    /// Windows drops dots and spaces at the end; spaces at the front get lost by hand.
    #[error("{} begins or ends with a space, or ends with a dot", quoted(segment))]
    Edge {
        /// The name.
        segment: String,
    },
    /// Longer than a name may be.
    #[error("{} is {bytes} bytes long; at most {limit} are allowed", quoted(segment))]
    LongSegment {
        /// The name.
        segment: String,
        /// Its length in UTF-8.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Longer than a path may be.
    #[error("the path is {bytes} bytes long; at most {PATH_BYTES} are allowed")]
    LongPath {
        /// Its length in UTF-8.
        bytes: usize,
    },
    /// Another spelling of the same characters than the one that will be looked for.
    #[error("{segment:?} is not in Unicode normal form C; write {normal:?} (looks the same)")]
    NotNormal {
        /// The name.
        segment: String,
        /// The same in NFC.
        normal: String,
    },
}

/// Checks a path that names a file below an output folder.
///
/// # Errors
/// The first problem found.
pub fn check_relative_path(path: &str, policy: NamePolicy) -> Result<(), NameProblem> {
    if path.is_empty() {
        return Err(NameProblem::Empty);
    }
    if path.contains('\\') {
        return Err(NameProblem::Backslash);
    }
    if path.starts_with('/') {
        return Err(NameProblem::Absolute);
    }
    if matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return Err(NameProblem::Drive);
    }
    if path
        .split('/')
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case(".media"))
    {
        return Err(NameProblem::Ours);
    }
    if policy == NamePolicy::Anki && path.contains('/') {
        return Err(NameProblem::Folder);
    }
    if path.len() > PATH_BYTES {
        return Err(NameProblem::LongPath { bytes: path.len() });
    }
    path.split('/')
        .try_for_each(|segment| check_segment(segment, policy))
}

fn check_segment(segment: &str, policy: NamePolicy) -> Result<(), NameProblem> {
    match segment {
        "" | "." => return Err(NameProblem::EmptySegment),
        ".." => return Err(NameProblem::Parent),
        _ => {}
    }
    let owned = || segment.to_owned();
    let is_wrong = |&c: &char| is_forbidden(c) || policy == NamePolicy::Anki && is_dropped_by_anki(c);
    if let Some(character) = segment.chars().find(is_wrong) {
        return Err(NameProblem::Character {
            segment: owned(),
            character,
        });
    }
    // White space of any kind: nobody sees it, and much software trims it.
    if segment.trim() != segment || segment.ends_with('.') {
        return Err(NameProblem::Edge { segment: owned() });
    }
    if is_reserved(segment) {
        return Err(NameProblem::Reserved { segment: owned() });
    }
    let limit = if policy == NamePolicy::Anki {
        ANKI_BYTES
    } else {
        SEGMENT_BYTES
    };
    if segment.len() > limit {
        return Err(NameProblem::LongSegment {
            segment: owned(),
            bytes: segment.len(),
            limit,
        });
    }
    if policy == NamePolicy::Anki && !is_nfc(segment) {
        return Err(NameProblem::NotNormal {
            segment: owned(),
            normal: segment.nfc().collect(),
        });
    }
    Ok(())
}

/// Control characters, what Windows forbids, and invisible characters that turn the direction of text around
/// (a name that reads `photo_gpj.exe` one way and not the other), break lines or mean nothing.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\' | '/')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// What Anki takes out of a name when it imports the file, beside what is forbidden anyway, so that its tag would name
/// another one (`disallowed_char` in its media store; read on 2026-11-27).
fn is_dropped_by_anki(c: char) -> bool {
    matches!(c, '[' | ']' | '^')
}

/// The devices of Windows. They are reserved with any extension too, also behind spaces in front of it.
fn is_reserved(segment: &str) -> bool {
    let stem = segment
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    let Some(number) = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT")) else {
        return false;
    };
    let mut digits = number.chars();
    // Superscript digits count as digits there.
    matches!(
        (digits.next(), digits.next()),
        (Some('0'..='9' | '¹' | '²' | '³'), None)
    )
}

/// Any text as a piece of a file name: the recipe filter `file`.
///
/// Normal form C, lower case, forbidden characters and white space to `_`, no dots in front or behind, at most
/// 100 bytes. Text of which nothing is left becomes `_`; no text stays no text.
#[must_use]
pub fn file_safe(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // Lower case can undo the normal form (`İ` becomes `i` and a dot above), so it comes first and the form last.
    let lower = text.nfc().collect::<String>().to_lowercase();
    let mut safe = String::new();
    for c in lower.nfc() {
        let c = if is_forbidden(c) || is_dropped_by_anki(c) || c.is_whitespace() {
            '_'
        } else {
            c
        };
        if safe.is_empty() && c == '.' {
            continue;
        }
        // One byte is kept for the `_` of a reserved name.
        if safe.len() + c.len_utf8() >= SAFE_BYTES {
            break;
        }
        safe.push(c);
    }
    safe.truncate(safe.trim_end_matches('.').len());
    if safe.is_empty() {
        return "_".to_owned();
    }
    if is_reserved(&safe) {
        // The device name is all that is before the first dot.
        let dot = safe.find('.').unwrap_or(safe.len());
        safe.insert(dot, '_');
    }
    safe
}

/// Two paths with the same key would be one file where case and Unicode form do not count (Windows, macOS).
///
/// A little too careful rather than too careless: what only one of them takes for equal is equal here.
#[must_use]
pub fn collision_key(path: &str) -> String {
    if path.is_ascii() {
        return without_trailing_dots(&path.to_ascii_lowercase());
    }
    // Upper case first: `ß` and `ſ` meet `ss` and `s` only there, and `ς` meets `σ`.
    let folded = path
        .nfd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect::<String>();
    without_trailing_dots(&folded).nfc().collect()
}

/// Windows drops dots and spaces at the end of a name.
fn without_trailing_dots(folded: &str) -> String {
    let mut key = String::with_capacity(folded.len());
    for (n, segment) in folded.split('/').enumerate() {
        let slash = if n > 0 { "/" } else { "" };
        let segment = segment.trim_end_matches(['.', ' ']);
        key.push_str(slash);
        key.push_str(segment);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn portable(path: &str) -> Result<(), NameProblem> {
        check_relative_path(path, NamePolicy::Portable)
    }

    #[test]
    fn good_paths_pass() {
        for path in [
            "a.png",
            "a/b/c d.jpg",
            "ĉapelo.mp3",
            ".hidden",
            "com10.txt",
            "console.log",
            "a..b",
            "日本.webp",
        ] {
            assert_eq!(portable(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn bad_paths_are_refused_with_the_reason() {
        let cases = [
            ("", "the path is empty"),
            (
                "/a",
                "the path is absolute; it must be relative to the output folder",
            ),
            ("C:/a", "the path begins with a drive letter"),
            ("c:a", "the path begins with a drive letter"),
            ("a\\b", "the path contains a backslash; use `/` between folders"),
            (
                "\\\\server\\a",
                "the path contains a backslash; use `/` between folders",
            ),
            ("../a", "the path contains `..`"),
            ("a/../b", "the path contains `..`"),
            ("./a", "the path contains an empty segment or `.`"),
            ("a//b", "the path contains an empty segment or `.`"),
            ("a/", "the path contains an empty segment or `.`"),
            (
                "a\0b",
                "\"a\\0b\" contains '\\0', which is not allowed in file names",
            ),
            (
                "a?.png",
                "\"a?.png\" contains '?', which is not allowed in file names",
            ),
            (
                "x/a\u{202e}gpj.exe",
                "\"a\\u{202e}gpj.exe\" contains '\\u{202e}', which is not allowed in file names",
            ),
            ("con", "\"con\" is a reserved name on Windows"),
            ("x/NUL.tar.gz", "\"NUL.tar.gz\" is a reserved name on Windows"),
            ("Com1 .txt", "\"Com1 .txt\" is a reserved name on Windows"),
            ("lpt².png", "\"lpt².png\" is a reserved name on Windows"),
            ("a./b", "\"a.\" begins or ends with a space, or ends with a dot"),
            (" a", "\" a\" begins or ends with a space, or ends with a dot"),
            (
                "a \u{a0}",
                "\"a \\u{a0}\" begins or ends with a space, or ends with a dot",
            ),
        ];
        for (path, message) in cases {
            assert_eq!(portable(path).unwrap_err().to_string(), message, "{path:?}");
        }
        assert!(matches!(
            portable(&"ä".repeat(128)),
            Err(NameProblem::LongSegment { bytes: 256, .. })
        ));
        assert!(matches!(
            portable(&"abc/".repeat(300)),
            Err(NameProblem::LongPath { bytes: 1200 })
        ));
    }

    #[test]
    fn anki_is_flat_short_and_normal() {
        let anki = |path: &str| check_relative_path(path, NamePolicy::Anki);
        assert_eq!(anki("ĉapelo.mp3"), Ok(()));
        assert_eq!(anki("a/b.mp3"), Err(NameProblem::Folder));
        assert!(matches!(
            anki("c\u{302}apelo.mp3"),
            Err(NameProblem::NotNormal { .. })
        ));
        for dropped in ['[', ']', '^'] {
            assert!(anki(&format!("a{dropped}.mp3")).is_err(), "{dropped}");
            assert_eq!(portable(&format!("a{dropped}.mp3")), Ok(()));
        }
        assert_eq!(anki(&"a".repeat(120)), Ok(()));
        assert!(matches!(
            anki(&"a".repeat(121)),
            Err(NameProblem::LongSegment { limit: 120, .. })
        ));
    }

    #[test]
    fn any_text_becomes_a_name() {
        let cases = [
            ("", ""),
            ("Ĉu vi parolas?", "ĉu_vi_parolas_"),
            ("c\u{302}apelo", "ĉapelo"),
            ("...", "_"),
            ("..a..", "a"),
            ("a/b\\c:d", "a_b_c_d"),
            ("CON", "con_"),
            ("nul.txt", "nul_.txt"),
            ("İ", "i\u{307}"),
            (" a\tb ", "_a_b_"),
            ("a[b]^c", "a_b__c"),
        ];
        for (text, name) in cases {
            assert_eq!(file_safe(text), name, "{text:?}");
        }
        assert_eq!(file_safe(&"ä".repeat(200)), "ä".repeat(49));
        assert_eq!(file_safe(&"a".repeat(200)).len(), 99);
    }

    #[test]
    fn names_that_are_one_file_somewhere_collide() {
        let same = [
            ("A.png", "a.PNG"),
            ("ĉ", "c\u{302}"),
            ("Straße", "STRASSE"),
            ("Σς", "σσ"),
            ("a./b", "a/b"),
        ];
        for (one, other) in same {
            assert_eq!(collision_key(one), collision_key(other), "{one} {other}");
        }
        assert_ne!(collision_key("a"), collision_key("ä"));
    }

    proptest! {
        #[test]
        fn safe_names_pass_every_policy_and_stay(text in any::<String>()) {
            let name = file_safe(&text);
            prop_assert!(name.len() <= 100);
            if !text.is_empty() {
                prop_assert_eq!(check_relative_path(&name, NamePolicy::Anki), Ok(()), "{:?}", name);
                prop_assert_eq!(file_safe(&name), name);
            }
        }

        #[test]
        fn keys_are_stable(path in "\\PC{0,40}") {
            let key = collision_key(&path);
            prop_assert_eq!(collision_key(&key), key.clone());
            prop_assert_eq!(collision_key(&path.to_lowercase()), key);
        }
    }
}
