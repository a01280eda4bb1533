//! What every Rust file has to look like beyond rustfmt and clippy.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Report, entries, files, relative};

const TOO_LONG: usize = 800;
const LONG: usize = 500;

pub(super) fn check(root: &Path, report: &mut Report) -> Result<()> {
    let mut folders = vec![root.join("xtask/src")];
    for package in entries(&root.join("crates"))? {
        folders.extend(["src", "tests", "examples", "benches"].map(|folder| package.join(folder)));
    }
    for folder in folders {
        for path in files(&folder, "rs")? {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = relative(&path);
            for fault in faults(&text) {
                report.find(
                    format!("{file}:{}", fault.line),
                    fault.what,
                    fault.why,
                    fault.mend,
                );
            }
            let lines = text.lines().count();
            if (LONG + 1..=TOO_LONG).contains(&lines) {
                report.note(format!("{file} has {lines} lines; {TOO_LONG} is the limit"));
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Fault {
    line: usize,
    what: String,
    why: &'static str,
    mend: &'static str,
}

fn faults(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut find = |line, what: &str, why, mend| {
        faults.push(Fault {
            line,
            what: what.into(),
            why,
            mend,
        });
    };
    let lines = text.lines().count();
    if !text.starts_with("//!") {
        find(
            1,
            "does not begin with `//!`",
            "the first line of every module says what it is for",
            "begin with one line `//! ...`",
        );
    }
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        if line.trim_end() != line {
            find(
                number,
                "white space at the end of the line",
                "it makes noise in every later diff",
                "cargo fmt, or by hand inside strings and comments",
            );
        }
        if line.contains('\t') {
            find(
                number,
                "a tab",
                "it looks different in every editor",
                "spaces; `\\t` in strings",
            );
        }
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if is_allow(code) {
            find(
                number,
                "`allow` as an attribute",
                "an exception that is no longer needed would stay unnoticed",
                "`#[expect(lint, reason = \"...\")]`, or mend what the lint is about",
            );
        }
        if is_silent_ignore(code) {
            find(
                number,
                "a test is ignored without a reason",
                "nobody knows when it may come back",
                "`#[ignore = \"the reason\"]`",
            );
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        find(
            lines,
            "the last line has no newline",
            "it makes noise in every later diff",
            "cargo fmt",
        );
    }
    if lines > TOO_LONG {
        let what = format!("{lines} lines, more than {TOO_LONG}");
        find(
            lines,
            &what,
            "nobody reads a file of that length to its end",
            "split it by purpose",
        );
    }
    faults
}

fn is_allow(code: &str) -> bool {
    // Attributes that only a string speaks of, as in this file, come after a quote.
    let code = code.split('"').next().unwrap_or(code);
    code.contains("#[allow(")
        || code.contains("#![allow(")
        || code
            .split_once("cfg_attr(")
            .is_some_and(|(_, rest)| rest.contains(" allow(") || rest.contains(",allow("))
}

fn is_silent_ignore(code: &str) -> bool {
    if code.starts_with("#[cfg_attr(") {
        return code.contains("ignore)");
    }
    code.strip_prefix("#[ignore").is_some_and(|rest| {
        let reason = rest.trim_start().strip_prefix('=').map(str::trim_start);
        !reason.is_some_and(|reason| reason.starts_with('"') && !reason.starts_with("\"\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        faults(text)
            .into_iter()
            .map(|fault| (fault.line, fault.what))
            .collect()
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(found("//! What it is for.\n\nfn main() {}\n"), []);
    }

    #[test]
    fn shape() {
        assert_eq!(found("fn main() {}\n")[0].0, 1);
        assert_eq!(
            found("//! X.\nfn a() {} \n")[0],
            (2, "white space at the end of the line".into())
        );
        assert_eq!(found("//! X.\n\tfn a() {}\n")[0], (2, "a tab".into()));
        assert_eq!(
            found("//! X.\nfn a() {}")[0],
            (2, "the last line has no newline".into())
        );
        assert!(found("//! X.\r\n").len() == 1);
        let long = format!("//! X.\n{}", "//\n".repeat(800));
        assert_eq!(found(&long), [(801, "801 lines, more than 800".into())]);
        assert_eq!(found(&long[..long.len() - 3]), []);
    }

    #[test]
    fn exceptions_are_expectations() {
        let bad = [
            "#[allow(dead_code)]",
            "    #![allow(dead_code)]",
            "fn f(#[allow(unused)] x: u8) {}",
            "#[cfg_attr(test, allow(dead_code))]",
        ];
        for line in bad {
            assert_eq!(found(&format!("//! X.\n{line}\n")).len(), 1, "{line}");
        }
        let good = [
            "#[expect(dead_code, reason = \"not #[allow(x)]\")]",
            "// no #[allow(x)] here",
            "let text = \"#[allow(x)]\";",
            "allow(x);",
        ];
        for line in good {
            assert_eq!(found(&format!("//! X.\n{line}\n")), [], "{line}");
        }
    }

    #[test]
    fn an_ignored_test_has_a_reason() {
        for line in [
            "#[ignore]",
            "    #[ignore = \"\"]",
            "#[cfg_attr(windows, ignore)]",
        ] {
            assert_eq!(found(&format!("//! X.\n{line}\n")).len(), 1, "{line}");
        }
        let good = [
            "#[ignore = \"needs a key\"]",
            "#[cfg_attr(windows, ignore = \"no signals\")]",
            "fn ignored() {}",
            "\"#[ignore]\"",
        ];
        for line in good {
            assert_eq!(found(&format!("//! X.\n{line}\n")), [], "{line}");
        }
    }
}
