//! A system with the newcomer under one mode: what is predicted, and what breaks.

use super::Policy;
use super::verdict::{MemoryUse, Reason, Summary, TenantOutlook, Verdict};
use crate::predict::{Effort, Method, PredictError, Prediction, Predictor};
use crate::system::{Mode, Slicing, System};
use crate::terms::Objective;

/// What a mode would bring.
#[derive(Debug)]
pub(super) struct Outlook {
    mode: Mode,
    prediction: Option<Prediction>,
    /// Statistic of each objective, s; none for best effort.
    predicted: Vec<Option<f64>>,
    /// The same with its margin, s.
    with_margin: Vec<Option<f64>>,
    memory: MemoryUse,
    utilisation: f64,
    reasons: Vec<Reason>,
    /// Whether a narrower margin might let it in.
    undecided: bool,
    /// A session came too rarely to be seen in the simulation; all else is not known to break.
    unseen: bool,
    /// The least relative distance of a latency with margin from its objective; negative where one breaks.
    slack: f64,
    /// The same without margin.
    distance: f64,
}

impl Outlook {
    pub(super) fn of(predictor: &mut Predictor, system: &System, policy: &Policy, effort: Effort) -> Self {
        let pessimistic = pessimistic(system, policy);
        Self::new(system, policy, predictor.with(&pessimistic, effort))
    }

    fn new(system: &System, policy: &Policy, prediction: Result<Prediction, PredictError>) -> Self {
        let memory = memory(system);
        let mut outlook = Self {
            mode: system.device.mode,
            prediction: None,
            predicted: vec![None; system.sessions.len()],
            with_margin: vec![None; system.sessions.len()],
            memory,
            utilisation: 1.0,
            reasons: Vec::new(),
            undecided: false,
            unseen: false,
            slack: f64::INFINITY,
            distance: f64::INFINITY,
        };
        if memory.peak > memory.capacity {
            outlook.reasons.push(Reason::Memory { needed: memory.peak, capacity: memory.capacity });
        }
        match prediction {
            Ok(prediction) => outlook.weigh(system, policy, prediction),
            Err(PredictError::Unstable { stage, utilisation }) => {
                outlook.utilisation = utilisation;
                (outlook.slack, outlook.distance) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
                let (stage, most) = (stage.name(), policy.utilisation_max);
                outlook.reasons.push(Reason::Utilisation { stage, utilisation, most });
            }
            Err(error) => {
                (outlook.slack, outlook.distance) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
                outlook.undecided = outlook.reasons.is_empty();
                outlook.unseen = outlook.undecided && matches!(error, PredictError::Unseen { .. });
                outlook.reasons.push(Reason::Undecided(error.to_string()));
            }
        }
        outlook
    }

    /// Holds every objective against its prediction.
    fn weigh(&mut self, system: &System, policy: &Policy, prediction: Prediction) {
        let utilisation = prediction.utilisation;
        self.utilisation = utilisation.device;
        for (stage, utilisation) in
            [("device", utilisation.device), ("processor", utilisation.cpu), ("bus", utilisation.bus)]
        {
            if utilisation > policy.utilisation_max {
                let most = policy.utilisation_max;
                self.reasons.push(Reason::Utilisation { stage, utilisation, most });
            }
        }
        let firm = !self.reasons.is_empty();
        let (mut breaks, mut unsure) = (false, false);
        for (at, (session, latency)) in system.sessions.iter().zip(&prediction.sessions).enumerate() {
            let Some(Objective { statistic, latency: wanted }) = session.terms.objective else { continue };
            let predicted = latency.of(statistic);
            let error = latency.error.of(statistic);
            let with_margin = predicted * (1.0 + session.profile.uncertainty.shortfall) * (1.0 + error);
            self.predicted[at] = Some(predicted);
            self.with_margin[at] = Some(with_margin);
            self.slack = self.slack.min(1.0 - with_margin / wanted.get());
            self.distance = self.distance.min(1.0 - predicted / wanted.get());
            // Written so that NaN breaks.
            if with_margin <= wanted.get() {
                continue;
            }
            if predicted * (1.0 - error) > wanted.get() {
                breaks = true;
            } else {
                unsure = true;
            }
            let (session, wanted) = (session.name.clone(), wanted.get());
            self.reasons.push(Reason::Objective { session, statistic, wanted, predicted, with_margin });
        }
        // The longest simulation is the last word.
        let longest = policy.simulation.map_or(0, |run| run.requests);
        let last = matches!(prediction.method, Method::Simulation { requests } if requests >= longest);
        self.undecided = unsure && !breaks && !firm && !last;
        self.prediction = Some(prediction);
    }

