//! Faults on order: at a request of a given number, or at random from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;
use serde::Deserialize;

use crate::service::Draws;

/// Largest factor of a slow-down.
const FACTOR_MAX: f64 = 1000.0;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// The process aborts.
    Crash,
    /// The request never ends, whoever cancels it.
    Hang,
    /// The device is gone, for every model on it, until the worker is started anew.
    Vanish,
    /// Service takes longer from this request on.
    SlowDown,
    /// The process aborts while the model is loaded.
    LoadCrash,
    /// This one request fails.
    Fail,
}

/// One `[[fault]]` of a model file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Fires at the request with this number; the first after a load has number 1.
    after_requests: Option<u64>,
    /// Fires at any request with this probability.
    probability: Option<f64>,
    /// `slow-down` only: service is multiplied by this.
    factor: Option<f64>,
    /// `slow-down` only: for this many requests; for good if absent.
    requests: Option<u64>,
}

/// When a fault fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trigger {
    Request(u64),
    Probability(f64),
}

impl Fault {
    /// `None` for a `load-crash` that fires at every load.
    pub(crate) fn trigger(&self) -> Option<Trigger> {
        self.after_requests.map(Trigger::Request).or(self.probability.map(Trigger::Probability))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.after_requests == Some(0) {
            return Err("after-requests = 0: at least 1, the first request of a load".into());
        }
        if let Some(probability) = self.probability
            && !(0.0..=1.0).contains(&probability)
        {
            return Err(format!("probability = {probability}: 0 to 1"));
        }
        match (self.kind, self.after_requests, self.probability) {
            (FaultKind::LoadCrash, Some(_), _) => {
                return Err("after-requests: load-crash fires before any request".into());
            }
            (FaultKind::LoadCrash, None, _) => {}
            (_, None, None) | (_, Some(_), Some(_)) => {
                return Err("one of after-requests and probability must be given".into());
            }
            _ => {}
        }
        match (self.kind, self.factor) {
            (FaultKind::SlowDown, None) => return Err("slow-down needs a factor".into()),
            (FaultKind::SlowDown, Some(factor)) if !(factor > 0.0 && factor <= FACTOR_MAX) => {
                return Err(format!("factor = {factor}: above 0, up to {FACTOR_MAX}"));
            }
            (FaultKind::SlowDown, Some(_)) => {}
            (_, Some(_)) => return Err("factor: only slow-down has one".into()),
            (_, None) => {}
        }
        match (self.kind, self.requests) {
            (FaultKind::SlowDown, Some(0)) => Err("requests = 0: at least 1".into()),
            (FaultKind::SlowDown, _) | (_, None) => Ok(()),
            (_, Some(_)) => Err("requests: only slow-down has that".into()),
        }
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fate {
    /// The worst that happens to it, if anything.
    pub(crate) struck_by: Option<FaultKind>,
    /// Its service time is multiplied by this.
    pub(crate) slow_down: f64,
}

/// The faults of one loaded model.
#[derive(Debug)]
pub(crate) struct Faults(Vec<State>);

#[derive(Debug)]
struct State {
    fault: Fault,
    /// A slow-down holds for requests with smaller numbers than this.
    slow_until: AtomicU64,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults.into_iter().map(|fault| State { fault, slow_until: AtomicU64::new(0) }).collect())
    }

    /// Does loading crash?
    pub(crate) fn strike_load(&self, draws: &mut Draws) -> bool {
        self.0
            .iter()
            .any(|state| state.fault.kind == FaultKind::LoadCrash && fires(state.fault.trigger(), 0, draws))
    }

    /// What becomes of request `number` of this load?
    pub(crate) fn strike(&self, number: u64, draws: &mut Draws) -> Fate {
        let mut fate = Fate { struck_by: None, slow_down: 1.0 };
        for State { fault, slow_until } in &self.0 {
            if fault.kind == FaultKind::LoadCrash {
                continue;
            }
            let fired = fires(fault.trigger(), number, draws);
            if fault.kind != FaultKind::SlowDown {
                // In the order of the file: the first to fire decides.
                fate.struck_by = fate.struck_by.or(fired.then_some(fault.kind));
                continue;
            }
            if fired {
                let end = fault.requests.map_or(u64::MAX, |requests| number.saturating_add(requests));
                slow_until.fetch_max(end, Ordering::Relaxed);
            }
            if number < slow_until.load(Ordering::Relaxed) {
                fate.slow_down *= fault.factor.unwrap_or(1.0);
            }
        }
        fate
    }
}

fn fires(trigger: Option<Trigger>, number: u64, draws: &mut Draws) -> bool {
    match trigger {
        None => true,
        Some(Trigger::Request(at)) => at == number,
        Some(Trigger::Probability(probability)) => draws.generator().random::<f64>() < probability,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, trigger: Trigger) -> Fault {
        let (after_requests, probability) = match trigger {
            Trigger::Request(number) => (Some(number), None),
            Trigger::Probability(probability) => (None, Some(probability)),
        };
        Fault { kind, after_requests, probability, factor: None, requests: None }
    }

    fn fates(faults: Vec<Fault>, seed: u64, requests: u64) -> Vec<Fate> {
        let faults = Faults::new(faults);
        (1..=requests).map(|number| faults.strike(number, &mut Draws::new(seed, number))).collect()
    }

    #[test]
    fn a_fault_by_number_fires_once() {
        let fates = fates(vec![fault(FaultKind::Fail, Trigger::Request(3))], 1, 10);
        let struck: Vec<_> =
            (1..).zip(&fates).filter(|(_, fate)| fate.struck_by.is_some()).map(|(n, _)| n).collect();
        assert_eq!(struck, [3]);
    }

    #[test]
    fn a_fault_by_probability_follows_the_seed() {
        let run = |seed| fates(vec![fault(FaultKind::Fail, Trigger::Probability(0.1))], seed, 10_000);
        let count = run(1).iter().filter(|fate| fate.struck_by == Some(FaultKind::Fail)).count();
        assert!((900..1100).contains(&count), "{count} of 10000 at 0.1");
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_slow_down_lasts_as_many_requests_as_it_says() {
        let slow = |requests| Fault {
            factor: Some(2.0),
            requests,
            ..fault(FaultKind::SlowDown, Trigger::Request(3))
        };
        let factors = |requests| {
            fates(vec![slow(requests)], 1, 6).iter().map(|fate| fate.slow_down).collect::<Vec<_>>()
        };
        assert_eq!(factors(Some(2)), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!(factors(None), [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn a_load_crash_strikes_loads_only() {
        let always = Fault { after_requests: None, ..fault(FaultKind::LoadCrash, Trigger::Request(1)) };
        assert!(always.check().is_ok());
        let faults = Faults::new(vec![always]);
        assert!(faults.strike_load(&mut Draws::new(1, 0)));
        assert_eq!(faults.strike(1, &mut Draws::new(1, 1)).struck_by, None);
        let other = Faults::new(vec![fault(FaultKind::Crash, Trigger::Probability(1.0))]);
        assert!(!other.strike_load(&mut Draws::new(1, 0)));
    }
}
