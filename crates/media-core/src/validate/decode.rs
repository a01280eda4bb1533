//! Decodes a file fully with the libraries, under limits: validation level "full".
//!
//! Run it after the walk and not instead: decoders forgive what an inspection does not.

use super::defect::Defect;
#[cfg(feature = "decode-image")]
use super::inspector::Dimensions;
use crate::format::{Format, MediaKind};

fn undecodable<T>(format: Format, reason: impl std::fmt::Display) -> Result<T, Defect> {
    Err(Defect::Undecodable {
        format,
        reason: reason.to_string(),
    })
}

fn unreadable(error: &std::io::Error) -> Defect {
    Defect::Unreadable {
        reason: error.to_string(),
    }
}

/// A caller's mistake, answered as a file of the wrong kind.
fn expect_kind(format: Format, kind: MediaKind) -> Result<(), Defect> {
    if format.kind() == kind {
        Ok(())
    } else {
        undecodable(format, format!("it holds no {kind}"))
    }
}

#[cfg(feature = "decode-audio")]
pub use audio::decode_audio;
#[cfg(feature = "decode-image")]
pub use picture::{DecodeLimits, decode_image};

#[cfg(feature = "decode-image")]
mod picture {
    use super::{Defect, Dimensions, Format, MediaKind, expect_kind, undecodable, unreadable};
    use crate::validate::jpeg::scans;
    use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
    use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageError, ImageResult};
    use std::io::{BufRead, BufReader, Read, Seek};
    use zune_jpeg::zune_core::{bytestream::ZCursor, options::DecoderOptions};

    /// How much decoding may take.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DecodeLimits {
        /// Pixels of the picture, or of the canvas of an animation.
        pub max_pixels: u64,
        /// Memory for the decoded picture and what the decoder needs beside it.
        pub max_bytes: u64,
    }

    impl Default for DecodeLimits {
        fn default() -> Self {
            Self {
                max_pixels: 100_000_000,
                max_bytes: 1 << 30,
            }
        }
    }

    /// A small file can hold very many large frames; all of them together may take so many canvases.
    const MAX_FRAMES: u64 = 10_000;

    /// Decodes every pixel, of animations every frame, and gives the size.
    ///
    /// JPEG is decoded strictly: leniently, one with most of its data missing is "fine" but grey (image 0.25.10).
    ///
    /// # Errors
    /// [`Defect::Undecodable`] if the decoder refuses it, [`Defect::TooLarge`] if the limits do not allow it (told
    /// from the header alone), [`Defect::Unreadable`] if it cannot be read.
    pub fn decode_image(
        source: impl Read + Seek,
        format: Format,
        limits: DecodeLimits,
    ) -> Result<Dimensions, Defect> {
        expect_kind(format, MediaKind::Image)?;
        let mut file = BufReader::new(source);
        match format {
            Format::Jpeg => jpeg(file, limits),
            Format::Gif => still_or_frames(GifDecoder::new(file), format, limits, |_| Ok(true)),
            Format::Webp => still_or_frames(WebPDecoder::new(file), format, limits, |webp| {
                Ok(webp.has_animation())
            }),
            Format::Png => png(&mut file, limits),
            Format::Mp3 | Format::Wav | Format::Ogg | Format::Opus | Format::Flac => {
                undecodable(format, "it holds no image")
            }
        }
    }

    fn check_size(
        format: Format,
        (width, height): (u32, u32),
        limits: DecodeLimits,
    ) -> Result<Dimensions, Defect> {
        if u64::from(width) * u64::from(height) > limits.max_pixels {
            let what = format!(
                "{width} x {height} pixels, with a limit of {} pixels",
                limits.max_pixels
            );
            return Err(Defect::TooLarge { format, what });
        }
        Ok(Dimensions { width, height })
    }

    fn check_bytes(format: Format, bytes: u64, limits: DecodeLimits) -> Result<(), Defect> {
        if bytes > limits.max_bytes {
            let what = format!(
                "{bytes} bytes of memory, with a limit of {} bytes",
                limits.max_bytes
            );
            return Err(Defect::TooLarge { format, what });
        }
        Ok(())
    }

    fn image_defect(format: Format, error: &ImageError, limits: DecodeLimits) -> Defect {
        match error {
            ImageError::Limits(_) => too_much_memory(format, limits),
            error => Defect::Undecodable {
                format,
                reason: error.to_string(),
            },
        }
    }

    fn too_much_memory(format: Format, limits: DecodeLimits) -> Defect {
        let what = format!("more memory than the limit of {} bytes", limits.max_bytes);
        Defect::TooLarge { format, what }
    }

    fn still_or_frames<D: ImageDecoder + IntoFrames>(
        decoder: ImageResult<D>,
        format: Format,
        limits: DecodeLimits,
        animated: impl FnOnce(&D) -> ImageResult<bool>,
    ) -> Result<Dimensions, Defect> {
        let defect = |error: ImageError| image_defect(format, &error, limits);
        let mut decoder = decoder.map_err(defect)?;
        let dimensions = check_size(format, decoder.dimensions(), limits)?;
        check_bytes(format, decoder.total_bytes(), limits)?;
        let mut library = image::Limits::no_limits();
        library.max_alloc = Some(limits.max_bytes);
        decoder.set_limits(library).map_err(defect)?;
        if !animated(&decoder).map_err(defect)? {
            DynamicImage::from_decoder(decoder).map_err(defect)?;
            return Ok(dimensions);
        }
        let mut count = 0;
        for frame in decoder.frames().map_err(defect)? {
            frame.map_err(defect)?;
            count += 1;
            if count > MAX_FRAMES {
                return Err(Defect::TooLarge {
                    format,
                    what: format!("more than {MAX_FRAMES} frames"),
                });
            }
        }
        if count == 0 {
            undecodable(format, "it has no frame")
        } else {
            Ok(dimensions)
        }
    }

    /// What can give its frames, if it has any.
    trait IntoFrames {
        fn frames<'a>(self) -> ImageResult<Frames<'a>>
        where
            Self: 'a;
    }

    impl<R: std::io::BufRead + std::io::Seek> IntoFrames for GifDecoder<R> {
        fn frames<'a>(self) -> ImageResult<Frames<'a>>
        where
            Self: 'a,
        {
            Ok(self.into_frames())
        }
    }

    impl<R: std::io::BufRead + std::io::Seek> IntoFrames for WebPDecoder<R> {
        fn frames<'a>(self) -> ImageResult<Frames<'a>>
        where
            Self: 'a,
        {
            Ok(self.into_frames())
        }
    }

    impl<R: std::io::BufRead + std::io::Seek> IntoFrames for PngDecoder<R> {
        fn frames<'a>(self) -> ImageResult<Frames<'a>>
        where
            Self: 'a,
        {
            Ok(self.apng()?.into_frames())
        }
    }

    /// Row by row, so that no picture is kept. The default picture of an animated PNG need not be one of its frames,
    /// so it is decoded first in any case.
    fn png(file: &mut (impl BufRead + Seek), limits: DecodeLimits) -> Result<Dimensions, Defect> {
        let failed = |error: png::DecodingError| match error {
            png::DecodingError::LimitsExceeded => too_much_memory(Format::Png, limits),
            error => Defect::Undecodable {
                format: Format::Png,
                reason: error.to_string(),
            },
        };
        let memory = png::Limits {
            bytes: usize::try_from(limits.max_bytes).unwrap_or(usize::MAX),
        };
        let mut decoder = png::Decoder::new_with_limits(&mut *file, memory);
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().map_err(failed)?;
        let dimensions = check_size(Format::Png, reader.info().size(), limits)?;
        let bytes = reader.output_buffer_size().unwrap_or(usize::MAX);
        check_bytes(Format::Png, bytes as u64, limits)?;
        let animated = reader.info().is_animated();
        while reader.next_row().map_err(failed)?.is_some() {}
        reader.finish().map_err(failed)?;
        if animated {
            file.rewind().map_err(|error| unreadable(&error))?;
            still_or_frames(PngDecoder::new(file), Format::Png, limits, |_| Ok(true))?;
        }
        Ok(dimensions)
    }

    /// More bytes than the decoder of JPEGs reads ahead.
    const READ_AHEAD: usize = 32;

    fn jpeg(file: impl Read, limits: DecodeLimits) -> Result<Dimensions, Defect> {
        let mut bytes = Vec::new();
        file.take(limits.max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&error))?;
        let length = bytes.len() as u64;
        check_bytes(Format::Jpeg, length, limits)?;
        // Data that is missing in front of the end-of-image marker is read as zeros without a word; only at the end
        // of the buffer is it an error (zune-jpeg 0.5.15, strict). So ones go in front of that marker, which the walk has
        // seen: no Huffman code is all ones, so whoever needs them lacks data, and whoever only reads ahead does not mind.
        // With several scans nothing may stand there, or the next scan is missed.
        if scans(&bytes) < 2 && bytes.ends_with(&[0xff, 0xd9]) {
            bytes.truncate(bytes.len() - 2);
            bytes.extend([0xff, 0x00].repeat(READ_AHEAD));
            bytes.extend([0xff, 0xd9]);
        }
        let side = usize::from(u16::MAX);
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(side)
            .set_max_height(side);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
        let failed = |error: zune_jpeg::errors::DecodeErrors| Defect::Undecodable {
            format: Format::Jpeg,
            reason: error.to_string(),
        };
        decoder.decode_headers().map_err(failed)?;
        let (Some(info), Some(size)) = (decoder.info(), decoder.output_buffer_size()) else {
            return undecodable(Format::Jpeg, "it has no frame header");
        };
        let dimensions = check_size(Format::Jpeg, (info.width.into(), info.height.into()), limits)?;
        // A progressive picture is held as 16-bit coefficients until its last scan.
        check_bytes(Format::Jpeg, length + 3 * size as u64, limits)?;
        decoder.decode().map_err(failed)?;
        Ok(dimensions)
    }
}

