//! Tells from the first bytes what a file is, or at least what it is instead.

use super::walk::{array, head, tail};
use crate::format::Format;
use crate::text::is_unseen;
use std::fmt;

/// How many bytes at the front decide.
pub(super) const SNIFF: usize = 512;

/// How much of a text is quoted, in characters.
const QUOTE: usize = 60;

/// Something that is neither a picture nor a sound that can be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// How it begins: quoted text or hexadecimal.
    pub excerpt: String,
}

/// What a body can be instead of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoundKind {
    /// A web page, usually an error page of some proxy.
    Html,
    /// A JSON document, usually an error message.
    Json,
    /// Some XML, usually an error message of a storage service.
    Xml,
    /// A drawing in SVG.
    Svg,
    /// Base64 or a `data:` URL that somebody forgot to decode.
    Base64,
    /// Other text.
    Text,
    /// Nothing but zero bytes so far.
    Zeros,
    /// The beginning of a RIFF file, without its end.
    RiffStub,
    /// A known format that cannot be checked here, with its article.
    Other(&'static str),
    /// Something else.
    Unknown,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FoundKind::Html => "an HTML page, not a picture or sound",
            FoundKind::Json => "a JSON body, not media",
            FoundKind::Xml => "an XML body, not media",
            FoundKind::Svg => "an SVG drawing, which is not accepted",
            FoundKind::Base64 => "base64 text that was never decoded",
            FoundKind::Text => "plain text, not media",
            FoundKind::Zeros => "zero bytes, not media",
            FoundKind::RiffStub => "a RIFF file that ends within its header",
            FoundKind::Other(name) => return write!(f, "{name}, which is not accepted"),
            FoundKind::Unknown => "no known kind of picture or sound",
        };
        write!(f, "{what}: {}", self.excerpt)
    }
}

/// What the first bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// One of the formats with a walker. Opus is only told from Vorbis by the walker.
    Media(Format),
    Else(Found),
}

/// Signatures of what can be checked. MP3 without a tag has none: see [`is_mp3`].
const MEDIA: [(&[u8], Format); 7] = [
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"\xff\xd8\xff", Format::Jpeg),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"OggS", Format::Ogg),
    (b"fLaC", Format::Flac),
    (b"ID3", Format::Mp3),
];

/// Signatures of what can only be named.
const OTHERS: [(&[u8], &str); 27] = [
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"\0\0\x01\0", "an ICO picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (b"RF64", "an RF64 (64-bit) wave file"),
    (b"BW64", "a BW64 (64-bit) wave file"),
    (b"RIFX", "a big-endian RIFX file"),
    (b"FORM", "an AIFF or other IFF file"),
    (b".snd", "an AU sound"),
    (b"#!AMR", "an AMR recording"),
    (b"MThd", "a MIDI file"),
    (b"ADIF", "an AAC (ADIF) sound"),
    (b"MAC ", "a Monkey's Audio file"),
    (b"wvpk", "a WavPack file"),
    (b"\x30\x26\xb2\x75", "a Windows Media (ASF) file"),
    (b"APETAGEX", "an APE tag in front of everything else"),
    (b"8BPS", "a Photoshop document"),
];

/// Classifies `front`, the first [`SNIFF`] bytes of a file or all of them.
pub(super) fn sniff(front: &[u8]) -> Sniffed {
    for (magic, format) in MEDIA {
        // A stub of a signature is a stub of that file, so "truncated" is what it is called.
        let stub = front.len() >= 2 && front.len() < magic.len() && magic.starts_with(front);
        if front.starts_with(magic) || stub {
            return Sniffed::Media(format);
        }
    }
    let other = |kind| {
        Sniffed::Else(Found {
            kind,
            excerpt: excerpt(front, front.len() >= SNIFF),
        })
    };
    if front.starts_with(b"RIFF") {
        return match array::<4>(front, 8) {
            Some(kind) if kind == *b"WAVE" => Sniffed::Media(Format::Wav),
            Some(kind) if kind == *b"WEBP" => Sniffed::Media(Format::Webp),
            Some(kind) if kind == *b"AVI " => other(FoundKind::Other("an AVI film")),
            Some(_) => other(FoundKind::Other("a RIFF file that is neither WAV nor WebP")),
            None => other(FoundKind::RiffStub),
        };
    }
    if is_mp3(front) {
        return Sniffed::Media(Format::Mp3);
    }
    other(name(front))
}

