//! Mean, spread and how sure they are, with exponential forgetting.

/// A sample counts at most as the mean and so many standard deviations. An honest exponential or lognormal time of the
/// same spread is beyond that less than three times in a thousand, which takes less than 1 % off its mean.
const DEVIATIONS_MAX: f64 = 7.0;
/// But as so many times the mean, where there is hardly any spread.
const TIMES_MAX: f64 = 3.0;
/// Relative standard error of what was seen less than twice.
const UNKNOWN: f64 = 0.3;

/// Σw, Σw², and Σw·xᵏ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    weight: f64,
    weight_squared: f64,
    sums: [f64; 3],
}

impl Moments {
    /// Of a prior that weighs as much as so many samples.
    pub(super) fn prior(moments: [f64; 3], weight: f64) -> Self {
        Self { weight, weight_squared: weight, sums: moments.map(|moment| moment * weight) }
    }

    /// A sample of now weighs e times one of `memory` samples ago.
    pub(super) fn add(&mut self, value: f64, memory: f64) {
        let kept = 1.0 - 1.0 / memory;
        self.weight = self.weight * kept + 1.0;
        self.weight_squared = self.weight_squared * kept * kept + 1.0;
        for (power, sum) in self.sums.iter_mut().enumerate() {
            *sum = *sum * kept + value.powi(power as i32 + 1);
        }
    }

    /// The same in a unit `by` times as large.
    pub(super) fn divide(&mut self, by: f64) {
        for (power, sum) in self.sums.iter_mut().enumerate() {
            *sum /= by.powi(power as i32 + 1);
        }
    }

    /// As many samples as it rests on; those forgotten count no more.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// Raw moments; none before the first sample.
    pub(super) fn raw(&self) -> Option<[f64; 3]> {
        (self.weight > 0.0).then(|| self.sums.map(|sum| sum / self.weight))
    }

    /// None before the first sample.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sums[0] / self.weight)
    }

    /// None before the first sample.
    pub(super) fn mean_and_deviation(&self) -> Option<(f64, f64)> {
        let [m1, m2, _] = self.raw()?;
        Some((m1, (m2 - m1 * m1).max(0.0).sqrt()))
    }

    /// As how much a sample counts at most; without bound before there is a mean.
    pub(super) fn most(&self) -> f64 {
        match self.mean_and_deviation() {
            Some((mean, deviation)) if mean > 0.0 => {
                (mean + DEVIATIONS_MAX * deviation).max(TIMES_MAX * mean)
            }
            _ => f64::INFINITY,
        }
    }

    /// As many samples of equal weight as would be as sure.
    pub(super) fn effective(&self) -> f64 {
        if self.weight_squared > 0.0 { self.weight * self.weight / self.weight_squared } else { 0.0 }
    }

    /// Relative standard error of the mean, at most 1.
    pub(super) fn error(&self) -> f64 {
        match self.mean_and_deviation() {
            Some((mean, deviation)) if mean > 0.0 && self.effective() >= 2.0 => {
                (deviation / mean / self.effective().sqrt()).min(1.0)
            }
            _ => UNKNOWN,
        }
    }
}
