//! `cargo xtask ci`: what has to pass; the cheap and the likely failures first, the README's test command last.

use anyhow::{Context, Result};

use crate::args::Args;
use crate::steps::Steps;
use crate::tidy::readme;
use crate::{cargo, features, lint, publish};

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    let mut steps = Steps::default();
    let result = all(&mut steps);
    print!("{}", steps.table());
    result
}

fn all(steps: &mut Steps) -> Result<()> {
    // Before anything that takes long: without it the last step has nothing to run.
    let test = readme::test_command()?;
    lint::all(steps)?;
    steps.run("publish, dry run", || publish::dry_run(None, false))?;
    features::all(steps, None)?;
    steps.run(&test, || {
        let mut words = test.split_whitespace();
        words
            .next()
            .filter(|word| *word == "cargo")
            .context("the test command of README.md is not a cargo command")?;
        cargo::run(&mut cargo::command(words))
    })
}
