//! The program `media`: a list of words or prompts in, valid files on disk out.
//!
//! It knows no provider's API. A program of one's own with a provider of one's own is three lines:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     media_cli::main_with(media_registry::Registry::built_in() /* .with(my_provider::FACTORY) */)
//! }
//! ```

mod args;
mod cmd;
mod exit;
mod logs;
mod progress;
mod session;
mod signals;
mod simulate;
mod talk;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use media_registry::Registry;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::talk::say;

/// Runs the program with these providers and the process's own arguments, and says how it ended.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "reads better where it is called: `main_with(Registry::built_in())`"
)]
pub fn main_with(registry: Registry) -> ExitCode {
    run_with(&registry, std::env::args_os())
}

/// Runs the program with these providers and arguments; the first argument is the program's name.
#[must_use]
pub fn run_with(registry: &Registry, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    words::called_as(&arguments);
    let again = words::again(&arguments);
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(problem) => {
            // clap's own codes: 0 for --help and --version, 2 for usage.
            let _ = problem.print();
            return ExitCode::from(u8::try_from(problem.exit_code()).unwrap_or(2));
        }
    };
    // One place ends the program, so that every command ends by the same codes.
    let exit = start(registry, args, &again).unwrap_or_else(|error| {
        say!("error: {}", words::of_error(&error));
        Exit::of_error(&error)
    });
    if let Some(error) = talk::lost_data() {
        say!("error: what was to be told on stdout could not all be written: {error}");
        return exit.amiss().into();
    }
    exit.into()
}

/// Threads that read and write files. Nothing that waits for another of them runs there.
const FILE_THREADS: usize = 6;

fn start(registry: &Registry, args: Args, again: &str) -> media_core::Result<Exit> {
    logs::start(&args.logging)?;
    // One thread for all the waiting; files and the ledger have their own. More would take more memory and no less time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each has a heap of its own, which keeps what it once held.
        .max_blocking_threads(FILE_THREADS)
        .build()
        .map_err(|error| {
            media_core::Error::new(
                media_core::ErrorKind::Storage,
                "the program's threads cannot be started",
            )
            .because(error)
        })?;
    let global = args.global;
    let exit = runtime.block_on(async {
        match args.command {
            Command::Init(init) => cmd::init::run(registry, &init),
            Command::Run(run) => cmd::run::run(registry, &global, args.logging.quiet, &run, again).await,
            Command::Plan(plan) => cmd::plan::run(registry, &global, &plan).await,
            Command::Status(status) => cmd::status::run(registry, &global, &status),
            Command::Retry(retry) => {
                cmd::again::retry(registry, &global, args.logging.quiet, &retry, again).await
            }
            Command::Rescue(rescue) => {
                cmd::again::rescue(registry, &global, args.logging.quiet, &rescue, again).await
            }
            Command::Redo(redo) => cmd::redo::redo(registry, &global, args.logging.quiet, &redo).await,
            Command::Cancel(cancel) => cmd::cancel::run(registry, &global, &cancel).await,
            Command::Pick(pick) => cmd::redo::pick(registry, &global, &pick),
            Command::Keep(keep) => cmd::redo::keep(registry, &global, &keep),
            Command::Export(export) => cmd::export::run(registry, &global, &export),
            Command::Report(report) => cmd::report::run(registry, &global, &report),
            Command::Voices(voices) => cmd::voices::run(registry, &global, &voices).await,
            Command::Check(check) => cmd::check::run(registry, &global, &check).await,
            Command::Providers(providers) => cmd::providers::run(registry, &global, &providers),
            Command::Verify(verify) => cmd::verify::run(&verify),
            Command::Config(config) => cmd::config::run(registry, &global, &config),
            Command::Sim(sim) => cmd::sim::run(&sim).await,
        }
    });
    // What matters was waited for. Of what is left a lookup of a name may hang for longer than anybody waits.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit
}
