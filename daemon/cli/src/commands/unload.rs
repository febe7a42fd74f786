//! `edgemux unload`: drains a model's session and unloads it.

use serde::Serialize;

use super::{Context, Outcome};
use crate::error::Error;
use crate::output::Report;

/// Unload a model: requests under way are finished first. A model that is not loaded is no error
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name
    name: String,
}

#[derive(Debug, Serialize)]
struct Unloaded {
    model: String,
    unloaded: bool,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    context.connect().await?.unload(&args.name).await?;
    context.output.report(&Unloaded { model: args.name, unloaded: true })?;
    Ok(Outcome::Done)
}

// === impl Report for Unloaded ===

impl Report for Unloaded {
    fn text(&self) -> String {
        format!("{} is not loaded any more\n", self.model)
    }
}
