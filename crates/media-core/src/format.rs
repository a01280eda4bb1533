//! The file formats this project can name, recognise and check.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a piece of media is: a picture or a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// A still or animated picture.
    Image,
    /// Spoken or other sound.
    Audio,
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MediaKind::Image => "image",
            MediaKind::Audio => "audio",
        })
    }
}

/// A file format that has a structure walker here. Formats without one cannot be checked and so are never asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// PNG.
    Png,
    /// JPEG (baseline or progressive).
    Jpeg,
    /// WebP (lossy, lossless, animated).
    Webp,
    /// GIF.
    Gif,
    /// MPEG audio layer III.
    Mp3,
    /// RIFF WAVE.
    Wav,
    /// Ogg with Vorbis.
    Ogg,
    /// Ogg with Opus.
    Opus,
    /// FLAC.
    Flac,
}

impl Format {
    /// Every format, in a fixed order.
    pub const ALL: [Format; 9] = [
        Format::Png,
        Format::Jpeg,
        Format::Webp,
        Format::Gif,
        Format::Mp3,
        Format::Wav,
        Format::Ogg,
        Format::Opus,
        Format::Flac,
    ];

    /// The format that a file name extension stands for (`jpg`, `JPEG`, `oga`, ...), without its dot.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Format> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "png" => Format::Png,
            "jpg" | "jpeg" => Format::Jpeg,
            "webp" => Format::Webp,
            "gif" => Format::Gif,
            "mp3" => Format::Mp3,
            "wav" => Format::Wav,
            "ogg" | "oga" => Format::Ogg,
            "opus" => Format::Opus,
            "flac" => Format::Flac,
            _ => return None,
        })
    }

    /// The usual name and extension: `png`, `jpeg`, `webp`, ...
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpeg",
            Format::Webp => "webp",
            Format::Gif => "gif",
            Format::Mp3 => "mp3",
            Format::Wav => "wav",
            Format::Ogg => "ogg",
            Format::Opus => "opus",
            Format::Flac => "flac",
        }
    }

    /// Whether it holds a picture or sound.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Format::Png | Format::Jpeg | Format::Webp | Format::Gif => MediaKind::Image,
            Format::Mp3 | Format::Wav | Format::Ogg | Format::Opus | Format::Flac => MediaKind::Audio,
        }
    }

    /// Whether a file of this real format may stand under a name that asks for `wanted`.
    ///
    /// Equal formats do, and Opus may stand in a `.ogg` file: it is an Ogg file, and players take it as one.
    #[must_use]
    pub fn satisfies(self, wanted: Format) -> bool {
        self == wanted || (self == Format::Opus && wanted == Format::Ogg)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
