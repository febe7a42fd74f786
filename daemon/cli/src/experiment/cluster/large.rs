//! As many as a city has: what a decision costs there.

use std::fs;
use std::time::Instant;

use edgemux_placement::assess::Undecided;
use edgemux_placement::bound::relaxed;
use edgemux_placement::catalogue::Catalogue;
use edgemux_placement::cluster::Cluster;
use serde::Serialize;

use super::setting::{Arrivals, Mix, Objective, Setting};
use super::workload::{self, Demand};
use super::{ClusterError, UTILISATION_MAX, contest};

const NODES: usize = 1_000;
const APPS: usize = 10_000;

/// One policy.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) policy: String,
    pub(crate) hosted: usize,
    pub(crate) nodes: usize,
    pub(crate) total_s: f64,
    pub(crate) mean_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) longest_us: f64,
    /// Of the whole process when all were placed, MB; none where the system does not say.
    pub(crate) memory_mb: Option<f64>,
}

/// Every policy once, but for the paper's orders under the corrected predictor: they ask it of every node in turn.
/// Also how many could be hosted at most, by the devices' time.
pub(super) fn run(catalogue: &Catalogue, seed: u64) -> Result<(Vec<Row>, f64), ClusterError> {
    let setting =
        Setting { mix: Mix::Mixed, nodes: NODES, arrivals: Arrivals::Poisson, objective: Objective::P99 };
    let apps = workload::draw(catalogue, setting, Demand::USUAL, APPS, seed)?;
    let mut rows = Vec::new();
    let policies = contest::policies(Undecided::Refuse).into_iter();
    for (_, mut policy) in policies.filter(|(family, _)| *family != contest::Family::Corrected) {
        let mut cluster = Cluster::new(catalogue.clone(), setting.kinds());
        let mut times = Vec::with_capacity(apps.len());
        for app in &apps {
            let id = cluster.announce(app.clone());
            let begin = Instant::now();
            let decision = policy.place(&cluster, id);
            if let Ok(plan) = decision {
                cluster.apply(&plan);
            }
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        let memory_mb = resident_mb();
        let total_s = times.iter().sum::<f64>() / 1e6;
        times.sort_by(f64::total_cmp);
        rows.push(Row {
            policy: policy.name(),
            hosted: cluster.hosted(),
            nodes: cluster.used(),
            total_s,
            mean_us: total_s * 1e6 / apps.len() as f64,
            p99_us: times[times.len() * 99 / 100],
            longest_us: times[times.len() - 1],
            memory_mb,
        });
    }
    let bound = relaxed::most(catalogue, &setting.kinds(), &apps, UTILISATION_MAX)?;
    Ok((rows, bound))
}

/// Memory of this process, MB.
fn resident_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1e3)
}
