//! The `edgemux-controller` program.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use edgemux_controller::args::{Args, Command, Run};
use edgemux_controller::context::Context;
use edgemux_controller::daemons::grpc::Grpc;
use edgemux_controller::run::{Controller, Options, WATCH_S};
use edgemux_controller::{crds, http};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Longest silence of the API server on a connection, after which that is given up.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_S as u64 + 15);

fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Command::Crds) => std::io::stdout()
            .write_all(crds::yaml()?.as_bytes())
            .context("the definitions could not be printed"),
        None => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .init();
            let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
            runtime.block_on(run(args.run))
        }
    }
}

async fn run(args: Run) -> Result<()> {
    args.credentials.check()?;
    let mut config = kube::Config::infer().await.context("no cluster is configured")?;
    config.read_timeout = Some(SILENCE_MAX);
    let client = kube::Client::try_from(config).context("no client for the cluster")?;
    let listener = TcpListener::bind(args.metrics)
        .await
        .with_context(|| format!("nothing can be served on {}", args.metrics))?;
    let options = Options {
        namespace: args.namespace(),
        identity: args.identity(),
        lease_duration: Duration::from_secs(args.lease_duration_s),
        concurrency: args.max_concurrent,
    };
    info!(namespace = options.namespace, identity = options.identity, metrics = %args.metrics, "it begins");
    let (leads, heard) = watch::channel(false);
    let context = Context::new(
        client,
        Grpc::new(args.credentials),
        Duration::from_secs(args.grace_s),
        Duration::from_secs(args.reservation_ttl_s),
        heard,
    );
    let controller = Controller::start(Arc::new(context), leads, options);
    let routes = http::routes(controller.shown());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        served = axum::serve(listener, routes) => served.context("metrics can no longer be served"),
        () = controller.run(stop) => Ok(()),
    }
}
