//! Takes base64 media out of a JSON answer while it arrives, so that the answer is never whole in memory.
//!
//! A push scanner follows just enough of JSON to know which string is the value of which key. The strings of the
//! named fields are decoded straight into staged files; everything else is kept, small, for serde. What is malformed
//! about the rest is serde's to refuse.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::{memchr, memchr2, memchr3};
use serde::Deserialize;
use serde::de::Deserializer;

use crate::error::{Error, ErrorKind, Result};
use crate::output::{Intake, StageWriter, Staged};

/// The value of a field that holds media: taken out of the answer, or a text that is none (a link).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The place of the media in the list that came with the answer.
    Staged(usize),
    /// Not base64: an `http(s)` link, or a few characters.
    Text(String),
    /// Meant as media, and no base64: what is wrong with it. What stands beside it in the answer is no worse for that.
    Unreadable(String),
}

const MARK: &str = "\u{1}media:";
/// The same for what could not be read: what is wrong follows.
const BAD_MARK: &str = "\u{1}no media:";

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(place) = text.strip_prefix(MARK).and_then(|place| place.parse().ok()) {
            return Ok(Payload::Staged(place));
        }
        Ok(match text.strip_prefix(BAD_MARK) {
            Some(why) => Payload::Unreadable(why.to_owned()),
            None => Payload::Text(text),
        })
    }
}

/// How much of a value is looked at to tell a link, a data URI and plain base64 apart.
const HEAD: usize = 256;
/// In a key that has an escape or is longer than that: no field of ours is named so.
const NOT_OURS: u8 = 0;
/// Deeper answers are not from these services.
const MAX_DEPTH: usize = 64;

pub(crate) struct Diverter<'a> {
    fields: &'a [&'a str],
    intake: Intake<'a>,
    most_text: usize,
    rest: Vec<u8>,
    media: Vec<Staged>,
    state: State,
    /// One entry per open container: whether it is an object.
    stack: Vec<bool>,
    /// Inside an object, whether the next string is a key.
    expect_key: bool,
    key: Vec<u8>,
}

enum State {
    Between,
    Key {
        escaped: bool,
    },
    Text {
        escaped: bool,
    },
    /// The value of a named field; its head decides what it is.
    Head {
        text: Vec<u8>,
        /// The same as it stands in the answer.
        raw: Vec<u8>,
        escape: Escape,
    },
    Media {
        writer: Box<StageWriter>,
        base64: Vec<u8>,
        escape: Escape,
        ended: bool,
    },
    /// The rest of a value that cannot be read.
    Skipped {
        escaped: bool,
    },
}

impl State {
    /// What follows a byte that makes a value unreadable.
    fn after_bad(byte: u8) -> State {
        match byte {
            b'"' => State::Between,
            _ => State::Skipped {
                escaped: byte == b'\\',
            },
        }
    }
}

/// What an escape of a character beyond ASCII is taken for: no base64, and no UTF-8.
const NOT_ASCII: u8 = 0xff;

/// Progress inside a backslash escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Started,
    /// The digits of `\uXXXX` so far.
    Unicode {
        value: u32,
        digits: u8,
    },
}

impl Escape {
    /// Takes one byte of a string; gives the byte that it stands for, if it completes one.
    fn feed(&mut self, byte: u8) -> Result<Option<u8>> {
        match *self {
            Escape::No if byte == b'\\' => *self = Escape::Started,
            Escape::No => return Ok(Some(byte)),
            Escape::Started if byte == b'u' => *self = Escape::Unicode { value: 0, digits: 0 },
            Escape::Started => {
                *self = Escape::No;
                return Ok(Some(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' | b'f' => b' ',
                    other => other,
                }));
            }
            Escape::Unicode { value, digits } => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .ok_or_else(|| bad("a broken \\u escape"))?;
                let value = value * 16 + digit;
                if digits < 3 {
                    *self = Escape::Unicode {
                        value,
                        digits: digits + 1,
                    };
                    return Ok(None);
                }
                *self = Escape::No;
                let byte = u8::try_from(value).ok().filter(u8::is_ascii);
                return Ok(Some(byte.unwrap_or(NOT_ASCII)));
            }
        }
        Ok(None)
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::BadResponse, format!("the answer's media holds {what}"))
}

