//! `cargo xtask test`: examples, doctests, then every test.
//!
//! The tests come last so that the runner's own closing line ends the output.

use anyhow::{Result, bail};

use crate::args::Args;
use crate::cargo;
use crate::metadata::{Metadata, Package};
use crate::steps::Steps;

pub(crate) fn run(mut args: Args) -> Result<()> {
    let only = args.option("-p")?;
    args.finish()?;
    Steps::of(|steps| all(steps, only.as_deref()))
}

fn all(steps: &mut Steps, only: Option<&str>) -> Result<()> {
    let metadata = Metadata::members()?;
    let packages = metadata.select(only)?;
    let which: Vec<&str> = only.map_or(vec!["--workspace"], |name| vec!["-p", name]);

    steps.run("build examples", || {
        cargo::run(cargo::command(["build", "--examples", "--all-features"]).args(&which))
    })?;
    for package in &packages {
        for example in &package.run_examples {
            steps.run(&format!("example {example} of {}", package.name), || {
                run_example(&metadata, package, example)
            })?;
        }
    }
    if packages.iter().any(|package| package.has_library) {
        steps.run("doctests", || {
            cargo::run(cargo::command(["test", "--doc", "--all-features"]).args(&which))
        })?;
    }
    steps.run("tests", || {
        if !cargo::has("nextest") {
            println!("cargo-nextest is not installed: `cargo test` does it, slower");
            return cargo::run(cargo::command(["test", "--all-targets", "--all-features"]).args(&which));
        }
        let mut command = cargo::command(["nextest", "run", "--all-features"]);
        command.args(&which);
        // One crate may have no test yet; a workspace without tests is a mistake.
        if only.is_some() {
            command.arg("--no-tests=warn");
        }
        cargo::run(&mut command)
    })
}

/// Runs the binary that the step before built: `cargo run -p` would build it again with fewer features.
fn run_example(metadata: &Metadata, package: &Package, example: &str) -> Result<()> {
    let program = metadata
        .target
        .join("debug/examples")
        .join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    println!("$ {}", program.display());
    let status = std::process::Command::new(&program)
        .current_dir(cargo::root())
        .stdin(std::process::Stdio::null())
        .status()
        .map_err(|error| anyhow::anyhow!("{} did not start: {error}", program.display()))?;
    if !status.success() {
        bail!("example {example:?} of {} failed ({status})", package.name);
    }
    Ok(())
}
