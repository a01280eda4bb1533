//! Pictures: the prompt drawn in blocky letters over a colour of its own, as PNG, JPEG or WebP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use font8x8::UnicodeFonts;

use super::plain;
use crate::scenario::{Media, Picture};
use crate::state::{Shared, lock};

/// Format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PictureFormat {
    Png,
    Jpeg,
    Webp,
}

impl PictureFormat {
    /// One that was not asked for.
    pub(crate) fn other(self) -> PictureFormat {
        match self {
            Self::Png => Self::Jpeg,
            _ => Self::Png,
        }
    }

    pub(crate) fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// Everything a picture is made from; equal specs give equal bytes.
#[derive(Debug, Clone)]
pub(crate) struct PictureSpec {
    /// What is written on it.
    pub(crate) text: String,
    /// A smaller second line: model and seed.
    pub(crate) footer: String,
    pub(crate) hash: [u8; 32],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: PictureFormat,
    /// 1..100, JPEG only.
    pub(crate) quality: u8,
    pub(crate) transparent: bool,
}

/// The shared end of many pictures, with its base64 made once.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) raw: Bytes,
    base64: OnceLock<Bytes>,
}

impl Tail {
    pub(crate) fn new(raw: Bytes) -> Self {
        Self {
            raw,
            base64: OnceLock::new(),
        }
    }

    fn base64(&self) -> Bytes {
        self.base64
            .get_or_init(|| Bytes::from(STANDARD.encode(&self.raw)))
            .clone()
    }
}

/// A finished picture: its own head and a tail that it may share. The head's length is a multiple of 3 when there is a
/// tail, so that their base64 forms can stand one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Print {
    pub(crate) head: Bytes,
    pub(crate) tail: Arc<Tail>,
}

impl Print {
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self {
            head: Bytes::from(bytes),
            tail: Arc::default(),
        }
    }

    /// The file in pieces.
    pub(crate) fn pieces(&self) -> Vec<Bytes> {
        [self.head.clone(), self.tail.raw.clone()]
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect()
    }

    /// Its base64 in pieces; the large one is shared, not copied.
    pub(crate) fn base64(&self) -> Vec<Bytes> {
        let mut pieces = vec![Bytes::from(STANDARD.encode(&self.head))];
        if !self.tail.raw.is_empty() {
            pieces.push(self.tail.base64());
        }
        pieces
    }

    /// The file in one piece.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_ref(), self.tail.raw.as_ref()].concat()
    }
}

/// What the pixels of a plain picture depend on: format, width, height, quality, transparency.
type Pixels = (PictureFormat, u32, u32, u8, bool);

/// Makes pictures, keeping what many of them share.
#[derive(Debug)]
pub(crate) struct Studio {
    picture: Picture,
    pad: u64,
    plain: Mutex<HashMap<Pixels, Arc<plain::Base>>>,
}

impl Studio {
    pub(crate) fn new(media: &Media) -> Self {
        Self {
            picture: media.picture,
            pad: media.bytes,
            plain: Mutex::default(),
        }
    }

    pub(crate) fn print(&self, spec: &PictureSpec) -> Print {
        match self.picture {
            Picture::Plain => {
                let key = (
                    spec.format,
                    spec.width,
                    spec.height,
                    spec.quality,
                    spec.transparent,
                );
                let known = lock(&self.plain).get(&key).cloned();
                // Made outside the lock: two first requests may both make it, and one is kept.
                let base = known.unwrap_or_else(|| {
                    let one_colour = encode(spec, &Canvas::new(spec.width, spec.height), [70, 110, 150]);
                    let made = Arc::new(plain::Base::new(
                        spec.format,
                        one_colour,
                        self.pad,
                        spec.transparent,
                    ));
                    Arc::clone(lock(&self.plain).entry(key).or_insert(made))
                });
                base.print(&spec.hash)
            }
            Picture::Text => {
                let mut canvas = Canvas::new(spec.width, spec.height);
                canvas.write(&spec.text, &spec.footer);
                let file = encode(spec, &canvas, colour(&spec.hash));
                let base = plain::Base::new(spec.format, file, self.pad, spec.transparent);
                base.print(&spec.hash)
            }
        }
    }
}

