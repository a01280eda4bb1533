//! The result files of a batch on disk: each line found by its id, and read where it stands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use media_core::{Error, ErrorKind, Result, Scratch, lenient};
use serde_json::Value;

/// How much of the beginning and of the end of a line is looked through for its id: what lies between is a picture.
const EDGE: usize = 8 << 10;

/// The result files of one batch, with where each line is.
#[derive(Debug)]
pub(crate) struct Results {
    batch: String,
    files: Vec<Scratch>,
    lines: HashMap<String, Line>,
    /// Jobs with a result, whether it was read or not.
    found: u64,
    /// Why one of the files could not be fetched.
    unread: Option<Error>,
}

impl Results {
    pub(crate) fn of(batch: &str) -> Results {
        Results {
            batch: batch.to_owned(),
            files: Vec::new(),
            lines: HashMap::new(),
            found: 0,
            unread: None,
        }
    }

    /// Finds the lines of one more file. Results and failures may stand in either.
    pub(crate) async fn add(&mut self, file: Scratch, is_output: bool) -> Result<()> {
        let failed = || Error::new(ErrorKind::Storage, "the results of a batch cannot be read");
        let path = file.to_path_buf();
        let read = move || Ok::<_, std::io::Error>((lines_of(&path)?, std::fs::metadata(&path)?.len() > 0));
        let found = tokio::task::spawn_blocking(read).await;
        let found = found.map_err(|error| failed().because(error))?;
        let (found, has_content) = found.map_err(|error| failed().because(error))?;
        let place = self.files.len();
        if found.is_empty() && (is_output || has_content) {
            self.unread.get_or_insert_with(|| {
                Error::new(
                    ErrorKind::BadResponse,
                    "a result file holds no line that can be read",
                )
            });
        }
        for Found { id, range, is_result } in found {
            let line = Line {
                file: place,
                range,
                is_result,
            };
            match self.lines.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(line);
                }
                // What was made is not unmade by another line.
                Entry::Occupied(mut known) if is_result && !known.get().is_result => {
                    known.insert(line);
                }
                Entry::Occupied(_) => continue,
            }
            self.found += u64::from(is_result);
        }
        self.files.push(file);
        Ok(())
    }

    /// One of the files could not be fetched: what no other one tells may stand in it.
    pub(crate) fn lacks(&mut self, error: Error) {
        self.unread.get_or_insert(error);
    }

    pub(crate) fn unread(&self) -> Option<&Error> {
        self.unread.as_ref()
    }

    /// How many results there are.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    pub(crate) fn are_of(&self, batch: &str) -> bool {
        self.batch == batch
    }

    /// The file and the place in it of the line with this id.
    pub(crate) fn line(&self, id: &str) -> Option<(&Path, Range<u64>)> {
        let line = self.lines.get(id)?;
        Some((self.files.get(line.file)?, line.range.clone()))
    }

    /// A line was read and is not needed again.
    pub(crate) fn done(&mut self, id: &str) {
        self.lines.remove(id);
    }

    /// Whether no line is needed any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// A line of a result file.
struct Found {
    id: String,
    range: Range<u64>,
    /// It holds a picture, as far as can be seen: failures may stand among the results too, and results among them.
    is_result: bool,
}

/// Where a line is.
#[derive(Debug)]
struct Line {
    file: usize,
    range: Range<u64>,
    is_result: bool,
}

/// Where the lines of a result file are, by their ids.
fn lines_of(path: &Path) -> std::io::Result<Vec<Found>> {
    let mut reader = BufReader::with_capacity(64 << 10, std::fs::File::open(path)?);
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    loop {
        let piece = reader.fill_buf()?;
        let is_end = piece.is_empty();
        let end = end_of_line(piece);
        let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        let room = EDGE.saturating_sub(head.len()).min(part.len());
        head.extend_from_slice(part.get(..room).unwrap_or_default());
        tail.extend_from_slice(part.get(part.len().saturating_sub(EDGE)..).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(EDGE));
        let length = part.len();
        let used = length + usize::from(end.is_some());
        reader.consume(used);
        at += used as u64;
        if end.is_some() || is_end {
            let stop = at - u64::from(end.is_some());
            if let Some(id) = id_in(&head).or_else(|| id_in(&tail)) {
                let is_whole = stop - start <= head.len() as u64;
                let is_result = if is_whole {
                    is_result(&head)
                } else {
                    holds_media(&head) || holds_media(&tail)
                };
                lines.push(Found {
                    id,
                    range: start..stop,
                    is_result,
                });
            }
            start = at;
            head.clear();
            tail.clear();
        }
        if is_end {
            return Ok(lines);
        }
    }
}

fn end_of_line(piece: &[u8]) -> Option<usize> {
    piece.iter().position(|byte| *byte == b'\n')
}

/// Whether a whole line was completed.
fn is_result(line: &[u8]) -> bool {
    let line = lenient::json::<Value>(line).unwrap_or_default();
    let status = line.pointer("/response/status_code").and_then(status_of);
    status.is_some_and(|status| (200..300).contains(&status))
}

/// Whether a piece of a line that is too long to be read whole is of a picture: nothing else is as long.
fn holds_media(piece: &[u8]) -> bool {
    let text = String::from_utf8_lossy(piece);
    ["\"b64_json\"", "\"url\""]
        .into_iter()
        .any(|name| text.contains(name))
}

/// A status as a number or as its digits.
pub(super) fn status_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    }
}

/// The id in a piece of a line. In a quoted text its own quotes would be escaped, so that only the key itself looks so.
fn id_in(piece: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(piece);
    let (_, rest) = text.split_once("\"custom_id\"")?;
    let rest = rest
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .strip_prefix('"')?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_ids_wherever_those_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let picture = "A".repeat(300_000);
        let lines = [
            format!(r#"{{"id":"x","custom_id":"a","response":{{"body":"{picture}"}}}}"#),
            format!(
                r#"{{"response":{{"body":"{picture}","said":"\"custom_id\":\"no\""}},"custom_id" : "b"}}"#
            ),
            String::new(),
            r#"{"custom_id":"c"}"#.to_owned(),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let found = lines_of(&path).unwrap();
        let ids: Vec<_> = found.iter().map(|line| line.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let text = std::fs::read(&path).unwrap();
        for (Found { range, .. }, line) in found.iter().zip(lines.iter().filter(|line| !line.is_empty())) {
            let from = usize::try_from(range.start).unwrap();
            let to = usize::try_from(range.end).unwrap();
            assert_eq!(&text[from..to], line.as_bytes());
        }
    }
}
