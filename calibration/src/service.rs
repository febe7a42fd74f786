//! Distribution of a service time: what one inference takes with the device to itself.
//!
//! A network's inference is nearly deterministic once the model and the state of the device are known (a coefficient of
//! variation of 2 to 5 % for classifiers on an edgeTPU), so a constant or a few atoms describe it well. What varies more
//! is described by three moments, through a shifted gamma distribution.

use num_complex::Complex64;
use rand::Rng;
use rand_distr::Distribution as _;

use crate::units::{RangeError, Scv, Seconds};

/// The most atoms that a service time may have.
pub const ATOMS_MAX: usize = 64;

/// The most skewness that three moments may have: five times that of a gamma with the largest [`Scv`].
const SKEWNESS_MAX: f64 = 1e3;

/// The distribution of a service time in seconds. Its mean is above 0 unless it is constantly 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceTime {
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// Values with their probabilities, which sum to 1.
    Atoms(Vec<Atom>),
    /// `shift` plus a gamma variable of shape `k` and scale `theta`.
    Gamma { shift: f64, k: f64, theta: f64 },
}

/// One value that a service time takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Atom {
    /// Its probability, in (0, 1].
    pub weight: f64,
    /// The value in seconds.
    pub at: f64,
}

/// A service time that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ServiceError {
    /// A value out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Atoms without a single value, or too many.
    #[error("{0} atoms: a service time has 1 to {ATOMS_MAX}")]
    Atoms(usize),
    /// Weights that are no probabilities.
    #[error("weights of {0}: every one has to be above 0 and their sum finite")]
    Weights(f64),
    /// Moments that no distribution of times above 0 has, or of a skewness beyond all use.
    #[error("moments {0:e} s, {1:e} s², {2:e} s³: no service time has these")]
    Moments(f64, f64, f64),
}

impl ServiceTime {
    /// Always the same.
    #[must_use]
    pub fn constant(value: Seconds) -> Self {
        Self { shape: Shape::Atoms(vec![Atom { weight: 1.0, at: value.get() }]) }
    }

    /// Exponential.
    #[must_use]
    pub fn exponential(mean: Seconds) -> Self {
        Self::gamma(mean, Scv::ONE)
    }

    /// Gamma with this mean and squared coefficient of variation; a constant where either is 0.
    #[must_use]
    pub fn gamma(mean: Seconds, scv: Scv) -> Self {
        // Below this the spread is under a millionth of the mean: a constant, and no overflow in the shape.
        if mean.get() == 0.0 || scv.get() < 1e-12 {
            return Self::constant(mean);
        }
        let shape = Shape::Gamma { shift: 0.0, k: 1.0 / scv.get(), theta: mean.get() * scv.get() };
        Self { shape }
    }

    /// Values with weights; the weights are scaled to sum to 1, equal values are joined.
    ///
    /// # Errors
    /// No value or too many, a value out of range, a weight that is not above 0.
    pub fn atoms(atoms: impl IntoIterator<Item = (f64, Seconds)>) -> Result<Self, ServiceError> {
        let mut joined: Vec<Atom> = Vec::new();
        let mut total = 0.0;
        for (weight, at) in atoms {
            if !(weight > 0.0 && weight.is_finite()) {
                return Err(ServiceError::Weights(weight));
            }
            total += weight;
            match joined.iter_mut().find(|atom| atom.at == at.get()) {
                Some(atom) => atom.weight += weight,
                None => joined.push(Atom { weight, at: at.get() }),
            }
            if joined.len() > ATOMS_MAX {
                return Err(ServiceError::Atoms(joined.len()));
            }
        }
        if joined.is_empty() {
            return Err(ServiceError::Atoms(0));
        }
        if !total.is_finite() {
            return Err(ServiceError::Weights(total));
        }
        for atom in &mut joined {
            atom.weight /= total;
        }
        joined.sort_by(|a, b| a.at.total_cmp(&b.at));
        Ok(Self { shape: Shape::Atoms(joined) })
    }

    /// A distribution with these raw moments E\[S\], E\[S²\], E\[S³\]: a shifted gamma where one fits, else two atoms,
    /// which fit every triple that a distribution can have.
    ///
    /// # Errors
    /// Moments that no distribution of times has, or a mean out of range.
    pub fn from_moments(m1: f64, m2: f64, m3: f64) -> Result<Self, ServiceError> {
        let mean = Seconds::new(m1)?;
        let bad = || ServiceError::Moments(m1, m2, m3);
        if m1 <= 0.0 || !m2.is_finite() || !m3.is_finite() {
            return Err(bad());
        }
        let scv = m2 / (m1 * m1) - 1.0;
        // Rounding may leave a constant's variance a hair off zero.
        if scv.abs() < 1e-12 {
            return Ok(Self::constant(mean));
        }
        if scv < 0.0 || Scv::new(scv).is_err() || m3 * m1 < m2 * m2 * (1.0 - 1e-12) {
            return Err(bad());
        }
        let sd = scv.sqrt() * m1;
        let skewness = (m3 - 3.0 * m1 * m2 + 2.0 * m1.powi(3)) / sd.powi(3);
        if skewness.is_nan() || skewness.abs() > SKEWNESS_MAX {
            return Err(bad());
        }
        let shift = m1 - 2.0 * sd / skewness;
        if skewness > 1e-6 && shift >= -1e-12 * m1 {
            let k = 4.0 / (skewness * skewness);
            return Ok(Self { shape: Shape::Gamma { shift: shift.max(0.0), k, theta: sd / k.sqrt() } });
        }
        // Two atoms of this mean, spread and skewness.
        let half = skewness / 2.0;
        let root = (half * half + 1.0).sqrt();
        let (low, high) = (m1 + sd * (half - root), m1 + sd * (half + root));
        let low_weight = 0.5 * (1.0 + half / root);
        if low < -1e-9 * m1 {
            return Err(bad());
        }
        Self::atoms([(low_weight, Seconds::new(low.max(0.0))?), (1.0 - low_weight, Seconds::new(high)?)])
    }

