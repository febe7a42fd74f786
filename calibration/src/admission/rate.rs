//! The largest rate at which a newcomer would be admitted.

use super::{Policy, best, efforts};
use crate::predict::{Effort, Predictor, Simulation};
use crate::system::System;
use crate::units::Hertz;

/// Steps of the bisection: to a thousandth of where it begins.
const STEPS: u32 = 10;
/// Simulations on the way are so many times shorter than a decision's first.
const SHORTER: u64 = 8;
/// What the decision does not bear out is taken so much smaller, and so often.
const BACK: f64 = 0.97;
const BACK_STEPS: u32 = 8;

/// Looks for the largest rate of the last session of `joined` at which all objectives hold, below the rate it asked for
/// if that was refused, else above it. It is one that a decision was found to admit; none if there is none.
pub(super) fn largest(
    predictor: &mut Predictor,
    joined: &System,
    admitted: bool,
    policy: &Policy,
) -> Option<Hertz> {
    let mut system = joined.clone();
    let asked = system.sessions.last()?.terms.rate.get();
    let mut admits = |rate: f64, efforts: &[Effort]| {
        let Ok(rate) = Hertz::new(rate) else { return false };
        if let Some(newcomer) = system.sessions.last_mut() {
            newcomer.terms.rate = rate;
        }
        best(predictor, &system, policy, efforts).admits()
    };
    let [.., short, _] = efforts(policy);
    // How much more an admitted newcomer could have is no matter of life and death: formulas alone say so much at once.
    let on_the_way = match short {
        Effort::Simulate(run) if !admitted => {
            Effort::Simulate(Simulation { requests: run.requests / SHORTER + 1, ..run })
        }
        _ => Effort::Formula,
    };
    let on_the_way = [Effort::Quick, Effort::Formula, on_the_way];
    let (mut low, mut high) = if admitted {
        let mut low = asked;
        while low < asked * 1e6 && admits(low * 2.0, &on_the_way) {
            low *= 2.0;
        }
        (low, low * 2.0)
    } else {
        // What does not fit at next to nothing does not fit at all.
        let least = asked / 1024.0;
        if !admits(least, &on_the_way) {
            return None;
        }
        (least, asked)
    };
    for _ in 0..STEPS {
        let middle = low + (high - low) / 2.0;
        if admits(middle, &on_the_way) { low = middle } else { high = middle }
    }
    if !admitted {
        // As a decision would see it, but for the longest simulation, whose word would not be worse.
        let mut left = BACK_STEPS;
        while !admits(low, &[Effort::Quick, Effort::Formula, short]) {
            left = left.checked_sub(1)?;
            low *= BACK;
        }
    }
    Hertz::new(low).ok()
}
