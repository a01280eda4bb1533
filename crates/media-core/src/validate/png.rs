//! Walks a PNG: every chunk with its checksum, from the header to the end marker. Animated ones are fine.

use super::defect::{Defect, corrupt};
use super::inspector::{Dimensions, Inspection};
use super::walk::{Step, Walk, array, clamp, head};
use crate::format::Format;

const FORMAT: Format = Format::Png;
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Signature, and the IHDR chunk that must come first: length, type, 13 bytes, checksum.
const START: usize = 8 + 8 + 13 + 4;

#[derive(Debug, Default)]
pub(super) struct Png {
    state: State,
    dimensions: Option<Dimensions>,
    indexed: bool,
    palette: bool,
    data: Data,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Chunk,
    Body {
        left: u64,
        crc: crc32fast::Hasher,
        last: bool,
    },
    Checksum {
        crc: u32,
        last: bool,
    },
    Done,
}

/// Pixel data is one row of IDAT chunks without anything in between (PNG 3rd edition, 5.6).
#[derive(Debug, Default, PartialEq)]
enum Data {
    #[default]
    Before,
    Within,
    After,
}

impl Png {
    fn start(&mut self, window: &[u8]) -> Result<Step, Defect> {
        if window.len() < START {
            return Ok(Step::More(START));
        }
        if array(window, 0) != Some(SIGNATURE) {
            return corrupt(FORMAT, 0, "its signature is wrong");
        }
        if array(window, 8) != Some(*b"\0\0\0\x0dIHDR") {
            return corrupt(FORMAT, 8, "it does not begin with its header chunk");
        }
        let (Some(header), Some(crc)) = (array::<13>(window, 16), array::<4>(window, 29)) else {
            return Ok(Step::More(START));
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(b"IHDR");
        hasher.update(&header);
        if hasher.finalize() != u32::from_be_bytes(crc) {
            return corrupt(FORMAT, 8, "the checksum of chunk IHDR is wrong");
        }
        let [
            w0,
            w1,
            w2,
            w3,
            h0,
            h1,
            h2,
            h3,
            depth,
            colour,
            compression,
            filter,
            interlace,
        ] = header;
        let width = u32::from_be_bytes([w0, w1, w2, w3]);
        let height = u32::from_be_bytes([h0, h1, h2, h3]);
        if width == 0 || height == 0 || width > i32::MAX as u32 || height > i32::MAX as u32 {
            return corrupt(FORMAT, 16, format!("its size is {width} x {height}"));
        }
        let pixels = matches!(
            (colour, depth),
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) | (2 | 4 | 6, 8 | 16)
        );
        if !pixels || compression != 0 || filter != 0 || interlace > 1 {
            return corrupt(FORMAT, 24, "its header names pixels that do not exist");
        }
        self.indexed = colour == 3;
        self.dimensions = Some(Dimensions { width, height });
        self.state = State::Chunk;
        Ok(Step::Used(START as u64))
    }

    fn chunk(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let Some([l0, l1, l2, l3, t0, t1, t2, t3]) = array(window, 0) else {
            return Ok(Step::More(8));
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let kind = [t0, t1, t2, t3];
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            return corrupt(FORMAT, at, "there is no chunk where one should begin");
        }
        if length > i32::MAX as u32 {
            return corrupt(FORMAT, at, "the length of a chunk is out of range");
        }
        match &kind {
            b"IDAT" if self.data == Data::After => {
                return corrupt(FORMAT, at, "its pixel data is interrupted by another chunk");
            }
            b"IDAT" if self.indexed && !self.palette => {
                return corrupt(FORMAT, at, "its palette is missing");
            }
            b"IDAT" => self.data = Data::Within,
            b"IEND" if self.data == Data::Before => return corrupt(FORMAT, at, "it has no pixel data"),
            b"IEND" if length != 0 => return corrupt(FORMAT, at, "its end chunk is not empty"),
            b"PLTE" if length == 0 || length > 768 || length % 3 != 0 => {
                return corrupt(FORMAT, at, "its palette is malformed");
            }
            b"PLTE" => self.palette = true,
            b"IHDR" => return corrupt(FORMAT, at, "it has a second header"),
            b"IEND" => {}
            // A decoder must refuse what it does not know if the type begins with a capital (5.4).
            [b'A'..=b'Z', ..] => return corrupt(FORMAT, at, "it needs a chunk that nobody knows"),
            _ => {}
        }
        if self.data == Data::Within && kind != *b"IDAT" {
            self.data = Data::After;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&kind);
        self.state = State::Body {
            left: u64::from(length),
            crc,
            last: kind == *b"IEND",
        };
        Ok(Step::Used(8))
    }
}

