//! The media host: finished media by link, without a key.

use std::sync::Arc;

use http::Method;

use super::item;
use crate::answer::{Answer, Piece};
use crate::fault::{Op, Provider, Stage, Target};
use crate::media;
use crate::server::{self, Incoming};
use crate::state::Shared;

fn missing(status: u16) -> Answer {
    Answer::html(
        status,
        "<html><head><title>404 Not Found</title></head><body>Not Found</body></html>",
    )
}

pub(crate) async fn answer(shared: &Arc<Shared>, incoming: &Incoming, path: &str) -> Answer {
    let file = path.rsplit('/').next().unwrap_or_default();
    let (media_uuid, extension) = file.split_once('.').unwrap_or((file, ""));
    let known = shared.runware.hosted(media_uuid);
    let content = known
        .as_ref()
        .map(|(task, _)| task.content.clone())
        .unwrap_or_default();
    let target = Target {
        provider: Provider::Runware,
        op: Op::Media,
        path: &incoming.path,
        content: &content,
    };
    if let Err(answer) = server::before(shared, &target, missing).await {
        return answer;
    }
    if let Some(answer) = incoming.leaked_key() {
        return answer;
    }
    if incoming.method != Method::GET {
        return missing(405);
    }
    let now = shared.clock.now_ms();
    let alive = known.filter(|(task, index)| {
        let ready = task.ready_ms(*index);
        task.wanted.extension == extension && ready <= now && now < ready + task.wanted.ttl_s * 1000
    });
    let Some((task, index)) = alive else {
        return missing(404);
    };
    let (print, mime) = item::produce(shared, &task, index).await;
    let answer = match shared.faults.take(Stage::Media, &target) {
        None => Answer::of_pieces(200, mime, print.pieces().into_iter().map(Piece::Bytes).collect()),
        Some(fault) => {
            let spoiled = media::spoil(&fault, print.bytes(), || item::other(shared, &task, index));
            Answer::new(200, spoiled.mime.unwrap_or(mime), spoiled.bytes)
        }
    };
    let carried = task.charge.map(|charge| (charge, Some(index)));
    let answer = answer.delivering(&shared.ledger, carried.into_iter().collect());
    server::after(shared, &target, answer, missing)
}
