//! The predictor against the simulator, on a seeded grid of mixes over all modes.
//!
//! ```sh
//! cargo test -p edgemux-calibration --test grid -- --nocapture --test-threads 1   # the table of docs/prediction.md
//! ```
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

mod mixes;

use edgemux_calibration::predict::{
    Effort, KnownError, Method, PredictError, Prediction, Predictor, Simulation,
};
use edgemux_calibration::simulate::{Observed, Outcome, Scenario, simulate};
use edgemux_calibration::system::System;
use edgemux_calibration::units::Quantile;
use mixes::{KINDS, Kind, mix};

/// Requests that the judge simulates per mix, and mixes per kind: `GRID_REQUESTS`, `GRID_SEEDS`.
fn judged() -> u64 {
    number("GRID_REQUESTS", 1_000_000)
}

fn seeds() -> u64 {
    number("GRID_SEEDS", 20)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// `GRID_KIND` looks at one kind only.
fn wanted(kind: Kind) -> bool {
    std::env::var("GRID_KIND").map_or(true, |only| only == format!("{kind:?}"))
}

fn judge(system: &System, seed: u64) -> Outcome {
    let outcome = simulate(&Scenario { seed: seed + 1_000_000, ..Scenario::new(system, judged()) }).unwrap();
    assert!(outcome.stable, "the judge sees no end of the queue");
    outcome
}

/// Relative difference, the judge's own standard error, and what the method is known to be off.
struct Difference {
    mix: String,
    relative: f64,
    noise: f64,
    known: f64,
}

/// Of mean, p95 and p99 of every session that the judge has seen often enough.
fn differences(kind: Kind, seed: u64, predicted: &Prediction) -> Vec<[Difference; 3]> {
    let outcome = judge(&mix(kind, seed), seed);
    let known = predicted.error;
    let of = |ours: f64, theirs: f64, error: f64, known: f64| Difference {
        mix: format!("{kind:?} {seed}"),
        relative: ours / theirs - 1.0,
        noise: error / theirs,
        known,
    };
    let seen = |seen: &&Observed| seen.completed >= 10_000;
    let pairs = predicted.sessions.iter().zip(&outcome.sessions).filter(|(_, s)| seen(s));
    let each = pairs.map(|(ours, seen)| {
        let (p95, p99) = (seen.sojourn.quantile(0.95), seen.sojourn.quantile(0.99));
        [
            of(ours.mean(), seen.sojourn.mean(), seen.errors.mean, known.mean),
            of(ours.quantile(Quantile::P95), p95, seen.errors.p95, known.p95),
            of(ours.quantile(Quantile::P99), p99, seen.errors.p99, known.p99),
        ]
    });
    each.collect()
}

/// The mean, the least and the greatest of some differences, in percent.
fn row(differences: &[[Difference; 3]], at: usize) -> String {
    let relative = || differences.iter().map(|d| d[at].relative * 100.0);
    let mean = relative().map(f64::abs).sum::<f64>() / differences.len() as f64;
    let noise = differences.iter().map(|d| d[at].noise * 100.0).sum::<f64>() / differences.len() as f64;
    let (least, most) = (relative().fold(0.0, f64::min), relative().fold(0.0, f64::max));
    format!("{mean:.2} ({least:+.1} to {most:+.1}; ±{noise:.1})")
}

/// Checks a kind's differences and prints its row.
fn check(kind: Kind, method: &str, mixes: usize, differences: &[[Difference; 3]]) {
    let (mean, p95, p99) = (row(differences, 0), row(differences, 1), row(differences, 2));
    println!("| {kind:?} | {method} | {mixes} | {} | {mean} | {p95} | {p99} |", differences.len());
    for differences in differences {
        for (what, d) in ["mean", "p95", "p99"].into_iter().zip(differences) {
            // Five standard errors: thousands of comparisons, and quantiles' errors are no normal variables.
            let most = d.known + 5.0 * d.noise + 0.002;
            assert!(
                d.relative.abs() <= most,
                "{}: {what} off by {:+.4}, at most {most:.4}",
                d.mix,
                d.relative,
            );
        }
    }
}

fn head() {
    println!(
        "\n| mixes of | method | mixes | sessions | mean, % | p95, % | p99, % |\n|---|---|---:|---:|---|---|---|"
    );
}

/// Where a formula's known error is within the promise it decides, and the judge agrees.
#[test]
fn formulas_are_within_their_known_error() {
    let mut predictor = Predictor::new(Effort::Formula);
    let mut by_formula = 0;
    head();
    for kind in KINDS.into_iter().filter(|kind| wanted(*kind)) {
        let (mut all, mut mixes, mut method) = (Vec::new(), 0, String::new());
        for seed in 0..seeds() {
            let system = mix(kind, seed);
            match predictor.predict(&system) {
                Ok(predicted) if predicted.error.mean < 0.5 => {
                    method = format!("{:?}", predicted.method);
                    mixes += 1;
                    all.extend(differences(kind, seed, &predicted));
                }
                Ok(_) | Err(PredictError::NoFormula(_)) => {}
                Err(error) => panic!("{kind:?} {seed}: {error}"),
            }
        }
        if mixes > 0 {
            check(kind, &method, mixes, &all);
            by_formula += mixes;
        }
    }
    assert!(by_formula > 0, "no mix was decided by a formula");
}

/// What is known of the quick formula is true as well.
#[test]
fn quick_answers_are_within_their_known_error() {
    let mut predictor = Predictor::new(Effort::Quick);
    head();
    let mut all = Vec::new();
    for seed in 0..seeds() {
        let system = mix(Kind::Sharing, seed);
        all.extend(differences(Kind::Sharing, seed, &predictor.predict(&system).unwrap()));
    }
    check(Kind::Sharing, "quick", seeds() as usize, &all);
}

/// Where no formula is good enough the predictor simulates, says so, and knows how sure that is.
#[test]
fn where_formulas_are_not_good_enough_the_simulator_decides() {
    let run = Simulation { requests: judged(), seed: 7 };
    let mut predictor = Predictor::new(Effort::Needed(run));
    head();
    for kind in [Kind::Runs, Kind::Arrivals, Kind::SpeedUp, Kind::Bounded, Kind::Driver, Kind::RoundRobin] {
        let (mut all, mut mixes) = (Vec::new(), 0);
        for seed in 0..seeds() {
            let system = mix(kind, seed);
            let predicted = predictor.predict(&system).unwrap();
            if let Method::Simulation { .. } = predicted.method {
                mixes += 1;
                all.extend(differences(kind, seed, &predicted));
            } else {
                assert!(predicted.error.within(KnownError::PROMISED), "{kind:?} {seed}");
            }
        }
        assert!(mixes > 0, "{kind:?} was never simulated");
        check(kind, "simulation", mixes, &all);
    }
}
