//! When requests fall due.

use std::time::Duration;

use clap::ValueEnum;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp1};
use serde::Serialize;

/// How the gaps between requests are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ArrivalKind {
    /// Exponential gaps: many independent sources
    Poisson,
    /// Equal gaps: a camera or a sampled sensor
    Periodic,
}

/// The moments at which requests fall due, counted from the start; endless.
#[derive(Debug)]
pub(super) struct Arrivals {
    kind: ArrivalKind,
    mean_gap_s: f64,
    random: StdRng,
    due_s: f64,
}

// === impl Arrivals ===

impl Arrivals {
    /// `rate_hz` is positive and finite.
    pub(super) fn new(kind: ArrivalKind, rate_hz: f64, seed: u64) -> Self {
        Self { kind, mean_gap_s: 1.0 / rate_hz, random: StdRng::seed_from_u64(seed), due_s: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let gap = match self.kind {
            ArrivalKind::Poisson => Exp1.sample(&mut self.random),
            ArrivalKind::Periodic => 1.0,
        };
        self.due_s += gap * self.mean_gap_s;
        // A schedule beyond the range of a duration never comes to its end anyway.
        Some(Duration::try_from_secs_f64(self.due_s).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(kind: ArrivalKind, seed: u64) -> Vec<f64> {
        let due: Vec<f64> =
            Arrivals::new(kind, 50.0, seed).take(20_000).map(|due| due.as_secs_f64()).collect();
        due.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn mean_and_scv(gaps: &[f64]) -> (f64, f64) {
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (mean, variance / (mean * mean))
    }

    #[test]
    fn poisson_arrivals_have_the_rate_asked_and_exponential_gaps() {
        let gaps = gaps(ArrivalKind::Poisson, 5);
        let (mean, scv) = mean_and_scv(&gaps);
        assert!((mean - 0.02).abs() < 0.02 * 0.03, "{mean}");
        assert!((scv - 1.0).abs() < 0.06, "{scv}");
        let beyond_mean = gaps.iter().filter(|gap| **gap > 0.02).count() as f64 / gaps.len() as f64;
        assert!((beyond_mean - (-1.0f64).exp()).abs() < 0.02, "{beyond_mean}");
    }

    #[test]
    fn periodic_arrivals_are_equally_spaced() {
        let (mean, scv) = mean_and_scv(&gaps(ArrivalKind::Periodic, 5));
        assert!((mean - 0.02).abs() < 1e-9 && scv < 1e-9);
    }

    #[test]
    fn a_seed_gives_the_same_schedule_again_and_another_seed_another() {
        assert_eq!(gaps(ArrivalKind::Poisson, 1), gaps(ArrivalKind::Poisson, 1));
        assert_ne!(gaps(ArrivalKind::Poisson, 1), gaps(ArrivalKind::Poisson, 2));
    }

    #[test]
    fn an_absurdly_low_rate_does_not_overflow() {
        assert_eq!(Arrivals::new(ArrivalKind::Periodic, 1e-300, 1).next(), Some(Duration::MAX));
    }
}
