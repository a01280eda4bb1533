//! Looks at the bytes of a finished file: what they are, and whether they are whole.
//!
//! Decoders accept files that end early or go on too long (image 0.25.10 takes a JPEG with a tenth of its bytes,
//! symphonia a cut MP3; measured 2026-11-23), so an [`Inspector`] walks the container itself to its very end, on
//! the bytes as they pass. Decoding the contents is the decoders' job, and happens afterwards.
//!
//! # What a walk cannot see
//!
//! A container without any count of its contents that is cut exactly between two of its parts is a shorter, valid
//! file: an MP3 without Xing or VBRI header between frames, a streamed FLAC without a sample count between frames,
//! a streamed WAV between samples. Damage inside compressed data without checksums (JPEG, WebP, GIF, MP3, WAV) is
//! for decoders to find, or nobody.

mod crc;
#[cfg(any(feature = "decode-image", feature = "decode-audio"))]
mod decode;
mod defect;
#[cfg(test)]
mod encoders;
mod flac;
mod flac_frame;
mod gif;
mod inspector;
mod jpeg;
mod mp3;
mod names;
mod ogg;
mod png;
mod sniff;
#[cfg(test)]
mod tests;
mod walk;
mod wav;
mod webp;

#[cfg(feature = "decode-audio")]
pub use decode::decode_audio;
#[cfg(feature = "decode-image")]
pub use decode::{DecodeLimits, decode_image};
pub use defect::Defect;
pub use inspector::{Dimensions, Inspection, Inspector, Mend, inspect, inspect_reader};
pub use names::{NamePolicy, NameProblem, check_relative_path, collision_key, file_safe};
pub use sniff::{Found, FoundKind};
