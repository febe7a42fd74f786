//! Which nodes there are, and which of them are to be relied on.
//!
//! A node's publisher renews a Lease. When that was is told by the clock of whoever sees it change here, never by the node's.
//! And while nothing at all is heard of any Lease, as when the API server is away, nobody grows old: time counts between
//! one piece of news and the next, and of a long silence only its beginning, after which everybody is given the whole time
//! anew. The leader's own Lease is among them, so that in a cluster whose every node is gone there still is news.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use edgemux_cluster_api::node::{AcceleratorNode, AcceleratorNodeStatus, NodeSession, READY};
use kube::ResourceExt;
use tokio::time::Instant;

/// How much of a silence counts.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a Lease holds that does not say so, and how long a node may take to renew its first.
const LEASE_DURATION: Duration = Duration::from_secs(40);
/// Runs of a node's daemon that are remembered as over.
const PAST_EPOCHS_MAX: usize = 16;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It may be asked for new sessions.
    Open,
    /// It takes no new ones: it is cordoned, or has no device in service.
    Closed,
    /// Its daemon is not reached at the moment.
    Down,
    /// Nothing was heard of it for so long that its sessions are placed elsewhere.
    Lost,
}

/// What a node says of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it takes requests, or is about to.
    pub serves: bool,
    /// Why its objective is no longer predicted to hold.
    pub at_risk: Option<String>,
}

/// A node, as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where its daemon is asked.
    pub endpoint: String,
    /// The daemon's run, as far as it is known.
    pub epoch: String,
    /// How it stands.
    pub standing: Standing,
    /// The place that was asked about, if the node has it.
    pub report: Option<Report>,
}

/// All nodes.
#[derive(Debug)]
pub struct Nodes {
    grace: Duration,
    nodes: BTreeMap<String, Entry>,
    leases: BTreeMap<String, Lease>,
    clock: Clock,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    object: Arc<AcceleratorNode>,
    epochs: Epochs,
    /// By the clock of news.
    seen: Duration,
    /// Since when its publisher says that it does not reach the daemon.
    down: Option<Instant>,
}

/// Runs of a node's daemon.
#[derive(Debug, Default)]
struct Epochs {
    now: String,
    past: BTreeSet<String>,
}

#[derive(Debug)]
struct Lease {
    stamp: String,
    duration: Duration,
    changed: Duration,
}

/// Time as far as there was news in it.
#[derive(Debug, Default)]
struct Clock {
    time: Duration,
    last: Option<Instant>,
    /// When the last silence was over.
    resumed: Duration,
}

