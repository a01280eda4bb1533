//! Records of a delimited text file and lines of JSON, read piece by piece with a bound on every cell.
//!
//! The `csv` crate reads every record whole and takes an unclosed quote or text behind a closing one without a word;
//! here each of them is a message with its line, and no cell can fill the memory. The tests compare both.

use std::io::{self, Read};

use super::MAX_CELL;
use super::text::BOM;

/// All cells of one record together.
const MAX_RECORD: usize = 16 << 20;

/// Problems that are told of one record.
const MAX_PROBLEMS: usize = 10;

/// One record, its cells as bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it starts, counted from 1.
    pub(super) line: u64,
    pub(super) cells: Vec<Vec<u8>>,
    /// How many cells there were; not more than wanted are kept.
    pub(super) found: usize,
    /// What is wrong with it: the number of the cell from 0, and what.
    pub(super) problems: Vec<(usize, String)>,
}

/// Bytes with one byte of looking ahead.
#[derive(Debug)]
struct Bytes<R> {
    reader: R,
    buffer: Vec<u8>,
    position: usize,
}

/// Bytes of a list in memory at a time.
const PIECE: usize = 16 << 10;

impl<R: Read> Bytes<R> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        if let Some(byte) = self.buffer.get(self.position) {
            return Ok(Some(*byte));
        }
        self.buffer.clear();
        self.position = 0;
        // Not one byte more, or the buffer would be doubled to look for the end.
        self.buffer.reserve_exact(PIECE);
        (&mut self.reader)
            .take(PIECE as u64)
            .read_to_end(&mut self.buffer)?;
        Ok(self.buffer.first().copied())
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        self.position += 1;
        Ok(byte)
    }

    fn skip(&mut self, wanted: u8) -> io::Result<()> {
        if self.peek()? == Some(wanted) {
            self.position += 1;
        }
        Ok(())
    }
}

/// Reads one record or line after another.
#[derive(Debug)]
pub(super) struct Records<R> {
    bytes: Bytes<R>,
    delimiter: u8,
    line: u64,
    /// Lines that start with it are remarks.
    comment: Option<u8>,
}

#[derive(PartialEq)]
enum State {
    /// At the start of a cell.
    Start,
    /// In a cell without quotes.
    Plain,
    /// In quotes that opened on this line.
    Quoted(u64),
    /// Behind the closing quote.
    Closed,
}

enum End {
    Cell,
    Record,
    File,
}

impl<R: Read> Records<R> {
    /// `skip_lines` are read over, whatever is in them.
    pub(super) fn new(
        reader: R,
        delimiter: u8,
        comment: Option<u8>,
        skip_lines: usize,
    ) -> io::Result<Records<R>> {
        let bytes = Bytes {
            reader,
            buffer: Vec::new(),
            position: 0,
        };
        let mut records = Records {
            bytes,
            delimiter,
            line: 1,
            comment,
        };
        // A byte order mark is dropped; it is all there or not there at all.
        records.bytes.peek()?;
        if records.bytes.buffer.starts_with(BOM) {
            records.bytes.position = BOM.len();
        }
        for _ in 0..skip_lines {
            records.line_bytes(0)?;
        }
        Ok(records)
    }

    /// The next line, without its end, and its number. `None` in place of its bytes when it has more than `most`.
    pub(super) fn next_line(&mut self, most: usize) -> io::Result<Option<(u64, Option<Vec<u8>>)>> {
        if self.bytes.peek()?.is_none() {
            return Ok(None);
        }
        let line = self.line;
        Ok(Some((line, self.line_bytes(most)?)))
    }

    fn line_bytes(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let (mut content, mut long) = (Vec::with_capacity(most.min(256)), false);
        while let Some(byte) = self.bytes.next()? {
            if self.is_newline(byte)? {
                break;
            }
            if content.len() < most {
                content.push(byte);
            } else {
                long = true;
            }
        }
        Ok((!long).then_some(content))
    }

