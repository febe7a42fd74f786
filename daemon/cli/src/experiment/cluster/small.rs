//! Instances so small that the best placement can be found.

use edgemux_placement::app::AppId;
use edgemux_placement::assess::{Corrected, Undecided};
use edgemux_placement::bound::{exact, relaxed};
use edgemux_placement::catalogue::Catalogue;
use edgemux_placement::cluster::Cluster;
use edgemux_placement::policy::ours::Options;
use edgemux_placement::policy::{Ours, Policy};
use serde::Serialize;

use super::ClusterError;
use super::setting::{Arrivals, Mix, Objective, Setting};
use super::statistics::Mean;
use super::workload::{self, Demand};

/// What is run.
pub(super) const PAIRS: [(Objective, Mix); 6] = [
    (Objective::Mean, Mix::Coral),
    (Objective::Mean, Mix::Nano),
    (Objective::Mean, Mix::Mixed),
    (Objective::P99, Mix::Coral),
    (Objective::P99, Mix::Nano),
    (Objective::P99, Mix::Mixed),
];

const NODES: usize = 2;
const APPS: usize = 12;

/// Twice as demanding as usual, so that twelve do not all fit on two nodes.
const DEMAND: Demand = Demand { busy: (0.04, 0.6), ..Demand::USUAL };

/// Applications hosted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    exact: f64,
    relaxed: f64,
    online: f64,
    batch: f64,
}

/// Over all seeds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Row {
    pub(crate) objective: Objective,
    pub(crate) mix: Mix,
    /// The most that can be hosted.
    pub(crate) exact: Mean,
    /// By the linear program over the devices' time.
    pub(crate) relaxed: Mean,
    /// Ours, one after the other.
    pub(crate) online: Mean,
    /// Ours, all known at once.
    pub(crate) batch: Mean,
    /// Of the most that can be hosted.
    pub(crate) online_part: Mean,
    pub(crate) batch_part: Mean,
}

/// The bound and ours under the same judge, nobody divided.
pub(super) fn run(
    catalogue: &Catalogue,
    objective: Objective,
    mix: Mix,
    seed: u64,
) -> Result<Score, ClusterError> {
    let setting = Setting { mix, nodes: NODES, arrivals: Arrivals::Poisson, objective };
    let kinds = setting.kinds();
    let apps = workload::draw(catalogue, setting, DEMAND, APPS, seed)?;
    let options = Options { parts: 1, ..Options::default() };
    let mut judge = Corrected::new(options.limits, Undecided::Refuse);
    let exact = exact::most(catalogue, &kinds, &apps, &mut judge, true)? as f64;
    let relaxed = relaxed::most(catalogue, &kinds, &apps, options.limits.utilisation)?;
    let mut policy = Ours::new(options);
    let idle = || -> (Cluster, Vec<AppId>) {
        let mut cluster = Cluster::new(catalogue.clone(), kinds.iter().copied());
        let ids = apps.iter().map(|app| cluster.announce(app.clone())).collect();
        (cluster, ids)
    };
    let (mut cluster, ids) = idle();
    for &id in &ids {
        if let Ok(plan) = policy.place(&cluster, id) {
            cluster.apply(&plan);
        }
    }
    let online = cluster.hosted() as f64;
    let (mut cluster, ids) = idle();
    policy.place_all(&mut cluster, &ids);
    let batch = cluster.hosted() as f64;
    Ok(Score { exact, relaxed, online, batch })
}

impl Row {
    pub(super) fn new(objective: Objective, mix: Mix, scores: &[Score]) -> Self {
        let all = |of: fn(&Score) -> f64| scores.iter().map(of).collect::<Vec<f64>>();
        let (exact, relaxed) = (all(|s| s.exact), all(|s| s.relaxed));
        let (online, batch) = (all(|s| s.online), all(|s| s.batch));
        Self {
            objective,
            mix,
            online_part: Mean::ratio(&online, &exact),
            batch_part: Mean::ratio(&batch, &exact),
            exact: Mean::of(exact.into_iter()),
            relaxed: Mean::of(relaxed.into_iter()),
            online: Mean::of(online.into_iter()),
            batch: Mean::of(batch.into_iter()),
        }
    }
}
