//! What every look at a session shares: what is known of nodes, what is remembered of sessions, and the ways out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgemux_cluster_api::session::InferenceSession;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::daemons::Daemons;
use crate::decide::{Ask, Cluster, Now, Work};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::nodes::{Look, Nodes};
use crate::ranking::Ranking;

/// Name under which events are told, and the leader's Lease is kept.
pub const CONTROLLER: &str = "edgemux-controller";

/// What is shared.
pub struct Context<D> {
    /// The API server.
    pub client: Client,
    /// The nodes' daemons.
    pub daemons: D,
    /// How long a node holds a place that is not committed.
    pub reservation_ttl: Duration,
    /// Whether this controller is the one that acts.
    pub leads: watch::Receiver<bool>,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells people what has happened.
    pub recorder: Recorder,
    known: Mutex<Known>,
}

/// What is known.
#[derive(Debug)]
pub struct Known {
    /// Nodes.
    pub nodes: Nodes,
    /// Their order.
    pub ranking: Ranking,
    /// Sessions, by uid.
    pub sessions: HashMap<String, Remembered>,
}

/// What is remembered of a session.
#[derive(Debug)]
pub struct Remembered {
    /// Its name.
    pub at: ObjectRef<InferenceSession>,
    /// As this controller has last written it, which the watch may not have shown yet.
    latest: Option<InferenceSession>,
    memory: Memory,
    /// Looks in a row that ended early.
    failures: u32,
}

impl<D: Daemons> Context<D> {
    /// Nothing is known yet.
    pub fn new(
        client: Client,
        daemons: D,
        grace: Duration,
        reservation_ttl: Duration,
        leads: watch::Receiver<bool>,
    ) -> Self {
        let recorder = Recorder::new(client.clone(), Reporter::from(CONTROLLER));
        let known = Known { nodes: Nodes::new(grace), ranking: Ranking::default(), sessions: HashMap::new() };
        Self {
            client,
            daemons,
            reservation_ttl,
            leads,
            metrics: Metrics::default(),
            recorder,
            known: Mutex::new(known),
        }
    }

    /// What is known, for a moment.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to work on a session, as the watch shows it or as it was written since.
    pub fn take_up(&self, shown: &InferenceSession) -> Work {
        let mut known = self.known();
        let uid = shown.metadata.uid.clone().unwrap_or_default();
        let remembered = known.sessions.entry(uid).or_insert_with(|| Remembered {
            at: ObjectRef::from_obj(shown),
            latest: None,
            memory: Memory::default(),
            failures: 0,
        });
        if remembered.latest.as_ref().is_some_and(|latest| !is_newer(latest, shown)) {
            remembered.latest = None;
        }
        let session = remembered.latest.clone().unwrap_or_else(|| shown.clone());
        Work::new(session, remembered.memory.clone())
    }

    /// Takes note of what a session has; what it asks for counts from now on.
    pub fn book(&self, work: &Work) {
        self.known().ranking.book(&work.session, &work.status);
    }

    /// Ends the work on a session. How often in a row it has ended early.
    pub fn put_down(&self, work: Work, came_to_an_end: bool) -> u32 {
        let mut known = self.known();
        let uid = work.session.metadata.uid.as_deref().unwrap_or_default();
        let Some(remembered) = known.sessions.get_mut(uid) else { return 0 };
        remembered.memory = work.memory;
        remembered.latest = came_to_an_end.then_some(work.session);
        remembered.failures = if came_to_an_end { 0 } else { remembered.failures + 1 };
        remembered.failures
    }

    /// A session is gone, and what it had is free.
    pub fn forget(&self, uid: &str) {
        let mut known = self.known();
        known.sessions.remove(uid);
        known.ranking.forget(uid);
        known.nodes.freed();
    }

    /// What is seen of the cluster now.
    pub fn seen(&self, now: Instant) -> Seen<'_, D> {
        Seen { context: self, now }
    }
}

/// The cluster at a moment.
pub struct Seen<'a, D> {
    context: &'a Context<D>,
    now: Instant,
}

impl<D: Daemons> Cluster for Seen<'_, D> {
    fn look(&self, node: &str, uid: &str) -> Option<Look> {
        self.context.known().nodes.look(node, uid, self.now)
    }

    fn rank(&self, ask: &Ask<'_>) -> Vec<String> {
        let before = std::time::Instant::now();
        let ranked = {
            let mut known = self.context.known();
            let Known { nodes, ranking, .. } = &mut *known;
            ranking.rank(nodes, ask, self.now)
        };
        self.context.metrics.ranked(before.elapsed());
        ranked
    }

    fn changes(&self) -> u64 {
        self.context.known().nodes.changes()
    }
}

/// The time.
#[must_use]
pub fn now() -> Now {
    // What is written down has no fractions of seconds.
    let wall = Timestamp::now();
    Now { instant: Instant::now(), wall: Timestamp::from_second(wall.as_second()).unwrap_or(wall) }
}

/// Whether one state of a session is later than another: their versions are numbers, that grow. Where they are not, what the
/// watch shows is taken.
fn is_newer(one: &InferenceSession, other: &InferenceSession) -> bool {
    let version =
        |session: &InferenceSession| session.metadata.resource_version.as_ref()?.parse::<u64>().ok();
    version(one).zip(version(other)).is_some_and(|(one, other)| one > other)
}
