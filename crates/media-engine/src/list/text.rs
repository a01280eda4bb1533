//! Refuses what is not UTF-8 text by its first bytes, with what to do about it.

/// The byte order mark that Excel puts in front of UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

const SAVE: &str = "save it as \"CSV UTF-8\" (in Excel: Save As; in LibreOffice: character set UTF-8)";

/// Why the file that starts with `head` cannot be read; `whole` when that is all of it.
pub(super) fn refuse(head: &[u8], whole: bool) -> Option<String> {
    if let Some(message) = refuse_unicode(head).or_else(|| refuse_known(head)) {
        return Some(message);
    }
    if let Some(place) = head.iter().position(|byte| *byte == 0) {
        let line = line_of(head, place);
        return Some(format!(
            "line {line} has a zero byte: the file is binary, not text; {SAVE}"
        ));
    }
    let text = head.strip_prefix(BOM).unwrap_or(head);
    if let Err(error) = std::str::from_utf8(text)
        // A character that is only cut at the end of the head is none of our business.
        && (error.error_len().is_some() || whole)
    {
        let line = line_of(text, error.valid_up_to());
        return Some(format!(
            "line {line} is not UTF-8 (perhaps Windows-1252 or another old encoding, where accents would get lost); {SAVE}"
        ));
    }
    let blank = text.iter().all(u8::is_ascii_whitespace);
    (whole && blank).then(|| "the file is empty; write a header line and one row per file to make".to_owned())
}

/// The text of a cell or a line; what is wrong with bytes that are none is told as a fragment.
pub(super) fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.contains(&0) {
        return Err(format!("has a zero byte: this is binary, not text; {SAVE}"));
    }
    String::from_utf8(bytes).map_err(|_| format!("is not UTF-8; {SAVE}"))
}

fn refuse_unicode(head: &[u8]) -> Option<String> {
    let named = |name: &str| Some(format!("the file is {name}, not UTF-8; {SAVE}"));
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return named("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return named("UTF-16"),
        _ => {}
    }
    // Without a byte order mark, the ASCII letters give it away: every other byte is zero.
    let sample: Vec<_> = head.iter().take(64).collect();
    let zeros = |parity: usize| {
        sample
            .iter()
            .skip(parity)
            .step_by(2)
            .filter(|byte| ***byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let half = sample.len() / 2;
    if half >= 2 && even.max(odd) * 2 > half && even.min(odd) == 0 {
        return named("UTF-16");
    }
    None
}

fn refuse_known(head: &[u8]) -> Option<String> {
    let known: [(&[u8], &str); 8] = [
        (
            b"PK\x03\x04",
            "an Excel or LibreOffice workbook (or another zip file)",
        ),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"%PDF", "a PDF"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x89PNG", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"SQLite format 3", "an SQLite database"),
        (b"{\\rtf", "an RTF document"),
    ];
    let (_, name) = known.iter().find(|(magic, _)| head.starts_with(magic))?;
    Some(format!("the file is {name}, not a text table; {SAVE}"))
}

fn line_of(bytes: &[u8], place: usize) -> usize {
    1 + bytes.iter().take(place).filter(|byte| **byte == b'\n').count()
}