/// Makes a picture, on a thread where it does not hold up others when it takes long.
pub(crate) async fn picture(shared: &Arc<Shared>, spec: PictureSpec) -> Print {
    if shared.studio.picture == Picture::Plain {
        return shared.studio.print(&spec);
    }
    let shared = Arc::clone(shared);
    let printed = tokio::task::spawn_blocking(move || shared.studio.print(&spec)).await;
    printed.unwrap_or_else(|_| Print::whole(Vec::new()))
}

/// A colour dark enough for white letters.
fn colour(hash: &[u8; 32]) -> [u8; 3] {
    let [red, green, blue, ..] = *hash;
    [red / 2 + 16, green / 2 + 16, blue / 2 + 16]
}

/// A picture of two colours, one bit per pixel.
#[derive(Debug)]
pub(crate) struct Canvas {
    width: u32,
    height: u32,
    stride: usize,
    bits: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let stride = width.div_ceil(8) as usize;
        Self {
            width,
            height,
            stride,
            bits: vec![0; stride * height as usize],
        }
    }

    fn block(&mut self, x: u32, y: u32, size: u32) {
        for row in y..(y + size).min(self.height) {
            for column in x..(x + size).min(self.width) {
                let index = row as usize * self.stride + column as usize / 8;
                if let Some(byte) = self.bits.get_mut(index) {
                    *byte |= 0x80 >> (column % 8);
                }
            }
        }
    }

    fn line(&mut self, text: &str, x: u32, y: u32, scale: u32) {
        for (index, letter) in text.chars().enumerate() {
            let left = x + index as u32 * 8 * scale;
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    self.block(left + column * scale, y + row as u32 * scale, scale);
                }
            }
        }
    }

    /// Writes the text as large as fits, and the footer small at the bottom.
    fn write(&mut self, text: &str, footer: &str) {
        let margin = (self.width.min(self.height) / 16).max(2);
        let (wide, high) = (
            self.width.saturating_sub(2 * margin),
            self.height.saturating_sub(3 * margin),
        );
        let fits = |scale: &u32| wrap(text, wide / (8 * scale)).len() as u32 * 10 * scale <= high;
        let largest = (self.width / 96).clamp(1, 16);
        let scale = (1..=largest).rev().find(fits).unwrap_or(1);
        let lines = wrap(text, wide / (8 * scale));
        let rows = (high / (10 * scale)).max(1) as usize;
        for (index, line) in lines.iter().take(rows).enumerate() {
            self.line(line, margin, margin + index as u32 * 10 * scale, scale);
        }
        let small = (self.width / 512).max(1);
        let fitting: String = footer.chars().take((wide / (8 * small)) as usize).collect();
        self.line(
            &fitting,
            margin,
            self.height.saturating_sub(margin.max(8 * small)),
            small,
        );
    }
}

/// The bitmap of a letter; one that the font lacks becomes a frame filled by its number, so that texts still differ.
fn glyph(letter: char) -> [u8; 8] {
    let fonts = font8x8::BASIC_FONTS.get(letter);
    let fonts = fonts.or_else(|| font8x8::LATIN_FONTS.get(letter));
    let fonts = fonts.or_else(|| font8x8::GREEK_FONTS.get(letter));
    let fonts = fonts.or_else(|| font8x8::HIRAGANA_FONTS.get(letter));
    fonts.unwrap_or_else(|| {
        let code = (letter as u32).to_le_bytes();
        let row = |byte: u8| 0x81 | (byte << 1 & 0x7e);
        let [a, b, c, _] = code;
        [
            0xff,
            row(a),
            row(a >> 6 | b << 2),
            row(b >> 4),
            row(c),
            row(a ^ b),
            0xff,
            0,
        ]
    })
}

/// Breaks a text into lines of at most `columns` letters, between words where possible.
fn wrap(text: &str, columns: u32) -> Vec<String> {
    let columns = columns.max(1) as usize;
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for letter in letters {
            if used == columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(letter);
            used += 1;
        }
    }
    lines.push(line);
    lines
}

