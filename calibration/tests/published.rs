//! The formulas against the published measurements of a shared edgeTPU: 20 points, mean, p95 and p99.
//!
//! A measured point is itself uncertain: some rest on 124 requests. `docs/published.md` shows the points.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use edgemux_calibration::predict::{Effort, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::queueing::fcfs::Class;
use edgemux_calibration::queueing::paper;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::simulate::{Scenario, simulate};
use edgemux_calibration::system::{Device, DeviceKind, Host, Session, System};
use edgemux_calibration::terms::Terms;
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};

/// Mean and worst relative error, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Error {
    mean: f64,
    worst: f64,
}

/// Of the paper's mean, then of our mean, p95 and p99.
fn errors(profile: &str) -> [Error; 4] {
    let mut errors: [Vec<f64>; 4] = Default::default();
    let mut predictor = Predictor::new(Effort::Formula);
    for setting in rows(include_str!("../data/edgetpu_shared_latency.csv")).chunks(2) {
        let system = system(setting, profile);
        let prediction = predictor.predict(&system).unwrap();
        for (at, (row, latency)) in setting.iter().zip(&prediction.sessions).enumerate() {
            let quantile = |q| latency.quantile(q);
            let predicted =
                [by_the_paper(&system, at), latency.mean(), quantile(Quantile::P95), quantile(Quantile::P99)];
            for ((errors, predicted), column) in errors.iter_mut().zip(predicted).zip([5, 5, 7, 8]) {
                errors.push(100.0 * (predicted * 1e3 / number(row, column) - 1.0).abs());
            }
        }
    }
    let errors = errors.map(|errors| {
        assert_eq!(errors.len(), 20);
        Error { mean: errors.iter().sum::<f64>() / 20.0, worst: errors.iter().copied().fold(0.0, f64::max) }
    });
    println!("{profile}: {errors:.2?}");
    errors
}

fn system(setting: &[Vec<&str>], profile: &str) -> System {
    let ms = |ms: f64| Seconds::from_ms(ms).unwrap();
    let profiles = rows(include_str!("../data/edgetpu_profiles.csv"));
    let session = |row: &Vec<&str>| {
        let cost = profiles.iter().find(|cost| cost[0] == profile && cost[1] == row[2]).unwrap();
        let cv = number(cost, 3);
        Session {
            name: row[2].to_owned(),
            profile: Profile {
                cpu_after: ServiceTime::constant(ms(number(cost, 5))),
                ..Profile::of(ms(number(cost, 2)), Scv::new(cv * cv).unwrap())
                    .with_reload(ms(number(cost, 4)), None)
            },
            terms: Terms::poisson(Hertz::new(number(row, 4)).unwrap(), None),
        }
    };
    System {
        device: Device { on_chip: 8 << 20, ..Device::new("edgetpu", DeviceKind::EdgeTpu) },
        host: Host::idle(4.try_into().unwrap()),
        sessions: setting.iter().map(session).collect(),
    }
}

fn by_the_paper(system: &System, at: usize) -> f64 {
    let class = |(group, session): (usize, &Session)| -> (f64, ServiceTime, f64, usize) {
        (session.terms.rate.get(), session.profile.service.clone(), system.overhead(session), group)
    };
    let classes: Vec<_> = system.sessions.iter().enumerate().map(class).collect();
    let classes: Vec<Class<'_>> = classes
        .iter()
        .map(|(rate, service, overhead, group)| Class {
            rate: *rate,
            service,
            overhead: *overhead,
            group: *group,
        })
        .collect();
    let processor = system.sessions[at].profile.cpu_after.mean();
    paper::edgetpu_sojourn(&classes, at) + paper::cpu_sojourn(4, classes[at].rate, processor)
}

/// Lines below the comments and the header.
fn rows(text: &'static str) -> Vec<Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(|line| line.split(',').collect()).collect()
}

fn number(row: &[&str], column: usize) -> f64 {
    row[column].parse().unwrap()
}

/// What errors a model would show that is the very truth, were it measured for as long as the published points were.
fn noise() -> [f64; 3] {
    const SEEDS: u64 = 40;
    let mut errors = [0.0; 3];
    let mut predictor = Predictor::new(Effort::Formula);
    for setting in rows(include_str!("../data/edgetpu_shared_latency.csv")).chunks(2) {
        let system = system(setting, "corrected");
        let prediction = predictor.predict(&system).unwrap();
        let requests = setting.iter().map(|row| row[3].parse::<u64>().unwrap()).sum();
        for seed in 0..SEEDS {
            let outcome = simulate(&Scenario { seed, ..Scenario::new(&system, requests) }).unwrap();
            for (latency, seen) in prediction.sessions.iter().zip(&outcome.sessions) {
                let quantile = |q: Quantile| latency.quantile(q) / seen.sojourn.quantile(q.get());
                let ratios =
                    [latency.mean() / seen.sojourn.mean(), quantile(Quantile::P95), quantile(Quantile::P99)];
                for (error, ratio) in errors.iter_mut().zip(ratios) {
                    *error += 100.0 * (ratio - 1.0).abs() / (20 * SEEDS) as f64;
                }
            }
        }
    }
    println!("of the truth itself: {errors:.2?}");
    errors
}

/// What is promised, in per cent.
fn keeps_the_promise([_, mean, p95, p99]: [Error; 4]) {
    assert!(mean.mean <= 3.4 && mean.worst <= 9.0, "mean {mean:?}");
    assert!(p95.mean <= 6.5, "p95 {p95:?}");
    assert!(p99.mean <= 10.0, "p99 {p99:?}");
}

#[test]
fn with_the_reload_that_the_traces_show_the_promise_is_kept() {
    let errors = errors("corrected");
    keeps_the_promise(errors);
    assert!(
        (errors[0].mean - 4.7).abs() < 0.1 && (errors[0].worst - 12.8).abs() < 0.1,
        "the paper's: {errors:?}"
    );
}

#[test]
fn with_times_from_the_traces_it_is_kept_by_far() {
    let errors = errors("traces");
    keeps_the_promise(errors);
    assert!(errors[1].mean <= 2.5 && errors[1].worst <= 6.7, "{errors:?}");
    assert!(errors[2].mean <= 4.5 && errors[3].mean <= 8.6, "{errors:?}");
}

/// Here the mean alone is beyond the promise, by a third of a per cent.
#[test]
fn with_the_published_profile_it_is_closer_than_the_paper() {
    let [paper, mean, p95, p99] = errors("published");
    assert!((paper.mean - 5.1).abs() < 0.1 && (paper.worst - 13.5).abs() < 0.1, "the paper's: {paper:?}");
    assert!(mean.mean <= 3.8 && mean.worst <= 9.0, "{mean:?}");
    assert!(p95.mean <= 6.5 && p99.mean <= 10.0, "{p95:?} {p99:?}");
}

/// So the points cannot tell better models from worse ones at this level.
#[test]
fn the_truth_itself_would_be_off_by_as_much() {
    let noise = noise();
    let [_, mean, p95, p99] = errors("corrected");
    for (noise, error) in noise.into_iter().zip([mean, p95, p99]) {
        assert!(noise >= 0.9 * error.mean, "{noise} {error:?}");
    }
}
