//! What comes after placement: rates drift, and applications leave.

use edgemux_calibration::units::Hertz;
use edgemux_placement::app::AppId;
use edgemux_placement::catalogue::Catalogue;
use edgemux_placement::cluster::Cluster;
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Ours, Policy};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use super::setting::{Arrivals, Mix, Objective, Setting};
use super::statistics::Mean;
use super::workload::{self, Demand};
use super::{ClusterError, truth};

/// What is run.
pub(super) const OBJECTIVES: [Objective; 2] = [Objective::Mean, Objective::P99];

const NODES: usize = 8;
/// Fewer than would fill it: there has to be somewhere to go.
const APPS: usize = 40;
/// Part of the applications whose rates change, and by what at most, up or down.
const DRIFTING: f64 = 0.25;
const FACTOR: f64 = 2.0;

/// One workload.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Score {
    hosted: usize,
    missed_before: usize,
    missed: usize,
    moves: usize,
    nodes_before: usize,
    nodes: usize,
    missed_consolidated: usize,
}

/// Over all seeds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Row {
    pub(crate) objective: Objective,
    pub(crate) hosted: Mean,
    /// Objectives missed when rates have drifted, and after moving.
    pub(crate) missed_before: Mean,
    pub(crate) missed: Mean,
    pub(crate) moves: Mean,
    /// Nodes in use when half of the applications have left, and after consolidation.
    pub(crate) nodes_before: Mean,
    pub(crate) nodes: Mean,
    pub(crate) missed_consolidated: Mean,
}

pub(super) fn run(catalogue: &Catalogue, objective: Objective, seed: u64) -> Result<Score, ClusterError> {
    let setting = Setting { mix: Mix::Mixed, nodes: NODES, arrivals: Arrivals::Poisson, objective };
    let apps = workload::draw(catalogue, setting, Demand::USUAL, APPS, seed)?;
    let mut policy = Ours::new(Options::default());
    let mut cluster = Cluster::new(catalogue.clone(), setting.kinds());
    let mut hosted: Vec<AppId> = Vec::new();
    for app in apps {
        let id = cluster.announce(app);
        if let Ok(plan) = policy.place(&cluster, id) {
            cluster.apply(&plan);
            hosted.push(id);
        }
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0xd21f7);
    for &id in &hosted {
        let (drifts, factor) = (rng.random::<f64>() < DRIFTING, FACTOR.powf(2.0 * rng.random::<f64>() - 1.0));
        if drifts {
            let rate = Hertz::new(cluster.app(id).terms.rate.get() * factor)?;
            cluster.drift(id, rate);
        }
    }
    let mut score =
        Score { hosted: hosted.len(), missed_before: missed(&cluster, seed)?, ..Score::default() };
    let plan = policy.rebalance(&cluster);
    cluster.apply(&plan);
    (score.moves, score.missed) = (plan.moves(), missed(&cluster, seed)?);
    for id in hosted {
        if rng.random::<bool>() {
            cluster.withdraw(id);
        }
    }
    score.nodes_before = cluster.used();
    let plan = policy.consolidate(&cluster);
    cluster.apply(&plan);
    (score.nodes, score.missed_consolidated) = (cluster.used(), missed(&cluster, seed)?);
    Ok(score)
}

/// Tenants that miss their objective.
fn missed(cluster: &Cluster, seed: u64) -> Result<usize, ClusterError> {
    let mut count = 0;
    for (_, load) in cluster.nodes() {
        count += truth::missed(cluster.catalogue(), load, seed)?.into_iter().filter(|&missed| missed).count();
    }
    Ok(count)
}

impl Row {
    pub(super) fn new(objective: Objective, scores: &[Score]) -> Self {
        let mean = |of: fn(&Score) -> usize| Mean::of(scores.iter().map(|score| of(score) as f64));
        Self {
            objective,
            hosted: mean(|s| s.hosted),
            missed_before: mean(|s| s.missed_before),
            missed: mean(|s| s.missed),
            moves: mean(|s| s.moves),
            nodes_before: mean(|s| s.nodes_before),
            nodes: mean(|s| s.nodes),
            missed_consolidated: mean(|s| s.missed_consolidated),
        }
    }
}
