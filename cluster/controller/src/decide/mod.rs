//! What is to be done next for a session: from its spec and status, what is known of nodes, and the time.
//!
//! | module | what it does |
//! |---|---|
//! | [`places`] | what has become of the places there are, and which are wanted |
//! | [`answers`] | what a node's answer makes of a place |
//! | [`summary`] | phase and conditions |
//!
//! One rule makes a controller's death harmless: a node is asked only for what the written status shows already. A place
//! stands there as `Asking`, with the uid and generation under which the node knows it, before the node hears of it; it is
//! committed only once the status has its reservation; it is dropped only when the node has let it go, or cannot have it any
//! more. Whoever comes next finds every place that may be held, and asking for it again finds the same.

pub mod answers;
pub mod places;
pub mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use edgemux_cluster_api::FINALIZER;
use edgemux_cluster_api::session::{InferenceSession, InferenceSessionStatus, Placement, PlacementState};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::nodes::{Look, Standing};

/// What is known of the cluster.
pub trait Cluster {
    /// A node and the place of this uid there; none where there is no such node.
    fn look(&self, node: &str, uid: &str) -> Option<Look>;
    /// Nodes to be asked, the likeliest first, none of those in `ask.not`.
    fn rank(&self, ask: &Ask<'_>) -> Vec<String>;
    /// Counts up whenever there might be room that was not there before.
    fn changes(&self) -> u64;
}

/// A place that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// For whom.
    pub session: &'a InferenceSession,
    /// Nodes that are out of the question.
    pub not: &'a BTreeSet<String>,
    /// Whether it is to be better than one that there is: then only nodes are asked that are expected to take it.
    pub better: bool,
}

/// The time, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For durations.
    pub instant: Instant,
    /// For people.
    pub wall: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The session is not to be gone before its places are.
    AddFinalizer,
    /// All its places are.
    RemoveFinalizer,
    /// `status` is to be written.
    Write,
    /// Nodes are to be asked, all at once.
    Call(Vec<Call>),
    /// Nothing, for so long or until something changes.
    Wait(Option<Duration>),
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// For which.
    pub place: Placement,
    /// What.
    pub verb: Verb,
}

/// What a node can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Whether it takes the session, and then to hold a place.
    Reserve,
    /// To load what it holds a place for.
    Commit,
    /// To let it go.
    Release,
}

/// Something that people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is bad news.
    pub warning: bool,
    /// In a word.
    pub reason: &'static str,
    /// In a sentence.
    pub text: String,
}

/// A session that is being worked on.
#[derive(Clone, Debug)]
pub struct Work {
    /// As it was last read or written.
    pub session: InferenceSession,
    /// As it should be written.
    pub status: InferenceSessionStatus,
    /// What is remembered besides.
    pub memory: Memory,
    /// What has happened.
    pub notes: Vec<Note>,
}

impl Work {
    /// A session as it was read.
    #[must_use]
    pub fn new(session: InferenceSession, memory: Memory) -> Self {
        let status = session.status.clone().unwrap_or_default();
        Self { session, status, memory, notes: Vec::new() }
    }

    /// It was written, and this came back.
    pub fn written(&mut self, session: InferenceSession) {
        self.status = session.status.clone().unwrap_or_default();
        self.session = session;
    }

    /// What is to be done next.
    pub fn next(&mut self, cluster: &impl Cluster, now: Now) -> Step {
        self.memory.turn_to(self.generation());
        if self.is_deleted() {
            if !self.has_finalizer() {
                return Step::Wait(None);
            }
            self.leave(cluster);
            if self.status.placements.is_empty() {
                return Step::RemoveFinalizer;
            }
        } else {
            if !self.has_finalizer() {
                return Step::AddFinalizer;
            }
            self.settle(cluster, now);
            self.retire();
            self.place(cluster, now);
            self.retire();
        }
        self.summarise(now);
        if self.session.status.as_ref() != Some(&self.status) {
            return Step::Write;
        }
        self.act(cluster, now)
    }

    /// The spec's generation.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.session.metadata.generation.unwrap_or_default()
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.session.metadata.deletion_timestamp.is_some()
    }

    fn has_finalizer(&self) -> bool {
        self.session.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    fn note(&mut self, warning: bool, reason: &'static str, text: String) {
        self.notes.push(Note { warning, reason, text });
    }

    /// The calls that are due. Those that answer at once come first: loading takes its time.
    fn act(&self, cluster: &impl Cluster, now: Now) -> Step {
        let (mut quick, mut slow) = (Vec::new(), Vec::new());
        let mut wake: Option<Instant> = self.timers(cluster, now);
        for place in &self.status.placements {
            let verb = match place.state {
                PlacementState::Asking => Verb::Reserve,
                PlacementState::Reserved if place.generation == self.generation() => Verb::Commit,
                PlacementState::Leaving => Verb::Release,
                PlacementState::Reserved | PlacementState::Ready => continue,
            };
            let look = cluster.look(&place.node, &place.uid);
            if look.is_none_or(|look| look.standing == Standing::Lost) {
                continue;
            }
            if let Some(until) = self.memory.not_before(&place.node, place.generation, now.instant) {
                wake = Some(wake.map_or(until, |wake| wake.min(until)));
                continue;
            }
            let calls = if verb == Verb::Commit { &mut slow } else { &mut quick };
            calls.push(Call { place: place.clone(), verb });
        }
        let calls = if quick.is_empty() { slow } else { quick };
        if calls.is_empty() {
            Step::Wait(wake.map(|wake| wake.saturating_duration_since(now.instant)))
        } else {
            Step::Call(calls)
        }
    }
}
