//! Calling cargo: the one that called us, in the workspace root, without a terminal to ask on.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where the workspace is. As cargo says when it runs this: one that was built in another checkout may be run here, where
/// both share a target folder.
pub(crate) fn root() -> PathBuf {
    let built_in = || env!("CARGO_MANIFEST_DIR").into();
    let xtask: PathBuf = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(built_in, Into::into);
    xtask.parent().unwrap_or(&xtask).to_path_buf()
}

/// A cargo command, to be completed by the caller.
pub(crate) fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    // `cargo run` describes xtask in these. A build script that watches one of them (those of C libraries do)
    // would be run again at every change between plain cargo and xtask.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = String::from("cargo");
    if Path::new(command.get_program()).file_stem() != Some(OsStr::new("cargo")) {
        text = command.get_program().to_string_lossy().into_owned();
    }
    for arg in command.get_args() {
        let arg = arg.to_string_lossy();
        text.push(' ');
        if arg.contains(char::is_whitespace) {
            text.push_str(&format!("{arg:?}"));
        } else {
            text.push_str(&arg);
        }
    }
    text
}

/// Runs it with its output in sight; an exit code other than 0 is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    run_quietly(command)
}

/// As [`run`], for a caller that has said already what happens.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("`{shown}` did not start"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// What the command writes to stdout; its stderr becomes the error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .output()
        .with_context(|| format!("`{shown}` did not start"))?;
    if !output.status.success() {
        bail!(
            "`{shown}` failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not write UTF-8"))
}

/// As [`run`], and keeps a copy of stderr: whether it succeeded, and what it wrote.
pub(crate) fn run_and_read_stderr(command: &mut Command) -> Result<(bool, String)> {
    let shown = shown(command);
    println!("$ {shown}");
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{shown}` did not start"))?;
    let mut text = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line.with_context(|| format!("cannot read what `{shown}` writes"))?;
            eprintln!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok((child.wait()?.success(), text))
}

/// Whether a subcommand such as `nextest` is installed.
pub(crate) fn has(subcommand: &str) -> bool {
    command([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The names in the dependency tree that `args` select, one a line, direct and indirect.
pub(crate) fn tree(args: &[&str]) -> Result<String> {
    output(
        command(["tree"])
            .args(args)
            .args(["--prefix", "none", "--format", "{p}"]),
    )
}
