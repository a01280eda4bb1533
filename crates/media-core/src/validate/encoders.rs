//! Files of any size from encoders that have nothing to do with the walkers, for tests.

use image::{DynamicImage, ImageFormat, RgbaImage};
use std::io::Cursor;

/// Noise, so that nothing compresses away: a small linear congruential generator.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 12345u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A noisy picture. The `image` crate writes lossless WebP only.
pub(super) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixels = noise((width * height * 4) as usize);
    let picture = DynamicImage::from(RgbaImage::from_raw(width, height, pixels).unwrap());
    let picture = if format == ImageFormat::Jpeg {
        picture.to_rgb8().into()
    } else {
        picture
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Noise as sound.
pub(super) fn samples(length: usize) -> Vec<i16> {
    noise(2 * length)
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&pair| i16::from_le_bytes(pair) / 4)
        .collect()
}

/// A quarter of a second of stereo, at 40.96 kHz so that it is ten whole blocks: of a shorter last block flacenc
/// 0.5.1 makes the minimum block size, which the specification excludes and symphonia 0.6.1 stumbles over.
pub(super) fn flac() -> Vec<u8> {
    use flacenc::{component::BitRepr as _, error::Verify as _};
    let samples: Vec<i32> = samples(2 * 10_240).into_iter().map(i32::from).collect();
    let config = flacenc::config::Encoder::default().into_verified().unwrap();
    let source = flacenc::source::MemSource::from_samples(&samples, 2, 16, 40_960);
    let stream = flacenc::encode_with_fixed_block_size(&config, source, 1024).unwrap();
    let mut sink = flacenc::bitsink::ByteSink::new();
    stream.write(&mut sink).unwrap();
    sink.as_slice().to_vec()
}

/// A WAV with these two sizes in its header, whatever is true.
pub(super) fn wav(riff: u32, fmt: &[u8], data: u32, sound: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(riff.to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend((fmt.len() as u32).to_le_bytes());
    bytes.extend(fmt);
    bytes.extend(b"data");
    bytes.extend(data.to_le_bytes());
    bytes.extend(sound);
    bytes
}

/// The contents of a plain format chunk.
pub(super) fn wav_fmt(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
    let (rate, align) = (8000u32, channels * bits.div_ceil(8));
    let mut fmt = Vec::new();
    fmt.extend(tag.to_le_bytes());
    fmt.extend(channels.to_le_bytes());
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate * u32::from(align)).to_le_bytes());
    fmt.extend(align.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    fmt
}

/// A PNG chunk.
pub(super) fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [kind.as_slice(), body].concat();
    [
        &(body.len() as u32).to_be_bytes(),
        named.as_slice(),
        &crc32fast::hash(&named).to_be_bytes(),
    ]
    .concat()
}
