//! What is learned of a session while it runs, and what is predicted of it.

use std::num::NonZeroU32;
use std::time::Duration;

use edgemux_calibration::admission::Summary;
use edgemux_calibration::estimate::{Completed, SessionEstimator};
use edgemux_calibration::profile::{self, Memory, Profile};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::units::Seconds;
use edgemux_runtime_api::runtime;

use crate::terms::{Batching, Terms};

/// A prior weighs as much as this many samples: what is seen now soon outweighs it.
const PRIOR_SAMPLES_MAX: f64 = 100.0;
/// Time outside queue and device that is less than this part of the service time is not worth a stage of its own.
const PATH_WORTH: f64 = 0.02;

/// What is predicted of a session under the declared rates of everybody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Its latency, s.
    pub latency: Summary,
    /// The statistic of its objective, s.
    pub objective: f64,
}

/// What is known of a session while it runs.
#[derive(Debug)]
pub struct Live {
    estimator: SessionEstimator,
    /// The last inference of the warm-up: better than nothing until there are samples, s.
    warm: Option<f64>,
    prior: Option<Profile>,
    /// Quantile and latency in s that are promised; none for best effort and for a mean.
    promised: Option<(f64, f64)>,
    forecast: Option<Forecast>,
    at_risk: Option<String>,
    demoted: bool,
    kept: Kept,
    drifts: Drifts,
    batching: Option<Batching>,
    /// The longest that requests should wait for others to run with, as the last look found it, s.
    batch_delay: f64,
    refused: u64,
    best_effort: u64,
    /// Did parameters move at once, so that nobody should wait for the next look?
    moved: bool,
}

/// Of the requests within the terms, how many kept the objective's latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Not longer than the objective.
    pub kept: u64,
    /// All.
    pub all: u64,
}

/// How often the service time changed at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drifts {
    /// How often.
    pub count: u64,
    /// Service time after the last over that before; 0 if there was none.
    pub last_factor: f64,
    /// When, s on the device's clock.
    pub last_s: f64,
}

/// Requests beyond the terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policed {
    /// Refused.
    pub refused: u64,
    /// Run as best effort.
    pub best_effort: u64,
}

impl Live {
    /// Begins with what is known, and from how many samples; `terms` are those that it is held to.
    pub fn new(prior: Option<(Profile, u64)>, terms: &Terms) -> Self {
        let objective = terms.guarantee().map(|(_, objective)| objective);
        let promised =
            objective.and_then(|objective| Some((objective.quantile?, objective.latency_ms / 1e3)));
        Self {
            estimator: estimator(prior.as_ref(), promised, terms.batching.is_some()),
            warm: None,
            prior: prior.map(|(profile, _)| profile),
            promised,
            forecast: None,
            at_risk: None,
            demoted: false,
            kept: Kept::default(),
            drifts: Drifts::default(),
            batching: terms.batching,
            batch_delay: 0.0,
            refused: 0,
            best_effort: 0,
            moved: false,
        }
    }

    /// A request arrived, at `now` in s.
    pub fn arrived(&mut self, now: f64) {
        self.estimator.arrived(now);
    }

    /// A request was answered, at `now` in s, the first of `size` that ran together. If what was beside it was not
    /// `foreseen`, its latency says nothing about predictions.
    pub fn completed(&mut self, now: f64, size: u32, completed: Completed, foreseen: bool) {
        self.keep(completed.sojourn, completed.conforming);
        let predicted = self.predicted().filter(|_| foreseen);
        if let Some(drift) = self.estimator.completed_together(now, size, completed, predicted) {
            self.drifts = Drifts { count: self.drifts.count + 1, last_factor: drift.factor, last_s: now };
            self.moved = true;
        }
    }

    /// A request was answered that ran in another's inference: of its own it has only its latency, s.
    pub fn answered(&mut self, sojourn: f64, conforming: bool, foreseen: bool) {
        self.keep(sojourn, conforming);
        self.estimator.answered(sojourn, conforming, self.predicted().filter(|_| foreseen));
    }

