//! Walks a WebP: the RIFF size, every chunk in it and, in animations, every chunk of every frame.

use super::defect::{Defect, corrupt};
use super::inspector::{Dimensions, Inspection};
use super::walk::{Step, Walk, array};
use crate::format::Format;

const FORMAT: Format = Format::Webp;

#[derive(Debug, Default)]
pub(super) struct Webp {
    /// Where the file ends, from the RIFF header.
    end: Option<u64>,
    /// Where the animation frame at hand ends, and whether it holds a picture.
    frame: Option<(u64, bool)>,
    /// Canvas of an extended file, else the size of the picture.
    dimensions: Option<Dimensions>,
    pictures: u64,
}

impl Webp {
    fn start(&mut self, window: &[u8]) -> Result<Step, Defect> {
        let Some([b'R', b'I', b'F', b'F', s0, s1, s2, s3, b'W', b'E', b'B', b'P']) = array(window, 0) else {
            return if window.len() < 12 {
                Ok(Step::More(12))
            } else {
                corrupt(FORMAT, 0, "its header is wrong")
            };
        };
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        // Chunks are padded to even sizes, and so is their sum.
        if size % 2 != 0 || size < 12 {
            return corrupt(FORMAT, 4, format!("its header says that it is {size} bytes long"));
        }
        self.end = Some(8 + u64::from(size));
        Ok(Step::Used(12))
    }

    fn chunk(&mut self, window: &[u8], at: u64, end: u64) -> Result<Step, Defect> {
        if let Some((frame_end, picture)) = self.frame
            && at >= frame_end
        {
            if !picture {
                return corrupt(FORMAT, at, "an animation frame has no picture");
            }
            self.frame = None;
        }
        if at >= end {
            return Ok(Step::End);
        }
        let limit = self.frame.map_or(end, |(end, _)| end);
        if at + 8 > limit {
            return corrupt(FORMAT, at, "there is no chunk where one should begin");
        }
        let Some([k0, k1, k2, k3, s0, s1, s2, s3]) = array(window, 0) else {
            return Ok(Step::More(8));
        };
        let (kind, size) = ([k0, k1, k2, k3], u32::from_le_bytes([s0, s1, s2, s3]));
        let whole = 8 + u64::from(size) + u64::from(size % 2);
        if at + whole > limit {
            return corrupt(FORMAT, at, "a chunk is longer than what contains it");
        }
        let needs = match &kind {
            b"VP8 " | b"VP8X" => 10,
            b"VP8L" => 5,
            b"ANMF" => 16,
            _ => 0,
        };
        if u64::from(size) < needs {
            return corrupt(FORMAT, at, "a chunk is too short for its own header");
        }
        match &kind {
            b"VP8 " => {
                // RFC 6386, 9.1: a key frame with its start code, then the size in 14 bits each.
                let Some([t0, t1, t2, c0, c1, c2, w0, w1, h0, h1]) = array(window, 8) else {
                    return Ok(Step::More(18));
                };
                let first_partition = u32::from_le_bytes([t0, t1, t2, 0]) >> 5;
                if t0 & 1 != 0 || [c0, c1, c2] != [0x9d, 0x01, 0x2a] || first_partition > size - 10 {
                    return corrupt(FORMAT, at, "its lossy picture has no valid header");
                }
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                self.picture(
                    Dimensions {
                        width: side(w0, w1),
                        height: side(h0, h1),
                    },
                    at,
                )?;
            }
            b"VP8L" => {
                let Some([signature, b0, b1, b2, b3]) = array(window, 8) else {
                    return Ok(Step::More(13));
                };
                let bits = u32::from_le_bytes([b0, b1, b2, b3]);
                if signature != 0x2f || bits >> 29 != 0 {
                    return corrupt(FORMAT, at, "its lossless picture has no valid header");
                }
                let (width, height) = ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
                self.picture(Dimensions { width, height }, at)?;
            }
            b"VP8X" => {
                let Some([_, _, _, _, w0, w1, w2, h0, h1, h2]) = array(window, 8) else {
                    return Ok(Step::More(18));
                };
                if at != 12 {
                    return corrupt(FORMAT, at, "a header stands where it cannot");
                }
                let side = |a, b, c| u32::from_le_bytes([a, b, c, 0]) + 1;
                self.dimensions = Some(Dimensions {
                    width: side(w0, w1, w2),
                    height: side(h0, h1, h2),
                });
            }
            b"ANMF" => {
                if self.frame.is_some() {
                    return corrupt(FORMAT, at, "an animation frame stands within another");
                }
                self.frame = Some((at + whole, false));
                return Ok(Step::Used(8 + 16));
            }
            _ => {}
        }
        Ok(Step::Used(whole))
    }

