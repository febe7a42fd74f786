//! A token bucket.
//!
//! Kept as the time at which it will be full again (the "theoretical arrival time" of the generic cell rate algorithm,
//! ITU-T I.371): the same admissions as counting tokens, from one number that needs no refilling.

use crate::terms::Terms;

/// Rounding that a strictly periodic session is forgiven, in tokens.
const SLACK: f64 = 1e-6;

/// Tokens of one session; full at the start.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Time in which one token comes.
    period: f64,
    /// How far ahead of now the bucket may become full for a token to be there now.
    tolerance: f64,
    full_at: f64,
}

impl Bucket {
    pub(super) fn new(terms: &Terms) -> Self {
        let period = 1.0 / terms.rate.get();
        let more = f64::from(terms.burst.max(1) - 1);
        Self { period, tolerance: period * (more + SLACK), full_at: f64::NEG_INFINITY }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: f64) -> bool {
        let conforms = self.full_at - now <= self.tolerance;
        if conforms {
            self.full_at = self.full_at.max(now) + self.period;
        }
        conforms
    }

    /// Counts time from `by` later.
    pub(super) fn shift(&mut self, by: f64) {
        self.full_at -= by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Hertz;

    fn bucket(rate: f64, burst: u32) -> Bucket {
        Bucket::new(&Terms { burst, ..Terms::poisson(Hertz::new(rate).unwrap(), None) })
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = bucket(10.0, 3);
        let taken: Vec<_> = [0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.1, 0.2, 9.0, 9.0, 9.0, 9.0]
            .iter()
            .map(|&now| u8::from(bucket.take(now)))
            .collect();
        assert_eq!(taken, [1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn the_declared_period_always_conforms() {
        for rate in [3.0, 29.97, 1e6] {
            let mut bucket = bucket(rate, 1);
            let mut now = 0.3;
            for _ in 0..1_000_000 {
                assert!(bucket.take(now), "{rate} at {now}");
                now += 1.0 / rate;
            }
        }
    }
}
