//! `cargo xtask publish`: packages what would be published and compiles what is in the packages. Uploads nothing.
//!
//! Cargo's own verification is not used: cargo 1.95 keeps a sibling of an unchanged version from an earlier
//! dry run, so that a crate is compiled against yesterday's core; and it would compile every dependency anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::cargo;
use crate::metadata::{Kind, Metadata, Package};

/// What crates.io takes; a dry run does not say so.
const SIZE_LIMIT: u64 = 10 * 1024 * 1024;

pub(crate) fn run(mut args: Args) -> Result<()> {
    let only = args.option("-p")?;
    let offline = args.flag("--offline");
    args.finish()?;
    dry_run(only.as_deref(), offline)
}

/// For one crate, with those of ours that it needs, or for all.
pub(crate) fn dry_run(only: Option<&str>, offline: bool) -> Result<()> {
    let metadata = Metadata::members()?;
    let order = order(&metadata, only)?;
    println!("In this order, each after those it needs:");
    for package in &order {
        println!("  {} {}", package.name, package.version);
    }

    for old in order
        .iter()
        .flat_map(|package| archives(&metadata, package))
        .filter(|path| path.exists())
    {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let offline = offline || !publish(&order)?;
    if offline {
        // Makes the same archives; only the registry's opinion is missing.
        let args = ["package", "--offline", "--no-verify", "--allow-dirty"];
        cargo::run(with_packages(&mut cargo::command(args), &order))?;
    }
    let folder = metadata.target.join("package/unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for package in &order {
        let archive = archives(&metadata, package)
            .into_iter()
            .find(|path| path.exists());
        let archive = archive.with_context(|| format!("cargo left no archive of {}", package.name))?;
        check_size(package, &archive)?;
        unpack(&archive, &folder)?;
    }
    compile(&metadata, &order, &folder, offline)?;
    println!("\nNothing was uploaded. {}", advice(&order, only.is_some()));
    Ok(())
}

/// Whether it was done; `false` when it is only that the registry cannot be reached.
fn publish(order: &[&Package]) -> Result<bool> {
    let mut command = cargo::command(["publish", "--dry-run", "--no-verify", "--allow-dirty"]);
    let (success, stderr) = cargo::run_and_read_stderr(with_packages(&mut command, order))?;
    if !success && !is_unreachable(&stderr) {
        bail!("`{}` failed", cargo::shown(&command));
    }
    if !success {
        println!("\nThe registry cannot be reached: packaging and compiling without it.");
    }
    Ok(success)
}

fn with_packages<'a>(command: &'a mut Command, order: &[&Package]) -> &'a mut Command {
    for package in order {
        command.args(["-p", &package.name]);
    }
    command
}

/// Files get the present time (`-m`), so that cargo sees them as changed whatever it compiled before.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let status = Command::new("tar")
        .arg("-xzmf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .status();
    if !status.context("`tar` did not start")?.success() {
        bail!("`tar` cannot unpack {}", archive.display());
    }
    Ok(())
}

/// Compiles the unpacked crates as a workspace of their own, with the dependencies that are compiled already.
fn compile(metadata: &Metadata, order: &[&Package], folder: &Path, offline: bool) -> Result<()> {
    let manifest = folder.join("Cargo.toml");
    fs::write(&manifest, workspace_manifest(order))
        .with_context(|| format!("cannot write {}", manifest.display()))?;
    let lock = cargo::root().join("Cargo.lock");
    fs::copy(&lock, folder.join("Cargo.lock")).with_context(|| format!("cannot copy {}", lock.display()))?;
    let mut command = cargo::command(["check", "--workspace"]);
    command
        .current_dir(folder)
        .arg("--target-dir")
        .arg(&metadata.target);
    // For its profiles: packages have none, and other profiles mean other dependencies.
    command.arg("--config").arg(cargo::root().join("Cargo.toml"));
    if offline {
        command.arg("--offline");
    }
    cargo::run(&mut command).context("what is in the packages does not compile")
}

fn workspace_manifest(order: &[&Package]) -> String {
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"*-*\"]\n\n[patch.crates-io]\n");
    for Package { name, version, .. } in order {
        text.push_str(&format!("{name} = {{ path = \"{name}-{version}\" }}\n"));
    }
    text
}

/// Whether cargo failed for want of a registry, rather than for something wrong with the crates.
fn is_unreachable(stderr: &str) -> bool {
    let signs = [
        "failed to download",
        "failed to query replaced source",
        "unable to update registry",
        "failed to get successful HTTP response",
        "failed to fetch",
        "spurious network error",
        "but --offline was specified",
    ];
    let fault = stderr.split_once("error: ").map_or("", |(_, fault)| fault);
    signs.iter().any(|sign| fault.contains(sign))
}

/// The crates to publish, each after the crates of ours that it needs.
fn order<'a>(metadata: &'a Metadata, only: Option<&str>) -> Result<Vec<&'a Package>> {
    let mut order: Vec<&Package> = Vec::new();
    for package in metadata.select(only)? {
        if package.publishable {
            visit(package, &metadata.members, &mut order, &mut Vec::new())?;
        } else if only.is_some() {
            bail!("{} has `publish = false`", package.name);
        }
    }
    Ok(order)
}

