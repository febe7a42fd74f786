//! The largest rate at which a newcomer would be admitted.

use super::{Policy, best};
use crate::predict::{Predictor, Simulation};
use crate::system::System;
use crate::units::Hertz;

/// Steps of the bisection: to a thousandth of where it begins.
const STEPS: u32 = 10;
/// Simulations are so many times shorter than those of a decision: a dozen rates are tried, and the wider margins of a short
/// one only make the rate that is found a little smaller.
const SHORTER: u64 = 32;

/// Looks for the largest rate of the last session of `joined` at which all objectives hold, below the rate it asked for
/// if that was refused, else above it. It is one that was found to hold; none if there is none.
pub(super) fn largest(
    predictor: &mut Predictor,
    joined: &System,
    admitted: bool,
    policy: &Policy,
) -> Option<Hertz> {
    let simulation = policy.simulation;
    let simulation = simulation.map(|run| Simulation { requests: (run.requests / SHORTER).max(1), ..run });
    let policy = &Policy { simulation, ..policy.clone() };
    let mut system = joined.clone();
    let asked = system.sessions.last()?.terms.rate.get();
    let mut holds = |rate: f64| {
        let Ok(rate) = Hertz::new(rate) else { return false };
        if let Some(newcomer) = system.sessions.last_mut() {
            newcomer.terms.rate = rate;
        }
        best(predictor, &system, policy).admits()
    };
    let (mut low, mut high) = if admitted {
        let mut low = asked;
        while low < asked * 1e6 && holds(low * 2.0) {
            low *= 2.0;
        }
        (low, low * 2.0)
    } else {
        // What does not fit at next to nothing does not fit at all.
        let least = asked / 1024.0;
        if !holds(least) {
            return None;
        }
        (least, asked)
    };
    for _ in 0..STEPS {
        let middle = low + (high - low) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    Hertz::new(low).ok()
}
