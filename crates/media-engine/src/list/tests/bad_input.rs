//! Lists that are broken in every way that was thought of: each gets a clear message, none does harm.

use super::*;

const SAVE: &str = "CSV UTF-8";

#[test]
fn what_is_no_text_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    let utf32 = |text: &str| -> Vec<u8> { text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect() };
    let header = "id,word\n1,perro\n";
    let cases: [(Vec<u8>, &str); 13] = [
        (utf16(&format!("\u{feff}{header}"), false), "UTF-16"),
        (utf16(&format!("\u{feff}{header}"), true), "UTF-16"),
        (utf16(header, false), "UTF-16"),
        (utf16(header, true), "UTF-16"),
        (utf32(&format!("\u{feff}{header}")), "UTF-32"),
        (
            b"PK\x03\x04\x14\0\x06\0".to_vec(),
            "Excel or LibreOffice workbook",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "old Excel workbook"),
        (b"%PDF-1.7\n".to_vec(), "a PDF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\r".to_vec(), "a picture"),
        (b"\x1f\x8b\x08\0".to_vec(), "gzip"),
        (b"id,word\n1,per\0ro\n".to_vec(), "line 2 has a zero byte"),
        (b"id,word\n1,ni\xf1o\n".to_vec(), "line 2 is not UTF-8"),
        (b"id,word\n1,ni\xc3".to_vec(), "line 2 is not UTF-8"),
    ];
    for (bytes, part) in cases {
        for name in ["list.csv", "list.jsonl"] {
            let message = desk.refused(name, &bytes);
            assert!(
                message.contains(part) && message.contains(SAVE),
                "{name}: {message}"
            );
        }
    }
    let noise: Vec<u8> = (0..50_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    assert!(desk.refused("noise.csv", noise).contains(SAVE));
}

#[test]
fn bad_bytes_far_behind_the_start_are_told_with_line_and_column() {
    let desk = Desk::new();
    let mut bytes = b"id,word\n".to_vec();
    for n in 0..20_000 {
        bytes.extend(format!("{n},palabra\n").bytes());
    }
    bytes.extend(b"x,ni\xf1o\ny,a\0b\nz,fin\n");
    let rows = desk.rows("list.csv", &bytes);
    assert_eq!(rows.len(), 20_003);
    assert_eq!(rows[20_000].0, 20_002);
    assert!(
        rows[20_000].1[0].starts_with("! word: is not UTF-8"),
        "{:?}",
        rows[20_000]
    );
    assert!(
        rows[20_001].1[0].starts_with("! word: has a zero byte"),
        "{:?}",
        rows[20_001]
    );
    assert_eq!(rows[20_002], (20_004, vec!["z".into(), "fin".into()]));
}

#[test]
fn empty_and_missing_files() {
    let desk = Desk::new();
    for content in ["", "\n\n", "\u{feff}", "\u{feff}  \r\n"] {
        for name in ["list.csv", "list.jsonl"] {
            assert!(desk.refused(name, content).contains("empty"), "{content:?}");
        }
    }
    let missing = Source::open(&desk.path("none.csv")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read ") && missing.contains("none.csv"),
        "{missing}"
    );
    let folder = Source::open(&desk.path("")).unwrap_err().to_string();
    assert!(folder.contains("not a file"), "{folder}");
    assert_eq!(desk.rows("header.csv", "id,word\n"), []);
    assert_eq!(desk.rows("header.csv", "id,word"), []);
    assert!(
        desk.refused("export.txt", "#separator:tab\n#html:true\n")
            .contains("no rows")
    );
}

#[test]
fn marks_line_ends_delimiters_and_quotes() {
    let desk = Desk::new();
    let expected = vec![
        (2, vec!["1".to_owned(), "a;b,\tc".into()]),
        (3, vec!["2".into(), "el \"Gordo\"".into()]),
    ];
    let texts = [
        "id,word\n1,\"a;b,\tc\"\n2,\"el \"\"Gordo\"\"\"\n",
        "\u{feff}id,word\r\n1,\"a;b,\tc\"\r\n2,\"el \"\"Gordo\"\"\"\r\n",
        "id;word\r\n1;\"a;b,\tc\"\r\n2;el \"Gordo\"",
        "id\tword\r1\t\"a;b,\tc\"\r2\tel \"Gordo\"\r",
        " \"id\" , \"word\" \n1,\"a;b,\tc\" \n2,el \"Gordo\"\n\n  \n,\n , \n",
    ];
    for (n, text) in texts.iter().enumerate().take(4) {
        assert_eq!(desk.rows("list.csv", text), expected, "{n}");
    }
    assert!(
        desk.refused("list.csv", texts[4])
            .contains("header, column 1: there is a space in front")
    );
    let text = texts[4].replace(" \"id\" , \"word\" ", "\"id\" ,\"word\" ");
    assert_eq!(desk.rows("list.csv", text), expected);
    let text = "sep=;\r\nid;word\r\n1;\"a;b,\tc\"\r\n";
    assert_eq!(
        desk.rows("list.csv", text),
        [(3, vec!["1".to_owned(), "a;b,\tc".into()])]
    );
}

