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
    Body { left: u64, crc: crc32fast::Hasher, last: bool },
    Checksum { crc: u32, last: bool },
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
        let [w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, compression, filter, interlace] = header;
        let width = u32::from_be_bytes([w0, w1, w2, w3]);
        let height = u32::from_be_bytes([h0, h1, h2, h3]);
        if width == 0 || height == 0 || width > i32::MAX as u32 || height > i32::MAX as u32 {
            return corrupt(FORMAT, 16, format!("its size is {width} x {height}"));
        }
        let pixels = matches!((colour, depth), (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) | (2 | 4 | 6, 8 | 16));
        if !pixels || compression != 0 || filter != 0 || interlace > 1 {
            return corrupt(FORMAT, 24, "its header names pixels that do not exist");
        }
        self.indexed = colour == 3;
        self.dimensions = Some(Dimensions { width, height });
        self.state = State::Chunk;
        Ok(Step::Used(START as u64))
    }

    fn chunk(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let Some([l0, l1, l2, l3, t0, t1, t2, t3]) = array(window, 0) else { return Ok(Step::More(8)) };
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
        self.state = State::Body { left: u64::from(length), crc, last: kind == *b"IEND" };
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
                    self.state = State::Checksum { crc: crc.clone().finalize(), last: *last };
                }
                Ok(Step::Used(n as u64))
            }
            State::Checksum { crc, last } => {
                let Some(stored) = array(window, 0) else { return Ok(Step::More(4)) };
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
