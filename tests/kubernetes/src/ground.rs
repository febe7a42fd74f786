//! A whole cluster for the controller: nodes, controllers, sessions, and whether what they say agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use edgemux_cluster_api::access::{CONTROLLER, NAMESPACE};
use edgemux_cluster_api::session::{InferenceSession, Phase, Placement, PlacementState};
use edgemux_proto::edgemux::v1::{ListSessionsRequest, SessionState};
use edgemux_tests::{Emulated, Process, terms};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::assets::Assets;
use crate::control_plane::{ControlPlane, free_ports, kubeconfig};
use crate::eventually;
use crate::node::EdgeNode;
use crate::program::{Program, binary};

/// By which places are the controller's.
const PREFIX: &str = "edgemux.dev/";
/// A node is lost so long after its Lease has run out, where that is waited for.
const GRACE_S: u32 = 3;
/// A place that was asked for and given up before the answer was written down ends by itself, after so long.
const RESERVATION_TTL_S: u32 = 30;
/// Between looks at everything.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longer than a reservation is held. What is held still by then never goes.
const HOLDS_NOTHING: Duration = Duration::from_secs(120);
/// Sessions that are made at the same time by one client.
const AT_ONCE: usize = 32;

/// A cluster of a few nodes, each with one emulated GPU and the model `detector`, of 4 ms.
pub struct Ground {
    /// The nodes; a test kills what it likes.
    pub nodes: Vec<EdgeNode>,
    /// The controllers, as far as they run.
    pub controllers: Vec<Program>,
    /// Whoever may do everything.
    pub admin: Client,
    /// etcd and API server; last, so that it goes last.
    pub control: ControlPlane,
    grace_s: u32,
}

// === impl Ground ===

impl Ground {
    /// Starts so many nodes and controllers.
    pub async fn start(assets: &Assets, nodes: usize, controllers: usize) -> Self {
        Self::start_with_grace(assets, nodes, controllers, GRACE_S).await
    }

    /// [`Ground::start`], nodes being lost so many seconds after their Leases have run out.
    pub async fn start_with_grace(assets: &Assets, nodes: usize, controllers: usize, grace_s: u32) -> Self {
        let control = ControlPlane::start(assets).await;
        let admin = control.admin().await;
        let mut ground = Self { nodes: Vec::new(), controllers: Vec::new(), admin, control, grace_s };
        for number in 0..nodes {
            let models = [("detector", Emulated::new(4.0))];
            ground.nodes.push(EdgeNode::start(&ground.control, &format!("edge-{number}"), &models).await);
        }
        for node in &ground.nodes {
            let is_known = |node: &edgemux_cluster_api::node::AcceleratorNode| {
                node.status.as_ref().is_some_and(|status| !status.models.is_empty())
            };
            node.published(&ground.admin, "it is published", is_known).await;
        }
        for _ in 0..controllers {
            ground.start_controller().await;
        }
        ground
    }

    /// Starts one more controller, under the controller's shipped role.
    pub async fn start_controller(&mut self) {
        let account = self.control.account(CONTROLLER).await;
        let [port] = free_ports();
        let arguments = [
            format!("--namespace={NAMESPACE}"),
            format!("--metrics=127.0.0.1:{port}"),
            format!("--grace-s={}", self.grace_s),
            "--lease-duration-s=10".into(),
            format!("--reservation-ttl-s={RESERVATION_TTL_S}"),
        ];
        let program = binary("EDGEMUX_CONTROLLER", "edgemux-controller");
        let [cluster] = kubeconfig(&account);
        // Every question to a node, for whoever looks for the cause of a failure.
        let variables = [cluster, ("RUST_LOG", OsStr::new("info,edgemux_controller=debug"))];
        let log = self.control.path("edgemux-controller.log");
        self.controllers.push(Program::start(&program, arguments, &variables, log));
    }

    /// Ends the oldest controller as a power cut does.
    pub async fn kill_controller(&mut self) {
        self.controllers.remove(0).kill().await;
    }

    /// The sessions of the namespace `default`.
    #[must_use]
    pub fn sessions(&self) -> Api<InferenceSession> {
        Api::namespaced(self.admin.clone(), "default")
    }

    /// Makes these sessions, many at a time.
    pub async fn create(&self, sessions: &[Value]) {
        let api = &self.sessions();
        for some in sessions.chunks(AT_ONCE) {
            let made = some.iter().map(async |session| {
                let session = serde_json::from_value(session.clone()).expect("a session");
                api.create(&PostParams::default(), &session).await.expect("it is taken");
            });
            futures_util::future::join_all(made).await;
        }
    }

