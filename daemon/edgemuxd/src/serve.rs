//! Serves until a signal, then drains.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::config::Config;
use crate::discovery::Hardware;
use crate::grpc::Services;
use crate::http;
use crate::listener::Listener;
use crate::logging::Logging;
use crate::node::Node;
use crate::reload::reload;
use crate::repository::Repository;
use crate::traces::Traces;
use crate::{service, tls};

/// Binds, serves, loads what loads at start, and returns once a signal has come and requests have drained.
///
/// Standard output carries one line per address and, when the models that load at start have been dealt with,
/// `edgemuxd: ready`: scripts that start a daemon wait for it.
pub async fn run(
    args: Args,
    config: Config,
    repository: Repository,
    logging: Logging,
    handed: ListenFd,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;

    let certificates = config.tls.as_ref().map(tls::read).transpose()?;
    let (renewals, certificates) = watch::channel(certificates);

    let mut listeners =
        Listener::inherited(handed, &config.listen).context("sockets of the service manager")?;
    for address in &config.listen {
        // What the service manager listens on already is not bound once more.
        if !listeners.iter().any(|listener| listener.address() == address.to_string()) {
            listeners.push(Listener::bind(address).await?);
        }
    }
    let metrics = TcpListener::bind(config.metrics)
        .await
        .with_context(|| format!("cannot serve metrics on {}; choose another --metrics", config.metrics))?;
    // Before anybody is told that we serve: what another daemon drives is not ours.
    let hardware = Hardware::take(&config)?;
    for listener in &listeners {
        announce(&format!("listening on {}", listener.address()));
    }
    if let Ok(address) = metrics.local_addr() {
        announce(&format!("metrics on {address}"));
    }

    let traces = Traces::start(&config.telemetry).context("telemetry.otlp-endpoint cannot be used")?;
    let node = Node::start(config, repository, hardware);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), repository = %node.repository.root().display(),
        devices = node.devices.len(), "edgemuxd"
    );
    let (stop, stopping) = watch::channel(false);
    let services = Arc::new(Services::new(&node, traces.clone(), logging, stopping.clone())?);
    services.set_serving(false).await;
    let mut servers = JoinSet::new();
    for listener in listeners {
        let (services, stopping, certificates) =
            (Arc::clone(&services), stopping.clone(), certificates.clone());
        servers.spawn(async move { services.serve(listener, certificates, stopping).await });
    }
    let pages = http::routes(Arc::clone(&node));
    tokio::spawn(async move { axum::serve(metrics, pages).await });
    service::ready("loading what loads at start");
    tokio::spawn(service::stay_alive(Arc::downgrade(&node)));

    let loading = {
        let (node, services) = (Arc::clone(&node), Arc::clone(&services));
        tokio::spawn(async move {
            node.load_at_start().await;
            services.set_serving(true).await;
            service::status("serving");
            announce("ready");
        })
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                service::reloading();
                let reloaded = reload(&node, &args, &renewals);
                match &reloaded {
                    Ok(()) => tracing::info!("the configuration is reloaded"),
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "the configuration is not reloaded, nothing is changed");
                    }
                }
                service::reloaded(reloaded.err());
            }
            ended = servers.join_next() => {
                ended.context("no listener")??.context("a listener failed")?;
                break;
            }
        }
    }
    let grace = Duration::from_secs_f64(node.config().drain_grace_s);
    tracing::info!(?grace, "draining");
    service::stopping();
    loading.abort();
    // In this order: a watch of the daemon's health ends with the first change that it sees while draining.
    stop.send_replace(true);
    services.set_serving(false).await;
    let drained = tokio::time::timeout(grace, async { while servers.join_next().await.is_some() {} }).await;
    match drained {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!("not drained within the grace; the rest is dropped"),
    }
    node.save().await;
    if let Some(traces) = traces {
        // It waits for the collector.
        let _ = tokio::task::spawn_blocking(move || traces.end()).await;
    }
    Ok(())
}

/// A line for whoever started the daemon; a closed standard output is nobody to tell.
fn announce(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "edgemuxd: {line}");
    let _ = out.flush();
}
