//! MP3 without an encoder: frames are written in the frequency domain, where a note is one line of the spectrum.
//!
//! The pure-Rust encoders on crates.io are ports of LGPL code. A melody needs none of what they are good at: with all
//! lines being 0 or ±1 there is one fixed code of four bits per four lines (Huffman table B of ISO 11172-3), and the
//! global gain sets the loudness.

use super::tune::Tune;

const RATE: u32 = 44_100;
const BITRATE: u32 = 64_000;
const GRANULE: usize = 576;

/// Bits, most significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        for shift in (0..width).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> shift & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.count % 8);
            }
            self.count += 1;
        }
    }
}

/// One granule's spectrum: the quadruples up to the highest line, each a 4-bit code (bits inverted) and its signs.
fn spectrum(lines: &[(usize, bool)]) -> Bits {
    let highest = lines.iter().map(|(line, _)| *line).max().unwrap_or(0);
    let mut bits = Bits::default();
    for start in (0..=highest).step_by(4) {
        let inside: Vec<_> = (start..start + 4)
            .filter_map(|at| lines.iter().find(|(line, _)| *line == at))
            .collect();
        let set = inside.iter().fold(0, |set, (line, _)| set | 8 >> (line - start));
        bits.put(15 - set, 4);
        for (_, negative) in inside {
            bits.put(u32::from(*negative), 1);
        }
    }
    bits
}

/// The lines of a granule. The phase of a steady tone moves on by a quarter turn or three per granule, depending on
/// the line, which is what the pattern of signs follows; it keeps the tone from rattling.
fn lines(tune: &Tune, granule: usize) -> Vec<(usize, bool)> {
    let ms = granule as f64 * GRANULE as f64 * 1000.0 / f64::from(RATE);
    let line = (tune.note(ms) * 2.0 * GRANULE as f64 / f64::from(RATE)) as usize;
    let turned = |line: usize| {
        let quarter = if line.is_multiple_of(2) {
            granule
        } else {
            3 * granule
        };
        quarter % 4 >= 2
    };
    vec![(line, turned(line)), (2 * line, turned(2 * line))]
}

/// MPEG-1 layer III, mono, 44.1 kHz, 64 kbit/s.
pub(crate) fn encode(tune: &Tune, title: Option<&str>) -> Vec<u8> {
    let mut file = title.map(id3).unwrap_or_default();
    let frames = tune.samples(RATE).div_ceil(2 * GRANULE).max(4);
    let mut owed = 0;
    for frame in 0..frames {
        // 144 * 64000 / 44100 is no whole number: some frames are one byte longer.
        owed += 144 * BITRATE % RATE;
        let padded = owed >= RATE;
        owed %= RATE;
        let length = (144 * BITRATE / RATE) as usize + usize::from(padded);
        let granules = [
            spectrum(&lines(tune, 2 * frame)),
            spectrum(&lines(tune, 2 * frame + 1)),
        ];
        file.extend_from_slice(&frame_of(&granules, length, padded));
    }
    file
}

fn frame_of(granules: &[Bits; 2], length: usize, padded: bool) -> Vec<u8> {
    let mut bits = Bits::default();
    // Sync, MPEG-1, layer III, no checksum; 64 kbit/s, 44.1 kHz, padding; mono, original.
    bits.put(0xfffb, 16);
    bits.put(0x50 | u32::from(padded) << 1, 8);
    bits.put(0xc4, 8);
    // Side information: no bit reservoir, private bits, no shared scale factors.
    bits.put(0, 9 + 5 + 4);
    for granule in granules {
        bits.put(granule.count as u32, 12);
        bits.put(0, 9); // no pairs: everything is in quadruples
        bits.put(196, 8); // global gain
        bits.put(0, 4 + 1 + 15 + 4 + 3 + 1 + 1);
        bits.put(1, 1); // table B
    }
    for granule in granules {
        for index in 0..granule.count {
            let byte = granule.bytes.get(index / 8).copied().unwrap_or(0);
            bits.put(u32::from(byte >> (7 - index % 8) & 1), 1);
        }
    }
    bits.bytes.resize(length, 0);
    bits.bytes
}

/// An ID3v2.4 tag with a title in UTF-8.
fn id3(title: &str) -> Vec<u8> {
    let text = [&[3], title.as_bytes()].concat();
    let frame = [b"TIT2".as_slice(), &synchsafe(text.len()), &[0, 0], &text].concat();
    [b"ID3\x04\0\0".as_slice(), &synchsafe(frame.len()), &frame].concat()
}

/// Seven bits per byte.
fn synchsafe(number: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift & 0x7f) as u8)
}
