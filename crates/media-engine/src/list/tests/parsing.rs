//! The record reader against the `csv` crate, and against noise.

use std::io::Read as _;

use proptest::prelude::*;

use super::super::json::Json;
use super::super::records::{Record, Records};
use super::*;

fn read(bytes: &[u8], delimiter: u8, wanted: usize) -> Vec<Record> {
    let mut records = Records::new(bytes, delimiter, None, 0).unwrap();
    std::iter::from_fn(|| records.next(wanted).unwrap()).collect()
}

fn cells(records: Vec<Record>) -> Vec<Vec<Vec<u8>>> {
    records.into_iter().map(|record| record.cells).collect()
}

fn is_blank(row: &[Vec<u8>]) -> bool {
    row.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace))
}

#[test]
fn memory_does_not_grow_with_a_cell_or_a_row() {
    let endless = std::io::repeat(b'a').take(64 << 20);
    let mut records = Records::new(b"\"".chain(endless), b',', None, 0).unwrap();
    let record = records.next(1).unwrap().unwrap();
    assert_eq!((record.cells[0].len(), record.problems.len()), (MAX_CELL, 1));
    let endless = std::io::repeat(b',').take(16 << 20);
    let mut records = Records::new(endless.chain(&b"x"[..]), b',', None, 0).unwrap();
    let record = records.next(3).unwrap().unwrap();
    assert_eq!((record.cells.len(), record.found), (3, (16 << 20) + 1));
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_is_read_back(
        rows in prop::collection::vec(prop::collection::vec("[a \"',;\t\n\r#é]{0,6}|\\PC{0,8}", 1..5), 1..6),
        delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        crlf in any::<bool>(),
        always in any::<bool>(),
    ) {
        // A space in front of a quote is refused here; the writer quotes every cell with a quote anyway.
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter).terminator(terminator).quote_style(style).flexible(true).from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        prop_assume!(!bytes.starts_with("\u{feff}".as_bytes()));
        let found = read(&bytes, delimiter, usize::MAX);
        prop_assert!(found.iter().all(|record| record.problems.is_empty()), "{:?}", found);
        let mut expected: Vec<Vec<Vec<u8>>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.clone().into_bytes()).collect()).collect();
        expected.retain(|row| !is_blank(row));
        prop_assert_eq!(cells(found), expected);
    }

    #[test]
    fn what_is_read_without_a_problem_the_csv_crate_reads_the_same(bytes in "([a\",\n]|\r\n|é| ){0,40}") {
        let found = read(bytes.as_bytes(), b',', usize::MAX);
        // What is refused here is out of the question, and spaces behind a closing quote are dropped here and kept there.
        if !found.iter().all(|record| record.problems.is_empty()) || bytes.contains("\" ") {
            return Ok(());
        }
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.as_bytes());
        let mut expected: Vec<Vec<Vec<u8>>> = reader
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        expected.retain(|row| !is_blank(row));
        prop_assert_eq!(cells(found), expected);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), wanted in 0usize..4) {
        for record in read(&bytes, b',', wanted) {
            prop_assert!(record.cells.len() <= wanted);
        }
    }

    #[test]
    fn any_file_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        text in "([#a,;\t\"{}:\n\r1<&é]|#separator:|#columns:|#html:true|id|sep=|\u{feff}){0,40}",
        json in any::<bool>(),
    ) {
        let desk = Desk::new();
        let name = if json { "list.jsonl" } else { "list.csv" };
        for content in [bytes, text.into_bytes()] {
            if let Ok(source) = desk.open(name, content) {
                source.all_columns().unwrap();
                for row in source.rows().unwrap().flatten() {
                    prop_assert!(row.line() > 0);
                }
                drop(Jobs::new(&source, None, &read_param).map(Iterator::count));
            }
        }
    }

    #[test]
    fn any_recipe_is_read_or_refused(text in "([{}\\[\\]:,\"]|\"outputs\"|\"fields\"|\"path\"|\"kind\"|null|1){0,30}") {
        drop(Recipe::parse(Path::new("r.json"), &text));
    }

    #[test]
    fn json_reads_as_serde_does(text in "[{}\\[\\]:,\"a1 .\\-e]{0,20}|\\PC{0,20}") {
        let ours = Json::parse(&text).map(|json| json.value());
        match (ours, serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Err(ours), Ok(_)) => prop_assert!(ours.message.contains("twice"), "{}", ours.message),
            (Ok(_), Err(theirs)) => prop_assert!(false, "{}", theirs),
            (Err(_), Err(_)) => {}
        }
    }
}
