//! Ogg Vorbis without an encoder: a Vorbis file brings its own code tables, so a file of one-line spectra can bring
//! very small ones. (libvorbis wrappers need C and pkg-config.)
//!
//! One floor without partitions gives the loudness, one residue with the values -1, 0 and 1 gives the notes.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use super::tune::Tune;

const RATE: u32 = 44_100;
/// Lines per block; both block sizes are twice that.
const LINES: usize = 512;
const PARTITION: usize = 16;
const SERIAL: u32 = 0x7369_6d02;

/// Bits, least significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        for shift in 0..width {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> shift & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (self.count % 8);
            }
            self.count += 1;
        }
    }
}

fn identification() -> Vec<u8> {
    let mut packet = b"\x01vorbis\0\0\0\0\x01".to_vec();
    packet.extend_from_slice(&RATE.to_le_bytes());
    packet.extend_from_slice(&0_u32.to_le_bytes());
    packet.extend_from_slice(&64_000_u32.to_le_bytes());
    packet.extend_from_slice(&0_u32.to_le_bytes());
    // Both block sizes are 2^10; then the framing bit.
    packet.extend_from_slice(&[0xaa, 1]);
    packet
}

fn comment() -> Vec<u8> {
    let vendor = b"media-sim";
    [
        b"\x03vorbis".as_slice(),
        &(vendor.len() as u32).to_le_bytes(),
        vendor,
        &[0, 0, 0, 0, 1],
    ]
    .concat()
}

/// 1.0 in Vorbis' own float form: mantissa 1, exponent biased by 788.
const ONE: u32 = 788 << 21 | 1;

fn setup() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(1, 8); // two code books
    // Book 0 tells the class of a partition: 0 = silent, 1 = holds notes.
    bits.put(0x0056_4342, 24);
    bits.put(1, 16);
    bits.put(2, 24);
    bits.put(0, 2); // lengths neither ordered nor sparse
    bits.put(0, 5);
    bits.put(0, 5);
    bits.put(0, 4); // no values
    // Book 1 tells a line: -1, 0 or 1 in 2, 1 or 2 bits.
    bits.put(0x0056_4342, 24);
    bits.put(1, 16);
    bits.put(3, 24);
    bits.put(0, 2);
    for length in [2, 1, 2] {
        bits.put(length - 1, 5);
    }
    bits.put(1, 4);
    bits.put(1 << 31 | ONE, 32);
    bits.put(ONE, 32);
    bits.put(2 - 1, 4);
    bits.put(0, 1);
    for value in 0..3 {
        bits.put(value, 2);
    }
    bits.put(0, 6); // one time transform, a placeholder of the format
    bits.put(0, 16);
    bits.put(0, 6); // one floor of type 1: no partitions, multiplier 1, up to line 2^9
    bits.put(1, 16);
    bits.put(0, 5);
    bits.put(0, 2);
    bits.put(9, 4);
    bits.put(0, 6); // one residue of type 1
    bits.put(1, 16);
    bits.put(0, 24);
    bits.put(LINES as u32, 24);
    bits.put(PARTITION as u32 - 1, 24);
    bits.put(1, 6); // two classes
    bits.put(0, 8); // told by book 0
    bits.put(0, 3 + 1); // class 0 has no books
    bits.put(1, 3 + 1); // class 1 has one, in the first pass
    bits.put(1, 8); // namely book 1
    bits.put(0, 6); // one mapping, without submaps or coupling
    bits.put(0, 16);
    bits.put(0, 1 + 1 + 2);
    bits.put(0, 8 + 8 + 8);
    bits.put(0, 6); // one mode, of the short block size
    bits.put(0, 1 + 16);
    bits.put(0, 16 + 8);
    bits.put(1, 1);
    [b"\x05vorbis".as_slice(), &bits.bytes].concat()
}

fn audio(tune: &Tune, block: usize) -> Vec<u8> {
    let ms = block as f64 * LINES as f64 * 1000.0 / f64::from(RATE);
    let note = (tune.note(ms) * 2.0 * LINES as f64 / f64::from(RATE)) as usize;
    let mut bits = Bits::default();
    bits.put(0, 1); // audio
    bits.put(1, 1); // not silent
    bits.put(LOUDNESS, 8);
    bits.put(LOUDNESS, 8);
    for partition in 0..LINES / PARTITION {
        let lines = partition * PARTITION..(partition + 1) * PARTITION;
        if ![note, 2 * note].iter().any(|line| lines.contains(line)) {
            bits.put(0, 1);
            continue;
        }
        bits.put(1, 1);
        for line in lines {
            let negative = (if line.is_multiple_of(2) { block } else { 3 * block }) % 4 >= 2;
            // A code's first bit is the top of its tree: -1 is 00, 0 is 1, 1 is 01.
            match (line == note || line == 2 * note, negative) {
                (false, _) => bits.put(1, 1),
                (true, true) => bits.put(0b00, 2),
                (true, false) => bits.put(0b10, 2),
            }
        }
    }
    bits.bytes
}

/// An index into the floor's table of amplitudes, which rises by about half a decibel per step up to 1.0.
const LOUDNESS: u32 = 225;

/// Mono, 44.1 kHz.
pub(crate) fn encode(tune: &Tune) -> Vec<u8> {
    pages(tune).unwrap_or_default()
}

fn pages(tune: &Tune) -> std::io::Result<Vec<u8>> {
    let mut writer = PacketWriter::new(Vec::new());
    writer.write_packet(identification(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    writer.write_packet(comment(), SERIAL, PacketWriteEndInfo::NormalPacket, 0)?;
    writer.write_packet(setup(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    // The first block only primes the overlap and yields no sound.
    let blocks = tune.samples(RATE).div_ceil(LINES).max(4) + 1;
    for block in 0..blocks {
        let end = match (block + 1 == blocks, block % 64) {
            (true, _) => PacketWriteEndInfo::EndStream,
            (_, 63) => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        writer.write_packet(audio(tune, block), SERIAL, end, (block * LINES) as u64)?;
    }
    Ok(writer.into_inner())
}
