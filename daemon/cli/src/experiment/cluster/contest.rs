//! One workload under every policy.

use std::time::Instant;

use edgemux_placement::app::App;
use edgemux_placement::assess::{Corrected, Limits, Paper as PaperJudge, Undecided};
use edgemux_placement::catalogue::{Catalogue, KindId};
use edgemux_placement::cluster::Cluster;
use edgemux_placement::load::Load;
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Fit, Knapsack, Order, Ours, Paper, Policy};
use serde::Serialize;

use super::{ClusterError, truth};

/// What became of one workload under one policy.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Score {
    /// Applications hosted when all have come.
    pub(crate) hosted: usize,
    /// Of these: objective kept.
    pub(crate) kept: usize,
    /// Of these: objective missed.
    pub(crate) violations: usize,
    /// The most applications hosted at a time up to which nobody's objective was missed.
    pub(crate) clean: usize,
    /// Applications hosted when the first was refused or an objective was missed.
    pub(crate) first: usize,
    /// Nodes in use in the end.
    pub(crate) nodes: usize,
    /// Mean time of a decision, µs.
    pub(crate) decision_us: f64,
}

/// A policy's family, for the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    MemoryKnapsack,
    Knapsack,
    Paper,
    Corrected,
    Ours,
}

/// All policies, with what they may spend where formulas do not decide.
pub(super) fn policies(undecided: Undecided) -> Vec<(Family, Box<dyn Policy>)> {
    let mut policies: Vec<(Family, Box<dyn Policy>)> = Vec::new();
    for utilisation in [false, true] {
        let family = if utilisation { Family::Knapsack } else { Family::MemoryKnapsack };
        for fit in [Fit::First, Fit::Best, Fit::Worst] {
            policies.push((family, Box::new(Knapsack { fit, utilisation, limits: Limits::PAPER })));
        }
    }
    for order in ORDERS {
        let judge = PaperJudge { limits: Limits::PAPER };
        policies.push((Family::Paper, Box::new(Paper { order, judge, formulas: "paper" })));
    }
    for order in ORDERS {
        let judge = Corrected::new(Limits::PAPER, undecided);
        policies.push((Family::Corrected, Box::new(Paper { order, judge, formulas: "corrected" })));
    }
    policies.push((Family::Ours, Box::new(Ours::new(Options { undecided, ..Options::default() }))));
    policies
}

const ORDERS: [Order; 3] = [Order::DepthFirst, Order::BreadthFirst, Order::Heterogeneous];

/// Lets applications come one after the other.
pub(super) fn run(
    catalogue: &Catalogue,
    kinds: &[KindId],
    apps: &[App],
    policy: &mut dyn Policy,
    seed: u64,
) -> Result<Score, ClusterError> {
    let mut cluster = Cluster::new(catalogue.clone(), kinds.iter().copied());
    let mut history = History::new(&cluster);
    let (mut hosted, mut refused) = (Vec::with_capacity(apps.len()), None);
    let mut spent = 0.0;
    for (at, app) in apps.iter().enumerate() {
        let id = cluster.announce(app.clone());
        let begin = Instant::now();
        let decision = policy.place(&cluster, id);
        spent += begin.elapsed().as_secs_f64();
        match decision {
            Ok(plan) => {
                cluster.apply(&plan);
                history.note(at, &cluster);
            }
            Err(_) => {
                refused.get_or_insert(at);
                cluster.withdraw(id);
            }
        }
        hosted.push(cluster.hosted());
    }
    let mut score = Score {
        hosted: cluster.hosted(),
        nodes: cluster.used(),
        decision_us: spent / apps.len().max(1) as f64 * 1e6,
        ..Score::default()
    };
    let mut broken = vec![false; apps.len()];
    let mut broken_nodes = Vec::with_capacity(kinds.len());
    for (_, load) in cluster.nodes() {
        let missed = truth::missed(catalogue, load, seed)?;
        broken_nodes.push(missed.contains(&true));
        for (tenant, missed) in load.tenants().iter().zip(missed) {
            broken[tenant.app.0 as usize] |= missed;
        }
    }
    score.violations = broken.iter().filter(|&&broken| broken).count();
    score.kept = score.hosted - score.violations;
    let first = history.first_violation(catalogue, &broken_nodes, seed)?;
    let before = |at: usize| if at == 0 { 0 } else { hosted[at - 1] };
    score.clean = first.map_or(score.hosted, before);
    let end = first.into_iter().chain(refused).min();
    score.first = end.map_or(score.hosted, before);
    Ok(score)
}

/// What was on every node after each arrival that changed it.
struct History {
    nodes: Vec<Vec<(usize, Load)>>,
}

impl History {
    fn new(cluster: &Cluster) -> Self {
        Self { nodes: vec![Vec::new(); cluster.nodes().len()] }
    }

    fn note(&mut self, at: usize, cluster: &Cluster) {
        for ((_, load), history) in cluster.nodes().zip(&mut self.nodes) {
            let changed = match history.last() {
                Some((_, before)) => before != load,
                None => !load.is_idle(),
            };
            if changed {
                history.push((at, load.clone()));
            }
        }
    }

    /// The arrival by which an objective was first missed. A node that misses one is taken to go on doing so as more come,
    /// so that halving finds where it began.
    /// `broken` says which nodes miss one when all have come.
    fn first_violation(
        &self,
        catalogue: &Catalogue,
        broken: &[bool],
        seed: u64,
    ) -> Result<Option<usize>, ClusterError> {
        let mut first: Option<usize> = None;
        for (history, &broken) in self.nodes.iter().zip(broken) {
            // Only what came before the earliest known matters.
            let end = history.partition_point(|(at, _)| first.is_none_or(|first| *at < first));
            let misses = |at: usize| match at + 1 == history.len() {
                true => Ok(broken),
                false => truth::any_missed(catalogue, &history[at].1, seed),
            };
            if end == 0 || !misses(end - 1)? {
                continue;
            }
            let (mut low, mut high) = (0, end - 1);
            while low < high {
                let middle = usize::midpoint(low, high);
                if misses(middle)? { high = middle } else { low = middle + 1 }
            }
            first = Some(history[high].0);
        }
        Ok(first)
    }
}
