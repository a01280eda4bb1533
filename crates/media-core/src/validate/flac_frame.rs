//! Finds the end of a FLAC frame by parsing its subframes, without computing any sample (RFC 9639, 9.2).

/// Reads bits, the high one first. Running out is no error: the caller comes back with more.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Of the next bit.
    at: usize,
}

impl<'a> Bits<'a> {
    /// At bit `bit`, 0 to 7, of the first byte.
    pub(super) fn new(bytes: &'a [u8], bit: u32) -> Self {
        Self {
            bytes,
            at: bit as usize,
        }
    }

    /// The next byte, and the bits of it that are used.
    pub(super) fn position(&self) -> (usize, u32) {
        (self.at / 8, (self.at % 8) as u32)
    }

    fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// The next bits at the top of a word, and how many of them there are: at least 57, or all that are left.
    #[inline]
    fn peek(&self) -> (u64, u32) {
        let (byte, bit) = (self.at / 8, self.at % 8);
        let rest = self.bytes.get(byte..).unwrap_or_default();
        if let Some(word) = rest.first_chunk() {
            return (u64::from_be_bytes(*word) << bit, 64 - bit as u32);
        }
        let word = rest.iter().fold(0, |word, &b| word << 8 | u64::from(b));
        let have = rest.len() * 8;
        match have {
            0 => (0, 0),
            _ => (word << (64 - have) << bit, (have - bit) as u32),
        }
    }

    /// The next `n` bits, 1 to 32, if they are there.
    fn read(&mut self, n: u32) -> Option<u32> {
        let (word, have) = self.peek();
        (have >= n).then(|| {
            self.at += n as usize;
            (word >> (64 - n)) as u32
        })
    }

    /// Steps over up to `n` bits; says how many are still to go.
    fn skip(&mut self, n: u64) -> u64 {
        let now = usize::try_from(n).map_or(self.left(), |n| n.min(self.left()));
        self.at += now;
        n - now as u64
    }

    /// Steps over zeros and the one that ends them; says whether it was there, and counts the zeros.
    #[inline]
    fn unary(&mut self, zeros: &mut u32) -> bool {
        loop {
            let (word, have) = self.peek();
            let run = word.leading_zeros();
            if run < have {
                self.at += run as usize + 1;
                *zeros = zeros.saturating_add(run);
                return true;
            }
            self.at += have as usize;
            *zeros = zeros.saturating_add(have);
            if have == 0 {
                return false;
            }
        }
    }
}

/// Where in the subframes of one frame the parsing is.
#[derive(Debug)]
pub(super) struct Subframes {
    part: Part,
    /// Bits without interest that come before `part`.
    skip: u64,
    channel: u8,
    channels: u8,
    /// How the channels are coded: from 8 on one of the two is a difference, with one bit more.
    assignment: u8,
    /// Bits per sample of the stream.
    depth: u32,
    block: u32,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Header,
    /// The run of zeros that counts the wasted bits of each sample, for a subframe of this type.
    Wasted {
        kind: u32,
        zeros: u32,
    },
    /// Precision of the coefficients of a linear predictor.
    Precision {
        order: u32,
    },
    Method {
        order: u32,
    },
    Partition {
        order: u32,
        power: u32,
        wide: bool,
        index: u32,
    },
    /// So many codes of `parameter` plain bits each.
    Codes {
        left: u32,
        parameter: u32,
        order: u32,
        power: u32,
        wide: bool,
        index: u32,
    },
    End,
}

impl Subframes {
    pub(super) fn new(channels: u8, assignment: u8, depth: u32, block: u32) -> Self {
        Self {
            part: Part::Header,
            skip: 0,
            channel: 0,
            channels,
            assignment,
            depth,
            block,
        }
    }

