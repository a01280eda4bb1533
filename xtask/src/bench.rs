//! `cargo xtask bench ARGS..`: the benchmark program, an example of media-cli, and a second build of it without a ledger.

use anyhow::Result;

use crate::args::Args;
use crate::cargo;
use crate::metadata::Metadata;

pub(crate) fn run(args: Args) -> Result<()> {
    let metadata = Metadata::members()?;
    let wanted = args.rest();
    let mut command = cargo::command(["run", "--release", "-p", "media-cli", "--example", "bench", "--"]);
    if wanted.is_empty() || wanted.iter().any(|word| word == "rate") {
        // The same program without a ledger, to be measured beside it. In a folder of its own: flags rebuild everything.
        let folder = metadata.target.join("no-ledger");
        let mut build = cargo::command(["build", "--release", "-p", "media-cli", "--example", "bench"]);
        build
            .env("RUSTFLAGS", "--cfg media_bench_no_ledger")
            .env("CARGO_TARGET_DIR", &folder);
        cargo::run(&mut build)?;
        let name = format!("bench{}", std::env::consts::EXE_SUFFIX);
        let program = folder.join("release/examples").join(name);
        command.env("MEDIA_BENCH_NO_LEDGER", program);
    }
    cargo::run(command.args(wanted))
}
