//! Latency of every session on a device: by a formula where one holds, else by simulation.
//!
//! Every answer says by which method it was found and how far that method is known to be off. The known errors are the
//! worst seen on a grid of mixes against the simulator (`calibration/tests/grid.rs` fails when one is exceeded); see
//! `docs/prediction.md`.

mod formula;
mod known;
mod stages;

use std::fmt;

use crate::queueing::law::Law;
use crate::queueing::tail::Inverter;
use crate::simulate::{Scenario, SimulateError, Sketch, simulate};
use crate::system::{System, SystemError};
use crate::terms::Statistic;
use crate::units::{Quantile, Seconds};

use formula::Precision;
pub use known::KnownError;

/// Predicts; keeps what is costly to make.
pub struct Predictor {
    inverter: Inverter,
    effort: Effort,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// Take a formula that needs less than a millisecond for a few dozen sessions, whatever its error.
    Quick,
    /// Take the best formula, whatever its error.
    Formula,
    /// Simulate where the best formula's known error is above [`KnownError::PROMISED`].
    Needed(Simulation),
    /// Always simulate.
    Simulate(Simulation),
}

/// How long to simulate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
    /// Requests measured, over all sessions.
    pub requests: u64,
    /// A seed repeats a run bit for bit.
    pub seed: u64,
}

/// Latency of all sessions of a stable system.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// In the system's order.
    pub sessions: Vec<Latency>,
    /// Of each stage.
    pub utilisation: Utilisation,
    /// How it was found.
    pub method: Method,
    /// How far off the worst of them may be.
    pub error: KnownError,
}

/// Share of time, 0 to 1, that a stage is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Utilisation {
    /// The device.
    pub device: f64,
    /// The processor's cores, others' work included.
    pub cpu: f64,
    /// The bus.
    pub bus: f64,
}

/// How a prediction was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By this formula.
    Formula(Formula),
    /// By simulating this many requests.
    Simulation {
        /// Measured, over all sessions.
        requests: u64,
    },
}

/// Formulas for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// One at a time in order, the exact distribution.
    FirstCome,
    /// One at a time by rank, the exact distribution.
    Ranked,
    /// In order of arrival, stretched for arrivals that are not Poisson or an order that is not quite that of arrival.
    FirstComeStretched,
    /// Processor sharing, the exact distribution.
    Sharing,
    /// Shared with a speed-up or a bound: exact or nearly exact mean, guessed variance.
    SharingBounded,
    /// Dynamic batching: Inoue's mean.
    Batching,
}

/// Latency of one session, from arrival to response.
#[derive(Clone, Debug)]
pub struct Latency {
    spread: Spread,
    /// What background work adds at most, s.
    hold: f64,
    /// How far off it may be.
    pub error: KnownError,
}

#[derive(Clone, Debug)]
enum Spread {
    Law(Law),
    Sketch(Box<Sketch>),
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PredictError {
    /// The system is not one.
    #[error(transparent)]
    System(#[from] SystemError),
    /// It has no stationary latency.
    #[error("the {stage} would be busy {utilisation:.3} of the time: queues would grow without end")]
    Unstable {
        /// Where.
        stage: Stage,
        /// 1 or more; where only the simulation shows it, what it saw.
        utilisation: f64,
    },
    /// No formula says anything about it.
    #[error("no formula holds for {0}: simulate it")]
    NoFormula(&'static str),
    /// A session that comes too rarely to be seen in the simulation.
    #[error("session {session} did not come once in {requests} requests: simulate more")]
    Unseen {
        /// Which.
        session: String,
        /// How many were simulated.
        requests: u64,
    },
    /// The simulation could not run.
    #[error(transparent)]
    Simulate(SimulateError),
}

/// A stage of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The accelerator.
    Device,
    /// The processor's cores.
    Cpu,
    /// The bus.
    Bus,
}

impl Formula {
    /// What it is called in tables and interfaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstCome => "first-come",
            Self::Ranked => "ranked",
            Self::FirstComeStretched => "first-come-stretched",
            Self::Sharing => "sharing",
            Self::SharingBounded => "sharing-bounded",
            Self::Batching => "batching",
        }
    }
}

impl Predictor {
    /// A predictor of this effort.
    #[must_use]
    pub fn new(effort: Effort) -> Self {
        Self { inverter: Inverter::new(1024), effort }
    }

    /// Predicts the latency of every session of `system`.
    ///
    /// # Errors
    /// A system that is none, or that is not stable; of formulas alone, that none says anything.
    pub fn predict(&mut self, system: &System) -> Result<Prediction, PredictError> {
        self.with(system, self.effort)
    }

