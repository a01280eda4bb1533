//! Walks a WAV: the RIFF size, every chunk, and sound data in whole samples.
//!
//! Programs that write to a pipe leave placeholders for the two sizes. Such files are accepted, with mends that
//! put in what turned out to be true. All that follows is then sound, up to the end of the file.

use super::defect::{Defect, corrupt, unsupported};
use super::inspector::{Inspection, Mend};
use super::walk::{Step, Walk, array};
use crate::format::Format;

const FORMAT: Format = Format::Wav;

#[derive(Debug, Default)]
pub(super) struct Wav {
    riff: Option<Size>,
    fmt: Option<Fmt>,
    data: Option<Data>,
}

/// A size in a header.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Known(u64),
    /// Left open by a program that could not go back.
    Open,
}

impl Size {
    /// ffmpeg, sox and web services leave 0, 0x7fffffff, 0x80000000 or 0xffffffff, some of them less a header or
    /// rounded down to a page.
    fn new(size: u32) -> Self {
        match size {
            0 | 0x7fff_f000..=0x8000_0000 | 0xffff_f000.. => Self::Open,
            _ => Self::Known(size.into()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Fmt {
    rate: u32,
    /// Bytes of one sample of all channels.
    align: u16,
}

#[derive(Clone, Copy, Debug)]
struct Data {
    /// Offset of the first byte of sound.
    start: u64,
    /// As far as is known.
    size: Size,
}

impl Wav {
    fn start(&mut self, window: &[u8]) -> Result<Step, Defect> {
        let Some([b'R', b'I', b'F', b'F', s0, s1, s2, s3, b'W', b'A', b'V', b'E']) = array(window, 0) else {
            return if window.len() < 12 {
                Ok(Step::More(12))
            } else {
                corrupt(FORMAT, 0, "its header is wrong")
            };
        };
        self.riff = Some(Size::new(u32::from_le_bytes([s0, s1, s2, s3])));
        Ok(Step::Used(12))
    }

    fn chunk(&mut self, window: &[u8], at: u64, riff: Size) -> Result<Step, Defect> {
        let limit = match riff {
            Size::Known(size) => 8 + size,
            Size::Open => u64::MAX,
        };
        match self.data {
            Some(Data { size: Size::Open, .. }) if at < limit => {
                return Ok(Step::Used((limit - at).min(window.len() as u64)));
            }
            // With the RIFF size open, what is no chunk is no part of the file.
            Some(_) if riff == Size::Open => match array::<4>(window, 0) {
                None => return Ok(Step::More(4)),
                Some(name) if !is_name(&name) => return Ok(Step::End),
                Some(_) => {}
            },
            _ if at >= limit => return Ok(Step::End),
            _ => {}
        }
        let Some([k0, k1, k2, k3, s0, s1, s2, s3]) = array(window, 0) else {
            return Ok(Step::More(8));
        };
        let (kind, size) = ([k0, k1, k2, k3], u32::from_le_bytes([s0, s1, s2, s3]));
        if !is_name(&kind) {
            return corrupt(FORMAT, at, "there is no chunk where one should begin");
        }
        let end = at + 8 + u64::from(size);
        if kind == *b"data" {
            return self.data(at, size, riff);
        }
        if end > limit {
            return corrupt(FORMAT, at, "a chunk is longer than what contains it");
        }
        if kind == *b"fmt " {
            if self.fmt.is_some() {
                return corrupt(FORMAT, at, "it has a second format chunk");
            }
            let wanted = 8 + if size >= 40 { 40 } else { 16 };
            if size < 16 {
                return corrupt(FORMAT, at, "its format chunk is too short");
            }
            if window.len() < wanted {
                return Ok(Step::More(wanted));
            }
            self.fmt = Some(fmt(window, at)?);
        }
        // Chunks are padded to even sizes; many writers forget it for the last one, and then do not count it.
        let padding = u64::from(size % 2 != 0 && end < limit);
        Ok(Step::Used(8 + u64::from(size) + padding))
    }

    fn data(&mut self, at: u64, size: u32, riff: Size) -> Result<Step, Defect> {
        let Some(fmt) = self.fmt else {
            return corrupt(FORMAT, at, "its sound comes before its format");
        };
        if self.data.is_some() {
            return corrupt(FORMAT, at, "it has a second sound chunk");
        }
        let start = at + 8;
        let size = match (Size::new(size), riff) {
            // No sound is also a size, if the file is said to be no longer.
            (Size::Open, Size::Known(_)) if size == 0 => Size::Known(0),
            (size, _) => size,
        };
        self.data = Some(Data { start, size });
        let Size::Known(known) = size else {
            return Ok(Step::Used(8));
        };
        if known % u64::from(fmt.align) != 0 {
            return corrupt(FORMAT, at, "its sound is not a whole number of samples");
        }
        let end = start + known;
        let padding = match riff {
            Size::Known(riff) if end > 8 + riff => {
                return corrupt(FORMAT, at, "its sound is longer than what contains it");
            }
            Size::Known(riff) => u64::from(known % 2 != 0 && end < 8 + riff),
            Size::Open => known % 2,
        };
        Ok(Step::Used(8 + known + padding))
    }

    fn mends(data: Data, size: u64, riff: Size, at: u64) -> Vec<Mend> {
        let mut mends = Vec::new();
        let mut mend = |offset, size: u64| {
            // Above 4 GB there is no true value; the placeholder stays.
            if let Ok(size) = u32::try_from(size) {
                mends.push(Mend {
                    offset,
                    bytes: size.to_le_bytes().to_vec(),
                });
            }
        };
        if riff == Size::Open {
            mend(4, at - 8);
        }
        if data.size == Size::Open {
            mend(data.start - 4, size);
        }
        mends
    }
}

fn is_name(bytes: &[u8; 4]) -> bool {
    bytes.iter().all(|b| (0x20..0x7f).contains(b))
}

/// Reads the format chunk that begins at the front of `window`.
fn fmt(window: &[u8], at: u64) -> Result<Fmt, Defect> {
    let short = || corrupt(FORMAT, at, "its format chunk is too short");
    let Some([t0, t1, c0, c1, r0, r1, r2, r3, _, _, _, _, a0, a1, b0, b1]) = array(window, 8) else {
        return short();
    };
    let tag = match u16::from_le_bytes([t0, t1]) {
        // Extensible: the true tag begins the sub-format GUID.
        0xfffe => match array(window, 8 + 24) {
            Some(tag) => u16::from_le_bytes(tag),
            None => return short(),
        },
        tag => tag,
    };
    let channels = u16::from_le_bytes([c0, c1]);
    let rate = u32::from_le_bytes([r0, r1, r2, r3]);
    let align = u16::from_le_bytes([a0, a1]);
    let bits = u16::from_le_bytes([b0, b1]);
    match (tag, bits) {
        (1, 1..=32) | (3, 32 | 64) => {}
        (1 | 3, _) => return corrupt(FORMAT, at, format!("its samples have {bits} bits")),
        (2 | 0x11, _) => return unsupported(FORMAT, "ADPCM"),
        (6 | 7, _) => return unsupported(FORMAT, "A-law or µ-law, as telephones use"),
        (0x50 | 0x55, _) => return unsupported(FORMAT, "MPEG audio inside a WAV"),
        _ => return unsupported(FORMAT, format!("codec 0x{tag:04x}")),
    }
    if channels == 0 || rate == 0 || u32::from(align) != u32::from(channels) * u32::from(bits.div_ceil(8)) {
        return corrupt(FORMAT, at, "its format contradicts itself");
    }
    Ok(Fmt { rate, align })
}

impl Walk for Wav {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match self.riff {
            None => self.start(window),
            Some(riff) => self.chunk(window, at, riff),
        }
    }

    fn end(&mut self, rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        let (Some(riff), Some(fmt), Some(data)) = (self.riff, self.fmt, self.data) else {
            if rest.is_empty() && self.riff == Some(Size::Known(at.saturating_sub(8))) {
                return corrupt(FORMAT, at, "it has no sound chunk");
            }
            return Err(self.truncated(at));
        };
        if !rest.is_empty() || matches!(riff, Size::Known(size) if at < 8 + size) {
            return Err(self.truncated(at));
        }
        let align = u64::from(fmt.align);
        let size = match data.size {
            Size::Known(size) => size,
            Size::Open => {
                let size = at - data.start;
                // One byte too many is the padding of an odd size.
                let padding =
                    size.is_multiple_of(2) && !size.is_multiple_of(align) && (size - 1).is_multiple_of(align);
                size - u64::from(padding)
            }
        };
        if size % align != 0 {
            return Err(self.truncated(at));
        }
        let sound = Inspection::sound(FORMAT, size / align, fmt.rate)?;
        Ok(Inspection {
            mends: Self::mends(data, size, riff, at),
            ..sound
        })
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match (self.riff, self.data) {
            (_, None) => "its sound",
            (_, Some(Data { size: Size::Open, .. })) => "its last sample is complete",
            _ => "the length that its header states",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::{wav, wav_fmt};
    use crate::validate::tests::{nothing_else_passes, passes};
    use crate::validate::{Defect, Mend, inspect};
    use std::time::Duration;

    const OPEN: u32 = 0xffff_ffff;

    fn defect(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    fn mend(offset: u64, size: u32) -> Mend {
        Mend {
            offset,
            bytes: size.to_le_bytes().to_vec(),
        }
    }

    #[test]
    fn plain_ones_pass() {
        for (tag, channels, bits) in [
            (1, 1, 8),
            (1, 2, 16),
            (1, 1, 24),
            (1, 6, 32),
            (3, 2, 32),
            (3, 1, 64),
        ] {
            let fmt = wav_fmt(tag, channels, bits);
            let size = 4 * u32::from(channels * bits);
            let sound = passes(&wav(36 + size, &fmt, size, &vec![1; size as usize]));
            assert_eq!(sound.duration, Some(Duration::from_millis(4)));
            nothing_else_passes(&wav(36 + size, &fmt, size, &vec![1; size as usize]));
        }
    }

    #[test]
    fn placeholders_are_mended_and_then_pass_without() {
        for open in [0, OPEN, 0x7fff_ffff, 0x7fff_f024, 0x8000_0000, 0xffff_ffdb] {
            let mut bytes = wav(open, &wav_fmt(1, 1, 16), open, &[1; 100]);
            let mends = passes(&bytes).mends;
            assert_eq!(mends, [mend(4, 136), mend(40, 100)], "{open:x}");
            for mend in mends {
                let at = mend.offset as usize;
                bytes[at..at + mend.bytes.len()].copy_from_slice(&mend.bytes);
            }
            assert_eq!(passes(&bytes).mends, []);
            nothing_else_passes(&bytes);
        }
    }

    #[test]
    fn one_placeholder_is_mended_from_the_other_size() {
        let fmt = wav_fmt(1, 1, 16);
        assert_eq!(passes(&wav(136, &fmt, OPEN, &[1; 100])).mends, [mend(40, 100)]);
        assert_eq!(passes(&wav(OPEN, &fmt, 100, &[1; 100])).mends, [mend(4, 136)]);
        assert!(defect(&wav(136, &fmt, OPEN, &[1; 98])).contains("ends before"));
        assert!(defect(&wav(136, &fmt, OPEN, &[1; 101])).contains("1 byte after its end"));
        assert!(defect(&wav(OPEN, &fmt, 100, &[1; 98])).contains("ends before"));
        assert!(defect(&wav(OPEN, &fmt, 100, &[1; 120])).contains("20 bytes after its end"));
        assert!(
            defect(&wav(OPEN, &fmt, OPEN, &[1; 101])).contains("ends before its last sample is complete")
        );
    }

    #[test]
    fn odd_sizes_are_padded_or_at_the_end_not() {
        let fmt = wav_fmt(1, 1, 8);
        passes(&wav(36 + 6, &fmt, 5, &[1, 2, 3, 4, 5, 0]));
        passes(&wav(36 + 5, &fmt, 5, &[1, 2, 3, 4, 5]));
        assert!(defect(&wav(36 + 6, &fmt, 5, &[1, 2, 3, 4, 5])).contains("ends before"));
        let list = b"\0LIST\x04\0\0\0abcd";
        passes(&wav(36 + 5 + 13, &fmt, 5, &[b"12345".as_slice(), list].concat()));
        // 3-byte samples to a pipe: the padding shows as one byte too many.
        let sound = passes(&wav(OPEN, &wav_fmt(1, 1, 24), OPEN, &[1; 16]));
        assert_eq!(sound.mends, [mend(4, 52), mend(40, 15)]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let pcm = wav_fmt(1, 1, 16);
        assert_eq!(
            inspect(&wav(36, &pcm, 0, &[])),
            Err(Defect::NoSound {
                format: super::FORMAT
            })
        );
        assert_eq!(
            inspect(&wav(OPEN, &pcm, OPEN, &[])),
            Err(Defect::NoSound {
                format: super::FORMAT
            })
        );
        assert!(defect(&wav(39, &pcm, 3, &[1; 3])).ends_with("its sound is not a whole number of samples"));
        assert!(
            defect(&wav(40, &pcm, 100, &[1; 100])).ends_with("its sound is longer than what contains it")
        );
        assert!(defect(&wav(40, &wav_fmt(2, 1, 4), 4, &[1; 4])).ends_with("not accepted: ADPCM"));
        assert!(defect(&wav(40, &wav_fmt(0x1234, 1, 8), 4, &[1; 4])).ends_with("codec 0x1234"));
        assert!(defect(&wav(40, &wav_fmt(1, 0, 16), 4, &[1; 4])).ends_with("its format contradicts itself"));
        assert!(defect(b"RIFF\x04\0\0\0WAVE").ends_with("it has no sound chunk"));
        let bare = [b"RIFF\x0c\0\0\0WAVEdata\0\0\0\0".as_slice()].concat();
        assert!(
            defect(&bare).contains("its sound comes before its format") || defect(&bare).contains("damaged")
        );
    }
}
