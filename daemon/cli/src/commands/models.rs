//! `edgemux models`: what is in the model repository, and the tensors of what is served.

use serde::Serialize;

use super::{Context, Outcome};
use crate::client::Client;
use crate::error::Error;
use crate::model::{ModelInfo, TensorInfo, tensors};
use crate::output::Report;
use crate::table::{Align, Table};

const READY: &str = "READY";

/// List the models in the repository, with the inputs and outputs of those that are served
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// All models.
#[derive(Debug, Serialize)]
struct Models {
    models: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    version: String,
    /// `READY`, `UNAVAILABLE`, `LOADING`, `UNLOADING`
    state: String,
    /// Why it is not served; empty otherwise.
    reason: String,
    /// These three are empty unless it is ready.
    platform: String,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

pub(crate) async fn run(_: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let mut models = Vec::new();
    for entry in client.repository_index().await? {
        let info = served(&client, &entry.name, &entry.version, &entry.state).await;
        let (platform, inputs, outputs) =
            info.map(|info| (info.platform, info.inputs, info.outputs)).unwrap_or_default();
        models.push(Model {
            name: entry.name,
            version: entry.version,
            state: if entry.state.is_empty() { "UNAVAILABLE".to_owned() } else { entry.state },
            reason: entry.reason,
            platform,
            inputs,
            outputs,
        });
    }
    context.output.report(&Models { models })?;
    Ok(Outcome::Done)
}

/// A model may be unloaded between the two questions: it is then shown without its tensors.
async fn served(client: &Client, name: &str, version: &str, state: &str) -> Option<ModelInfo> {
    if state != READY {
        return None;
    }
    ModelInfo::fetch(client, name, version).await.ok()
}

// === impl Report for Models ===

impl Report for Models {
    fn text(&self) -> String {
        if self.models.is_empty() {
            return "no models: put NAME/1/model.onnx into the daemon's model repository\n".to_owned();
        }
        let mut table = Table::new(&[
            ("MODEL", Align::Left),
            ("VERSION", Align::Right),
            ("STATE", Align::Left),
            ("INPUTS", Align::Left),
            ("OUTPUTS", Align::Left),
            ("REASON", Align::Left),
        ]);
        for model in &self.models {
            table.push([
                model.name.clone(),
                model.version.clone(),
                model.state.clone(),
                tensors(&model.inputs),
                tensors(&model.outputs),
                model.reason.clone(),
            ]);
        }
        table.to_string()
    }
}
