//! Result items: what stands in `data`.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Object;
use super::check::{Kind, Output};
use super::tasks::Task;
use crate::answer::Piece;
use crate::bill::ChargeId;
use crate::fault::{Stage, Target};
use crate::hash;
use crate::media::{self, PictureFormat, PictureSpec, Print, SoundFormat, SoundSpec, length_of};
use crate::state::Shared;

/// An item, with base64 kept in shared pieces until it is sent.
#[derive(Debug)]
pub(crate) struct Item {
    object: Object,
    /// The field with the media, what stands before the base64, and the base64.
    media: Option<(&'static str, String, Vec<Bytes>)>,
    /// The result that this item hands out.
    pub(crate) carries: Option<(ChargeId, Option<usize>)>,
}

impl Item {
    pub(crate) fn plain(value: Value) -> Self {
        let object = match value {
            Value::Object(object) => object,
            _ => Object::new(),
        };
        Self {
            object,
            media: None,
            carries: None,
        }
    }

    /// The item as one value.
    pub(crate) fn value(&self) -> Value {
        let mut object = self.object.clone();
        if let Some((field, start, base64)) = &self.media {
            let text = [start.as_bytes(), &base64.concat()].concat();
            object.insert(
                (*field).to_owned(),
                Value::from(String::from_utf8_lossy(&text).into_owned()),
            );
        }
        Value::Object(object)
    }

    pub(crate) fn into_pieces(self) -> Vec<Piece> {
        let mut text = Value::Object(self.object).to_string();
        let Some((field, start, base64)) = self.media else {
            return vec![Piece::Bytes(text.into())];
        };
        text.pop();
        text.push_str(&format!(",\"{field}\":\"{start}"));
        let mut pieces = vec![Piece::Bytes(Bytes::from(text))];
        pieces.extend(base64.into_iter().map(Piece::Bytes));
        pieces.push(Piece::Bytes("\"}".into()));
        pieces
    }
}

/// The single item that says an async task was taken, however many results it will have.
pub(crate) fn acknowledged(task: &Task) -> Item {
    Item::plain(json!({"taskType": task.task_type, "taskUUID": task.uuid}))
}

/// The results of a task, in stable order. `polled`: with a status each, and those not ready as `processing`.
pub(crate) async fn finished(shared: &Arc<Shared>, task: &Arc<Task>, polled: bool) -> Vec<Item> {
    let now = shared.clock.now_ms();
    let mut items = Vec::new();
    for index in 0..task.wanted.results {
        if polled && task.ready_ms(index) > now {
            items.push(Item::plain(json!({
                "taskType": task.task_type, "taskUUID": task.uuid, "status": "processing"})));
        } else {
            items.push(result(shared, task, index, polled).await);
        }
    }
    items
}

async fn result(shared: &Arc<Shared>, task: &Arc<Task>, index: usize, polled: bool) -> Item {
    let picture = matches!(task.wanted.kind, Kind::Picture { .. });
    let prefix = if picture { "image" } else { "audio" };
    let media_uuid = task.media_uuid(index);
    let mut item = acknowledged(task);
    let object = &mut item.object;
    object.insert(format!("{prefix}UUID"), json!(media_uuid));
    object.insert("seed".to_owned(), json!(seed(task, index)));
    if polled {
        object.insert("status".to_owned(), json!("success"));
    }
    if let Kind::Picture { nsfw: Some(nsfw), .. } = &task.wanted.kind {
        object.insert("NSFWContent".to_owned(), json!(nsfw));
    }
    if task.wanted.include_cost {
        object.insert("cost".to_owned(), json!(task.wanted.usd_each));
    }
    if task.wanted.output == Output::Url {
        let folder = if picture {
            "image/os/a01d21/ws/2/ii"
        } else {
            "audio/os/a01d21/ws/2/ai"
        };
        let url = format!(
            "{}/runware-media/{folder}/{media_uuid}.{}",
            shared.url, task.wanted.extension
        );
        object.insert(format!("{prefix}URL"), json!(url));
        return item;
    }
    let target = Target {
        provider: crate::fault::Provider::Runware,
        op: super::op_of(&task.task_type),
        path: "/runware/v1",
        content: &task.content,
    };
    let (print, mime) = produce(shared, task, index).await;
    let print = match shared.faults.take(Stage::Media, &target) {
        None => print,
        Some(fault) => Print::whole(media::spoil(&fault, print.bytes(), || other(shared, task, index)).bytes),
    };
    item.carries = task.charge.map(|charge| (charge, Some(index)));
    item.media = Some(match (task.wanted.output, picture) {
        (Output::DataUri, true) => ("imageDataURI", format!("data:{mime};base64,"), print.base64()),
        (Output::DataUri, false) => ("audioDataURI", format!("data:{mime};base64,"), print.base64()),
        (_, true) => ("imageBase64Data", String::new(), print.base64()),
        (_, false) => ("audioBase64Data", String::new(), print.base64()),
    });
    item
}

/// The seed of a result: counted up from the first, so that results of one task differ.
fn seed(task: &Task, index: usize) -> u64 {
    task.seed.saturating_add(index as u64)
}

fn picture(
    task: &Task,
    index: usize,
    width: u32,
    height: u32,
    format: PictureFormat,
    quality: u8,
) -> PictureSpec {
    let seed = seed(task, index).to_string();
    PictureSpec {
        text: task.content.clone(),
        footer: format!("{} seed {seed}", task.wanted.model),
        hash: hash::of_parts(&[
            &task.content,
            &seed,
            &task.wanted.model,
            &format!("{width}x{height}"),
        ]),
        width,
        height,
        format,
        quality,
        transparent: false,
    }
}

fn sound(task: &Task, index: usize, voice: &str, format: SoundFormat) -> Bytes {
    let seed = hash::number(&[
        &task.content,
        voice,
        &task.wanted.model,
        &seed(task, index).to_string(),
    ]);
    SoundSpec {
        seed,
        length_ms: length_of(&task.content),
        format,
        title: None,
    }
    .record()
}

/// Makes the media of a result. The same prompt, seed, model and size give the same bytes.
pub(crate) async fn produce(shared: &Arc<Shared>, task: &Task, index: usize) -> (Print, &'static str) {
    match &task.wanted.kind {
        Kind::Picture {
            width,
            height,
            format,
            quality,
            ..
        } => {
            let spec = picture(task, index, *width, *height, *format, *quality);
            (media::picture(shared, spec).await, format.mime())
        }
        Kind::Sound { voice, format } => (
            Print::whole(sound(task, index, voice, *format).to_vec()),
            format.mime(),
        ),
    }
}

/// The media in another format than was asked for.
pub(crate) fn other(shared: &Shared, task: &Task, index: usize) -> Vec<u8> {
    match &task.wanted.kind {
        Kind::Picture {
            width,
            height,
            format,
            quality,
            ..
        } => {
            let format = format.other();
            shared
                .studio
                .print(&picture(task, index, *width, *height, format, *quality))
                .bytes()
        }
        Kind::Sound { voice, format } => sound(task, index, voice, format.other()).to_vec(),
    }
}
