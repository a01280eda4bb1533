//! `cargo xtask features`: every combination of features of each crate compiles, its tests included.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::cargo;
use crate::metadata::{Metadata, Package};
use crate::steps::Steps;

/// Up to so many features all subsets are tried; with more each alone, none, and all.
const POWERSET_UP_TO: usize = 6;

pub(crate) fn run(mut args: Args) -> Result<()> {
    let only = args.option("-p")?;
    args.finish()?;
    Steps::of(|steps| all(steps, only.as_deref()))
}

/// The steps, for `ci` too.
pub(crate) fn all(steps: &mut Steps, only: Option<&str>) -> Result<()> {
    let metadata = Metadata::members()?;
    let packages = metadata.select(only)?;
    if packages.iter().any(|package| package.name == "media-registry") {
        steps.run("features: only what is asked for", one_provider)?;
    }
    steps.run("features: combinations", || {
        let mut jobs: Vec<(&Package, Vec<&str>)> = Vec::new();
        for &package in &packages {
            jobs.extend(
                combinations(&package.features)
                    .into_iter()
                    .map(|set| (package, set)),
            );
        }
        for (index, (package, features)) in jobs.iter().enumerate() {
            check(package, features, &format!("[{:>3}/{}]", index + 1, jobs.len()))?;
        }
        Ok(())
    })
}

fn check(package: &Package, features: &[&str], progress: &str) -> Result<()> {
    let list = features.join(",");
    let start = Instant::now();
    let mut command = cargo::command(["check", "--quiet", "--all-targets", "-p", &package.name]);
    command.args(["--no-default-features", "--features", &list]);
    cargo::run_quietly(&mut command).with_context(|| {
        format!(
            "{} does not compile with only the features [{list}]",
            package.name
        )
    })?;
    println!(
        "{progress} {} [{list}] {:.1} s",
        package.name,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A registry with one provider compiles no other.
fn one_provider() -> Result<()> {
    let select = [
        "-p",
        "media-registry",
        "--no-default-features",
        "--features",
        "forvo",
    ];
    cargo::run(cargo::command(["build"]).args(select))?;
    let tree = cargo::tree(&[&select[..], &["-e", "normal,build"]].concat())?;
    let has = |name: &str| {
        tree.lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    };
    if !has("provider-forvo") {
        bail!(
            "feature `forvo` of media-registry does not bring provider-forvo: add \"dep:provider-forvo\" to it"
        );
    }
    for other in ["provider-openai", "provider-runware"] {
        if has(other) {
            bail!(
                "media-registry with only `forvo` compiles {other}: make it optional, behind a feature of its own"
            );
        }
    }
    Ok(())
}

/// The sets of features to try, without `default` and without sets that come to the same:
/// when `a = ["b"]`, then `a` and `a,b` are one build.
fn combinations(features: &BTreeMap<String, Vec<String>>) -> Vec<Vec<&str>> {
    let names: Vec<&str> = features
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "default")
        .collect();
    let mut sets: Vec<Vec<&str>> = if names.len() <= POWERSET_UP_TO {
        (0..1_usize << names.len())
            .map(|bits| {
                let chosen = names
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| (bits >> index) & 1 == 1);
                chosen.map(|(_, name)| *name).collect()
            })
            .collect()
    } else {
        let alone = names.iter().map(|name| vec![*name]);
        std::iter::once(Vec::new())
            .chain(alone)
            .chain([names.clone()])
            .collect()
    };
    sets.sort_by_key(Vec::len);
    let mut seen = BTreeSet::new();
    sets.retain(|set| seen.insert(closure(set, features)));
    sets
}

/// The set with every feature that it turns on in the same crate.
fn closure<'a>(set: &[&'a str], features: &'a BTreeMap<String, Vec<String>>) -> BTreeSet<&'a str> {
    let mut open = set.to_vec();
    let mut closed = BTreeSet::new();
    while let Some(name) = open.pop() {
        if closed.insert(name) {
            let implied = features.get(name).into_iter().flatten().map(String::as_str);
            open.extend(implied.filter(|implied| features.contains_key(*implied)));
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let own = |names: &[&str]| names.iter().map(|name| String::from(*name)).collect();
        list.iter()
            .map(|(name, implied)| (String::from(*name), own(implied)))
            .collect()
    }

    #[test]
    fn all_subsets_without_default_the_small_ones_first() {
        let features = features(&[("default", &["a"]), ("a", &["dep:x"]), ("b", &[])]);
        assert_eq!(
            combinations(&features),
            [vec![], vec!["a"], vec!["b"], vec!["a", "b"]]
        );
    }

    #[test]
    fn no_features_is_one_build() {
        assert_eq!(combinations(&features(&[])), [Vec::<&str>::new()]);
    }

    #[test]
    fn sets_that_come_to_the_same_are_tried_once() {
        let features = features(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
        assert_eq!(combinations(&features), [vec![], vec!["a"], vec!["b"], vec!["c"]]);
    }

    #[test]
    fn the_powerset_ends_at_six() {
        let six: Vec<(&str, &[&str])> = ["a", "b", "c", "d", "e", "f"]
            .map(|name| (name, &[][..]))
            .to_vec();
        assert_eq!(combinations(&features(&six)).len(), 64);
        let mut seven = six;
        seven.push(("g", &[]));
        let sets = features(&seven);
        let sets = combinations(&sets);
        assert_eq!(sets.len(), 9);
        assert_eq!(sets[8].len(), 7);
    }
}
