//! Walks a GIF: colour tables, extensions and images, block by block, to the trailer.

use super::defect::{Defect, corrupt};
use super::inspector::{Dimensions, Inspection};
use super::walk::{Step, Walk, array};
use crate::format::Format;

const FORMAT: Format = Format::Gif;

#[derive(Debug, Default)]
pub(super) struct Gif {
    state: State,
    dimensions: Option<Dimensions>,
    images: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Block,
    /// The code size in front of image data.
    CodeSize,
    /// A row of sub-blocks; whether it is an image, and whether anything was in it.
    SubBlocks {
        image: bool,
        empty: bool,
    },
    Done,
}

/// The length of the colour table that the packed field announces.
fn table(packed: u8) -> u64 {
    if packed & 0x80 == 0 {
        0
    } else {
        3 << ((packed & 7) + 1)
    }
}

impl Gif {
    fn start(&mut self, window: &[u8]) -> Result<Step, Defect> {
        let Some(
            [
                b'G',
                b'I',
                b'F',
                b'8',
                b'7' | b'9',
                b'a',
                w0,
                w1,
                h0,
                h1,
                packed,
                _,
                _,
            ],
        ) = array(window, 0)
        else {
            return if window.len() < 13 {
                Ok(Step::More(13))
            } else {
                corrupt(FORMAT, 0, "its header is wrong")
            };
        };
        let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
        if width != 0 && height != 0 {
            self.dimensions = Some(Dimensions {
                width: width.into(),
                height: height.into(),
            });
        }
        self.state = State::Block;
        Ok(Step::Used(13 + table(packed)))
    }

    fn block(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match *window {
            // Extension: a label, then sub-blocks.
            [0x21, _, ..] => {
                self.state = State::SubBlocks {
                    image: false,
                    empty: true,
                };
                Ok(Step::Used(2))
            }
            [0x21] => Ok(Step::More(2)),
            [0x2c, ..] => {
                let Some([_, _, _, _, w0, w1, h0, h1, packed]) = array(window, 1) else {
                    return Ok(Step::More(10));
                };
                let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
                if width == 0 || height == 0 {
                    return corrupt(FORMAT, at, format!("the size of an image is {width} x {height}"));
                }
                // Some writers leave the screen at zero and mean the first image.
                self.dimensions.get_or_insert(Dimensions {
                    width: width.into(),
                    height: height.into(),
                });
                self.state = State::CodeSize;
                Ok(Step::Used(10 + table(packed)))
            }
            [0x3b, ..] if self.images == 0 => corrupt(FORMAT, at, "it has no picture data"),
            [0x3b, ..] => {
                self.state = State::Done;
                Ok(Step::Used(1))
            }
            _ => corrupt(FORMAT, at, "there is no block where one should begin"),
        }
    }
}

impl Walk for Gif {
    fn step(&mut self, window: &[u8], at: u64) -> Result<Step, Defect> {
        match &mut self.state {
            State::Start => self.start(window),
            State::Block => self.block(window, at),
            State::CodeSize => {
                if !matches!(window, [1..=11, ..]) {
                    return corrupt(FORMAT, at, "the code size of an image is out of range");
                }
                self.state = State::SubBlocks {
                    image: true,
                    empty: true,
                };
                Ok(Step::Used(1))
            }
            State::SubBlocks { image, empty } => match *window {
                [] => Ok(Step::More(1)),
                [0, ..] => {
                    if *image && *empty {
                        return corrupt(FORMAT, at, "an image has no data");
                    }
                    self.images += u64::from(*image);
                    self.state = State::Block;
                    Ok(Step::Used(1))
                }
                [length, ..] => {
                    *empty = false;
                    Ok(Step::Used(1 + u64::from(length)))
                }
            },
            State::Done => Ok(Step::End),
        }
    }

    fn end(&mut self, _rest: &[u8], at: u64) -> Result<Inspection, Defect> {
        match (&self.state, self.dimensions) {
            (State::Done, Some(dimensions)) => Ok(Inspection::picture(FORMAT, dimensions)),
            _ => Err(self.truncated(at)),
        }
    }

    fn format(&self) -> Format {
        FORMAT
    }

    fn missing(&self) -> &'static str {
        match self.state {
            State::Start => "its header is complete",
            _ if self.images == 0 => "its picture data is complete",
            _ => "its trailer",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::validate::encoders::picture;
    use crate::validate::tests::{nothing_else_passes, passes};
    use crate::validate::{Dimensions, inspect};
    use image::ImageFormat;

    fn defect(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().to_string()
    }

    #[test]
    fn another_encoder_passes() {
        let gif = picture(30, 20, ImageFormat::Gif);
        assert_eq!(
            passes(&gif).dimensions,
            Some(Dimensions {
                width: 30,
                height: 20
            })
        );
        nothing_else_passes(&gif);
    }

    #[test]
    fn broken_structure_is_named() {
        let start = b"GIF89a\x01\0\x01\0\0\0\0";
        let image = b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        passes(&[start.as_slice(), image, b";"].concat());
        assert!(defect(&[start.as_slice(), b";"].concat()).ends_with("it has no picture data"));
        assert!(
            defect(&[start.as_slice(), b"x;"].concat()).ends_with("there is no block where one should begin")
        );
        assert!(
            defect(&[start.as_slice(), &image[..10], b"\x20"].concat())
                .ends_with("code size of an image is out of range")
        );
        assert!(defect(&[start.as_slice(), &image[..11], b"\0;"].concat()).ends_with("an image has no data"));
        let cut = [start.as_slice(), image].concat();
        assert_eq!(defect(&cut), "a GIF that ends before its trailer, after 28 bytes");
        // A screen of no size takes that of the image.
        let gif = [b"GIF89a\0\0\0\0\0\0\0".as_slice(), image, b";"].concat();
        assert_eq!(passes(&gif).dimensions, Some(Dimensions { width: 1, height: 1 }));
    }
}
