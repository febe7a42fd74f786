//! Our policy: the node that loses least by it.
//!
//! A node's *headroom* is how much busier it might become before an objective breaks. An application goes where the
//! headroom shrinks least, which keeps tight objectives away from long services and packs what goes well together; nodes
//! are put in this order by closed forms and then asked, one after the other, by the predictor. Every setting of a node is
//! a candidate of its own. Where nobody has room, a tenant is moved out of the way, and then the application is divided
//! over several nodes.

mod batch;
mod consolidate;
mod headroom;
mod parts;
mod rebalance;
mod room;
mod search;

use super::{Policy, refusal};
use crate::app::AppId;
use crate::assess::{Corrected, Limits, Undecided};
use crate::cluster::{Cluster, NodeId};
use crate::load::Tenant;
use crate::plan::{Plan, Refusal, Tally};

use headroom::Known;
use search::Search;

/// What our policy may do, and how long it looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How full a node may be.
    pub limits: Limits,
    /// What is done where formulas do not decide.
    pub undecided: Undecided,
    /// Whether nodes run in the setting that suits their tenants; else each keeps its kind's own.
    pub settings: bool,
    /// Most nodes over which an application is divided; 1 divides none.
    pub parts: u32,
    /// Most questions to the predictor for one search of a node.
    pub asks: u32,
    /// Most questions to the predictor for making room by moving others; 0 moves nobody.
    pub room_asks: u32,
}

/// Our policy.
#[derive(Debug)]
pub struct Ours {
    options: Options,
    judge: Corrected,
    known: Known,
    name: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits { memory: 0.8, utilisation: 0.95 },
            undecided: Undecided::Refuse,
            settings: true,
            parts: 2,
            asks: 16,
            room_asks: 48,
        }
    }
}

impl Ours {
    /// A policy with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::named("ours", options)
    }

    /// The same under another name.
    #[must_use]
    pub fn named(name: &'static str, options: Options) -> Self {
        Self {
            options,
            judge: Corrected::new(options.limits, options.undecided),
            known: Known::default(),
            name,
        }
    }

    /// What [`Policy::rank`] answers, with these nodes out of the question.
    pub fn rank_without(
        &mut self,
        cluster: &Cluster,
        app: AppId,
        most: usize,
        not: &[NodeId],
    ) -> Vec<NodeId> {
        let tenant = Tenant::whole(app, cluster.app(app));
        let places = self.search(cluster).several(&tenant, not, most, &mut Tally::default());
        places.into_iter().map(|place| place.node).collect()
    }

    fn search<'a>(&'a mut self, cluster: &'a Cluster) -> Search<'a> {
        Search { cluster, options: &self.options, judge: &mut self.judge, known: &mut self.known }
    }
}

// === impl Policy for Ours ===

impl Policy for Ours {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn place(&mut self, cluster: &Cluster, app: AppId) -> Result<Plan, Refusal> {
        let mut tally = Tally::default();
        let tenant = Tenant::whole(app, cluster.app(app));
        let mut search = self.search(cluster);
        if let Some(place) = search.whole(&tenant, &[], &mut tally) {
            return Ok(place.plan(cluster, &tenant));
        }
        search.by_moving(&tenant).or_else(|| search.in_parts(app)).ok_or_else(|| refusal(cluster, app, tally))
    }

    fn rank(&mut self, cluster: &Cluster, app: AppId, most: usize) -> Vec<NodeId> {
        self.rank_without(cluster, app, most, &[])
    }

    fn rebalance(&mut self, cluster: &Cluster) -> Plan {
        rebalance::plan(self, cluster)
    }

    fn consolidate(&mut self, cluster: &Cluster) -> Plan {
        consolidate::plan(self, cluster)
    }
}