#[cfg(feature = "decode-audio")]
mod audio {
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
    pub fn decode_audio(
        mut source: impl Read + Seek + Send + Sync,
        format: Format,
    ) -> Result<Duration, Defect> {
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
}

#[cfg(test)]
#[cfg(all(feature = "decode-image", feature = "decode-audio"))]
mod tests {
    use super::*;
    use crate::validate::encoders::{flac, picture, wav, wav_fmt};
    use crate::validate::inspect;
    use crate::validate::tests::{FIXTURES, fixture};
    use image::ImageFormat;
    use std::io::Cursor;
    use std::time::Duration;

    fn image(bytes: &[u8], format: Format) -> Result<Dimensions, Defect> {
        decode_image(Cursor::new(bytes), format, DecodeLimits::default())
    }

    fn audio(bytes: &[u8], format: Format) -> Result<Duration, Defect> {
        decode_audio(Cursor::new(bytes), format)
    }

    #[test]
    fn every_fixture_decodes_to_what_the_walk_said() {
        for fixture in &FIXTURES {
            let inspection = inspect(fixture.bytes).unwrap();
            let mut bytes = fixture.bytes.to_vec();
            for mend in &inspection.mends {
                let at = mend.offset as usize;
                bytes[at..at + mend.bytes.len()].copy_from_slice(&mend.bytes);
            }
            match inspection.duration {
                None => assert_eq!(
                    image(&bytes, inspection.format).ok(),
                    inspection.dimensions,
                    "{}",
                    fixture.name
                ),
                Some(said) => {
                    let heard =
                        audio(&bytes, inspection.format).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
                    // MP3 decoders drop the encoder's delay and padding, up to three frames.
                    let off = said.abs_diff(heard);
                    assert!(
                        off < Duration::from_millis(160),
                        "{}: {said:?} {heard:?}",
                        fixture.name
                    );
                }
            }
        }
    }

