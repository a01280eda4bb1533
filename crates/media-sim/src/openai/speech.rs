//! `POST /audio/speech`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::auth::Key;
use super::error::ApiError;
use super::speech_request::{self, SpeechRequest};
use super::{Call, limits, tokens_of};
use crate::answer::{Answer, Piece};
use crate::fault::{FaultKind, Stage};
use crate::hash;
use crate::media::{self, SoundSpec, length_of};

/// Audio goes out in chunks of this size: there is no length to go by.
const CHUNK: usize = 4096;

pub(crate) async fn speak(call: &Call<'_>, key: &Key<'_>) -> Result<Answer, ApiError> {
    let request = speech_request::read(call)?;
    key.may_generate(&request.model, false)?;
    let _pass = call
        .shared
        .openai
        .busy
        .enter(key.index, key.limits.concurrency)
        .ok_or_else(limits::slow_down)?;
    let length_ms = length_ms(&request);
    let input = tokens_of(&request.input)
        + if request.instructions.is_empty() {
            0
        } else {
            tokens_of(&request.instructions)
        };
    // Audio tokens: 1250 a minute.
    let output = (u64::from(length_ms) * 1250).div_ceil(60_000);
    let want = limits::Want {
        images: None,
        tokens: input + output,
    };
    let levels = match limits::admit(call, key, &request.model, want) {
        Ok(levels) => levels,
        Err(refusal) => return Ok(refusal),
    };
    let characters = request.input.chars().count() as f64;
    let usd = match request.family.as_str() {
        "tts-1" => characters * 15.0 / 1e6,
        "tts-1-hd" => characters * 30.0 / 1e6,
        _ => (input as f64 * 0.60 + output as f64 * 12.0) / 1e6,
    };
    let charge = call
        .shared
        .ledger
        .charge("openai", &call.id, &request.model, &request.input, usd, 1);
    tokio::time::sleep(Duration::from_millis(
        call.shared.scenario.openai.latency_ms.speech,
    ))
    .await;
    let (sound, mime) = sound(call, &request, length_ms);
    let answer = if request.events {
        events(&sound, input, output)
    } else {
        audio(sound, mime)
    };
    Ok(levels.tell(answer.delivering(&call.shared.ledger, vec![(charge, None)])))
}

fn length_ms(request: &SpeechRequest) -> u32 {
    (f64::from(length_of(&request.input)) / request.speed) as u32
}

/// Makes the sound, damaged if a fault says so.
pub(crate) fn sound(call: &Call<'_>, request: &SpeechRequest, length_ms: u32) -> (Bytes, &'static str) {
    let seed = hash::number(&[
        &request.input,
        &request.voice,
        &request.model,
        &request.instructions,
    ]);
    let spec = SoundSpec {
        seed,
        length_ms,
        format: request.format,
        title: None,
    };
    let sound = spec.record();
    let mime = request.format.mime();
    match call.shared.faults.take(Stage::Media, &call.target()) {
        None => (sound, mime),
        Some(fault) => {
            let other = || {
                let format = request.format.other();
                SoundSpec { format, ..spec }.record().to_vec()
            };
            let spoiled = media::spoil(&fault, sound.to_vec(), other);
            (Bytes::from(spoiled.bytes), spoiled.mime.unwrap_or(mime))
        }
    }
}

pub(crate) fn audio(sound: Bytes, mime: &'static str) -> Answer {
    let mut pieces = Vec::new();
    let mut rest = sound;
    while !rest.is_empty() {
        pieces.push(Piece::Bytes(rest.split_to(CHUNK.min(rest.len()))));
    }
    Answer::of_pieces(200, mime, pieces).chunked()
}

fn events(sound: &Bytes, input: u64, output: u64) -> Answer {
    let event = |value: serde_json::Value| Piece::Bytes(Bytes::from(format!("data: {value}\n\n")));
    let mut pieces: Vec<Piece> = sound
        .chunks(CHUNK)
        .map(|chunk| event(json!({"type": "speech.audio.delta", "audio": STANDARD.encode(chunk)})))
        .collect();
    pieces.push(event(json!({"type": "speech.audio.done", "usage": {
        "input_tokens": input, "output_tokens": output, "total_tokens": input + output}})));
    Answer::of_pieces(200, "text/event-stream; charset=utf-8", pieces).chunked()
}

/// Whether a fault of the results stage leaves the answer empty.
pub(crate) fn emptied(call: &Call<'_>) -> bool {
    call.shared.faults.take(Stage::Results, &call.target()) == Some(FaultKind::EmptyData)
}
