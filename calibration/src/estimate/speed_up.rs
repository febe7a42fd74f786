//! φ(n), the device's total speed with n requests in service, from requests whose work is known only on average.
//!
//! A request that spends Tₙ with n in service does Σ φ(n)/n·Tₙ of work, on average its session's mean alone. Fitting that
//! request by request by least squares is biased: a request longer than its session's mean is in service longer, too. So
//! requests are added up by how many there were when each started, which its own length has no part in (an instrumental
//! variable: Reiersøl, 1941; Angrist and Krueger, *Journal of Economic Perspectives* 15(4), 2001):
//!
//! > for every k: Σ over requests that started as the k-th of (Σₙ φ(n)/n·Tₙ − mean alone) = 0.
//!
//! That holds whatever the arrivals and service times are, as long as the speed depends on n alone and is shared equally.
//! What the equations leave open, as where some n is never seen, stays as in the prior curve.

use super::is_time;
use super::presence::TOGETHER_MAX;
use crate::system::SpeedUp;

/// Requests after which one weighs 1/e of a new one.
const MEMORY: f64 = 10_000.0;
/// Requests after which the curve is solved for anew.
const EVERY: u32 = 256;
/// The least relative variance of a request's work: clocks are not better than that.
const SPREAD_MIN: f64 = 1e-4;
/// Standard deviation of a step φ(n) − φ(n − 1) of the prior curve.
const STEP_DOUBT: f64 = 0.5;
/// A request that took so many times its session's mean, were it never slowed down less than its share, is a fault.
const FAULT_TIMES: f64 = 10.0;
/// Rounds of the solution. Each begins where the last one ended, 256 requests ago.
const ROUNDS: u32 = 40;

/// Learns φ(n) of one device, and tells what each request would have taken alone.
#[derive(Clone, Debug)]
pub struct SpeedUpEstimator {
    width: usize,
    prior: Steps,
    /// Relative standard errors of the prior curve, 1 where it has none.
    prior_errors: Steps,
    /// Steps φ(n) − φ(n − 1), each 0 to 1, the first 1.
    steps: Steps,
    /// By the number in service when it started: what is known of those requests.
    equations: Box<[Equation; TOGETHER_MAX]>,
    /// Weight of the next request; those before weigh less.
    weight: f64,
    /// Mean square of how far a request's work is from its session's mean, relative to that.
    spread: Mean,
    since_solved: u32,
    samples: u64,
    rejected: u64,
}

type Steps = [f64; TOGETHER_MAX];
type Matrix = [Steps; TOGETHER_MAX];

