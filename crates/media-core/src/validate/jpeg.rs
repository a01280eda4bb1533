//! Walks a JPEG: every marker segment and scan, from the first marker to the end-of-image marker.
//!
//! The end-of-image marker must be the last thing in the file. Thumbnails inside segments are stepped over with
//! them. Pictures behind the first one (MPF, as phones write it) and padding count as trailing data: what asked
//! for one picture got something else.

use super::defect::{Defect, corrupt, unsupported};
use super::inspector::{Dimensions, Inspection};
use super::walk::{Step, Walk, array};
use crate::format::Format;

const FORMAT: Format = Format::Jpeg;

#[derive(Debug, Default)]
pub(super) struct Jpeg {
    state: State,
    /// From the frame header, with a height of 0 if a DNL segment is to tell it (T.81, B.2.5).
    frame: Option<(u16, u16)>,
    /// Whether the scan at hand has any data.
    data: bool,
    /// The components that no scan has brought data of yet.
    unseen: Vec<u8>,
    /// Complete scans.
    scans: usize,
    /// The number of the restart marker that must come next.
    restart: u8,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Start,
    Marker,
    Scan,
    Done,
}

impl Jpeg {
    fn marker(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        let [0xff, code, ..] = *window else {
            return match window {
                [] | [0xff] => Ok(Step::More(2)),
                _ => corrupt(FORMAT, at, "there is no marker where one should be"),
            };
        };
        match code {
            // Any number of fill bytes may stand before a marker (B.1.1.2).
            0xff => return Ok(Step::Used(1)),
            0xd9 if self.scans == 0 => return corrupt(FORMAT, at, "it has no picture data"),
            0xd9 if !self.unseen.is_empty() => {
                return corrupt(FORMAT, at, "the data of some of its colours are missing");
            }
            0xd9 if self.height() == 0 => return corrupt(FORMAT, at, "its height is missing"),
            0xd9 => {
                self.state = State::Done;
                return Ok(Step::Used(2));
            }
            0x01 => return Ok(Step::Used(2)),
            0x00 | 0x02..=0xbf | 0xd0..=0xd8 => {
                return corrupt(FORMAT, at, "a marker stands where it cannot");
            }
            _ => {}
        }
        let Some(length) = array(window, 2).map(u16::from_be_bytes) else {
            return Ok(Step::More(4));
        };
        let too_short = || corrupt(FORMAT, at, "the length of a segment is wrong");
        match code {
            0xc0..=0xc2 => {
                let Some([_, y1, y0, x1, x0, components]) = array(window, 4) else {
                    return Ok(Step::More(10));
                };
                let (width, height) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
                if length != 8 + 3 * u16::from(components) {
                    return too_short();
                }
                if self.frame.is_some() {
                    return corrupt(FORMAT, at, "it has a second frame header");
                }
                if width == 0 || components == 0 {
                    return corrupt(FORMAT, at, format!("its size is {width} x {height}"));
                }
                let Some(table) = window.get(10..10 + 3 * usize::from(components)) else {
                    return Ok(Step::More(10 + 3 * usize::from(components)));
                };
                self.unseen = table.iter().step_by(3).copied().collect();
                self.frame = Some((width, height));
            }
            // DHT, JPG and DAC share the range of the frame headers.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xde => {
                return unsupported(
                    FORMAT,
                    "lossless, hierarchical or arithmetic coding, which few programs open",
                );
            }
            0xda => {
                if self.frame.is_none() {
                    return corrupt(FORMAT, at, "picture data comes before the frame header");
                }
                let Some([components]) = array(window, 4) else {
                    return Ok(Step::More(5));
                };
                if !(1..=4).contains(&components) || length != 6 + 2 * u16::from(components) {
                    return too_short();
                }
                let Some(table) = window.get(5..5 + 2 * usize::from(components)) else {
                    return Ok(Step::More(5 + 2 * usize::from(components)));
                };
                self.unseen
                    .retain(|id| !table.iter().step_by(2).any(|scanned| scanned == id));
                self.state = State::Scan;
                self.restart = 0;
                self.data = false;
            }
            0xdc => {
                let Some(lines) = array(window, 4).map(u16::from_be_bytes) else {
                    return Ok(Step::More(6));
                };
                if let Some((_, height @ 0)) = &mut self.frame {
                    *height = lines;
                }
            }
            _ => {}
        }
        if length < 2 {
            return too_short();
        }
        Ok(Step::Used(2 + u64::from(length)))
    }

    /// Entropy-coded data: up to a marker that is neither a stuffed zero nor a restart.
    fn scan(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        for found in memchr::memchr_iter(0xff, window) {
            match window.get(found + 1) {
                None if found == 0 => return Ok(Step::More(2)),
                None => {
                    self.data = true;
                    return Ok(Step::Used(found as u64));
                }
                // A stuffed zero, or a fill byte: then the next 0xff decides.
                Some(0x00 | 0xff) => {}
                Some(code @ 0xd0..=0xd7) => {
                    // They count modulo 8 (T.81, B.2.1), so a gap is lost data.
                    if code & 7 != self.restart {
                        return corrupt(FORMAT, at + found as u64, "a restart marker is missing");
                    }
                    self.restart = (self.restart + 1) & 7;
                }
                Some(_) => {
                    if found == 0 && !self.data {
                        return corrupt(FORMAT, at, "it has no picture data");
                    }
                    self.scans += 1;
                    self.state = State::Marker;
                    return Ok(Step::Used(found as u64));
                }
            }
        }
        self.data = true;
        Ok(Step::Used(window.len() as u64))
    }

    fn height(&self) -> u16 {
        self.frame.map_or(0, |(_, height)| height)
    }
}

