//! Server-sent events while they arrive: the JSON of each goes through a diverter, so that no picture in one is ever
//! whole in memory, though it stands on a single line.

use crate::error::Result;
use crate::lenient;
use crate::output::Staged;

use super::divert::Diverter;

/// One event: its JSON, and the media that were in it.
pub(super) struct Event {
    /// What its `event` line says.
    name: String,
    pub(super) text: Vec<u8>,
    pub(super) media: Vec<Staged>,
}

impl Event {
    /// What kind of event it is: the `type` of its JSON, or else what its `event` line says.
    pub(super) fn kind(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Typed {
            #[serde(rename = "type")]
            kind: String,
        }
        lenient::json(&self.text).map_or_else(|_| self.name.clone(), |typed: Typed| typed.kind)
    }

    /// The mark after the last event that some services send.
    pub(super) fn is_end_mark(&self) -> bool {
        self.text.trim_ascii().starts_with(b"[DONE]")
    }
}

/// Takes a stream of events apart, by the rules of the HTML standard's section 9.2.6.
pub(super) struct Events<'a, F> {
    diverter: F,
    line: Line,
    /// The last byte was a carriage return: a line feed after it ends no line of its own.
    is_after_return: bool,
    name: Vec<u8>,
    /// The data of the event so far, if it has any.
    data: Option<Diverter<'a>>,
}

/// Where in a line it is.
enum Line {
    Field(Vec<u8>),
    Data { is_first: bool },
    Name { is_first: bool },
    Ignored,
}

/// Longer names of fields and of events are none of ours.
const LONGEST_NAME: usize = 256;

impl<'a, F: Fn() -> Diverter<'a>> Events<'a, F> {
    /// `diverter` makes one for each event.
    pub(super) fn new(diverter: F) -> Events<'a, F> {
        Events {
            diverter,
            line: Line::Field(Vec::new()),
            is_after_return: false,
            name: Vec::new(),
            data: None,
        }
    }

    /// Takes from `bytes` up to the end of the next event, or all of them.
    pub(super) async fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>> {
        while let Some((&byte, tail)) = bytes.split_first() {
            if std::mem::take(&mut self.is_after_return) && byte == b'\n' {
                *bytes = tail;
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                *bytes = tail;
                self.is_after_return = byte == b'\r';
                if self.end_line()
                    && let Some(event) = self.finish()
                {
                    return Ok(Some(event));
                }
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
            let (rest_of_line, after) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            match &mut self.line {
                Line::Field(field) => {
                    *bytes = tail;
                    if byte == b':' {
                        let field = std::mem::take(field);
                        self.begin_value(&field).await?;
                    } else if field.len() < LONGEST_NAME {
                        field.push(byte);
                    } else {
                        self.line = Line::Ignored;
                    }
                }
                Line::Data { is_first } => {
                    let value = without_space(rest_of_line, is_first);
                    if let Some(data) = &mut self.data {
                        data.push(value).await?;
                    }
                    *bytes = after;
                }
                Line::Name { is_first } => {
                    let value = without_space(rest_of_line, is_first);
                    let room = LONGEST_NAME.saturating_sub(self.name.len()).min(value.len());
                    self.name.extend_from_slice(value.get(..room).unwrap_or_default());
                    *bytes = after;
                }
                Line::Ignored => *bytes = after,
            }
        }
        Ok(None)
    }

    /// What follows the colon after this field.
    async fn begin_value(&mut self, field: &[u8]) -> Result<()> {
        let is_first = true;
        // A byte order mark may stand before the very first field.
        self.line = match field.strip_prefix("\u{feff}".as_bytes()).unwrap_or(field) {
            b"data" => {
                match &mut self.data {
                    Some(data) => data.push(b"\n").await?,
                    None => self.data = Some((self.diverter)()),
                }
                Line::Data { is_first }
            }
            b"event" => {
                self.name.clear();
                Line::Name { is_first }
            }
            _ => Line::Ignored,
        };
        Ok(())
    }

    /// Whether the line that ends was empty, which ends the event.
    fn end_line(&mut self) -> bool {
        let line = std::mem::replace(&mut self.line, Line::Field(Vec::new()));
        matches!(line, Line::Field(field) if field.is_empty())
    }

    /// The event that the stream ended in, if it has data. Whether they are whole is serde's to say.
    pub(super) fn finish(&mut self) -> Option<Event> {
        let name = String::from_utf8_lossy(&std::mem::take(&mut self.name)).into_owned();
        let (text, media) = self.data.take()?.finish();
        Some(Event { name, text, media })
    }
}