impl Nodes {
    /// None yet. A node is lost when it has not renewed its Lease for `grace` beyond the time for which that held.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, nodes: BTreeMap::new(), leases: BTreeMap::new(), clock: Clock::default(), changes: 0 }
    }

    /// A node is there, or has changed.
    pub fn apply(&mut self, object: Arc<AcceleratorNode>, now: Instant) {
        let name = object.name_any();
        let ready = is_ready(&object);
        let status = object.status.as_ref();
        let epoch = status.map(|status| status.epoch.clone()).unwrap_or_default();
        let seen = self.clock.time;
        let entry = self.nodes.entry(name).or_insert_with(|| Entry {
            object: Arc::clone(&object),
            epochs: Epochs::default(),
            seen,
            down: None,
        });
        let before = std::mem::replace(&mut entry.object, object);
        let another = entry.epochs.published(&epoch);
        entry.down = if ready { None } else { entry.down.or(Some(now)) };
        if another || offers(&entry.object, &before) {
            self.changes += 1;
        }
    }

    /// A node is gone.
    pub fn remove(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// Only these nodes are there.
    pub fn retain(&mut self, names: &BTreeSet<String>) {
        self.nodes.retain(|name, _| names.contains(name));
    }

    /// Something was heard of a Lease: `stamp` is another each time that it is renewed.
    pub fn renewed(&mut self, name: &str, stamp: &str, duration: Option<Duration>, now: Instant) {
        let changed = self.clock.news(now);
        let duration = duration.unwrap_or(LEASE_DURATION);
        match self.leases.get_mut(name) {
            Some(lease) if lease.stamp == stamp => lease.duration = duration,
            Some(lease) => *lease = Lease { stamp: stamp.to_owned(), duration, changed },
            None => {
                let lease = Lease { stamp: stamp.to_owned(), duration, changed };
                self.leases.insert(name.to_owned(), lease);
            }
        }
    }

    /// A Lease is gone, which is no sign of life.
    pub fn lease_removed(&mut self, now: Instant) {
        self.clock.news(now);
    }

    /// A daemon itself has told which run of it answers, which its publisher may not have told yet.
    pub fn answered(&mut self, name: &str, epoch: &str) {
        if let Some(entry) = self.nodes.get_mut(name) {
            entry.epochs.answered(epoch);
        }
    }

    /// Something has become free that is not to be seen from nodes.
    pub fn freed(&mut self) {
        self.changes += 1;
    }

    /// Counts up whenever there might be room that was not there before.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// A node, and the place of this uid there; none where there is no such node.
    #[must_use]
    pub fn look(&self, name: &str, uid: &str, now: Instant) -> Option<Look> {
        let entry = self.nodes.get(name)?;
        let status = entry.object.status.as_ref();
        // What an earlier run had is gone, though its publisher has not noticed.
        let status = status.filter(|status| status.epoch == entry.epochs.now);
        Some(Look {
            endpoint: entry.object.spec.endpoint.clone(),
            epoch: entry.epochs.now.clone(),
            standing: self.standing_of(name, entry, now),
            report: status.and_then(|status| report(status, uid)),
        })
    }

    /// How a node stands; none where there is no such node.
    #[must_use]
    pub fn standing(&self, name: &str, now: Instant) -> Option<Standing> {
        Some(self.standing_of(name, self.nodes.get(name)?, now))
    }

    /// Every node and how it stands.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = (&Arc<AcceleratorNode>, Standing)> {
        self.nodes.iter().map(move |(name, entry)| (&entry.object, self.standing_of(name, entry, now)))
    }

    /// Places of ours on nodes that may be asked: node, daemon's run, place.
    pub fn places(&self, now: Instant) -> impl Iterator<Item = (&str, &str, &NodeSession)> {
        let reached = move |name: &str, entry: &Entry| {
            matches!(self.standing_of(name, entry, now), Standing::Open | Standing::Closed)
        };
        let reached = self.nodes.iter().filter(move |(name, entry)| reached(name, entry));
        reached.flat_map(|(name, entry)| {
            let status = entry.object.status.as_ref().filter(|status| status.epoch == entry.epochs.now);
            let sessions = status.map(|status| status.sessions.as_slice()).unwrap_or_default();
            sessions.iter().map(|session| (name.as_str(), entry.epochs.now.as_str(), session))
        })
    }

    fn standing_of(&self, name: &str, entry: &Entry, now: Instant) -> Standing {
        let (changed, duration) = match self.leases.get(name) {
            Some(lease) => (lease.changed.max(entry.seen), lease.duration),
            None => (entry.seen, LEASE_DURATION),
        };
        // Nobody could be heard before.
        let changed = changed.max(self.clock.resumed);
        let is_silent = self.clock.is_silent(now);
        let age = self.clock.at(now).saturating_sub(changed);
        let long_down = entry.down.is_some_and(|since| now.duration_since(since) > self.grace);
        if !is_silent && (age > duration + self.grace || long_down) {
            Standing::Lost
        } else if age > duration || entry.down.is_some() {
            Standing::Down
        } else if entry.object.spec.unschedulable || !has_device(&entry.object) {
            Standing::Closed
        } else {
            Standing::Open
        }
    }
}

impl Epochs {
    /// What the publisher says. Whether it is another run than before.
    fn published(&mut self, epoch: &str) -> bool {
        if epoch.is_empty() || epoch == self.now || self.past.contains(epoch) {
            return false;
        }
        self.turn(epoch);
        true
    }

    fn answered(&mut self, epoch: &str) {
        if !epoch.is_empty() && epoch != self.now {
            self.turn(epoch);
        }
    }

    fn turn(&mut self, epoch: &str) {
        let before = std::mem::replace(&mut self.now, epoch.to_owned());
        self.past.remove(epoch);
        if self.past.len() >= PAST_EPOCHS_MAX {
            self.past.pop_first();
        }
        if !before.is_empty() {
            self.past.insert(before);
        }
    }
}

