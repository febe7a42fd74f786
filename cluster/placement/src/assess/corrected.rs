//! By `calibration`'s predictor, in the way its admission decides: a latency counts with what its method is known to be
//! off, and where that leaves an objective undecided a better method is asked, if there is one.

use edgemux_calibration::predict::{Effort, Latency, Predictor};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::System;
use edgemux_calibration::terms::Objective;
use edgemux_calibration::units::Seconds;

use super::{Assess, Breach, Limits, Outlook};
use crate::catalogue::Catalogue;
use crate::load::Load;

/// What is done where the quick formula leaves it open: quantiles where requests share a device, arrivals in bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Undecided {
    /// The load is refused.
    Refuse,
    /// It is predicted with this effort.
    Ask(Effort),
}

/// `calibration`'s judgement.
#[derive(Debug)]
pub struct Corrected {
    predictor: Predictor,
    limits: Limits,
    undecided: Undecided,
    /// Standard errors by which uncertain times are taken longer.
    deviations: f64,
}

/// What one method says.
enum Say {
    Holds(Outlook),
    Breaks(Breach),
    Unsure,
}

/// Squared coefficient of variation up to which a service time is steady.
const SCV_STEADY: f64 = 0.01;

/// Beyond this many times an objective a guess is believed: no simulation is spent on it.
const HOPELESS: f64 = 1.5;

impl Corrected {
    /// A judge with these limits, who takes times two standard errors longer.
    #[must_use]
    pub fn new(limits: Limits, undecided: Undecided) -> Self {
        Self { predictor: Predictor::new(Effort::Formula), limits, undecided, deviations: 2.0 }
    }

    /// `of` says which session each tenant is; without it each class is one.
    fn predict(&mut self, system: &System, load: &Load, of: Option<&[usize]>, effort: Effort) -> Say {
        let simulated = matches!(effort, Effort::Simulate(_));
        let Ok(prediction) = self.predictor.with(system, effort) else {
            // Unstable, or no formula: the device's work is within the limit, so only the latter is worth a simulation.
            return if simulated { Say::Breaks(Breach::Objective) } else { Say::Unsure };
        };
        if prediction.utilisation.device > self.limits.utilisation {
            return Say::Breaks(Breach::Utilisation);
        }
        let mut scale = Scale { slack: 1.0, unsure: false, last: simulated };
        let breach = match of {
            Some(of) => load.tenants().iter().zip(of).find_map(|(tenant, &session)| {
                scale.weigh(tenant.objective.as_slice(), &prediction.sessions[session])
            }),
            None => {
                let mut classes = load.classes().iter().zip(&prediction.sessions);
                classes.find_map(|(class, latency)| scale.weigh(&class.objectives, latency))
            }
        };
        match breach {
            Some(breach) => Say::Breaks(breach),
            None if scale.unsure => Say::Unsure,
            None => Say::Holds(Outlook { utilisation: prediction.utilisation.device, slack: scale.slack }),
        }
    }
}

/// What objectives have been held against so far.
struct Scale {
    slack: f64,
    unsure: bool,
    /// Whether no better method is left.
    last: bool,
}

impl Scale {
    /// Holds objectives against a latency; answers with the breach, if there is one for sure.
    fn weigh(&mut self, objectives: &[Objective], latency: &Latency) -> Option<Breach> {
        for objective in objectives {
            let wanted = objective.latency.get();
            let predicted = latency.of(objective.statistic);
            let error = latency.error.of(objective.statistic);
            let with_margin = predicted * (1.0 + error);
            self.slack = self.slack.min(1.0 - with_margin / wanted);
            // NaN is not within anything.
            if with_margin <= wanted {
                continue;
            }
            let hopeless = predicted * (1.0 - error).max(1.0 / HOPELESS) > wanted;
            if self.last || hopeless || predicted.is_nan() {
                return Some(Breach::Objective);
            }
            self.unsure = true;
        }
        None
    }
}

// === impl Assess for Corrected ===

impl Assess for Corrected {
    fn assess(&mut self, catalogue: &Catalogue, load: &Load) -> Result<Outlook, Breach> {
        self.limits.check_memory(catalogue, load)?;
        if load.is_idle() {
            return Ok(Outlook { utilisation: 0.0, slack: 1.0 });
        }
        let kind = catalogue.kind(load.kind());
        let most = self.limits.utilisation * kind.device.speed_up.at(kind.device.speed_up.len());
        if load.work() > most {
            return Err(Breach::Utilisation);
        }
        let system = load.merged(catalogue).map_err(|_| Breach::Utilisation)?;
        let system = steady(pessimistic(system, self.deviations));
        let mut say = self.predict(&system, load, None, Effort::Quick);
        if let (Say::Unsure, Undecided::Ask(effort)) = (&say, self.undecided) {
            say = match effort {
                Effort::Simulate(_) => {
                    let (system, of) = load.simulated(catalogue).map_err(|_| Breach::Utilisation)?;
                    self.predict(&pessimistic(system, self.deviations), load, Some(&of), effort)
                }
                _ => self.predict(&system, load, None, effort),
            };
        }
        match say {
            Say::Holds(outlook) => Ok(outlook),
            Say::Breaks(breach) => Err(breach),
            Say::Unsure => Err(Breach::Objective),
        }
    }
}

fn pessimistic(mut system: System, deviations: f64) -> System {
    system.device.speed_up = system.device.speed_up.pessimistic(deviations);
    for session in &mut system.sessions {
        let uncertainty = session.profile.uncertainty;
        if uncertainty.service > 0.0 || uncertainty.reload > 0.0 {
            session.profile = session.profile.pessimistic(deviations);
        }
    }
    system
}

/// Takes service times that hardly vary as constant: a prediction is twenty times as fast, and p99 moves by a few
/// thousandths (`tests/steady.rs`).
fn steady(mut system: System) -> System {
    for session in &mut system.sessions {
        let service = &mut session.profile.service;
        if service.scv() < SCV_STEADY {
            *service = ServiceTime::constant(Seconds::clamped(service.mean()));
        }
    }
    system
}
