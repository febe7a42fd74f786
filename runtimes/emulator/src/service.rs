//! How long a request takes: a mean, a spread, and draws that a seed reproduces.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Exp1, LogNormal};
use serde::Deserialize;

/// Largest coefficient of variation.
const CV_MAX: f64 = 10.0;
const NS_PER_MS: f64 = 1e6;

/// Which distribution service times follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Distribution {
    /// A mean and a coefficient of variation; never negative, as times are.
    #[default]
    Lognormal,
    /// Its coefficient of variation is 1.
    Exponential,
    /// Always the mean.
    Deterministic,
}

/// Service times of one model, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Service {
    Always(f64),
    Exponential { mean_ns: f64 },
    Lognormal(LogNormal<f64>),
}

impl Service {
    /// `mean_ms` must be checked: finite and not negative.
    pub(crate) fn new(mean_ms: f64, cv: Option<f64>, distribution: Distribution) -> Result<Self, String> {
        let mean_ns = mean_ms * NS_PER_MS;
        if let Some(cv) = cv
            && !(0.0..=CV_MAX).contains(&cv)
        {
            return Err(format!("service.cv = {cv}: 0 to {CV_MAX}"));
        }
        match (distribution, cv) {
            (Distribution::Exponential, Some(cv)) if cv != 1.0 => {
                Err(format!("service.cv = {cv}: distribution \"exponential\" has a cv of 1"))
            }
            (Distribution::Deterministic, Some(cv)) if cv != 0.0 => {
                Err(format!("service.cv = {cv}: distribution \"deterministic\" has a cv of 0"))
            }
            (Distribution::Exponential, _) if mean_ns > 0.0 => Ok(Self::Exponential { mean_ns }),
            (Distribution::Lognormal, Some(cv)) if cv > 0.0 && mean_ns > 0.0 => {
                LogNormal::from_mean_cv(mean_ns, cv)
                    .map(Self::Lognormal)
                    .map_err(|error| format!("service: {error}"))
            }
            _ => Ok(Self::Always(mean_ns)),
        }
    }

    /// The service time of the request with these draws.
    pub(crate) fn draw_ns(&self, draws: &mut Draws) -> f64 {
        match self {
            Self::Always(ns) => *ns,
            Self::Exponential { mean_ns } => {
                let one: f64 = Exp1.sample(draws.generator());
                mean_ns * one
            }
            Self::Lognormal(distribution) => distribution.sample(draws.generator()),
        }
    }
}

/// The random numbers of one request. They follow from the seed and the request's number alone, so that lanes need no
/// lock over a common generator and their interleaving changes nothing.
pub(crate) struct Draws {
    seed: u64,
    generator: Option<SmallRng>,
}

impl Draws {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // The generator's own seeding mixes well; the odd factor keeps neighbouring seeds from sharing draws.
        Self { seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number), generator: None }
    }

    /// Seeded at first use: a model with fixed times pays nothing.
    pub(crate) fn generator(&mut self) -> &mut SmallRng {
        self.generator.get_or_insert_with(|| SmallRng::seed_from_u64(self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(service: &Service, seed: u64, count: u64) -> Vec<f64> {
        (1..=count).map(|number| service.draw_ns(&mut Draws::new(seed, number))).collect()
    }

    /// Mean in milliseconds and coefficient of variation of many draws.
    fn moments(service: &Service) -> (f64, f64) {
        let times = times(service, 1, 100_000);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / times.len() as f64;
        (mean / NS_PER_MS, variance.sqrt() / mean)
    }

    #[test]
    fn a_seed_reproduces_the_times_and_another_gives_others() {
        let service = Service::new(5.0, Some(0.5), Distribution::Lognormal).unwrap();
        assert_eq!(times(&service, 1, 100), times(&service, 1, 100));
        assert_ne!(times(&service, 1, 100), times(&service, 2, 100));
        let distinct: std::collections::BTreeSet<_> =
            times(&service, 1, 100).into_iter().map(f64::to_bits).collect();
        assert_eq!(distinct.len(), 100);
    }

    #[test]
    fn draws_have_the_mean_and_spread_that_were_asked_for() {
        for (cv, distribution, spread) in [
            (Some(0.03), Distribution::Lognormal, 0.03),
            (Some(1.5), Distribution::Lognormal, 1.5),
            (None, Distribution::Exponential, 1.0),
        ] {
            let (mean_ms, cv) = moments(&Service::new(5.0, cv, distribution).unwrap());
            assert!((mean_ms / 5.0 - 1.0).abs() < 0.02, "{distribution:?}: mean {mean_ms} ms");
            assert!((cv / spread - 1.0).abs() < 0.05, "{distribution:?}: cv {cv}");
        }
    }

    #[test]
    fn no_spread_is_deterministic() {
        for (cv, distribution) in [
            (None, Distribution::Lognormal),
            (Some(0.0), Distribution::Lognormal),
            (None, Distribution::Deterministic),
        ] {
            assert_eq!(Service::new(5.0, cv, distribution), Ok(Service::Always(5e6)));
        }
    }
}
