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
    let &[toc, ref rest @ ..] = packet else { return None };
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
        if matches!(self.codec, Some(Codec::Opus { .. })) { Format::Opus } else { Format::Ogg }
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
            (Some(Codec::Vorbis { .. }), 1) if !packet.starts_with(b"\x03vorbis") => return wrong(Format::Ogg),
            (Some(Codec::Vorbis { .. }), 2) if !packet.starts_with(b"\x05vorbis") => return wrong(Format::Ogg),
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
            self.start = Some(if last && granule < self.pending { 0 } else { granule.saturating_sub(self.pending) });
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
        return Ok(Codec::Vorbis { rate, most: 1 << (long - 1) });
    }
    if packet.starts_with(b"OpusHead") {
        let Some([version, channels, p0, p1]) = array(packet, 8) else {
            return corrupt(Format::Opus, at, "its Opus header is malformed");
        };
        if version >= 16 || channels == 0 || packet.len() < 19 {
            return corrupt(Format::Opus, at, "its Opus header is malformed");
        }
        return Ok(Codec::Opus { pre_skip: u16::from_le_bytes([p0, p1]) });
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
        None => {
            unsupported(Format::Ogg, format!("unknown codec {}", super::sniff::excerpt(head(packet, 8), true)))
        }
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
        let Some([segments]) = array(window, 26) else { return Ok(Step::More(27)) };
        let segments = usize::from(segments);
        let Some(lacing) = window.get(27..27 + segments) else { return Ok(Step::More(27 + segments)) };
        let length = 27 + segments + lacing.iter().map(|&n| usize::from(n)).sum::<usize>();
        let Some(page) = window.get(..length) else { return Ok(Step::More(length)) };
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
        if self.open.is_some() { "its last packet is complete" } else { "the page that is marked as its last" }
    }
}
