//! Nodes for one tenant, best first.

use std::cmp::Ordering;

use super::Options;
use super::headroom::{Headroom, Known, headroom};
use crate::app::AppId;
use crate::assess::{Assess, Breach, Corrected};
use crate::cluster::{Cluster, NodeId};
use crate::load::{Load, Setting, Tenant};
use crate::plan::{Plan, Step, Tally};

/// Below this a node is hardly ever found to have room.
const WORST_HEADROOM: f64 = -0.1;
/// Below this it mostly has none: asked last, those that are short of the least first.
const DOUBTFUL_HEADROOM: f64 = -0.01;

/// Nodes of a large cluster that are looked at closely for one tenant.
const LOOKED_AT: usize = 64;

/// A look at a cluster.
pub(super) struct Search<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) options: &'a Options,
    pub(super) judge: &'a mut Corrected,
    pub(super) known: &'a mut Known,
}

/// A node that can take a tenant in.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) setting: Setting,
}

/// A node that may be asked.
struct Candidate {
    place: Place,
    /// With the tenant.
    load: Load,
    /// Whether it is doubtful that there is room, and then how much is missing; else the headroom that is lost.
    order: (bool, f64),
}

impl Place {
    /// The steps that host a tenant there.
    pub(super) fn steps(&self, cluster: &Cluster, tenant: &Tenant) -> Vec<Step> {
        let mut steps = Vec::with_capacity(2);
        if cluster.node(self.node).setting() != self.setting {
            steps.push(Step::Set { node: self.node, setting: self.setting });
        }
        steps.push(Step::Host { app: tenant.app, node: self.node, rate: tenant.rate });
        steps
    }

    pub(super) fn plan(&self, cluster: &Cluster, tenant: &Tenant) -> Plan {
        Plan { steps: self.steps(cluster, tenant) }
    }
}

