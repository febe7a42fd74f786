//! Room for a newcomer by moving another out of its way: first hosted elsewhere, then gone.

use super::headroom::headroom;
use super::search::Search;
use crate::assess::Assess;
use crate::cluster::NodeId;
use crate::load::{Load, Setting, Tenant};
use crate::plan::{Plan, Step, Tally};

/// Below this an exchange is not worth a question.
const WORST_HEADROOM: f64 = -0.02;

/// Nodes that are looked at.
const NODES: usize = 16;

/// A tenant that could make way.
struct Exchange {
    node: NodeId,
    setting: Setting,
    leaves: Tenant,
    /// With the newcomer, without the tenant.
    load: Load,
    /// Of the device by the tenant, s per s.
    work: f64,
}

impl Search<'_> {
    /// Hosts a tenant in another's place if that finds another one.
    pub(super) fn by_moving(&mut self, tenant: &Tenant) -> Option<Plan> {
        let mut asks = self.options.room_asks;
        for exchange in self.exchanges(tenant) {
            if asks == 0 {
                return None;
            }
            asks -= 1;
            if self.judge.assess(self.cluster.catalogue(), &exchange.load).is_err() {
                continue;
            }
            asks = asks.saturating_sub(self.options.asks);
            let Some(place) = self.whole(&exchange.leaves, &[exchange.node], &mut Tally::default()) else {
                continue;
            };
            let mut steps = place.steps(self.cluster, &exchange.leaves);
            steps.push(Step::Leave { app: exchange.leaves.app, node: exchange.node });
            if exchange.setting != self.cluster.node(exchange.node).setting() {
                steps.push(Step::Set { node: exchange.node, setting: exchange.setting });
            }
            steps.push(Step::Host { app: tenant.app, node: exchange.node, rate: tenant.rate });
            return Some(Plan { steps });
        }
        None
    }

    /// Exchanges that may do, the lightest tenants first.
    fn exchanges(&mut self, tenant: &Tenant) -> Vec<Exchange> {
        if self.options.room_asks == 0 {
            return Vec::new();
        }
        let cluster = self.cluster;
        let catalogue = cluster.catalogue();
        let most = self.options.limits.utilisation;
        let mut exchanges = Vec::new();
        for node in self.roomiest(tenant) {
            let load = cluster.node(node);
            let whole = |leaves: &&Tenant| cluster.homes(leaves.app).len() == 1;
            for leaves in load.tenants().iter().filter(whole) {
                let without = load.without(catalogue, leaves.app);
                for setting in self.settings(load) {
                    let mut load = if setting == without.setting() {
                        without.clone()
                    } else {
                        without.set(catalogue, setting)
                    };
                    load.push(catalogue, tenant.clone());
                    if self.options.limits.check_memory(catalogue, &load).is_err() {
                        continue;
                    }
                    let headroom = headroom(catalogue, &load, most);
                    if headroom >= WORST_HEADROOM {
                        let work = self.work(node, leaves);
                        exchanges.push(Exchange { node, setting, leaves: leaves.clone(), load, work });
                    }
                }
            }
        }
        // What is light finds another place.
        exchanges.sort_by(|a, b| a.work.total_cmp(&b.work).then(a.leaves.app.cmp(&b.leaves.app)));
        exchanges
    }

    /// The nodes with most headroom that could run a tenant's model.
    fn roomiest(&mut self, tenant: &Tenant) -> Vec<NodeId> {
        let mut nodes = self.able(tenant, &[]);
        nodes.sort_by(|a, b| b.1.best.total_cmp(&a.1.best).then_with(|| self.alike(a.0, b.0)));
        nodes.truncate(NODES);
        nodes.into_iter().map(|(node, _)| node).collect()
    }
}
