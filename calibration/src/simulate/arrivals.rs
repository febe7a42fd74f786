//! When requests arrive.

use std::sync::Arc;

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, Gamma};

use crate::terms::Terms;
use crate::units::{Hertz, Scv, Seconds};

/// Latest time in a trace, s.
const TRACE_END: f64 = 1e12;

/// Fewest requests of a burst on average: below it most bursts are empty, and looking for one that is not takes long.
const BURST_MIN: f64 = 1e-3;

/// How requests of one session arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Independent of one another.
    Poisson {
        /// Mean rate.
        rate: Hertz,
    },
    /// A camera: one per period, from a random point of the first.
    Periodic {
        /// Mean rate.
        rate: Hertz,
        /// Each is late by a uniform time of up to this fraction of the period, 0 to 1.
        jitter: f64,
    },
    /// Independent times between arrivals: gamma distributed where they vary less than Poisson arrivals do,
    /// hyperexponential with balanced means where they vary more.
    Renewal {
        /// Mean rate.
        rate: Hertz,
        /// Squared coefficient of variation of the time between arrivals.
        scv: Scv,
    },
    /// A motion trigger: Poisson arrivals during bursts. The lengths of bursts and pauses are exponential.
    OnOff {
        /// Rate during a burst.
        rate_on: Hertz,
        /// Mean length of a burst.
        on_mean: Seconds,
        /// Mean length of a pause.
        off_mean: Seconds,
    },
    /// These times in seconds from the start, in order, and none after the last.
    Trace(Arc<[f64]>),
}

/// Arrivals that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArrivalsError {
    /// Jitter beyond the period.
    #[error("jitter of {0} periods: 0 to 1")]
    Jitter(f64),
    /// Bursts in which nothing arrives.
    #[error("{0:e} requests in a burst on average: at least {BURST_MIN}")]
    Burst(f64),
    /// A trace that goes back, or leaves the range.
    #[error("trace at {at}: {time} s, but times are in order and 0 to {TRACE_END:e} s")]
    Trace {
        /// Which, from 0.
        at: usize,
        /// What was given.
        time: f64,
    },
}

impl Arrivals {
    /// Arrivals that are all that a session's terms say of them.
    #[must_use]
    pub fn of(terms: &Terms) -> Self {
        let rate = terms.rate;
        match terms.arrivals {
            Scv::ONE => Self::Poisson { rate },
            Scv::ZERO => Self::Periodic { rate, jitter: 0.0 },
            scv => Self::Renewal { rate, scv },
        }
    }

    /// Checks what the types do not.
    pub(super) fn check(&self) -> Result<(), ArrivalsError> {
        match self {
            Self::Poisson { .. } | Self::Renewal { .. } => Ok(()),
            Self::Periodic { jitter, .. } if (0.0..=1.0).contains(jitter) => Ok(()),
            Self::Periodic { jitter, .. } => Err(ArrivalsError::Jitter(*jitter)),
            Self::OnOff { rate_on, on_mean, .. } => {
                let burst = rate_on.get() * on_mean.get();
                if burst >= BURST_MIN { Ok(()) } else { Err(ArrivalsError::Burst(burst)) }
            }
            Self::Trace(times) => {
                let mut before = 0.0;
                for (at, &time) in times.iter().enumerate() {
                    // NaN is in no range.
                    if !(before..=TRACE_END).contains(&time) {
                        return Err(ArrivalsError::Trace { at, time });
                    }
                    before = time;
                }
                Ok(())
            }
        }
    }
}

/// Arrivals under way: one gap after another.
#[derive(Clone, Debug)]
pub(super) enum Gaps {
    Exponential {
        mean: f64,
    },
    Periodic {
        period: f64,
        jitter: f64,
        late: Option<f64>,
    },
    Gamma(Gamma<f64>),
    /// With probability `p` exponential of the first mean, else of the second.
    Hyperexponential {
        p: f64,
        means: [f64; 2],
    },
    /// `left` of the current burst; none before the first draw.
    OnOff {
        gap: f64,
        on: f64,
        off: f64,
        left: Option<f64>,
    },
    Trace {
        times: Arc<[f64]>,
        next: usize,
        at: f64,
    },
}

impl Gaps {
    pub(super) fn new(arrivals: &Arrivals) -> Self {
        match arrivals {
            Arrivals::Poisson { rate } => Self::Exponential { mean: 1.0 / rate.get() },
            Arrivals::Periodic { rate, jitter } => {
                Self::Periodic { period: 1.0 / rate.get(), jitter: *jitter, late: None }
            }
            Arrivals::Renewal { rate, scv } => Self::renewal(1.0 / rate.get(), scv.get()),
            Arrivals::OnOff { rate_on, on_mean, off_mean } => {
                Self::OnOff { gap: 1.0 / rate_on.get(), on: on_mean.get(), off: off_mean.get(), left: None }
            }
            Arrivals::Trace(times) => Self::Trace { times: Arc::clone(times), next: 0, at: 0.0 },
        }
    }

