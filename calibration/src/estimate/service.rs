//! A session's service time and reload overhead, from samples.

use super::drift::{Cusum, Drift};
use super::is_time;
use super::moments::Moments;
use crate::profile::{Profile, Reload};
use crate::service::ServiceTime;
use crate::units::{Scv, Seconds};

/// Samples after which one weighs 1/e of a new one.
const MEMORY: f64 = 500.0;
/// Beyond so many times what a sample counts at most ([`Moments::most`]) it is a fault, not a service time, and left out:
/// an honest lognormal time of cv 1 is there twice in a hundred thousand, which takes less than 0.1 % off its mean.
const FAULT_TIMES: f64 = 3.0;
/// But if more than this part of the samples is beyond, they are what service is like.
const FAULTS_MAX: f64 = 0.02;
/// Among the few that estimates start from, what is beyond so many medians is a fault,
const FAULT_MEDIANS: f64 = 20.0;
/// if there are no more of it than this.
const FAULTS_AT_START: usize = 3;
/// The recent samples from which estimates start again after a change.
const RECENT: usize = 64;
/// Spread below which a service time is taken to be constant.
const SCV_MIN: f64 = 1e-4;
/// Samples with which an estimate without a prior is first cleared of faults.
const START: usize = 8;

/// Learns what inferences of one session take on the device.
#[derive(Clone, Debug)]
pub struct ServiceEstimator {
    moments: Moments,
    reload: Moments,
    memory: f64,
    /// Part of the samples that was left out lately.
    faults: f64,
    cusum: Cusum,
    recent: [f64; RECENT],
    /// Samples, of which the last are kept.
    seen: usize,
    /// Does the estimate begin elsewhere than at the first sample, by a prior or after a change?
    begun: bool,
    rejected: u64,
}

impl ServiceEstimator {
    /// Begins with a prior that weighs as much as some samples.
    #[must_use]
    pub fn new(prior: Option<(&Profile, f64)>) -> Self {
        let (mut moments, mut reload) = (Moments::default(), Moments::default());
        if let Some((profile, weight)) = prior.filter(|(_, weight)| *weight > 0.0) {
            let weight = weight.min(MEMORY);
            moments = Moments::prior(profile.service.moments(), weight);
            if let Some(known) = profile.reload {
                let overhead = known.overhead.get();
                reload = Moments::prior([overhead, overhead.powi(2), overhead.powi(3)], weight);
            }
        }
        let begun = moments.weight() > 0.0;
        Self {
            moments,
            reload,
            memory: MEMORY,
            faults: 0.0,
            cusum: Cusum::default(),
            recent: [0.0; RECENT],
            seen: 0,
            begun,
            rejected: 0,
        }
    }

    /// The same that forgets otherwise: a sample weighs 1/e of a new one after `samples`, 10 to 10⁶; 500 unless said.
    #[must_use]
    pub fn with_memory(self, samples: f64) -> Self {
        Self { memory: if samples.is_nan() { MEMORY } else { samples.clamp(10.0, 1e6) }, ..self }
    }

    /// One inference took `service` s, reloads aside, and `reload` s to reload parameters; 0 if they were in place.
    pub fn observe(&mut self, service: f64, reload: f64) -> Option<Drift> {
        self.reloaded(reload);
        if !is_time(service) || service == 0.0 {
            self.rejected += 1;
            return None;
        }
        self.recent[self.seen % RECENT] = service;
        self.seen += 1;
        let Some((mean, deviation)) = self.moments.mean_and_deviation() else {
            self.moments.add(service, self.memory);
            return None;
        };
        let samples = self.moments.effective();
        let most = self.moments.most();
        let faults = self.faults + (f64::from(service > FAULT_TIMES * most) - self.faults) / self.memory;
        if service <= FAULT_TIMES * most || faults > FAULTS_MAX {
            self.moments.add(service.min(most), self.memory);
        }
        self.faults = faults;
        // The first of all may be one that was slow for reasons that do not come back.
        if !self.begun && self.seen <= RECENT && self.seen.is_power_of_two() && self.seen >= START {
            self.start_from(self.seen);
        }
        let since = self.cusum.observe(service, mean, deviation, samples)?;
        Some(self.start_again(since, mean))
    }

    /// A reload took so long, s; 0 is none.
    pub(super) fn reloaded(&mut self, reload: f64) {
        if !is_time(reload) {
            self.rejected += 1;
        } else if reload > 0.0 {
            self.reload.add(reload.min(self.reload.most()), self.memory);
        }
    }

    /// Service times are counted in a unit `by` times as large from now on.
    pub(super) fn divide(&mut self, by: f64) {
        self.moments.divide(by);
        self.recent.iter_mut().for_each(|sample| *sample /= by);
    }

    /// Forgets all but the samples since the change.
    fn start_again(&mut self, since: usize, before: f64) -> Drift {
        self.start_from(since.clamp(1, RECENT.min(self.seen)));
        self.begun = true;
        self.cusum = Cusum::default();
        let after = self.mean().unwrap_or(before);
        Drift { factor: after / before }
    }

    /// Starts from the last `kept` samples alone, without faults.
    fn start_from(&mut self, kept: usize) {
        let mut last = [0.0; RECENT];
        let last = &mut last[..kept];
        for (back, sample) in last.iter_mut().rev().enumerate() {
            *sample = self.recent[(self.seen - 1 - back) % RECENT];
        }
        let mut sorted = [0.0; RECENT];
        let sorted = &mut sorted[..kept];
        sorted.copy_from_slice(last);
        sorted.sort_unstable_by(f64::total_cmp);
        let fault = FAULT_MEDIANS * sorted[kept / 2];
        let faults = sorted.iter().filter(|&&sample| sample > fault).count();
        let most = if faults <= FAULTS_AT_START { fault } else { f64::INFINITY };
        self.moments = Moments::default();
        for &sample in last.iter().filter(|&&sample| sample <= most) {
            self.moments.add(sample, self.memory);
        }
        self.faults = 0.0;
    }

    /// Samples that the estimate rests on, a prior's weight among them; those forgotten count no more.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.moments.weight().round() as u64
    }

    /// Numbers that were passed over: service times of 0, and what is no time at all.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Mean service time, s; none before the first sample.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.moments.mean()
    }

    /// Writes what was learned over a profile's service time, reload overhead and uncertainty.
    pub fn apply(&self, profile: &mut Profile) {
        if let Some(raw) = self.moments.raw() {
            profile.service = of_moments(raw);
            profile.uncertainty.service = self.moments.error();
        }
        if let Some(overhead) = self.reload.mean() {
            let group = profile.reload.and_then(|reload| reload.group);
            profile.reload = Some(Reload { overhead: Seconds::clamped(overhead), group });
            profile.uncertainty.reload = self.reload.error();
        }
    }
}

/// The service time of these raw moments, or of the first two where the third fits none.
fn of_moments([m1, m2, m3]: [f64; 3]) -> ServiceTime {
    let scv = (m2 / (m1 * m1) - 1.0).max(0.0);
    let mean = Seconds::clamped(m1);
    match Scv::new(scv) {
        Ok(known) if scv > SCV_MIN => {
            ServiceTime::from_moments(m1, m2, m3).unwrap_or_else(|_| ServiceTime::gamma(mean, known))
        }
        _ => ServiceTime::constant(mean),
    }
}
