//! Nodes whose promises no longer hold are relieved: in another setting, or of as few tenants as will do. Each is hosted
//! elsewhere before it leaves; who finds no other place stays, since a model that is gone is worse than one that is late.

use super::Ours;
use super::search::Search;
use crate::assess::Assess;
use crate::cluster::{Cluster, NodeId};
use crate::load::{Load, Setting, Tenant};
use crate::plan::{Plan, Step, Tally};

pub(super) fn plan(ours: &mut Ours, cluster: &Cluster) -> Plan {
    let mut now = cluster.clone();
    let mut plan = Plan::default();
    let catalogue = cluster.catalogue();
    let broken: Vec<NodeId> = cluster
        .nodes()
        .filter(|(_, load)| ours.judge.assess(catalogue, load).is_err())
        .map(|(node, _)| node)
        .collect();
    for node in broken {
        // Every round moves one; others' moves may have helped already.
        while ours.judge.assess(catalogue, now.node(node)).is_err() {
            let Some(steps) = ours.search(&now).relieve(node) else { break };
            steps.iter().for_each(|step| now.step(step));
            plan.steps.extend(steps);
        }
    }
    plan
}

impl Search<'_> {
    /// Steps that relieve a node: another setting if that will do, else one tenant less.
    fn relieve(&mut self, node: NodeId) -> Option<Vec<Step>> {
        let load = self.cluster.node(node);
        for setting in self.settings(load) {
            let other = load.set(self.cluster.catalogue(), setting);
            if setting != load.setting() && self.holds(&other) {
                return Some(vec![Step::Set { node, setting }]);
            }
        }
        let mut tenants: Vec<&Tenant> = load.tenants().iter().collect();
        tenants.sort_by(|a, b| self.work(node, a).total_cmp(&self.work(node, b)).then(a.app.cmp(&b.app)));
        // First the lightest that is enough; failing that the heaviest that finds another place.
        let (enough, rest): (Vec<_>, Vec<_>) =
            tenants.into_iter().partition(|tenant| self.eased(load, tenant).is_some());
        enough.into_iter().chain(rest.into_iter().rev()).find_map(|tenant| self.away(node, tenant))
    }

    /// Steps that move a tenant away, whole or in parts.
    fn away(&mut self, node: NodeId, tenant: &Tenant) -> Option<Vec<Step>> {
        let load = self.cluster.node(node);
        let app = self.cluster.app(tenant.app);
        for parts in 1..=self.options.parts.max(1) {
            let part = Tenant::part(tenant.app, app, tenant.rate / f64::from(parts));
            let places = self.several(&part, &[node], parts as usize, &mut Tally::default());
            if places.len() < parts as usize {
                continue;
            }
            let mut steps: Vec<Step> =
                places.iter().flat_map(|place| place.steps(self.cluster, &part)).collect();
            steps.push(Step::Leave { app: tenant.app, node });
            if let Some(setting) = self.eased(load, tenant)
                && setting != load.setting()
            {
                steps.push(Step::Set { node, setting });
            }
            return Some(steps);
        }
        None
    }

    /// The setting in which a node holds without a tenant.
    fn eased(&mut self, load: &Load, without: &Tenant) -> Option<Setting> {
        let rest = load.without(self.cluster.catalogue(), without.app);
        let own = std::iter::once(load.setting());
        own.chain(self.settings(load))
            .find(|&setting| self.holds(&rest.set(self.cluster.catalogue(), setting)))
    }

    fn holds(&mut self, load: &Load) -> bool {
        self.judge.assess(self.cluster.catalogue(), load).is_ok()
    }
}