/// Encodes a canvas. In-memory encoding of a picture with sane dimensions cannot fail; if it did, the empty file
/// would show.
fn encode(spec: &PictureSpec, canvas: &Canvas, back: [u8; 3]) -> Vec<u8> {
    match spec.format {
        PictureFormat::Png => png_of(canvas, back, spec.transparent).unwrap_or_default(),
        PictureFormat::Jpeg => {
            let mut file = Vec::new();
            let pixels = pixels(canvas, &back, &[255, 255, 255]);
            let encoder =
                image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, spec.quality.clamp(1, 100));
            let done = { encoder }.encode(
                &pixels,
                canvas.width,
                canvas.height,
                image::ExtendedColorType::Rgb8,
            );
            done.map(|()| file).unwrap_or_default()
        }
        PictureFormat::Webp => {
            let mut file = Vec::new();
            let [red, green, blue] = back;
            let (pixels, kind) = if spec.transparent {
                (
                    pixels(canvas, &[red, green, blue, 0], &[255; 4]),
                    image::ExtendedColorType::Rgba8,
                )
            } else {
                (pixels(canvas, &back, &[255; 3]), image::ExtendedColorType::Rgb8)
            };
            let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut file);
            let done = encoder.encode(&pixels, canvas.width, canvas.height, kind);
            done.map(|()| file).unwrap_or_default()
        }
    }
}

fn pixels<const N: usize>(canvas: &Canvas, back: &[u8; N], front: &[u8; N]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(canvas.width as usize * canvas.height as usize * N);
    for row in canvas.bits.chunks(canvas.stride.max(1)) {
        for column in 0..canvas.width as usize {
            let set = row
                .get(column / 8)
                .is_some_and(|byte| byte & (0x80 >> (column % 8)) != 0);
            pixels.extend_from_slice(if set { front } else { back });
        }
    }
    pixels
}

/// PNG with a palette of two colours: the canvas as it is, so that even a large picture is quickly made.
fn png_of(canvas: &Canvas, back: [u8; 3], transparent: bool) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, canvas.width, canvas.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_palette([back.as_slice(), &[255; 3]].concat());
    if transparent {
        encoder.set_trns(vec![0, 255]);
    }
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.bits)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(format: PictureFormat, text: &str, width: u32, height: u32) -> PictureSpec {
        PictureSpec {
            text: text.to_owned(),
            footer: "model 7".to_owned(),
            hash: crate::hash::of_parts(&[text]),
            width,
            height,
            format,
            quality: 90,
            transparent: false,
        }
    }

    fn studio(picture: Picture, bytes: u64) -> Studio {
        Studio::new(&Media { picture, bytes })
    }

    #[test]
    fn each_format_decodes_to_its_size_and_differs_by_prompt() {
        for picture in [Picture::Text, Picture::Plain] {
            for bytes in [0, 100_001] {
                let studio = studio(picture, bytes);
                for format in [PictureFormat::Png, PictureFormat::Jpeg, PictureFormat::Webp] {
                    let first = studio.print(&spec(format, "a red kettle on a very long sentence", 320, 192));
                    let again = studio.print(&spec(format, "a red kettle on a very long sentence", 320, 192));
                    let other = studio.print(&spec(format, "a blue kettle", 320, 192));
                    assert_eq!(first.bytes(), again.bytes());
                    assert_ne!(first.bytes(), other.bytes());
                    assert!(first.bytes().len() as u64 >= bytes);
                    let reader = image::ImageReader::new(std::io::Cursor::new(first.bytes()));
                    let reader = reader.with_guessed_format().unwrap();
                    assert_eq!(reader.format().unwrap().to_mime_type(), format.mime());
                    let decoded = reader.decode().unwrap();
                    assert_eq!((decoded.width(), decoded.height()), (320, 192));
                    let base64: Vec<u8> = first.base64().concat();
                    assert_eq!(STANDARD.decode(base64).unwrap(), first.bytes());
                }
            }
        }
    }

    #[test]
    fn transparent_pictures_have_an_alpha_channel() {
        for format in [PictureFormat::Png, PictureFormat::Webp] {
            let mut spec = spec(format, "kettle", 256, 256);
            spec.transparent = true;
            let file = studio(Picture::Text, 0).print(&spec).bytes();
            let decoded = image::load_from_memory(&file).unwrap().to_rgba8();
            assert_eq!(decoded.get_pixel(0, 0).0[3], 0);
            assert!(decoded.pixels().any(|pixel| pixel.0 == [255; 4]));
        }
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("a red kettle", 5), ["a red", "kettl", "e"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
