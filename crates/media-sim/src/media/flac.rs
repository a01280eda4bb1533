//! FLAC, by the flacenc crate.

use flacenc::bitsink::ByteSink;
use flacenc::component::BitRepr;
use flacenc::error::Verify;
use flacenc::source::MemSource;

/// flacenc counts a short last block as the smallest block size of the stream, which makes strict readers expect
/// frames of varying size: so there is none, the last block is filled with silence.
const BLOCK: usize = 1024;

/// 16-bit mono FLAC; the encoder's own checks cannot fail on such input, and if they did, the empty file would show.
pub(crate) fn encode(samples: &[i16], rate: u32) -> Vec<u8> {
    let mut samples: Vec<i32> = samples.iter().copied().map(i32::from).collect();
    samples.resize(samples.len().next_multiple_of(BLOCK), 0);
    let Ok(config) = flacenc::config::Encoder::default().into_verified() else {
        return Vec::new();
    };
    let source = MemSource::from_samples(&samples, 1, 16, rate as usize);
    let Ok(stream) = flacenc::encode_with_fixed_block_size(&config, source, BLOCK) else {
        return Vec::new();
    };
    let mut sink = ByteSink::new();
    match stream.write(&mut sink) {
        Ok(()) => sink.as_slice().to_vec(),
        Err(_) => Vec::new(),
    }
}