/// One space after the colon belongs to the colon.
fn without_space<'b>(value: &'b [u8], is_first: &mut bool) -> &'b [u8] {
    if std::mem::take(is_first) {
        value.strip_prefix(b" ").unwrap_or(value)
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Intake, Staging};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    /// Kind, text and length of the media of every event.
    async fn read(body: &[u8], piece: usize) -> Result<Vec<(String, String, Vec<u64>)>> {
        let (staging, folder) = (Staging::Beside, tempfile::tempdir().unwrap());
        let output = folder.path().join("x.png");
        let intake = Intake::new(&staging, &output, 1 << 20);
        let mut events = Events::new(|| Diverter::new(&["b64_json"], intake, 1 << 16));
        let mut seen = Vec::new();
        for mut bytes in body.chunks(piece) {
            while let Some(event) = events.next(&mut bytes).await? {
                seen.push(event);
            }
        }
        seen.extend(events.finish());
        let told = |event: Event| {
            let lengths = event.media.iter().map(Staged::len).collect();
            (event.kind(), String::from_utf8(event.text).unwrap(), lengths)
        };
        Ok(seen.into_iter().map(told).collect())
    }

    #[tokio::test]
    async fn events_come_out_whole_however_they_arrive() {
        let picture = STANDARD.encode([7_u8; 3000]);
        let lines = format!(
            "\u{feff}: a comment\nid: 1\nevent: named\ndata: {{\"b64_json\":\"{picture}\",\n\
             data:\"x\": 1}}\nretry\n\n\n\nevent: other\n\ndata: {{\"type\":\"told\", \"b64_json\": null}}\n\n\
             data: [DONE]\n\ndata:  two spaces"
        );
        for end in ["\n", "\r\n", "\r"] {
            let body = lines.replace('\n', end);
            for piece in [1, 2, 5, 1000, body.len()] {
                let seen = read(body.as_bytes(), piece).await.unwrap();
                let told: Vec<_> = seen.iter().map(|(kind, text, _)| (&**kind, &**text)).collect();
                assert_eq!(
                    told,
                    [
                        ("named", "{\"b64_json\":\"\\u0001media:0\",\n\"x\": 1}"),
                        ("told", "{\"type\":\"told\", \"b64_json\": null}"),
                        ("", "[DONE]"),
                        ("", " two spaces"),
                    ],
                    "{end:?} {piece}"
                );
                assert_eq!(seen[0].2, [3000]);
            }
        }
    }

    #[tokio::test]
    async fn a_flood_in_one_event_is_refused_and_many_small_ones_are_not() {
        let small = format!("data: {{\"x\": \"{}\"}}\n\n", "y".repeat(1000)).repeat(200);
        assert_eq!(read(small.as_bytes(), 4096).await.unwrap().len(), 200);
        let large = format!("data: {{\"x\": \"{}\"}}\n\n", "y".repeat(100_000));
        assert!(read(large.as_bytes(), 4096).await.is_err());
        let endless = "z".repeat(1 << 20);
        assert!(read(endless.as_bytes(), 4096).await.unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(body in "[\\r\\n:dat ev\\PC]{0,80}", piece in 1_usize..9) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(body.as_bytes(), piece));
        }
    }
}
