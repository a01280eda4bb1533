//! The README tells how to run the tests, and CI runs exactly that.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Report, relative};
use crate::cargo;

const COMMAND: &str = "cargo xtask test";

pub(super) fn check(report: &mut Report) {
    if let Err(error) = test_command() {
        report.find(
            relative(&path()),
            format!("{error:#}"),
            "CI runs the command that the README gives, so that the README stays true",
            format!("put `{COMMAND}` on a line of its own, in a code block"),
        );
    }
}

/// The test command as the README gives it.
pub(crate) fn test_command() -> Result<String> {
    let path = path();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    find(&text)
        .map(String::from)
        .with_context(|| format!("README.md has no line `{COMMAND}`"))
}

fn path() -> PathBuf {
    cargo::root().join("README.md")
}

/// A line of its own; a comment may follow.
fn find(text: &str) -> Option<&str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or(line).trim())
        .find(|line| *line == COMMAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_a_line_of_its_own() {
        assert_eq!(
            find("# Tests\n```sh\ncargo xtask test   # all of them\n```\n"),
            Some(COMMAND)
        );
        assert_eq!(find("Run `cargo xtask test`.\n"), None);
        assert_eq!(find("cargo xtask test -p media-core\n"), None);
    }
}