    fn renewal(mean: f64, scv: f64) -> Self {
        if scv > 1.0 {
            let p = 0.5 * (1.0 + ((scv - 1.0) / (scv + 1.0)).sqrt());
            return Self::Hyperexponential { p, means: [mean / (2.0 * p), mean / (2.0 * (1.0 - p))] };
        }
        // A gamma of next to no spread is no gamma any more.
        match Gamma::new(1.0 / scv, mean * scv) {
            Ok(gamma) if scv >= 1e-12 => Self::Gamma(gamma),
            _ => Self::Periodic { period: mean, jitter: 0.0, late: None },
        }
    }

    /// Time from one arrival to the next, the first time from the start; none when there are no more.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Option<f64> {
        let exponential = |rng: &mut _, mean: f64| -> f64 {
            let e: f64 = Exp1.sample(rng);
            mean * e
        };
        Some(match self {
            Self::Exponential { mean } => exponential(rng, *mean),
            Self::Periodic { period, jitter, late } => {
                let now = if *jitter == 0.0 { 0.0 } else { *jitter * *period * rng.random::<f64>() };
                match late.replace(now) {
                    Some(before) => *period + now - before,
                    None => *period * rng.random::<f64>() + now,
                }
            }
            Self::Gamma(gamma) => gamma.sample(rng),
            Self::Hyperexponential { p, means } => {
                let mean = means[usize::from(rng.random::<f64>() >= *p)];
                exponential(rng, mean)
            }
            Self::OnOff { gap, on, off, left } => {
                let mut passed = 0.0;
                let mut burst = match *left {
                    Some(left) => left,
                    // At a random moment: in a burst or in a pause.
                    None => {
                        if rng.random::<f64>() * (*on + *off) >= *on {
                            passed += exponential(rng, *off);
                        }
                        exponential(rng, *on)
                    }
                };
                loop {
                    let arrival = exponential(rng, *gap);
                    if arrival <= burst {
                        *left = Some(burst - arrival);
                        break passed + arrival;
                    }
                    passed += burst + exponential(rng, *off);
                    burst = exponential(rng, *on);
                }
            }
            Self::Trace { times, next, at } => {
                let time = *times.get(*next)?;
                *next += 1;
                time - std::mem::replace(at, time)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Mean and squared coefficient of variation of many gaps.
    fn observe(arrivals: &Arrivals) -> (f64, f64) {
        arrivals.check().unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut gaps = Gaps::new(arrivals);
        let (mut sum, mut square, n) = (0.0, 0.0, 1e6);
        for _ in 0..n as u64 {
            let gap = gaps.next(&mut rng).unwrap();
            assert!(gap >= 0.0);
            sum += gap;
            square += gap * gap;
        }
        (sum / n, square / n / (sum / n).powi(2) - 1.0)
    }

    #[test]
    fn gaps_have_the_rate_and_the_spread_that_was_asked_for() {
        let rate = Hertz::new(4.0).unwrap();
        let renewal = |scv| Arrivals::Renewal { rate, scv: Scv::new(scv).unwrap() };
        let cases = [
            (Arrivals::Poisson { rate }, 1.0),
            (Arrivals::Periodic { rate, jitter: 0.0 }, 0.0),
            // The difference of two uniform times, of variance 1/12 each.
            (Arrivals::Periodic { rate, jitter: 0.6 }, 0.06),
            (renewal(0.0), 0.0),
            (renewal(1e-9), 0.0),
            (renewal(0.25), 0.25),
            (renewal(1.0), 1.0),
            (renewal(4.0), 4.0),
        ];
        for (arrivals, scv) in cases {
            let (mean, seen) = observe(&arrivals);
            assert!((mean * 4.0 - 1.0).abs() < 0.006, "{arrivals:?}: mean {mean}");
            assert!((seen - scv).abs() < 0.02 * scv.max(0.01), "{arrivals:?}: scv {seen}");
        }
    }

    #[test]
    fn bursts_and_pauses_have_their_mean_rate() {
        let arrivals = |off: f64| Arrivals::OnOff {
            rate_on: Hertz::new(50.0).unwrap(),
            on_mean: Seconds::new(0.2).unwrap(),
            off_mean: Seconds::new(off).unwrap(),
        };
        let (mean, scv) = observe(&arrivals(0.8));
        assert!((mean * 10.0 - 1.0).abs() < 0.02, "{mean}");
        // An interrupted Poisson process: 1 + 2λω₁/(ω₁ + ω₂)².
        assert!((scv / (1.0 + 2.0 * 50.0 * 5.0 / 6.25_f64.powi(2)) - 1.0).abs() < 0.03, "{scv}");
        let (mean, scv) = observe(&arrivals(0.0));
        assert!(
            (mean * 50.0 - 1.0).abs() < 0.005 && (scv - 1.0).abs() < 0.01,
            "no pause is Poisson: {mean} {scv}"
        );
    }

    #[test]
    fn a_trace_is_replayed_to_its_end() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut gaps = Gaps::new(&Arrivals::Trace([0.5, 0.5, 2.0].into()));
        let seen: Vec<_> = std::iter::from_fn(|| gaps.next(&mut rng)).collect();
        assert_eq!(seen, [0.5, 0.0, 1.5]);
    }
}
