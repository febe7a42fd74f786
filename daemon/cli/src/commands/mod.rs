//! The commands, one module each.

pub(crate) mod admit;
pub(crate) mod calibration;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod experiment;
pub(crate) mod infer;
pub(crate) mod load;
pub(crate) mod load_test;
pub(crate) mod man;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod sessions;
mod terms;
pub(crate) mod top;
pub(crate) mod unload;
mod values;

use edgemux_client::{ConnectError, Credentials, ServerAddress};

use crate::client::Client;
use crate::output::Output;

/// How a command that printed its result ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The result itself is the failure: a check that failed, a run without one success.
    Failed,
    /// The result itself is that something is not admitted.
    NotAdmitted,
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) server: ServerAddress,
    pub(crate) credentials: Credentials,
    pub(crate) output: &'a Output,
}

impl Context<'_> {
    async fn connect(&self) -> Result<Client, ConnectError> {
        Client::connect(&self.server, &self.credentials).await
    }
}
