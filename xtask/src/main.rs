//! Workspace chores: `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its purpose"
)]

mod args;
mod bench;
mod cargo;
mod ci;
mod crash_test;
mod features;
mod lint;
mod metadata;
mod publish;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Args, Usage};

struct Chore {
    name: &'static str,
    options: &'static str,
    about: &'static str,
    run: fn(Args) -> Result<()>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "test",
        options: "[-p CRATE]",
        about: "every test, doctest and example",
        run: test::run,
    },
    Chore {
        name: "lint",
        options: "",
        about: "formatting, clippy, tidy and docs, without a warning",
        run: lint::run,
    },
    Chore {
        name: "tidy",
        options: "[--fix]",
        about: "the rules of this repository; --fix mends copies",
        run: tidy::run,
    },
    Chore {
        name: "features",
        options: "[-p CRATE]",
        about: "every combination of features compiles",
        run: features::run,
    },
    Chore {
        name: "ci",
        options: "",
        about: "lint, publish, features and test; stops at the first failure",
        run: ci::run,
    },
    Chore {
        name: "publish",
        options: "[-p CRATE] [--offline]",
        about: "a dry run of publishing; uploads nothing",
        run: publish::run,
    },
    Chore {
        name: "bench",
        options: "[ARGS..]",
        about: "the benchmark program of media-cli, in release mode",
        run: bench::run,
    },
    Chore {
        name: "crash-test",
        options: "[--kills N] [--seed N]",
        about: "kills the program at random moments and checks bill, ledger and files",
        run: crash_test::run,
    },
    Chore {
        name: "help",
        options: "",
        about: "this list",
        run: help,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(name) = words.next() else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    let name = if name == "--help" || name == "-h" {
        "help"
    } else {
        name.as_str()
    };
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprint!("xtask: there is no chore {name:?}\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (chore.run)(Args::new(words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Usage>() => {
            eprint!("xtask {name}: {error}\n\n{}", usage());
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("\nxtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help(args: Args) -> Result<()> {
    args.finish()?;
    print!("{}", usage());
    Ok(())
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask CHORE\n\n");
    for Chore {
        name, options, about, ..
    } in CHORES
    {
        text.push_str(&format!("  {:<36} {about}\n", format!("{name} {options}")));
    }
    text
}
