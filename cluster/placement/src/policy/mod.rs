//! Where an application goes.
//!
//! | policy | what it looks at |
//! |---|---|
//! | [`Knapsack`] | memory; memory and utilisation |
//! | [`Paper`] | latency, by the paper's formulas or by the corrected predictor, in the paper's orders of nodes |
//! | [`Ours`] | latency by the corrected predictor, in the node's best setting, with parts, moves and consolidation |

mod knapsack;
pub mod ours;
mod paper;

pub use knapsack::{Fit, Knapsack};
pub use ours::Ours;
pub use paper::{Order, Paper};

use crate::app::AppId;
use crate::assess::Breach;
use crate::cluster::{Cluster, NodeId};
use crate::plan::{Plan, Refusal, Step, Tally};

/// A policy.
pub trait Policy {
    /// What it is called in tables.
    fn name(&self) -> String;

    /// Where `app`, which is announced and not hosted, should go; others may have to move for it.
    ///
    /// # Errors
    /// No place for it.
    fn place(&mut self, cluster: &Cluster, app: AppId) -> Result<Plan, Refusal>;

    /// The nodes that could host all of `app` as they are, best first, at most `most` of them: for whoever asks the nodes
    /// themselves, one after the other.
    fn rank(&mut self, cluster: &Cluster, app: AppId, most: usize) -> Vec<NodeId>;

    /// What to do about nodes whose promises no longer hold, since rates have changed.
    fn rebalance(&mut self, _cluster: &Cluster) -> Plan {
        Plan::default()
    }

    /// How to do with fewer nodes.
    fn consolidate(&mut self, _cluster: &Cluster) -> Plan {
        Plan::default()
    }
}

/// The plan of hosting all of `app` on a node.
fn host(cluster: &Cluster, app: AppId, node: NodeId) -> Plan {
    let rate = cluster.app(app).terms.rate.get();
    Plan { steps: vec![Step::Host { app, node, rate }] }
}

/// Nodes whose kind runs the model of `app`.
fn able(cluster: &Cluster, app: AppId) -> impl Iterator<Item = NodeId> + '_ {
    let model = cluster.app(app).model;
    let catalogue = cluster.catalogue();
    let runs: Vec<bool> = catalogue.kinds.iter().map(|kind| kind.cost(model).is_some()).collect();
    cluster.nodes().filter(move |(_, load)| runs[load.kind().0 as usize]).map(|(id, _)| id)
}

fn refusal(cluster: &Cluster, app: AppId, tally: Tally) -> Refusal {
    if able(cluster, app).next().is_none() { Refusal::NoKind } else { Refusal::Full(tally) }
}

impl Tally {
    fn count(&mut self, breach: Breach) {
        match breach {
            Breach::Memory => self.memory += 1,
            Breach::Utilisation => self.utilisation += 1,
            Breach::Objective => self.objective += 1,
        }
    }
}
