//! WAV and raw PCM.

/// 16-bit mono WAV. `streamed`: the lengths are 0xFFFFFFFF, as a server writes them that does not know them yet.
pub(crate) fn encode(samples: &[i16], rate: u32, streamed: bool) -> Vec<u8> {
    let data = samples.len() as u32 * 2;
    let (riff, data) = if streamed {
        (u32::MAX, u32::MAX)
    } else {
        (data + 36, data)
    };
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&riff.to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&data.to_le_bytes());
    file.extend_from_slice(&raw(samples));
    file
}

/// Little-endian samples.
pub(crate) fn raw(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
