//! Feeds the bytes of one file, as they pass, to the walker of its format.

use super::defect::Defect;
use super::sniff::{self, SNIFF, Sniffed};
use super::walk::{Feeder, Walk, head, tail};
use super::{flac, gif, jpeg, mp3, ogg, png, wav, webp};
use crate::format::Format;
use std::io::{self, Read};
use std::time::Duration;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dimensions {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Bytes to write over a file so that its header tells the truth.
///
/// Programs that write to a pipe cannot go back to fill in sizes and leave placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// Where they belong.
    pub offset: u64,
    /// What belongs there. The file never gets longer by it.
    pub bytes: Vec<u8>,
}

/// What a whole, sound file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What the bytes are, whatever any header or name says.
    pub format: Format,
    /// Size of a picture.
    pub dimensions: Option<Dimensions>,
    /// Length of a recording. For Vorbis it is a little rough if the stream does not start at zero.
    pub duration: Option<Duration>,
    /// What to repair in place. Usually nothing.
    pub mends: Vec<Mend>,
}

impl Inspection {
    pub(super) fn picture(format: Format, dimensions: Dimensions) -> Self {
        Self {
            format,
            dimensions: Some(dimensions),
            duration: None,
            mends: Vec::new(),
        }
    }

    /// A recording of `samples` at `rate` per second; refuses silence of no length.
    pub(super) fn sound(format: Format, samples: u64, rate: u32) -> Result<Self, Defect> {
        match duration(samples, rate) {
            Some(duration) if !duration.is_zero() => Ok(Self {
                format,
                dimensions: None,
                duration: Some(duration),
                mends: Vec::new(),
            }),
            _ => Err(Defect::NoSound { format }),
        }
    }

    /// Refuses what may not stand under a name that asks for `wanted`.
    ///
    /// # Errors
    /// [`Defect::WrongFormat`].
    pub fn expect_format(self, wanted: Format) -> Result<Self, Defect> {
        if self.format.satisfies(wanted) {
            Ok(self)
        } else {
            Err(Defect::WrongFormat {
                found: self.format,
                wanted,
            })
        }
    }
}

/// `samples` at `rate` per second as time; nothing without a rate.
pub(super) fn duration(samples: u64, rate: u32) -> Option<Duration> {
    let rate = u64::from(rate);
    let seconds = samples.checked_div(rate)?;
    let nanos = (samples % rate) * 1_000_000_000 / rate;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// Told the bytes of one file as they pass, in chunks of any size, says whether the file is whole.
///
/// Holds a few kilobytes, never the media; the most is one Ogg page, 64 kB.
#[derive(Debug)]
pub struct Inspector {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Too little is known to tell the format.
    Front(Vec<u8>),
    Walking(Feeder),
    /// Refused already. More bytes do not change that.
    Refused(Defect),
}

impl Inspector {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Front(Vec::new()),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// As soon as it is certain that the file is bad, so that the rest need not be fetched; from then on always
    /// the same. Fine so far is no promise: only [`finish`](Self::finish) can say that it is whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Defect> {
        let result = match &mut self.state {
            State::Front(front) => {
                let room = SNIFF.saturating_sub(front.len());
                front.extend_from_slice(head(bytes, room));
                if front.len() < SNIFF {
                    return Ok(());
                }
                let front = std::mem::take(front);
                self.begin(&front).and_then(|mut feeder| {
                    feeder.push(tail(bytes, room))?;
                    self.state = State::Walking(feeder);
                    Ok(())
                })
            }
            State::Walking(feeder) => feeder.push(bytes),
            State::Refused(defect) => return Err(defect.clone()),
        };
        if let Err(defect) = &result {
            self.state = State::Refused(defect.clone());
        }
        result
    }

    /// The file is over.
    ///
    /// # Errors
    /// If it is not a whole file of a known format.
    pub fn finish(self) -> Result<Inspection, Defect> {
        match self.state {
            State::Front(front) if front.is_empty() => Err(Defect::Empty),
            State::Front(ref front) => self.begin(front)?.finish(),
            State::Walking(feeder) => feeder.finish(),
            State::Refused(defect) => Err(defect),
        }
    }

    /// Whether what has come begins as media, whatever is wrong with them since.
    pub(crate) fn is_media(&self) -> bool {
        match &self.state {
            State::Front(_) => false,
            State::Walking(_) => true,
            State::Refused(defect) => !matches!(defect, Defect::NotMedia { .. }),
        }
    }

    fn begin(&self, front: &[u8]) -> Result<Feeder, Defect> {
        let walk: Box<dyn Walk> = match sniff::sniff(front) {
            Sniffed::Else(found) => return Err(Defect::NotMedia { found }),
            Sniffed::Media(Format::Png) => Box::new(png::Png::default()),
            Sniffed::Media(Format::Jpeg) => Box::new(jpeg::Jpeg::default()),
            Sniffed::Media(Format::Webp) => Box::new(webp::Webp::default()),
            Sniffed::Media(Format::Gif) => Box::new(gif::Gif::default()),
            Sniffed::Media(Format::Mp3) => Box::new(mp3::Mp3::default()),
            Sniffed::Media(Format::Wav) => Box::new(wav::Wav::default()),
            Sniffed::Media(Format::Ogg | Format::Opus) => Box::new(ogg::Ogg::default()),
            Sniffed::Media(Format::Flac) => Box::new(flac::Flac::default()),
        };
        let mut feeder = Feeder::new(walk);
        feeder.push(front)?;
        Ok(feeder)
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

/// Inspects a file that is in memory.
///
/// # Errors
/// If it is not a whole file of a known format.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Defect> {
    let mut inspector = Inspector::new();
    inspector.push(bytes)?;
    inspector.finish()
}

/// Inspects what a reader gives, to its end or to the first certain defect.
///
/// # Errors
/// The outer one if reading fails, the inner one if what was read is bad.
pub fn inspect_reader(mut reader: impl Read) -> io::Result<Result<Inspection, Defect>> {
    let mut inspector = Inspector::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => return Ok(inspector.finish()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Err(defect) = inspector.push(head(&buffer, n)) {
            return Ok(Err(defect));
        }
    }
}
