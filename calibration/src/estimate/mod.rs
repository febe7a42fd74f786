//! What is learned from requests as they are answered: cost, arrivals, latency, and how far the prediction is off.
//!
//! Everything here is constant in time and memory for each request. Times are seconds as `f64` on a clock of the caller's;
//! numbers that are none (negative, infinite, not a number) are passed over.
//!
//! | type | what it learns |
//! |---|---|
//! | [`SessionEstimator`] | all of one session: the next five, and its time outside queue and device |
//! | [`ServiceEstimator`], [`Drift`] | service time and reload overhead, and when they change at once |
//! | [`BatchEstimator`] | what several requests take together |
//! | [`ArrivalEstimator`] | rate and regularity of arrivals |
//! | [`Observed`] | the last latencies |
//! | [`Margin`] | how far the promised quantile is off |
//! | [`SpeedUpEstimator`], [`Presence`] | of one device: how requests in service slow one another down, and how sure that is |

mod arrivals;
mod batch;
mod drift;
mod margin;
mod moments;
mod observed;
mod presence;
mod service;
mod speed_up;

use crate::profile::Profile;

use moments::Moments;

pub use arrivals::ArrivalEstimator;
pub use batch::BatchEstimator;
pub use drift::Drift;
pub use margin::Margin;
pub use observed::Observed;
pub use presence::{Presence, Start, Stay, TOGETHER_MAX};
pub use service::ServiceEstimator;
pub use speed_up::SpeedUpEstimator;

/// Samples by which the time outside queue and device is smoothed.
const PATH_SAMPLES: f64 = 200.0;
/// A request had the device to itself if it took at most this part longer than its work.
const ALONE: f64 = 0.02;

/// One answered request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completed {
    /// From its arrival to its start on the device, s.
    pub waited: f64,
    /// On the device, s.
    pub occupied: f64,
    /// What it would have taken with the device to itself and its parameters in place, s.
    pub work_alone: f64,
    /// The part of its time on the device that reloaded parameters, s.
    pub reload: f64,
    /// From its arrival to its answer, s.
    pub sojourn: f64,
    /// Within its session's terms.
    pub conforming: bool,
}

/// All that is learned of one session.
#[derive(Clone, Debug)]
pub struct SessionEstimator {
    /// Of sessions that batch, relative to what is expected of an inference of its size.
    service: ServiceEstimator,
    batch: Option<BatchEstimator>,
    /// Mean of those that had the device to themselves, s, and how many there were.
    alone: (f64, f64),
    arrivals: ArrivalEstimator,
    /// Time outside queue and device, s.
    path: Moments,
    observed: Observed,
    margin: Option<Margin>,
    last: Option<f64>,
    rejected: u64,
}

impl SessionEstimator {
    /// Begins with a prior that weighs as much as some samples, and for a session that is promised a quantile, above 0 and
    /// below 1, with a margin for that.
    #[must_use]
    pub fn new(prior: Option<(&Profile, f64)>, quantile: Option<f64>) -> Self {
        Self {
            alone: prior.map_or((0.0, 0.0), |(profile, weight)| (profile.service.mean(), weight)),
            service: ServiceEstimator::new(prior),
            batch: None,
            arrivals: ArrivalEstimator::default(),
            path: Moments::default(),
            observed: Observed::default(),
            margin: quantile.map(Margin::new),
            last: None,
            rejected: 0,
        }
    }

    /// The same for a session whose requests may run together.
    #[must_use]
    pub fn batching(prior: Option<(&Profile, f64)>, quantile: Option<f64>) -> Self {
        let prior = prior.filter(|(profile, _)| profile.service.mean() > 0.0);
        let relative = prior.map(|(profile, weight)| {
            let service = profile.service.scaled(1.0 / profile.service.mean());
            (Profile { service, ..profile.clone() }, weight)
        });
        let relative = relative.as_ref().map(|(profile, weight)| (profile, *weight));
        Self {
            service: ServiceEstimator::new(relative),
            batch: Some(BatchEstimator::new(prior)),
            ..Self::new(prior, quantile)
        }
    }

    /// A request arrived.
    pub fn arrived(&mut self, now: f64) {
        self.arrivals.arrived(now);
    }

