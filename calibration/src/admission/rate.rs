//! The largest rate at which a newcomer would be admitted.

use super::{Policy, best, efforts};
use crate::predict::{Effort, Predictor, Simulation};
use crate::system::System;
use crate::units::Hertz;

/// Steps of the bisection: to a thousandth of where it begins.
const STEPS: u32 = 10;
/// Simulations on the way are so many times shorter than a decision's first.
const SHORTER: u64 = 8;
/// What a decision's first simulation does not bear out is taken so much smaller, and so often.
const BACK: f64 = 0.97;
const BACK_STEPS: u32 = 8;
/// What it never bears out, as of a newcomer too rare for it, is left to the longest at these parts.
const LAST: [f64; 2] = [0.9, 0.5];

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
    let mut outlook = |rate: f64, efforts: &[Effort]| {
        let rate = Hertz::new(rate).ok()?;
        if let Some(newcomer) = system.sessions.last_mut() {
            newcomer.terms.rate = rate;
        }
        Some(best(predictor, &system, policy, efforts))
    };
    let [quick, formula, short, long] = efforts(policy);
    if admitted {
        // How much more it could have is no matter of life and death: formulas alone say so much at once.
        let holds = |rate| outlook(rate, &[quick, formula]).is_some_and(|outlook| outlook.admits());
        return Hertz::new(above(asked, holds)).ok();
    }
    // On the way what is likely is enough: the margins of a shorter simulation would say nothing but how short it was.
    let shorter = match short {
        Effort::Simulate(run) => Effort::Simulate(Simulation { requests: run.requests / SHORTER + 1, ..run }),
        other => other,
    };
    let is_likely =
        |rate| outlook(rate, &[quick, formula, shorter]).is_some_and(|outlook| outlook.is_likely());
    let likely = below(asked, is_likely)?;
    let mut admits =
        |rate: f64, efforts: &[Effort]| outlook(rate, efforts).is_some_and(|outlook| outlook.admits());
    let mut rate = likely;
    for _ in 0..BACK_STEPS {
        if admits(rate, &[quick, formula, short]) {
            return Hertz::new(rate).ok();
        }
        rate *= BACK;
    }
    let mut last = LAST.into_iter().map(|part| part * likely);
    last.find(|&rate| admits(rate, &[quick, formula, short, long])).and_then(|rate| Hertz::new(rate).ok())
}

/// The largest that holds from one that is known to hold.
fn above(asked: f64, mut holds: impl FnMut(f64) -> bool) -> f64 {
    let mut low = asked;
    while low < asked * 1e6 && holds(low * 2.0) {
        low *= 2.0;
    }
    between(low, low * 2.0, holds)
}

/// The largest that holds below one that does not. What does not fit at next to nothing does not fit at all.
fn below(asked: f64, mut holds: impl FnMut(f64) -> bool) -> Option<f64> {
    let least = asked / 1024.0;
    holds(least).then(|| between(least, asked, holds))
}

fn between(mut low: f64, mut high: f64, mut holds: impl FnMut(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = low + (high - low) / 2.0;
        if holds(middle) { low = middle } else { high = middle }
    }
    low
}
