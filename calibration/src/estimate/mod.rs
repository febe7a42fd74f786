//! What is learned from requests as they are answered: cost, arrivals, latency, and how far the prediction is off.
//!
//! Everything here is constant in time and memory for each request. Times are seconds as `f64` on a clock of the caller's;
//! numbers that are none (negative, infinite, not a number) are passed over.
//!
//! | type | what it learns |
//! |---|---|
//! | [`SessionEstimator`] | all of one session: the next four, and its time outside queue and device |
//! | [`ServiceEstimator`], [`Drift`] | service time and reload overhead, and when they change at once |
//! | [`ArrivalEstimator`] | rate and regularity of arrivals |
//! | [`Observed`] | the last latencies |
//! | [`Margin`] | how far the promised quantile is off |
//! | [`SpeedUpEstimator`], [`Presence`] | of one device: how requests in service slow one another down, and how sure that is |
//! | [`Trajectory`] | what each of them would have taken alone; a quick curve of its own, good where service hardly varies |

mod arrivals;
mod drift;
mod margin;
mod observed;
mod presence;
mod service;
mod speed_up;
mod together;

use crate::profile::Profile;

pub use arrivals::ArrivalEstimator;
pub use drift::Drift;
pub use margin::Margin;
pub use observed::Observed;
pub use presence::{Presence, Start, Stay, TOGETHER_MAX};
pub use service::ServiceEstimator;
pub use speed_up::Trajectory;
pub use together::SpeedUpEstimator;

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
    service: ServiceEstimator,
    /// Mean of those that had the device to themselves, s, and how many there were.
    alone: (f64, f64),
    arrivals: ArrivalEstimator,
    /// Mean of the time outside queue and device, s, and how many it rests on.
    path: (f64, f64),
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
            arrivals: ArrivalEstimator::default(),
            path: (0.0, 0.0),
            observed: Observed::default(),
            margin: quantile.map(Margin::new),
            last: None,
            rejected: 0,
        }
    }

    /// A request arrived.
    pub fn arrived(&mut self, now: f64) {
        self.arrivals.arrived(now);
    }

    /// A request was answered; `predicted` is the quantile that was predicted then, s. Says if the service time has
    /// changed at once.
    pub fn completed(&mut self, now: f64, seen: Completed, predicted: Option<f64>) -> Option<Drift> {
        if now.is_finite() {
            self.last = Some(now);
        }
        let Completed { waited, occupied, work_alone, reload, sojourn, conforming } = seen;
        if [waited, occupied, sojourn].into_iter().all(is_time) {
            self.path.1 = (self.path.1 + 1.0).min(PATH_SAMPLES);
            self.path.0 += ((sojourn - waited - occupied).max(0.0) - self.path.0) / self.path.1;
        }
        if work_alone > 0.0 && (occupied - reload - work_alone).abs() <= ALONE * occupied {
            self.alone.1 = (self.alone.1 + 1.0).min(PATH_SAMPLES);
            self.alone.0 += (work_alone - self.alone.0) / self.alone.1;
        }
        self.answered(sojourn, conforming, predicted);
        self.service.observe(work_alone, reload)
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

    /// Writes what was learned over a profile's service time, reload overhead and uncertainty.
    pub fn apply(&self, profile: &mut Profile) {
        self.service.apply(profile);
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

    /// Squared coefficient of variation of the time between arrivals: 1 is Poisson.
    #[must_use]
    pub fn arrival_scv(&self) -> f64 {
        self.arrivals.scv()
    }

    /// Mean time outside queue and device, s.
    #[must_use]
    pub fn path_mean(&self) -> f64 {
        self.path.0
    }

    /// Numbers that were passed over because they are no times.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected + self.service.rejected() + self.arrivals.rejected()
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
