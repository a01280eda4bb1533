//! Walks a FLAC: metadata blocks, then every frame with both of its checksums, to the announced last sample.
//!
//! Nothing says how long a frame is. Looking for the next header is not enough at the end of the file: a zero byte
//! after a frame leaves its 16-bit check intact, so a cut or padded last frame would pass one time in 256. The bits
//! are parsed instead ([`super::flac_frame`]), without computing any sample.

use super::crc::Crc;
use super::defect::{Defect, corrupt};
use super::flac_frame::{Bits, Subframes};
use super::inspector::Inspection;
use super::walk::{Step, Walk, array, head};
use crate::format::Format;

const FORMAT: Format = Format::Flac;

#[derive(Debug, Default)]
pub(super) struct Flac {
    state: State,
    info: Option<Info>,
    /// Blocking strategy, and the number that the next frame must have.
    next: Option<(bool, u64)>,
    /// In the frames so far.
    samples: u64,
    frames: u64,
    /// Offset of the frame at hand.
    frame: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Metadata,
    Header,
    Body(Body),
    Footer(Crc, u32),
}

#[derive(Debug)]
struct Body {
    crc: Crc,
    subframes: Subframes,
    /// How many bits of the first byte shown are parsed already.
    bit: u32,
    block: u32,
}

/// What STREAMINFO says (RFC 9639, 8.2).
#[derive(Clone, Copy, Debug)]
struct Info {
    rate: u32,
    channels: u8,
    bits: u32,
    /// Zero if the encoder could not go back.
    samples: u64,
}

/// One frame header (RFC 9639, 9.1).
#[derive(Debug)]
struct Header {
    length: usize,
    variable: bool,
    number: u64,
    block: u32,
    assignment: u8,
    bits: Option<u32>,
    rate: Option<u32>,
}

enum Parsed {
    Header(Header),
    More,
    Wrong(&'static str),
}

/// The number in a frame header: UTF-8 as it once was, up to seven bytes. With the bytes it takes.
fn number(bytes: &[u8]) -> Option<Result<(u64, usize), &'static str>> {
    let first = *bytes.first()?;
    let length = match first.leading_ones() {
        0 => return Some(Ok((first.into(), 1))),
        n @ 2..=7 => n as usize,
        _ => return Some(Err("the number of a frame is malformed")),
    };
    let rest = bytes.get(1..length)?;
    // Seven leading ones leave no bits of the first byte.
    let mut value = u64::from(first & (0x7f >> length));
    for &byte in rest {
        if byte & 0xc0 != 0x80 {
            return Some(Err("the number of a frame is malformed"));
        }
        value = value << 6 | u64::from(byte & 0x3f);
    }
    Some(Ok((value, length)))
}

fn parse(window: &[u8]) -> Parsed {
    let Some([sync, strategy, sizes, layout]) = array(window, 0) else {
        return Parsed::More;
    };
    if sync != 0xff || strategy & 0xfe != 0xf8 {
        return Parsed::Wrong("there is no frame where one should begin");
    }
    let (number, digits) = match window.get(4..).and_then(number) {
        None => return Parsed::More,
        Some(Err(what)) => return Parsed::Wrong(what),
        Some(Ok(number)) => number,
    };
    let mut at = 4 + digits;
    let block = match sizes >> 4 {
        0 => return Parsed::Wrong("the size of a frame is reserved"),
        1 => 192,
        n @ 2..=5 => 144 << n,
        6 => match array(window, at).map(u8::from_be_bytes) {
            None => return Parsed::More,
            Some(size) => {
                at += 1;
                u32::from(size) + 1
            }
        },
        7 => match array(window, at).map(u16::from_be_bytes) {
            None => return Parsed::More,
            Some(size) => {
                at += 2;
                u32::from(size) + 1
            }
        },
        n => 1 << n,
    };
    let wide = |at| array(window, at).map(u16::from_be_bytes).map(u32::from);
    let rate = match sizes & 15 {
        0 => None,
        n @ 1..=11 => [
            88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
        ]
        .get(usize::from(n) - 1)
        .copied(),
        12 => match array(window, at).map(u8::from_be_bytes) {
            None => return Parsed::More,
            Some(rate) => {
                at += 1;
                Some(u32::from(rate) * 1000)
            }
        },
        n @ (13 | 14) => match wide(at) {
            None => return Parsed::More,
            Some(rate) => {
                at += 2;
                Some(if n == 13 { rate } else { rate * 10 })
            }
        },
        _ => return Parsed::Wrong("the rate of a frame is forbidden"),
    };
    let bits = match layout >> 1 & 7 {
        0 => None,
        1 => Some(8),
        2 => Some(12),
        4 => Some(16),
        5 => Some(20),
        6 => Some(24),
        7 => Some(32),
        _ => return Parsed::Wrong("the bit depth of a frame is reserved"),
    };
    let assignment = layout >> 4;
    if assignment > 10 || layout & 1 != 0 {
        return Parsed::Wrong("the channels of a frame are reserved");
    }
    let (true, Some([stored])) = (window.len() > at, array(window, at)) else {
        return Parsed::More;
    };
    let mut crc = Crc::flac8();
    crc.update(head(window, at));
    if crc.value() >> 24 != u32::from(stored) {
        return Parsed::Wrong("the checksum of a frame header is wrong");
    }
    let variable = strategy & 1 != 0;
    Parsed::Header(Header {
        length: at + 1,
        variable,
        number,
        block,
        assignment,
        bits,
        rate,
    })
}

