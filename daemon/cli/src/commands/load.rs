//! `edgemux load`: loads a model under terms, or as best effort.

use std::collections::BTreeMap;
use std::time::Instant;

use edgemux_proto::inference::model_repository_parameter::ParameterChoice;
use edgemux_proto::inference::{ModelRepositoryParameter, RepositoryModelLoadRequest};
use serde::Serialize;
use tonic::Code;

use super::terms::TermsArgs;
use super::{Context, Outcome};
use crate::client::Client;
use crate::error::Error;
use crate::format;
use crate::model::{ModelInfo, TensorInfo};
use crate::output::Report;

const EXAMPLES: &str = "\
Examples:
  edgemux load mobilenet_v2
  edgemux load mobilenet_v2 --version 3
  edgemux load mobilenet_v2 --version 4 --replace   version 3 serves until 4 is ready, then goes
  edgemux load detector --rate-hz 20 --latency-ms 50 --quantile 0.99

Without a rate and a latency the model runs as best effort, in what the others leave.
`edgemux admit` does the same, and shows what every session would see, before and after; with --dry-run it loads nothing.
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
    /// Unload the model's other versions once this one is ready; until then they serve
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    terms: TermsArgs,
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
    let mut parameters = args.terms.parameters(args.version.as_deref());
    if args.replace {
        let parameter_choice = Some(ParameterChoice::BoolParam(true));
        parameters.insert("replace_versions".into(), ModelRepositoryParameter { parameter_choice });
    }
    let (info, load_ms) = load(&client, &args.name, parameters, &version).await?;
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

// === impl Report for Loaded ===

impl Report for Loaded {
    fn text(&self) -> String {
        let device = self.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        let load_ms = format::ms(Some(self.load_ms));
        format!("{}/{} is ready{device} after {load_ms} ms: {}\n", self.model, self.version, self.signature)
    }
}
