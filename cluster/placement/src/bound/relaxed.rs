//! More than can be hosted even in parts, by a linear program that knows the devices' time alone.
//!
//! Every request takes a device of some kind for at least its service time, and no device works faster than all of the
//! time. An application whose objective breaks on an idle node of a kind cannot be there. Waits, reloads and memory are
//! left out, so the bound is far above what can be had where objectives are tight.

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem};

use super::{BoundError, solve};
use crate::app::App;
use crate::catalogue::{Catalogue, KindId};

/// At least as many of `apps` as nodes of these kinds can host.
///
/// # Errors
/// A solver that gives up.
pub fn most(
    catalogue: &Catalogue,
    nodes: &[KindId],
    apps: &[App],
    utilisation: f64,
) -> Result<f64, BoundError> {
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let mut capacity: Vec<LinearExpr> = catalogue.kinds.iter().map(|_| LinearExpr::empty()).collect();
    for app in apps {
        let mut parts = LinearExpr::empty();
        let mut able = false;
        for (kind, used) in catalogue.kinds.iter().zip(&mut capacity) {
            let Some(cost) = kind.cost(app.model) else { continue };
            let service = cost.profile.service.mean();
            if app.terms.objective.is_some_and(|objective| objective.latency.get() < service) {
                continue;
            }
            let part = problem.add_var(1.0, (0.0, 1.0));
            parts.add(part, 1.0);
            used.add(part, app.terms.rate.get() * service);
            able = true;
        }
        if able {
            problem.add_constraint(parts, ComparisonOp::Le, 1.0);
        }
    }
    for (at, used) in capacity.into_iter().enumerate() {
        let count = nodes.iter().filter(|kind| kind.0 as usize == at).count() as f64;
        let device = &catalogue.kinds[at].device;
        let most = count * utilisation * device.speed_up.at(usize::MAX);
        problem.add_constraint(used, ComparisonOp::Le, most);
    }
    solve(&problem)
}