impl<'a> Diverter<'a> {
    /// `most_text`: the most bytes of what stays in memory.
    pub(crate) fn new(fields: &'a [&'a str], intake: Intake<'a>, most_text: u64) -> Diverter<'a> {
        Diverter {
            fields,
            intake,
            most_text: usize::try_from(most_text).unwrap_or(usize::MAX),
            rest: Vec::new(),
            media: Vec::new(),
            state: State::Between,
            stack: Vec::new(),
            expect_key: false,
            key: Vec::new(),
        }
    }

    /// Takes the next piece of the body.
    pub(crate) async fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((&byte, tail)) = bytes.split_first() {
            match &mut self.state {
                State::Between => {
                    bytes = tail;
                    self.between(byte)?;
                }
                State::Key { escaped } | State::Text { escaped } => {
                    // Up to the next byte that matters, in one go.
                    let plain = if *escaped {
                        0
                    } else {
                        memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len())
                    };
                    let is_key = matches!(self.state, State::Key { .. });
                    let (run, tail) = bytes.split_at_checked(plain).unwrap_or((bytes, &[]));
                    self.keep(run)?;
                    if is_key && self.key.len() + run.len() <= HEAD {
                        self.key.extend_from_slice(run);
                    } else if is_key {
                        self.key.push(NOT_OURS);
                    }
                    bytes = tail;
                    if let Some((&byte, tail)) = bytes.split_first() {
                        bytes = tail;
                        self.keep(&[byte])?;
                        self.string_byte(byte, is_key);
                    }
                }
                State::Head { text, raw, escape } => {
                    bytes = tail;
                    if byte == b'"' && *escape == Escape::No {
                        let (text, raw) = (std::mem::take(text), std::mem::take(raw));
                        self.state = State::Between;
                        let read = self.short_value(text, &raw).await;
                        self.or_none(read)?;
                        continue;
                    }
                    raw.push(byte);
                    match escape.feed(byte) {
                        Err(error) => {
                            self.state = State::after_bad(byte);
                            self.or_none(Err(error))?;
                        }
                        Ok(None) => {}
                        Ok(Some(byte)) => {
                            text.push(byte);
                            if text.len() >= HEAD {
                                let (text, raw) = (std::mem::take(text), std::mem::take(raw));
                                self.state = State::Skipped { escaped: false };
                                let read = self.decide(text, &raw);
                                self.or_none(read)?;
                            }
                        }
                    }
                }
                State::Media { .. } => {
                    let (read, left) = self.media(bytes).await;
                    bytes = left;
                    self.or_none(read)?;
                }
                State::Skipped { escaped } => {
                    bytes = tail;
                    match byte {
                        _ if *escaped => *escaped = false,
                        b'\\' => *escaped = true,
                        b'"' => self.state = State::Between,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// A value that is no media costs only itself; a disk that fails, and media beyond all limits, cost everything. Where the scanner
    /// goes on is set.
    fn or_none(&mut self, read: Result<()>) -> Result<()> {
        let error = match read {
            Err(error) if error.kind() == ErrorKind::BadResponse => error,
            read => return read,
        };
        let mark =
            serde_json::to_string(&format!("{BAD_MARK}{error}")).map_err(|_| bad("an unusable text"))?;
        self.keep(mark.as_bytes())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        if self.rest.len() + bytes.len() > self.most_text {
            return Err(Error::new(
                ErrorKind::BadResponse,
                format!(
                    "the answer is longer than the allowed {} bytes of text",
                    self.most_text
                ),
            ));
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn between(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'"' => {
                let in_object = self.stack.last() == Some(&true);
                if in_object && self.expect_key {
                    self.key.clear();
                    self.state = State::Key { escaped: false };
                } else if in_object && self.fields.iter().any(|field| field.as_bytes() == self.key) {
                    self.state = State::Head {
                        text: Vec::new(),
                        raw: Vec::new(),
                        escape: Escape::No,
                    };
                    return Ok(());
                } else {
                    self.state = State::Text { escaped: false };
                }
            }
            b'{' | b'[' => {
                if self.stack.len() >= MAX_DEPTH {
                    return Err(Error::new(
                        ErrorKind::BadResponse,
                        "the answer is nested too deeply",
                    ));
                }
                self.stack.push(byte == b'{');
                self.expect_key = byte == b'{';
            }
            b'}' | b']' => {
                self.stack.pop();
                self.expect_key = false;
            }
            b',' => self.expect_key = self.stack.last() == Some(&true),
            b':' => self.expect_key = false,
            _ => {}
        }
        self.keep(&[byte])
    }

    fn string_byte(&mut self, byte: u8, is_key: bool) {
        let (State::Key { escaped } | State::Text { escaped }) = &mut self.state else {
            return;
        };
        if *escaped {
            *escaped = false;
        } else if byte == b'\\' {
            *escaped = true;
        } else if byte == b'"' {
            self.state = State::Between;
            return;
        }
        if is_key {
            self.key.push(NOT_OURS);
        }
    }

    /// A value that ended within the head: a link, a short text, or small media.
    async fn short_value(&mut self, text: Vec<u8>, raw: &[u8]) -> Result<()> {
        if is_text(&text) {
            self.keep_text(&text, raw)?;
            return self.keep(b"\"");
        }
        self.decide(text, raw)?;
        if matches!(self.state, State::Media { .. }) {
            self.end_media().await?;
        }
        Ok(())
    }

    /// Keeps the beginning of a text, without the quote that ends it.
    fn keep_text(&mut self, text: &[u8], raw: &[u8]) -> Result<()> {
        if text.contains(&NOT_ASCII) {
            // For serde, which knows all escapes.
            self.keep(b"\"")?;
            return self.keep(raw);
        }
        let text = String::from_utf8_lossy(text);
        let quoted = serde_json::to_string(&text).map_err(|_| bad("an unusable text"))?;
        self.keep(quoted.strip_suffix('"').unwrap_or(&quoted).as_bytes())
    }

    /// The head is long enough to tell: a long link, a data URI or base64.
    fn decide(&mut self, text: Vec<u8>, raw: &[u8]) -> Result<()> {
        if is_text(&text) {
            // A long link: the rest of it is plain text, which ends at the quote like any other.
            self.keep_text(&text, raw)?;
            self.state = State::Text { escaped: false };
            return Ok(());
        }
        let mut base64 = text;
        if base64.starts_with(b"data:") {
            let comma = memchr(b',', &base64).ok_or_else(|| bad("a data URI without its comma"))?;
            base64.drain(..=comma);
        }
        let writer = Box::new(self.intake.writer());
        base64.retain(|byte| !byte.is_ascii_whitespace());
        self.state = State::Media {
            writer,
            base64,
            escape: Escape::No,
            ended: false,
        };
        Ok(())
    }

    /// Takes base64 up to the end of the string; gives back what follows what it has read.
    async fn media<'b>(&mut self, mut bytes: &'b [u8]) -> (Result<()>, &'b [u8]) {
        let State::Media {
            writer,
            base64,
            escape,
            ended,
        } = &mut self.state
        else {
            return (Ok(()), bytes);
        };
        while let Some((&byte, tail)) = bytes.split_first() {
            if *escape == Escape::No {
                let plain = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                let (run, rest) = bytes.split_at_checked(plain).unwrap_or((bytes, &[]));
                if !run.is_empty() {
                    base64.extend_from_slice(run);
                    bytes = rest;
                    continue;
                }
                if byte == b'"' {
                    return (self.end_media().await, tail);
                }
            }
            bytes = tail;
            match escape.feed(byte) {
                Ok(Some(byte)) if !byte.is_ascii_whitespace() => base64.push(byte),
                Ok(_) => {}
                Err(error) => {
                    self.state = State::after_bad(byte);
                    return (Err(error), bytes);
                }
            }
        }
        // Nothing of it is kept until the next piece comes, but what is no whole group of four.
        let read = decode(writer, base64, ended, false).await;
        if read.is_err() {
            self.state = State::Skipped {
                escaped: *escape == Escape::Started,
            };
        }
        (read, bytes)
    }

    async fn end_media(&mut self) -> Result<()> {
        let State::Media {
            mut writer,
            mut base64,
            mut ended,
            ..
        } = std::mem::replace(&mut self.state, State::Between)
        else {
            return Ok(());
        };
        decode(&mut writer, &mut base64, &mut ended, true).await?;
        self.media.push(writer.finish().await?);
        let mark = serde_json::to_string(&format!("{MARK}{}", self.media.len() - 1))
            .map_err(|_| bad("an unusable text"))?;
        self.keep(mark.as_bytes())
    }

    /// The small rest of the answer, and its media in order.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<Staged>) {
        // A body that ends inside a string leaves JSON that serde refuses.
        (self.rest, self.media)
    }
}

const NO_BASE64: &str = "broken base64 (and it is no http address)";

fn is_text(value: &[u8]) -> bool {
    value.len() < 5 || value.starts_with(b"http://") || value.starts_with(b"https://")
}

/// Decodes the whole groups of four that have come, and at the end what is left.
async fn decode(writer: &mut StageWriter, base64: &mut Vec<u8>, ended: &mut bool, last: bool) -> Result<()> {
    // Line breaks inside base64 are rare, but each would shift the groups of four.
    if memchr3(b'\n', b'\r', b' ', base64).is_some() || memchr(b'\t', base64).is_some() {
        base64.retain(|byte| !byte.is_ascii_whitespace());
    }
    // Some servers use the alphabet that is safe in addresses.
    if memchr2(b'-', b'_', base64).is_some() {
        for byte in base64.iter_mut() {
            match byte {
                b'-' => *byte = b'+',
                b'_' => *byte = b'/',
                _ => {}
            }
        }
    }
    if base64.is_empty() {
        return Ok(());
    }
    // Anything but base64 after its padding is not base64.
    if *ended {
        return Err(bad("more after the end of its base64"));
    }
    let whole = if last {
        base64.len()
    } else {
        base64.len() - base64.len() % 4
    };
    let (now, later) = base64.split_at_checked(whole).unwrap_or((base64, &[]));
    let later = later.to_vec();
    let padding = now.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return Err(bad(NO_BASE64));
    }
    *ended = padding > 0;
    let text = now.get(..now.len() - padding).unwrap_or_default();
    writer.append(|buffer| {
        STANDARD_NO_PAD
            .decode_vec(text, buffer)
            .map_err(|_| bad(NO_BASE64))
    })?;
    *base64 = later;
    writer.write_if_full().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Staging;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::Value;

    async fn run(body: &[u8], piece: usize) -> Result<(Value, Vec<Staged>)> {
        let staging = Staging::Beside;
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("x.png");
        let intake = Intake::new(&staging, &output, 1 << 20);
        let mut diverter = Diverter::new(&["b64_json", "url"], intake, 1 << 16);
        for chunk in body.chunks(piece) {
            diverter.push(chunk).await?;
        }
        let (rest, media) = diverter.finish();
        let rest =
            serde_json::from_slice(&rest).map_err(|e| Error::new(ErrorKind::BadResponse, e.to_string()))?;
        Ok((rest, media))
    }

    fn sha(bytes: &[u8]) -> String {
        use sha2::{Digest, Sha256};
        crate::key::hex(&Sha256::digest(bytes))
    }

    #[tokio::test]
    async fn media_leave_and_the_rest_stays() {
        let one: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let two = b"small".to_vec();
        let body = format!(
            r#"{{"created":1,"a":{{"b64_json":"not at \"top\""}},"data":[{{"b64_json":"{}","x":[1,"b64_json"]}},{{"url":"data:image/png;base64,{}"}},{{"url":"https:\/\/h\/p?q=1"}},{{"b64_json":null}}],"b64":"b64_json"}}"#,
            STANDARD.encode(&one),
            STANDARD.encode(&two)
        );
        let body = body.replace(r#""a":{"b64_json":"not at \"top\""},"#, "");
        for piece in [1, 2, 7, 4096, body.len()] {
            let (rest, media) = run(body.as_bytes(), piece).await.unwrap();
            assert_eq!(media.len(), 2);
            assert_eq!(media[0].len(), one.len() as u64);
            assert_eq!(media[1].len(), 5);
            assert_eq!(rest["data"][2]["url"], "https://h/p?q=1");
            assert_eq!(rest["data"][3]["b64_json"], Value::Null);
            assert_eq!(rest["data"][0]["x"][1], "b64_json");
            assert_eq!(rest["b64"], "b64_json");
            let payload: Payload = serde_json::from_value(rest["data"][1]["url"].clone()).unwrap();
            assert_eq!(payload, Payload::Staged(1));
        }
    }

    #[tokio::test]
    async fn a_long_key_is_never_taken_for_one_of_ours() {
        let body = format!(
            r#"{{"b64_json{}":"{}"}}"#,
            "x".repeat(HEAD),
            STANDARD.encode([7; 1000])
        );
        for piece in [1, r#"{"b64_json"#.len(), body.len()] {
            assert!(run(body.as_bytes(), piece).await.unwrap().1.is_empty(), "{piece}");
        }
    }

    #[tokio::test]
    async fn the_bytes_are_the_same_whatever_the_escapes() {
        // More than one piece, so that what is dropped shifts the groups of four of the next.
        let bytes: Vec<u8> = (0..=255).cycle().take(30_000).map(|b: u16| b as u8).collect();
        let plain = STANDARD.encode(&bytes);
        let variants = [
            plain.replace('/', "\\/"),
            plain.replace('+', "\\u002b"),
            plain.replace("AAEC", "AA\\nEC\\r\\n"),
            plain.replace("AAEC", "AA EC "),
        ];
        for text in variants {
            let body = format!(r#"{{"b64_json":"{text}"}}"#);
            for piece in [3, 1000, 50_000] {
                let (_, media) = run(body.as_bytes(), piece).await.unwrap();
                let secured = media.into_iter().next().unwrap();
                assert_eq!(secured.len(), 30_000);
                let folder = tempfile::tempdir().unwrap();
                let kept = Staging::Folder(folder.path().into());
                let key = crate::AttemptKey::parse("11111111-1111-4111-8111-111111111111").unwrap();
                let file = secured.reject(&kept, key, "test").unwrap().unwrap();
                assert_eq!(sha(&std::fs::read(file).unwrap()), sha(&bytes));
            }
        }
    }

    #[tokio::test]
    async fn cut_bodies_are_refused() {
        for body in [r#"{"b64_json":"AAAAAAAA"#, r#"{"b64_json":"AAAAAAAA""#] {
            assert!(run(body.as_bytes(), 5).await.is_err(), "{body}");
        }
    }

    #[tokio::test]
    async fn broken_base64_costs_only_itself() {
        let long = format!("{}*{}", "A".repeat(300), "A".repeat(20_000));
        for broken in [
            "AAAA*AAA",
            "AAAA=AAAA",
            "AAAAA",
            "AAAAAAA\\u12",
            r#"AAAAAAA\u1234 \" more"#,
            "data:image/png;base64",
            long.as_str(),
        ] {
            let body = format!(r#"{{"a":{{"b64_json":"{broken}"}},"b":{{"b64_json":"AAAAAAAA"}},"c":1}}"#);
            for piece in [1, 5, 1 << 20] {
                let (rest, media) = run(body.as_bytes(), piece).await.unwrap();
                let payload: Payload = serde_json::from_value(rest["a"]["b64_json"].clone()).unwrap();
                assert!(matches!(payload, Payload::Unreadable(_)), "{broken}: {rest}");
                assert_eq!((media.len(), &rest["c"]), (1, &Value::from(1)), "{broken}");
            }
        }
    }

    #[tokio::test]
    async fn base64_for_addresses_is_read_too() {
        let bytes = [0xfb, 0xff, 0xfe].repeat(400);
        let (mixed, standard) = ("-__-+//+".repeat(200), STANDARD.encode(&bytes));
        assert_eq!(mixed.replace('-', "+").replace('_', "/"), standard);
        for piece in [1, 3, 1000, 10_000] {
            let (_, media) = run(format!(r#"{{"b64_json":"{mixed}"}}"#).as_bytes(), piece)
                .await
                .unwrap();
            assert_eq!(media[0].sha256(), sha(&bytes));
        }
    }

    #[tokio::test]
    async fn links_may_hold_any_escape() {
        let short = r"https:\/\/h\/\u00e9\ud83d\ude00.png";
        let long = format!("{short}?{}", r"\u00e9".repeat(300));
        for link in [short, long.as_str()] {
            let body = format!(r#"{{"url":"{link}","c":1}}"#);
            let expected: Value = serde_json::from_str(&body).unwrap();
            for piece in [1, 5, 1 << 20] {
                assert_eq!(run(body.as_bytes(), piece).await.unwrap().0, expected);
            }
        }
    }

    #[tokio::test]
    async fn a_flood_of_text_is_refused() {
        let body = format!(r#"{{"x":"{}"}}"#, "y".repeat(100_000));
        let error = run(body.as_bytes(), 4096).await.unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
    }

    proptest! {
        #[test]
        fn any_json_without_the_fields_comes_through_unchanged(
            keys in proptest::collection::vec("[a-z\"\\\\é]{0,6}", 1..5), text in "\\PC{0,40}", piece in 1_usize..9,
        ) {
            let mut value = serde_json::json!({"list": [text, {"deep": text}], "n": 1.5, "t": true});
            for key in keys {
                value[key] = Value::from(text.as_str());
            }
            let body = value.to_string();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (rest, media) = runtime.block_on(run(body.as_bytes(), piece)).unwrap();
            prop_assert_eq!(rest, value);
            prop_assert!(media.is_empty());
        }

        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..9) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(run(&body, piece));
        }
    }
}
