//! What decodes, and what no decoder may be asked to do.

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
