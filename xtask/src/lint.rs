//! `cargo xtask lint`: formatting, tidy, clippy and docs, the cheap ones first, none with a warning.

use anyhow::Result;

use crate::args::Args;
use crate::steps::Steps;
use crate::{cargo, tidy};

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    Steps::of(all)
}

/// The steps, for `ci` too.
pub(crate) fn all(steps: &mut Steps) -> Result<()> {
    steps.run("fmt", || {
        cargo::run(&mut cargo::command(["fmt", "--all", "--check"]))
    })?;
    steps.run("tidy", || tidy::check(false))?;
    steps.run("clippy", || {
        let args = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ];
        cargo::run(&mut cargo::command(args))
    })?;
    steps.run("docs", || {
        let mut command = cargo::command(["doc", "--workspace", "--no-deps", "--all-features"]);
        cargo::run(command.env("RUSTDOCFLAGS", "-D warnings"))
    })
}
