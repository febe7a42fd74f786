//! An edge node: a daemon with emulated devices, and the publisher beside it.

use std::path::PathBuf;
use std::time::Duration;

use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_tests::{Client as DaemonClient, Daemon, Emulated, PATIENCE, Setup};
use kube::{Api, Client};

use crate::control_plane::{ControlPlane, free_ports, kubeconfig};
use crate::eventually;
use crate::program::{Program, binary};

/// One emulated GPU, and formulas alone to decide: what is tested here is not how well daemons predict.
const DEVICES: &str = "
[admission]
simulated-requests = 0
[[device]]
name = 'gpu0'
kind = 'gpu'
runtimes = ['emulator']
multiplexing = 'exclusive'
";

/// A daemon on a port of its own, and its publisher, each of which may be away.
#[derive(Debug)]
pub struct EdgeNode {
    name: String,
    port: u16,
    publisher: Option<Program>,
    daemon: Option<Daemon>,
    kubeconfig: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    setup: Option<Setup>,
}

// === impl EdgeNode ===

impl EdgeNode {
    /// Starts both, with these models in the repository, none of them loaded.
    pub async fn start(control: &ControlPlane, name: &str, models: &[(&str, Emulated)]) -> Self {
        let mut setup = Setup::bare(DEVICES);
        for (model, emulated) in models {
            setup = setup.emulated(model, emulated.clone().not_at_start());
        }
        Self::start_with(control, name, setup, &[]).await
    }

    /// Starts both, the daemon of this setup, the publisher with more arguments.
    pub async fn start_with(control: &ControlPlane, name: &str, setup: Setup, arguments: &[&str]) -> Self {
        let kubeconfig = control.publisher(name).await;
        let [port] = free_ports();
        let mut node = Self {
            name: name.into(),
            port,
            publisher: None,
            daemon: None,
            kubeconfig,
            log: control.path(&format!("publisher-{name}.log")),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            setup: Some(setup),
        };
        node.start_daemon().await;
        node.start_publisher();
        node
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its daemon is asked.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its daemon, which must be there.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// Whether its daemon is there.
    #[must_use]
    pub fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// Its publisher, which must be there.
    #[must_use]
    pub fn publisher(&self) -> &Program {
        self.publisher.as_ref().expect("the publisher runs")
    }

    /// A client of its daemon.
    pub async fn client(&self) -> DaemonClient {
        self.daemon().client().await
    }

    /// Starts the daemon, on the port that it had.
    pub async fn start_daemon(&mut self) {
        let setup = self.setup.take().expect("the daemon is away").again();
        let setup = setup.argument("--listen", format!("127.0.0.1:{}", self.port));
        self.daemon = Some(setup.start().await);
    }

    /// Ends the daemon by SIGKILL.
    pub async fn kill_daemon(&mut self) {
        self.setup = Some(self.daemon.take().expect("the daemon runs").kill().await);
    }

    /// Starts the publisher.
    pub fn start_publisher(&mut self) {
        let mut arguments = vec![
            format!("--node={}", self.name),
            format!("--server=127.0.0.1:{}", self.port),
            format!("--endpoint={}", self.endpoint()),
            "--period-s=1".into(),
            "--lease-s=5".into(),
        ];
        arguments.extend(self.arguments.clone());
        let program = binary("EDGEMUX_PUBLISHER", "edgemux-publisher");
        let publisher = Program::start(&program, arguments, &kubeconfig(&self.kubeconfig), self.log.clone());
        self.publisher = Some(publisher);
    }

    /// Ends the publisher as an operator does.
    pub async fn stop_publisher(&mut self) {
        let status = self.publisher.take().expect("the publisher runs").stop().await;
        assert!(status.success(), "edgemux-publisher ended with {status}");
    }

    /// Ends both by SIGKILL, as a power cut does.
    pub async fn kill(&mut self) {
        self.publisher.take().expect("the publisher runs").kill().await;
        self.kill_daemon().await;
    }

    /// Its AcceleratorNode, once it is as wanted.
    pub async fn published(
        &self,
        admin: &Client,
        what: &str,
        wanted: impl Fn(&AcceleratorNode) -> bool,
    ) -> AcceleratorNode {
        self.published_within(admin, what, PATIENCE, wanted).await
    }

    /// [`EdgeNode::published`] within a time of its own.
    pub async fn published_within(
        &self,
        admin: &Client,
        what: &str,
        within: Duration,
        wanted: impl Fn(&AcceleratorNode) -> bool,
    ) -> AcceleratorNode {
        let nodes: Api<AcceleratorNode> = Api::all(admin.clone());
        eventually(&format!("{}: {what}", self.name), within, async || {
            nodes.get(&self.name).await.ok().filter(|node| wanted(node))
        })
        .await
    }
}
