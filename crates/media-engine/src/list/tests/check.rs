//! What is wrong between rows, and with paths.

use media_core::validate::NamePolicy;

use super::*;

/// Checks a job list of id, content and path; equal content is an equal request.
fn check(rows: &[(&str, &str, &str)], policy: NamePolicy) -> (Vec<String>, Findings) {
    let desk = Desk::new();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["id", "kind", "provider", "content", "output_path"])
        .unwrap();
    for (id, content, path) in rows {
        writer.write_record([id, "image", "p", content, path]).unwrap();
    }
    let source = desk.open("jobs.csv", writer.into_inner().unwrap()).unwrap();
    let mut check = Check::new(&source, policy);
    for job in Jobs::new(&source, None, &read_param).unwrap() {
        match job {
            Ok(job) => {
                check.job(&job, |job| match job.content.as_str() {
                    "bad" => Err("p has no such model".to_owned()),
                    text => Ok([text.len() as u8; 32]),
                });
            }
            Err(problems) => check.problems(problems),
        }
    }
    let findings = check.finish();
    (
        findings
            .problems
            .iter()
            .map(|problem| short(problem, source.path()))
            .collect(),
        findings,
    )
}

#[test]
fn ids_and_paths_given_twice_name_both_lines() {
    let (messages, findings) = check(
        &[
            ("a", "x", "a.png"),
            ("b", "xx", "B.png"),
            ("a", "x", "a.png"),
            ("c", "xxx", "a.png"),
            ("d", "xx", "b.png"),
            ("e", "bad", "e.png"),
            ("f", "x", "a.png/f.png"),
            ("g", "x", "g/h/i.png"),
            ("h", "x", "G/h"),
            ("i", "x", "ĉ.png"),
            ("j", "x", "c\u{302}.png"),
        ],
        NamePolicy::Portable,
    );
    let expected = [
        "jobs.csv, line 4, column \"id\": the id \"a\" is on line 2 too; give every row its own",
        "jobs.csv, line 5, column \"output_path\": the path \"a.png\" is wanted on line 2 too, for a different request; rename one",
        "jobs.csv, line 6, column \"output_path\": the path \"b.png\" and that of line 3 differ only in upper and lower case or in how accents are stored, which is one file on Windows and macOS; rename one",
        "jobs.csv, line 7: p has no such model",
        "jobs.csv, line 8, column \"output_path\": the path \"a.png/f.png\" is in a folder that is a file on line 2; rename one",
        "jobs.csv, line 10, column \"output_path\": the path \"G/h\" is a folder on line 9; rename one",
    ];
    assert_eq!(messages[..6], expected);
    assert!(
        messages[6].contains("line 12") && messages[6].contains("accents"),
        "{}",
        messages[6]
    );
    assert_eq!((findings.jobs, findings.total, findings.shared), (11, 7, 0));
}

#[test]
fn equal_requests_share_a_path() {
    let rows = [
        ("a", "x", "s.png"),
        ("b", "x", "s.png"),
        ("c", "xx", "t.png"),
        ("d", "x", "s.png"),
    ];
    let (messages, findings) = check(&rows, NamePolicy::Anki);
    assert_eq!(messages, Vec::<String>::new());
    assert!(findings.is_good());
    assert_eq!((findings.jobs, findings.shared), (4, 2));
}

#[test]
fn paths_that_would_do_harm_are_refused() {
    let cases = [
        ("../x.png", "`..`"),
        ("a/../../x.png", "`..`"),
        ("/etc/passwd", "absolute"),
        ("C:\\x.png", "backslash"),
        ("c:x.png", "drive letter"),
        ("\\\\server\\x.png", "backslash"),
        ("con.png", "reserved name on Windows"),
        ("a/nul", "reserved name on Windows"),
        ("what?.png", "not allowed in file names"),
        ("a\nb.png", "not allowed in file names"),
        ("x. /y.png", "ends with"),
        (" x.png", "begins or ends with a space"),
        ("a//b.png", "empty segment"),
        ("./b.png", "empty segment"),
    ];
    for (path, part) in cases {
        let (messages, _) = check(&[("a", "x", path)], NamePolicy::Portable);
        assert!(
            messages.len() == 1 && messages[0].contains(part),
            "{path}: {messages:?}"
        );
        assert!(
            messages[0].starts_with("jobs.csv, line 2, column \"output_path\": the path "),
            "{messages:?}"
        );
    }
    let (messages, _) = check(&[("a", "x", "a/b.png")], NamePolicy::Anki);
    assert!(messages[0].contains("folder"), "{messages:?}");
    let (messages, _) = check(
        &[("a", "x", &format!("{}.png", "é".repeat(150)))],
        NamePolicy::Portable,
    );
    assert!(
        messages[0].contains("304 bytes long") && messages[0].len() < 700,
        "{messages:?}"
    );
}

#[test]
fn many_problems_are_counted_and_some_kept() {
    let rows = vec![("a", "x", "a.png"); 500];
    let (messages, findings) = check(&rows, NamePolicy::Portable);
    assert_eq!((messages.len(), findings.total, findings.jobs), (200, 499, 500));
}

#[test]
fn a_list_without_rows_is_a_problem() {
    let (messages, findings) = check(&[], NamePolicy::Portable);
    assert_eq!(
        messages,
        ["jobs.csv: there are no rows; write one row per file to make"]
    );
    assert!(!findings.is_good());
}
