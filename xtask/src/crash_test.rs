//! `cargo xtask crash-test`: kills the real program at random moments, many times; the tests do it a few times.

use anyhow::Result;

use crate::args::Args;
use crate::cargo;

/// As many as the promise "never pay twice" is held against.
const KILLS: &str = "250";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let kills = args.option("--kills")?.unwrap_or_else(|| KILLS.to_owned());
    let seed = args.option("--seed")?;
    args.finish()?;
    let mut command = cargo::command([
        "test",
        "-p",
        "media-cli",
        "--test",
        "it",
        "crash::",
        "--",
        "--nocapture",
    ]);
    command.env("MEDIA_CRASH_KILLS", kills);
    if let Some(seed) = seed {
        command.env("MEDIA_CRASH_SEED", seed);
    }
    cargo::run(&mut command)
}