    fn keep(&mut self, sojourn: f64, conforming: bool) {
        if let Some((_, latency)) = self.promised.filter(|_| conforming) {
            self.kept.all += 1;
            self.kept.kept += u64::from(sojourn <= latency);
        }
    }

    /// The promised quantile as it is predicted, s.
    fn predicted(&self) -> Option<f64> {
        self.forecast.filter(|_| self.promised.is_some()).map(|forecast| forecast.objective)
    }

    /// An inference of the warm-up took so long, s.
    pub fn warmed_up(&mut self, service: f64, reload: f64) {
        self.warm = Some(service);
        self.estimator.reloaded(reload);
    }

    /// What it costs, as far as is known, with the memory that it takes.
    pub fn profile(&self, memory: runtime::Memory) -> Option<Profile> {
        let mut profile = match (&self.prior, self.warm) {
            (Some(prior), _) => prior.clone(),
            (None, Some(warm)) => Profile::new(ServiceTime::constant(Seconds::clamped(warm))),
            (None, None) if self.samples() == 0 => return None,
            (None, None) => Profile::new(ServiceTime::constant(Seconds::ZERO)),
        };
        profile.batching = self.batching.and_then(|batching| together(&profile, batching));
        self.estimator.apply(&mut profile);
        let path = self.estimator.path_mean();
        if path > PATH_WORTH * profile.service.mean() {
            profile.cpu_before = ServiceTime::constant(Seconds::clamped(path));
        }
        profile.uncertainty.shortfall = self.margin() - 1.0;
        profile.memory = Memory {
            at_rest: memory.at_rest_bytes,
            peak: memory.at_rest_bytes.saturating_add(memory.peak_bytes),
        };
        Some(profile)
    }

    /// Samples that its cost was learned from, the prior's among them.
    pub fn samples(&self) -> u64 {
        self.estimator.samples()
    }

    /// How long an inference is expected to take.
    pub fn expected(&self) -> Option<Duration> {
        let profile = self.profile(runtime::Memory::default())?;
        Some(Duration::from_secs_f64(profile.service.mean().clamp(0.0, 1e6)))
    }

    /// Everything that was seen.
    pub fn estimator(&self) -> &SessionEstimator {
        &self.estimator
    }

    /// Factor by which the prediction is lengthened because it fell short, at least 1.
    pub fn margin(&self) -> f64 {
        self.estimator.margin().map_or(1.0, |margin| margin.factor())
    }

    /// What is predicted.
    pub fn forecast(&self) -> Option<Forecast> {
        self.forecast
    }

    /// Sets what is predicted, and why the objective is not expected to hold, if so. Returns whether that is news.
    pub fn foresee(&mut self, forecast: Option<Forecast>, at_risk: Option<String>) -> bool {
        let news = self.at_risk.is_some() != at_risk.is_some();
        (self.forecast, self.at_risk) = (forecast, at_risk);
        news
    }

    /// Why the objective is not expected to hold, if so.
    pub fn at_risk(&self) -> Option<&str> {
        self.at_risk.as_deref()
    }

    /// Is it run as best effort, its terms notwithstanding?
    pub fn is_demoted(&self) -> bool {
        self.demoted
    }

    /// Returns whether that is news.
    pub fn demote(&mut self, demoted: bool) -> bool {
        std::mem::replace(&mut self.demoted, demoted) != demoted
    }

    /// Did parameters move at once since this was last asked?
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Requests that kept the objective.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// Changes of the service time.
    pub fn drifts(&self) -> Drifts {
        self.drifts
    }

    /// Requests beyond the terms.
    pub fn policed(&self) -> Policed {
        Policed { refused: self.refused, best_effort: self.best_effort }
    }

    /// A request beyond the terms was refused.
    pub fn refused_one(&mut self) {
        self.refused += 1;
    }

