//! `edgemux demo`: a daemon of its own, two models, Poisson clients, a table.

mod drive;
mod report;

use std::fs;
use std::path::Path;

use super::{Context, Outcome, values};
use crate::client::Client;
use crate::daemon::{self, Daemon, DaemonError};
use crate::error::Error;
use crate::generator::on_signal;

/// Two real architectures with random weights; see the folder's README.
const MODELS: [(&str, &[u8]); 2] = [
    ("mobilenet_tiny", include_bytes!("../../../../../examples/models/mobilenet_tiny.onnx")),
    ("keywords", include_bytes!("../../../../../examples/models/keywords.onnx")),
];

const NOTES: &str = "\
The daemon runs on free ports over a temporary folder, which is removed afterwards; --server is not used.
The rates are chosen from a short measurement of each model's service time, for a total utilisation of about 50 %,
or less where the processor could not carry that.

Examples:
  edgemux demo
  edgemux demo --seconds 60 --seed 7 --json";

/// See it work: start a daemon, load two models, drive them with Poisson clients, show what they deliver
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// How long to drive the models
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::seconds)]
    seconds: f64,
    /// The seed of tensors and arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let binary = daemon::find()?;
    let folder = tempfile::Builder::new().prefix("edgemux-demo-").tempdir().map_err(DaemonError::Folder)?;
    write_models(&folder.path().join("models")).map_err(DaemonError::Folder)?;

    // A signal ends the demo, not this process: the daemon is stopped and the folder removed all the same.
    let daemon = tokio::select! {
        started = Daemon::start(&binary, folder.path()) => started?,
        signal = on_signal() => return Err(signal.err().unwrap_or(Error::Interrupted)),
    };
    let shown = tokio::select! {
        shown = show(&args, &daemon, context) => shown,
        signal = on_signal() => Err(signal.err().unwrap_or(Error::Interrupted)),
    };
    let log = daemon.log();
    let stopped = daemon.stop().await;
    let report = shown.map_err(|error| match error {
        Error::Interrupted | Error::Stdout(_) => error,
        error => DaemonError::WhileRunning { error: error.to_string(), log }.into(),
    })?;
    stopped?;
    folder.close().map_err(DaemonError::Folder)?;
    context.output.report(&report)?;
    Ok(if report.complete() { Outcome::Done } else { Outcome::Failed })
}

async fn show(args: &Args, daemon: &Daemon, context: &Context<'_>) -> Result<report::Demo, Error> {
    let client = Client::connect(&daemon.address).await?;
    let server = client.server_metadata().await?;
    context.output.note(&format!("edgemuxd {} is ready on {}", server.version, daemon.address))?;
    drive::drive(args.seconds, args.seed, &client, &daemon.address, context.output).await
}

fn write_models(repository: &Path) -> std::io::Result<()> {
    for (name, content) in MODELS {
        let folder = repository.join(name).join("1");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("model.onnx"), content)?;
    }
    Ok(())
}
