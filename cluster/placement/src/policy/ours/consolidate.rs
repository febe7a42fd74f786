//! Fewer nodes: those with least to do are emptied onto others that are in use, if all of their tenants find a place.

use super::Ours;
use super::search::alike;
use crate::cluster::{Cluster, NodeId};
use crate::load::Tenant;
use crate::plan::{Plan, Step, Tally};

pub(super) fn plan(ours: &mut Ours, cluster: &Cluster) -> Plan {
    let mut now = cluster.clone();
    let mut plan = Plan::default();
    let mut nodes: Vec<NodeId> =
        cluster.nodes().filter(|(_, load)| !load.is_idle()).map(|(node, _)| node).collect();
    nodes.sort_by(|&a, &b| {
        let (a, b) = (cluster.node(a), cluster.node(b));
        a.work().total_cmp(&b.work()).then_with(|| alike(a, b))
    });
    for node in nodes {
        if let Some((emptied, steps)) = empty(ours, &now, node) {
            now = emptied;
            plan.steps.extend(steps);
        }
    }
    plan
}

/// The cluster without this node's tenants on it, and how to get there.
fn empty(ours: &mut Ours, cluster: &Cluster, node: NodeId) -> Option<(Cluster, Vec<Step>)> {
    let idle: Vec<NodeId> =
        cluster.nodes().filter(|(_, load)| load.is_idle()).map(|(node, _)| node).collect();
    let not: Vec<NodeId> = idle.into_iter().chain([node]).collect();
    let mut tenants: Vec<Tenant> = cluster.node(node).tenants().to_vec();
    // The hardest to place first: most give up early.
    tenants.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(a.app.cmp(&b.app)));
    let mut now = cluster.clone();
    let mut steps = Vec::new();
    for tenant in &tenants {
        let place = ours.search(&now).whole(tenant, &not, &mut Tally::default())?;
        let mut more = place.steps(&now, tenant);
        more.push(Step::Leave { app: tenant.app, node });
        more.iter().for_each(|step| now.step(step));
        steps.extend(more);
    }
    Some((now, steps))
}
