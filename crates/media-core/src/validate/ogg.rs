//! Walks an Ogg file with one Vorbis or Opus stream: every page with its checksum and number, to the last one.
//!
//! A second stream, beside the first (multiplexed) or behind it (chained), is refused: what asked for one
//! recording got something else, and most programs play only the first.

use super::crc::Crc;
use super::defect::{Defect, corrupt, unsupported};
use super::inspector::Inspection;
use super::walk::{Step, Walk, array, head, tail};
use crate::format::Format;

/// Page flags (RFC 3533, 6).
const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Where the checksum stands in a page.
const CHECKSUM: usize = 22;

#[derive(Debug, Default)]
pub(super) struct Ogg {
    serial: u32,
    /// Number of the page that must come next.
    next_page: u32,
    codec: Option<Codec>,
    packets: u64,
    /// The beginning of a packet that goes on in the next page.
    open: Option<Vec<u8>>,
    /// Position of the first sample, once a page of sound told it.
    start: Option<u64>,
    /// Position after the last sample.
    position: u64,
    /// Length of the packets that ended since the last page with a position, in samples.
    pending: u64,
    /// Whether the page marked as the last one was there.
    last: bool,
}

#[derive(Clone, Copy, Debug)]
enum Codec {
    /// Rate, and the most samples that a packet adds.
    Vorbis { rate: u32, most: u64 },
    /// Samples at the start that are not to be heard.
    Opus { pre_skip: u16 },
}

/// Opus counts at this rate whatever it is told (RFC 7845, 4).
const OPUS_RATE: u32 = 48_000;

/// How much of a packet is looked at.
const PACKET_HEAD: usize = 32;

/// The length of an Opus packet in samples (RFC 6716, 3.1 and 3.2).
fn opus_samples(packet: &[u8]) -> Option<u64> {
    let &[toc, ref rest @ ..] = packet else {
        return None;
    };
    let config = u64::from(toc >> 3);
    let frame = match config {
        0..12 => [480, 960, 1920, 2880].get(usize::from(toc >> 3 & 3)).copied()?,
        12..16 => 480 << (config & 1),
        _ => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    // At most 120 ms.
    (frames > 0 && frames * frame <= 5760).then_some(frames * frame)
}

impl Ogg {
    fn family(&self) -> Format {
        if matches!(self.codec, Some(Codec::Opus { .. })) {
            Format::Opus
        } else {
            Format::Ogg
        }
    }

    fn page(&mut self, page: &[u8], lacing: &[u8], at: u64) -> Result<(), Defect> {
        let format = self.family();
        let damaged = |what: &'static str| corrupt(format, at, what);
        let (Some([version, flags]), Some(granule), Some(serial), Some(number), Some(stored)) = (
            array(page, 4),
            array(page, 6).map(u64::from_le_bytes),
            array(page, 14).map(u32::from_le_bytes),
            array(page, 18).map(u32::from_le_bytes),
            array(page, CHECKSUM).map(u32::from_le_bytes),
        ) else {
            return damaged("a page has no header");
        };
        let mut crc = Crc::ogg();
        crc.update(head(page, CHECKSUM));
        crc.update(&[0; 4]);
        crc.update(tail(page, CHECKSUM + 4));
        if crc.value() != stored {
            return damaged("the checksum of a page is wrong");
        }
        if version != 0 {
            return damaged("a page has an unknown version");
        }
        match (self.codec.is_some(), flags & FIRST != 0) {
            (false, false) => return damaged("its first page is missing"),
            (true, true) => return unsupported(format, "several streams in one file"),
            (true, false) if serial != self.serial => return damaged("a page belongs to another stream"),
            (true, false) if number != self.next_page => return damaged("a page is missing"),
            _ => {}
        }
        self.serial = serial;
        self.next_page = number.wrapping_add(1);
        if (flags & CONTINUED != 0) != self.open.is_some() {
            return damaged("part of a packet is missing");
        }
        let mut body = tail(page, 27 + lacing.len());
        let mut ended = false;
        for &length in lacing {
            let length = usize::from(length);
            let packet = self.open.get_or_insert_default();
            let room = PACKET_HEAD.saturating_sub(packet.len());
            packet.extend_from_slice(head(head(body, length), room));
            body = tail(body, length);
            if length < 255 {
                let packet = self.open.take().unwrap_or_default();
                self.packet(&packet, at)?;
                ended = true;
            }
        }
        // A position of -1 says that no packet ends here.
        if granule != u64::MAX {
            self.position(granule, flags & LAST != 0, at)?;
        } else if ended {
            return damaged("a page with the end of a packet has no position");
        }
        self.last = flags & LAST != 0;
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], at: u64) -> Result<(), Defect> {
        let number = self.packets;
        self.packets += 1;
        let wrong = |format| corrupt(format, at, "one of its header packets is missing");
        match (self.codec, number) {
            (None, _) => self.codec = Some(codec(packet, at)?),
            (Some(Codec::Vorbis { .. }), 1) if !packet.starts_with(b"\x03vorbis") => {
                return wrong(Format::Ogg);
            }
            (Some(Codec::Vorbis { .. }), 2) if !packet.starts_with(b"\x05vorbis") => {
                return wrong(Format::Ogg);
            }
            (Some(Codec::Vorbis { .. }), 1 | 2) => {}
            (Some(Codec::Opus { .. }), 1) if !packet.starts_with(b"OpusTags") => return wrong(Format::Opus),
            (Some(Codec::Opus { .. }), 1) => {}
            // The first packet only primes the decoder (Vorbis I, 1.3.2).
            (Some(Codec::Vorbis { most, .. }), n) => self.pending += if n == 3 { 0 } else { most },
            (Some(Codec::Opus { .. }), _) => match opus_samples(packet) {
                Some(samples) => self.pending += samples,
                None => return corrupt(Format::Opus, at, "a packet is malformed"),
            },
        }
        Ok(())
    }

    /// A page says at which sample it ends.
    fn position(&mut self, granule: u64, last: bool, at: u64) -> Result<(), Defect> {
        if granule < self.position || granule > i64::MAX as u64 {
            return corrupt(self.family(), at, "its positions go backwards");
        }
        if self.start.is_none() && self.pending > 0 {
            // A recording cut out of a longer one starts later; the page lacks what was cut off at the end, if it
            // is also the last one (RFC 7845, 4.4 and 4.5). For Vorbis packets count as if all were long.
            self.start = Some(if last && granule < self.pending {
                0
            } else {
                granule.saturating_sub(self.pending)
            });
        }
        self.position = granule;
        self.pending = 0;
        Ok(())
    }
}