    /// Deletes all sessions, and waits until they and all that they had are gone.
    pub async fn delete_all(&self, within: Duration) {
        let api = self.sessions();
        api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("it is taken");
        self.settled(within).await;
        assert!(api.list(&ListParams::default()).await.expect("a list").items.is_empty());
        for node in self.nodes.iter().filter(|node| node.has_daemon()) {
            // Nobody but the newcomer would be on the device: no reservation is held either.
            let newcomer = terms("detector", 1.0, 0.99, 10_000.0);
            let client = node.client().await;
            let begun = Instant::now();
            loop {
                let verdict = client.evaluate(&newcomer).await.expect("a verdict");
                if verdict.admitted && verdict.tenants.len() == 1 {
                    break;
                }
                assert!(
                    begun.elapsed() < HOLDS_NOTHING,
                    "{} holds something still: {verdict:#?}",
                    node.name()
                );
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Waits until every session is placed once or refused with a reason, and daemons hold exactly what the statuses say. Returns
    /// how many are placed, and how many refused.
    pub async fn settled(&self, within: Duration) -> (usize, usize) {
        let begun = Instant::now();
        loop {
            let why = match self.counted().await {
                Ok(counts) => return counts,
                Err(not_yet) => not_yet,
            };
            assert!(begun.elapsed() < within, "not settled within {within:?}: {why}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The placements of each session that has any: `NAME` to `NODE EPOCH`.
    pub async fn placements(&self) -> BTreeMap<String, String> {
        let listed = self.sessions().list(&ListParams::default()).await.expect("a list").items;
        let place = |session: InferenceSession| {
            let status = session.status?;
            let place = status.placements.iter().find(|place| place.state == PlacementState::Ready)?;
            Some((session.metadata.name?, format!("{} {}", place.node, place.epoch)))
        };
        listed.into_iter().filter_map(place).collect()
    }

    async fn counted(&self) -> Result<(usize, usize), String> {
        let listed = self.sessions().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let (mut placed, mut refused) = (0, 0);
        let mut claimed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for session in listed.items {
            let name = session.metadata.name.unwrap_or_default();
            if session.metadata.deletion_timestamp.is_some() {
                return Err(format!("{name} is being deleted"));
            }
            let Some(status) = session.status else { return Err(format!("{name} has no status")) };
            let fresh = Some(status.observed_generation) == session.metadata.generation;
            let wanted = usize::try_from(session.spec.replicas).unwrap_or_default();
            // A node that is away cannot be told; what it had there is remembered until it can.
            let away = |place: &Placement| {
                let here = self.nodes.iter().find(|node| node.name() == place.node);
                place.state == PlacementState::Leaving && here.is_some_and(|node| !node.has_daemon())
            };
            let places: Vec<_> = status.placements.iter().filter(|place| !away(place)).cloned().collect();
            let ready = places.iter().all(|place| place.state == PlacementState::Ready);
            match status.phase {
                Phase::Ready if fresh && ready && places.len() == wanted => placed += 1,
                Phase::Refused if fresh && places.is_empty() => {
                    let reasons =
                        status.rejections.iter().all(|r| !r.reason.is_empty() && !r.message.is_empty());
                    if status.rejections.is_empty() || !reasons {
                        return Err(format!("{name} is refused without a reason: {:?}", status.rejections));
                    }
                    refused += 1;
                }
                phase => return Err(format!("{name} is {phase:?}: {:?}", status.placements)),
            }
            for place in places {
                if !claimed.entry(place.node.clone()).or_default().insert(place.uid.clone()) {
                    return Err(format!("{} is claimed twice on {}", place.uid, place.node));
                }
            }
        }
        for node in &self.nodes {
            let claimed = claimed.remove(node.name()).unwrap_or_default();
            let held = if node.has_daemon() { held(node).await? } else { BTreeSet::new() };
            if held != claimed {
                let (more, less): (Vec<_>, Vec<_>) =
                    (held.difference(&claimed).collect(), claimed.difference(&held).collect());
                return Err(format!(
                    "{}: held and not claimed {more:?}, claimed and not held {less:?}",
                    node.name()
                ));
            }
        }
        if let Some((node, _)) = claimed.pop_first() {
            return Err(format!("places on {node}, which is no node"));
        }
        Ok((placed, refused))
    }

    /// The pids of the controllers that run.
    #[must_use]
    pub fn controller_processes(&self) -> Vec<Process> {
        self.controllers.iter().map(Program::process).collect()
    }

    /// Freezes the oldest controller, as a machine that stands still does; whoever is frozen goes on by [`Ground::thaw`].
    pub fn freeze(&self) -> Process {
        let process = self.controllers[0].process();
        process.signal(Signal::STOP);
        process
    }

    /// Has it go on.
    pub fn thaw(&self, process: Process) {
        process.signal(Signal::CONT);
    }

    /// Waits until some session is in this state of a placement.
    pub async fn some_place(&self, state: PlacementState, within: Duration) {
        eventually(&format!("some place is {state:?}"), within, async || {
            let listed = self.sessions().list(&ListParams::default()).await.ok()?.items;
            let mut places =
                listed.iter().flat_map(|session| &session.status).flat_map(|status| &status.placements);
            places.any(|place| place.state == state).then_some(())
        })
        .await;
    }
}

/// A session of the model `detector`, of this rate, 99 of 100 requests within 200 ms.
#[must_use]
pub fn session(name: &str, rate_hz: u32) -> Value {
    json!({
        "apiVersion": "edgemux.dev/v1alpha1",
        "kind": "InferenceSession",
        "metadata": { "name": name },
        "spec": {
            "model": { "name": "detector" },
            "rateMillihertz": rate_hz * 1000,
            "objective": { "latencyMicros": 200_000, "quantilePermille": 990 },
        },
    })
}

/// The controller's places that a daemon has.
async fn held(node: &EdgeNode) -> Result<BTreeSet<String>, String> {
    let sessions = node.client().await.sessions.list(ListSessionsRequest {}).await;
    let sessions = sessions.map_err(|status| status.to_string())?.into_inner().sessions;
    let mut held = BTreeSet::new();
    for session in sessions.into_iter().filter(|session| session.uid.starts_with(PREFIX)) {
        if session.state() == SessionState::Gone {
            continue;
        }
        if session.state() != SessionState::Ready {
            return Err(format!(
                "{}: {} is {:?} {}",
                node.name(),
                session.id,
                session.state(),
                session.reason
            ));
        }
        if !held.insert(session.uid.clone()) {
            return Err(format!("{} has {} twice", node.name(), session.uid));
        }
    }
    Ok(held)
}
