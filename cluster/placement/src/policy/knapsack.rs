//! What cluster managers do that know nothing of latency: fill nodes as if they were bags.

use super::{Policy, able, host, refusal};
use crate::app::AppId;
use crate::assess::{Breach, Limits};
use crate::cluster::{Cluster, NodeId};
use crate::load::Tenant;
use crate::plan::{Plan, Refusal, Tally};

/// Which of the nodes that have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The first.
    First,
    /// The one with the least room left.
    Best,
    /// The one with the most.
    Worst,
}

/// A knapsack.
#[derive(Clone, Copy, Debug)]
pub struct Knapsack {
    /// Which node.
    pub fit: Fit,
    /// Whether the device's utilisation counts, reloads aside, besides the memory.
    pub utilisation: bool,
    /// How full a node may be.
    pub limits: Limits,
}

impl Knapsack {
    /// The room left on a node that takes `app` in: the least of what is left of each limit, as fractions of one.
    fn room(&self, cluster: &Cluster, app: AppId, node: NodeId) -> Result<f64, Breach> {
        let catalogue = cluster.catalogue();
        let load = cluster.node(node).with(catalogue, Tenant::whole(app, cluster.app(app)));
        let most = self.limits.memory_of(catalogue, &load);
        let memory = 1.0 - load.memory() as f64 / most;
        if memory < 0.0 {
            return Err(Breach::Memory);
        }
        if !self.utilisation {
            return Ok(memory);
        }
        let resident = load.classes().iter().map(|class| class.rate * class.service.mean());
        let busy = resident.sum::<f64>() / catalogue.kind(load.kind()).device.speed_up.at(usize::MAX);
        let utilisation = 1.0 - busy / self.limits.utilisation;
        if utilisation < 0.0 { Err(Breach::Utilisation) } else { Ok(memory.min(utilisation)) }
    }

    /// Nodes with room for `app`, in order of preference.
    fn order(&self, cluster: &Cluster, app: AppId, tally: &mut Tally) -> Vec<NodeId> {
        let mut nodes: Vec<(f64, NodeId)> = Vec::new();
        for node in able(cluster, app) {
            match self.room(cluster, app, node) {
                Ok(room) => nodes.push((room, node)),
                Err(breach) => tally.count(breach),
            }
            if self.fit == Fit::First && !nodes.is_empty() {
                break;
            }
        }
        // Of equal ones the first.
        match self.fit {
            Fit::First => {}
            Fit::Best => nodes.sort_by(|a, b| a.0.total_cmp(&b.0)),
            Fit::Worst => nodes.sort_by(|a, b| b.0.total_cmp(&a.0)),
        }
        nodes.into_iter().map(|(_, node)| node).collect()
    }
}

// === impl Policy for Knapsack ===

impl Policy for Knapsack {
    fn name(&self) -> String {
        let fit = match self.fit {
            Fit::First => "first fit",
            Fit::Best => "best fit",
            Fit::Worst => "worst fit",
        };
        let knows = if self.utilisation { "memory and utilisation" } else { "memory" };
        format!("{fit}, {knows}")
    }

    fn place(&mut self, cluster: &Cluster, app: AppId) -> Result<Plan, Refusal> {
        let mut tally = Tally::default();
        match self.order(cluster, app, &mut tally).first() {
            Some(&node) => Ok(host(cluster, app, node)),
            None => Err(refusal(cluster, app, tally)),
        }
    }

    fn rank(&mut self, cluster: &Cluster, app: AppId, most: usize) -> Vec<NodeId> {
        let mut nodes = self.order(cluster, app, &mut Tally::default());
        nodes.truncate(most);
        nodes
    }
}
