//! Rate and regularity of arrivals.

use super::is_time;
use super::moments::Moments;

/// Gaps after which one weighs 1/e of a new one.
const MEMORY: f64 = 200.0;
/// A gap counts at most as so many mean ones, or as all that are remembered together: a night without requests is no gap
/// between arrivals, but the pauses of bursts are.
const PAUSE_MIN: f64 = 32.0;

/// Learns how requests arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArrivalEstimator {
    last: Option<f64>,
    gaps: Moments,
    rejected: u64,
}

impl ArrivalEstimator {
    /// A request arrived, at `now` s.
    pub fn arrived(&mut self, now: f64) {
        if !now.is_finite() {
            self.rejected += 1;
            return;
        }
        let gap = self.last.map(|last| now - last);
        self.last = Some(now);
        if let Some(gap) = gap.filter(|&gap| is_time(gap)) {
            let pause = match self.gaps.mean() {
                Some(mean) if mean > 0.0 => mean * self.gaps.weight().max(PAUSE_MIN),
                _ => f64::INFINITY,
            };
            self.gaps.add(gap.min(pause), MEMORY);
        }
    }

    /// Numbers that were passed over because they are no times.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Arrivals per second lately. While none come it falls off; 0 before the second.
    #[must_use]
    pub fn rate(&self, now: f64) -> f64 {
        let (Some(last), Some(mean)) = (self.last, self.gaps.mean()) else { return 0.0 };
        let gap = mean.max(now - last);
        if gap > 0.0 { 1.0 / gap } else { 0.0 }
    }

    /// Relative standard error of the rate, 0 to 1, if it has not changed.
    #[must_use]
    pub fn rate_error(&self) -> f64 {
        self.gaps.error()
    }

    /// Squared coefficient of variation of the time between arrivals: 1 is Poisson, 0 strictly periodic; 1 before there is
    /// anything to tell.
    #[must_use]
    pub fn scv(&self) -> f64 {
        match self.gaps.mean_and_deviation() {
            Some((mean, deviation)) if self.gaps.weight() >= 2.0 && mean > 0.0 => (deviation / mean).powi(2),
            _ => 1.0,
        }
    }
}