/// An MPEG frame header of layer III: 11 bits of sync, a version and a rate that exist, layer bits 01.
fn is_mp3(front: &[u8]) -> bool {
    let Some([0xff, b, c]) = array::<3>(front, 0) else {
        return front == b"\xff\xfb";
    };
    b & 0xe6 == 0xe2 && b & 0x18 != 0x08 && c & 0xf0 != 0xf0 && c & 0x0c != 0x0c
}

fn name(front: &[u8]) -> FoundKind {
    for (magic, name) in OTHERS {
        if front.starts_with(magic) {
            return FoundKind::Other(name);
        }
    }
    if front.get(4..8) == Some(b"ftyp".as_slice()) {
        return FoundKind::Other(brand(tail(front, 8)));
    }
    if let Some([0xff, b]) = array(front, 0) {
        if b & 0xf6 == 0xf0 {
            return FoundKind::Other("an AAC (ADTS) sound");
        }
        if b & 0xe0 == 0xe0 && b & 0x18 != 0x08 && matches!(b & 0x06, 0x04 | 0x06) {
            return FoundKind::Other("an MPEG sound of layer I or II");
        }
        if b == 0xfe && front.len() > 2 {
            return FoundKind::Text;
        }
    }
    if front.iter().all(|&b| b == 0) {
        return FoundKind::Zeros;
    }
    text(front)
}

/// The ISO base media files that turn up where pictures and sounds are expected.
fn brand(brand: &[u8]) -> &'static str {
    match head(brand, 4) {
        b"avif" | b"avis" => "an AVIF picture",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => "a HEIC picture",
        b"M4A " | b"M4B " => "an M4A (AAC) sound",
        b"qt  " => "a QuickTime film",
        b"crx " => "a CR3 raw picture",
        _ => "an MP4 file",
    }
}

fn text(front: &[u8]) -> FoundKind {
    if front.starts_with(b"\xff\xfe") {
        return FoundKind::Text;
    }
    let front = front.strip_prefix(b"\xef\xbb\xbf").unwrap_or(front);
    let start = front.trim_ascii_start();
    if !is_text(front) {
        return FoundKind::Unknown;
    }
    let lower = String::from_utf8_lossy(start).to_ascii_lowercase();
    let begins = |with: &[&str]| with.iter().any(|with| lower.starts_with(with));
    if begins(&["<!doctype svg", "<svg"]) || (begins(&["<?xml", "<!--"]) && lower.contains("<svg")) {
        return FoundKind::Svg;
    }
    if begins(&[
        "<!doctype html",
        "<html",
        "<head",
        "<body",
        "<title",
        "<script",
        "<h1",
        "<p>",
        "<div",
        "<meta",
    ]) || (begins(&["<?xml", "<!--"]) && lower.contains("<html"))
    {
        return FoundKind::Html;
    }
    if begins(&["<?xml"]) || (begins(&["<"]) && lower.contains('>')) {
        return FoundKind::Xml;
    }
    if begins(&["{", "[", "\""]) {
        return FoundKind::Json;
    }
    // The base64 beginnings of PNG, JPEG, RIFF, GIF, ID3, MP3, Ogg and FLAC.
    const BASE64: [&[u8]; 10] = [
        b"data:",
        b"iVBORw0K",
        b"/9j/",
        b"UklGR",
        b"R0lGOD",
        b"SUQz",
        b"//uQ",
        b"//vQ",
        b"T2dnUw",
        b"ZkxhQw",
    ];
    if BASE64.iter().any(|with| start.starts_with(with)) {
        return FoundKind::Base64;
    }
    FoundKind::Text
}

