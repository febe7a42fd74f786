//! One at a time by rank, in order of arrival within a rank; who runs is never interrupted.
//!
//! With H the requests of better rank than k, L those of worse, η the transform variable stretched by H's busy periods,
//!
//! > E\[e^{−sW_k}\] = ((1 − ρ)·y + λ_L·(1 − B_L(y)))/(s − λ_k + λ_k·B_k(y)), y = s + λ_H·(1 − B_H(y)),
//!
//! B the transforms of service (Kesten and Runnenburg 1957; Conway, Maxwell and Miller, *Theory of Scheduling*, 1967). Its
//! mean is Cobham's (1954): E\[W_k\] = Λ·m₂/(2(1 − ρ_H)(1 − ρ_H − ρ_k)). Exact for Poisson arrivals, ρ < 1, and service
//! times that depend on nothing: no reloads.

use num_complex::Complex64;

use super::fcfs::{Class, Unstable};
use super::series::Series;
use super::tail::{Inverter, Spectrum, Tail};

/// A stable queue by rank. Overheads and groups of the classes are not looked at.
#[derive(Clone, Debug)]
pub struct Ranked<'a> {
    classes: &'a [Class<'a>],
    /// Of each class; smaller is served first.
    ranks: &'a [usize],
    utilisation: f64,
}

/// Wait of one rank.
#[derive(Clone, Debug)]
pub struct Wait {
    /// E\[W\], s.
    pub mean: f64,
    /// P(W > t).
    pub tail: Tail,
}

impl<'a> Ranked<'a> {
    /// A queue of these classes, one rank each.
    ///
    /// # Errors
    /// [`Unstable`] at a utilisation of 1 or more.
    pub fn new(classes: &'a [Class<'a>], ranks: &'a [usize]) -> Result<Self, Unstable> {
        let utilisation: f64 = classes.iter().map(|c| c.rate * c.service.mean()).sum();
        if utilisation >= 1.0 || utilisation.is_nan() {
            return Err(Unstable { utilisation });
        }
        Ok(Self { classes, ranks, utilisation })
    }

    /// ρ.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// Wait of the requests of a rank that some class has.
    #[must_use]
    pub fn wait(&self, rank: usize, inverter: &mut Inverter) -> Wait {
        let moments = self.moments(rank);
        let (mean, second) = (moments.mean(), moments.second());
        if mean <= 0.0 {
            return Wait { mean: 0.0, tail: Tail::zero(1.0) };
        }
        let longest = self.classes.iter().map(|c| c.service.mean()).fold(0.0, f64::max);
        let length = 15.0 * second / (2.0 * mean) + 4.0 * longest;
        let mut y = Complex64::default();
        let values = (1..inverter.points()).map(|k| {
            let s = Complex64::new(0.0, inverter.frequency(k, length));
            y = self.stretched(rank, s, y);
            ((1.0 - self.transform(rank, s, y)) / s).re
        });
        let transform = std::iter::once(mean).chain(values).collect();
        let spectrum = Spectrum { transform, mass: 1.0, decay: None };
        let tail = inverter.invert_all(length, &[spectrum]).pop();
        Wait { mean, tail: tail.unwrap_or_else(|| Tail::zero(1.0)) }
    }

    fn of(&self, fits: impl Fn(usize) -> bool) -> impl Iterator<Item = &Class<'a>> {
        self.classes.iter().zip(self.ranks).filter(move |&(_, &rank)| fits(rank)).map(|(class, _)| class)
    }

    fn transform(&self, rank: usize, s: Complex64, y: Complex64) -> Complex64 {
        // λ·(1 − B(y)).
        let arrivals = |c: &Class<'_>| (1.0 - c.service.transform(y)) * c.rate;
        let lower: Complex64 = self.of(|r| r > rank).map(arrivals).sum();
        let own: Complex64 = self.of(|r| r == rank).map(arrivals).sum();
        (y * (1.0 - self.utilisation) + lower) / (s - own)
    }

    /// y of s, by Newton's method from `guess`.
    fn stretched(&self, rank: usize, s: Complex64, guess: Complex64) -> Complex64 {
        let mut y = guess;
        for _ in 0..50 {
            let (mut off, mut slope) = (y - s, Complex64::new(1.0, 0.0));
            for class in self.of(|r| r < rank) {
                let (value, derivative) = class.service.transform_and_slope(y);
                off -= (1.0 - value) * class.rate;
                slope += derivative * class.rate;
            }
            let step = off / slope;
            y -= step;
            // Where Newton leaves the half plane in which the transforms are bounded, begin again from s.
            if y.re < -1e-9 * y.norm() || !y.is_finite() {
                y = s;
            }
            if step.norm() <= 1e-11 * y.norm() {
                break;
            }
        }
        y
    }

    fn moments(&self, rank: usize) -> Series {
        // Sums of λ·(B − 1) as series in u = −s.
        let arrivals = |fits: &dyn Fn(usize) -> bool| {
            let minus_one = Series::constant(-1.0);
            let each = self.of(fits).map(|c| Series::of(c.service).plus(minus_one).scaled(c.rate));
            each.fold(Series::ZERO, Series::plus)
        };
        let (higher, own, lower) =
            (arrivals(&|r| r < rank), arrivals(&|r| r == rank), arrivals(&|r| r > rank));
        let u = Series([0.0, 1.0, 0.0, 0.0]);
        // η = u + λ_H·(B_H(η) − 1): each round is right to one order more.
        let mut stretched = u.scaled(1.0 / (1.0 - higher.mean()));
        for _ in 0..3 {
            let beyond = Series([0.0, 0.0, higher.0[2], higher.0[3]]);
            stretched = u.plus(beyond.at(stretched)).scaled(1.0 / (1.0 - higher.mean()));
        }
        let above = stretched.scaled(1.0 - self.utilisation).plus(lower.at(stretched));
        let below = u.minus(own.at(stretched));
        above.shifted().over(below.shifted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServiceTime;
    use crate::units::Seconds;

    #[test]
    fn the_mean_is_cobhams() {
        let fast = ServiceTime::constant(Seconds::new(0.01).unwrap());
        let slow = ServiceTime::exponential(Seconds::new(0.05).unwrap());
        let class = |rate, service| Class { rate, service, overhead: 0.0, group: 0 };
        let classes = [class(20.0, &fast), class(5.0, &slow), class(6.0, &fast)];
        let queue = Ranked::new(&classes, &[0, 1, 2]).unwrap();
        let residual = (20.0 * 0.0001 + 5.0 * 0.005 + 6.0 * 0.0001) / 2.0;
        let (a, b, c) = (0.2, 0.45, 0.51);
        for (rank, expected) in [
            (0, residual / (1.0 - a)),
            (1, residual / (1.0 - a) / (1.0 - b)),
            (2, residual / (1.0 - b) / (1.0 - c)),
        ] {
            let wait = queue.wait(rank, &mut Inverter::new(2048));
            assert!((wait.mean / expected - 1.0).abs() < 1e-9, "{rank}: {} {expected}", wait.mean);
            // The distribution has the same mean.
            let step = expected / 200.0;
            let area: f64 = (0..20_000).map(|i| wait.tail.above((f64::from(i) + 0.5) * step) * step).sum();
            assert!((area / expected - 1.0).abs() < 5e-3, "{rank}: {area} {expected}");
        }
    }
}
