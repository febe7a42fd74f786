//! Whether a node keeps its objectives in fact: by simulating every request.

use edgemux_calibration::simulate::{Observed, Scenario, simulate};
use edgemux_calibration::terms::{Objective, Statistic};
use edgemux_placement::catalogue::Catalogue;
use edgemux_placement::load::Load;

use super::ClusterError;

/// Requests measured, one after the other, as few as show all objectives to be kept or broken; and how many times its
/// objective a figure has to be for so short a run to call it broken. One run of long waits is a large part of a short
/// run, whose errors then look smaller than they are.
const RUNS: [(u64, f64); 4] = [(2_500, 3.0), (12_500, 2.0), (50_000, 1.25), (150_000, 1.0)];
/// From so many requests on, what does not lie beyond its objective by more than its error is kept, as far as anybody
/// could tell.
const REQUESTS_LONG: u64 = 50_000;
/// Fewer requests of one tenant show nothing to be broken but in the longest run.
const REQUESTS_MIN: u64 = 200;

/// Standard errors by which a figure has to lie beyond its objective to be called broken, or within to be called kept.
const SURE: f64 = 3.0;

/// Which of a load's tenants miss their objective, in their order.
pub(super) fn missed(catalogue: &Catalogue, load: &Load, seed: u64) -> Result<Vec<bool>, ClusterError> {
    judge(catalogue, load, seed, |says| says.iter().all(Option::is_some))
}

/// Whether any of a load's tenants misses its objective: one that does is enough to end the simulation.
pub(super) fn any_missed(catalogue: &Catalogue, load: &Load, seed: u64) -> Result<bool, ClusterError> {
    let enough = |says: &[Option<bool>]| says.contains(&Some(true)) || says.iter().all(Option::is_some);
    Ok(judge(catalogue, load, seed, enough)?.contains(&true))
}

/// Simulates for longer and longer, until what is said of the tenants is enough.
fn judge(
    catalogue: &Catalogue,
    load: &Load,
    seed: u64,
    enough: impl Fn(&[Option<bool>]) -> bool,
) -> Result<Vec<bool>, ClusterError> {
    let tenants = load.tenants();
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let speed_up = &catalogue.kind(load.kind()).device.speed_up;
    // A queue that grows without end keeps nothing, and would be simulated without end.
    if load.work() >= speed_up.at(speed_up.len()) {
        return Ok(tenants.iter().map(|tenant| tenant.objective.is_some()).collect());
    }
    let (system, of) = load.simulated(catalogue)?;
    let mut says = vec![None; tenants.len()];
    for (requests, far) in RUNS {
        let outcome = simulate(&Scenario { seed, ..Scenario::new(&system, requests) })?;
        for ((says, tenant), &session) in says.iter_mut().zip(tenants).zip(&of) {
            *says = match tenant.objective {
                Some(objective) => misses(objective, &outcome.sessions[session], requests, far),
                None => Some(false),
            };
        }
        if enough(&says) {
            break;
        }
    }
    // What not even the longest run shows to be broken is kept.
    Ok(says.into_iter().map(|says| says == Some(true)).collect())
}

/// Whether an objective is missed, by a run of so many requests; none where that cannot be told.
fn misses(objective: Objective, seen: &Observed, requests: u64, far: f64) -> Option<bool> {
    let wanted = objective.latency.get();
    let (figure, error) = match objective.statistic {
        Statistic::Mean => (seen.sojourn.mean(), seen.errors.mean),
        Statistic::Quantile(q) => (seen.sojourn.quantile(q.get()), seen.errors.p99),
    };
    let beyond = (figure - wanted) / error;
    if beyond.is_nan() || !error.is_finite() {
        None
    } else if beyond > SURE {
        let last = requests == RUNS[RUNS.len() - 1].0;
        (last || figure > wanted * far && seen.completed >= REQUESTS_MIN).then_some(true)
    } else {
        (beyond < -SURE || requests >= REQUESTS_LONG).then_some(false)
    }
}
