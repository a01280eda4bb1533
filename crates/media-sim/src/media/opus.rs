//! Ogg Opus: the opus-rs encoder in the ogg crate's pages.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use opus_rs::{Application, OpusEncoder};

use super::tune::Tune;

const RATE: u32 = 48_000;
/// 20 ms.
const FRAME: usize = 960;
/// Samples that a decoder drops at the start; the value libopus has at 48 kHz.
const SKIP: usize = 312;
const SERIAL: u32 = 0x7369_6d01;

/// Opus at 32 kbit/s, mono.
pub(crate) fn encode(tune: &Tune) -> Vec<u8> {
    let samples: Vec<f32> = tune
        .pcm(RATE)
        .into_iter()
        .map(|sample| f32::from(sample) / 32_768.0)
        .collect();
    let Ok(mut encoder) = OpusEncoder::new(RATE as i32, 1, Application::Audio) else {
        return Vec::new();
    };
    encoder.bitrate_bps = 32_000;
    let mut packets = Vec::new();
    for chunk in samples.chunks(FRAME) {
        let mut frame = chunk.to_vec();
        frame.resize(FRAME, 0.0);
        let mut packet = vec![0; 1275];
        let Ok(length) = encoder.encode(&frame, FRAME, &mut packet) else {
            return Vec::new();
        };
        packet.truncate(length);
        packets.push(packet);
    }
    pages(packets, samples.len()).unwrap_or_default()
}

fn pages(packets: Vec<Vec<u8>>, samples: usize) -> std::io::Result<Vec<u8>> {
    let mut writer = PacketWriter::new(Vec::new());
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&(SKIP as u16).to_le_bytes());
    head.extend_from_slice(&RATE.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    writer.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    let vendor = b"media-sim";
    let tags = [
        b"OpusTags".as_slice(),
        &(vendor.len() as u32).to_le_bytes(),
        vendor,
        &[0; 4],
    ]
    .concat();
    writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
    let count = packets.len();
    for (index, packet) in packets.into_iter().enumerate() {
        let last = index + 1 == count;
        let end = match (last, index % 50) {
            (true, _) => PacketWriteEndInfo::EndStream,
            (_, 49) => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        // The last position may cut samples off the end, never add any.
        let position = ((index + 1) * FRAME).min(if last { samples + SKIP } else { usize::MAX });
        writer.write_packet(packet, SERIAL, end, position as u64)?;
    }
    Ok(writer.into_inner())
}
