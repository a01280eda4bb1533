//! `cargo xtask bench ARGS..`: the benchmark program, an example of media-cli.

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::cargo;
use crate::metadata::Metadata;

pub(crate) fn run(args: Args) -> Result<()> {
    let metadata = Metadata::members()?;
    let package = metadata
        .members
        .iter()
        .find(|package| package.name == "media-cli")
        .context("no crate media-cli")?;
    if !package.examples.iter().any(|name| name == "bench") {
        bail!(
            "media-cli has no example `bench`: the benchmark program belongs in {}",
            package.folder().join("examples/bench.rs").display()
        );
    }
    let mut command = cargo::command(["run", "--release", "-p", "media-cli", "--example", "bench", "--"]);
    cargo::run(command.args(args.rest()))
}