    /// Predicts with another effort than its own.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn with(&mut self, system: &System, effort: Effort) -> Result<Prediction, PredictError> {
        system.check()?;
        match system.device.background {
            None => self.foreground(system, effort),
            Some(background) => {
                let mut prediction = self.foreground(&beside_background(system), effort)?;
                for latency in &mut prediction.sessions {
                    latency.hold = background.hold.get();
                }
                Ok(prediction)
            }
        }
    }

    /// Predicts as if there were no background work.
    fn foreground(&mut self, system: &System, effort: Effort) -> Result<Prediction, PredictError> {
        match effort {
            Effort::Quick => formula::predict(system, &mut self.inverter, Precision::Quick),
            Effort::Formula => formula::predict(system, &mut self.inverter, Precision::Full),
            Effort::Needed(run) => match formula::predict(system, &mut self.inverter, Precision::Full) {
                Ok(prediction) if prediction.error.within(KnownError::PROMISED) => Ok(prediction),
                Ok(_) | Err(PredictError::NoFormula(_)) => by_simulation(system, run),
                Err(error) => Err(error),
            },
            Effort::Simulate(run) => by_simulation(system, run),
        }
    }
}

impl fmt::Debug for Predictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor").field("effort", &self.effort).finish_non_exhaustive()
    }
}

/// The sessions as they are beside background work, apart from its holding the device.
///
/// Background work is a server's vacation: a request that waits for its end waits, besides what it would without, for
/// what is left of one (Fuhrmann and Cooper, *Stochastic Decompositions in the M/G/1 Queue with Generalized Vacations*,
/// 1985), which is at most one whole. That bound is added to every latency. On a device that reloads, background work may
/// have dropped anybody's parameters, so everybody always pays for theirs.
fn beside_background(system: &System) -> System {
    let mut system = system.clone();
    for at in 0..system.sessions.len() {
        let overhead = system.overhead(&system.sessions[at]);
        let profile = &mut system.sessions[at].profile;
        if overhead > 0.0 {
            let overhead = Seconds::clamped(overhead);
            profile.service = profile.service.later(overhead);
            if let Some(batching) = &mut profile.batching {
                batching.fixed = Seconds::clamped(batching.fixed.get() + overhead.get());
            }
        }
        profile.reload = None;
    }
    system
}

/// Predicts by simulation, whatever formulas there are.
fn by_simulation(system: &System, run: Simulation) -> Result<Prediction, PredictError> {
    let scenario = Scenario { seed: run.seed, ..Scenario::new(system, run.requests) };
    let outcome = simulate(&scenario).map_err(|error| match error {
        SimulateError::System(error) => PredictError::System(error),
        error => PredictError::Simulate(error),
    })?;
    if !outcome.stable {
        return Err(PredictError::Unstable {
            stage: Stage::Device,
            utilisation: outcome.utilisation.max(1.0),
        });
    }
    if let Some(at) = outcome.sessions.iter().position(|s| s.completed == 0) {
        return Err(PredictError::Unseen {
            session: system.sessions[at].name.clone(),
            requests: run.requests,
        });
    }
    let utilisation = stages::utilisation(system)?;
    let utilisation = Utilisation { device: outcome.utilisation, ..utilisation };
    let sessions: Vec<Latency> = outcome
        .sessions
        .into_iter()
        .map(|seen| Latency {
            error: known::of_simulation(&seen),
            hold: 0.0,
            spread: Spread::Sketch(Box::new(seen.sojourn)),
        })
        .collect();
    let error = sessions.iter().fold(KnownError::NONE, |worst, session| worst.or(session.error));
    Ok(Prediction { sessions, utilisation, method: Method::Simulation { requests: run.requests }, error })
}

impl Latency {
    /// Mean, s.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.hold
            + match &self.spread {
                Spread::Law(law) => law.mean(),
                Spread::Sketch(sketch) => sketch.mean(),
            }
    }

    /// A quantile, s.
    #[must_use]
    pub fn quantile(&self, q: Quantile) -> f64 {
        self.hold
            + match &self.spread {
                Spread::Law(law) => law.quantile(q.get()),
                Spread::Sketch(sketch) => sketch.quantile(q.get()),
            }
    }

    /// What an objective is about, s.
    #[must_use]
    pub fn of(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Mean => self.mean(),
            Statistic::Quantile(q) => self.quantile(q),
        }
    }
}

impl Stage {
    /// What it is called in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Cpu => "processor",
            Self::Bus => "bus",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
