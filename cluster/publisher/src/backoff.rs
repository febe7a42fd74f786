//! How long to wait after a failure: longer each time, up to a limit, and never in step with others.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest, however often it has failed: a cluster that comes back hears of every node within this time.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It failed once more; how long to wait. `share` in [0, 1) is by chance, so that a thousand nodes that lost their API
    /// server at the same moment do not come back at the same moment.
    pub fn failed(&mut self, share: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(LONGEST);
        whole / 2 + (whole / 2).mul_f64(share.clamp(0.0, 1.0))
    }

    /// Failures since it last went well.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10000, 10000, 10000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(0.0), FIRST / 2);
        for _ in 0..1000 {
            assert!(backoff.failed(0.999) <= LONGEST);
        }
    }
}