impl Clock {
    fn news(&mut self, now: Instant) -> Duration {
        self.time = self.at(now);
        if self.last.is_some() && self.is_silent(now) {
            self.resumed = self.time;
        }
        self.last = self.last.max(Some(now));
        self.time
    }

    fn at(&self, now: Instant) -> Duration {
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.time + since.min(SILENCE_MAX)
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) > SILENCE_MAX)
    }
}

fn is_ready(node: &AcceleratorNode) -> bool {
    let conditions = node.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

fn has_device(node: &AcceleratorNode) -> bool {
    node.status
        .as_ref()
        .is_some_and(|status| status.accelerators.iter().any(|device| device.fenced.is_none()))
}

/// Might a node have room now that it had not before?
fn offers(now: &AcceleratorNode, before: &AcceleratorNode) -> bool {
    if now.spec != before.spec || now.metadata.labels != before.metadata.labels {
        return true;
    }
    if is_ready(now) && !is_ready(before) {
        return true;
    }
    let (Some(now), Some(before)) = (&now.status, &before.status) else { return now.status.is_some() };
    let open = |status: &AcceleratorNodeStatus| {
        status.accelerators.iter().filter(|device| device.fenced.is_none()).count()
    };
    now.sessions.len() < before.sessions.len() || open(now) > open(before) || now.models != before.models
}

fn report(status: &AcceleratorNodeStatus, uid: &str) -> Option<Report> {
    let session = status.sessions.iter().find(|session| session.uid == uid)?;
    let device = status.accelerators.iter().find(|device| device.name == session.accelerator);
    let fenced = device.and_then(|device| device.fenced.as_ref());
    let fenced = fenced.map(|reason| format!("{} is fenced: {reason}", session.accelerator));
    Some(Report {
        serves: !matches!(session.state.as_str(), "Draining" | "Gone" | "Failed"),
        at_risk: session.at_risk.clone().or(fenced),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{accelerator, node};

    const GRACE: Duration = Duration::from_secs(40);
    const LASTS: Option<Duration> = Some(Duration::from_secs(40));

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn with(names: &[&str], now: Instant) -> Nodes {
        let mut nodes = Nodes::new(GRACE);
        for name in names {
            nodes.renewed(name, "0", LASTS, now);
            nodes.apply(Arc::new(node(name, "e1", vec![accelerator("gpu")])), now);
        }
        nodes
    }

    /// Renews these every 5 s until a time.
    fn renew(nodes: &mut Nodes, names: &[&str], from: Instant, until: u64) {
        for s in (0..=until).step_by(5) {
            for name in names {
                nodes.renewed(name, &s.to_string(), LASTS, from + seconds(s));
            }
        }
    }

    #[test]
    fn a_node_that_is_silent_while_others_speak_is_down_and_then_lost() {
        let start = Instant::now();
        let mut nodes = with(&["a", "b"], start);
        for (until, a, b) in [
            (40, Standing::Open, Standing::Open),
            (45, Standing::Down, Standing::Open),
            (80, Standing::Down, Standing::Open),
            (85, Standing::Lost, Standing::Open),
        ] {
            renew(&mut nodes, &["b"], start, until);
            let now = start + seconds(until);
            assert_eq!(nodes.standing("a", now), Some(a), "after {until} s");
            assert_eq!(nodes.standing("b", now), Some(b), "after {until} s");
        }
        nodes.renewed("a", "again", LASTS, start + seconds(86));
        assert_eq!(nodes.standing("a", start + seconds(86)), Some(Standing::Open));
    }

    #[test]
    fn while_nothing_is_heard_of_anybody_nobody_is_lost() {
        let start = Instant::now();
        let mut nodes = with(&["a", "b"], start);
        renew(&mut nodes, &["a", "b"], start, 20);
        let back = start + seconds(3_600);
        assert_eq!(nodes.standing("a", back), Some(Standing::Open));
        // The leader's Lease comes first; the nodes' come within their time.
        nodes.renewed("leader", "x", LASTS, back);
        assert_eq!(nodes.standing("b", back), Some(Standing::Open));
        nodes.renewed("b", "y", LASTS, back + seconds(9));
        assert_eq!(nodes.standing("b", back + seconds(9)), Some(Standing::Open));
    }

    #[test]
    fn after_a_silence_everybody_has_the_whole_time_again() {
        let start = Instant::now();
        let brief = Some(seconds(5));
        let mut nodes = with(&["a", "b"], start);
        nodes.grace = seconds(3);
        for name in ["a", "b"] {
            nodes.renewed(name, "0", brief, start);
        }
        for silent in [11, 60] {
            assert_ne!(
                nodes.standing("a", start + seconds(silent)),
                Some(Standing::Lost),
                "after {silent} s"
            );
        }
        // One is back at once; the other waits before it tries again.
        let back = start + seconds(60);
        nodes.renewed("b", "1", brief, back);
        assert_eq!(nodes.standing("a", back), Some(Standing::Open));
        nodes.renewed("b", "2", brief, back + seconds(7));
        assert_eq!(nodes.standing("a", back + seconds(7)), Some(Standing::Down));
        nodes.renewed("b", "3", brief, back + seconds(9));
        assert_eq!(nodes.standing("a", back + seconds(9)), Some(Standing::Lost));
    }

    #[test]
    fn a_lease_that_is_shown_again_unchanged_is_no_sign_of_life() {
        let start = Instant::now();
        let mut nodes = with(&["a"], start);
        for s in (0..=90).step_by(5) {
            nodes.renewed("a", "0", LASTS, start + seconds(s));
        }
        assert_eq!(nodes.standing("a", start + seconds(90)), Some(Standing::Lost));
    }

    #[test]
    fn a_node_whose_daemon_is_not_reached_is_lost_after_the_grace() {
        let start = Instant::now();
        let mut nodes = with(&["a"], start);
        let mut silent = node("a", "e1", vec![accelerator("gpu")]);
        silent.status.as_mut().unwrap().conditions[0].status = "False".into();
        nodes.apply(Arc::new(silent), start);
        for (until, standing) in [(40, Standing::Down), (45, Standing::Lost)] {
            renew(&mut nodes, &["a"], start, until);
            assert_eq!(nodes.standing("a", start + seconds(until)), Some(standing), "after {until} s");
        }
        let before = nodes.changes();
        nodes.apply(Arc::new(node("a", "e2", vec![accelerator("gpu")])), start + seconds(46));
        assert_eq!(nodes.standing("a", start + seconds(46)), Some(Standing::Open));
        assert!(nodes.changes() > before, "there is room again");
    }

    #[test]
    fn cordoned_and_fenced_nodes_take_nothing_new() {
        let now = Instant::now();
        let mut nodes = with(&["a", "b", "c"], now);
        let mut cordoned = node("a", "e1", vec![accelerator("gpu")]);
        cordoned.spec.unschedulable = true;
        nodes.apply(Arc::new(cordoned), now);
        let mut fenced = accelerator("gpu");
        fenced.fenced = Some("hot".into());
        nodes.apply(Arc::new(node("b", "e1", vec![fenced.clone()])), now);
        nodes.apply(Arc::new(node("c", "e1", vec![fenced, accelerator("cpu")])), now);
        let standing = |name| nodes.standing(name, now);
        assert_eq!(standing("a"), Some(Standing::Closed));
        assert_eq!(standing("b"), Some(Standing::Closed));
        assert_eq!(standing("c"), Some(Standing::Open));
        assert_eq!(standing("nobody"), None);
    }

    #[test]
    fn what_a_daemon_says_of_its_run_counts_before_its_publisher_says_it() {
        let now = Instant::now();
        let mut nodes = with(&["a"], now);
        let epoch = |nodes: &Nodes| nodes.look("a", "", now).unwrap().epoch;
        nodes.answered("a", "e2");
        assert_eq!(epoch(&nodes), "e2");
        nodes.apply(Arc::new(node("a", "e1", vec![accelerator("gpu")])), now);
        assert_eq!(epoch(&nodes), "e2", "the publisher is late");
        nodes.apply(Arc::new(node("a", "e3", vec![accelerator("gpu")])), now);
        assert_eq!(epoch(&nodes), "e3");
    }
}
