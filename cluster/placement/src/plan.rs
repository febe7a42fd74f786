//! What is to be done, in order.

use std::fmt;

use crate::app::AppId;
use crate::cluster::NodeId;
use crate::load::Setting;

/// Steps, one after the other. None leaves an application with less than its rate that had all of it before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The node runs what it hosts in another way.
    Set {
        /// Which.
        node: NodeId,
        /// How.
        setting: Setting,
    },
    /// The node hosts an application, or a part of it, from now on.
    Host {
        /// Whose.
        app: AppId,
        /// Where.
        node: NodeId,
        /// Requests per second that go there.
        rate: f64,
    },
    /// The node no longer hosts an application.
    Leave {
        /// Whose.
        app: AppId,
        /// Where.
        node: NodeId,
    },
}

/// Why an application was not placed.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Its model runs on no node of the cluster.
    NoKind,
    /// Every node that could run it was looked at; how many said why.
    Full(Tally),
}

/// How many nodes refused, by the first reason found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Too little memory.
    pub memory: u32,
    /// Too busy.
    pub utilisation: u32,
    /// Somebody's objective would break.
    pub objective: u32,
    /// Passed over: others that looked better had refused.
    pub unasked: u32,
}

impl Plan {
    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many applications, or parts of one, move: each is first hosted elsewhere, then leaves.
    #[must_use]
    pub fn moves(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Leave { .. })).count()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKind => f.write_str("its model runs on no node of this cluster"),
            Self::Full(Tally { memory, utilisation, objective, unasked }) => write!(
                f,
                "no node has room: {memory} too little memory, {utilisation} too busy, on {objective} an objective \
                 would break, {unasked} that looked worse were not asked"
            ),
        }
    }
}