/// Requests that found the same number in service when they started.
#[derive(Clone, Copy, Debug, Default)]
struct Equation {
    /// Σ w·Tₙ/n for n = 1, 2, …, s.
    times: Steps,
    /// Σ w·mean alone, s.
    alone: f64,
    /// Σ w²·(mean alone)², s²: times the spread, the variance of this equation.
    variance: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl SpeedUpEstimator {
    /// Begins with a curve, and tells apart up to `width` in service, 1 to 32.
    #[must_use]
    pub fn new(prior: &SpeedUp, width: usize) -> Self {
        let width = width.clamp(1, TOGETHER_MAX);
        let mut steps = [0.0; TOGETHER_MAX];
        for (at, step) in steps[..width].iter_mut().enumerate() {
            *step = prior.at(at + 1) - prior.at(at);
        }
        let mut prior_errors = [1.0; TOGETHER_MAX];
        for (at, error) in prior_errors[..width].iter_mut().enumerate() {
            *error = prior.error(at + 1).unwrap_or(1.0);
        }
        Self {
            width,
            prior: steps,
            prior_errors,
            steps,
            equations: Box::new([Equation::default(); TOGETHER_MAX]),
            weight: 1.0,
            spread: Mean::default(),
            since_solved: 0,
            samples: 0,
            rejected: 0,
        }
    }

    /// A request is done. It started as one of `beside` in service, itself among them; it spent `occupied[n − 1]` s in
    /// service with n ([`super::Presence`] tells), and takes `alone` s with the device to itself, on average over its
    /// session. That mean has to be from requests that were alone: otherwise any curve would confirm itself.
    pub fn observe(&mut self, beside: usize, occupied: &[f64], alone: f64) {
        let sound = beside > 0 && is_time(alone) && alone > 0.0 && occupied.iter().all(|&time| is_time(time));
        let shares = occupied.iter().zip(1_u32..).map(|(time, n)| time / f64::from(n));
        if !sound || shares.sum::<f64>() > FAULT_TIMES * alone {
            self.rejected += 1;
            return;
        }
        let off = self.work(occupied) / alone - 1.0;
        let weight = self.weight;
        let equation = &mut self.equations[beside.min(self.width) - 1];
        for (at, &time) in occupied.iter().enumerate() {
            equation.times[at.min(self.width - 1)] += weight * time / (at + 1) as f64;
        }
        equation.alone += weight * alone;
        equation.variance += (weight * alone).powi(2);
        self.spread.sum = self.spread.sum * (1.0 - 1.0 / MEMORY) + off * off;
        self.spread.weight = self.spread.weight * (1.0 - 1.0 / MEMORY) + 1.0;
        self.weight *= 1.0 + 1.0 / MEMORY;
        self.samples += 1;
        self.since_solved += 1;
        if self.since_solved >= EVERY {
            self.since_solved = 0;
            self.rescale();
            self.solve();
        }
    }

    /// What a request with these times in service would have taken alone by the curve as it is known, s.
    #[must_use]
    pub fn work(&self, occupied: &[f64]) -> f64 {
        let (mut work, mut phi) = (0.0, 0.0);
        for (at, time) in occupied.iter().enumerate() {
            phi += self.steps.get(at).copied().unwrap_or(0.0);
            work += phi * time / (at + 1) as f64;
        }
        work
    }

    /// The curve as it is known, with its errors: for now and then, not for every request.
    #[must_use]
    pub fn speed_up(&self) -> SpeedUp {
        let mut phi = 0.0;
        let points = self.steps[..self.width].iter().zip(self.errors()).map(|(step, error)| {
            phi += step;
            (phi, error)
        });
        SpeedUp::measured(points).unwrap_or_else(|_| SpeedUp::none())
    }

    /// Relative standard errors of φ(1), φ(2), …: 0 for the first; no larger than the prior's, of which nothing is forgotten
    /// where nothing is seen.
    fn errors(&self) -> Steps {
        let (mut errors, root) = (self.prior_errors, self.root());
        let mut phi = 0.0;
        for (at, error) in errors[..self.width].iter_mut().enumerate() {
            phi += self.steps[at];
            *error = if at == 0 { 0.0 } else { (variance(&root, at, self.width).sqrt() / phi).min(*error) };
        }
        errors
    }

    /// Requests learned from.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Requests passed over, as their numbers are none.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Weights grow instead of the past fading; before they grow out of hand all is made small again.
    fn rescale(&mut self) {
        for equation in self.equations.iter_mut() {
            equation.times.iter_mut().for_each(|time| *time /= self.weight);
            equation.alone /= self.weight;
            equation.variance /= self.weight * self.weight;
        }
        self.weight = 1.0;
    }

    /// Steps of least squares within 0 to 1, each equation by its variance, by descent along one step after another.
    fn solve(&mut self) {
        let (matrix, target) = self.normal();
        for _ in 0..ROUNDS {
            for at in 1..self.width {
                let rest = target[at] - dot(&matrix[at], &self.steps);
                self.steps[at] = (self.steps[at] + rest / matrix[at][at]).clamp(0.0, 1.0);
            }
        }
    }

    /// The normal equations of the steps, the prior's among them.
    fn normal(&self) -> (Matrix, Steps) {
        let (mut matrix, mut target) = ([[0.0; TOGETHER_MAX]; TOGETHER_MAX], [0.0; TOGETHER_MAX]);
        for at in 0..self.width {
            matrix[at][at] = STEP_DOUBT.powi(-2);
            target[at] = self.prior[at] * matrix[at][at];
        }
        let spread = (self.spread.sum / self.spread.weight.max(1.0)).max(SPREAD_MIN);
        for equation in self.equations.iter().filter(|equation| equation.variance > 0.0) {
            // Step n counts for all times with n or more in service.
            let mut row = equation.times;
            for at in (0..self.width - 1).rev() {
                row[at] += row[at + 1];
            }
            let precision = 1.0 / (spread * equation.variance);
            for at in 0..self.width {
                target[at] += precision * row[at] * equation.alone;
                for other in 0..self.width {
                    matrix[at][other] += precision * row[at] * row[other];
                }
            }
        }
        (matrix, target)
    }

    /// L of M = L·Lᵀ (Cholesky), M the normal equations of the steps but the first, which is known.
    fn root(&self) -> Matrix {
        let (matrix, _) = self.normal();
        let mut root = [[0.0; TOGETHER_MAX]; TOGETHER_MAX];
        for at in 1..self.width {
            for other in 1..=at {
                let rest = matrix[at][other] - dot(&root[at], &root[other]);
                root[at][other] = if at == other {
                    // The prior alone gives as much, whatever rounding leaves.
                    rest.max(STEP_DOUBT.powi(-2)).sqrt()
                } else {
                    rest / root[other][other]
                };
            }
        }
        root
    }
}

/// Of the sum of the steps 1 to `last`, which make up φ(`last` + 1): cᵀM⁻¹c = |L⁻¹c|².
fn variance(root: &Matrix, last: usize, width: usize) -> f64 {
    let mut solution = [0.0; TOGETHER_MAX];
    for at in 1..width {
        let wanted = if at <= last { 1.0 } else { 0.0 };
        solution[at] = (wanted - dot(&root[at], &solution)) / root[at][at];
    }
    dot(&solution, &solution)
}

fn dot(a: &Steps, b: &Steps) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
