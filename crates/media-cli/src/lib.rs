//! The program `media`: a list of words or prompts in, valid files on disk out.
//!
//! It names no provider. A program of one's own with a provider of one's own is three lines:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     media_cli::main_with(media_registry::Registry::built_in() /* .with(my_provider::FACTORY) */)
//! }
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks on stdout and stderr")]

mod args;
mod cmd;
mod exit;
mod logs;
mod progress;
mod session;
mod simulate;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use media_registry::Registry;

use crate::args::{Args, Command};
use crate::exit::Exit;

/// Runs the program with these providers and says how it ended.
#[must_use]
pub fn main_with(registry: Registry) -> ExitCode {
    let matches = Args::command().get_matches();
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    // One place ends the program, so that every command ends by the same codes.
    let exit = start(&registry, args).unwrap_or_else(|error| {
        eprintln!("error: {}", words::of_error(&error));
        Exit::of_error(&error)
    });
    exit.into()
}

fn start(registry: &Registry, args: Args) -> media_core::Result<Exit> {
    logs::start(&args.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        media_core::Error::new(media_core::ErrorKind::Storage, "the program's threads cannot be started").because(error)
    })?;
    let global = args.global;
    runtime.block_on(async {
        match args.command {
            Command::Init(init) => cmd::init::run(registry, &init),
            Command::Run(run) => cmd::run::run(registry, &global, args.logging.quiet, &run).await,
            Command::Plan(plan) => cmd::plan::run(registry, &global, &plan),
            Command::Check(check) => cmd::check::run(registry, &global, &check).await,
            Command::Providers(providers) => cmd::providers::run(registry, &global, &providers),
            Command::Verify(verify) => cmd::verify::run(&verify),
            Command::Config(config) => cmd::config::run(registry, &global, &config),
            Command::Sim(sim) => cmd::sim::run(&sim).await,
        }
    })
}
