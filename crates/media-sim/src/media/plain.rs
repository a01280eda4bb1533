//! Pictures that share their pixels: a finished file, cut open where a comment of its own and a shared padding fit in.

use std::sync::Arc;

use bytes::Bytes;

use super::picture::{PictureFormat, Print, Tail};
use crate::hash::hex;

/// A file without its comment.
#[derive(Debug)]
pub(crate) struct Base {
    format: PictureFormat,
    /// What stands before the comment.
    front: Bytes,
    /// How long the comment is, so that the head's length is a multiple of 3.
    comment: usize,
    tail: Arc<Tail>,
}

/// The shortest comment: a hash in hex.
const HASH: usize = 64;

impl Base {
    /// Opens a file from this crate's encoders. `pad`: at least so many bytes in all, in chunks that decoders skip.
    pub(crate) fn new(format: PictureFormat, file: Vec<u8>, pad: u64, transparent: bool) -> Self {
        let missing = (pad as usize).saturating_sub(file.len());
        let (front, rest, padding) = match format {
            // Signature and IHDR are 8 + 25 bytes.
            PictureFormat::Png => {
                let (front, rest) = split(file, 33);
                (
                    front,
                    rest,
                    if missing > 0 {
                        png_chunk(b"siMp", &vec![0; missing])
                    } else {
                        Vec::new()
                    },
                )
            }
            // SOI and the JFIF segment are 2 + 18 bytes.
            PictureFormat::Jpeg => {
                let (front, rest) = split(file, 20);
                (front, rest, jpeg_padding(missing))
            }
            PictureFormat::Webp => (
                extended_webp(&file, transparent),
                Vec::new(),
                webp_padding(missing),
            ),
        };
        let comment = (HASH..HASH + 6).find(|length| {
            let whole = front.len() + comment_of(format, &vec![b' '; *length]).len();
            // RIFF chunks are padded to even lengths; an even comment needs no such byte.
            whole.is_multiple_of(3) && (format != PictureFormat::Webp || length.is_multiple_of(2))
        });
        let comment = comment.unwrap_or(HASH);
        let mut front = front;
        if format == PictureFormat::Webp {
            let size = front.len() - 8 + 8 + comment + padding.len();
            if let Some(field) = front.get_mut(4..8) {
                field.copy_from_slice(&(size as u32).to_le_bytes());
            }
        }
        let tail = Arc::new(Tail::new(Bytes::from([padding, rest].concat())));
        Self {
            format,
            front: Bytes::from(front),
            comment,
            tail,
        }
    }

    /// The file with the comment that makes it one of a kind.
    pub(crate) fn print(&self, hash: &[u8; 32]) -> Print {
        let mut comment = hex(hash).into_bytes();
        comment.resize(self.comment, b' ');
        let head = [self.front.as_ref(), &comment_of(self.format, &comment)].concat();
        Print {
            head: Bytes::from(head),
            tail: Arc::clone(&self.tail),
        }
    }
}

fn split(mut file: Vec<u8>, at: usize) -> (Vec<u8>, Vec<u8>) {
    let rest = file.split_off(at.min(file.len()));
    (file, rest)
}

fn comment_of(format: PictureFormat, text: &[u8]) -> Vec<u8> {
    match format {
        PictureFormat::Png => png_chunk(b"tEXt", &[b"Comment\0", text].concat()),
        PictureFormat::Jpeg => [
            &[0xff, 0xfe],
            (text.len() as u16 + 2).to_be_bytes().as_slice(),
            text,
        ]
        .concat(),
        PictureFormat::Webp => riff_chunk(b"siMh", text),
    }
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    checksum.update(data);
    [
        &(data.len() as u32).to_be_bytes(),
        kind.as_slice(),
        data,
        &checksum.finalize().to_be_bytes(),
    ]
    .concat()
}

/// Comment segments; each holds at most 65,533 bytes.
fn jpeg_padding(mut missing: usize) -> Vec<u8> {
    let mut padding = Vec::with_capacity(missing + missing / 1000);
    while missing > 0 {
        let part = missing.min(65_533);
        padding.extend_from_slice(&[0xff, 0xfe]);
        padding.extend_from_slice(&(part as u16 + 2).to_be_bytes());
        padding.resize(padding.len() + part, 0);
        missing -= part;
    }
    padding
}

fn riff_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = [kind.as_slice(), &(data.len() as u32).to_le_bytes(), data].concat();
    if !data.len().is_multiple_of(2) {
        chunk.push(0);
    }
    chunk
}

fn webp_padding(missing: usize) -> Vec<u8> {
    if missing == 0 {
        Vec::new()
    } else {
        riff_chunk(b"siMp", &vec![0; missing])
    }
}

/// The extended form of a simple lossless WebP: only that one may hold unknown chunks.
fn extended_webp(file: &[u8], transparent: bool) -> Vec<u8> {
    let chunks = file.get(12..).unwrap_or_default();
    // VP8L: 8 bytes of chunk header, a signature byte, then 14 bits each of width - 1 and height - 1.
    let mut dimensions = [0; 4];
    if let Some(bytes) = chunks.get(9..13) {
        dimensions.copy_from_slice(bytes);
    }
    let packed = u32::from_le_bytes(dimensions);
    let (width, height) = (packed & 0x3fff, packed >> 14 & 0x3fff);
    let flags = if transparent { 0x10 } else { 0 };
    let [w0, w1, w2, _] = width.to_le_bytes();
    let [h0, h1, h2, _] = height.to_le_bytes();
    let header = riff_chunk(b"VP8X", &[flags, 0, 0, 0, w0, w1, w2, h0, h1, h2]);
    [b"RIFF\0\0\0\0WEBP", header.as_slice(), chunks].concat()
}
