//! The same demands on every format: whole files pass however they come, and nothing else does.

use super::{Defect, Dimensions, Inspection, Inspector, inspect, inspect_reader};
use crate::format::Format;
use proptest::prelude::*;
use std::time::Duration;

macro_rules! fixtures {
    ($($name:literal $open:ident),* $(,)?) => {
        [$(Fixture {
            name: $name,
            bytes: include_bytes!(concat!("fixtures/", $name)),
            end: End::$open,
        }),*]
    };
}

#[derive(Debug)]
pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    end: End,
}

/// What the container knows of its own end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Certain,
    /// It may also end between any two frames.
    Frame,
    /// It may also end before or between the tags behind its sound.
    Tag,
    /// It may also end between any two samples.
    Sample,
}

/// How they were made is told in `fixtures/README.md`.
#[rustfmt::skip]
pub(super) static FIXTURES: [Fixture; 29] = fixtures![
    "interlaced.png" Certain, "palette.png" Certain, "animated.png" Certain,
    "progressive-exif.jpg" Certain, "restarts.jpg" Certain, "scans.jpg" Certain, "plain.jpg" Certain,
    "lossy.webp" Certain, "alpha.webp" Certain, "animated.webp" Certain,
    "animated.gif" Certain,
    "vbr-tags.mp3" Tag, "mpeg25-lavf.mp3" Certain, "cbr-plain.mp3" Frame, "piped.mp3" Frame,
    "mono24.flac" Certain, "stereo24.flac" Certain, "streamed.flac" Frame, "independent.flac" Certain,
    "float.wav" Certain, "extensible24.wav" Certain, "streamed.wav" Sample, "sox-streamed.wav" Sample,
    "vorbis.ogg" Certain, "lavf.ogg" Certain, "late-start.ogg" Certain, "one-page.ogg" Certain,
    "opusenc.opus" Certain, "lavf.opus" Certain,
];

pub(super) fn fixture(name: &str) -> &'static [u8] {
    FIXTURES
        .iter()
        .find(|fixture| fixture.name == name)
        .expect("a fixture of that name")
        .bytes
}

pub(super) fn in_chunks(bytes: &[u8], size: usize) -> Result<Inspection, Defect> {
    let mut inspector = Inspector::new();
    for chunk in bytes.chunks(size) {
        inspector.push(chunk)?;
    }
    inspector.finish()
}

/// Passes whole in chunks of any size; says what it is.
#[track_caller]
pub(super) fn passes(bytes: &[u8]) -> Inspection {
    let whole = inspect(bytes).unwrap();
    for size in [1, 7, 4096] {
        assert_eq!(in_chunks(bytes, size).as_ref(), Ok(&whole), "in chunks of {size}");
    }
    assert_eq!(inspect_reader(bytes).unwrap().as_ref(), Ok(&whole));
    whole
}

/// Every offset of small files; of larger ones all near the ends and some between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |cut| length < 6000 || *cut < 1500 || length - cut < 1500 || cut % 29 == 0)
}

/// No beginning of it passes, and neither does it with a byte more.
#[track_caller]
pub(super) fn nothing_else_passes(bytes: &[u8]) {
    for cut in cuts(bytes.len()) {
        let Err(defect) = inspect(&bytes[..cut]) else {
            panic!("passes when cut at {cut}")
        };
        assert!(
            !matches!(defect, Defect::TrailingData { .. }),
            "cut at {cut}: {defect}"
        );
    }
    more_fails(bytes);
}

#[track_caller]
fn more_fails(bytes: &[u8]) {
    for more in 0..=255 {
        let longer = [bytes, &[more]].concat();
        assert!(inspect(&longer).is_err(), "passes with {more} behind it");
    }
    let defect = inspect(&[bytes, b"<html>"].concat()).unwrap_err();
    assert!(
        matches!(&defect, Defect::TrailingData { length: 6, at, excerpt, .. }
        if *at == bytes.len() as u64 && excerpt == "\"<html>\""),
        "{defect:?}"
    );
}

#[test]
fn whole_fixtures_pass_in_any_chunks() {
    for fixture in &FIXTURES {
        let inspection = passes(fixture.bytes);
        let extension = fixture.name.rsplit('.').next().unwrap();
        assert_eq!(
            Some(inspection.format),
            Format::from_extension(extension),
            "{}",
            fixture.name
        );
        assert_eq!(
            inspection.mends.is_empty(),
            fixture.end != End::Sample,
            "{}",
            fixture.name
        );
    }
}

