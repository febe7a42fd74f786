//! The admission desk: who may have a place on which device.
//!
//! A decision looks at what is there, predicts what would be with the newcomer, and holds the place if it admits, all
//! under one lock: of two who ask at the same time for the last place, the second sees that the first has it. Arithmetic
//! runs on a thread for blocking work, not on those that serve requests.

mod ledger;
mod profiles;
mod system;
mod verdict;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgemux_calibration::admission::{self, Policy, look_further, review};
use edgemux_calibration::predict::{Effort, Prediction, Predictor, Simulation};
use edgemux_calibration::system::System;

pub use self::ledger::ReservationError;
pub(crate) use self::ledger::{Commit, Held, Known, Ledger, PlaceId};
pub(crate) use self::profiles::Profiles;
pub(crate) use self::system::{Place, Tenant, mode as as_predicted, policy as as_run};
pub use self::verdict::{Reason, TenantView, Verdict, Why};
use crate::config::Current;

/// Decides, and remembers who was promised a place.
#[derive(Debug)]
pub struct Desk {
    current: Current,
    /// Held from before a decision until its place is held.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Held while it is looked for what could be had instead.
    search: tokio::sync::Mutex<()>,
    ledger: Mutex<Ledger>,
    counts: Mutex<Counts>,
    /// What models cost.
    pub(crate) profiles: Arc<Profiles>,
}

/// How often was decided how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) admitted: u64,
    pub(crate) refused: BTreeMap<Why, u64>,
}

/// A device that might take a newcomer: who is there, and what the newcomer would be there.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    /// Without the newcomer.
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) newcomer: Tenant,
}

impl Desk {
    /// A desk that decides by this configuration.
    pub(crate) fn new(current: Current, profiles: Arc<Profiles>) -> Self {
        Self {
            current,
            turn: tokio::sync::Mutex::default(),
            search: tokio::sync::Mutex::default(),
            ledger: Mutex::default(),
            counts: Mutex::default(),
            profiles,
        }
    }

    fn policy(&self) -> Policy {
        let config = &self.current.get().admission;
        let requests = config.simulated_requests;
        Policy {
            utilisation_max: config.utilisation_max,
            deviations: config.deviations,
            simulation: (requests > 0).then_some(Simulation { requests, seed: 0 }),
            ..Policy::default()
        }
    }

    /// Places that are held; never across an await.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often was decided how.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a decision that somebody was told.
    pub(crate) fn count(&self, verdict: &Verdict) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict.admitted {
            counts.admitted += 1;
        } else if let Some(first) = verdict.reasons.first() {
            *counts.refused.entry(first.why).or_default() += 1;
        }
    }

    /// The verdict over all candidates: the one that admits with most slack, else the refusal that came nearest, with the
    /// reasons of devices that are `closed`. What else could be had is left to [`Self::look_further`].
    pub(crate) async fn weigh(&self, candidates: Vec<Candidate>, closed: Vec<Reason>) -> Weighed {
        let policy = self.policy();
        let weighed = tokio::task::spawn_blocking(move || {
            let mut predictor = Predictor::new(Effort::Formula);
            let weighed = candidates.into_iter().map(|candidate| candidate.weigh(&mut predictor, &policy));
            weighed.reduce(Weighed::better)
        });
        let refused = Verdict { slack: f64::NEG_INFINITY, ..Verdict::refused("", closed) };
        match weighed.await {
            Ok(Some(weighed)) => weighed.better(refused.into()),
            Ok(None) => refused.into(),
            Err(error) => {
                let reason = Reason::plain(Why::Undecided, "", error.to_string());
                Verdict::refused("", vec![reason]).into()
            }
        }
    }

    /// Adds the largest rate that would be admitted, and what else could be had. Of refusals this is most of the work, so
    /// nobody else's decision waits for it, and only one such search runs at a time.
    pub(crate) async fn look_further(&self, weighed: Weighed) -> Verdict {
        let Weighed { mut verdict, further } = weighed;
        let Some(Further { joined, policy, decided }) = further else { return verdict };
        let _search = self.search.lock().await;
        let searched = tokio::task::spawn_blocking(move || {
            look_further(&mut Predictor::new(Effort::Formula), &joined, &policy, decided)
        });
        // A search that breaks down leaves a verdict as good as it was.
        if let Ok(decided) = searched.await {
            verdict.largest_rate_hz = decided.largest_rate.map(|rate| rate.get());
            verdict.alternatives = decided.alternatives;
        }
        verdict
    }

    /// A second look at a device as it is: the prediction for everybody, and whose objectives no longer hold.
    pub(crate) async fn look_again(&self, place: Place, tenants: Vec<Tenant>) -> Option<Look> {
        let mut policy = self.policy();
        policy.modes = Vec::new();
        let looked = tokio::task::spawn_blocking(move || {
            let system = place.system(&tenants).ok()?;
            if system.sessions.is_empty() {
                return None;
            }
            let mut predictor = Predictor::new(Effort::Formula);
            let verdict = review(&mut predictor, &system, None, &policy).ok()?;
            let effort = policy.simulation.map_or(Effort::Formula, |run| {
                Effort::Needed(Simulation { requests: (run.requests / 4).max(1), ..run })
            });
            let shown = predictor.with(&system, effort).ok();
            let verdict = Verdict::new(&place, &tenants, &verdict);
            Some(Look { system, verdict, shown })
        });
        looked.await.ok().flatten()
    }
}

