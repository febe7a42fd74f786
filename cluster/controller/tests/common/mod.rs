//! What the tests share.
#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

pub(crate) mod api;
pub(crate) mod fleet;
#[path = "../../src/samples.rs"]
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::session::{InferenceSession, PlacementState};
use edgemux_controller::context::Context;
use edgemux_controller::run::{Controller, Options};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use self::api::Server;
use self::fleet::{Fleet, LEASES};

pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// A controller that runs.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    pub(crate) context: Arc<Context<Fleet>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    pub(crate) fn leads(&self) -> bool {
        *self.context.leads.borrow()
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }
}

pub(crate) fn context(server: &Server, fleet: &Fleet) -> (Arc<Context<Fleet>>, watch::Sender<bool>) {
    let (leads, heard) = watch::channel(false);
    let (grace, ttl) = (Duration::from_secs(40), Duration::from_secs(60));
    (Arc::new(Context::new(server.client(), fleet.clone(), grace, ttl, heard)), leads)
}

pub(crate) fn start(server: &Server, fleet: &Fleet, identity: &str) -> Running {
    // RUST_LOG shows what it does.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let (context, leads) = context(server, fleet);
    let options = Options {
        namespace: LEASES.into(),
        identity: identity.into(),
        lease_duration: LEASE,
        concurrency: 64,
    };
    let controller = Controller::start(Arc::clone(&context), leads, options);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(controller.run(async {
        let _ = stopped.await;
    }));
    Running { task, context, stop: Some(stop) }
}

pub(crate) fn key(name: &str) -> String {
    format!("inferencesessions/shop/{name}")
}

pub(crate) fn create(server: &Server, name: &str) {
    let mut session = samples::session(name);
    session.metadata.resource_version = None;
    session.spec.rate_millihertz = Some(1_000);
    server.put(&key(name), serde_json::to_value(&session).unwrap());
}

pub(crate) fn session(server: &Server, name: &str) -> Option<InferenceSession> {
    server.get(&key(name)).map(|object| serde_json::from_value(object).unwrap())
}

pub(crate) fn edit(server: &Server, name: &str, rate_millihertz: i64) {
    server.change(&key(name), |object| {
        object["spec"]["rateMillihertz"] = json!(rate_millihertz);
        object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
    });
}

/// What there is to see of all sessions: how many are in which phase.
pub(crate) fn phases(server: &Server) -> BTreeMap<String, usize> {
    let mut phases = BTreeMap::new();
    for object in server.all("inferencesessions") {
        let phase = object["status"]["phase"].as_str().unwrap_or("none").to_owned();
        *phases.entry(phase).or_default() += 1;
    }
    phases
}

/// Every place of every session is held once by the node that it names, and nothing else is.
pub(crate) fn check(server: &Server, fleet: &Fleet) {
    let mut places = Vec::new();
    for object in server.all("inferencesessions") {
        let session: InferenceSession = serde_json::from_value(object).unwrap();
        let status = session.status.unwrap();
        for place in status.placements {
            assert_eq!(place.state, PlacementState::Ready, "{place:?}");
            places.push((place.node, place.uid, place.reservation, true));
        }
    }
    places.sort();
    let mut held = fleet.held();
    held.sort();
    assert_eq!(places, held);
}

/// Waits until it is so, for so long at most.
pub(crate) async fn until(what: &str, seconds: u64, so: impl Fn() -> bool) {
    for _ in 0..seconds * 4 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("after {seconds} s: {what}");
}
