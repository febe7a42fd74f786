//! Tenants that run the same model: in every discipline here their requests see the same latency, so that one class of
//! the summed rate stands for them all.

use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::terms::Objective;
use edgemux_calibration::units::Seconds;

use super::Tenant;
use crate::catalogue::{Cost, Kind, ModelId};

/// All tenants of one model on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// What they run.
    pub model: ModelId,
    /// Requests per second.
    pub rate: f64,
    /// Squared coefficient of variation of the time between their requests, averaged by rate: what merging them comes to.
    pub arrivals: f64,
    /// Time on the device, with what this node's setting makes of the on-chip memory.
    pub service: ServiceTime,
    /// Time of a reload, s.
    pub overhead: f64,
    /// The tightest objective of each statistic.
    pub objectives: Vec<Objective>,
}

/// Adds a tenant to its class.
pub(super) fn join(classes: &mut Vec<Class>, tenant: &Tenant, cost: &Cost) {
    let at = match classes.binary_search_by_key(&tenant.model, |class| class.model) {
        Ok(at) => at,
        Err(at) => {
            let class = Class {
                model: tenant.model,
                rate: 0.0,
                arrivals: 0.0,
                service: cost.profile.service.clone(),
                overhead: 0.0,
                objectives: Vec::new(),
            };
            classes.insert(at, class);
            at
        }
    };
    let class = &mut classes[at];
    let rate = class.rate + tenant.rate;
    class.arrivals = (class.rate * class.arrivals + tenant.rate * tenant.arrivals) / rate;
    class.rate = rate;
    let Some(objective) = tenant.objective else { return };
    match class.objectives.iter_mut().find(|other| other.statistic == objective.statistic) {
        Some(other) if other.latency <= objective.latency => {}
        Some(other) => *other = objective,
        None => class.objectives.push(objective),
    }
}

/// Gives every class the service time and overhead that it has among these.
///
/// Parameters that find no room on the chip are fetched by every inference. By the published profiles that takes as long
/// for a byte as a reload does: some 3.4 ms a megabyte for both (`docs/experiments.md`).
pub(super) fn settle(classes: &mut [Class], kind: &Kind, together: bool) {
    let mut left = kind.device.on_chip;
    let mut order: Vec<usize> = (0..classes.len()).collect();
    if together {
        order.sort_by(|&a, &b| classes[b].rate.total_cmp(&classes[a].rate));
    }
    for at in order {
        let class = &mut classes[at];
        let Some(cost) = kind.cost(class.model) else { continue };
        let overhead = match cost.profile.reload {
            Some(reload) if kind.reloads() => reload.overhead.get(),
            _ => 0.0,
        };
        class.overhead = overhead;
        if !together {
            class.service = cost.profile.service.clone();
            continue;
        }
        let kept = if cost.on_chip == 0 { 1.0 } else { left.min(cost.on_chip) as f64 / cost.on_chip as f64 };
        left = left.saturating_sub(cost.on_chip);
        class.service = cost.profile.service.later(Seconds::clamped((1.0 - kept) * overhead));
        class.overhead = kept * overhead;
    }
}
