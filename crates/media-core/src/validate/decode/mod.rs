//! Decodes a file fully with the libraries, under limits: validation level "full".
//!
//! Run it after the walk and not instead: decoders forgive what an inspection does not.

use super::defect::Defect;
#[cfg(feature = "decode-image")]
use super::inspector::Dimensions;
use crate::format::{Format, MediaKind};

fn undecodable<T>(format: Format, reason: impl std::fmt::Display) -> Result<T, Defect> {
    Err(Defect::Undecodable {
        format,
        reason: reason.to_string(),
    })
}

fn unreadable(error: &std::io::Error) -> Defect {
    Defect::Unreadable {
        reason: error.to_string(),
    }
}

/// A caller's mistake, answered as a file of the wrong kind.
fn expect_kind(format: Format, kind: MediaKind) -> Result<(), Defect> {
    if format.kind() == kind {
        Ok(())
    } else {
        undecodable(format, format!("it holds no {kind}"))
    }
}

#[cfg(feature = "decode-audio")]
pub use audio::decode_audio;
#[cfg(feature = "decode-image")]
pub use picture::{DecodeLimits, decode_image};

#[cfg(feature = "decode-image")]
mod picture;

#[cfg(feature = "decode-audio")]
mod audio;

#[cfg(test)]
#[cfg(all(feature = "decode-image", feature = "decode-audio"))]
mod tests;
