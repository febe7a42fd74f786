//! The daemon's binary: where it is, and running it for a while.

mod find;
mod process;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

pub(crate) use find::{find, shown, version};
pub(crate) use process::Daemon;

/// Why a daemon cannot be run.
#[derive(Debug, Error)]
pub(crate) enum DaemonError {
    #[error(
        "no `edgemuxd` at {0}: build it with `cargo build --release`, or name it in the environment variable EDGEMUXD"
    )]
    NotFound(PathBuf),
    #[error("cannot tell where this command is, and so not where edgemuxd is: {0}")]
    Here(io::Error),
    #[error("cannot start {binary}: {cause}")]
    Start { binary: PathBuf, cause: io::Error },
    #[error("cannot prepare a temporary folder: {0}")]
    Folder(io::Error),
    #[error("{binary} does not say its version: {what}")]
    Version { binary: PathBuf, what: String },
    #[error("`{binary} {arguments}` does not say what it is asked: {what}")]
    Shown { binary: PathBuf, arguments: String, what: String },
    #[error("edgemuxd ended before it was ready ({status}); the end of its log:\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("edgemuxd was not ready within {seconds} s; the end of its log:\n{log}")]
    NotReady { seconds: u64, log: String },
    #[error("edgemuxd was ready without having said where it listens; the end of its log:\n{log}")]
    NoAddress { log: String },
    #[error("edgemuxd did not end well after SIGTERM ({what}); the end of its log:\n{log}")]
    Stop { what: String, log: String },
    #[error("{error}\nthe end of the daemon's log:\n{log}")]
    WhileRunning { error: String, log: String },
}
