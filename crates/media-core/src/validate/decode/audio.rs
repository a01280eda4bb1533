//! Decodes every sample of a recording.

use super::{Defect, Format, MediaKind, expect_kind, undecodable, unreadable};
use crate::validate::inspector::{duration, inspect_reader};
use std::io::{Read, Result as IoResult, Seek, SeekFrom};
use std::time::Duration;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::{TrackType, probe::Hint};
use symphonia::core::io::{MediaSource, MediaSourceStream};

/// A source as symphonia wants it.
struct Measured<S> {
    source: S,
    length: u64,
}

impl<S: Read> Read for Measured<S> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        self.source.read(buffer)
    }
}

impl<S: Seek> Seek for Measured<S> {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        self.source.seek(to)
    }
}

impl<S: Read + Seek + Send + Sync> MediaSource for Measured<S> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// Decodes every sample and gives the length.
///
/// Of Opus there is no decoder (symphonia 0.6.1): its packets are walked once more instead, each with its
/// frame count and length, and the pages with their checksums. That finds damage but decodes nothing.
///
/// # Errors
/// [`Defect::Undecodable`] if the decoder refuses any packet, [`Defect::NoSound`] if there is none,
/// [`Defect::Unreadable`] if it cannot be read.
pub fn decode_audio(mut source: impl Read + Seek + Send + Sync, format: Format) -> Result<Duration, Defect> {
    expect_kind(format, MediaKind::Audio)?;
    if format == Format::Opus {
        let inspected = inspect_reader(source).map_err(|error| unreadable(&error))?;
        let inspection = inspected?.expect_format(format)?;
        return inspection.duration.ok_or(Defect::NoSound { format });
    }
    let failed = |error: Error| Defect::Undecodable {
        format,
        reason: error.to_string(),
    };
    let mut hint = Hint::new();
    hint.with_extension(format.name());
    let measured = source
        .seek(SeekFrom::End(0))
        .and_then(|length| source.rewind().map(|()| length));
    let length = measured.map_err(|error| unreadable(&error))?;
    let stream = MediaSourceStream::new(Box::new(Measured { source, length }), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&hint, stream, Default::default(), Default::default())
        .map_err(failed)?;
    let track = reader.default_track(TrackType::Audio);
    let Some((id, parameters)) =
        track.and_then(|track| Some((track.id, track.codec_params.as_ref()?.audio()?.clone())))
    else {
        return undecodable(format, "it has no sound track");
    };
    // FLAC carries a digest of its samples.
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &options)
        .map_err(failed)?;
    let (mut samples, mut rate) = (0, 0);
    while let Some(packet) = reader.next_packet().map_err(failed)? {
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(failed)?;
        samples += decoded.frames() as u64;
        rate = decoded.spec().rate();
    }
    if decoder.finalize().verify_ok == Some(false) {
        return undecodable(format, "its sound does not match its own digest");
    }
    match duration(samples, rate) {
        Some(duration) if samples > 0 => Ok(duration),
        _ => Err(Defect::NoSound { format }),
    }
}