fn visit<'a>(
    package: &'a Package,
    members: &'a [Package],
    order: &mut Vec<&'a Package>,
    path: &mut Vec<&'a str>,
) -> Result<()> {
    if order.iter().any(|placed| placed.name == package.name) {
        return Ok(());
    }
    if path.contains(&package.name.as_str()) {
        bail!("{} depends on itself, through {}", package.name, path.join(", "));
    }
    path.push(&package.name);
    for dependency in package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != Kind::Dev)
    {
        let Some(needed) = members.iter().find(|member| member.name == dependency.name) else {
            continue;
        };
        if !needed.publishable {
            bail!(
                "{} needs {}, which has `publish = false`",
                package.name,
                needed.name
            );
        }
        visit(needed, members, order, path)?;
    }
    path.pop();
    order.push(package);
    Ok(())
}

/// Where cargo may leave the archive: `package` and `publish --dry-run` differ.
fn archives(metadata: &Metadata, package: &Package) -> Vec<PathBuf> {
    let name = format!("{}-{}.crate", package.name, package.version);
    let folder = metadata.target.join("package");
    vec![folder.join(&name), folder.join("tmp-crate").join(&name)]
}

fn check_size(package: &Package, archive: &Path) -> Result<()> {
    let size = fs::metadata(archive)
        .with_context(|| format!("cannot read {}", archive.display()))?
        .len();
    if size >= SIZE_LIMIT {
        bail!(
            "the archive of {} has {size} bytes; crates.io takes less than {SIZE_LIMIT}: \
             name what belongs in it with `include` in {}",
            package.name,
            package.manifest.display()
        );
    }
    println!(
        "{}: {} KiB of {} KiB",
        package.name,
        size.div_ceil(1024),
        SIZE_LIMIT / 1024
    );
    Ok(())
}

fn advice(order: &[&Package], only: bool) -> String {
    let mut command = String::from("cargo publish");
    if only {
        for package in order {
            command.push_str(&format!(" -p {}", package.name));
        }
    } else {
        command.push_str(" --workspace");
    }
    let mut text = format!(
        "To do it for real: commit, `cargo login`, then\n  {command}\n\
         Leave out what stands there already in this version. A dry run does not tell that a name belongs to\n\
         somebody else: look each one up before."
    );
    if let Some(package) = order.iter().find(|package| {
        package
            .repository
            .as_deref()
            .is_some_and(|repository| repository.contains(".invalid"))
    }) {
        text.push_str(&format!(
            "\nBefore that, set a real `repository`: {} is a placeholder.",
            package.repository.as_deref().unwrap_or_default()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, needs: &[(&str, Kind)]) -> Package {
        let dependency = |&(name, kind): &(&str, Kind)| Dependency {
            name: name.into(),
            kind,
            requirement: "^0.1.0".into(),
            optional: false,
        };
        Package {
            name: name.into(),
            publishable: name != "xtask",
            dependencies: needs.iter().map(dependency).collect(),
            ..Package::default()
        }
    }

    fn names(metadata: &Metadata, only: Option<&str>) -> Result<Vec<String>> {
        Ok(order(metadata, only)?
            .iter()
            .map(|package| package.name.clone())
            .collect())
    }

    fn workspace(members: Vec<Package>) -> Metadata {
        Metadata {
            target: PathBuf::new(),
            members,
            foreign: Vec::new(),
        }
    }

    #[test]
    fn what_is_needed_comes_first_and_dev_cycles_do_not_matter() {
        let metadata = workspace(vec![
            package(
                "media-registry",
                &[("provider-forvo", Kind::Normal), ("media-core", Kind::Normal)],
            ),
            package(
                "provider-forvo",
                &[("media-core", Kind::Normal), ("media-registry", Kind::Dev)],
            ),
            package("media-core", &[("serde", Kind::Normal)]),
            package("xtask", &[]),
        ]);
        assert_eq!(
            names(&metadata, None).unwrap(),
            ["media-core", "provider-forvo", "media-registry"]
        );
        assert_eq!(
            names(&metadata, Some("provider-forvo")).unwrap(),
            ["media-core", "provider-forvo"]
        );
        assert!(names(&metadata, Some("xtask")).is_err());
    }

    #[test]
    fn cycles_and_unpublishable_needs_are_refused() {
        let cycle = workspace(vec![
            package("a", &[("b", Kind::Normal)]),
            package("b", &[("a", Kind::Build)]),
        ]);
        assert_eq!(
            names(&cycle, None).unwrap_err().to_string(),
            "a depends on itself, through a, b"
        );
        let private = workspace(vec![
            package("a", &[("xtask", Kind::Normal)]),
            package("xtask", &[]),
        ]);
        assert!(names(&private, None).is_err());
    }

    #[test]
    fn unpacked_crates_find_each_other() {
        let package = Package {
            version: "0.1.0".into(),
            ..package("media-core", &[])
        };
        let text = workspace_manifest(&[&package]);
        assert!(
            text.ends_with("[patch.crates-io]\nmedia-core = { path = \"media-core-0.1.0\" }\n"),
            "{text}"
        );
    }

    #[test]
    fn a_broken_crate_is_not_taken_for_a_broken_network() {
        assert!(is_unreachable("error: failed to download from `http://x`\n"));
        assert!(is_unreachable(
            "Packaging\nerror: attempting to make an HTTP request, but --offline was specified"
        ));
        assert!(!is_unreachable("error: could not compile `media-core`\n"));
        assert!(!is_unreachable(
            "warning: failed to download x, trying again\nerror: could not compile `a`"
        ));
    }
}