/// What the first packet says the stream is.
fn codec(packet: &[u8], at: u64) -> Result<Codec, Defect> {
    if packet.starts_with(b"\x01vorbis") {
        let malformed = || corrupt(Format::Ogg, at, "its Vorbis header is malformed");
        let (Some([0, 0, 0, 0, channels, r0, r1, r2, r3]), Some([sizes, framing])) =
            (array(packet, 7), array(packet, 28))
        else {
            return malformed();
        };
        let rate = u32::from_le_bytes([r0, r1, r2, r3]);
        let (short, long) = (sizes & 0xf, sizes >> 4);
        if channels == 0 || rate == 0 || framing & 1 == 0 || short < 6 || long > 13 || short > long {
            return malformed();
        }
        // Two overlapping halves of long blocks.
        return Ok(Codec::Vorbis {
            rate,
            most: 1 << (long - 1),
        });
    }
    if packet.starts_with(b"OpusHead") {
        let Some([version, channels, p0, p1]) = array(packet, 8) else {
            return corrupt(Format::Opus, at, "its Opus header is malformed");
        };
        if version >= 16 || channels == 0 || packet.len() < 19 {
            return corrupt(Format::Opus, at, "its Opus header is malformed");
        }
        return Ok(Codec::Opus {
            pre_skip: u16::from_le_bytes([p0, p1]),
        });
    }
    let other: [(&[u8], &str); 6] = [
        (b"\x80theora", "Theora video"),
        (b"Speex   ", "Speex"),
        (b"\x7fFLAC", "FLAC inside Ogg"),
        (b"fishead\0", "a skeleton with several streams"),
        (b"BBCD\0", "Dirac video"),
        (b"\x01video", "video"),
    ];
    match other.iter().find(|(magic, _)| packet.starts_with(magic)) {
        Some((_, name)) => unsupported(Format::Ogg, *name),
        None => unsupported(
            Format::Ogg,
            format!("unknown codec {}", super::sniff::excerpt(head(packet, 8), true)),
        ),
    }
}

