//! The smallest media that pass every check, for answers.

use bytes::Bytes;

/// A PNG of one pixel.
#[must_use]
pub fn png() -> Bytes {
    Bytes::from_static(
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\
          \0\0\0\x0aIDAT\x78\xda\x63\x60\0\0\0\x02\0\x01\xe5\x27\xde\xfc\0\0\0\0IEND\xae\x42\x60\x82",
    )
}

/// A WAV of a tenth of a second, 8 kHz mono.
#[must_use]
pub fn wav() -> Bytes {
    const SAMPLES: u32 = 800;
    let mut bytes = Vec::with_capacity(44 + 2 * SAMPLES as usize);
    bytes.extend(b"RIFF");
    bytes.extend((36 + 2 * SAMPLES).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((2 * SAMPLES).to_le_bytes());
    bytes.extend((0..SAMPLES).flat_map(|sample| ((sample % 40 * 500) as u16).to_le_bytes()));
    Bytes::from(bytes)
}

/// An MP3 of half a second, 44.1 kHz mono, silent.
#[must_use]
pub fn mp3() -> Bytes {
    // MPEG 1 layer III without CRC, 128 kbit/s, one channel: each frame 417 bytes and 1152 samples.
    let mut frame = vec![0; 417];
    for (to, from) in frame.iter_mut().zip([0xff, 0xfb, 0x90, 0xc0]) {
        *to = from;
    }
    Bytes::from(frame.repeat(20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_core::Format;
    use media_core::validate::inspect;

    #[test]
    fn they_pass_every_check() {
        for (bytes, format) in [(png(), Format::Png), (wav(), Format::Wav), (mp3(), Format::Mp3)] {
            assert_eq!(inspect(&bytes).unwrap().format, format);
        }
    }
}