impl Flac {
    fn start(&mut self, window: &[u8]) -> Result<Step, Defect> {
        const START: usize = 4 + 4 + 34;
        let (Some(magic), Some(block), Some(info)) = (
            array::<8>(window, 0),
            array(window, 4),
            array::<8>(window, 8 + 10),
        ) else {
            return Ok(Step::More(START));
        };
        if window.len() < START {
            return Ok(Step::More(START));
        }
        let [last, l0, l1, l2] = block;
        if !magic.starts_with(b"fLaC") || last & 0x7f != 0 || [l0, l1, l2] != [0, 0, 34] {
            return corrupt(FORMAT, 0, "it does not begin with its stream information");
        }
        // 20 bits of rate, 3 of channels, 5 of depth, 36 of samples.
        let info = u64::from_be_bytes(info);
        let rate = (info >> 44) as u32;
        let channels = (info >> 41 & 7) as u8 + 1;
        let bits = (info >> 36 & 31) as u32 + 1;
        if rate == 0 || bits < 4 {
            return corrupt(FORMAT, 8, "its stream information is malformed");
        }
        self.info = Some(Info {
            rate,
            channels,
            bits,
            samples: info & 0xf_ffff_ffff,
        });
        self.state = if last & 0x80 == 0 {
            State::Metadata
        } else {
            State::Header
        };
        Ok(Step::Used(START as u64))
    }

    fn metadata(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let Some([kind, l0, l1, l2]) = array(window, 0) else {
            return Ok(Step::More(4));
        };
        if kind & 0x7f == 0x7f || kind & 0x7f == 0 {
            return corrupt(FORMAT, at, "a metadata block has a forbidden type");
        }
        if kind & 0x80 != 0 {
            self.state = State::Header;
        }
        Ok(Step::Used(4 + u64::from(u32::from_be_bytes([0, l0, l1, l2]))))
    }

    fn header(&mut self, window: &[u8], at: u64, info: Info) -> Result<Step, Defect> {
        if info.samples != 0 && self.samples >= info.samples {
            return Ok(Step::End);
        }
        // Without a count, what is no frame is what follows the last one.
        let may_end = info.samples == 0 && self.frames > 0;
        if may_end && !window.starts_with(&[0xff]) {
            return Ok(Step::End);
        }
        let header = match parse(window) {
            Parsed::Header(header) => header,
            Parsed::More => return Ok(Step::More(window.len() + 1)),
            Parsed::Wrong(_) if may_end => return Ok(Step::End),
            Parsed::Wrong(what) => return corrupt(FORMAT, at, what),
        };
        let channels = if header.assignment < 8 {
            header.assignment + 1
        } else {
            2
        };
        if channels != info.channels
            || header.bits.is_some_and(|bits| bits != info.bits)
            || header.rate.is_some_and(|rate| rate != info.rate)
        {
            return corrupt(FORMAT, at, "a frame contradicts the stream information");
        }
        // The first may have any number: the stream may be cut out of a longer one.
        let (variable, next) = self.next.unwrap_or((header.variable, header.number));
        if header.variable != variable || header.number != next {
            return corrupt(FORMAT, at, "a frame is missing");
        }
        self.next = Some((
            variable,
            next + if variable { u64::from(header.block) } else { 1 },
        ));
        self.frame = at;
        let mut crc = Crc::flac16();
        crc.update(head(window, header.length));
        let subframes = Subframes::new(channels, header.assignment, info.bits, header.block);
        self.state = State::Body(Body {
            crc,
            subframes,
            bit: 0,
            block: header.block,
        });
        Ok(Step::Used(header.length as u64))
    }
}

impl Body {
    /// Parses what can be parsed; says how many bytes that was and whether the frame's contents are over.
    fn parse(&mut self, window: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut bits = Bits::new(window, self.bit);
        let complete = self.subframes.parse(&mut bits)?;
        let (mut bytes, bit) = bits.position();
        self.bit = bit;
        if complete && bit > 0 {
            let last = window.get(bytes).copied().unwrap_or_default();
            if last & (0xff >> bit) != 0 {
                return Err("the padding of a frame is not zero");
            }
            bytes += 1;
        }
        self.crc.update(head(window, bytes));
        Ok((bytes, complete))
    }
}

