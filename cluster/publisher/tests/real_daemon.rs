//! A real edgemuxd with emulated devices, published to an API server that is a function.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

#[allow(dead_code, reason = "each file of tests uses what it needs")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use edgemux_cluster_api::node::{AcceleratorKind, AcceleratorNodeStatus, Multiplexing};
use edgemux_proto::edgemux::v1::{FenceRequest, UnfenceRequest};
use edgemux_publisher::args::Args;
use edgemux_publisher::metrics::Metrics;
use edgemux_publisher::publisher::Publisher;
use edgemux_tests::{Daemon, Emulated, PATIENCE, Setup, eventually, terms};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::common::{ApiServer, refusal, takes};

/// Less than it is given, were nobody to hear it.
const FAREWELL: Duration = Duration::from_secs(4);

struct Published {
    server: ApiServer,
    metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Published {
    fn new(address: &str) -> Self {
        let server =
            if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
        let args = Args::parse_from([
            "edgemux-publisher",
            "--node=edge-1",
            "--endpoint=http://10.0.0.7:8001",
            "--period-s=1",
            "--lease-s=3",
            &format!("--server={server}"),
        ]);
        let (server, client) = ApiServer::new(takes);
        let metrics = Arc::new(Metrics::new(3));
        let (stop, stopped) = oneshot::channel();
        let publisher = Publisher::new(client, &args, Arc::clone(&metrics));
        let task = tokio::spawn(publisher.run(async { drop(stopped.await) }));
        Self { server, metrics, stop: Some(stop), task }
    }

    /// The last status that was written, once it is as wanted.
    async fn status(
        &self,
        what: &str,
        wanted: impl Fn(&AcceleratorNodeStatus) -> bool,
    ) -> AcceleratorNodeStatus {
        eventually(what, PATIENCE, async || {
            let asked = self.server.last("status")?;
            let status: AcceleratorNodeStatus = serde_json::from_value(asked.body["status"].clone()).unwrap();
            wanted(&status).then_some(status)
        })
        .await
    }

    async fn ready(&self, status: &str) -> AcceleratorNodeStatus {
        let ready = |now: &AcceleratorNodeStatus| {
            now.conditions.iter().any(|c| c.type_ == "Ready" && c.status == status)
        };
        self.status(&format!("Ready is {status}"), ready).await
    }

    fn leases(&self) -> usize {
        self.server.asked().iter().filter(|asked| asked.object() == "lease").count()
    }
}

async fn daemon() -> Daemon {
    Setup::default()
        .emulated("detector", Emulated::new(4.0).not_at_start().memory(1 << 20))
        .emulated("counter", Emulated::new(2.0).not_at_start())
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_has_and_runs_is_published() {
    let daemon = daemon().await;
    let client = daemon.client().await;
    let published = Published::new(daemon.address());
    let status = published.ready("True").await;
    let kinds: Vec<_> =
        status.accelerators.iter().map(|device| (device.name.as_str(), device.kind)).collect();
    let expected =
        [("cpu0", AcceleratorKind::Cpu), ("gpu0", AcceleratorKind::Gpu), ("tpu0", AcceleratorKind::EdgeTpu)];
    assert_eq!(kinds, expected);
    let cpu = &status.accelerators[0];
    assert_eq!((cpu.multiplexing, cpu.multiplexing_auto), (Multiplexing::Exclusive, false));
    assert!(status.accelerators[1].multiplexing_auto);
    assert!(!status.epoch.is_empty());
    assert_eq!(status.models, ["counter/1", "detector/1"]);
    assert!(status.sessions.is_empty(), "{status:#?}");

    client.admit(&terms("detector", 20.0, 0.99, 100.0)).await;
    let status = published
        .status("the session and what it costs are published", |status| {
            status.sessions.iter().any(|session| session.state == "Ready") && !status.profiles.is_empty()
        })
        .await;
    let session = &status.sessions[0];
    assert_eq!((&session.name[..], &session.model[..]), ("detector/1", "detector/1"));
    assert_eq!((session.rate_millihertz, session.uid.as_str()), (20_000, "detector"));
    let objective = session.objective.unwrap();
    assert_eq!((objective.latency_micros, objective.quantile_permille), (100_000, Some(990)));
    assert_eq!(session.digest.len(), 64);
    let profile = status.profiles.iter().find(|profile| profile.accelerator == session.accelerator).unwrap();
    assert_eq!(profile.digest, session.digest);
    assert!((3500..6000).contains(&profile.service_micros), "{profile:?}");
    assert!(published.leases() > 0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_published_at_once_and_so_is_its_end() {
    let daemon = daemon().await;
    let client = daemon.client().await;
    let published = Published::new(daemon.address());
    published.ready("True").await;
    let fenced = |status: &AcceleratorNodeStatus| status.accelerators[1].fenced.as_deref() == Some("too hot");
    let fence = FenceRequest { device: "gpu0".into(), reason: "too hot".into() };
    client.devices.clone().fence(fence).await.unwrap();
    published.status("gpu0 is fenced", fenced).await;
    client.devices.clone().unfence(UnfenceRequest { device: "gpu0".into() }).await.unwrap();
    published.status("gpu0 serves again", |status| status.accelerators[1].fenced.is_none()).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_gone_is_said_to_be_and_its_next_run_is_another() {
    let setup = Setup::default();
    let address = format!("unix:{}", setup.path("edgemuxd.sock").display());
    let daemon = setup.argument("--listen", &address).start().await;
    let published = Published::new(&address);
    let first = published.ready("True").await;
    let setup = daemon.kill().await;
    let away = published.ready("False").await;
    assert_eq!((away.conditions[0].reason.as_str(), away.epoch), ("DaemonUnreachable", first.epoch.clone()));
    let leases = published.leases();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(published.leases(), leases, "nobody vouches for a daemon that is gone");
    let daemon = setup.again().argument("--listen", &address).start().await;
    let second = published.ready("True").await;
    assert_ne!(second.epoch, first.epoch);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_fails_for_a_while_is_told_all_afterwards() {
    let daemon = daemon().await;
    let client = daemon.client().await;
    let published = Published::new(daemon.address());
    published.ready("True").await;
    published.server.answer(|_| refusal(500, "InternalError", "no leader"));
    client.admit(&terms("detector", 20.0, 0.99, 100.0)).await;
    eventually("writes fail", PATIENCE, async || {
        let text = published.metrics.exposition();
        (!text.contains("object=\"status\",outcome=\"failed\"} 0")).then_some(())
    })
    .await;
    assert!(!published.task.is_finished());
    let before = published.server.asked().len();
    published.server.answer(takes);
    eventually("what was missed is told", PATIENCE, async || {
        let asked = published.server.asked();
        let told = asked[before..].iter().rev().find(|asked| asked.object() == "status")?;
        told.body["status"]["sessions"].get(0).map(|_| ())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_told_to_end_says_so() {
    let daemon = daemon().await;
    let mut published = Published::new(daemon.address());
    published.ready("True").await;
    published.stop.take().unwrap().send(()).unwrap();
    // At once: it need not wait for what comes after the last that it says.
    tokio::time::timeout(FAREWELL, &mut published.task).await.expect("it ends").unwrap();
    let status = published.ready("False").await;
    assert_eq!(status.conditions[0].reason, "Stopping");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_node_writes_its_lease_only() {
    let daemon = daemon().await;
    let published = Published::new(daemon.address());
    published.ready("True").await;
    let leases = published.leases();
    eventually("the Lease is renewed three times more", PATIENCE, async || {
        (published.leases() >= leases + 3).then_some(())
    })
    .await;
    let statuses = published.server.asked().iter().filter(|asked| asked.object() == "status").count();
    assert!(statuses <= 2, "{statuses} writes of a status in which nothing changes");
    daemon.stop().await;
}
