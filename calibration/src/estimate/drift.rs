//! Notices that a service time has changed at once: another clock, another power mode, heat.
//!
//! A two-sided cumulative sum (Page, *Continuous Inspection Schemes*, 1954) of the evidence that the mean is another. Service
//! times are taken to be gamma distributed, of shape 1/cv²: then one of x speaks for a mean of r·m instead of m by
//! (x/m·(1 − 1/r) − ln r)/cv², the logarithm of the ratio of likelihoods. Were the law and m known, false alarms would be e^[`ALARM`]
//! samples apart or more (Lorden, 1971). Both are learned, tails may be longer, and m is given the benefit of its doubt.

/// Evidence at which a change is certain enough.
const ALARM: f64 = 10.0;
/// One sample is evidence of at most this much: a few outliers are no change.
const SAMPLE_MAX: f64 = 1.8;
/// The change looked for, as a logarithm, in coefficients of variation; at most twofold.
const STEP: f64 = 0.8;
/// Standard errors of the expectation that are not held against it.
const DOUBT: f64 = 1.0;
/// The least coefficient of variation: clocks are not better than that.
const SPREAD_MIN: f64 = 0.05;
/// Fewer samples are no expectation.
const SAMPLES_MIN: f64 = 16.0;

/// The service time has changed at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Mean after over mean before.
    pub factor: f64,
}

/// Two sums, one of evidence for a longer time and one for a shorter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cusum {
    up: Side,
    down: Side,
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    sum: f64,
    /// Samples since the sum left zero.
    since: usize,
    /// What was expected when it did: later samples are held against that, not against an expectation that follows them.
    expected: Expected,
}

/// A sample x is evidence of `slope`·x − `level`.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    slope: f64,
    level: f64,
}

impl Expected {
    /// For a change to longer times (`sign` 1) or to shorter ones (−1).
    fn new(sign: f64, mean: f64, deviation: f64, samples: f64) -> Self {
        // Few samples are sure of the spread no more than of the mean.
        let spread = (deviation / mean).max(SPREAD_MIN) * (1.0 + 2.0 / samples.sqrt());
        let mean = mean * (sign * DOUBT * spread / samples.sqrt()).exp();
        let step = sign * (STEP * spread).min(std::f64::consts::LN_2);
        let shape = 1.0 / (spread * spread);
        Self { slope: -shape * (-step).exp_m1() / mean, level: shape * step }
    }
}

impl Side {
    /// Takes a sample; says whether the evidence is enough, and since how many samples there is some.
    fn add(&mut self, value: f64, expected: impl FnOnce() -> Expected) -> Option<usize> {
        if self.since == 0 {
            self.expected = expected();
        }
        let Expected { slope, level } = self.expected;
        self.sum += (slope * value - level).clamp(-SAMPLE_MAX, SAMPLE_MAX);
        self.since += 1;
        if self.sum <= 0.0 {
            *self = Self::default();
        }
        (self.sum >= ALARM).then_some(self.since)
    }
}

impl Cusum {
    /// Takes a sample against what `samples` before it lead to expect. Says since how many samples, this one included,
    /// the time is another.
    pub(super) fn observe(&mut self, value: f64, mean: f64, deviation: f64, samples: f64) -> Option<usize> {
        if samples < SAMPLES_MIN {
            return None;
        }
        let expected = |sign| move || Expected::new(sign, mean, deviation, samples);
        let (up, down) = (self.up.add(value, expected(1.0)), self.down.add(value, expected(-1.0)));
        up.or(down)
    }
}
