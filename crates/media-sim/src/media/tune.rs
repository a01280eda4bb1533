//! Sounds: a short melody that follows from the text, played by one of several encoders.

use bytes::Bytes;

use super::{flac, mp3, opus, vorbis, wav};
use crate::hash::Dice;

/// Format of a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SoundFormat {
    Mp3,
    Wav,
    /// WAV as a stream: the two lengths in its header are placeholders.
    StreamedWav,
    Flac,
    OggVorbis,
    OggOpus,
    /// 24 kHz, 16 bit, one channel, without a header.
    Pcm,
}

impl SoundFormat {
    /// One that was not asked for.
    pub(crate) fn other(self) -> SoundFormat {
        match self {
            Self::Mp3 => Self::Wav,
            _ => Self::Mp3,
        }
    }

    pub(crate) fn mime(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav | Self::StreamedWav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::OggVorbis => "audio/ogg",
            Self::OggOpus => "audio/opus",
            Self::Pcm => "audio/pcm",
        }
    }
}

/// What a sound is made from; equal specs give equal bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SoundSpec<'a> {
    pub(crate) seed: u64,
    pub(crate) length_ms: u32,
    pub(crate) format: SoundFormat,
    /// A title that is written into an ID3 tag, in MP3 only.
    pub(crate) title: Option<&'a str>,
}

/// A melody.
#[derive(Debug, Clone)]
pub(crate) struct Tune {
    notes: Vec<f64>,
    pub(crate) length_ms: u32,
}

/// Two octaves of a pentatonic scale: any order of these sounds like music.
const SCALE: [f64; 10] = [
    261.63, 293.66, 329.63, 392.0, 440.0, 523.25, 587.33, 659.26, 783.99, 880.0,
];

/// How long speaking a text takes in the simulator: 0.4 s to 2 s.
pub(crate) fn length_of(text: &str) -> u32 {
    (300 + 55 * text.chars().count().min(100) as u32).clamp(400, 2000)
}

impl Tune {
    pub(crate) fn new(seed: u64, length_ms: u32) -> Self {
        let mut dice = Dice::new(seed);
        let count = (length_ms / 120).clamp(3, 16);
        let notes = (0..count)
            .map(|_| dice.pick(&SCALE).copied().unwrap_or(440.0))
            .collect();
        Self { notes, length_ms }
    }

    /// The note at a time, in Hz.
    pub(crate) fn note(&self, ms: f64) -> f64 {
        let index = ms * self.notes.len() as f64 / f64::from(self.length_ms.max(1));
        self.notes
            .get((index.max(0.0) as usize).min(self.notes.len().saturating_sub(1)))
            .copied()
            .unwrap_or(440.0)
    }

    pub(crate) fn samples(&self, rate: u32) -> usize {
        (u64::from(self.length_ms) * u64::from(rate) / 1000) as usize
    }

    /// The melody as samples; each note fades out.
    pub(crate) fn pcm(&self, rate: u32) -> Vec<i16> {
        let total = self.samples(rate);
        let per_note = (total / self.notes.len().max(1)).max(1);
        (0..total)
            .map(|sample| {
                let frequency = self.note(sample as f64 * 1000.0 / f64::from(rate));
                let inside = sample % per_note;
                let fade = (1.0 - inside as f64 / per_note as f64).max(0.0) * (inside as f64 / 64.0).min(1.0);
                let angle = std::f64::consts::TAU * frequency * sample as f64 / f64::from(rate);
                ((angle.sin() + 0.3 * (2.0 * angle).sin()) * fade * 9000.0) as i16
            })
            .collect()
    }
}

impl SoundSpec<'_> {
    /// Makes the file.
    pub(crate) fn record(&self) -> Bytes {
        let tune = Tune::new(self.seed, self.length_ms);
        Bytes::from(match self.format {
            SoundFormat::Mp3 => mp3::encode(&tune, self.title),
            SoundFormat::Wav => wav::encode(&tune.pcm(24_000), 24_000, false),
            SoundFormat::StreamedWav => wav::encode(&tune.pcm(24_000), 24_000, true),
            SoundFormat::Flac => flac::encode(&tune.pcm(24_000), 24_000),
            SoundFormat::OggVorbis => vorbis::encode(&tune),
            SoundFormat::OggOpus => opus::encode(&tune),
            SoundFormat::Pcm => wav::raw(&tune.pcm(24_000)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sound_different_and_long_texts_longer() {
        assert_ne!(Tune::new(1, 800).pcm(24_000), Tune::new(2, 800).pcm(24_000));
        assert!(length_of("a") < length_of("a long sentence"));
        assert_eq!(length_of(&"x".repeat(4000)), 2000);
        let loudest = Tune::new(1, 800)
            .pcm(24_000)
            .into_iter()
            .map(i16::unsigned_abs)
            .max();
        assert!(loudest > Some(4000));
    }
}
