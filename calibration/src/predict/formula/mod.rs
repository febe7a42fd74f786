//! Which formula holds for a system, and what it says.

mod batches;
mod in_order;
mod ranked;
mod shared;

use super::known::KnownError;
use super::stages::{self, Stages};
use super::{Formula, Latency, Method, PredictError, Prediction, Spread, Stage, Utilisation};
use crate::queueing::fcfs::{self, Class};
use crate::queueing::law::Law;
use crate::queueing::tail::Inverter;
use crate::system::{Mode, Slicing, System};

/// Values by which a varying service time is taken where each is only looked up.
const ATOMS: f64 = 256.0;

/// How much work an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// Under a millisecond, wherever that is possible.
    Quick,
    /// As exact as formulas are.
    Full,
}

/// What a formula says of the device.
struct Device {
    laws: Vec<Law>,
    utilisation: f64,
    formula: Formula,
    error: KnownError,
}

/// Predicts by the formula that holds, or comes nearest.
pub(super) fn predict(
    system: &System,
    inverter: &mut Inverter,
    precision: Precision,
) -> Result<Prediction, PredictError> {
    let beside = stages::stages(system)?;
    let mut device = device(system, inverter, precision)?;
    let mut utilisation = Utilisation::default();
    if let Some(Stages { delays, utilisation: theirs, contention }) = beside {
        utilisation = theirs;
        device.error = device.error.plus(KnownError::stages(contention));
        for (law, delays) in device.laws.iter_mut().zip(&delays) {
            *law = law.delayed(delays);
        }
    }
    let error = device.error;
    Ok(Prediction {
        sessions: device
            .laws
            .into_iter()
            .map(|law| Latency { spread: Spread::Law(law), hold: 0.0, error })
            .collect(),
        utilisation: Utilisation { device: device.utilisation, ..utilisation },
        method: Method::Formula(device.formula),
        error,
    })
}

fn device(system: &System, inverter: &mut Inverter, precision: Precision) -> Result<Device, PredictError> {
    if system.sessions.iter().any(|session| session.profile.batching.is_some()) {
        return batches::predict(system);
    }
    let groups = system.groups();
    let classes: Vec<Class<'_>> = system
        .sessions
        .iter()
        .zip(groups)
        .map(|(session, group)| Class {
            rate: session.terms.rate.get(),
            service: &session.profile.service,
            overhead: system.overhead(session),
            group,
        })
        .collect();
    let alone = system.sessions.len() == 1;
    match system.device.mode {
        Mode::Exclusive { .. } => in_order::predict(system, &classes, inverter),
        Mode::Concurrent { width } if width.get() == 1 => in_order::predict(system, &classes, inverter),
        Mode::TimeSliced(_) if alone => in_order::predict(system, &classes, inverter),
        Mode::TimeSliced(Slicing::RoundRobin { .. }) => in_order::predict(system, &classes, inverter),
        Mode::TimeSliced(Slicing::Driver) => {
            shared::predict(system, &classes, usize::MAX, inverter, precision)
        }
        Mode::Concurrent { width } => {
            shared::predict(system, &classes, width.get() as usize, inverter, precision)
        }
    }
}

/// Work per second, reloads aside.
fn resident_load(classes: &[Class<'_>]) -> f64 {
    classes.iter().map(|c| c.rate * c.service.mean()).sum()
}

/// Whether anything is ever reloaded.
fn reloads(classes: &[Class<'_>]) -> bool {
    classes.iter().any(|c| c.overhead > 0.0) && classes.iter().any(|c| c.group != classes[0].group)
}

fn all_poisson(system: &System) -> bool {
    system.sessions.iter().all(|session| session.terms.arrivals.get() == 1.0)
}

fn same_rank(system: &System) -> bool {
    let rank = system.sessions[0].terms.rank();
    system.sessions.iter().all(|session| session.terms.rank() == rank)
}

/// Squared coefficient of variation of a request's service, whoever's it is, reloads included.
fn service_scv(classes: &[Class<'_>]) -> f64 {
    let resident = fcfs::resident_probabilities(classes);
    let (mut rate, mut first, mut second) = (0.0, 0.0, 0.0);
    for (class, resident) in classes.iter().zip(resident) {
        let [m1, m2, _] = class.service.moments();
        let (o, reload) = (class.overhead, 1.0 - resident);
        rate += class.rate;
        first += class.rate * (m1 + reload * o);
        second += class.rate * (m2 + reload * (2.0 * m1 * o + o * o));
    }
    (second * rate / (first * first) - 1.0).max(0.0)
}

impl From<fcfs::Unstable> for PredictError {
    fn from(unstable: fcfs::Unstable) -> Self {
        Self::Unstable { stage: Stage::Device, utilisation: unstable.utilisation }
    }
}
