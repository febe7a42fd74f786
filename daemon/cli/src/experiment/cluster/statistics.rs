//! Means over seeds, and how sure they are.

use serde::Serialize;

/// Standard errors to both sides that hold 95 % of a normal distribution.
const NORMAL_95: f64 = 1.96;

/// A mean with half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Mean {
    pub(crate) mean: f64,
    pub(crate) within: f64,
}

impl Mean {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let mean = average(&values);
        let errors: Vec<f64> = values.iter().map(|value| value - mean).collect();
        Self { mean, within: NORMAL_95 * standard_error(&errors) }
    }

    /// Of the quotient of two means over the same seeds (delta method).
    pub(super) fn ratio(over: &[f64], under: &[f64]) -> Self {
        let (a, b) = (average(over), average(under));
        let mean = a / b;
        let errors: Vec<f64> = over.iter().zip(under).map(|(x, y)| (x - mean * y) / b).collect();
        Self { mean, within: NORMAL_95 * standard_error(&errors) }
    }
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the mean of values that are 0 on average.
fn standard_error(errors: &[f64]) -> f64 {
    let n = errors.len() as f64;
    if n < 2.0 {
        return f64::INFINITY;
    }
    (errors.iter().map(|error| error * error).sum::<f64>() / (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_many_is_surer_than_that_of_few() {
        let mean = Mean::of([1.0, 3.0].into_iter());
        assert!((mean.mean - 2.0).abs() < 1e-12 && (mean.within - 1.96).abs() < 1e-12, "{mean:?}");
        let more = Mean::of([1.0, 3.0].into_iter().cycle().take(200));
        assert!(more.within < mean.within / 10.0, "{more:?}");
        assert!(Mean::of([1.0].into_iter()).within.is_infinite());
    }

    #[test]
    fn a_constant_ratio_is_known_exactly() {
        let ratio = Mean::ratio(&[2.0, 4.0, 10.0], &[1.0, 2.0, 5.0]);
        assert!((ratio.mean - 2.0).abs() < 1e-12 && ratio.within < 1e-12, "{ratio:?}");
    }
}