    pub(super) fn admits(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Does it hold by what is most likely, margins aside? A session that was not seen is not held against it.
    pub(super) fn is_likely(&self) -> bool {
        let only_objectives = self.reasons.iter().all(|reason| matches!(reason, Reason::Objective { .. }));
        self.unseen || only_objectives && self.distance >= 0.0
    }

    pub(super) fn undecided(&self) -> bool {
        self.undecided
    }

    /// The one that admits; else the one that is decided; else the one that leaves more slack. Of the same mode the later,
    /// which more effort went into.
    pub(super) fn better(best: Option<Self>, other: Self) -> Self {
        let rank = |outlook: &Self| (outlook.admits(), !outlook.undecided, outlook.slack);
        match best {
            Some(best) if best.mode != other.mode && rank(&best) >= rank(&other) => best,
            _ => other,
        }
    }

    pub(super) fn verdict(self, system: &System, before: Option<&Prediction>) -> Verdict {
        let broken = |name: &str| {
            let names =
                |reason: &Reason| matches!(reason, Reason::Objective { session, .. } if session == name);
            self.reasons.iter().any(names)
        };
        let tenants = system.sessions.iter().enumerate().map(|(at, session)| TenantOutlook {
            session: session.name.clone(),
            objective: session.terms.objective,
            before: before.and_then(|p| p.sessions.get(at)).map(Summary::of),
            after: self.prediction.as_ref().map(|p| Summary::of(&p.sessions[at])),
            predicted: self.predicted[at],
            with_margin: self.with_margin[at],
            holds: session.terms.objective.is_none()
                || self.predicted[at].is_some() && !broken(&session.name),
        });
        let tenants = tenants.collect();
        Verdict {
            admitted: self.admits(),
            mode: self.mode,
            tenants,
            memory: self.memory,
            utilisation: self.utilisation,
            largest_rate: None,
            alternatives: Vec::new(),
            slack: self.distance,
            reasons: self.reasons,
            prediction: self.prediction,
        }
    }
}

fn pessimistic(system: &System, policy: &Policy) -> System {
    let mut system = system.clone();
    system.device.speed_up = system.device.speed_up.pessimistic(policy.deviations);
    for session in &mut system.sessions {
        session.profile = session.profile.pessimistic(policy.deviations);
    }
    system
}

/// All models at rest, and on top what those need that can run at the same time: the hungriest first.
fn memory(system: &System) -> MemoryUse {
    let at_once = match system.device.mode {
        Mode::Exclusive { .. } | Mode::TimeSliced(Slicing::RoundRobin { .. }) => 1,
        Mode::TimeSliced(Slicing::Driver) => usize::MAX,
        Mode::Concurrent { width } => width.get() as usize,
    };
    let at_rest = system.sessions.iter().fold(0_u64, |sum, s| sum.saturating_add(s.profile.memory.at_rest));
    let mut extra: Vec<u64> = system
        .sessions
        .iter()
        .map(|s| s.profile.memory.peak.saturating_sub(s.profile.memory.at_rest))
        .collect();
    extra.sort_unstable_by(|a, b| b.cmp(a));
    // One session may run several times over.
    let running = match system.device.mode {
        Mode::Concurrent { .. } => {
            extra.first().map_or(0, |&most| most.saturating_mul(at_once.min(1024) as u64))
        }
        _ => extra.iter().take(at_once).fold(0_u64, |sum, &bytes| sum.saturating_add(bytes)),
    };
    MemoryUse { at_rest, peak: at_rest.saturating_add(running), capacity: system.device.memory }
}
