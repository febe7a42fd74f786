//! The stages beside the device: processor cores before and after it, and the bus.
//!
//! Every stage is taken as if its arrivals were Poisson and it knew nothing of the others, and what it does to a request as
//! one of two delays: nobody in the way, or the mean of being held up. That is nearly exact while few are held up, and a
//! guess beyond: requests that have queued at one stage come to the next in single file.

use super::{PredictError, Stage, Utilisation};
use crate::queueing::fcfs::{Class, Fcfs};
use crate::queueing::law::atoms;
use crate::queueing::sharing::Shared;
use crate::service::{Atom, ServiceTime};
use crate::simulate::CORES_MIN;
use crate::system::{SpeedUp, System};
use crate::units::Seconds;

/// What the other stages do to every session.
pub(super) struct Stages {
    /// Delay in all of them together, of each session.
    pub(super) delays: Vec<Vec<Atom>>,
    pub(super) utilisation: Utilisation,
    /// Probability that a request is held up in a stage, at most.
    pub(super) contention: f64,
}

/// Share of time that the processor and the bus are busy.
///
/// # Errors
/// A stage that is not stable.
pub(super) fn utilisation(system: &System) -> Result<Utilisation, PredictError> {
    let cores = f64::from(system.host.cores.get());
    let cpu = (cpu_load(system) + system.host.busy) / cores;
    let bus =
        system.sessions.iter().map(|s| s.terms.rate.get() * transfer(system, s.profile.bytes_moved)).sum();
    for (stage, utilisation, load) in [(Stage::Cpu, cpu, cpu_load(system)), (Stage::Bus, bus, bus)] {
        // A processor that others keep busy is none of ours while we do not use it.
        if load > 0.0 && (utilisation >= 1.0 || utilisation.is_nan()) {
            return Err(PredictError::Unstable { stage, utilisation });
        }
    }
    Ok(Utilisation { device: 0.0, cpu, bus })
}

/// Delay of every session in the stages beside the device; none where there are no such stages.
///
/// # Errors
/// A stage that is not stable.
pub(super) fn stages(system: &System) -> Result<Option<Stages>, PredictError> {
    let utilisation = utilisation(system)?;
    let (cpu, bus) = (cpu_load(system) > 0.0, utilisation.bus > 0.0);
    if !cpu && !bus {
        return Ok(None);
    }
    let nothing = vec![Atom { weight: 1.0, at: 0.0 }];
    let mut delays = vec![nothing; system.sessions.len()];
    let mut contention = utilisation.bus;
    if bus {
        let wait = bus_wait(system)?;
        for (delay, session) in delays.iter_mut().zip(&system.sessions) {
            let transfer = transfer(system, session.profile.bytes_moved);
            if transfer > 0.0 {
                *delay = either(transfer, utilisation.bus, wait);
            }
        }
    }
    if cpu {
        let pool = Pool::new(system)?;
        contention = contention.max(pool.delayed);
        for (delay, session) in delays.iter_mut().zip(&system.sessions) {
            for work in [&session.profile.cpu_before, &session.profile.cpu_after] {
                if work.mean() > 0.0 {
                    let visit: Vec<Atom> = atoms(work, 32.0)
                        .into_iter()
                        .flat_map(|atom| scaled(pool.visit(atom.at), atom.weight))
                        .collect();
                    *delay = delay.iter().flat_map(|d| after(&visit, *d)).collect();
                }
            }
        }
    }
    Ok(Some(Stages { delays, utilisation, contention }))
}

/// `least`, or with some probability as much more as makes `more` of it on average.
fn either(least: f64, probability: f64, more: f64) -> Vec<Atom> {
    if probability <= 0.0 || more <= 0.0 {
        return vec![Atom { weight: 1.0, at: least }];
    }
    vec![
        Atom { weight: 1.0 - probability, at: least },
        Atom { weight: probability, at: least + more / probability },
    ]
}

fn scaled(atoms: Vec<Atom>, weight: f64) -> impl Iterator<Item = Atom> {
    atoms.into_iter().map(move |atom| Atom { weight: atom.weight * weight, ..atom })
}

fn after(atoms: &[Atom], first: Atom) -> impl Iterator<Item = Atom> {
    atoms.iter().map(move |then| Atom { weight: first.weight * then.weight, at: first.at + then.at })
}

/// Mean wait for the bus, s.
fn bus_wait(system: &System) -> Result<f64, PredictError> {
    let transfers: Vec<(f64, ServiceTime)> = system
        .sessions
        .iter()
        .map(|s| (s.terms.rate.get(), transfer(system, s.profile.bytes_moved)))
        .filter(|&(_, transfer)| transfer > 0.0)
        .map(|(rate, transfer)| (rate, ServiceTime::constant(Seconds::clamped(transfer))))
        .collect();
    let classes: Vec<Class<'_>> = transfers
        .iter()
        .map(|(rate, service)| Class { rate: *rate, service, overhead: 0.0, group: 0 })
        .collect();
    match Fcfs::solve(&classes) {
        Ok(queue) => Ok(queue.mean_wait()),
        Err(e) => Err(PredictError::Unstable { stage: Stage::Bus, utilisation: e.utilisation }),
    }
}

/// Cores that our sessions share: n requests run at min(n, cores) in all.
struct Pool {
    /// Sojourn per second of work.
    stretch: f64,
    /// Probability that a request finds every core taken.
    delayed: f64,
}

impl Pool {
    fn new(system: &System) -> Result<Self, PredictError> {
        let cores = (f64::from(system.host.cores.get()) - system.host.busy).max(CORES_MIN);
        let load = cpu_load(system);
        // Less than one core is one slower core.
        let slow = cores.min(1.0);
        let mut curve: Vec<f64> = (1..=cores.floor().clamp(1.0, 1024.0) as u32).map(f64::from).collect();
        if cores > 1.0 && cores.fract() > 0.0 && curve.len() < 1024 {
            curve.push(cores);
        }
        let width = usize::MAX;
        let shared = Shared::stationary(&SpeedUp::new(curve)?, width, load / slow);
        let shared = shared.ok_or(PredictError::Unstable { stage: Stage::Cpu, utilisation: load / cores })?;
        let stretch = shared.in_service / load;
        // At the load a of c cores Erlang's C is the share of time that all are taken.
        let delayed =
            (shared.in_service - load / slow).max(0.0) / (load / slow) * (cores / slow - load / slow);
        Ok(Self { stretch, delayed: delayed.clamp(0.0, 1.0) })
    }

    /// A visit of this much work, s.
    fn visit(&self, work: f64) -> Vec<Atom> {
        either(work, self.delayed, work * (self.stretch - 1.0))
    }
}

fn cpu_load(system: &System) -> f64 {
    let work = system
        .sessions
        .iter()
        .map(|s| s.terms.rate.get() * (s.profile.cpu_before.mean() + s.profile.cpu_after.mean()));
    work.sum()
}

fn transfer(system: &System, bytes: u64) -> f64 {
    system.device.bus.map_or(0.0, |bus| bus.transfer(bytes))
}
