//! All nodes, and who is where.

use edgemux_calibration::units::Hertz;

use crate::app::{App, AppId};
use crate::catalogue::{Catalogue, KindId};
use crate::load::{Load, Setting, Tenant};
use crate::plan::{Plan, Step};

/// Place of a node in its cluster's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Nodes, applications, and which hosts which.
#[derive(Clone, Debug)]
pub struct Cluster {
    catalogue: Catalogue,
    nodes: Vec<Load>,
    apps: Vec<App>,
    /// Nodes of each application, in the order in which it came there.
    homes: Vec<Vec<NodeId>>,
}

impl Cluster {
    /// Idle nodes of these kinds.
    #[must_use]
    pub fn new(catalogue: Catalogue, kinds: impl IntoIterator<Item = KindId>) -> Self {
        let idle = |kind| Load::idle(kind, Setting::of(catalogue.kind(kind)));
        let nodes = kinds.into_iter().map(idle).collect();
        Self { catalogue, nodes, apps: Vec::new(), homes: Vec::new() }
    }

    /// What is known of kinds and models.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// All nodes.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &Load)> {
        self.nodes.iter().enumerate().map(|(at, load)| (NodeId(at as u32), load))
    }

    /// What is on a node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Load {
        &self.nodes[id.0 as usize]
    }

    /// How many nodes host anybody.
    #[must_use]
    pub fn used(&self) -> usize {
        self.nodes.iter().filter(|load| !load.is_idle()).count()
    }

    /// All applications that were ever announced.
    pub fn apps(&self) -> impl ExactSizeIterator<Item = (AppId, &App)> {
        self.apps.iter().enumerate().map(|(at, app)| (AppId(at as u32), app))
    }

    /// An application.
    #[must_use]
    pub fn app(&self, id: AppId) -> &App {
        &self.apps[id.0 as usize]
    }

    /// Where an application is.
    #[must_use]
    pub fn homes(&self, app: AppId) -> &[NodeId] {
        &self.homes[app.0 as usize]
    }

    /// How many applications are hosted.
    #[must_use]
    pub fn hosted(&self) -> usize {
        self.homes.iter().filter(|homes| !homes.is_empty()).count()
    }

    /// Requests per second of an application that its nodes serve.
    #[must_use]
    pub fn served(&self, app: AppId) -> f64 {
        let homes = self.homes(app).iter();
        let tenants = homes.filter_map(|&node| self.node(node).tenants().iter().find(|t| t.app == app));
        tenants.map(|tenant| tenant.rate).sum()
    }

    /// Makes an application known. It is hosted nowhere yet.
    pub fn announce(&mut self, app: App) -> AppId {
        let id = AppId(self.apps.len() as u32);
        self.apps.push(app);
        self.homes.push(Vec::new());
        id
    }

    /// Lets an application go.
    pub fn withdraw(&mut self, app: AppId) {
        for node in std::mem::take(&mut self.homes[app.0 as usize]) {
            self.nodes[node.0 as usize].remove(&self.catalogue, app);
        }
    }

    /// Takes note that an application now comes at another rate. Each of its nodes gets the same part of it as before.
    pub fn drift(&mut self, app: AppId, rate: Hertz) {
        let before = self.apps[app.0 as usize].terms.rate.get();
        self.apps[app.0 as usize].terms.rate = rate;
        for &node in &self.homes[app.0 as usize] {
            let load = &mut self.nodes[node.0 as usize];
            let Some(tenant) = load.tenants().iter().find(|tenant| tenant.app == app) else { continue };
            let part = tenant.rate * rate.get() / before;
            load.remove(&self.catalogue, app);
            load.push(&self.catalogue, Tenant::part(app, &self.apps[app.0 as usize], part));
        }
    }

    /// Does what a plan says.
    pub fn apply(&mut self, plan: &Plan) {
        plan.steps.iter().for_each(|step| self.step(step));
    }

    /// Does one step of a plan.
    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::Set { node, setting } => {
                let load = &mut self.nodes[node.0 as usize];
                *load = load.set(&self.catalogue, setting);
            }
            Step::Host { app, node, rate } => {
                let tenant = Tenant::part(app, &self.apps[app.0 as usize], rate);
                self.nodes[node.0 as usize].push(&self.catalogue, tenant);
                let homes = &mut self.homes[app.0 as usize];
                if !homes.contains(&node) {
                    homes.push(node);
                }
            }
            Step::Leave { app, node } => {
                self.nodes[node.0 as usize].remove(&self.catalogue, app);
                self.homes[app.0 as usize].retain(|&home| home != node);
            }
        }
    }
}
