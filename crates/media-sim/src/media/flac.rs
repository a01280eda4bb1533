//! FLAC, by the flacenc crate.

use flacenc::bitsink::ByteSink;
use flacenc::component::BitRepr;
use flacenc::error::Verify;
use flacenc::source::MemSource;

/// 16-bit mono FLAC; the encoder's own checks cannot fail on such input, and if they did, the empty file would show.
pub(crate) fn encode(samples: &[i16], rate: u32) -> Vec<u8> {
    let samples: Vec<i32> = samples.iter().copied().map(i32::from).collect();
    let Ok(config) = flacenc::config::Encoder::default().into_verified() else { return Vec::new() };
    let source = MemSource::from_samples(&samples, 1, 16, rate as usize);
    let Ok(stream) = flacenc::encode_with_fixed_block_size(&config, source, 4096) else { return Vec::new() };
    let mut sink = ByteSink::new();
    match stream.write(&mut sink) {
        Ok(()) => sink.as_slice().to_vec(),
        Err(_) => Vec::new(),
    }
}
