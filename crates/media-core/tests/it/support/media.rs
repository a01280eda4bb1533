//! Small media, and one that is too large to stay in memory.

/// A picture of one pixel.
pub(crate) fn png() -> Vec<u8> {
    picture(1)
}

/// A picture of noise, so large that it does not stay in memory.
pub(crate) fn large_png() -> Vec<u8> {
    picture(300)
}

fn picture(edge: u32) -> Vec<u8> {
    let mut seed = 1_u32;
    let pixels = image::RgbImage::from_fn(edge, edge, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(seed >> 8) as u8, (seed >> 16) as u8, (seed >> 24) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A second of sound; `streamed`, its header does not know how long it is.
pub(crate) fn wav(streamed: bool) -> Vec<u8> {
    let data: Vec<u8> = (0..8000_u32)
        .flat_map(|i| (((i % 80) * 300) as i16).to_le_bytes())
        .collect();
    let (riff, sound) = if streamed {
        (u32::MAX, u32::MAX)
    } else {
        (36 + data.len() as u32, data.len() as u32)
    };
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(riff.to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(sound.to_le_bytes());
    bytes.extend(data);
    bytes
}
