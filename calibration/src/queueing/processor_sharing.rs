//! Processor sharing at constant speed: the exact distribution of the sojourn of a request that needs x s.
//!
//! Measured in service that each request has received, the number in the system is a branching process: every request
//! lives for its service time, and gives birth at rate λ while it lives. The tagged request's sojourn is the integral of
//! the number present over its own x. With κ(u) the inverse of the transform of what one request that lives for u brings
//! about, that gives
//!
//! > E\[e^{−sT(x)}\] = (1 − ρ)/(1 − ρ + s·∫₀ˣ κ(u) du),
//! > κ'(u) = (s + λ)·κ(u) − λ·E\[κ((u − S)⁺)\], κ(0) = 1.
//!
//! (Yashkov 1983, Ott 1984, Schassberger 1984; written as a delay equation, whose delays are the service times.) It is
//! solved on a grid of u for all frequencies at once, and inverted as in [`super::tail`]. Exact for Poisson arrivals,
//! ρ < 1, any service times, up to the grid's 1 %.

use num_complex::Complex64;

use super::tail::{Inverter, Spectrum, Tail};
use crate::service::Atom;

/// Steps of u at least and at most.
const STEPS: (f64, f64) = (192.0, 1024.0);
/// Service times that are told apart; closer ones are joined.
const DELAYS_MAX: usize = 24;

/// Poisson arrivals at a processor-sharing server of speed 1.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// (arrivals per second, service time in s), by service time.
    work: Vec<(f64, f64)>,
    utilisation: f64,
}

impl Sharing {
    /// Requests of each service time, given as (arrivals per second, service times).
    ///
    /// None where the server does not keep up.
    #[must_use]
    pub fn new(classes: impl IntoIterator<Item = (f64, Vec<Atom>)>) -> Option<Self> {
        let mut work: Vec<(f64, f64)> = Vec::new();
        for (rate, atoms) in classes {
            work.extend(atoms.iter().filter(|atom| atom.at > 0.0).map(|atom| (rate * atom.weight, atom.at)));
        }
        let utilisation = work.iter().map(|(rate, at)| rate * at).sum();
        work.sort_by(|a, b| a.1.total_cmp(&b.1));
        while work.len() > DELAYS_MAX {
            // The two whose times are most alike, by their ratio and what is at stake.
            let cost = |pair: &[(f64, f64)]| {
                (pair[1].1 / pair[0].1).ln() * (pair[0].0 * pair[0].1).min(pair[1].0 * pair[1].1)
            };
            let costs = work.windows(2).map(cost).enumerate();
            let (at, _) = costs.min_by(|a, b| a.1.total_cmp(&b.1))?;
            let ((r1, t1), (r2, t2)) = (work[at], work[at + 1]);
            work[at] = (r1 + r2, (r1 * t1 + r2 * t2) / (r1 + r2));
            work.remove(at + 1);
        }
        (utilisation < 1.0).then_some(Self { work, utilisation })
    }

    /// ρ.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// E\[T(x)\] = x/(1 − ρ), s.
    #[must_use]
    pub fn mean(&self, service: f64) -> f64 {
        service / (1.0 - self.utilisation)
    }

    /// P(T(x) − x > t): how much longer than alone a request of `service` s takes. `spread` is about its standard
    /// deviation in s, for the grid's length.
    #[must_use]
    pub fn excess(&self, service: f64, spread: f64, inverter: &mut Inverter) -> Tail {
        let mean = self.mean(service) - service;
        if mean <= 0.0 {
            return Tail::zero(1.0);
        }
        let length = mean + 12.0 * spread.max(0.1 * mean);
        let points = inverter.points();
        let frequencies: Vec<f64> = (1..points).map(|k| inverter.frequency(k, length)).collect();
        let integrals = self.integrals(service, &frequencies);
        let idle = 1.0 - self.utilisation;
        let values = frequencies.iter().zip(integrals).map(|(&frequency, integral)| {
            let s = Complex64::new(0.0, frequency);
            let sojourn = idle / (idle + s * integral);
            ((1.0 - sojourn * (s * service).exp()) / s).re
        });
        let transform = std::iter::once(mean).chain(values).collect();
        let spectrum = Spectrum { transform, mass: 1.0, decay: None };
        inverter.invert_all(length, &[spectrum]).pop().unwrap_or_else(|| Tail::zero(1.0))
    }

