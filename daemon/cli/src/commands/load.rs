//! `edgemux load`: loads a model under terms, or as best effort.

use std::collections::BTreeMap;
use std::time::Instant;

use edgemux_proto::inference::model_repository_parameter::ParameterChoice;
use edgemux_proto::inference::{ModelRepositoryParameter, RepositoryModelLoadRequest};
use serde::Serialize;
use tonic::Code;

use super::{Context, Outcome, values};
use crate::client::Client;
use crate::error::Error;
use crate::format;
use crate::model::{ModelInfo, TensorInfo};
use crate::output::Report;

const EXAMPLES: &str = "\
Examples:
  edgemux load mobilenet_v2
  edgemux load mobilenet_v2 --version 3
  edgemux load detector --rate-hz 20 --latency-ms 50 --quantile 0.99

Without a rate and an objective the model runs as best effort, in what the others leave.
Exit code 3: the model was not admitted under these terms; nothing was loaded.";

/// Load a model from the repository, under terms that the daemon admits or refuses
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The model's name in the repository
    name: String,
    /// The version to serve [default: the newest]
    #[arg(long)]
    version: Option<String>,
    /// The rate at which requests will come, per second
    #[arg(long, value_name = "R", value_parser = values::positive)]
    rate_hz: Option<f64>,
    /// The latency to keep, queueing included
    #[arg(long, value_name = "MS", value_parser = values::positive)]
    latency_ms: Option<f64>,
    /// The part of requests that must keep it, between 0 and 1
    #[arg(long, value_name = "Q", value_parser = values::quantile, requires = "latency_ms")]
    quantile: Option<f64>,
    /// How many requests may come at once without breaking the declared rate
    #[arg(long, value_name = "N", value_parser = values::positive)]
    burst: Option<f64>,
    /// 0 is the default; 1 is served first, larger numbers later
    #[arg(long, value_name = "P")]
    priority: Option<u32>,
}

/// A model that was loaded.
#[derive(Debug, Serialize)]
struct Loaded {
    model: String,
    version: String,
    /// Where it runs; absent where the server does not say.
    device: Option<String>,
    /// How long the load took, as seen from here.
    load_ms: f64,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    #[serde(skip)]
    signature: String,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let version = args.version.clone().unwrap_or_default();
    let (info, load_ms) = load(&client, &args.name, args.parameters(), &version).await?;
    // Where it runs is an extra: a plain Triton server does not know.
    let sessions = client.sessions().await.unwrap_or_default();
    let session = sessions.into_iter().find(|session| session.id == info.session());
    context.output.report(&Loaded {
        signature: info.signature(),
        model: info.name,
        version: info.version,
        device: session.map(|session| session.device),
        load_ms,
        inputs: info.inputs,
        outputs: info.outputs,
    })?;
    Ok(Outcome::Done)
}

/// Loads and describes a model; says how many milliseconds the load took.
pub(super) async fn load(
    client: &Client,
    name: &str,
    parameters: BTreeMap<String, ModelRepositoryParameter>,
    version: &str,
) -> Result<(ModelInfo, f64), Error> {
    let request =
        RepositoryModelLoadRequest { model_name: name.to_owned(), parameters, ..Default::default() };
    let start = Instant::now();
    client.load(request).await.map_err(|error| match error.code() {
        Code::ResourceExhausted => {
            Error::NotAdmitted { model: name.to_owned(), message: error.message().to_owned() }
        }
        _ => Error::Rpc(error),
    })?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    Ok((ModelInfo::fetch(client, name, version).await?, load_ms))
}

// === impl Args ===

impl Args {
    /// The protocol's parameters know no floating point: such values travel as text.
    fn parameters(&self) -> BTreeMap<String, ModelRepositoryParameter> {
        let number = |value: Option<f64>| value.map(|value| ParameterChoice::StringParam(value.to_string()));
        let parameters = [
            ("version", self.version.clone().map(ParameterChoice::StringParam)),
            ("rate_hz", number(self.rate_hz)),
            ("latency_ms", number(self.latency_ms)),
            ("quantile", number(self.quantile)),
            ("burst", number(self.burst)),
            ("priority", self.priority.map(|value| ParameterChoice::Int64Param(value.into()))),
        ];
        let given = parameters.into_iter().filter(|(_, choice)| choice.is_some());
        given
            .map(|(name, parameter_choice)| (name.to_owned(), ModelRepositoryParameter { parameter_choice }))
            .collect()
    }
}

// === impl Report for Loaded ===

impl Report for Loaded {
    fn text(&self) -> String {
        let device = self.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        let load_ms = format::ms(Some(self.load_ms));
        format!("{}/{} is ready{device} after {load_ms} ms: {}\n", self.model, self.version, self.signature)
    }
}
