//! A published crate cannot reach the top-level config/ and examples/, so it carries copies: they have to be equal.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Report, entries, files, relative};

const WHY: &str =
    "a crate ships what config/ and examples/ show; two versions of one file would both be believed";

pub(super) fn check(root: &Path, fix: bool, report: &mut Report) -> Result<()> {
    let config = root.join("config");
    for package in entries(&root.join("crates"))? {
        let folder = package.join("config");
        for copy in files(&folder, "json")? {
            match original(&config, &folder, &copy) {
                Some(original) => compare(&copy, &original, fix, report)?,
                None => report.find(
                    relative(&copy),
                    "there is no file of this name in config/ or config/providers/",
                    WHY,
                    "put the original there, or remove the copy",
                ),
            }
        }
        // A crate may have examples of its own beside those.
        for copy in files(&package.join("examples"), "json")? {
            let original = copy.file_name().map(|name| root.join("examples").join(name));
            if let Some(original) = original.filter(|path| path.is_file()) {
                compare(&copy, &original, fix, report)?;
            }
        }
    }
    Ok(())
}

fn compare(copy: &Path, original: &Path, fix: bool, report: &mut Report) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    if read(copy)? == read(original)? {
        return Ok(());
    }
    if fix {
        fs::copy(original, copy).with_context(|| format!("cannot write {}", copy.display()))?;
        println!("copied {} to {}", relative(original), relative(copy));
    } else {
        report.find(
            relative(copy),
            format!("differs from {}", relative(original)),
            WHY,
            "change the original, then `cargo xtask tidy --fix` copies it",
        );
    }
    Ok(())
}

/// The shipped file that `copy` should equal: at the same place below config/, else of the same name.
fn original(config: &Path, folder: &Path, copy: &Path) -> Option<PathBuf> {
    let name = copy.file_name()?;
    let same_place = config.join(copy.strip_prefix(folder).ok()?);
    [same_place, config.join(name), config.join("providers").join(name)]
        .into_iter()
        .find(|path| path.is_file())
}
