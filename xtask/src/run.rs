//! Running other programs, and saying so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::native::Environment;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The folder in the user's cache directory for what is fetched once.
pub(crate) fn cache() -> Result<PathBuf> {
    let caches = match std::env::var_os("XDG_CACHE_HOME") {
        Some(caches) => PathBuf::from(caches),
        None => PathBuf::from(std::env::var_os("HOME").context("neither HOME nor XDG_CACHE_HOME is set")?)
            .join(".cache"),
    };
    Ok(caches.join("edgemux"))
}

/// Says what comes next.
pub(crate) fn say(what: &str) {
    eprintln!("\n=== {what}");
}

/// Runs cargo in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    run(cargo_command().args(arguments))
}

/// Runs cargo in the workspace, where it finds native parts.
pub(crate) fn cargo_with(native: &Environment, arguments: &[&str]) -> Result<()> {
    run(native.apply(&mut cargo_command())?.args(arguments))
}

/// Lints the documentation, native parts' crates among it.
pub(crate) fn rustdoc_with(native: &Environment, arguments: &[&str]) -> Result<()> {
    run(native.apply(&mut cargo_command())?.env("RUSTDOCFLAGS", "--deny warnings").args(arguments))
}

/// What cargo prints.
pub(crate) fn cargo_output(arguments: &[&str]) -> Result<Vec<u8>> {
    output(cargo_command().args(arguments))
}

/// What a program prints.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Cargo, in the workspace.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo said to this program of its own package would have some build scripts run again, and all that depends on them,
    // each time that a developer's cargo and this one take turns.
    let of_this_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_this_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root());
    command
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
