//! What `cargo metadata` says about the packages, as far as the chores want to know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) target: PathBuf,
    /// The members of the workspace, by name.
    pub(crate) members: Vec<Package>,
    /// Everything else; empty unless dependencies were asked for.
    pub(crate) foreign: Vec<Package>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest: PathBuf,
    pub(crate) description: String,
    pub(crate) license: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) publishable: bool,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) has_library: bool,
    /// `[package.metadata.xtask] run-examples`: examples that are safe to run unattended.
    pub(crate) run_examples: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The version requirement; `*` when the manifest gives only a path.
    pub(crate) requirement: String,
    pub(crate) optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

impl Metadata {
    /// The members only: quick, reads no registry.
    pub(crate) fn members() -> Result<Self> {
        Self::read(&["--no-deps"])
    }

    /// With every package that any feature, platform or test needs.
    pub(crate) fn everything() -> Result<Self> {
        Self::read(&["--all-features"])
    }

    fn read(args: &[&str]) -> Result<Self> {
        let text = cargo::output(cargo::command(["metadata", "--format-version", "1"]).args(args))?;
        Self::parse(&text).context("cannot understand `cargo metadata`")
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let ids = strings(&value, "workspace_members");
        let mut members = Vec::new();
        let mut foreign = Vec::new();
        for package in array(&value, "packages") {
            let is_member = string(package, "id").is_some_and(|id| ids.contains(&id));
            if is_member { &mut members } else { &mut foreign }.push(Package::parse(package)?);
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let target = string(&value, "target_directory")
            .context("no target_directory")?
            .into();
        Ok(Self {
            target,
            members,
            foreign,
        })
    }

    /// The member of this name, or all of them; an unknown name is an error that lists the known ones.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<Vec<&Package>> {
        let chosen: Vec<&Package> = self
            .members
            .iter()
            .filter(|package| name.is_none_or(|name| package.name == name))
            .collect();
        if let (true, Some(name)) = (chosen.is_empty(), name) {
            let known: Vec<&str> = self.members.iter().map(|package| package.name.as_str()).collect();
            bail!("there is no crate {name:?} here; there are {}", known.join(", "));
        }
        Ok(chosen)
    }
}

impl Package {
    fn parse(value: &Value) -> Result<Self> {
        let field = |name| string(value, name).with_context(|| format!("a package without {name}"));
        let listed = value.get("features").unwrap_or(&Value::Null);
        let names = listed.as_object().into_iter().flat_map(|map| map.keys());
        let features = names.map(|name| (name.clone(), strings(listed, name))).collect();
        let is = |target: &Value, kinds: &[&str]| {
            strings(target, "kind")
                .iter()
                .any(|kind| kinds.contains(&kind.as_str()))
        };
        let targets = array(value, "targets");
        let xtask = value.get("metadata").and_then(|metadata| metadata.get("xtask"));
        Ok(Self {
            name: field("name")?,
            version: field("version")?,
            manifest: field("manifest_path")?.into(),
            description: string(value, "description").unwrap_or_default(),
            license: string(value, "license"),
            repository: string(value, "repository"),
            readme: string(value, "readme"),
            keywords: strings(value, "keywords"),
            categories: strings(value, "categories"),
            // `publish = false` arrives as an empty list of registries.
            publishable: value
                .get("publish")
                .and_then(Value::as_array)
                .is_none_or(|list| !list.is_empty()),
            features,
            dependencies: array(value, "dependencies")
                .iter()
                .map(Dependency::parse)
                .collect::<Result<_>>()?,
            has_library: targets
                .iter()
                .any(|target| is(target, &["lib", "rlib", "proc-macro"])),
            run_examples: xtask
                .map(|xtask| strings(xtask, "run-examples"))
                .unwrap_or_default(),
        })
    }

    /// The folder of the manifest.
    pub(crate) fn folder(&self) -> PathBuf {
        self.manifest.parent().map(PathBuf::from).unwrap_or_default()
    }
}

impl Dependency {
    fn parse(value: &Value) -> Result<Self> {
        Ok(Self {
            name: string(value, "name").context("a dependency without a name")?,
            kind: match string(value, "kind").as_deref() {
                Some("dev") => Kind::Dev,
                Some("build") => Kind::Build,
                _ => Kind::Normal,
            },
            requirement: string(value, "req").unwrap_or_default(),
            optional: value.get("optional").and_then(Value::as_bool).unwrap_or_default(),
        })
    }
}

fn string(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(String::from)
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn strings(value: &Value, name: &str) -> Vec<String> {
    array(value, name)
        .iter()
        .filter_map(Value::as_str)
        .map(String::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "target_directory": "/t", "workspace_members": ["m"],
        "packages": [
            {"id": "f", "name": "serde", "version": "1.0.0", "manifest_path": "/r/Cargo.toml", "license": "MIT"},
            {"id": "m", "name": "media-core", "version": "0.1.0", "manifest_path": "/w/Cargo.toml", "publish": [],
             "features": {"default": ["http"], "http": ["dep:reqwest"]},
             "targets": [{"name": "media_core", "kind": ["lib"]}, {"name": "once", "kind": ["example"]}],
             "dependencies": [{"name": "serde", "req": "^1", "kind": null, "optional": true},
                              {"name": "media-sim", "req": "*", "kind": "dev", "optional": false}],
             "metadata": {"xtask": {"run-examples": ["once"]}}}
        ]}"#;

    #[test]
    fn members_are_told_from_foreign_packages() {
        let metadata = Metadata::parse(TEXT).unwrap();
        assert_eq!(metadata.foreign[0].name, "serde");
        assert!(metadata.foreign[0].publishable);
        let core = &metadata.members[0];
        assert!(!core.publishable && core.has_library);
        assert_eq!(core.run_examples, ["once"]);
        assert_eq!(core.features["http"], ["dep:reqwest"]);
        assert_eq!(core.dependencies[0].kind, Kind::Normal);
        assert_eq!(core.dependencies[1].kind, Kind::Dev);
    }

    #[test]
    fn an_unknown_crate_is_refused_with_the_known_ones() {
        let metadata = Metadata::parse(TEXT).unwrap();
        assert_eq!(metadata.select(None).unwrap().len(), 1);
        let error = metadata.select(Some("media-cor")).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no crate \"media-cor\" here; there are media-core"
        );
    }
}