impl Search<'_> {
    /// The best place for a tenant, none of the nodes `not`.
    pub(super) fn whole(&mut self, tenant: &Tenant, not: &[NodeId], tally: &mut Tally) -> Option<Place> {
        self.several(tenant, not, 1, tally).pop()
    }

    /// The best places for a tenant on different nodes, at most `most`.
    pub(super) fn several(
        &mut self,
        tenant: &Tenant,
        not: &[NodeId],
        most: usize,
        tally: &mut Tally,
    ) -> Vec<Place> {
        let candidates = self.candidates(tenant, not, tally);
        self.ask(candidates, most, tally)
    }

    /// Asks candidates one after the other.
    fn ask(&mut self, candidates: Vec<Candidate>, most: usize, tally: &mut Tally) -> Vec<Place> {
        let mut found: Vec<Place> = Vec::new();
        let mut asks = self.options.asks.max(u32::try_from(most).unwrap_or(u32::MAX));
        for Candidate { place, load, .. } in candidates {
            if found.len() >= most {
                break;
            }
            if found.iter().any(|other| other.node == place.node) {
                continue;
            }
            if asks == 0 {
                tally.unasked += 1;
                continue;
            }
            asks -= 1;
            match self.judge.assess(self.cluster.catalogue(), &load) {
                Ok(_) => found.push(place),
                Err(breach) => tally.count(breach),
            }
        }
        found
    }

    /// Nodes in every setting, by what they lose.
    fn candidates(&mut self, tenant: &Tenant, not: &[NodeId], tally: &mut Tally) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (node, headroom) in self.looked_at(tenant, not, tally) {
            let load = self.cluster.node(node);
            let mut refused = None;
            let before = candidates.len();
            for setting in self.settings(load) {
                match self.candidate(node, load, setting, tenant, headroom.own) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(breach) => refused = refused.or(Some(breach)),
                }
            }
            if candidates.len() == before
                && let Some(breach) = refused
            {
                tally.count(breach);
            }
        }
        candidates.sort_by(|a: &Candidate, b| {
            let (a_order, b_order) = (a.order, b.order);
            a_order
                .0
                .cmp(&b_order.0)
                .then(a_order.1.total_cmp(&b_order.1))
                .then_with(|| self.alike(a.place.node, b.place.node))
        });
        candidates
    }

    /// The nodes that are worth a closer look: all of a small cluster. Of a large one those with room, half of them with
    /// little, into which a tenant may just fit, and half with much.
    fn looked_at(&mut self, tenant: &Tenant, not: &[NodeId], tally: &mut Tally) -> Vec<(NodeId, Headroom)> {
        let mut nodes = self.able(tenant, not);
        if nodes.len() <= LOOKED_AT {
            return nodes;
        }
        let all = nodes.len();
        nodes.retain(|(node, headroom)| headroom.best >= self.work(*node, tenant) / 2.0);
        nodes.sort_by(|a, b| a.1.best.total_cmp(&b.1.best).then_with(|| self.alike(a.0, b.0)));
        if nodes.len() > LOOKED_AT {
            nodes.drain(LOOKED_AT / 2..nodes.len() - LOOKED_AT / 2);
        }
        tally.unasked += u32::try_from(all - nodes.len()).unwrap_or(u32::MAX);
        nodes
    }

    /// Nodes that could run a tenant's model and do not host its application yet; of idle ones of a kind, which are all
    /// alike, as many as there may be parts.
    pub(super) fn able(&mut self, tenant: &Tenant, not: &[NodeId]) -> Vec<(NodeId, Headroom)> {
        let cluster = self.cluster;
        let catalogue = cluster.catalogue();
        let runs: Vec<bool> = catalogue.kinds.iter().map(|kind| kind.cost(tenant.model).is_some()).collect();
        let mut idle = vec![0; catalogue.kinds.len()];
        let mut nodes = Vec::new();
        for (node, load) in cluster.nodes() {
            let kind = load.kind().0 as usize;
            if !runs[kind] || not.contains(&node) || load.hosts(tenant.app) {
                continue;
            }
            if load.is_idle() {
                idle[kind] += 1;
                if idle[kind] > self.options.parts.max(1) {
                    continue;
                }
            }
            nodes.push((node, self.known.of(catalogue, node, load, self.options.limits.utilisation)));
        }
        nodes
    }

    /// Share of a node's time that a tenant's requests take, reloads aside.
    pub(super) fn work(&self, node: NodeId, tenant: &Tenant) -> f64 {
        let kind = self.cluster.catalogue().kind(self.cluster.node(node).kind());
        kind.cost(tenant.model).map_or(0.0, |cost| tenant.rate * cost.profile.service.mean())
    }

    /// Which of two nodes comes first where both are as good.
    pub(super) fn alike(&self, a: NodeId, b: NodeId) -> Ordering {
        alike(self.cluster.node(a), self.cluster.node(b))
    }

    fn candidate(
        &self,
        node: NodeId,
        load: &Load,
        setting: Setting,
        tenant: &Tenant,
        before: f64,
    ) -> Result<Candidate, Breach> {
        let catalogue = self.cluster.catalogue();
        let mut with = if setting == load.setting() { load.clone() } else { load.set(catalogue, setting) };
        with.push(catalogue, tenant.clone());
        self.options.limits.check_memory(catalogue, &with)?;
        let after = headroom(catalogue, &with, self.options.limits.utilisation);
        if after < WORST_HEADROOM {
            return Err(Breach::Objective);
        }
        // Equal but for rounding is equal.
        let even = |x: f64| (x * 1e9).round();
        let doubtful = after < DOUBTFUL_HEADROOM;
        let order = (doubtful, if doubtful { even(-after) } else { even(before - after) });
        Ok(Candidate { place: Place { node, setting }, load: with, order })
    }

    /// The settings that a node may have.
    pub(super) fn settings(&self, load: &Load) -> Vec<Setting> {
        if self.options.settings {
            Setting::all(self.cluster.catalogue().kind(load.kind())).collect()
        } else {
            vec![load.setting()]
        }
    }
}

/// Which of two loads comes first where both are as good: by what is on them, never by where they stand in the list.
pub(super) fn alike(a: &Load, b: &Load) -> Ordering {
    let apps = |load: &Load| load.tenants().iter().map(|tenant| tenant.app).collect::<Vec<AppId>>();
    a.kind().cmp(&b.kind()).then_with(|| apps(a).cmp(&apps(b)))
}
