//! The policies of Liang, Hanafy, Ali-Eldin and Shenoy: nodes in some order, and the first that keeps its latencies.

use super::{Policy, able, host, refusal};
use crate::app::AppId;
use crate::assess::Assess;
use crate::cluster::{Cluster, NodeId};
use crate::load::{Load, Tenant};
use crate::plan::{Plan, Refusal, Tally};

/// In which order nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nodes in use in their order, then idle ones: pack.
    DepthFirst,
    /// Nodes that have the model, then idle ones, then the least used: spread.
    BreadthFirst,
    /// By how much busier the application makes them: across kinds of node.
    Heterogeneous,
}

/// The paper's policy under a judge of latencies: their own, or another in its place.
#[derive(Debug)]
pub struct Paper<A> {
    /// In which order.
    pub order: Order,
    /// Who says whether latencies are kept.
    pub judge: A,
    /// What the judge is called in tables.
    pub formulas: &'static str,
}

impl<A: Assess> Paper<A> {
    /// Able nodes in the order in which they are asked.
    fn order(&self, cluster: &Cluster, app: AppId) -> Vec<NodeId> {
        let mut nodes: Vec<((u8, f64), NodeId)> =
            able(cluster, app).map(|id| (self.key(cluster, app, cluster.node(id)), id)).collect();
        nodes.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    fn key(&self, cluster: &Cluster, app: AppId, load: &Load) -> (u8, f64) {
        let wanted = cluster.app(app);
        match self.order {
            Order::DepthFirst => (u8::from(load.is_idle()), 0.0),
            Order::BreadthFirst if load.classes().iter().any(|class| class.model == wanted.model) => (0, 0.0),
            Order::BreadthFirst if load.is_idle() => (1, 0.0),
            Order::BreadthFirst => (2, load.work()),
            Order::Heterogeneous => {
                let with = load.with(cluster.catalogue(), Tenant::whole(app, wanted));
                // Equal but for rounding is equal.
                (0, ((with.work() - load.work()) * 1e9).round())
            }
        }
    }

    fn find(&mut self, cluster: &Cluster, app: AppId, most: usize, tally: &mut Tally) -> Vec<NodeId> {
        let tenant = Tenant::whole(app, cluster.app(app));
        let mut found = Vec::new();
        for node in self.order(cluster, app) {
            if found.len() == most {
                break;
            }
            let load = cluster.node(node).with(cluster.catalogue(), tenant.clone());
            match self.judge.assess(cluster.catalogue(), &load) {
                Ok(_) => found.push(node),
                Err(breach) => tally.count(breach),
            }
        }
        found
    }
}

// === impl Policy for Paper ===

impl<A: Assess> Policy for Paper<A> {
    fn name(&self) -> String {
        let order = match self.order {
            Order::DepthFirst => "depth first",
            Order::BreadthFirst => "breadth first",
            Order::Heterogeneous => "heterogeneous",
        };
        format!("{order}, {}", self.formulas)
    }

    fn place(&mut self, cluster: &Cluster, app: AppId) -> Result<Plan, Refusal> {
        let mut tally = Tally::default();
        match self.find(cluster, app, 1, &mut tally).first() {
            Some(&node) => Ok(host(cluster, app, node)),
            None => Err(refusal(cluster, app, tally)),
        }
    }

    fn rank(&mut self, cluster: &Cluster, app: AppId, most: usize) -> Vec<NodeId> {
        self.find(cluster, app, most, &mut Tally::default())
    }
}
