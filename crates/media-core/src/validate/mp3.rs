//! Walks an MP3: tags in front, whole frames of MPEG layer III without a gap, tags behind.
//!
//! There is no signature and no end mark, so what makes a file an MP3 is that frame follows frame exactly, all of
//! one version and rate, at least two of them. Tags behind the sound can be ID3v2, Lyrics3v2, APEv2 (with its
//! header) and ID3v1. Free format is refused: nothing says how long such frames are, and few players take it.

use super::defect::{Defect, corrupt, unsupported};
use super::inspector::Inspection;
use super::walk::{Step, Walk, array, head, tail};
use crate::format::Format;

const FORMAT: Format = Format::Mp3;

/// Enough of the first frame to hold a Xing header with its encoder name, or a VBRI header.
const FIRST: usize = 4 + 2 + 32 + 4 + 4 + 4 + 4 + 100 + 4 + 9;

#[derive(Debug, Default)]
pub(super) struct Mp3 {
    state: State,
    /// The first frame; all others are like it.
    first: Option<Frame>,
    /// Frames that sound.
    frames: u64,
    /// Bytes of frames, the one with the Xing header among them.
    bytes: u64,
    announced: Option<Announced>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Front,
    Frames,
    /// After the sound.
    Tags,
    /// Within a Lyrics3 tag.
    Lyrics,
    /// After an ID3v1 tag, which is always the last.
    Done,
}

/// What a Xing, Info or VBRI header says about the whole.
#[derive(Clone, Copy, Debug, Default)]
struct Announced {
    frames: Option<u32>,
    bytes: Option<u32>,
    /// Whether the encoder is known to count exactly. Others count the header frame, or tags, or not.
    exact: bool,
}

/// One frame header.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Version and sample rate bits, equal for all frames.
    kind: (u8, u8),
    rate: u32,
    samples: u32,
    /// In bytes, with the header.
    length: u64,
    /// Of the side information behind the header.
    side: usize,
}

enum Parsed {
    Frame(Frame),
    Free,
    Not,
}

fn parse(header: [u8; 4]) -> Parsed {
    const V1: [u32; 16] = [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0,
    ];
    const V2: [u32; 16] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
    let [sync, b, c, d] = header;
    let (version, rate_index, bitrate_index) = (b >> 3 & 3, c >> 2 & 3, c >> 4);
    // Layer bits 01; version bits 11 = 1, 10 = 2, 00 = 2.5 (an extension outside ISO 11172-3 and 13818-3).
    if sync != 0xff || b & 0xe6 != 0xe2 || version == 1 || rate_index == 3 || bitrate_index == 15 {
        return Parsed::Not;
    }
    if bitrate_index == 0 {
        return Parsed::Free;
    }
    let base = match rate_index {
        0 => 44_100,
        1 => 48_000,
        _ => 32_000,
    };
    let (rate, bitrates, samples) = match version {
        3 => (base, V1, 1152),
        2 => (base / 2, V2, 576),
        _ => (base / 4, V2, 576),
    };
    let Some(kilobits) = bitrates.get(usize::from(bitrate_index)) else {
        return Parsed::Not;
    };
    let padding = u64::from(c >> 1 & 1);
    let length = u64::from(samples / 8 * kilobits * 1000 / rate) + padding;
    let mono = d >> 6 == 3;
    let side = match (version, mono) {
        (3, false) => 32,
        (3, true) | (_, false) => 17,
        (_, true) => 9,
    };
    Parsed::Frame(Frame {
        kind: (version, rate_index),
        rate,
        samples,
        length,
        side,
    })
}

/// The header that some encoders put in place of the first frame's sound.
fn announced(frame: &[u8], side: usize) -> Option<Announced> {
    let be32 = |at| array(frame, at).map(u32::from_be_bytes);
    if frame.get(36..40) == Some(b"VBRI".as_slice()) {
        return Some(Announced {
            bytes: be32(46),
            frames: be32(50),
            exact: false,
        });
    }
    // Behind the side information; some leave room for a checksum before it.
    let at = [4 + side, 6 + side]
        .into_iter()
        .find(|&at| matches!(frame.get(at..at + 4), Some(b"Xing" | b"Info")))?;
    let flags = be32(at + 4)?;
    let mut next = at + 8;
    let mut field = |bit: u32, size| {
        let here = next;
        let set = flags & bit != 0;
        next += if set { size } else { 0 };
        set.then_some(here)
    };
    let frames = field(1, 4).and_then(be32);
    let bytes = field(2, 4).and_then(be32);
    field(4, 100);
    field(8, 4);
    let encoder = head(tail(frame, next), 4);
    Some(Announced {
        frames,
        bytes,
        exact: matches!(encoder, b"LAME" | b"Lavf" | b"Lavc"),
    })
}