    /// A request was answered; `predicted` is the quantile that was predicted then, s. Says if the service time has
    /// changed at once.
    pub fn completed(&mut self, now: f64, seen: Completed, predicted: Option<f64>) -> Option<Drift> {
        self.completed_together(now, 1, seen, predicted)
    }

    /// The same of the first of `size` requests that ran together, whose times are those of the whole inference.
    pub fn completed_together(
        &mut self,
        now: f64,
        size: u32,
        seen: Completed,
        predicted: Option<f64>,
    ) -> Option<Drift> {
        if now.is_finite() {
            self.last = Some(now);
        }
        let Completed { waited, occupied, work_alone, reload, sojourn, conforming } = seen;
        if [waited, occupied, sojourn].into_iter().all(is_time) {
            let path = (sojourn - waited - occupied).max(0.0);
            self.path.add(path.min(self.path.most()), PATH_SAMPLES);
        }
        if work_alone > 0.0 && (occupied - reload - work_alone).abs() <= ALONE * occupied {
            self.alone.1 = (self.alone.1 + 1.0).min(PATH_SAMPLES);
            self.alone.0 += (work_alone - self.alone.0) / self.alone.1;
        }
        self.answered(sojourn, conforming, predicted);
        let Some(batch) = &mut self.batch else { return self.service.observe(work_alone, reload) };
        batch.observe(size, work_alone);
        let drift = self.service.observe(work_alone / batch.expected(size).unwrap_or(1.0), reload);
        if let Some(Drift { factor }) = drift {
            batch.changed(factor);
            self.service.divide(factor);
        }
        drift
    }

    /// A request was answered whose time on the device tells nothing of its own.
    pub fn answered(&mut self, sojourn: f64, conforming: bool, predicted: Option<f64>) {
        if !is_time(sojourn) {
            self.rejected += 1;
        }
        if !conforming || !is_time(sojourn) {
            return;
        }
        self.observed.record(sojourn);
        if let (Some(margin), Some(predicted)) = (&mut self.margin, predicted) {
            margin.observe(sojourn, predicted);
        }
    }

    /// A reload of parameters took so long, s; nothing else of that request is to be learned from.
    pub fn reloaded(&mut self, reload: f64) {
        self.service.reloaded(reload);
    }

    /// Writes what was learned over a profile's service time, reload overhead, times of batches and uncertainty.
    pub fn apply(&self, profile: &mut Profile) {
        self.service.apply(profile);
        if let Some(batch) = &self.batch {
            batch.apply(profile);
        }
    }

    /// Samples that the service time rests on, a prior's weight among them; those forgotten count no more.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.service.samples()
    }

    /// Mean service time of requests that had the device to themselves, s; 0 before the first.
    #[must_use]
    pub fn alone(&self) -> f64 {
        self.alone.0
    }

    /// Arrivals per second lately; falls off while none come.
    #[must_use]
    pub fn rate(&self, now: f64) -> f64 {
        self.arrivals.rate(now)
    }

    /// Relative standard error of the rate, 0 to 1.
    #[must_use]
    pub fn rate_error(&self) -> f64 {
        self.arrivals.rate_error()
    }

    /// Squared coefficient of variation of the time between arrivals: 1 is Poisson.
    #[must_use]
    pub fn arrival_scv(&self) -> f64 {
        self.arrivals.scv()
    }

    /// Mean time outside queue and device, s; 0 before the first.
    #[must_use]
    pub fn path_mean(&self) -> f64 {
        self.path.mean().unwrap_or(0.0)
    }

    /// Relative standard error of that, 0 to 1.
    #[must_use]
    pub fn path_error(&self) -> f64 {
        self.path.error()
    }

    /// Numbers that were passed over because they are no times.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        let batch = self.batch.as_ref().map_or(0, BatchEstimator::rejected);
        self.rejected + self.service.rejected() + batch + self.arrivals.rejected()
    }

    /// Latencies lately, of requests within the terms.
    #[must_use]
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// How far the prediction falls short; none without a promised quantile.
    #[must_use]
    pub fn margin(&self) -> Option<&Margin> {
        self.margin.as_ref()
    }

    /// Time since the last answer, s; none before the first.
    #[must_use]
    pub fn age(&self, now: f64) -> Option<f64> {
        self.last.map(|last| (now - last).max(0.0))
    }
}

fn is_time(seconds: f64) -> bool {
    // Written so that NaN is none.
    (0.0..=1e6).contains(&seconds)
}
