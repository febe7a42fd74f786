//! Nodes in memory: their daemons, and the publishers that write what is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edgemux_controller::daemons::{Daemons, Request, What};
use edgemux_controller::decide::answers::{Answer, Held, rejection};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::Server;
use super::samples;

pub(crate) const LEASES: &str = "edgemux-system";

#[derive(Clone, Default)]
pub(crate) struct Fleet {
    nodes: Arc<Mutex<BTreeMap<String, Node>>>,
    /// What a call to a daemon takes.
    pub(crate) takes: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) epoch: u32,
    pub(crate) up: bool,
    /// Most sessions that it takes.
    pub(crate) capacity: usize,
    count: u32,
    pub(crate) places: BTreeMap<String, Place>,
    pub(crate) calls: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) reservation: String,
    generation: u64,
    until: Option<Instant>,
}

impl Fleet {
    pub(crate) fn new(nodes: usize, capacity: usize) -> Self {
        let fleet = Self { takes: Duration::from_millis(20), ..Self::default() };
        for at in 0..nodes {
            fleet.add(&format!("n{at}"), capacity);
        }
        fleet
    }

    pub(crate) fn add(&self, name: &str, capacity: usize) {
        let node = Node { epoch: 1, up: true, capacity, count: 0, places: BTreeMap::new(), calls: 0 };
        self.nodes.lock().unwrap().insert(name.to_owned(), node);
    }

    pub(crate) fn change<T>(&self, name: &str, change: impl FnOnce(&mut Node) -> T) -> T {
        change(self.nodes.lock().unwrap().get_mut(name).unwrap())
    }

    pub(crate) fn restart(&self, name: &str) {
        self.change(name, |node| {
            node.epoch += 1;
            node.places.clear();
        });
    }

    /// What is held: node, uid, reservation, whether it is committed.
    pub(crate) fn held(&self) -> Vec<(String, String, String, bool)> {
        let now = Instant::now();
        let mut held = Vec::new();
        for (name, node) in &*self.nodes.lock().unwrap() {
            for (uid, place) in &node.places {
                if place.until.is_none_or(|until| until > now) {
                    held.push((name.clone(), uid.clone(), place.reservation.clone(), place.until.is_none()));
                }
            }
        }
        held
    }

    pub(crate) fn calls(&self) -> usize {
        self.nodes.lock().unwrap().values().map(|node| node.calls).sum()
    }

    /// Writes what every node that is up has, and renews its Lease.
    pub(crate) fn publish(&self, server: &Server) {
        let nodes = self.nodes.lock().unwrap().clone();
        for (name, node) in nodes.iter().filter(|(_, node)| node.up) {
            let mut object =
                samples::node(name, &format!("e{}", node.epoch), vec![samples::accelerator("gpu")]);
            let status = object.status.as_mut().unwrap();
            for (uid, place) in node.places.iter().filter(|(_, place)| place.until.is_none()) {
                let mut there = samples::there(uid, &place.reservation, "gpu");
                there.rate_millihertz = 1_000;
                status.sessions.push(there);
            }
            let object = serde_json::to_value(&object).unwrap();
            let key = format!("acceleratornodes//{name}");
            let same = |known: &Value| known["status"] == object["status"] && known["spec"] == object["spec"];
            if !server.get(&key).is_some_and(|known| same(&known)) {
                server.put(&key, object);
            }
            server.put(&format!("leases/{LEASES}/{name}"), lease(name));
        }
    }

    /// Publishes every ten seconds, while there is a server to publish to.
    pub(crate) async fn publish_on(self, server: Server, away: Arc<std::sync::atomic::AtomicBool>) {
        let mut every = tokio::time::interval(Duration::from_secs(10));
        loop {
            every.tick().await;
            if !away.load(std::sync::atomic::Ordering::Relaxed) {
                self.publish(&server);
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let now = Instant::now();
        let name = request.endpoint.trim_start_matches("http://").split(':').next().unwrap();
        let mut nodes = self.nodes.lock().unwrap();
        let Some(node) = nodes.get_mut(name) else { return Answer::None("no such host".into()) };
        node.calls += 1;
        if !node.up {
            return Answer::None("nobody there".into());
        }
        node.places.retain(|_, place| place.until.is_none_or(|until| until > now));
        match &request.what {
            What::Reserve(wanted) => {
                let known = node.places.get(&wanted.uid);
                if known.is_none_or(|known| known.generation < wanted.generation) {
                    if known.is_none() && node.places.len() >= node.capacity {
                        return Answer::Refused(vec![rejection("Objective", "p99 of 61 ms, 50 are wanted")]);
                    }
                    node.count += 1;
                    let place = Place {
                        reservation: format!("r-{}.{}", node.epoch, node.count),
                        generation: wanted.generation,
                        until: Some(now + Duration::from_secs_f64(wanted.ttl_s)),
                    };
                    node.places.insert(wanted.uid.clone(), place);
                }
                Answer::Held(Held {
                    reservation: node.places[&wanted.uid].reservation.clone(),
                    epoch: format!("e{}", node.epoch),
                    device: "gpu".into(),
                    prediction: None,
                })
            }
            What::Commit(token) => {
                match node.places.values_mut().find(|place| place.reservation == token.reservation) {
                    Some(place) => {
                        place.until = None;
                        Answer::Serves
                    }
                    None => Answer::NoSuch("no such reservation".into()),
                }
            }
            What::Release(token) => {
                let before = node.places.len();
                node.places.retain(|_, place| place.reservation != token.reservation);
                match node.places.len() < before {
                    true => Answer::Serves,
                    false => Answer::NoSuch("no such reservation".into()),
                }
            }
        }
    }
}

impl Daemons for Fleet {
    async fn ask(&self, request: Request) -> Answer {
        tokio::time::sleep(self.takes).await;
        let answer = self.answer(&request);
        tokio::time::sleep(self.takes).await;
        answer
    }
}

fn lease(name: &str) -> Value {
    let renewed = k8s_openapi::jiff::Timestamp::now();
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "namespace": LEASES },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": format!("{renewed:.6}") },
    })
}
