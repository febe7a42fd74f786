//! `edgemux`: the command that talks to an `edgemuxd`.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not admitted.
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod csv;
mod daemon;
mod error;
mod experiment;
mod format;
mod generator;
mod model;
mod output;
mod plan;
#[cfg(feature = "plot")]
mod plot;
mod progress;
#[cfg(test)]
#[path = "../tests/fake/pty.rs"]
#[allow(dead_code, reason = "shared with tests of the whole command, which use more of it")]
mod pty;
mod rpc;
mod table;
mod tensor;
mod top;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = output::Output::new(cli.json);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
        .and_then(|runtime| runtime.block_on(cli.run(&output)));
    match ended {
        Ok(commands::Outcome::Done) => ExitCode::SUCCESS,
        Ok(commands::Outcome::Failed) => ExitCode::from(error::EXIT_FAILED),
        Ok(commands::Outcome::NotAdmitted) => ExitCode::from(error::EXIT_NOT_ADMITTED),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