/// Whether it is UTF-8 or some older encoding without control characters.
fn is_text(front: &[u8]) -> bool {
    if front
        .iter()
        .any(|&b| (b < 0x20 && !b"\t\n\r\x0c\x1b".contains(&b)) || b == 0x7f)
    {
        return false;
    }
    match std::str::from_utf8(front) {
        Ok(_) => true,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => true,
        // Not UTF-8: text if nearly all of it is ASCII.
        Err(_) => front.iter().filter(|b| b.is_ascii()).count() * 10 >= front.len() * 9,
    }
}

/// The beginning of a body as it is put in messages: one quoted line of text, or the first bytes in hexadecimal.
pub(super) fn excerpt(bytes: &[u8], more: bool) -> String {
    if bytes.is_empty() || !is_text(bytes) {
        let mut hex: Vec<String> = bytes.iter().take(12).map(|b| format!("{b:02x}")).collect();
        if more || bytes.len() > 12 {
            hex.push("…".to_owned());
        }
        return hex.join(" ");
    }
    let whole = String::from_utf8_lossy(bytes);
    let line = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut quote: String = line.chars().filter(|c| !is_unseen(*c)).take(QUOTE).collect();
    if more || quote.chars().count() < line.chars().count() {
        quote.push('…');
    }
    format!("\"{quote}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(front: &[u8]) -> String {
        match sniff(front) {
            Sniffed::Else(found) => found.to_string(),
            Sniffed::Media(format) => panic!("taken for {format}"),
        }
    }

    #[test]
    fn bodies_that_are_not_media_are_named_and_quoted() {
        let cases: [(&[u8], &str); 16] = [
            (
                b"\n<!DOCTYPE html><title>502</title>",
                "an HTML page, not a picture or sound: \"<!DOCTYPE html><title>502</title>\"",
            ),
            (
                b"{\"error\":\n  {\"code\": 1}}",
                "a JSON body, not media: \"{\"error\": {\"code\": 1}}\"",
            ),
            (
                b"<?xml version='1.0'?><Error/>",
                "an XML body, not media: \"<?xml version='1.0'?><Error/>\"",
            ),
            (
                b"<svg xmlns='x'/>",
                "an SVG drawing, which is not accepted: \"<svg xmlns='x'/>\"",
            ),
            (b"rate limit", "plain text, not media: \"rate limit\""),
            (
                b"iVBORw0KGgoAAA",
                "base64 text that was never decoded: \"iVBORw0KGgoAAA\"",
            ),
            (b"\0\0\0\0", "zero bytes, not media: 00 00 00 00"),
            (b"\x01\x02\x03", "no known kind of picture or sound: 01 02 03"),
            (b"PK\x03\x04..", "a ZIP archive, which is not accepted"),
            (b"%PDF-1.7", "a PDF document, which is not accepted"),
            (b"\0\0\0\x20ftypavif", "an AVIF picture, which is not accepted"),
            (b"\0\0\0\x20ftypisom", "an MP4 file, which is not accepted"),
            (b"\xff\xf1\x50\x80", "an AAC (ADTS) sound, which is not accepted"),
            (b"BM12345", "a BMP picture, which is not accepted"),
            (
                b"RF64\xff\xff\xff\xffWAVE",
                "an RF64 (64-bit) wave file, which is not accepted",
            ),
            (
                b"RIFF\0\0\0\0",
                "a RIFF file that ends within its header: 52 49 46 46 00 00 00 00",
            ),
        ];
        for (front, message) in cases {
            assert_eq!(found(front), message);
        }
    }

    #[test]
    fn long_text_is_cut() {
        let message = found("ä".repeat(256).as_bytes());
        assert_eq!(message, format!("plain text, not media: \"{}…\"", "ä".repeat(60)));
    }

    #[test]
    fn stubs_of_signatures_are_truncations() {
        assert_eq!(sniff(b"\x89PN"), Sniffed::Media(Format::Png));
        assert_eq!(sniff(b"fL"), Sniffed::Media(Format::Flac));
        assert!(matches!(sniff(b"f"), Sniffed::Else(_)));
    }
}