/// The length of the ID3v2 tag that begins here, with header and footer (ID3v2.4.0 structure, 3.1).
fn id3v2(header: [u8; 10], at: u64) -> Result<u64, Defect> {
    let [_, _, _, major, _, flags, size @ ..] = header;
    if !(2..=4).contains(&major) || size.iter().any(|&b| b >= 0x80) {
        return corrupt(FORMAT, at, "its ID3 tag has no valid header");
    }
    let size = size.iter().fold(0, |size, &b| size << 7 | u64::from(b));
    Ok(10 + size + if flags & 0x10 != 0 { 10 } else { 0 })
}

impl Mp3 {
    fn front(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        if window.starts_with(b"ID3") {
            let Some(header) = array(window, 0) else {
                return Ok(Step::More(10));
            };
            return Ok(Step::Used(id3v2(header, at)?));
        }
        let Some(header) = array(window, 0) else {
            return Ok(Step::More(4));
        };
        let frame = match parse(header) {
            Parsed::Frame(frame) => frame,
            Parsed::Free => return unsupported(FORMAT, "free format, without a bit rate"),
            Parsed::Not if at == 0 => return corrupt(FORMAT, at, "it begins with no frame"),
            Parsed::Not => {
                let what = format!(
                    "its tag is followed by no frame: {}",
                    super::sniff::excerpt(&header, true)
                );
                return corrupt(FORMAT, at, what);
            }
        };
        let wanted = FIRST.min(usize::try_from(frame.length).unwrap_or(FIRST));
        if window.len() < wanted {
            return Ok(Step::More(wanted));
        }
        self.announced = announced(head(window, wanted), frame.side);
        self.frames = u64::from(self.announced.is_none());
        self.bytes = frame.length;
        self.first = Some(frame);
        self.state = State::Frames;
        Ok(Step::Used(frame.length))
    }

    fn frame(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let Some(header) = array(window, 0) else {
            return Ok(Step::More(4));
        };
        match (parse(header), self.first) {
            (Parsed::Frame(frame), Some(first)) => {
                if frame.kind != first.kind {
                    return corrupt(
                        FORMAT,
                        at,
                        "its frames are not all of one version and sample rate",
                    );
                }
                self.frames += 1;
                self.bytes += frame.length;
                Ok(Step::Used(frame.length))
            }
            (Parsed::Free, _) => unsupported(FORMAT, "free format, without a bit rate"),
            _ => {
                self.state = State::Tags;
                self.tag(window, at)
            }
        }
    }

    /// One tag behind the sound.
    fn tag(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        // The longest name decides, so that it does not matter how the bytes come.
        let enough = |name: &[u8]| window.len() >= name.len() || !name.starts_with(window);
        if !enough(b"LYRICSBEGIN") || !enough(b"APETAGEX") || !enough(b"TAG") || !enough(b"ID3") {
            return Ok(Step::More(window.len() + 1));
        }
        if window.starts_with(b"TAG") {
            self.state = State::Done;
            return Ok(Step::Used(128));
        }
        if window.starts_with(b"ID3") {
            let Some(header) = array(window, 0) else {
                return Ok(Step::More(10));
            };
            return Ok(Step::Used(id3v2(header, at)?));
        }
        if window.starts_with(b"LYRICSBEGIN") {
            self.state = State::Lyrics;
            return Ok(Step::Used(11));
        }
        if window.starts_with(b"APETAGEX") {
            let Some([s0, s1, s2, s3, _, _, _, _, _, _, _, flags]) = array(window, 12) else {
                return Ok(Step::More(32));
            };
            // Bit 29 tells the header from the footer. A tag that has no header cannot be found from its front.
            let size = u32::from_le_bytes([s0, s1, s2, s3]);
            if flags & 0x20 == 0 || size < 32 {
                return corrupt(FORMAT, at, "its APE tag has no valid header");
            }
            return Ok(Step::Used(32 + u64::from(size)));
        }
        Ok(Step::End)
    }

    /// One field of a Lyrics3v2 tag: three letters, five digits, contents; or the six digits and name at its end.
    fn lyrics(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let Some([a, b, c, digits @ ..]) = array::<8>(window, 0) else {
            return Ok(Step::More(8));
        };
        if [a, b, c].iter().all(u8::is_ascii_uppercase) && digits.iter().all(u8::is_ascii_digit) {
            let size = digits.iter().fold(0, |size, &b| size * 10 + u64::from(b - b'0'));
            return Ok(Step::Used(8 + size));
        }
        let Some(end) = array::<15>(window, 0) else {
            return Ok(Step::More(15));
        };
        if end.ends_with(b"LYRICS200") {
            self.state = State::Tags;
            return Ok(Step::Used(15));
        }
        corrupt(FORMAT, at, "its Lyrics3 tag is malformed")
    }