#[test]
fn line_numbers_are_those_of_an_editor() {
    let desk = Desk::new();
    let text = "id,word\r\n\r\n1,\"two\r\nlines\"\r\n2,\"a\n\nb\"\n\n3,c\n";
    let lines: Vec<_> = desk
        .rows("list.csv", text)
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [3, 5, 9]);
}

#[test]
fn broken_rows_are_told_and_the_next_ones_read() {
    let desk = Desk::new();
    let text = "id,word,english\n1,a\n2,a,b,c\n3,\"a\"b,c\n4, \"a,b\",c\n5,a,b\n6,\"open,c\n7,x,y\n";
    let rows = desk.rows("list.csv", text);
    let message = |n: usize| rows[n].1[0].as_str();
    assert!(
        message(0).contains("2 cells and the header 3 (id, word, english); the last is \"a\""),
        "{rows:?}"
    );
    assert!(message(1).contains("4 cells and the header 3"), "{rows:?}");
    assert!(
        message(2).contains("word: there is text behind the closing quote"),
        "{rows:?}"
    );
    assert!(
        message(3).contains("word: there is a space in front of the opening quote"),
        "{rows:?}"
    );
    assert_eq!(rows[4], (6, vec!["5".into(), "a".into(), "b".into()]));
    assert!(
        message(5).contains("word: the quote that opens on line 7 is never closed"),
        "{rows:?}"
    );
    assert_eq!((rows[5].0, rows.len()), (7, 6));
}

#[test]
fn headers_that_cannot_be_used() {
    let desk = Desk::new();
    let cases = [
        ("id,word,ID \n1,a,b\n", "columns 1 and 3 are both called \"ID\""),
        ("id,,word\n1,a,b\n", "the header of column 2 is empty"),
        ("id,word,\n1,a,\n", "the header of column 3 is empty"),
        ("id,a;word\n1,a;b\n", "the delimiter is unclear"),
        (
            "\"id,word\n1,a\n",
            "column 1: the quote that opens on line 1 is never closed",
        ),
        (
            "[{\"id\": 1}]",
            "write one object per line and name the file .jsonl",
        ),
        ("{\"id\": 1}", "name the file .jsonl"),
    ];
    for (text, part) in cases {
        let message = desk.refused("list.csv", text);
        assert!(message.contains(part), "{message}");
    }
    assert!(
        desk.refused("list.jsonl", "\n[{\"id\": 1}]")
            .contains("this is one JSON array")
    );
    let long = format!("id,\"{}", "a\n".repeat(100_000));
    assert!(desk.refused("list.csv", long).contains("longer than 64 KiB"));
}

#[test]
fn a_huge_cell_is_an_error_and_not_a_full_memory() {
    let desk = Desk::new();
    let big = "a".repeat(MAX_CELL + 1);
    let rows = desk.rows(
        "list.csv",
        format!("id,word\n1,{big}\n2,b\n3,\"{big}\"\n4,{}\n", &big[1..]),
    );
    assert!(
        rows[0].1[0].contains("word: the cell is longer than 1 MiB; shorten it"),
        "{:.200}",
        rows[0].1[0]
    );
    assert_eq!(rows[1].1, ["2", "b"]);
    assert!(
        rows[2].1[0].contains("is the closing quote of line 4 missing?"),
        "{:.200}",
        rows[2].1[0]
    );
    assert_eq!(rows[3].1[1].len(), MAX_CELL);
    let rows = desk.rows(
        "list.jsonl",
        format!("{{\"id\":\"1\"}}\n{{\"id\":\"{big}\"}}\n{{\"id\":\"3\"}}\n"),
    );
    assert!(
        rows[1].1[0].contains("id: the text is longer than 1 MiB"),
        "{:.200}",
        rows[1].1[0]
    );
    assert_eq!(rows[2].1, ["3"]);
    let line = "x".repeat(9 << 20);
    let rows = desk.rows(
        "list.jsonl",
        format!("{{\"id\":\"1\"}}\n{line}\n{{\"id\":\"3\"}}\n"),
    );
    assert!(
        rows[1].1[0].contains("the line is longer than 8 MiB"),
        "{:.200}",
        rows[1].1[0]
    );
    assert_eq!(rows[2].1, ["3"]);
}