    fn picture(&mut self, dimensions: Dimensions, at: u64) -> Result<(), Defect> {
        if dimensions.width == 0 || dimensions.height == 0 {
            return corrupt(
                FORMAT,
                at,
                format!("its size is {} x {}", dimensions.width, dimensions.height),
            );
        }
        match &mut self.frame {
            Some((_, true)) => return corrupt(FORMAT, at, "an animation frame has two pictures"),
            Some((_, picture)) => *picture = true,
            None if self.pictures > 0 => return corrupt(FORMAT, at, "it has a second picture"),
            None => {}
        }
        self.pictures += 1;
        self.dimensions.get_or_insert(dimensions);
        Ok(())
    }
}

impl Walk for Webp {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match self.end {
            None => self.start(window),
            Some(end) => self.chunk(window, at, end),
        }
    }

    fn end(&mut self, _rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        if self.end != Some(at) {
            return Err(self.truncated(at));
        }
        if let Some((_, false)) = self.frame {
            return corrupt(FORMAT, at, "an animation frame has no picture");
        }
        match self.dimensions {
            Some(dimensions) if self.pictures > 0 => Ok(Inspection::picture(FORMAT, dimensions)),
            _ => corrupt(FORMAT, at, "it has no picture data"),
        }
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        if self.end.is_none() {
            "its header is complete"
        } else {
            "the length that its header states"
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::picture;
    use crate::validate::tests::{fixture, nothing_else_passes, passes};
    use crate::validate::{Dimensions, inspect};
    use image::ImageFormat;

    fn webp(chunks: &[u8]) -> Vec<u8> {
        [
            b"RIFF",
            (chunks.len() as u32 + 4).to_le_bytes().as_slice(),
            b"WEBP",
            chunks,
        ]
        .concat()
    }

    fn defect(chunks: &[u8]) -> String {
        inspect(&webp(chunks)).unwrap_err().to_string()
    }

    #[test]
    fn another_encoder_passes() {
        for side in [1, 17, 30] {
            let lossless = picture(side, 20, ImageFormat::WebP);
            assert_eq!(
                passes(&lossless).dimensions,
                Some(Dimensions {
                    width: side,
                    height: 20
                })
            );
            nothing_else_passes(&lossless);
        }
    }

    #[test]
    fn broken_structure_is_named() {
        let plain = &fixture("lossy.webp")[12..];
        passes(&webp(plain));
        passes(&webp(&[plain, b"EXIF\x01\0\0\0x\0"].concat()));
        assert!(defect(b"EXIF\x02\0\0\0ab").ends_with("it has no picture data"));
        assert!(defect(&[plain, plain].concat()).ends_with("it has a second picture"));
        assert!(defect(b"EXIF\xff\0\0\0ab").ends_with("a chunk is longer than what contains it"));
        assert!(defect(b"VP8L\x02\0\0\0ab").ends_with("a chunk is too short for its own header"));
        assert!(defect(&[plain, b"abcd"].concat()).ends_with("there is no chunk where one should begin"));
        let frame = [b"ANMF\x10\0\0\0".as_slice(), &[0; 16]].concat();
        assert!(defect(&frame).ends_with("an animation frame has no picture"));
        assert!(defect(&[&frame, plain].concat()).ends_with("an animation frame has no picture"));
        let mut odd = webp(plain);
        odd[4] ^= 1;
        assert!(
            inspect(&odd)
                .unwrap_err()
                .to_string()
                .contains("its header says that it is")
        );
    }
}
