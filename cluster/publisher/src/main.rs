//! `edgemux-publisher`: trace, connect, publish until a signal.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use edgemux_publisher::args::Args;
use edgemux_publisher::metrics::{Metrics, routes};
use edgemux_publisher::publisher::Publisher;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Of connecting to the API server.
const CONNECT_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(wrong) = args.check() {
        Args::command().error(clap::error::ErrorKind::ValueValidation, wrong).exit();
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemux-publisher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: &Args) -> Result<()> {
    let mut config =
        Config::infer().await.context("no cluster: neither a kubeconfig nor a pod's own account")?;
    config.connect_timeout = Some(CONNECT_MAX);
    // The publisher has a back-off of its own.
    config.default_retry = false;
    let client = Client::try_from(config).context("the kubeconfig makes no client")?;

    let metrics = Arc::new(Metrics::new(args.lease().as_secs()));
    if let Some(address) = args.metrics {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        println!("edgemux-publisher: metrics on {}", listener.local_addr()?);
        let routes = routes(Arc::clone(&metrics));
        tokio::spawn(async move { axum::serve(listener, routes).await });
    }

    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = term.recv() => (),
            _ = int.recv() => (),
        }
    };
    Publisher::new(client, args, metrics).run(stop).await;
    Ok(())
}