/// What a second look saw.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) system: System,
    pub(crate) verdict: Verdict,
    /// As likely as the parameters are, without margins; none where the device does not keep up.
    pub(crate) shown: Option<Prediction>,
}

/// A decision, and what it takes to look further.
#[derive(Debug)]
pub(crate) struct Weighed {
    pub(crate) verdict: Verdict,
    further: Option<Further>,
}

#[derive(Debug)]
struct Further {
    joined: System,
    policy: Policy,
    decided: admission::Verdict,
}

impl From<Verdict> for Weighed {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, further: None }
    }
}

impl Weighed {
    fn better(self, other: Self) -> Self {
        let (best, rest) = if other.verdict.beats(&self.verdict) { (other, self) } else { (self, other) };
        Self { verdict: best.verdict.with_reasons_of(rest.verdict), further: best.further }
    }
}

impl Candidate {
    fn weigh(mut self, predictor: &mut Predictor, policy: &Policy) -> Weighed {
        let place = &self.place;
        let problem = |why, problem: String| {
            Verdict::refused(&place.name, vec![Reason::plain(why, &place.name, problem)]).into()
        };
        let guaranteed = self.newcomer.is_guaranteed();
        let before = match place.system(&self.tenants) {
            Ok(system) if !system.sessions.is_empty() => predictor.with(&system, Effort::Formula).ok(),
            Ok(_) => None,
            Err(error) => return problem(Why::Undecided, error.to_string()),
        };
        self.tenants.push(self.newcomer);
        let joined = match place.system(&self.tenants) {
            Ok(joined) => joined,
            Err(error) => return problem(Why::Undecided, error.to_string()),
        };
        if guaranteed && self.tenants.last().is_some_and(|newcomer| newcomer.profile.is_none()) {
            return problem(Why::NoProfile, "the model's cost is not known".to_owned());
        }
        if joined.sessions.is_empty() {
            return Verdict::unguaranteed(place, joined.device.mode, &self.tenants).into();
        }
        let policy = Policy { modes: place.modes(), ..policy.clone() };
        match review(predictor, &joined, before.as_ref(), &policy) {
            Ok(decided) => Weighed {
                verdict: Verdict::new(place, &self.tenants, &decided),
                further: guaranteed.then_some(Further { joined, policy, decided }),
            },
            Err(error) => problem(Why::Undecided, error.to_string()),
        }
    }
}