#[test]
fn every_truncation_and_every_byte_more_fails() {
    for fixture in FIXTURES.iter().filter(|fixture| fixture.end == End::Certain) {
        println!("{}", fixture.name);
        nothing_else_passes(fixture.bytes);
    }
}

#[test]
fn open_ended_files_fail_but_between_frames() {
    for fixture in FIXTURES.iter().filter(|fixture| fixture.end == End::Frame) {
        more_fails(fixture.bytes);
        let whole: Vec<usize> = (0..fixture.bytes.len())
            .filter(|&n| inspect(&fixture.bytes[..n]).is_ok())
            .collect();
        // One frame each, but the first, or the first two.
        let frames = match inspect(fixture.bytes).unwrap() {
            Inspection {
                format: Format::Mp3,
                duration,
                ..
            } => {
                let rate = if fixture.name == "piped.mp3" {
                    24_000.0
                } else {
                    22_050.0
                };
                (duration.unwrap().as_secs_f64() * rate / 576.0).round() as usize - 2
            }
            Inspection { duration, .. } => {
                (duration.unwrap().as_secs_f64() * 22_050.0 / 2304.0).ceil() as usize - 1
            }
        };
        assert_eq!(whole.len(), frames, "{}: {whole:?}", fixture.name);
    }
}

#[test]
fn tags_behind_the_sound_may_be_missing_but_not_cut() {
    let bytes = fixture("vbr-tags.mp3");
    more_fails(bytes);
    let at = |name: &[u8]| {
        bytes
            .windows(name.len())
            .position(|window| window == name)
            .unwrap()
    };
    let whole: Vec<usize> = (0..bytes.len())
        .filter(|&n| inspect(&bytes[..n]).is_ok())
        .collect();
    assert_eq!(whole, [at(b"APETAGEX"), at(b"LYRICSBEGIN"), bytes.len() - 128]);
}

#[test]
fn sizes_and_lengths_are_right() {
    let size = |name| {
        inspect(fixture(name))
            .unwrap()
            .dimensions
            .map(|Dimensions { width, height }| (width, height))
    };
    assert_eq!(size("interlaced.png"), Some((48, 32)));
    assert_eq!(size("palette.png"), Some((16, 16)));
    assert_eq!(size("progressive-exif.jpg"), Some((96, 64)));
    assert_eq!(size("lossy.webp"), Some((96, 64)));
    assert_eq!(size("alpha.webp"), Some((96, 64)));
    assert_eq!(size("animated.webp"), Some((40, 30)));
    assert_eq!(size("animated.gif"), Some((40, 30)));
    // What ffprobe says.
    let milliseconds = |name| inspect(fixture(name)).unwrap().duration.map(|d| d.as_millis());
    assert_eq!(milliseconds("vbr-tags.mp3"), Some(548));
    assert_eq!(milliseconds("cbr-plain.mp3"), Some(653));
    assert_eq!(milliseconds("mono24.flac"), Some(600));
    assert_eq!(milliseconds("stereo24.flac"), Some(80));
    assert_eq!(milliseconds("streamed.flac"), Some(600));
    assert_eq!(milliseconds("float.wav"), Some(300));
    assert_eq!(milliseconds("extensible24.wav"), Some(300));
    assert_eq!(milliseconds("streamed.wav"), Some(300));
    assert_eq!(milliseconds("vorbis.ogg"), Some(600));
    assert_eq!(milliseconds("lavf.ogg"), Some(500));
    assert_eq!(milliseconds("opusenc.opus"), Some(600));
    assert_eq!(milliseconds("lavf.opus"), Some(600));
    // The first page of sound decides; its packets are counted as if all were long.
    let late = inspect(fixture("late-start.ogg")).unwrap().duration.unwrap();
    assert!(
        late.abs_diff(Duration::from_millis(1980)) < Duration::from_millis(100),
        "{late:?}"
    );
}

