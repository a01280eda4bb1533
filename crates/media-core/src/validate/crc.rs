//! Cyclic redundancy checks with the high bit first, as Ogg and FLAC use them (PNG's is the other way round).

/// Eight bytes at a time: `TABLES[k][b]` is what byte `b` leaves behind after `k` more bytes.
type Tables = [[u32; 256]; 8];

/// A check of up to 32 bits that starts from zero, held in the high bits of a word.
#[derive(Clone, Copy)]
pub(super) struct Crc {
    tables: &'static Tables,
    state: u32,
}

/// RFC 3533, page checksum: polynomial 0x04c11db7.
static OGG: Tables = tables(0x04c1_1db7);
/// RFC 9639, frame footer: x^16 + x^15 + x^2 + 1.
static FLAC16: Tables = tables(0x8005 << 16);
/// RFC 9639, frame header: x^8 + x^2 + x + 1.
static FLAC8: Tables = tables(0x07 << 24);

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, with bounds that are plain to see"
)]
const fn tables(polynomial: u32) -> Tables {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            state = (state << 1) ^ if state >> 31 == 1 { polynomial } else { 0 };
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[k - 1][byte];
            tables[k][byte] = (before << 8) ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

impl Crc {
    pub(super) fn ogg() -> Self {
        Self {
            tables: &OGG,
            state: 0,
        }
    }

    pub(super) fn flac16() -> Self {
        Self {
            tables: &FLAC16,
            state: 0,
        }
    }

    pub(super) fn flac8() -> Self {
        Self {
            tables: &FLAC8,
            state: 0,
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a table of 256 indexed by a byte; the compiler drops the check"
    )]
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let t = self.tables;
        let mut state = self.state;
        let (words, rest) = bytes.as_chunks::<8>();
        for &[a, b, c, d, e, f, g, h] in words {
            let [p, q, r, s] = (state ^ u32::from_be_bytes([a, b, c, d])).to_be_bytes();
            state = t[7][usize::from(p)]
                ^ t[6][usize::from(q)]
                ^ t[5][usize::from(r)]
                ^ t[4][usize::from(s)]
                ^ t[3][usize::from(e)]
                ^ t[2][usize::from(f)]
                ^ t[1][usize::from(g)]
                ^ t[0][usize::from(h)];
        }
        for &byte in rest {
            let [high, ..] = state.to_be_bytes();
            state = (state << 8) ^ t[0][usize::from(high ^ byte)];
        }
        self.state = state;
    }

    /// The check over 32 bits.
    pub(super) fn value(self) -> u32 {
        self.state
    }

    /// Whether what was fed ended with its own check.
    pub(super) fn is_closed(self) -> bool {
        self.state == 0
    }
}

impl std::fmt::Debug for Crc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc({:08x})", self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_catalogue_of_checks() {
        // https://reveng.sourceforge.io/crc-catalogue: CRC-8/SMBUS f4, CRC-16/UMTS fee8; Ogg's is
        // CRC-32/CKSUM without the length and the final inversion.
        let check = |mut crc: Crc| {
            crc.update(b"123456789");
            crc.value()
        };
        assert_eq!(check(Crc::flac8()) >> 24, 0xf4);
        assert_eq!(check(Crc::flac16()) >> 16, 0xfee8);
        assert_eq!(check(Crc::ogg()), 0x89a1_897f);
    }

    #[test]
    fn any_split_gives_the_same() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut whole = Crc::ogg();
        whole.update(&bytes);
        for at in 0..100 {
            let mut parts = Crc::ogg();
            parts.update(&bytes[..at]);
            parts.update(&bytes[at..]);
            assert_eq!(parts.value(), whole.value());
        }
    }
}