    #[test]
    fn other_encoders_decode() {
        for (format, theirs) in [
            (Format::Png, ImageFormat::Png),
            (Format::Jpeg, ImageFormat::Jpeg),
            (Format::Webp, ImageFormat::WebP),
        ] {
            let size = Dimensions {
                width: 60,
                height: 50,
            };
            assert_eq!(image(&picture(60, 50, theirs), format), Ok(size));
        }
        audio(fixture("cbr-plain.mp3"), Format::Mp3).unwrap();
        audio(&flac(), Format::Flac).unwrap();
        audio(&wav(136, &wav_fmt(1, 1, 16), 100, &[1; 100]), Format::Wav).unwrap();
    }

    /// The walk cannot see this: half of the picture is gone, but the end is there.
    #[test]
    fn a_jpeg_without_half_of_its_data_is_refused() {
        for jpeg in [
            picture(256, 256, ImageFormat::Jpeg),
            fixture("restarts.jpg").to_vec(),
        ] {
            let mut half = jpeg[..jpeg.len() * 3 / 4].to_vec();
            half.extend(b"\xff\xd9");
            inspect(&half).unwrap();
            let defect = image(&half, Format::Jpeg).unwrap_err();
            assert!(matches!(defect, Defect::Undecodable { .. }), "{defect:?}");
        }
        // A thumbnail's scan is none of the picture's.
        let mut shown = picture(256, 256, ImageFormat::Jpeg);
        shown.splice(2..2, *b"\xff\xe1\0\x0aExif\xff\xd8\xff\xda");
        image(&shown, Format::Jpeg).unwrap();
        shown.truncate(shown.len() * 3 / 4);
        shown.extend(b"\xff\xd9");
        image(&shown, Format::Jpeg).unwrap_err();
        let plain = fixture("plain.jpg");
        let scan = memchr::memmem::rfind(plain, b"\xff\xda").unwrap() + 14;
        for end in scan..plain.len() - 4 {
            let cut = [&plain[..end], b"\xff\xd9"].concat();
            assert!(
                image(&cut, Format::Jpeg).is_err(),
                "cut at {end} of {}",
                plain.len()
            );
        }
    }