impl Walk for Png {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match &mut self.state {
            State::Start => self.start(window),
            State::Chunk => self.chunk(window, at),
            State::Body { left, crc, last } => {
                let n = clamp(*left, window.len());
                crc.update(head(window, n));
                *left -= n as u64;
                if *left == 0 {
                    self.state = State::Checksum {
                        crc: crc.clone().finalize(),
                        last: *last,
                    };
                }
                Ok(Step::Used(n as u64))
            }
            State::Checksum { crc, last } => {
                let Some(stored) = array(window, 0) else {
                    return Ok(Step::More(4));
                };
                if u32::from_be_bytes(stored) != *crc {
                    return corrupt(FORMAT, at, "the checksum of a chunk is wrong");
                }
                self.state = if *last { State::Done } else { State::Chunk };
                Ok(Step::Used(4))
            }
            State::Done => Ok(Step::End),
        }
    }

    fn end(&mut self, _rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        match (&self.state, self.dimensions) {
            (State::Done, Some(dimensions)) => Ok(Inspection::picture(FORMAT, dimensions)),
            _ => Err(self.truncated(at)),
        }
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match self.data {
            _ if self.dimensions.is_none() => "its header is complete",
            Data::Before => "its pixel data",
            Data::Within | Data::After => "its end chunk (IEND)",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::{picture, png_chunk};
    use crate::validate::inspect;
    use crate::validate::tests::{fixture, nothing_else_passes, passes};
    use image::ImageFormat;

    fn defect(parts: &[&[u8]]) -> String {
        inspect(&parts.concat()).unwrap_err().to_string()
    }

    #[test]
    fn another_encoder_passes() {
        let png = picture(30, 20, ImageFormat::Png);
        passes(&png);
        nothing_else_passes(&png);
    }

    #[test]
    fn broken_structure_is_named() {
        let png = picture(4, 4, ImageFormat::Png);
        let (start, rest) = png.split_at(33);
        let end = png_chunk(b"IEND", b"");
        let data = &rest[..rest.len() - 12];
        let cases: [(&[&[u8]], &str); 9] = [
            (&[start], "a PNG that ends before its pixel data, after 33 bytes"),
            (
                &[start, data],
                "a PNG that ends before its end chunk (IEND), after",
            ),
            (
                &[start, &end],
                "a PNG that is damaged at offset 33: it has no pixel data",
            ),
            (
                &[start, data, &png_chunk(b"tEXt", b"a"), data, &end],
                "its pixel data is interrupted",
            ),
            (
                &[start, data, &png_chunk(b"IEND", b"x")],
                "its end chunk is not empty",
            ),
            (
                &[start, &png_chunk(b"NEED", b""), data, &end],
                "it needs a chunk that nobody knows",
            ),
            (&[start, &start[8..], data, &end], "it has a second header"),
            (
                &[start, &[0xff; 8], data, &end],
                "there is no chunk where one should begin",
            ),
            (&[start, data, &end, b"12345"], "a PNG with 5 bytes after its end"),
        ];
        for (parts, message) in cases {
            let found = defect(parts);
            assert!(found.contains(message), "{found}");
        }
        // An unknown chunk that nobody needs is fine.
        passes(&[start, &png_chunk(b"prVt", b"abc"), data, &end].concat());
        let header = |body: &[u8; 13]| {
            let chunk = png_chunk(b"IHDR", body);
            defect(&[&start[..8], &chunk, data, &end])
        };
        assert!(header(b"\0\0\0\0\0\0\0\x04\x08\x06\0\0\0").ends_with("its size is 0 x 4"));
        assert!(header(b"\0\0\0\x04\0\0\0\x04\x03\x06\0\0\0").ends_with("pixels that do not exist"));
        assert!(header(b"\0\0\0\x04\0\0\0\x04\x08\x03\0\0\0").ends_with("its palette is missing"));
    }

    #[test]
    fn a_line_end_translation_is_seen() {
        // What FTP in text mode does to the signature.
        let png = fixture("palette.png");
        let found = defect(&[b"\x89PNG\n\x1a\n", &png[8..]]);
        assert!(
            found.starts_with("no known kind of picture or sound: 89 50 4e 47 0a 1a 0a"),
            "{found}"
        );
    }
}
