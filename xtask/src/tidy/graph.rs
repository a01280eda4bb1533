//! Which crate may know which.

use super::{Report, locate};
use crate::metadata::{Dependency, Kind, Package};

const WHY: &str = "who knows whom is the architecture: see docs/architecture.md";

/// The crates of ours that a crate may use; `provider-*` stands for every provider.
/// `None` for a crate that nobody thought of yet.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "media-core" | "media-sim" | "xtask" => &[],
        "media-engine" | "media-testkit" => &["media-core"],
        "media-registry" => &["media-core", "provider-*"],
        "media-cli" => &["media-core", "media-engine", "media-registry", "media-sim"],
        _ if is_provider(name) => &["media-core"],
        _ => return None,
    })
}

/// What tests may use beyond that.
const FOR_TESTS: &[&str] = &["media-sim", "media-testkit", "media-registry", "provider-*"];

fn is_provider(name: &str) -> bool {
    name.starts_with("provider-")
}

fn lists(list: &[&str], name: &str) -> bool {
    list.iter()
        .any(|entry| *entry == name || (*entry == "provider-*" && is_provider(name)))
}

pub(super) fn check(members: &[Package], report: &mut Report) {
    for package in members {
        for fault in faults(package, members) {
            let place = locate(&package.manifest, |line| {
                fault.dependency.as_ref().is_some_and(|name| {
                    line.trim_start()
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
                })
            });
            report.find(place, fault.what, fault.why, fault.mend);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Fault {
    dependency: Option<String>,
    what: String,
    why: &'static str,
    mend: String,
}

fn faults(package: &Package, members: &[Package]) -> Vec<Fault> {
    let name = &package.name;
    let Some(allowed) = allowed(name) else {
        return vec![Fault {
            dependency: None,
            what: format!("no rule says which crates {name} may use"),
            why: WHY,
            mend: "add the crate to `allowed` in xtask/src/tidy/graph.rs".into(),
        }];
    };
    let ours = |dependency: &&Dependency| members.iter().any(|member| member.name == dependency.name);
    package
        .dependencies
        .iter()
        .filter(ours)
        .filter_map(|dependency| {
            let (what, why, mend) = fault(package, allowed, dependency)?;
            Some(Fault {
                dependency: Some(dependency.name.clone()),
                what,
                why,
                mend,
            })
        })
        .collect()
}

fn fault(
    package: &Package,
    allowed: &[&str],
    dependency: &Dependency,
) -> Option<(String, &'static str, String)> {
    let user = &package.name;
    let name = &dependency.name;
    let has_version = dependency.requirement != "*";
    if dependency.kind == Kind::Dev {
        let normal_too = package
            .dependencies
            .iter()
            .any(|other| other.name == *name && other.kind != Kind::Dev);
        if normal_too {
            return None;
        }
        if name != user && !lists(FOR_TESTS, name) && !lists(allowed, name) {
            let tests_may: Vec<&str> = allowed.iter().chain(FOR_TESTS).copied().collect();
            return Some((
                format!(
                    "the tests of {user} use {name}; they may use {}",
                    join(&tests_may)
                ),
                WHY,
                format!("move the test to a crate that knows {name}, or take the dependency out"),
            ));
        }
        return has_version.then(|| {
            (
                format!("the dev-dependency on {name} has a version"),
                "publishing drops dev-dependencies without one; with one, the crates would need each other \
                 to be published first",
                format!("write `{name} = {{ path = \"../{name}\" }}`, not `{name}.workspace = true`"),
            )
        });
    }
    if !lists(allowed, name) {
        return Some((
            format!("{user} uses {name}; of our crates it may use {}", join(allowed)),
            WHY,
            format!("move what {user} needs to a crate that it may use, or take the dependency out"),
        ));
    }
    if user == "media-registry" && is_provider(name) && !dependency.optional {
        return Some((
            format!("{name} is not optional"),
            "a program compiles only the providers it asked for",
            format!("write `{name} = {{ workspace = true, optional = true }}` and give it a feature"),
        ));
    }
    (!has_version).then(|| {
        (
            format!("the dependency on {name} has no version"),
            "a crate without the versions of what it needs cannot be published",
            format!("write `{name}.workspace = true`"),
        )
    })
}

fn join(names: &[&str]) -> String {
    if names.is_empty() {
        String::from("none")
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Vec<Package> {
        [
            "media-core",
            "media-cli",
            "media-engine",
            "media-registry",
            "media-sim",
            "provider-forvo",
            "provider-openai",
        ]
        .map(|name| Package {
            name: name.into(),
            ..Package::default()
        })
        .to_vec()
    }

    fn found(user: &str, dependencies: &[(&str, Kind, &str, bool)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|&(name, kind, requirement, optional)| Dependency {
                name: name.into(),
                kind,
                requirement: requirement.into(),
                optional,
            })
            .collect();
        let package = Package {
            name: user.into(),
            dependencies,
            ..Package::default()
        };
        faults(&package, &workspace())
            .into_iter()
            .map(|fault| fault.what)
            .collect()
    }

    use Kind::{Build, Dev, Normal};

    #[test]
    fn the_designed_graph_passes() {
        assert!(found("media-core", &[("serde", Normal, "^1", false)]).is_empty());
        assert!(found("provider-forvo", &[("media-core", Normal, "^0.1.0", false)]).is_empty());
        assert!(found("media-registry", &[("provider-forvo", Normal, "^0.1.0", true)]).is_empty());
        let cli = ["media-core", "media-engine", "media-registry", "media-sim"];
        assert!(found("media-cli", &cli.map(|name| (name, Normal, "^0.1.0", false))).is_empty());
        assert!(found("media-testkit", &[("media-core", Normal, "^0.1.0", false)]).is_empty());
    }

    #[test]
    fn knowing_too_much_is_found_in_build_scripts_too() {
        assert_eq!(
            found("media-engine", &[("provider-openai", Normal, "^0.1.0", true)]),
            ["media-engine uses provider-openai; of our crates it may use media-core"]
        );
        assert_eq!(
            found("media-sim", &[("media-core", Build, "^0.1.0", false)]),
            ["media-sim uses media-core; of our crates it may use none"]
        );
        assert_eq!(
            found("provider-forvo", &[("provider-openai", Normal, "^0.1.0", false)]).len(),
            1
        );
    }

    #[test]
    fn providers_of_the_registry_are_optional_and_have_a_version() {
        let dependency = |optional, requirement| [("provider-forvo", Normal, requirement, optional)];
        assert_eq!(
            found("media-registry", &dependency(false, "^0.1.0")),
            ["provider-forvo is not optional"]
        );
        assert_eq!(
            found("media-registry", &dependency(true, "*")),
            ["the dependency on provider-forvo has no version"]
        );
    }

    #[test]
    fn tests_may_use_simulator_and_providers_by_path_only() {
        assert!(found("provider-forvo", &[("media-sim", Dev, "*", false)]).is_empty());
        assert!(found("media-engine", &[("media-registry", Dev, "*", false)]).is_empty());
        assert!(found("media-core", &[("media-core", Dev, "*", false)]).is_empty());
        assert_eq!(
            found("provider-forvo", &[("media-sim", Dev, "^0.1.0", false)]),
            ["the dev-dependency on media-sim has a version"]
        );
        assert_eq!(
            found("provider-forvo", &[("media-engine", Dev, "*", false)]).len(),
            1
        );
    }

    #[test]
    fn more_features_of_a_normal_dependency_for_tests_are_fine() {
        let twice = [
            ("media-core", Normal, "^0.1.0", false),
            ("media-core", Dev, "^0.1.0", false),
        ];
        assert!(found("media-engine", &twice).is_empty());
    }

    #[test]
    fn a_crate_without_a_rule_is_found() {
        assert_eq!(
            found("media-new", &[]),
            ["no rule says which crates media-new may use"]
        );
    }
}
