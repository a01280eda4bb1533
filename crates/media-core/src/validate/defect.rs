//! What can be wrong with a file, in words for people.

use super::sniff::Found;
use crate::format::Format;
use std::borrow::Cow;

/// Why a file is refused.
///
/// Messages are lower-case fragments that begin with what was found ("a JPEG that ends before ..."), so that they
/// can follow "the answer is ". Excerpts come from the body: whoever prints them redacts them first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// No bytes at all.
    #[error("an empty file")]
    Empty,
    /// Not one of the formats that can be checked.
    #[error("{found}")]
    NotMedia {
        /// What it is instead.
        found: Found,
    },
    /// A sound format, but not the one that was asked for.
    #[error("{} where {} was wanted", a(*.found), a(*.wanted))]
    WrongFormat {
        /// What the bytes are.
        found: Format,
        /// What they should be.
        wanted: Format,
    },
    /// The file ends too early.
    #[error("{} that ends before {missing}, after {}", a(*.format), count(*.at))]
    Truncated {
        /// What the file began as.
        format: Format,
        /// The length of the file.
        at: u64,
        /// What should still have come.
        missing: &'static str,
    },
    /// A whole file, and then something else.
    #[error("{} with {} after its end (at offset {at}): {excerpt}", a(*.format), count(*.length))]
    TrailingData {
        /// What the file is up to its end.
        format: Format,
        /// Where the end is.
        at: u64,
        /// How many bytes follow.
        length: u64,
        /// How they begin: quoted text or hexadecimal.
        excerpt: String,
    },
    /// The structure is broken in the middle.
    #[error("{} that is damaged at offset {at}: {what}", a(*.format))]
    Corrupt {
        /// What the file began as.
        format: Format,
        /// About where.
        at: u64,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
    /// Perhaps a fine file, of a kind that cannot be checked or that few programs can open.
    #[error("{} of a kind that is not accepted: {what}", a(*.format))]
    Unsupported {
        /// The family it belongs to.
        format: Format,
        /// The kind.
        what: Cow<'static, str>,
    },
    /// Whole, but with nothing to hear.
    #[error("{} without any sound in it", a(*.format))]
    NoSound {
        /// What the file is.
        format: Format,
    },
    /// Too little to be sure that it is what it seems.
    #[error("{} of only {frames} frame(s), too short to be trusted", a(*.format))]
    TooShort {
        /// What the file seems to be.
        format: Format,
        /// How many frames there are.
        frames: u64,
    },
    /// The structure is right, but the decoder refuses the contents.
    #[error("{} that cannot be decoded: {reason}", a(*.format))]
    Undecodable {
        /// What the file is.
        format: Format,
        /// What the decoder says.
        reason: String,
    },
    /// Decoding would take more than the limits allow.
    #[error("{} too large to decode: {what}", a(*.format))]
    TooLarge {
        /// What the file is.
        format: Format,
        /// Which limit, and by how much.
        what: String,
    },
    /// The file could not be read back.
    #[error("a file that cannot be read: {reason}")]
    Unreadable {
        /// What the operating system says.
        reason: String,
    },
}

/// A format with its article, as it reads in a sentence.
pub(super) fn a(format: Format) -> &'static str {
    match format {
        Format::Png => "a PNG",
        Format::Jpeg => "a JPEG",
        Format::Webp => "a WebP",
        Format::Gif => "a GIF",
        Format::Mp3 => "an MP3",
        Format::Wav => "a WAV",
        Format::Ogg => "an Ogg file",
        Format::Opus => "an Opus file",
        Format::Flac => "a FLAC",
    }
}

fn count(bytes: u64) -> String {
    if bytes == 1 {
        "1 byte".to_owned()
    } else {
        format!("{bytes} bytes")
    }
}

/// Shorthand for walkers.
pub(super) fn corrupt<T>(format: Format, at: u64, what: impl Into<Cow<'static, str>>) -> Result<T, Defect> {
    Err(Defect::Corrupt {
        format,
        at,
        what: what.into(),
    })
}

/// Shorthand for walkers.
pub(super) fn unsupported<T>(format: Format, what: impl Into<Cow<'static, str>>) -> Result<T, Defect> {
    Err(Defect::Unsupported {
        format,
        what: what.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_found() {
        let truncated = Defect::Truncated {
            format: Format::Jpeg,
            at: 1234,
            missing: "its end-of-image marker",
        };
        assert_eq!(
            truncated.to_string(),
            "a JPEG that ends before its end-of-image marker, after 1234 bytes"
        );
        let trailing = Defect::TrailingData {
            format: Format::Png,
            at: 90,
            length: 5,
            excerpt: "\"<html\"".into(),
        };
        assert_eq!(
            trailing.to_string(),
            "a PNG with 5 bytes after its end (at offset 90): \"<html\""
        );
        let wrong = Defect::WrongFormat {
            found: Format::Webp,
            wanted: Format::Mp3,
        };
        assert_eq!(wrong.to_string(), "a WebP where an MP3 was wanted");
    }
}