    /// Parses on; says whether the last subframe is over. If not, all bits are used but those of one field.
    pub(super) fn parse(&mut self, bits: &mut Bits<'_>) -> Result<bool, &'static str> {
        loop {
            self.skip = bits.skip(self.skip);
            if self.skip > 0 {
                return Ok(false);
            }
            match self.next(bits)? {
                Some(part) => self.part = part,
                None if matches!(self.part, Part::End) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    /// Deals with the part at hand and says which is the next; none if bits are lacking.
    fn next(&mut self, bits: &mut Bits<'_>) -> Result<Option<Part>, &'static str> {
        Ok(match &mut self.part {
            Part::End => None,
            Part::Header => match bits.read(8) {
                None => None,
                Some(header) if header & 0x80 != 0 => return Err("a subframe has no valid header"),
                Some(header) => {
                    let kind = header >> 1;
                    if header & 1 == 0 {
                        Some(self.kind(kind, 0)?)
                    } else {
                        Some(Part::Wasted { kind, zeros: 0 })
                    }
                }
            },
            Part::Wasted { kind, zeros } => {
                if bits.unary(zeros) {
                    let (kind, wasted) = (*kind, *zeros + 1);
                    Some(self.kind(kind, wasted)?)
                } else {
                    None
                }
            }
            &mut Part::Precision { order } => match bits.read(9) {
                None => None,
                Some(field) if field >> 5 == 15 => return Err("a predictor has no valid precision"),
                Some(field) => {
                    self.skip = u64::from(order) * u64::from((field >> 5) + 1);
                    Some(Part::Method { order })
                }
            },
            &mut Part::Method { order } => match bits.read(6) {
                None => None,
                Some(field) if field >> 5 != 0 => return Err("a residual has no valid coding"),
                Some(field) => {
                    let (wide, power) = (field >> 4 == 1, field & 15);
                    if self.block >> power << power != self.block || self.block >> power < order {
                        return Err("a residual has no valid partitions");
                    }
                    Some(Part::Partition {
                        order,
                        power,
                        wide,
                        index: 0,
                    })
                }
            },
            &mut Part::Partition { index, power, .. } if index >> power != 0 => Some(self.finish_subframe()),
            &mut Part::Partition {
                order,
                power,
                wide,
                index,
            } => {
                let width = if wide { 5 } else { 4 };
                let left = (self.block >> power) - if index == 0 { order } else { 0 };
                let (word, have) = bits.peek();
                let parameter = (word >> (64 - width)) as u32;
                let escape = parameter == (1 << width) - 1;
                if have < width + 5 * u32::from(escape) {
                    None
                } else if escape {
                    let plain = word << width >> 59;
                    bits.skip(u64::from(width) + 5);
                    self.skip = u64::from(left) * plain;
                    Some(Part::Partition {
                        order,
                        power,
                        wide,
                        index: index + 1,
                    })
                } else {
                    bits.skip(width.into());
                    Some(Part::Codes {
                        left,
                        parameter,
                        order,
                        power,
                        wide,
                        index,
                    })
                }
            }
            Part::Codes {
                left,
                parameter,
                order,
                power,
                wide,
                index,
            } => {
                let wanted = *parameter;
                while *left > 0 {
                    let (word, have) = bits.peek();
                    let length = word.leading_zeros() + 1 + wanted;
                    if length <= have {
                        bits.at += length as usize;
                        *left -= 1;
                        continue;
                    }
                    // A long run, or the end of what there is: the slow way.
                    let mut zeros = 0;
                    if !bits.unary(&mut zeros) {
                        return Ok(None);
                    }
                    *left -= 1;
                    self.skip = bits.skip(wanted.into());
                    if self.skip > 0 {
                        return Ok(None);
                    }
                }
                Some(Part::Partition {
                    order: *order,
                    power: *power,
                    wide: *wide,
                    index: *index + 1,
                })
            }
        })
    }

    /// What follows the header of a subframe whose samples lack `wasted` bits.
    fn kind(&mut self, kind: u32, wasted: u32) -> Result<Part, &'static str> {
        let difference = matches!((self.assignment, self.channel), (8 | 10, 1) | (9, 0));
        let depth = self.depth + u32::from(difference);
        if wasted >= depth {
            return Err("a subframe wastes all its bits");
        }
        let depth = u64::from(depth - wasted);
        let warm_up = |order: u32| u64::from(order) * depth;
        let (skip, part) = match kind {
            0 => (depth, None),
            1 => (depth * u64::from(self.block), None),
            8..=12 => (warm_up(kind - 8), Some(Part::Method { order: kind - 8 })),
            32..=63 => (warm_up(kind - 31), Some(Part::Precision { order: kind - 31 })),
            _ => return Err("a subframe has a reserved type"),
        };
        self.skip = skip;
        Ok(part.unwrap_or_else(|| self.finish_subframe()))
    }

    fn finish_subframe(&mut self) -> Part {
        self.channel += 1;
        if self.channel < self.channels {
            Part::Header
        } else {
            Part::End
        }
    }
}
