//! May this session come in? A pure decision over predictions, memory and terms.
//!
//! A newcomer is admitted if under some allowed mode every session with an objective, it itself included, is predicted to
//! keep it with a margin. The margin is what the prediction is known to be off ([`crate::predict::KnownError`]), on profiles made longer
//! by a few standard errors of their own ([`Policy::deviations`]); nothing else is added. Where the formula's margin is so
//! wide that it does not decide, a simulation does.

mod outlook;
mod rate;
mod verdict;

use crate::predict::{Effort, Prediction, Predictor, Simulation};
use crate::system::{Mode, Session, System, SystemError};

use outlook::Outlook;
pub use verdict::{Alternative, MemoryUse, Reason, Summary, TenantOutlook, Verdict};

/// How decisions are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Modes to choose from; empty keeps the device's own.
    pub modes: Vec<Mode>,
    /// The most that the device, the processor or the bus may be busy, in (0, 1).
    pub utilisation_max: f64,
    /// Standard errors by which uncertain times are taken longer.
    pub deviations: f64,
    /// The longest simulation where formulas do not decide, an eighth of it being tried first; none refuses such a
    /// newcomer.
    pub simulation: Option<Simulation>,
    /// Whether to look for the largest admissible rate.
    pub largest_rate: bool,
}

/// No decision was possible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdmissionError {
    /// The newcomer or the system is not one.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The policy cannot be.
    #[error("a most utilisation of {0}: it is above 0 and below 1")]
    UtilisationMax(f64),
    /// The policy cannot be.
    #[error("{0} standard errors: 0 to 10")]
    Deviations(f64),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            modes: Vec::new(),
            utilisation_max: 0.95,
            deviations: 2.0,
            simulation: Some(Simulation { requests: 1_600_000, seed: 0 }),
            largest_rate: true,
        }
    }
}

/// Decides whether `newcomer` may join `system`. `before` is the prediction for `system` as it is, if there is one; it
/// is only shown beside the new one.
///
/// # Errors
/// A newcomer, system or policy that is none. What cannot be admitted is a [`Verdict`], not an error.
pub fn decide(
    predictor: &mut Predictor,
    system: &System,
    before: Option<&Prediction>,
    newcomer: &Session,
    policy: &Policy,
) -> Result<Verdict, AdmissionError> {
    policy.check()?;
    let mut joined = system.clone();
    joined.sessions.push(newcomer.clone());
    joined.check()?;
    let verdict = best(predictor, &joined, policy, &efforts(policy)).verdict(&joined, before);
    Ok(if policy.largest_rate { look_further(predictor, &joined, policy, verdict) } else { verdict })
}

/// Looks for the largest rate of the last session of `joined`, the newcomer, and for what it could have instead if it was
/// refused. Apart from [`decide`] for who wants to hear the decision first: of refusals this is most of the work.
#[must_use]
pub fn look_further(
    predictor: &mut Predictor,
    joined: &System,
    policy: &Policy,
    mut verdict: Verdict,
) -> Verdict {
    verdict.largest_rate = rate::largest(predictor, joined, verdict.admitted, policy);
    if let Some(newcomer) = joined.sessions.last() {
        verdict.find_alternatives(newcomer);
    }
    verdict
}

/// Looks at `system` as it is, with nobody joining: do all objectives hold, and under which mode best? For a second look
/// when profiles have moved, and for work that comes in below everybody's rank.
///
/// # Errors
/// A system or policy that is none.
pub fn review(
    predictor: &mut Predictor,
    system: &System,
    before: Option<&Prediction>,
    policy: &Policy,
) -> Result<Verdict, AdmissionError> {
    policy.check()?;
    system.check()?;
    Ok(best(predictor, system, policy, &efforts(policy)).verdict(system, before))
}

/// What a decision spends, one after the other: what a short simulation leaves undecided a longer one may not.
fn efforts(policy: &Policy) -> [Effort; 4] {
    let simulate = |by| match policy.simulation {
        Some(run) => Effort::Simulate(Simulation { requests: run.requests / by + u64::from(by > 1), ..run }),
        None => Effort::Formula,
    };
    [Effort::Quick, Effort::Formula, simulate(8), simulate(1)]
}

/// The outlook under the mode that leaves most slack. Every mode is looked at with the least effort first; more is spent
/// on those that this leaves undecided, and only as long as none admits.
fn best(predictor: &mut Predictor, joined: &System, policy: &Policy, efforts: &[Effort]) -> Outlook {
    let own = [joined.device.mode];
    let mut modes = if policy.modes.is_empty() { own.to_vec() } else { policy.modes.clone() };
    let mut system = joined.clone();
    let mut best: Option<Outlook> = None;
    let mut before = None;
    for &effort in efforts.iter().filter(|&&effort| before.replace(effort) != Some(effort)) {
        let mut undecided = Vec::new();
        for mode in modes {
            system.device.mode = mode;
            let outlook = Outlook::of(predictor, &system, policy, effort);
            if outlook.undecided() {
                undecided.push(mode);
            }
            best = Some(Outlook::better(best, outlook));
        }
        if undecided.is_empty() || best.as_ref().is_some_and(Outlook::admits) {
            break;
        }
        modes = undecided;
    }
    best.unwrap_or_else(|| Outlook::of(predictor, joined, policy, Effort::Quick))
}

impl Policy {
    fn check(&self) -> Result<(), AdmissionError> {
        if !(self.utilisation_max > 0.0 && self.utilisation_max < 1.0) {
            return Err(AdmissionError::UtilisationMax(self.utilisation_max));
        }
        if !(0.0..=10.0).contains(&self.deviations) {
            return Err(AdmissionError::Deviations(self.deviations));
        }
        Ok(())
    }
}
