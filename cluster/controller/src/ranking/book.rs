//! What this controller has placed, or is placing. It counts from the moment that a node is asked, which is long before the
//! node's publisher shows it.

use std::collections::{BTreeMap, HashMap};

use edgemux_cluster_api::node::AcceleratorKind;
use edgemux_cluster_api::objective::LatencyObjective;
use edgemux_cluster_api::session::{InferenceSession, InferenceSessionStatus, ModelReference};

/// What a replica comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// What it runs.
    pub model: ModelReference,
    /// Requests per second; none of best effort.
    pub rate_hz: Option<f64>,
    /// What is to be kept; none of best effort.
    pub objective: Option<LatencyObjective>,
    /// Kinds of device that may run it; none: any.
    pub kinds: Vec<AcceleratorKind>,
}

/// A place that is held, or may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Booked {
    /// On which node.
    pub node: String,
    /// As the node's daemon knows it.
    pub uid: String,
    /// On which device; empty while the daemon has not said.
    pub device: String,
    /// What it comes to.
    pub load: Load,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Book {
    /// By session, then node and uid.
    sessions: HashMap<String, BTreeMap<(String, String), Booked>>,
}

/// What has become of a session's places.
#[derive(Debug, Default)]
pub struct Change {
    /// There are these, or they have changed.
    pub new: Vec<Booked>,
    /// There are no longer these: node and uid.
    pub gone: Vec<(String, String)>,
}

impl Load {
    /// A replica of a session.
    #[must_use]
    pub fn of(session: &InferenceSession) -> Self {
        let spec = &session.spec;
        let part = |rate: i64| rate as f64 / 1e3 / spec.replicas.max(1) as f64;
        Self {
            model: spec.model.clone(),
            rate_hz: spec.rate_millihertz.map(part),
            objective: spec.objective,
            kinds: spec.kinds.clone(),
        }
    }
}

impl Book {
    /// A session has what its status says.
    pub fn set(&mut self, uid: &str, session: &InferenceSession, status: &InferenceSessionStatus) -> Change {
        let load = Load::of(session);
        let booked = status.placements.iter().map(|place| Booked {
            node: place.node.clone(),
            uid: place.uid.clone(),
            device: place.device.clone(),
            load: load.clone(),
        });
        // Of a place that is asked for anew on its node, the later one counts.
        let now: BTreeMap<_, _> = booked.map(|b| ((b.node.clone(), b.uid.clone()), b)).collect();
        let before = self.sessions.remove(uid).unwrap_or_default();
        let mut change = Change::default();
        for (key, old) in &before {
            if now.get(key) != Some(old) {
                change.gone.push(key.clone());
            }
        }
        for (key, new) in &now {
            if before.get(key) != Some(new) {
                change.new.push(new.clone());
            }
        }
        if !now.is_empty() {
            self.sessions.insert(uid.to_owned(), now);
        }
        change
    }

    /// A session has nothing any more. What it had: node and uid.
    pub fn remove(&mut self, uid: &str) -> Vec<(String, String)> {
        self.sessions.remove(uid).map(|places| places.into_keys().collect()).unwrap_or_default()
    }

    /// The sessions that have a place on a node.
    pub fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let on = move |places: &BTreeMap<(String, String), Booked>| places.keys().any(|(at, _)| at == node);
        self.sessions.iter().filter(move |(_, places)| on(places)).map(|(uid, _)| uid.as_str())
    }

    /// Whether a session has a place of this uid on a node.
    #[must_use]
    pub fn has(&self, session: &str, node: &str, uid: &str) -> bool {
        let places = self.sessions.get(session);
        places.is_some_and(|places| places.keys().any(|(at, place)| at == node && place == uid))
    }

    /// Every place.
    pub fn all(&self) -> impl Iterator<Item = &Booked> {
        self.sessions.values().flat_map(BTreeMap::values)
    }
}
