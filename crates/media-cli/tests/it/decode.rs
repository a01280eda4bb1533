//! Decoders that are not the program's own checks: what they cannot read is no media.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Decodes a file fully; its format must be the one in its name. Width and height, or seconds.
#[track_caller]
pub(crate) fn decode(path: &Path) -> (f64, f64) {
    let extension = path.extension().and_then(OsStr::to_str).unwrap();
    match extension {
        "png" | "jpg" | "jpeg" | "webp" => {
            let reader = image::ImageReader::open(path)
                .unwrap()
                .with_guessed_format()
                .unwrap();
            assert_eq!(
                reader.format(),
                image::ImageFormat::from_extension(extension),
                "{}",
                path.display()
            );
            let picture = reader
                .decode()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (picture.width().into(), picture.height().into())
        }
        "opus" => {
            // symphonia has no decoder of Opus: the pages must at least begin and end as they should.
            let bytes = fs::read(path).unwrap();
            assert!(bytes.starts_with(b"OggS") && bytes[..64].windows(8).any(|part| part == b"OpusHead"));
            (1.0, 0.0)
        }
        _ => (seconds(path, extension), 0.0),
    }
}

fn seconds(path: &Path, extension: &str) -> f64 {
    use symphonia::core::codecs::audio::AudioDecoderOptions;
    use symphonia::core::formats::TrackType;
    use symphonia::core::formats::probe::Hint;
    use symphonia::core::io::MediaSourceStream;
    let bytes = fs::read(path).unwrap();
    let magic: &[&[u8]] = match extension {
        "mp3" => &[b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3"],
        "wav" => &[b"RIFF"],
        "flac" => &[b"fLaC"],
        "ogg" => &[b"OggS"],
        other => panic!("{other} is no format of these tests"),
    };
    assert!(
        magic.iter().any(|magic| bytes.starts_with(magic)),
        "{} is no {extension}",
        path.display()
    );
    let stream = MediaSourceStream::new(Box::new(std::io::Cursor::new(bytes)), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(
            Hint::new().with_extension(extension),
            stream,
            Default::default(),
            Default::default(),
        )
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let track = reader.default_track(TrackType::Audio).unwrap();
    let (id, parameters) = (
        track.id,
        track.codec_params.as_ref().unwrap().audio().unwrap().clone(),
    );
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &options)
        .unwrap();
    let mut seconds = 0.0;
    while let Some(packet) = reader.next_packet().unwrap() {
        if packet.track_id == id {
            let sound = decoder.decode(&packet).unwrap();
            seconds += sound.frames() as f64 / f64::from(sound.spec().rate());
        }
    }
    assert!(seconds > 0.1, "{} lasts {seconds} s", path.display());
    seconds
}
