//! When to start a dead worker again, and which model to blame. Decisions only; no clock, no process.

use std::collections::VecDeque;
use std::time::Duration;

/// How often and how soon a dead worker is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// Wait before the second start in a row; the first is at once.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// A worker that lived this long is a healthy one: the waits begin anew.
    pub healthy_after: Duration,
}

impl Default for BackoffPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
            healthy_after: Duration::from_secs(10),
        }
    }
}

/// Waits between the starts of one worker, doubling from death to death.
#[derive(Debug)]
pub struct Backoff {
    policy: BackoffPolicy,
    deaths_in_a_row: u32,
}

impl Backoff {
    /// No death yet.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, deaths_in_a_row: 0 }
    }

    /// The worker died after living for `lived`: how long to wait before the next start.
    pub fn after_death(&mut self, lived: Duration) -> Duration {
        if lived >= self.policy.healthy_after {
            self.deaths_in_a_row = 0;
        }
        let before = self.deaths_in_a_row;
        self.deaths_in_a_row = before.saturating_add(1);
        if before == 0 {
            return Duration::ZERO;
        }
        let factor = 1_u32.checked_shl(before - 1).unwrap_or(u32::MAX);
        self.policy.first.saturating_mul(factor).min(self.policy.longest)
    }
}

/// Crashes of one model's worker that were put down to the model, within a window of time.
#[derive(Debug)]
pub struct CrashLedger {
    limit: usize,
    window: Duration,
    crashes: VecDeque<Duration>,
}

impl CrashLedger {
    /// Quarantine after `limit` crashes within `window`.
    pub fn new(limit: usize, window: Duration) -> Self {
        Self { limit: limit.max(1), window, crashes: VecDeque::new() }
    }

    /// A crash at `now` (time since any fixed instant). Is the model to be quarantined?
    pub fn crashed(&mut self, now: Duration) -> bool {
        self.crashes.push_back(now);
        while self.crashes.front().is_some_and(|&at| now.saturating_sub(at) > self.window) {
            self.crashes.pop_front();
        }
        self.crashes.len() >= self.limit
    }

    /// Crashes within the window before the last one.
    pub fn crashes(&self) -> usize {
        self.crashes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_restart_is_at_once_and_the_waits_double_to_the_longest() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let waits: Vec<_> = (0..12).map(|_| backoff.after_death(SECOND).as_millis()).collect();
        assert_eq!(waits[..5], [0, 100, 200, 400, 800]);
        assert_eq!(waits[11], 30_000);
        for _ in 0..100 {
            assert_eq!(backoff.after_death(SECOND), Duration::from_secs(30));
        }
    }

    #[test]
    fn a_worker_that_lived_well_is_restarted_at_once_again() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        backoff.after_death(SECOND);
        assert_eq!(backoff.after_death(SECOND), Duration::from_millis(100));
        assert_eq!(backoff.after_death(11 * SECOND), Duration::ZERO);
    }

    #[test]
    fn the_third_crash_within_the_window_quarantines() {
        let mut ledger = CrashLedger::new(3, 60 * SECOND);
        assert!(!ledger.crashed(SECOND));
        assert!(!ledger.crashed(2 * SECOND));
        assert!(ledger.crashed(3 * SECOND));
    }

    #[test]
    fn crashes_far_apart_are_forgiven() {
        let mut ledger = CrashLedger::new(3, 60 * SECOND);
        for at in 0..10 {
            assert!(!ledger.crashed(at * 40 * SECOND));
        }
        assert_eq!(ledger.crashes(), 2);
    }
}
