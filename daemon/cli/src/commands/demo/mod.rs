//! `edgemux demo`: a daemon of its own, tenants admitted with what they will see, Poisson clients, what they saw, and one
//! tenant too many.

mod node;
mod report;
mod story;

use edgemux_client::Credentials;

use super::{Context, Outcome, values};
use crate::client::Client;
use crate::daemon::{self, Daemon, DaemonError};
use crate::error::Error;
use crate::generator::on_signal;

const NOTES: &str = "\
The daemon runs on free ports over a temporary folder, which is removed afterwards; --server is not used. It has two
devices: `gpu0` is emulated and keeps the time of its models, so that the figures are alike on every machine; on `cpu0` the
processor runs two real ONNX models.

Two tenants of gpu0 are admitted, each with the latency that it and the others are predicted to see. A third is refused,
since they would no longer see what they were promised, and is told the largest rate at which it would be let in. Then all
who were admitted are sent what they declared, by Poisson clients over gRPC, and observed latency is set against predicted.

Exit code 1 if the story went otherwise, or if a request failed.

Examples:
  edgemux demo
  edgemux demo --seconds 60 --seed 7 --json";

/// See it work: a daemon, tenants admitted with their predictions, load, observed against predicted, one refused
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(crate) struct Args {
    /// How long to drive the models
    #[arg(long, value_name = "N", default_value = "20", value_parser = values::seconds)]
    seconds: f64,
    /// The seed of tensors and arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(args: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let binary = daemon::find()?;
    let folder = tempfile::Builder::new().prefix("edgemux-demo-").tempdir().map_err(DaemonError::Folder)?;
    node::write(folder.path()).map_err(DaemonError::Folder)?;

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
    let client = Client::connect(&daemon.address, &Credentials::default()).await?;
    let server = client.server_metadata().await?;
    context.output.note(&format!("edgemuxd {} is ready on {}", server.version, daemon.address))?;
    story::tell(args.seconds, args.seed, &client, &daemon.address, context.output).await
}
