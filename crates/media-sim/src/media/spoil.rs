//! Damaging media on purpose.

use crate::fault::{FaultKind, WrongType};

/// Media after a fault.
#[derive(Debug)]
pub(crate) struct Spoiled {
    pub(crate) bytes: Vec<u8>,
    /// The content type to label it with, where that changes.
    pub(crate) mime: Option<&'static str>,
}

const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body>Checking your browser.</body></html>\n";

/// Applies a fault of the media stage. `other` makes valid media of another format.
pub(crate) fn spoil(fault: &FaultKind, mut bytes: Vec<u8>, other: impl FnOnce() -> Vec<u8>) -> Spoiled {
    let mut mime = None;
    match fault {
        FaultKind::Truncate { keep_percent } => {
            let keep = bytes.len() as u64 * u64::from(keep_percent.unwrap_or(50).min(100)) / 100;
            bytes.truncate(keep as usize);
        }
        FaultKind::Corrupt => {
            let (start, length) = (bytes.len() / 3, bytes.len() / 3);
            for byte in bytes.iter_mut().skip(start).take(length.max(1)) {
                *byte = byte.wrapping_mul(31).wrapping_add(0x5a);
            }
        }
        FaultKind::Empty => bytes.clear(),
        FaultKind::TrailingGarbage { bytes: count } => {
            bytes.extend(b"garbage ".iter().cycle().take(*count));
        }
        FaultKind::WrongType { what } => {
            match what {
                WrongType::Html => {
                    bytes = PAGE.to_vec();
                    mime = Some("text/html; charset=utf-8");
                }
                WrongType::Json => {
                    bytes = br#"{"error":{"message":"The file is not ready.","type":"server_error","code":null}}"#.to_vec();
                    mime = Some("application/json");
                }
                WrongType::HtmlAsMedia => bytes = PAGE.to_vec(),
                WrongType::OtherFormat => bytes = other(),
            }
        }
        _ => {}
    }
    Spoiled { bytes, mime }
}