impl Walk for Flac {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match (&mut self.state, self.info) {
            (State::Start, _) | (_, None) => self.start(window),
            (State::Metadata, _) => self.metadata(window, at),
            (State::Header, Some(info)) => self.header(window, at, info),
            (State::Body(body), _) => match body.parse(window) {
                Err(what) => corrupt(FORMAT, self.frame, what),
                Ok((bytes, true)) => {
                    self.state = State::Footer(body.crc, body.block);
                    Ok(Step::Used(bytes as u64))
                }
                Ok((0, false)) => Ok(Step::More(window.len() + 1)),
                Ok((bytes, false)) => Ok(Step::Used(bytes as u64)),
            },
            (State::Footer(crc, block), Some(info)) => {
                let Some(footer) = array::<2>(window, 0) else {
                    return Ok(Step::More(2));
                };
                crc.update(&footer);
                if !crc.is_closed() {
                    return corrupt(FORMAT, self.frame, "the checksum of a frame is wrong");
                }
                self.samples += u64::from(*block);
                self.frames += 1;
                if info.samples != 0 && self.samples > info.samples {
                    return corrupt(FORMAT, self.frame, "it has more samples than it announces");
                }
                self.state = State::Header;
                Ok(Step::Used(2))
            }
        }
    }

    fn end(&mut self, rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        match (&self.state, self.info) {
            (State::Header, Some(info)) if rest.is_empty() && self.samples >= info.samples => {
                Inspection::sound(FORMAT, self.samples, info.rate)
            }
            _ => Err(self.truncated(at)),
        }
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match self.state {
            State::Start | State::Metadata => "its metadata is complete",
            State::Header => "as many samples as it announces",
            State::Body(_) | State::Footer(..) => "its last frame is complete",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::flac;
    use crate::validate::tests::{fixture, nothing_else_passes, passes};
    use crate::validate::{Defect, inspect};
    use std::time::Duration;

    #[test]
    fn another_encoder_passes() {
        let bytes = flac();
        assert_eq!(passes(&bytes).duration, Some(Duration::from_millis(250)));
        nothing_else_passes(&bytes);
    }

    #[test]
    fn numbers_are_read_up_to_36_bits() {
        let number = |bytes: &[u8]| super::number(bytes).map(|number| number.map(|(number, _)| number));
        assert_eq!(number(b"\x7f"), Some(Ok(127)));
        assert_eq!(number("ä€😀".as_bytes()), Some(Ok(0xe4)));
        assert_eq!(number("€".as_bytes()), Some(Ok(0x20ac)));
        assert_eq!(number(b"\xfe\xbf\xbf\xbf\xbf\xbf\xbf"), Some(Ok((1 << 36) - 1)));
        assert_eq!(number(b"\xfe\xbf"), None);
        assert!(matches!(number(b"\xff"), Some(Err(_))));
        assert!(matches!(number(b"\xc3\x00"), Some(Err(_))));
    }

    #[test]
    fn zero_bytes_at_the_end_are_seen_although_the_checksum_allows_them() {
        for name in ["mono24.flac", "streamed.flac"] {
            for zeros in [1, 2, 100] {
                let padded = [fixture(name), &vec![0; zeros]].concat();
                let Err(Defect::TrailingData { length, .. }) = inspect(&padded) else {
                    panic!("{name} {zeros}")
                };
                assert_eq!(length, zeros as u64);
            }
        }
    }

    /// Both checksums of each frame see every change; those in front of the frames see none.
    #[test]
    fn any_flipped_byte_of_a_frame_is_found() {
        let bytes = fixture("stereo24.flac");
        let first = bytes.windows(2).position(|pair| pair == [0xff, 0xf8]).unwrap();
        let mut flipped = bytes.to_vec();
        for at in (first..bytes.len()).step_by(7) {
            flipped[at] ^= 0x10;
            assert!(inspect(&flipped).is_err(), "{at}");
            flipped[at] ^= 0x10;
        }
    }

    #[test]
    fn missing_frames_are_seen() {
        let bytes = fixture("independent.flac");
        let starts: Vec<usize> = (0..bytes.len() - 2)
            .filter(|&at| bytes[at..].starts_with(&[0xff, 0xf8, 0x39]))
            .collect();
        assert!(starts.len() > 2, "{starts:?}");
        let lost = [&bytes[..starts[1]], &bytes[starts[2]..]].concat();
        assert!(
            inspect(&lost)
                .unwrap_err()
                .to_string()
                .ends_with("a frame is missing")
        );
        let short = inspect(&bytes[..starts[2]]).unwrap_err().to_string();
        assert!(
            short.contains("ends before as many samples as it announces"),
            "{short}"
        );
    }
}
