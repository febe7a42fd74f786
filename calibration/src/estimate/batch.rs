//! What requests that run together take: a part whatever their number, and a part for each.
//!
//! A line is fitted by least squares, with a little doubt that there is a fixed part at all: where only one size was seen,
//! running together is not taken to gain anything.

use super::is_time;
use crate::profile::Profile;
use crate::units::Seconds;

/// Inferences after which one weighs 1/e of a new one.
const MEMORY: f64 = 500.0;
/// An inference counts at most as so many times what was expected of it.
const TIMES_MAX: f64 = 3.0;
/// What is left of the weight of those before a change.
const AFTER_CHANGE: f64 = 0.02;
/// Of how many inferences the doubt is worth.
const DOUBT: f64 = 0.01;

/// Learns what inferences of several requests of one session take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchEstimator {
    /// Σw, Σw·n, Σw·n².
    sizes: [f64; 3],
    /// Σw·x, Σw·n·x.
    times: [f64; 2],
    rejected: u64,
}

impl BatchEstimator {
    /// Begins with a prior that weighs as much as some inferences.
    #[must_use]
    pub fn new(prior: Option<(&Profile, f64)>) -> Self {
        let mut new = Self::default();
        if let Some((profile, weight)) = prior.filter(|(_, weight)| *weight > 0.0) {
            let alone = profile.service.mean();
            let (fixed, each, most) = profile.batching.map_or((0.0, alone, 1.0), |batching| {
                let most = f64::from(batching.size_max.get());
                (batching.fixed.get(), batching.per_item.get(), most)
            });
            new.add(1.0, fixed + each, weight.min(MEMORY) / 2.0);
            new.add(most, fixed + each * most, weight.min(MEMORY) / 2.0);
        }
        new
    }

    /// An inference of `size` requests took `service` s, reloads aside.
    pub fn observe(&mut self, size: u32, service: f64) {
        if size == 0 || !is_time(service) || service == 0.0 {
            self.rejected += 1;
            return;
        }
        let most = TIMES_MAX * self.expected(size).unwrap_or(f64::INFINITY);
        self.scale(1.0 - 1.0 / MEMORY);
        self.add(f64::from(size), service.min(most), 1.0);
    }

    /// All takes `factor` times as long from now on: what was seen so far is all but forgotten.
    pub(super) fn changed(&mut self, factor: f64) {
        self.scale(AFTER_CHANGE);
        self.times.iter_mut().for_each(|sum| *sum *= factor);
    }

    /// What an inference of `size` requests takes, s; none before the first.
    #[must_use]
    pub fn expected(&self, size: u32) -> Option<f64> {
        self.line().map(|(fixed, each)| fixed + each * f64::from(size))
    }

    /// Time in s that does not depend on the size, and time that each request adds; none before the first.
    #[must_use]
    pub fn line(&self) -> Option<(f64, f64)> {
        let ([count, size, square], [time, product]) = (self.sizes, self.times);
        if count <= 0.0 {
            return None;
        }
        let doubt = count + DOUBT * count.min(1.0);
        let determinant = doubt * square - size * size;
        let (fixed, each) =
            ((time * square - product * size) / determinant, (doubt * product - size * time) / determinant);
        // Neither is negative: the other alone fits best then.
        if fixed <= 0.0 {
            Some((0.0, product / square))
        } else if each <= 0.0 {
            Some((time / count, 0.0))
        } else {
            Some((fixed, each))
        }
    }

    /// Numbers that were passed over because they are no times or no sizes.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Writes what was learned over the times of a profile, whose service time becomes that of one request alone and keeps
    /// its relative spread.
    pub(super) fn apply(&self, profile: &mut Profile) {
        let Some((fixed, each)) = self.line() else { return };
        let mean = profile.service.mean();
        if mean > 0.0 {
            profile.service = profile.service.scaled((fixed + each) / mean);
        }
        if let Some(batching) = &mut profile.batching {
            (batching.fixed, batching.per_item) = (Seconds::clamped(fixed), Seconds::clamped(each));
        }
    }

    fn add(&mut self, size: f64, service: f64, weight: f64) {
        for (sum, value) in self.sizes.iter_mut().zip([1.0, size, size * size]) {
            *sum += weight * value;
        }
        for (sum, value) in self.times.iter_mut().zip([service, size * service]) {
            *sum += weight * value;
        }
    }

    fn scale(&mut self, factor: f64) {
        self.sizes.iter_mut().chain(&mut self.times).for_each(|sum| *sum *= factor);
    }
}
