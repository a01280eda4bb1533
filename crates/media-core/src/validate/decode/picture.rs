//! Decodes every pixel of a picture, of animations every frame.

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
