//! The log: of our own crates only, because those below would show addresses, and an address can hold a key.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::Mutex;

use media_core::{Error, ErrorKind, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Logging;
use crate::talk::ForPeople;

/// The crates whose events are shown. `provider` is how the provider crates of this workspace are named.
const OURS: [&str; 2] = ["media", "provider"];

fn ours(level: LevelFilter) -> Targets {
    OURS.iter()
        .fold(Targets::new(), |targets, name| targets.with_target(*name, level))
}

/// Starts logging as the flags say.
pub(crate) fn start(logging: &Logging) -> Result<()> {
    let level = match (logging.quiet, logging.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let terminal = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| ForPeople)
        .without_time()
        .with_filter(ours(level));
    let file = match &logging.log {
        Some(path) => {
            let file = open(path)?;
            Some(
                fmt::layer()
                    .json()
                    .with_writer(Mutex::new(file))
                    .with_filter(ours(LevelFilter::DEBUG)),
            )
        }
        None => None,
    };
    tracing_subscriber::registry().with(terminal).with(file).init();
    Ok(())
}

/// Adds to a log. A file that is no log of ours is left alone: a slip of the hand could name the list.
fn open(path: &Path) -> Result<File> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Config,
            format!("cannot write the log {}", path.display()),
        )
        .because(error)
        .not_billed()
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)
        .map_err(failed)?;
    let mut start = [0; LOG_START.len()];
    let length = file.metadata().map_err(failed)?.len();
    if length > 0 && (file.read_exact(&mut start).is_err() || start != *LOG_START) {
        return Err(Error::config(format!(
            "{} is there and is not a log of this program, so it is left alone",
            path.display()
        ))
        .hint("name another file by --log"));
    }
    Ok(file)
}

/// How every line of a log begins.
const LOG_START: &[u8; 13] = b"{\"timestamp\":";