    /// A request beyond the terms runs as best effort.
    pub fn demoted_one(&mut self) {
        self.best_effort += 1;
    }

    /// The longest that requests wait for others to run with: as the terms say, else as the last look found.
    pub fn batch_delay(&self) -> Duration {
        let declared = self.batching.and_then(|batching| Some(batching.delay_max_ms? / 1e3));
        Duration::from_secs_f64(declared.unwrap_or(self.batch_delay).clamp(0.0, 1e6))
    }

    /// Sets how long requests should wait for others, s. Returns whether that is worth telling the device.
    pub fn allow_batch_delay(&mut self, delay: f64) -> bool {
        let open = self.batching.is_some_and(|batching| batching.delay_max_ms.is_none());
        let news = open && (delay - self.batch_delay).abs() > 0.1 * delay.max(self.batch_delay);
        if news {
            self.batch_delay = delay;
        }
        news
    }

    /// Begins with what is known of another power mode, and from how many samples. Where nothing is, what was learned so far
    /// is what it is thought to cost until there is a sample; it weighs nothing, and is not put into the store as seen there.
    pub fn begin_anew(&mut self, known: Option<(Profile, u64)>) {
        let thought = match &known {
            Some((profile, _)) => Some(profile.clone()),
            None => self.profile(runtime::Memory::default()),
        };
        self.estimator = estimator(known.as_ref(), self.promised, self.batching.is_some());
        self.prior = thought;
        self.moved = true;
    }

    /// Forgets what was learned.
    pub fn reset(&mut self) {
        self.estimator = estimator(None, self.promised, self.batching.is_some());
        self.prior = None;
        self.moved = true;
    }
}

fn estimator(
    prior: Option<&(Profile, u64)>,
    promised: Option<(f64, f64)>,
    batches: bool,
) -> SessionEstimator {
    let weighed = prior.map(|(profile, samples)| (profile, (*samples as f64).min(PRIOR_SAMPLES_MAX)));
    let quantile = promised.map(|(quantile, _)| quantile);
    if batches {
        SessionEstimator::batching(weighed, quantile)
    } else {
        SessionEstimator::new(weighed, quantile)
    }
}

/// Before anything was learned of it, running together gains nothing.
fn together(profile: &Profile, asked: Batching) -> Option<profile::Batching> {
    let per_item = Seconds::clamped(profile.service.mean());
    let known = profile.batching.map(|known| (known.fixed, known.per_item));
    let (fixed, per_item) = known.unwrap_or((Seconds::ZERO, per_item));
    let delay_max = Seconds::clamped(asked.delay_max_ms.unwrap_or(0.0) / 1e3);
    Some(profile::Batching { size_max: NonZeroU32::new(asked.size_max)?, fixed, per_item, delay_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(ms: f64) -> Profile {
        Profile::new(ServiceTime::constant(Seconds::from_ms(ms).unwrap()))
    }

    fn mean_ms(live: &Live) -> f64 {
        live.profile(runtime::Memory::default()).unwrap().service.mean() * 1e3
    }

    #[test]
    fn in_a_power_mode_that_is_known_a_session_costs_what_it_cost_there() {
        let mut live = Live::new(Some((profile(5.0), 50)), &Terms::default());
        live.begin_anew(Some((profile(9.0), 30)));
        assert!((mean_ms(&live) - 9.0).abs() < 1e-9);
        assert_eq!(live.samples(), 30);
        assert!(live.take_moved() && !live.take_moved(), "everybody is looked at again, once");
    }

    #[test]
    fn in_an_unknown_power_mode_the_old_cost_stands_until_the_first_sample_and_counts_for_nothing() {
        let mut live = Live::new(Some((profile(5.0), 50)), &Terms::default());
        live.begin_anew(None);
        assert!((mean_ms(&live) - 5.0).abs() < 1e-9);
        assert_eq!(live.samples(), 0, "nothing was seen there");
    }
}
