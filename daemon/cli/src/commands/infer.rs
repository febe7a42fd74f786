//! `edgemux infer`: one request, from files or random tensors.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use edgemux_client::within;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::{Context, Outcome, values};
use crate::error::Error;
use crate::format;
use crate::model::ModelInfo;
use crate::output::Report;
use crate::rpc::RpcError;
use crate::tensor::{
    Summary, Tensor, infer_request, named_shape, outputs_of, random_inputs, read_input, shapes_of,
    write_output,
};

const EXAMPLES: &str = "\
Examples:
  edgemux infer mobilenet_v2                                     random tensors
  edgemux infer mobilenet_v2 --input image=cat.npy --output out/
  edgemux infer detector --input image=frame.raw --shape image=1,3,480,640
  edgemux infer two_inputs --input a=a.npy --random --seed 7      a from its file, the rest random

A file is .npy (numpy.save) or raw little-endian bytes in row-major order.";

/// Send one request and show its outputs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The model's name
    name: String,
    /// The version to ask [default: the one that is served]
    #[arg(long)]
    version: Option<String>,
    /// The file for an input; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = values::pair)]
    input: Vec<(String, String)>,
    /// Fill the inputs that have no file with random values (the default when none has)
    #[arg(long)]
    random: bool,
    /// The seed of random values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// An input's shape, for its free dimensions [default: 1 for each]; may be repeated
    #[arg(long, value_name = "NAME=1,3,224,224", value_parser = named_shape)]
    shape: Vec<(String, Vec<i64>)>,
    /// Write the outputs: into a folder as NAME.npy, or the only one into a file (.npy, or else raw)
    #[arg(long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// How long to wait for the answer
    #[arg(long, value_name = "MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// An answer.
#[derive(Debug, Serialize)]
struct Inferred {
    model: String,
    version: String,
    /// From sending the request to having its answer.
    latency_ms: f64,
    outputs: Vec<Summary>,
    /// The files written, in the outputs' order.
    files: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let client = context.connect().await?;
    let model = ModelInfo::fetch(&client, &args.name, args.version.as_deref().unwrap_or_default()).await?;
    let request = args.request(&model)?;
    let start = Instant::now();
    let answer =
        client.inference().model_infer(within(Duration::from_millis(args.timeout_ms), request)).await;
    let latency_ms = start.elapsed().as_secs_f64() * 1e3;
    let answer =
        answer.map_err(|status| RpcError::new(format!("infer `{}`", args.name), &status))?.into_inner();
    let (name, version) = (answer.model_name.clone(), answer.model_version.clone());
    let outputs = outputs_of(answer)?;
    let files = args.write(&outputs)?;
    context.output.report(&Inferred {
        model: name,
        version,
        latency_ms,
        outputs: outputs.iter().map(|(name, tensor)| Summary::new(name, tensor)).collect(),
        files,
    })?;
    Ok(Outcome::Done)
}

// === impl Args ===

impl Args {
    fn request(&self, model: &ModelInfo) -> Result<edgemux_proto::inference::ModelInferRequest, Error> {
        let shapes = shapes_of(model, &self.shape)?;
        let without_file = |name: &str| {
            (self.random || self.input.is_empty()) && !self.input.iter().any(|(named, _)| named == name)
        };
        let random = model.inputs.iter().filter(|info| without_file(&info.name));
        let mut tensors = random_inputs(random, &shapes, &mut StdRng::seed_from_u64(self.seed))?;
        for (name, file) in &self.input {
            let tensor = read_input(model, name, file.as_ref(), &shapes)?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::Usage(format!("input `{name}` is given twice: name one file for it")));
            }
        }
        Ok(infer_request(model, tensors)?)
    }

    fn write(&self, outputs: &[(String, Tensor)]) -> Result<Vec<PathBuf>, Error> {
        let Some(to) = &self.output else { return Ok(Vec::new()) };
        let into_folder = to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/');
        if into_folder {
            std::fs::create_dir_all(to).map_err(|cause| Error::Write { path: to.clone(), cause })?;
        } else if outputs.len() != 1 {
            return Err(Error::Usage(format!(
                "the model has {} outputs and {} is one file: name a folder (DIR/)",
                outputs.len(),
                to.display()
            )));
        }
        outputs.iter().map(|(name, tensor)| write_output(to, into_folder, name, tensor)).collect()
    }
}

// === impl Report for Inferred ===

impl Report for Inferred {
    fn text(&self) -> String {
        let latency = format::ms(Some(self.latency_ms));
        let mut text = format!("{}/{} answered in {latency} ms\n", self.model, self.version);
        for output in &self.outputs {
            text.push_str(&output.text());
        }
        for file in &self.files {
            text.push_str(&format!("written: {}\n", file.display()));
        }
        text
    }
}
