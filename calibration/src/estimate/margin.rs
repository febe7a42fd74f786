//! How much a predicted quantile has to be lengthened so that it covers what is seen.
//!
//! Adaptive conformal inference (Gibbs and Candès, *Adaptive Conformal Inference Under Distribution Shift*, 2021) of the ratio
//! of observed to predicted: a request beyond the lengthened quantile lengthens it more, one within shortens it a little, so
//! that in the long run the promised share is within, whatever the prediction is worth.

use super::is_time;

/// Step in the logarithm of the factor.
const STEP: f64 = 0.02;
/// Requests after which one weighs 1/e of a new one in what is said of late.
const MEMORY: f64 = 1000.0;
/// Largest factor.
const FACTOR_MAX: f64 = 10.0;

/// The margin of one quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    quantile: f64,
    /// Logarithm of the factor.
    log: f64,
    within: u64,
    all: u64,
    /// Of those lately, by weight: within the prediction, and all.
    lately: (f64, f64),
    rejected: u64,
}

impl Margin {
    /// For a quantile above 0 and below 1.
    #[must_use]
    pub fn new(quantile: f64) -> Self {
        Self {
            quantile: quantile.clamp(0.0, 1.0),
            log: 0.0,
            within: 0,
            all: 0,
            lately: (0.0, 0.0),
            rejected: 0,
        }
    }

    /// A request took `sojourn` s, `predicted` s being the quantile.
    pub fn observe(&mut self, sojourn: f64, predicted: f64) {
        if !(predicted > 0.0 && predicted.is_finite() && is_time(sojourn)) {
            self.rejected += 1;
            return;
        }
        let within = sojourn <= predicted;
        self.all += 1;
        self.within += u64::from(within);
        let kept = 1.0 - 1.0 / MEMORY;
        self.lately = (self.lately.0 * kept + f64::from(within), self.lately.1 * kept + 1.0);
        let missed = if sojourn > predicted * self.factor() { 1.0 } else { 0.0 };
        self.log = (self.log + STEP * (missed - (1.0 - self.quantile))).clamp(0.0, FACTOR_MAX.ln());
    }

    /// By how much the prediction is to be lengthened, 1 to 10.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.log.exp()
    }

    /// The share of requests that were no longer than predicted, without the margin; 0 before the first.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.within as f64 / self.all as f64 }
    }

    /// The same lately, over about a thousand requests.
    #[must_use]
    pub fn recent_coverage(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.lately.0 / self.lately.1 }
    }

    /// Pairs that were passed over because they are no times.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}
