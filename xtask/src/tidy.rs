//! `cargo xtask tidy`: the rules of this repository that no other tool checks.

mod copies;
mod graph;
mod licences;
mod manifests;
mod providers;
pub(crate) mod readme;
mod sources;
mod spdx;
mod trees;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::cargo;
use crate::metadata::Metadata;

pub(crate) fn run(mut args: Args) -> Result<()> {
    let fix = args.flag("--fix");
    args.finish()?;
    check(fix)
}

/// Every rule. All findings are shown, then it fails.
pub(crate) fn check(fix: bool) -> Result<()> {
    let root = cargo::root();
    let members = Metadata::members()?;
    let mut report = Report::default();

    graph::check(&members.members, &mut report);
    manifests::check(&members.members, &mut report);
    providers::check(&members.members, &mut report);
    sources::check(&root, &mut report)?;
    copies::check(&root, fix, &mut report)?;
    readme::check(&mut report);
    licences::check(&Metadata::everything()?, &mut report);
    trees::check(&members.members, &mut report)?;

    for note in &report.notes {
        println!("note: {note}");
    }
    for finding in &report.findings {
        println!("{finding}");
    }
    match report.findings.len() {
        0 => Ok(()),
        count => bail!("{count} finding{}", if count == 1 { "" } else { "s" }),
    }
}

/// What the rules found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    /// Worth knowing, no reason to fail.
    notes: Vec<String>,
}

#[derive(Debug)]
struct Finding {
    place: String,
    what: String,
    why: &'static str,
    mend: String,
}

impl Report {
    /// `place` is `file` or `file:line`, from the root of the workspace.
    fn find(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding {
            place: place.into(),
            what: what.into(),
            why,
            mend: mend.into(),
        });
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            what,
            why,
            mend,
        } = self;
        write!(f, "{place}: {what}\n    why:  {why}\n    mend: {mend}")
    }
}

/// The path from the root of the workspace, as it is shown.
fn relative(path: &Path) -> String {
    path.strip_prefix(cargo::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// `file:line` of the first line that `wanted` accepts; `file` alone when there is none.
fn locate(path: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.lines().position(wanted) {
        Some(index) => format!("{}:{}", relative(path), index + 1),
        None => relative(path),
    }
}

/// The files below `folder` with this extension, sorted; none when there is no such folder.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for path in entries(&folder)? {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read {}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        paths.push(entry.with_context(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
}