#[test]
fn nothing_and_other_things_are_refused() {
    assert_eq!(inspect(b""), Err(Defect::Empty));
    assert_eq!(Inspector::default().finish(), Err(Defect::Empty));
    let page = format!(
        "<!DOCTYPE html><title>502 Bad Gateway</title>{}",
        " ".repeat(5000)
    );
    let mut inspector = Inspector::new();
    let defect = inspector.push(page.as_bytes()).unwrap_err();
    assert_eq!(
        defect.to_string(),
        "an HTML page, not a picture or sound: \"<!DOCTYPE html><title>502 Bad Gateway</title>…\""
    );
    // Once refused, always refused.
    assert_eq!(inspector.push(fixture("palette.png")), Err(defect.clone()));
    assert_eq!(inspector.finish(), Err(defect));
    let png = inspect(fixture("palette.png")).unwrap();
    assert_eq!(png.clone().expect_format(Format::Png), Ok(png.clone()));
    assert_eq!(
        png.expect_format(Format::Mp3).unwrap_err().to_string(),
        "a PNG where an MP3 was wanted"
    );
    let opus = inspect(fixture("lavf.opus")).unwrap();
    assert!(opus.expect_format(Format::Ogg).is_ok());
}

#[test]
fn one_file_after_another_is_trailing_data() {
    for fixture in FIXTURES.iter().filter(|fixture| fixture.end == End::Certain) {
        let twice = [fixture.bytes, fixture.bytes].concat();
        assert!(inspect(&twice).is_err(), "{}", fixture.name);
    }
}

/// A fixture with something done to it; printed as what was done, not as thousands of bytes.
#[derive(Clone, Debug)]
struct Spoilt {
    fixture: &'static str,
    /// Where it is cut off, if it is.
    cut: Option<usize>,
    flips: Vec<(usize, u8)>,
    noise: Vec<u8>,
}

impl Spoilt {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = fixture(self.fixture).to_vec();
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        for (at, flip) in &self.flips {
            bytes[*at] ^= flip;
        }
        bytes.extend(&self.noise);
        bytes
    }
}

fn any_fixture() -> impl Strategy<Value = &'static Fixture> {
    (0..FIXTURES.len()).prop_map(|n| &FIXTURES[n])
}

/// Random bytes behind something that lets a walker start.
fn seeded() -> impl Strategy<Value = Spoilt> {
    (
        any_fixture(),
        any::<proptest::sample::Index>(),
        proptest::collection::vec(any::<u8>(), 0..2000),
    )
        .prop_map(|(fixture, at, noise)| {
            let cut = Some(at.index(fixture.bytes.len().min(1000) + 1));
            Spoilt {
                fixture: fixture.name,
                cut,
                flips: Vec::new(),
                noise,
            }
        })
}

/// A fixture with some bytes changed, half of the time near the front, where the headers are.
fn flipped() -> impl Strategy<Value = Spoilt> {
    let flips = proptest::collection::vec((any::<proptest::sample::Index>(), 1..=255u8), 1..4);
    (any_fixture(), flips, any::<bool>()).prop_map(|(fixture, flips, front)| {
        let most = if front {
            fixture.bytes.len().min(200)
        } else {
            fixture.bytes.len()
        };
        let flips = flips
            .into_iter()
            .map(|(at, flip)| (at.index(most), flip))
            .collect();
        Spoilt {
            fixture: fixture.name,
            cut: None,
            flips,
            noise: Vec::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_passes(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(inspect(&bytes).is_err());
    }

    #[test]
    fn seeded_noise_never_panics_and_chunks_do_not_matter(spoilt in seeded(), size in 1..700usize) {
        let bytes = spoilt.bytes();
        prop_assert_eq!(in_chunks(&bytes, size), inspect(&bytes));
    }

    #[test]
    fn flipped_bytes_never_panic_and_chunks_do_not_matter(spoilt in flipped(), size in 1..5000usize) {
        let bytes = spoilt.bytes();
        prop_assert_eq!(in_chunks(&bytes, size), inspect(&bytes));
    }
}

/// It travels with a download from thread to thread.
#[test]
fn inspectors_can_be_sent() {
    fn sendable<T: Send + 'static>(_: T) {}
    sendable(Inspector::new());
}

/// What is found by checksums is found whatever changes.
#[test]
fn any_flipped_byte_is_found_where_there_are_checksums() {
    for name in ["palette.png", "vorbis.ogg", "lavf.opus"] {
        let mut bytes = fixture(name).to_vec();
        for at in 0..bytes.len() {
            for flip in [1, 0x80] {
                bytes[at] ^= flip;
                assert!(inspect(&bytes).is_err(), "{name} at {at}");
                bytes[at] ^= flip;
            }
        }
    }
}