    /// Mean in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.moments()[0]
    }

    /// Raw moments E\[S\], E\[S²\], E\[S³\] in s, s², s³.
    #[must_use]
    pub fn moments(&self) -> [f64; 3] {
        match &self.shape {
            Shape::Atoms(atoms) => {
                let moment = |k| atoms.iter().map(|atom| atom.weight * atom.at.powi(k)).sum();
                [moment(1), moment(2), moment(3)]
            }
            Shape::Gamma { shift, k, theta } => {
                let (g1, g2) = (k * theta, k * (k + 1.0) * theta * theta);
                let g3 = g2 * (k + 2.0) * theta;
                [
                    shift + g1,
                    shift * shift + 2.0 * shift * g1 + g2,
                    shift.powi(3) + 3.0 * shift * shift * g1 + 3.0 * shift * g2 + g3,
                ]
            }
        }
    }

    /// Squared coefficient of variation; 0 of a constant.
    #[must_use]
    pub fn scv(&self) -> f64 {
        let [m1, m2, _] = self.moments();
        if m1 == 0.0 { 0.0 } else { (m2 / (m1 * m1) - 1.0).max(0.0) }
    }

    /// The same distribution with every time `factor` times as long.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let scale = |s: f64| (s * factor.max(0.0)).min(1e6);
        let shape = match &self.shape {
            Shape::Atoms(atoms) => {
                Shape::Atoms(atoms.iter().map(|atom| Atom { at: scale(atom.at), ..*atom }).collect())
            }
            Shape::Gamma { shift, k, theta } => {
                Shape::Gamma { shift: scale(*shift), k: *k, theta: scale(*theta) }
            }
        };
        Self { shape }
    }

    /// The same distribution with every time longer by this.
    #[must_use]
    pub fn later(&self, by: Seconds) -> Self {
        let add = |s: f64| (s + by.get()).min(1e6);
        let shape = match &self.shape {
            Shape::Atoms(atoms) => {
                Shape::Atoms(atoms.iter().map(|atom| Atom { at: add(atom.at), ..*atom }).collect())
            }
            Shape::Gamma { shift, k, theta } => Shape::Gamma { shift: add(*shift), k: *k, theta: *theta },
        };
        Self { shape }
    }

    /// Laplace–Stieltjes transform E\[e^{−sS}\] for Re s ≥ 0 (or above the negative of a gamma's rate).
    #[must_use]
    pub fn transform(&self, s: Complex64) -> Complex64 {
        match &self.shape {
            Shape::Atoms(atoms) => atoms.iter().map(|atom| (-s * atom.at).exp() * atom.weight).sum(),
            Shape::Gamma { shift, k, theta } => (-s * shift).exp() * (1.0 + s * theta).powf(-k),
        }
    }

    /// The transform and its derivative, for Re s ≥ 0.
    #[must_use]
    pub fn transform_and_slope(&self, s: Complex64) -> (Complex64, Complex64) {
        match &self.shape {
            Shape::Atoms(atoms) => {
                let (mut value, mut slope) = (Complex64::default(), Complex64::default());
                for atom in atoms {
                    let part = (-s * atom.at).exp() * atom.weight;
                    value += part;
                    slope -= part * atom.at;
                }
                (value, slope)
            }
            Shape::Gamma { shift, k, theta } => {
                let value = self.transform(s);
                (value, -value * (k * theta / (1.0 + s * theta) + shift))
            }
        }
    }

    /// The atoms, and the transform's continuous factor: the time is the sum of an independent atom and gamma variable.
    #[must_use]
    pub fn parts(&self) -> (&[Atom], Option<GammaPart>) {
        const ORIGIN: &[Atom] = &[Atom { weight: 1.0, at: 0.0 }];
        match &self.shape {
            Shape::Atoms(atoms) => (atoms, None),
            Shape::Gamma { shift, k, theta } => {
                (ORIGIN, Some(GammaPart { shift: *shift, k: *k, theta: *theta }))
            }
        }
    }

    /// Draws one.
    pub fn sample(&self, rng: &mut impl Rng) -> f64 {
        match &self.shape {
            Shape::Atoms(atoms) if atoms.len() == 1 => atoms[0].at,
            Shape::Atoms(atoms) => {
                let mut u: f64 = rng.random();
                for atom in atoms {
                    if u < atom.weight {
                        return atom.at;
                    }
                    u -= atom.weight;
                }
                atoms.last().map_or(0.0, |atom| atom.at)
            }
            Shape::Gamma { shift, k, theta } if *k == 1.0 => {
                let e: f64 = rand_distr::Exp1.sample(rng);
                shift + theta * e
            }
            Shape::Gamma { shift, k, theta } => {
                shift + rand_distr::Gamma::new(*k, *theta).map_or(k * theta, |gamma| gamma.sample(rng))
            }
        }
    }
}

/// `shift` plus a gamma variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaPart {
    /// Least value, s.
    pub shift: f64,
    /// Shape.
    pub k: f64,
    /// Scale, s.
    pub theta: f64,
}
