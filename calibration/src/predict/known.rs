//! How far each method is known to be off.

use crate::simulate::Observed;
use crate::terms::Statistic;

/// Relative errors, as fractions: the worst seen against the simulator, rounded up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownError {
    /// Of the mean.
    pub mean: f64,
    /// Of p95, and of quantiles up to there.
    pub p95: f64,
    /// Of p99, and of quantiles beyond p95.
    pub p99: f64,
}

impl KnownError {
    /// Nothing.
    pub(super) const NONE: Self = Self { mean: 0.0, p95: 0.0, p99: 0.0 };
    /// What a prediction may be off; a formula that is worse is not used where a simulation is allowed.
    pub const PROMISED: Self = Self { mean: 0.02, p95: 0.03, p99: 0.06 };

    /// [`super::Formula::FirstCome`] where every session is a reload group of its own, or nothing reloads.
    pub(super) const FIRST_COME: Self = Self { mean: 0.005, p95: 0.005, p99: 0.01 };
    /// [`super::Formula::FirstCome`] with groups of several sessions: after a rare outsider they all reload one after the
    /// other, which the formula spreads out.
    pub(super) const GROUPS: Self = Self { mean: 0.06, p95: 0.2, p99: 0.2 };
    /// [`super::Formula::Sharing`].
    pub(super) const SHARING: Self = Self { mean: 0.005, p95: 0.015, p99: 0.02 };
    /// Where a formula is only near: no promise.
    pub(super) const GUESS: Self = Self { mean: 1.0, p95: 1.0, p99: 1.0 };

    /// The same with gamma quantiles instead of the exact ones.
    pub(super) const SHARING_QUICK: Self = Self { mean: 0.005, p95: 0.4, p99: 0.18 };
    /// What other stages add, by the probability that a request is held up there.
    pub(super) fn stages(contention: f64) -> Self {
        if contention <= 0.02 { Self { mean: 0.01, p95: 0.02, p99: 0.02 } } else { Self::GUESS }
    }

    /// Whether no error is above the other's.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        self.mean <= other.mean && self.p95 <= other.p95 && self.p99 <= other.p99
    }

    /// Of a statistic.
    #[must_use]
    pub fn of(self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Mean => self.mean,
            Statistic::Quantile(q) if q.get() <= 0.95 => self.p95,
            Statistic::Quantile(_) => self.p99,
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { mean: self.mean.max(other.mean), p95: self.p95.max(other.p95), p99: self.p99.max(other.p99) }
    }

    /// One error on top of another.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { mean: self.mean + other.mean, p95: self.p95 + other.p95, p99: self.p99 + other.p99 }
    }
}

/// Three standard errors of a session's figures.
pub(super) fn of_simulation(seen: &Observed) -> KnownError {
    // A session without enough requests is known to no precision at all.
    let relative = |error: f64, value: f64| if error.is_finite() { 3.0 * error / value } else { 1.0 };
    KnownError {
        mean: relative(seen.errors.mean, seen.sojourn.mean()),
        p95: relative(seen.errors.p95, seen.sojourn.quantile(0.95)),
        p99: relative(seen.errors.p99, seen.sojourn.quantile(0.99)),
    }
}