    /// Whether this byte, just read, ends a line; all three ways to end one do.
    fn is_newline(&mut self, byte: u8) -> io::Result<bool> {
        match byte {
            b'\n' => {}
            b'\r' => self.bytes.skip(b'\n')?,
            _ => return Ok(false),
        }
        self.line += 1;
        Ok(true)
    }

    /// The next record that is not blank. At most `wanted` cells are kept.
    pub(super) fn next(&mut self, wanted: usize) -> io::Result<Option<Record>> {
        loop {
            let Some(first) = self.bytes.peek()? else {
                return Ok(None);
            };
            if self.comment == Some(first) {
                self.line_bytes(0)?;
                continue;
            }
            if let Some(record) = self.record(wanted)? {
                return Ok(Some(record));
            }
        }
    }

    /// `None` when all its cells are blank, as in the rows that Excel adds at the end.
    fn record(&mut self, wanted: usize) -> io::Result<Option<Record>> {
        let mut record = Record {
            line: self.line,
            ..Record::default()
        };
        let mut left = MAX_RECORD;
        let mut blank = true;
        loop {
            let most = left.min(MAX_CELL);
            let (cell, problem, end) = self.cell(most)?;
            blank &= problem.is_none() && cell.iter().all(u8::is_ascii_whitespace);
            if let Some(problem) = problem
                && record.problems.len() < MAX_PROBLEMS
            {
                record.problems.push((record.found, problem));
            }
            if record.found < wanted {
                left -= cell.len();
                record.cells.push(cell);
            }
            record.found += 1;
            if !matches!(end, End::Cell) {
                return Ok((!blank).then_some(record));
            }
        }
    }

    fn cell(&mut self, most: usize) -> io::Result<(Vec<u8>, Option<String>, End)> {
        let mut cell = Vec::new();
        let mut problem: Option<String> = None;
        let mut state = State::Start;
        let mut only_spaces = true;
        let end = loop {
            let Some(byte) = self.bytes.next()? else {
                if let State::Quoted(line) = state {
                    problem = Some(format!(
                        "the quote that opens on line {line} is never closed; add the closing \""
                    ));
                }
                break End::File;
            };
            if let State::Quoted(_) = state {
                if byte == b'"' {
                    if self.bytes.peek()? != Some(b'"') {
                        state = State::Closed;
                        continue;
                    }
                    self.bytes.next()?;
                } else if byte == b'\n' || (byte == b'\r' && self.bytes.peek()? != Some(b'\n')) {
                    self.line += 1;
                }
            } else if byte == self.delimiter {
                break End::Cell;
            } else if self.is_newline(byte)? {
                break End::Record;
            } else if byte == b'"' && state == State::Start {
                state = State::Quoted(self.line);
                continue;
            } else if state == State::Closed {
                if !byte.is_ascii_whitespace() {
                    problem.get_or_insert_with(|| BEHIND_QUOTE.to_owned());
                }
                continue;
            } else {
                if byte == b'"' && only_spaces {
                    problem.get_or_insert_with(|| SPACE_BEFORE_QUOTE.to_owned());
                }
                only_spaces &= byte == b' ';
                state = State::Plain;
            }
            if cell.len() < most {
                cell.push(byte);
            } else {
                problem.get_or_insert_with(|| too_long(&state));
            }
        };
        Ok((cell, problem, end))
    }
}

const BEHIND_QUOTE: &str = "there is text behind the closing quote; inside quotes, write a quote as \"\"";
const SPACE_BEFORE_QUOTE: &str = "there is a space in front of the opening quote; remove the space";

fn too_long(state: &State) -> String {
    let limit = MAX_CELL >> 20;
    match state {
        State::Quoted(line) => {
            format!("the cell is longer than {limit} MiB; is the closing quote of line {line} missing?")
        }
        _ => format!("the cell is longer than {limit} MiB; shorten it"),
    }
}