    #[test]
    fn damage_inside_is_refused() {
        let mut webp = picture(256, 256, ImageFormat::WebP);
        webp[20..120].fill(0xff);
        assert!(image(&webp, Format::Webp).is_err());
        let mut gif = picture(64, 64, ImageFormat::Gif);
        let middle = gif.len() / 2;
        gif[middle..middle + 100].fill(0xff);
        assert!(image(&gif, Format::Gif).is_err());
    }

    #[test]
    fn limits_hold_before_decoding() {
        let limits = DecodeLimits {
            max_pixels: 100,
            ..DecodeLimits::default()
        };
        for (format, theirs) in [
            (Format::Png, ImageFormat::Png),
            (Format::Jpeg, ImageFormat::Jpeg),
            (Format::Webp, ImageFormat::WebP),
            (Format::Gif, ImageFormat::Gif),
        ] {
            let picture = picture(20, 20, theirs);
            let decode = |limits| decode_image(Cursor::new(&picture), format, limits).unwrap_err();
            let defect = decode(limits);
            let what = "20 x 20 pixels, with a limit of 100 pixels".to_owned();
            assert_eq!(defect, Defect::TooLarge { format, what });
            let limits = DecodeLimits {
                max_bytes: 1000,
                ..DecodeLimits::default()
            };
            let defect = decode(limits);
            assert!(matches!(defect, Defect::TooLarge { .. }), "{defect:?}");
        }
    }

    #[test]
    fn the_wrong_kind_is_an_answer() {
        assert!(matches!(image(b"", Format::Mp3), Err(Defect::Undecodable { .. })));
        assert!(matches!(audio(b"", Format::Png), Err(Defect::Undecodable { .. })));
    }
}
