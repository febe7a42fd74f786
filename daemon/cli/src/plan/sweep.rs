//! Latency against load: all rates of a device scaled together.

use edgemux_calibration::predict::{Effort, Method, Prediction, Predictor, Simulation};
use edgemux_calibration::system::System;
use edgemux_calibration::terms::Statistic;
use edgemux_calibration::units::Hertz;

/// The least and most of what a device can bear that is shown.
const FROM: f64 = 0.05;
const TO: f64 = 0.95;
/// Points where a formula gives them, and where each is a simulation.
const POINTS: usize = 61;
const POINTS_SIMULATED: usize = 19;

/// One device's latencies.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) device: String,
    /// The load of the plan itself, as a fraction of what the device can bear.
    pub(crate) present: f64,
    pub(crate) lines: Vec<Line>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) session: String,
    /// What its objective is about; the mean for best effort.
    pub(crate) statistic: Statistic,
    pub(crate) objective_ms: Option<f64>,
    /// Load as a fraction of what the device can bear, and latency in ms.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Predicts a device at many loads. Where it cannot, as where the run of a simulation was too short, points are missing.
pub(crate) fn sweep(
    system: &System,
    prediction: &Prediction,
    predictor: &mut Predictor,
    simulation: Simulation,
) -> Sweep {
    let present = present(system, prediction);
    let simulated = matches!(prediction.method, Method::Simulation { .. });
    let points = if simulated { POINTS_SIMULATED } else { POINTS };
    let run = Simulation { requests: simulation.requests / 4, ..simulation };
    let effort = if simulated { Effort::Simulate(run) } else { Effort::Formula };
    let mut lines: Vec<Line> = system
        .sessions
        .iter()
        .map(|session| Line {
            session: session.name.clone(),
            statistic: session.terms.objective.map_or(Statistic::Mean, |objective| objective.statistic),
            objective_ms: session.terms.objective.map(|objective| objective.latency.ms()),
            points: Vec::with_capacity(points),
        })
        .collect();
    for at in 0..points {
        let load = FROM + (TO - FROM) * at as f64 / (points - 1) as f64;
        let Some(system) = scaled(system, load / present) else { continue };
        let Ok(predicted) = predictor.with(&system, effort) else { continue };
        for (line, latency) in lines.iter_mut().zip(&predicted.sessions) {
            line.points.push((load, latency.of(line.statistic) * 1e3));
        }
    }
    Sweep { device: system.device.name.clone(), present, lines }
}

/// How near the busiest stage is to its limit. The processor's share that others use does not grow with the rates.
fn present(system: &System, prediction: &Prediction) -> f64 {
    let cores = f64::from(system.host.cores.get());
    let others = system.host.busy / cores;
    let cpu = (prediction.utilisation.cpu - others).max(0.0) / (1.0 - others).max(f64::EPSILON);
    prediction.utilisation.device.max(prediction.utilisation.bus).max(cpu).max(f64::EPSILON)
}

/// Every rate so many times over; none where one leaves its range.
fn scaled(system: &System, factor: f64) -> Option<System> {
    let mut system = system.clone();
    for session in &mut system.sessions {
        session.terms.rate = Hertz::new(session.terms.rate.get() * factor).ok()?;
    }
    Some(system)
}
