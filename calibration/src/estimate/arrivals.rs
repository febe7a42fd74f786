//! Rate and regularity of arrivals.

use super::is_time;

/// Gaps after which one weighs 1/e of a new one.
const MEMORY: f64 = 200.0;

/// Learns how requests arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ArrivalEstimator {
    last: Option<f64>,
    weight: f64,
    sum: f64,
    squares: f64,
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
            let kept = 1.0 - 1.0 / MEMORY;
            self.weight = self.weight * kept + 1.0;
            self.sum = self.sum * kept + gap;
            self.squares = self.squares * kept + gap * gap;
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
        let Some(last) = self.last.filter(|_| self.weight > 0.0) else { return 0.0 };
        let gap = (self.sum / self.weight).max(now - last);
        if gap > 0.0 { 1.0 / gap } else { 0.0 }
    }

    /// Squared coefficient of variation of the time between arrivals: 1 is Poisson, 0 strictly periodic; 1 before there is
    /// anything to tell.
    #[must_use]
    pub fn scv(&self) -> f64 {
        if self.weight < 2.0 || self.sum <= 0.0 {
            return 1.0;
        }
        let mean = self.sum / self.weight;
        (self.squares / self.weight / (mean * mean) - 1.0).max(0.0)
    }
}