    /// ∫₀ˣ κ(u) du at every frequency. Between two steps what is delayed changes linearly, the rest is exact.
    fn integrals(&self, service: f64, frequencies: &[f64]) -> Vec<Complex64> {
        let shortest = self.work.first().map_or(service, |w| w.1);
        let steps = (2.0 * service / shortest).clamp(STEPS.0, STEPS.1).ceil();
        let h = service / steps;
        // What is shorter than a step becomes a step long and as much rarer: the same work.
        let delays: Vec<(f64, f64)> =
            self.work.iter().map(|&(rate, at)| (rate * (at / h).min(1.0), (at / h).max(1.0))).collect();
        let rate: f64 = delays.iter().map(|d| d.0).sum();
        let weights: Vec<Weights> =
            frequencies.iter().map(|&f| Weights::new(Complex64::new(rate, f), h)).collect();
        let n = frequencies.len();
        let one = Complex64::new(1.0, 0.0);
        let mut rows: Vec<Vec<Complex64>> = vec![vec![one; n]];
        let mut delayed = vec![Complex64::new(rate, 0.0); n];
        let mut next_delayed = delayed.clone();
        let mut integrals = vec![Complex64::default(); n];
        for step in 1..=steps as usize {
            next_delayed.fill(Complex64::default());
            for &(rate, delay) in &delays {
                let back = step as f64 - delay;
                if back <= 0.0 {
                    next_delayed.iter_mut().for_each(|sum| *sum += rate);
                    continue;
                }
                let at = back as usize;
                let (low, high) = (rate * (1.0 - back.fract()), rate * back.fract());
                // The upper neighbour is the last row at most: a delay is a step or more.
                let upper = &rows[(at + 1).min(step - 1)];
                for ((sum, a), b) in next_delayed.iter_mut().zip(&rows[at]).zip(upper) {
                    *sum += a * low + b * high;
                }
            }
            let before = &rows[step - 1];
            let mut row = Vec::with_capacity(n);
            for k in 0..n {
                let weight = &weights[k];
                let slope = next_delayed[k] - delayed[k];
                row.push(weight.decay * before[k] - weight.first * delayed[k] - weight.second * slope);
                integrals[k] +=
                    weight.first * before[k] - weight.second * h * delayed[k] - weight.third * slope;
            }
            rows.push(row);
            std::mem::swap(&mut delayed, &mut next_delayed);
        }
        integrals
    }
}

/// Of one step of κ' = a·κ − F with F linear from F₀ to F₀ + ΔF; z = a·h.
struct Weights {
    /// e^z.
    decay: Complex64,
    /// h·φ₁(z): of F₀.
    first: Complex64,
    /// h·φ₂(z): of ΔF.
    second: Complex64,
    /// h²·φ₃(z): of ΔF in the integral of κ.
    third: Complex64,
}

impl Weights {
    fn new(a: Complex64, h: f64) -> Self {
        let z = a * h;
        let decay = z.exp();
        // φₖ = (φₖ₋₁ − 1/(k−1)!)/z, φ₀ = e^z; by its series where that would cancel.
        let series = |k: u32| {
            let (mut term, mut sum) =
                (Complex64::new((1..=k).map(f64::from).product::<f64>().recip(), 0.0), Complex64::default());
            for j in 1..=16 {
                sum += term;
                term *= z / f64::from(k + j);
            }
            sum
        };
        let (one, two, three) = if z.norm() < 0.5 {
            (series(1), series(2), series(3))
        } else {
            let one = (decay - 1.0) / z;
            let two = (one - 1.0) / z;
            (one, two, (two - 0.5) / z)
        };
        Self { decay, first: one * h, second: two * h, third: three * h * h }
    }
}
