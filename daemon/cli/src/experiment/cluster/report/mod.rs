//! The result: every policy in every setting, and ours against the others.

mod files;
mod tables;

use std::path::PathBuf;

use serde::Serialize;

use super::contest::{Family, Score};
use super::setting::Setting;
use super::statistics::Mean;
use super::{Options, change, large, small};

/// Everything that was run.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterReport {
    pub(crate) seed: u64,
    pub(crate) seeds: u32,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) rows: Vec<Row>,
    pub(crate) small: Vec<small::Row>,
    pub(crate) changes: Vec<change::Row>,
    pub(crate) large: Vec<large::Row>,
    /// The most that could be hosted there, by the devices' time.
    pub(crate) large_bound: Option<f64>,
    pub(crate) files: Vec<PathBuf>,
    /// For each setting and seed.
    #[serde(skip)]
    pub(super) bounds: Vec<(Setting, Vec<f64>)>,
}

/// One policy in one setting, over all seeds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) setting: Setting,
    #[serde(skip)]
    pub(super) family: Family,
    pub(crate) policy: String,
    pub(crate) hosted: Mean,
    pub(crate) kept: Mean,
    pub(crate) violations: Mean,
    /// Hosted with none violated.
    pub(crate) clean: Mean,
    pub(crate) first: Mean,
    pub(crate) nodes: Mean,
    pub(crate) decision_us: Mean,
    #[serde(skip)]
    scores: Vec<Score>,
}

/// Ours against the best of others in one setting, by what is hosted with none violated.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) setting: Setting,
    pub(crate) ours: Mean,
    pub(crate) violations: Mean,
    /// At least as many as could be hosted, in parts too.
    pub(crate) bound: Mean,
    pub(crate) over: Vec<Over>,
}

/// Against the best of a family.
#[derive(Debug, Serialize)]
pub(crate) struct Over {
    pub(crate) family: &'static str,
    pub(crate) policy: String,
    pub(crate) clean: Mean,
    /// Of hosted with none violated.
    pub(crate) ratio: Mean,
    /// Of hosted up to the first refusal or violation.
    pub(crate) first_ratio: Mean,
}

const FAMILIES: [(Family, &str); 4] = [
    (Family::MemoryKnapsack, "memory knapsack"),
    (Family::Knapsack, "memory and utilisation"),
    (Family::Paper, "paper"),
    (Family::Corrected, "paper, corrected"),
];

impl Row {
    pub(super) fn new(setting: Setting, family: Family, policy: String, scores: Vec<Score>) -> Self {
        let mean = |of: fn(&Score) -> f64| Mean::of(scores.iter().map(of));
        Self {
            setting,
            family,
            policy,
            hosted: mean(|s| s.hosted as f64),
            kept: mean(|s| s.kept as f64),
            violations: mean(|s| s.violations as f64),
            clean: mean(|s| s.clean as f64),
            first: mean(|s| s.first as f64),
            nodes: mean(|s| s.nodes as f64),
            decision_us: mean(|s| s.decision_us),
            scores,
        }
    }

    fn all(&self, of: fn(&Score) -> f64) -> Vec<f64> {
        self.scores.iter().map(of).collect()
    }
}

impl ClusterReport {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            seeds: options.seeds,
            comparisons: Vec::new(),
            rows: Vec::new(),
            small: Vec::new(),
            changes: Vec::new(),
            large: Vec::new(),
            large_bound: None,
            files: Vec::new(),
            bounds: Vec::new(),
        }
    }

    /// Holds ours against the best of each other family, in each setting.
    pub(super) fn compare(&mut self) {
        let ours = self.rows.iter().filter(|row| row.family == Family::Ours);
        let comparisons = ours.map(|ours| {
            let over = FAMILIES.iter().filter_map(|&(family, name)| {
                let of = self.rows.iter().filter(|row| row.setting == ours.setting && row.family == family);
                let best = of.max_by(|a, b| a.clean.mean.total_cmp(&b.clean.mean))?;
                let first = |row: &Row| row.all(|s| s.first as f64);
                let clean = |row: &Row| row.all(|s| s.clean as f64);
                Some(Over {
                    family: name,
                    policy: best.policy.clone(),
                    clean: best.clean,
                    ratio: Mean::ratio(&clean(ours), &clean(best)),
                    first_ratio: Mean::ratio(&first(ours), &first(best)),
                })
            });
            let bound = self.bounds.iter().filter(|(setting, _)| *setting == ours.setting);
            Comparison {
                bound: Mean::of(bound.flat_map(|(_, bounds)| bounds.iter().copied())),
                setting: ours.setting,
                ours: ours.clean,
                violations: ours.violations,
                over: over.collect(),
            }
        });
        self.comparisons = comparisons.collect();
    }
}

type Measure = (&'static str, fn(&Row) -> Mean);

const MEASURES: [Measure; 7] = [
    ("hosted", |row| row.hosted),
    ("objective kept", |row| row.kept),
    ("violations", |row| row.violations),
    ("none violated", |row| row.clean),
    ("first refusal", |row| row.first),
    ("nodes", |row| row.nodes),
    ("decision µs", |row| row.decision_us),
];