/// How many scans a JPEG has. Those of a thumbnail inside a segment are not its own.
#[cfg(feature = "decode-image")]
pub(super) fn scans(bytes: &[u8]) -> usize {
    let (mut jpeg, mut at) = (Jpeg::default(), 0);
    while let Some(window) = bytes.get(at..)
        && let Ok(Step::Used(used)) = jpeg.step(window, at as u64)
    {
        at = at.saturating_add(usize::try_from(used).unwrap_or(usize::MAX));
    }
    jpeg.scans
}

impl Walk for Jpeg {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match self.state {
            State::Start => {
                let Some(start) = array(window, 0) else {
                    return Ok(Step::More(2));
                };
                if start != [0xff, 0xd8] {
                    return corrupt(FORMAT, at, "its first marker is wrong");
                }
                self.state = State::Marker;
                Ok(Step::Used(2))
            }
            State::Marker => self.marker(window, at),
            State::Scan => self.scan(window, at),
            State::Done => Ok(Step::End),
        }
    }

    fn end(&mut self, _rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        match (&self.state, self.frame) {
            (State::Done, Some((width, height))) => {
                let dimensions = Dimensions {
                    width: width.into(),
                    height: height.into(),
                };
                Ok(Inspection::picture(FORMAT, dimensions))
            }
            _ => Err(self.truncated(at)),
        }
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match (self.frame, &self.state) {
            (None, _) => "its frame header",
            (Some(_), State::Marker) if self.scans == 0 => "its picture data",
            _ => "its end-of-image marker",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::picture;
    use crate::validate::tests::{fixture, nothing_else_passes, passes};
    use crate::validate::{Dimensions, inspect};
    use image::ImageFormat;

    fn defect(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    #[test]
    fn another_encoder_passes() {
        let jpeg = picture(30, 20, ImageFormat::Jpeg);
        assert_eq!(
            passes(&jpeg).dimensions,
            Some(Dimensions {
                width: 30,
                height: 20
            })
        );
        nothing_else_passes(&jpeg);
    }

    #[test]
    fn a_thumbnail_inside_is_not_the_picture() {
        let jpeg = fixture("progressive-exif.jpg");
        let markers = |code| jpeg.windows(2).filter(|pair| *pair == [0xff, code]).count();
        assert_eq!((markers(0xd8), markers(0xd9)), (2, 2));
        assert!(markers(0xda) > 5);
        assert_eq!(
            passes(jpeg).dimensions,
            Some(Dimensions {
                width: 96,
                height: 64
            })
        );
    }

    #[test]
    fn a_colour_without_data_is_missing() {
        let jpeg = fixture("scans.jpg");
        let scans: Vec<usize> = memchr::memmem::find_iter(jpeg, b"\xff\xda").collect();
        assert_eq!(scans.len(), 3);
        for &cut in &scans[1..] {
            let some = [&jpeg[..cut], b"\xff\xd9"].concat();
            let defect = defect(&some);
            assert!(
                defect.ends_with("the data of some of its colours are missing"),
                "{defect}"
            );
        }
    }

    #[test]
    fn fill_bytes_and_late_heights_are_fine() {
        let jpeg = picture(16, 16, ImageFormat::Jpeg);
        let end = jpeg.len() - 2;
        passes(&[&jpeg[..2], &[0xff; 5], &jpeg[2..end], &[0xff; 3], &jpeg[end..]].concat());
        // The height after the first scan (DNL), instead of in the frame header.
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let mut late = jpeg.clone();
        late[frame + 5..frame + 7].fill(0);
        assert!(defect(&late).ends_with("its height is missing"));
        late.splice(end..end, *b"\xff\xdc\0\x04\0\x10");
        assert_eq!(
            passes(&late).dimensions,
            Some(Dimensions {
                width: 16,
                height: 16
            })
        );
    }

    #[test]
    fn broken_structure_is_named() {
        let jpeg = picture(16, 16, ImageFormat::Jpeg);
        let cut = &jpeg[..jpeg.len() - 2];
        let length = cut.len();
        let message = format!("a JPEG that ends before its end-of-image marker, after {length} bytes");
        assert_eq!(defect(cut), message);
        assert!(defect(b"\xff\xd8\xff\xd9").ends_with("it has no picture data"));
        assert!(defect(b"\xff\xd8\xff\xe0\0\x01").ends_with("the length of a segment is wrong"));
        assert!(defect(b"\xff\xd8\xff\xda\0\x08\x01").ends_with("before the frame header"));
        assert!(defect(b"\xff\xd8\xff\xc9\0\x11").contains("of a kind that is not accepted"));
        let empty = [
            &cut[..cut.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14],
            b"\xff\xd9",
        ]
        .concat();
        assert!(
            defect(&empty).ends_with("it has no picture data"),
            "{}",
            defect(&empty)
        );
        // A lost piece between two restart markers.
        let mut lost = fixture("restarts.jpg").to_vec();
        let at = |code| {
            fixture("restarts.jpg")
                .windows(2)
                .position(|pair| pair == [0xff, code])
                .unwrap()
        };
        lost.drain(at(0xd2)..at(0xd3));
        assert!(defect(&lost).ends_with("a restart marker is missing"));
    }
}
