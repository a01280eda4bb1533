//! `cargo xtask ci`: what has to pass; the cheap and the likely failures first, the README's test command last.

use anyhow::Result;

use crate::args::Args;
use crate::steps::Steps;
use crate::tidy::readme;
use crate::{cargo, features, lint, publish};

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    Steps::of(all)
}

fn all(steps: &mut Steps) -> Result<()> {
    // Before anything that takes long: without it the last step has nothing to run.
    let test = readme::test_command()?;
    lint::all(steps)?;
    steps.run("publish, dry run", || publish::dry_run(None, false))?;
    features::all(steps, None)?;
    steps.run(&test, || {
        cargo::run(&mut cargo::command(test.split_whitespace().skip(1)))
    })
}