impl Walk for Ogg {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        if self.last {
            return Ok(Step::End);
        }
        if !window.starts_with(head(b"OggS", window.len())) {
            return corrupt(self.family(), at, "there is no page where one should begin");
        }
        let Some([segments]) = array(window, 26) else {
            return Ok(Step::More(27));
        };
        let segments = usize::from(segments);
        let Some(lacing) = window.get(27..27 + segments) else {
            return Ok(Step::More(27 + segments));
        };
        let length = 27 + segments + lacing.iter().map(|&n| usize::from(n)).sum::<usize>();
        let Some(page) = window.get(..length) else {
            return Ok(Step::More(length));
        };
        self.page(page, lacing, at)?;
        Ok(Step::Used(length as u64))
    }

    fn end(&mut self, rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        if !self.last || !rest.is_empty() || self.open.is_some() {
            return Err(self.truncated(at));
        }
        let samples = self.position.saturating_sub(self.start.unwrap_or(self.position));
        match self.codec {
            Some(Codec::Vorbis { rate, .. }) => Inspection::sound(Format::Ogg, samples, rate),
            Some(Codec::Opus { pre_skip }) => {
                Inspection::sound(Format::Opus, samples.saturating_sub(pre_skip.into()), OPUS_RATE)
            }
            None => Err(self.truncated(at)),
        }
    }

    fn format(&self) -> Format {
        self.family()
    }

    fn missing(&self) -> &'static str {
        if self.open.is_some() {
            "its last packet is complete"
        } else {
            "the page that is marked as its last"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::opus_samples;
    use crate::format::Format;
    use crate::validate::tests::{fixture, nothing_else_passes, passes};
    use crate::validate::{Defect, inspect};
    use ogg::writing::{PacketWriteEndInfo as End, PacketWriter};
    use std::time::Duration;

    fn head(pre_skip: u16) -> Vec<u8> {
        [
            b"OpusHead\x01\x01".as_slice(),
            &pre_skip.to_le_bytes(),
            &48_000u32.to_le_bytes(),
            b"\0\0\0",
        ]
        .concat()
    }

    /// Packets of 20 ms that end at these positions, each on its own page.
    fn opus(pre_skip: u16, positions: &[u64], last: End) -> Vec<u8> {
        let mut writer = PacketWriter::new(Vec::new());
        writer.write_packet(head(pre_skip), 7, End::EndPage, 0).unwrap();
        writer
            .write_packet(b"OpusTags\0\0\0\0\0\0\0\0".to_vec(), 7, End::EndPage, 0)
            .unwrap();
        for (n, &position) in positions.iter().enumerate() {
            let info = if n + 1 == positions.len() {
                last
            } else {
                End::EndPage
            };
            writer.write_packet(vec![0x78; 700], 7, info, position).unwrap();
        }
        writer.into_inner()
    }

    fn defect(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    #[test]
    fn pages_of_another_writer_pass() {
        let file = opus(312, &[960, 1920, 2500], End::EndStream);
        let sound = passes(&file);
        assert_eq!(
            (sound.format, sound.duration),
            (Format::Opus, super::super::inspector::duration(2188, 48_000))
        );
        nothing_else_passes(&file);
    }

    #[test]
    fn a_start_behind_zero_is_taken_off() {
        let sound = passes(&opus(480, &[960_000, 960_960], End::EndStream));
        assert_eq!(sound.duration, Some(Duration::from_millis(30)));
        // A last page that is also the first cannot start behind zero: it is trimmed at the end.
        let sound = passes(&opus(0, &[480], End::EndStream));
        assert_eq!(sound.duration, Some(Duration::from_millis(10)));
    }

    #[test]
    fn packets_last_as_their_first_byte_says() {
        let length = |packet: &[u8]| opus_samples(packet).map(|samples| samples / 48);
        assert_eq!(length(&[0x00]), Some(10));
        assert_eq!(length(&[0x18]), Some(60));
        assert_eq!(length(&[0x61]), Some(20));
        assert_eq!(length(&[0xfb, 0x05]), Some(100));
        assert_eq!(opus_samples(&[0x80]), Some(120));
        assert_eq!(length(&[0x1b, 0x03]), None);
        assert_eq!(length(&[0x03]), None);
        assert_eq!(length(&[]), None);
    }

    #[test]
    fn broken_structure_is_named() {
        let open = opus(0, &[960, 1920], End::EndPage);
        let length = open.len();
        let message = format!(
            "an Opus file that ends before the page that is marked as its last, after {length} bytes"
        );
        assert_eq!(defect(&open), message);
        assert!(defect(&opus(0, &[1920, 960], End::EndStream)).ends_with("its positions go backwards"));
        assert_eq!(
            inspect(&opus(0, &[], End::EndStream)).unwrap_err().to_string(),
            defect(&opus(0, &[], End::EndPage))
        );
        assert_eq!(
            inspect(&opus(960, &[960], End::EndStream)),
            Err(Defect::NoSound { format: Format::Opus })
        );
        let mut writer = PacketWriter::new(Vec::new());
        writer
            .write_packet(b"Speex   1.2".to_vec(), 1, End::EndStream, 0)
            .unwrap();
        assert!(defect(&writer.into_inner()).ends_with("of a kind that is not accepted: Speex"));
        // A page that got lost on the way.
        let vorbis = fixture("lavf.opus");
        let pages: Vec<usize> = (0..vorbis.len())
            .filter(|&at| vorbis[at..].starts_with(b"OggS"))
            .collect();
        let whole = opus(0, &[960, 1920, 2880], End::EndStream);
        let starts: Vec<usize> = (0..whole.len())
            .filter(|&at| whole[at..].starts_with(b"OggS"))
            .collect();
        let lost = [&whole[..starts[3]], &whole[starts[4]..]].concat();
        assert!(defect(&lost).ends_with("a page is missing"), "{}", defect(&lost));
        assert!(defect(&vorbis[pages[1]..]).ends_with("its first page is missing"));
        // Two streams side by side, and one behind the other.
        let beside = [&whole[..starts[1]], &opus(1, &[960], End::EndPage)].concat();
        assert!(defect(&beside).ends_with("several streams in one file"));
        assert!(defect(&[&whole[..], &whole].concat()).contains("bytes after its end"));
    }
}
