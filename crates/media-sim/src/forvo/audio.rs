//! Items with links to recordings, and the recordings.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::words::Recording;
use super::{day_of, default_error, quota_answer};
use crate::answer::{Answer, Piece};
use crate::fault::{Op, Provider, Stage, Target};
use crate::hash;
use crate::media::{self, SoundFormat, SoundSpec, length_of};
use crate::server::{self, Incoming};
use crate::state::Shared;

/// Tokens have this length in the wild.
const TOKEN: usize = 225;

/// What a link says. It is all in the token, so that nothing has to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    key: usize,
    ogg: bool,
    length_ms: u32,
    expires_ms: u64,
    id: u64,
}

impl Grant {
    fn payload(self) -> String {
        format!(
            "{:02x}{:x}{:04x}{:012x}{:08x}",
            self.key,
            u8::from(self.ogg),
            self.length_ms,
            self.expires_ms,
            self.id
        )
    }

    /// Two parts joined by `_`: what is granted, and a long proof.
    fn token(self, secret: u64) -> String {
        let payload = self.payload();
        let mut proof = String::new();
        let mut round = 0;
        while payload.len() + 1 + proof.len() < TOKEN {
            let hash = hash::of_parts(&["token", &payload, &secret.to_string(), &round.to_string()]);
            proof.push_str(&hash::hex(&hash));
            round += 1;
        }
        let mut token = format!("{payload}_{proof}");
        token.truncate(TOKEN);
        token
    }

    fn read(token: &str, secret: u64) -> Option<Self> {
        let part = |from: usize, to: usize| u64::from_str_radix(token.get(from..to)?, 16).ok();
        let grant = Self {
            key: part(0, 2)? as usize,
            ogg: part(2, 3)? == 1,
            length_ms: part(3, 7)? as u32,
            expires_ms: part(7, 19)?,
            id: part(19, 27)?,
        };
        (grant.token(secret) == token).then_some(grant)
    }
}

/// A recording as an item of an answer, with fresh links.
pub(crate) fn show(shared: &Shared, key: usize, recording: &Recording) -> Value {
    let grant = Grant {
        key,
        ogg: false,
        length_ms: length_of(&recording.original),
        expires_ms: shared.clock.now_ms() + shared.scenario.forvo.link_ttl_s * 1000,
        id: recording.id,
    };
    shared.forvo.listed(recording.id, &recording.original);
    let link = |ogg: bool| {
        let token = Grant { ogg, ..grant }.token(shared.forvo.secret);
        format!("{}/forvo/audio/{token}", shared.url)
    };
    json!({
        "id": recording.id,
        "word": recording.slug(),
        "original": recording.original,
        "addtime": recording.addtime,
        "hits": recording.hits,
        "username": recording.username,
        "sex": recording.sex,
        "country": recording.country,
        "code": recording.language,
        "langname": recording.language_name(),
        "pathmp3": link(false),
        "pathogg": link(true),
        "rate": recording.rate(),
        "num_votes": recording.votes,
        "num_positive_votes": recording.positive,
    })
}

/// A recording by its link. It counts as a call of the key that the link was given to.
pub(crate) async fn answer(shared: &Shared, incoming: &Incoming, token: &str) -> Answer {
    let grant = Grant::read(token, shared.forvo.secret);
    let word = grant.map(|grant| shared.forvo.word(grant.id)).unwrap_or_default();
    let target = Target {
        provider: Provider::Forvo,
        op: Op::Audio,
        path: &incoming.path,
        content: &word,
    };
    if let Err(answer) = server::before(shared, &target, default_error).await {
        return answer;
    }
    if let Some(answer) = incoming.leaked_key() {
        return answer;
    }
    let answer = serve(shared, incoming, &target, grant)
        .await
        .unwrap_or_else(|refusal| refusal);
    server::after(shared, &target, answer, default_error)
}

async fn serve(
    shared: &Shared,
    incoming: &Incoming,
    target: &Target<'_>,
    grant: Option<Grant>,
) -> Result<Answer, Answer> {
    let scenario = &shared.scenario.forvo;
    if incoming.method != Method::GET {
        return Err(default_error(405));
    }
    let now = shared.clock.now_ms();
    // What the real service says of a dead link is not known.
    let grant = grant
        .filter(|grant| now < grant.expires_ms)
        .ok_or_else(|| default_error(404))?;
    let _pass = shared
        .forvo
        .busy
        .enter(grant.key, scenario.limits.concurrency)
        .ok_or_else(|| super::too_many(1000))?;
    shared
        .forvo
        .pace(scenario, grant.key, now)
        .map_err(super::too_many)?;
    if !shared.forvo.count(scenario, grant.key, day_of(now)) {
        // On an audio link the same body comes with status 200, as JSON where sound was due.
        let mut answer = quota_answer(scenario);
        answer.status = http::StatusCode::OK;
        return Err(answer);
    }
    tokio::time::sleep(Duration::from_millis(scenario.latency_ms.audio)).await;
    let title = format!("Forvo {}", grant.id);
    let spec = |format: SoundFormat| SoundSpec {
        seed: grant.id,
        length_ms: grant.length_ms,
        format,
        title: Some(title.as_str()),
    };
    let (format, other) = match grant.ogg {
        true => (SoundFormat::OggVorbis, SoundFormat::Mp3),
        false => (SoundFormat::Mp3, SoundFormat::OggVorbis),
    };
    let sound = spec(format).record();
    Ok(match shared.faults.take(Stage::Media, target) {
        None => Answer::of_pieces(200, format.mime(), vec![Piece::Bytes(sound)]),
        Some(fault) => {
            let spoiled = media::spoil(&fault, sound.to_vec(), || spec(other).record().to_vec());
            Answer::new(200, spoiled.mime.unwrap_or(format.mime()), spoiled.bytes)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_grant_and_cannot_be_bent() {
        let grant = Grant {
            key: 1,
            ogg: true,
            length_ms: 700,
            expires_ms: 1_795_392_000_000,
            id: 9_999_999,
        };
        let token = grant.token(7);
        assert_eq!(token.len(), TOKEN);
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        );
        assert_eq!(Grant::read(&token, 7), Some(grant));
        assert_eq!(Grant::read(&token, 8), None);
        assert_eq!(Grant::read(&format!("0{token}"), 7), None);
        assert_eq!(Grant::read("é", 7), None);
        assert_eq!(Grant::read(&token.replacen("01", "00", 1), 7), None);
    }
}