    /// Whether frames that were announced are not there.
    fn lacks_frames(&self, at: u64) -> bool {
        let Some(Announced { frames, bytes, exact }) = self.announced else {
            return false;
        };
        let lacks =
            |announced: Option<u32>, there| announced.is_some_and(|announced| there < u64::from(announced));
        if exact {
            lacks(frames, self.frames) || lacks(bytes, self.bytes)
        } else {
            lacks(frames, self.frames + 1) || lacks(bytes, at)
        }
    }
}

impl Walk for Mp3 {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match self.state {
            State::Front => self.front(window, at),
            State::Frames => self.frame(window, at),
            State::Tags => self.tag(window, at),
            State::Lyrics => self.lyrics(window, at),
            State::Done => Ok(Step::End),
        }
    }

    fn end(&mut self, rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        let whole = match self.state {
            State::Front | State::Lyrics => false,
            State::Frames | State::Tags => {
                if let [first, ..] = *rest
                    && !matches!(first, 0xff | b'T' | b'I' | b'L' | b'A')
                {
                    let (at, length) = (at - rest.len() as u64, rest.len() as u64);
                    let excerpt = super::sniff::excerpt(rest, false);
                    return Err(Defect::TrailingData {
                        format: FORMAT,
                        at,
                        length,
                        excerpt,
                    });
                }
                rest.is_empty()
            }
            State::Done => true,
        };
        let Some(first) = self.first.filter(|_| whole) else {
            return Err(self.truncated(at));
        };
        if self.lacks_frames(at) {
            return Err(Defect::Truncated {
                format: FORMAT,
                at,
                missing: "as many frames as it announces",
            });
        }
        // One header can turn up by accident; two, exactly one frame apart, hardly.
        let frames = self.frames + u64::from(self.announced.is_some());
        if frames < 2 {
            return Err(Defect::TooShort {
                format: FORMAT,
                frames,
            });
        }
        Inspection::sound(FORMAT, self.frames * u64::from(first.samples), first.rate)
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match self.state {
            State::Front => "its first frame is complete",
            State::Frames => "its last frame is complete",
            State::Tags | State::Lyrics | State::Done => "its last tag is complete",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::tests::{fixture, passes};
    use crate::validate::{Defect, inspect};
    use std::time::Duration;

    fn defect(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    /// Frames of silence: MPEG-2, 24 kHz, 32 kbit/s, mono, 96 bytes.
    fn frames(count: usize) -> Vec<u8> {
        [b"\xff\xf3\x44\xc0".as_slice(), &[0; 92]].concat().repeat(count)
    }

    #[test]
    fn a_stream_without_tags_is_measured_to_its_last_frame() {
        let once = fixture("cbr-plain.mp3");
        let sound = passes(&once.repeat(3));
        assert_eq!(sound.duration.unwrap().as_millis(), 3 * 653);
        assert!(
            defect(&once.repeat(3)[..10_000])
                .contains("ends before its last frame is complete, after 10000 bytes")
        );
    }

    #[test]
    fn duration_counts_frames_that_sound() {
        assert_eq!(passes(&frames(125)).duration, Some(Duration::from_secs(3)));
    }

    #[test]
    fn tags_in_front_are_stepped_over() {
        let tag = b"ID3\x03\0\0\0\0\0\x04abcd";
        let footed = b"ID3\x04\0\x10\0\0\0\x02ab3DI\x04\0\x10\0\0\0\x02";
        passes(&[tag.as_slice(), footed, &frames(3)].concat());
        let found = defect(&[tag.as_slice(), b"<html>not found</html>"].concat());
        assert_eq!(
            found,
            "an MP3 that is damaged at offset 14: its tag is followed by no frame: \"<htm…\""
        );
        assert!(defect(tag).contains("ends before its first frame"));
    }

    #[test]
    fn what_is_no_mp3_is_refused() {
        assert_eq!(
            inspect(&frames(1)),
            Err(Defect::TooShort {
                format: super::FORMAT,
                frames: 1
            })
        );
        let mut mixed = frames(3);
        mixed[96 * 2 + 1] = 0xfb;
        assert!(defect(&mixed).ends_with("not all of one version and sample rate"));
        let mut free = frames(3);
        free[2] = 0x04;
        assert!(defect(&free).ends_with("free format, without a bit rate"));
        let zeros = [frames(3), vec![0; 400]].concat();
        assert!(defect(&zeros).starts_with("an MP3 with 400 bytes after its end (at offset 288): 00 00"));
    }

    #[test]
    fn frames_that_are_announced_must_be_there() {
        // Cut exactly between two frames, where nothing else shows it.
        for name in ["vbr-tags.mp3", "mpeg25-lavf.mp3"] {
            let bytes = fixture(name);
            let last = bytes
                .windows(8)
                .position(|window| window == b"APETAGEX")
                .unwrap_or(bytes.len());
            let cuts = (1..last).filter(|&cut| {
                matches!(inspect(&bytes[..cut]), Err(Defect::Truncated { missing, .. }) if missing.contains("announces"))
            });
            assert!(cuts.count() > 10, "{name}");
        }
    }
}
