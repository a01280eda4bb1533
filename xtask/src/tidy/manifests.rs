//! What a crate needs on its page in the registry.

use super::{Report, locate, relative};
use crate::metadata::Package;

const WHY: &str = "it is how the crate is found and judged in the registry";

pub(super) fn check(members: &[Package], report: &mut Report) {
    for package in members.iter().filter(|package| package.publishable) {
        for (key, what, mend) in faults(package) {
            let place = locate(&package.manifest, |line| line.trim_start().starts_with(key));
            report.find(place, what, WHY, mend);
        }
        let readme = package.folder().join("README.md");
        if !readme.is_file() {
            report.find(
                relative(&readme),
                format!("{} has no README.md", package.name),
                "it is the first page of the crate in the registry",
                "write what the crate is for, with one example",
            );
        }
        if let Some(readme) = package
            .readme
            .as_ref()
            .filter(|readme| !package.folder().join(readme).is_file())
        {
            report.find(
                locate(&package.manifest, |line| line.trim_start().starts_with("readme")),
                format!("`readme` names {readme}, which does not exist"),
                WHY,
                "name a file that does; README.md beside Cargo.toml is found without the key",
            );
        }
    }
}

/// Key, fault, remedy.
fn faults(package: &Package) -> Vec<(&'static str, String, String)> {
    let mut faults = Vec::new();
    let name = &package.name;
    let inherit = |key: &str| format!("write `{key}.workspace = true`");
    if package.description.split_whitespace().count() < 3 {
        let what = format!(
            "{name} has no description worth the name: {:?}",
            package.description
        );
        faults.push((
            "description",
            what,
            "say in one line what the crate is for".into(),
        ));
    }
    for (key, value) in [("license", &package.license), ("repository", &package.repository)] {
        if value.as_ref().is_none_or(String::is_empty) {
            faults.push((key, format!("{name} has no {key}"), inherit(key)));
        }
    }
    if package.categories.is_empty() || package.categories.len() > 5 {
        let what = format!(
            "{name} has {} categories, 1 to 5 are allowed",
            package.categories.len()
        );
        faults.push(("categories", what, inherit("categories")));
    }
    if package.keywords.is_empty() || package.keywords.len() > 5 {
        let what = format!(
            "{name} has {} keywords, 1 to 5 are allowed",
            package.keywords.len()
        );
        faults.push(("keywords", what, inherit("keywords")));
    }
    for keyword in package.keywords.iter().filter(|keyword| !is_keyword(keyword)) {
        let mend = "at most 20 characters: a letter or digit first, then letters, digits, `_`, `-`, `+`";
        faults.push((
            "keywords",
            format!("the registry refuses the keyword {keyword:?}"),
            mend.into(),
        ));
    }
    faults
}

fn is_keyword(word: &str) -> bool {
    word.len() <= 20
        && word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-+".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Package {
        Package {
            name: "media-core".into(),
            description: "One interface over media APIs".into(),
            license: Some("MIT".into()),
            repository: Some("https://example.invalid".into()),
            keywords: vec!["text-to-speech".into()],
            categories: vec!["multimedia".into()],
            ..Package::default()
        }
    }

    #[test]
    fn a_complete_manifest_passes() {
        assert_eq!(faults(&complete()), []);
    }

    #[test]
    fn each_missing_key_is_one_fault() {
        let keys: Vec<&str> = faults(&Package::default()).iter().map(|(key, ..)| *key).collect();
        assert_eq!(
            keys,
            ["description", "license", "repository", "categories", "keywords"]
        );
    }

    #[test]
    fn the_registry_has_rules_for_keywords() {
        let keywords = vec![
            "text to speech".into(),
            "a-keyword-of-more-than-20".into(),
            "c++".into(),
        ];
        assert_eq!(
            faults(&Package {
                keywords,
                ..complete()
            })
            .len(),
            2
        );
    }
}
