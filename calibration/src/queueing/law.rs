//! Distribution of a latency: tails, shifted and weighed.

use std::sync::Arc;

use super::tail::Tail;
use crate::service::{Atom, ServiceTime};
use statrs::distribution::{ContinuousCDF, Gamma};

/// P(T > t) = Σ weight·P(X > t − shift). Weights may be negative: a joint tail taken from a whole.
#[derive(Clone, Debug)]
pub struct Law {
    pieces: Vec<Piece>,
    mean: f64,
}

#[derive(Clone, Debug)]
struct Piece {
    weight: f64,
    shift: f64,
    rest: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    Tail(Arc<Tail>),
    Gamma(Gamma),
}

impl Law {
    /// A latency of this mean, in s, of which no piece is known yet.
    #[must_use]
    pub fn new(mean: f64) -> Self {
        Self { pieces: Vec::new(), mean }
    }

    /// Adds P(`tail` > t − `shift`), `weight` times.
    pub fn add(&mut self, weight: f64, shift: f64, tail: &Arc<Tail>) {
        if weight != 0.0 {
            self.pieces.push(Piece { weight, shift, rest: Rest::Tail(Arc::clone(tail)) });
        }
    }

    /// Adds a piece of this `shift` and a gamma variable of this mean and variance, s and s²; nothing of spread where
    /// either is too small to matter.
    pub fn add_gamma(&mut self, weight: f64, shift: f64, mean: f64, variance: f64) {
        let spread =
            (mean > 1e-12 && variance > 1e-24).then(|| Gamma::new(mean * mean / variance, mean / variance));
        let rest = match spread {
            Some(Ok(gamma)) => Rest::Gamma(gamma),
            _ => Rest::Tail(Arc::new(Tail::zero(1.0))),
        };
        self.pieces.push(Piece { weight, shift, rest });
    }

    /// The same after an independent delay of these values.
    #[must_use]
    pub fn delayed(&self, delays: &[Atom]) -> Self {
        let mean = self.mean + delays.iter().map(|delay| delay.weight * delay.at).sum::<f64>();
        let delayed = |piece: &Piece, delay: &Atom| Piece {
            weight: piece.weight * delay.weight,
            shift: piece.shift + delay.at,
            rest: piece.rest.clone(),
        };
        let pieces =
            self.pieces.iter().flat_map(|piece| delays.iter().map(move |delay| delayed(piece, delay)));
        Self { pieces: pieces.collect(), mean }
    }

    /// Mean, s.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// P(T > t).
    #[must_use]
    pub fn above(&self, t: f64) -> f64 {
        let above = self.pieces.iter().map(|piece| {
            let t = t - piece.shift;
            piece.weight
                * match &piece.rest {
                    Rest::Tail(tail) => tail.above(t),
                    Rest::Gamma(_) if t <= 0.0 => 1.0,
                    Rest::Gamma(gamma) => gamma.sf(t),
                }
        });
        above.sum::<f64>().clamp(0.0, 1.0)
    }

    /// The least t with P(T ≤ t) ≥ `q`, s.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let above = 1.0 - q;
        let (mut low, mut high) = (0.0, self.mean.max(1e-12));
        let (mut at_low, mut at_high) = (1.0 - above, self.above(high) - above);
        for _ in 0..64 {
            if at_high <= 0.0 {
                break;
            }
            (low, at_low) = (high, at_high);
            high *= 2.0;
            at_high = self.above(high) - above;
        }
        // To a hundred-thousandth: far below every model's own error. By chords, and by halves where these are slow:
        // at the jumps of nearly constant times.
        for round in 0..80 {
            if high - low <= 1e-5 * high {
                break;
            }
            let chord = if round % 3 == 2 { 0.5 } else { (at_low / (at_low - at_high)).clamp(0.01, 0.99) };
            let middle = low + (high - low) * chord;
            let at_middle = self.above(middle) - above;
            if at_middle <= 0.0 {
                (high, at_high) = (middle, at_middle)
            } else {
                (low, at_low) = (middle, at_middle)
            }
        }
        high
    }
}

/// A service time as at most about `most` values: its own atoms, or the means of slices of a gamma, ever finer towards its
/// tail, and fewer the less it varies.
#[must_use]
pub fn atoms(service: &ServiceTime, most: f64) -> Vec<Atom> {
    let (atoms, gamma) = service.parts();
    let Some(part) = gamma else { return atoms.to_vec() };
    let (Ok(gamma), Ok(heavier)) =
        (Gamma::new(part.k, 1.0 / part.theta), Gamma::new(part.k + 1.0, 1.0 / part.theta))
    else {
        return vec![Atom { weight: 1.0, at: service.mean() }];
    };
    let half = (service.scv().sqrt() * most / 2.0).clamp(10.0, most / 2.0).round();
    let lower = (1..=half as u32).map(|at| 0.5 * f64::from(at) / half);
    // From one half to all but 1/10,000, each step leaving the same part of what the last left.
    let upper = (1..=half as u32).map(|at| 1.0 - 0.5 * 2e-4_f64.powf(f64::from(at) / half));
    let edges = lower.chain(upper);
    let (mut atoms, mut probability, mut weighed) = (Vec::new(), 0.0, 0.0);
    for edge in edges.map(Some).chain([None]) {
        let (next, next_weighed) = match edge {
            Some(edge) => (edge, heavier.cdf(gamma.inverse_cdf(edge))),
            None => (1.0, 1.0),
        };
        let weight = next - probability;
        let at = part.shift + part.k * part.theta * (next_weighed - weighed) / weight;
        atoms.push(Atom { weight, at });
        (probability, weighed) = (next, next_weighed);
    }
    atoms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Scv, Seconds};

    #[test]
    fn atoms_keep_mean_and_nearly_the_spread() {
        for scv in [0.001, 0.05, 1.0, 4.0] {
            let service = ServiceTime::gamma(Seconds::new(0.02).unwrap(), Scv::new(scv).unwrap());
            let atoms = atoms(&service, 96.0);
            let moment = |k| atoms.iter().map(|a| a.weight * a.at.powi(k)).sum::<f64>();
            assert!((moment(0) - 1.0).abs() < 1e-9);
            assert!((moment(1) / 0.02 - 1.0).abs() < 1e-6, "{scv}");
            let spread = moment(2) / moment(1).powi(2) - 1.0;
            assert!((spread / scv - 1.0).abs() < 0.25, "{scv}: {spread}");
        }
    }

    #[test]
    fn a_gamma_piece_has_its_quantiles() {
        let mut law = Law::new(2.0);
        law.add_gamma(1.0, 1.0, 1.0, 1.0);
        assert!((law.quantile(0.99) - (1.0 + 100.0_f64.ln())).abs() < 1e-3);
        assert_eq!(law.above(0.5), 1.0);
    }
}
