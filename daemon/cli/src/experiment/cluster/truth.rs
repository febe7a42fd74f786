//! Whether a node keeps its objectives in fact: by simulating every request.

use edgemux_calibration::simulate::{Observed, Scenario, simulate};
use edgemux_calibration::terms::{Objective, Statistic};
use edgemux_placement::catalogue::Catalogue;
use edgemux_placement::load::Load;

use super::ClusterError;

/// Requests measured, one after the other: as few as show all objectives to be kept or broken.
const REQUESTS: [u64; 4] = [2_500, 12_500, 50_000, 150_000];
/// From so many on, what does not lie beyond its objective by more than its error is kept, as far as anybody could tell.
const REQUESTS_LONG: u64 = 50_000;

/// Standard errors by which a figure has to lie beyond its objective to be called broken, or within to be called kept.
const SURE: f64 = 3.0;

/// Many tenants are looked at, and a short run knows its own errors badly. So before the longest run only what is far
/// beyond its objective is called broken: by this factor if the tenant has had many requests, else by the other.
const FAR: f64 = 1.25;
const FAR_OF_FEW: f64 = 2.0;
const MANY: u64 = 200;

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
    for requests in REQUESTS {
        let outcome = simulate(&Scenario { seed, ..Scenario::new(&system, requests) })?;
        for ((says, tenant), &session) in says.iter_mut().zip(tenants).zip(&of) {
            *says = match tenant.objective {
                Some(objective) => misses(objective, &outcome.sessions[session], requests),
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
fn misses(objective: Objective, seen: &Observed, requests: u64) -> Option<bool> {
    let wanted = objective.latency.get();
    let (figure, error) = match objective.statistic {
        Statistic::Mean => (seen.sojourn.mean(), seen.errors.mean),
        Statistic::Quantile(q) => (seen.sojourn.quantile(q.get()), seen.errors.p99),
    };
    let beyond = (figure - wanted) / error;
    if beyond.is_nan() || !error.is_finite() {
        None
    } else if beyond > SURE {
        let far = if seen.completed >= MANY { FAR } else { FAR_OF_FEW };
        (requests == REQUESTS[REQUESTS.len() - 1] || figure > wanted * far).then_some(true)
    } else {
        (beyond < -SURE || requests >= REQUESTS_LONG).then_some(false)
    }
}
