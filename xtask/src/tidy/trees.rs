//! What must not be in the dependency tree of a crate, however indirectly.

use anyhow::Result;

use super::{Report, relative};
use crate::cargo;
use crate::metadata::Package;

struct Rule {
    package: &'static str,
    args: &'static [&'static str],
    /// Parts of names; a whole name starts with `=`.
    banned: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        package: "media-core",
        args: &["--all-features", "-e", "normal,build"],
        banned: &["sqlite", "=sqlx", "=diesel"],
        why: "who wants one call needs no database: the ledger is the engine's",
    },
    Rule {
        package: "provider-forvo",
        args: &["-e", "normal"],
        banned: &["=media-engine", "=rusqlite", "=image", "=symphonia"],
        why: "one provider alone stays small: no engine, no ledger, no decoder",
    },
];

pub(super) fn check(members: &[Package], report: &mut Report) -> Result<()> {
    for rule in RULES {
        let Some(package) = members.iter().find(|package| package.name == rule.package) else {
            continue;
        };
        let tree = cargo::tree(&[&["-p", rule.package], rule.args].concat())?;
        for name in banned(&tree, rule.banned) {
            let args = rule.args.join(" ");
            report.find(
                relative(&package.manifest),
                format!("{} pulls in {name}", rule.package),
                rule.why,
                format!(
                    "`cargo tree -p {} {args} -i {name}` shows through whom",
                    rule.package
                ),
            );
        }
    }
    Ok(())
}

/// The names of a tree, one package a line, that are not wanted.
fn banned<'a>(tree: &'a str, patterns: &[&str]) -> Vec<&'a str> {
    let is_banned = |name: &str| {
        patterns.iter().any(|pattern| match pattern.strip_prefix('=') {
            Some(whole) => name == whole,
            None => name.contains(pattern),
        })
    };
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| is_banned(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_whole_names() {
        let tree = "media-core v0.1.0 (/w)\nlibsqlite3-sys v0.30.0\nimage-webp v0.2.0\nlibsqlite3-sys v0.30.0 (*)\n\n";
        assert_eq!(banned(tree, &["sqlite", "=image"]), ["libsqlite3-sys"]);
        assert!(banned("serde v1.0.0\n", &["sqlite", "=image"]).is_empty());
    }
}