#[test]
fn lines_that_are_no_objects() {
    let desk = Desk::new();
    let deep = "[".repeat(5000);
    let text = format!(
        "{{\"id\":\"1\"}}\r\n\n{{\"id\":}}\n[1]\n{{\"id\":1,\"id\":2}}\n{{\"id\":1,\"ID\":2}}\n{{\"x\":{deep}\n{{\"id\":\"8\"}}"
    );
    let rows = desk.rows("list.jsonl", text);
    let lines: Vec<_> = rows.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8]);
    for (n, part) in [
        (1, "not JSON, at character 7: expected value"),
        (2, "this is a list; every line must be one object"),
        (3, "the key \"id\" is there twice"),
        (4, "ID: this key is there twice"),
        (5, "recursion limit"),
    ] {
        assert!(rows[n].1[0].contains(part), "{:?}", rows[n]);
    }
    assert_eq!(rows[6].1[0], "8");
}

#[test]
fn a_list_that_changes_is_noticed() {
    let desk = Desk::new();
    let source = desk.open("list.csv", "id,word\n1,a\n").unwrap();
    let mut rows = source.rows().unwrap();
    assert!(rows.next().unwrap().is_ok());
    desk.file("list.csv", "id,word\n1,a\n2,b\n");
    let last = rows.last().unwrap().unwrap_err();
    assert!(last.message.contains("changed"), "{last}");
    assert!(matches!(source.rows(), Err(ListError::Changed { .. })));
    std::fs::remove_file(desk.path("list.csv")).unwrap();
    assert!(matches!(source.rows(), Err(ListError::Io { .. })));
}

/// An editor that saves in place shifts what was not read yet; saving under another name and renaming does not.
#[test]
fn a_list_that_is_saved_in_place_is_read_no_further() {
    let row = |number: usize| format!("{number},word number {number} of a long list\n");
    let rows: String = (0..3000).map(row).collect();
    for in_place in [true, false] {
        let desk = Desk::new();
        let source = desk.open("list.csv", format!("id,word\n{rows}")).unwrap();
        let mut read = source.rows().unwrap();
        assert!(read.next().unwrap().is_ok());
        let longer = format!(
            "id,word\nnew,a row that is longer than those behind it, so that all of them move\n{rows}"
        );
        if in_place {
            desk.file("list.csv", longer);
        } else {
            std::fs::rename(desk.file("saved.csv", longer), desk.path("list.csv")).unwrap();
        }
        let mut next = 1;
        let end = read.find_map(|read| match read {
            Ok(row) => {
                assert_eq!(row.text("id"), Some(next.to_string().as_str()));
                next += 1;
                None
            }
            Err(problem) => Some(problem),
        });
        assert!(end.is_some_and(|end| end.message.contains("changed")));
        assert!(if in_place { next < 1000 } else { next == 3000 }, "{next}");
    }
}

#[test]
fn exports_of_anki() {
    let desk = Desk::new();
    let text = "#separator:tab\n#html:true\n#guid column:1\n#tags column:4\n\
        x1\tel <b>perro</b>\t\"<img src=\"\"a.png\"\">dog &amp; bone<br>[sound:p.mp3]\"\tes\n# a remark\n\"#x2\"\ta\tb\t\n";
    let expected = [
        (
            5,
            vec![
                "x1".to_owned(),
                "el perro".into(),
                "dog & bone\n".into(),
                "es".into(),
            ],
        ),
        (7, vec!["#x2".into(), "a".into(), "b".into(), String::new()]),
    ];
    assert_eq!(desk.rows("notes.txt", text), expected);
    assert_eq!(
        desk.open("notes.txt", text).unwrap().header().unwrap(),
        ["guid", "field1", "field2", "tags"]
    );
    let text = "#separator:Semicolon\n#html:false\n#columns:Id;\"Word; all\"\n1;<b>\n";
    let source = desk.open("notes.txt", text).unwrap();
    assert_eq!(source.header().unwrap(), ["Id", "Word; all"]);
    assert_eq!(
        desk.rows("notes.txt", text),
        [(4, vec!["1".to_owned(), "<b>".into()])]
    );
}
