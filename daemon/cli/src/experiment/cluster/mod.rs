//! A cluster filled by every policy with the same random applications, and judged by simulation.
//!
//! The paper's headline, 2.3 times the applications of a knapsack with no latency violated, is of a cluster whose size and
//! mix were not published. This is the same question asked again, of workloads drawn from the published profiles.

mod catalogue;
mod change;
mod contest;
#[cfg(feature = "plot")]
mod figure;
mod large;
mod report;
mod seeds;
mod setting;
mod small;
mod statistics;
mod tell;
mod truth;
mod workload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use edgemux_calibration::simulate::SimulateError;
use edgemux_calibration::units::RangeError;
use edgemux_placement::bound::{BoundError, relaxed};
use thiserror::Error;

pub(crate) use report::ClusterReport;

use edgemux_calibration::predict::{Effort, Simulation};
use edgemux_placement::assess::Undecided;
use report::Row;
use seeds::each_seed;
use setting::{Arrivals, Setting};
use tell::Teller;
use workload::Demand;

/// Why there is no result.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// A table of this program's own.
    #[error("the profiles built into this command cannot be read: {0}")]
    Data(String),
    #[error("cannot draw an application: {0}")]
    Range(#[from] RangeError),
    #[error("cannot simulate a node: {0}")]
    Simulate(#[from] SimulateError),
    #[error("no bound: {0}")]
    Bound(#[from] BoundError),
    #[error("a worker of this experiment has panicked: this is a fault of the command")]
    Worker,
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
    #[cfg(feature = "plot")]
    #[error(transparent)]
    Plot(#[from] crate::plot::PlotError),
}

impl ClusterError {
    /// A stable name for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Data(_) | Self::Worker => "INTERNAL",
            Self::Range(_) | Self::Simulate(_) | Self::Bound(_) => "EXPERIMENT",
            Self::Write { .. } => "WRITE",
            #[cfg(feature = "plot")]
            Self::Plot(_) => "WRITE",
        }
    }
}

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The first seed; the others follow it.
    pub(crate) seed: u64,
    /// How many workloads are drawn for each setting.
    pub(crate) seeds: u32,
    /// Sizes of clusters.
    pub(crate) sizes: Vec<usize>,
    /// Applications that come, for each node.
    pub(crate) apps_per_node: usize,
    /// Whether 10,000 applications are placed on 1,000 nodes too.
    pub(crate) large: bool,
}

/// Simulated by policies under bursts, where formulas do not decide.
const UNDECIDED: Simulation = Simulation { requests: 10_000, seed: 0 };

/// For the bound that holds at every size: as busy as any policy lets a device be.
const UTILISATION_MAX: f64 = 0.95;

/// Runs everything, and writes tables and plots into a folder, which is made if it is not there.
pub(crate) fn run(folder: &Path, options: &Options) -> Result<ClusterReport, ClusterError> {
    fs::create_dir_all(folder).map_err(|cause| unwritten(folder, cause))?;
    let catalogue = catalogue::published()?;
    let settings = Setting::all(&options.sizes);
    let mut teller = Teller::new(
        settings.len() + small::PAIRS.len() + change::OBJECTIVES.len() + usize::from(options.large),
    );
    let mut report = ClusterReport::new(options);
    for setting in settings {
        let kinds = setting.kinds();
        let undecided = match setting.arrivals {
            Arrivals::Poisson => Undecided::Refuse,
            Arrivals::Bursty => Undecided::Ask(Effort::Simulate(UNDECIDED)),
        };
        let count = options.apps_per_node * setting.nodes;
        let runs = each_seed(options, &mut teller, &setting.to_string(), |seed| {
            let apps = workload::draw(&catalogue, setting, Demand::USUAL, count, seed)?;
            let mut scores = Vec::new();
            for (_, mut policy) in contest::policies(undecided) {
                scores.push(contest::run(&catalogue, &kinds, &apps, policy.as_mut(), seed)?);
            }
            Ok((scores, relaxed::most(&catalogue, &kinds, &apps, UTILISATION_MAX)?))
        })?;
        report.bounds.push((setting, runs.iter().map(|(_, bound)| *bound).collect()));
        for (at, (family, policy)) in contest::policies(undecided).into_iter().enumerate() {
            let scores = runs.iter().map(|(scores, _)| scores[at]).collect();
            report.rows.push(Row::new(setting, family, policy.name(), scores));
        }
    }
    for (objective, mix) in small::PAIRS {
        let what = format!("small: {} nodes, {}", mix.name(), objective.name());
        let scores =
            each_seed(options, &mut teller, &what, |seed| small::run(&catalogue, objective, mix, seed))?;
        report.small.push(small::Row::new(objective, mix, &scores));
    }
    for objective in change::OBJECTIVES {
        let what = format!("drift and departures, {}", objective.name());
        let scores = each_seed(options, &mut teller, &what, |seed| change::run(&catalogue, objective, seed))?;
        report.changes.push(change::Row::new(objective, &scores));
    }
    if options.large {
        teller.begin("10,000 applications on 1,000 nodes");
        let (rows, bound) = large::run(&catalogue, options.seed)?;
        (report.large, report.large_bound) = (rows, Some(bound));
    }
    teller.end();
    report.compare();
    for (name, text) in [
        ("cluster.csv", report.csv()),
        ("cluster-runs.csv", report.runs_csv()),
        ("cluster-bound.csv", report.small_csv()),
        ("cluster.md", report.markdown()),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|cause| unwritten(&path, cause))?;
        report.files.push(path);
    }
    #[cfg(feature = "plot")]
    for name in ["cluster.svg", "cluster.png"] {
        let path = folder.join(name);
        crate::plot::write(&path, &figure::ClusterFigure::new(&report))?;
        report.files.push(path);
    }
    Ok(report)
}

fn unwritten(path: &Path, cause: io::Error) -> ClusterError {
    ClusterError::Write { path: path.to_owned(), cause }
}
