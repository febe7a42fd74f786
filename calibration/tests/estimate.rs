//! What is learned from samples, how fast, and how sure.
#![allow(clippy::unwrap_used, reason = "a test that cannot draw its samples has failed")]

use edgemux_calibration::estimate::{
    ArrivalEstimator, BatchEstimator, Completed, Margin, ServiceEstimator, SessionEstimator,
};
use edgemux_calibration::profile::{Batching, Profile};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::units::{Scv, Seconds};
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use rand_xoshiro::Xoshiro256PlusPlus as Random;
use std::num::NonZeroU32;

/// Draws of mean 1: constant but for a thousandth, lognormal of this coefficient of variation, or exponential.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Constant,
    Lognormal(f64),
    Exponential,
}

impl Draw {
    const ALL: [Self; 5] =
        [Self::Constant, Self::Lognormal(0.1), Self::Lognormal(0.5), Self::Lognormal(1.0), Self::Exponential];

    fn sample(self, random: &mut Random) -> f64 {
        match self {
            Self::Constant => 1.0 + 1e-3 * (random.random::<f64>() - 0.5),
            Self::Lognormal(cv) => {
                let variance = (1.0 + cv * cv).ln();
                LogNormal::new(-variance / 2.0, variance.sqrt()).unwrap().sample(random)
            }
            Self::Exponential => Exp::new(1.0).unwrap().sample(random),
        }
    }
}

fn random(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

fn profile() -> Profile {
    Profile::new(ServiceTime::constant(Seconds::ZERO))
}

#[test]
fn mean_and_spread_are_learned_without_bias_whatever_the_tail() {
    for draw in Draw::ALL {
        let (mut means, mut scvs, runs) = (0.0, 0.0, 40);
        for seed in 0..runs {
            let (mut random, mut estimator) = (random(seed), ServiceEstimator::new(None));
            for _ in 0..3000 {
                estimator.observe(draw.sample(&mut random), 0.0);
            }
            let mut learned = profile();
            estimator.apply(&mut learned);
            means += learned.service.mean() / runs as f64;
            scvs += learned.service.scv() / runs as f64;
            let error = learned.uncertainty.service;
            assert!(((learned.service.mean() - 1.0).abs()) < 5.0 * error.max(1e-3), "{draw:?}: {error}");
        }
        assert!((means - 1.0_f64).abs() < 0.02, "{draw:?}: mean {means}");
        let spread = match draw {
            Draw::Constant => 0.0,
            Draw::Lognormal(cv) => cv * cv,
            Draw::Exponential => 1.0,
        };
        assert!((scvs - spread).abs() < 0.03 + 0.2 * spread, "{draw:?}: scv {scvs}");
    }
}

#[test]
fn rare_outliers_hardly_move_the_mean() {
    for draw in Draw::ALL {
        let (mut random, mut with, mut without) =
            (random(9), ServiceEstimator::new(None), ServiceEstimator::new(None));
        for at in 0..4000 {
            let sample = draw.sample(&mut random);
            without.observe(sample, 0.0);
            with.observe(if at % 200 == 100 { 100.0 } else { sample }, 0.0);
        }
        let moved = with.mean().unwrap() / without.mean().unwrap() - 1.0;
        assert!(moved.abs() < 0.06, "{draw:?}: moved by {moved}");
    }
}

/// Samples until a step by `factor` is noticed, and the mean so many samples after it; none if it is not within 2,000.
fn step(draw: Draw, factor: f64, seed: u64, look_after: usize) -> (Option<usize>, f64) {
    let (mut random, mut estimator) = (random(seed), ServiceEstimator::new(None));
    for _ in 0..500 {
        estimator.observe(draw.sample(&mut random), 0.0);
    }
    let (mut noticed, mut mean) = (None, 0.0);
    for at in 1..=2000 {
        let drift = estimator.observe(factor * draw.sample(&mut random), 0.0);
        noticed = noticed.or(drift.map(|_| at));
        if at == look_after {
            mean = estimator.mean().unwrap();
        }
    }
    (noticed, mean)
}

#[test]
fn a_step_is_noticed_soon_and_learned_within_two_hundred_samples() {
    for (draw, within) in [
        (Draw::Constant, 10),
        (Draw::Lognormal(0.1), 10),
        (Draw::Lognormal(0.5), 40),
        (Draw::Lognormal(1.0), 200),
        (Draw::Exponential, 200),
    ] {
        let (mut sum, mut worst) = (0.0, 0);
        for seed in 0..50 {
            let (noticed, mean) = step(draw, 2.0, seed, 200);
            worst = worst.max(noticed.expect("it is noticed"));
            sum += mean / 50.0;
        }
        println!("{draw:?}: twice as slow is noticed after at most {worst} samples");
        assert!(worst <= within, "{draw:?}: after {worst} samples");
        assert!((sum / 2.0 - 1.0_f64).abs() < 0.05, "{draw:?}: mean {sum} instead of 2");
    }
    // And back, and small steps where there is little spread.
    assert!(step(Draw::Lognormal(0.1), 0.5, 1, 200).0.unwrap() <= 10);
    assert!(step(Draw::Constant, 1.1, 1, 200).0.unwrap() <= 50);
}

#[test]
fn nothing_is_noticed_where_nothing_changes() {
    for draw in Draw::ALL {
        let mut alarms = 0;
        let (mut random, mut estimator) = (random(4), ServiceEstimator::new(None));
        for _ in 0..400_000 {
            alarms += usize::from(estimator.observe(draw.sample(&mut random), 0.0).is_some());
        }
        println!("{draw:?}: {alarms} false alarms in 400,000 samples");
        assert!(alarms <= 4, "{draw:?}: {alarms} false alarms");
    }
}

#[test]
fn a_prior_counts_until_samples_outweigh_it_and_reloads_are_apart() {
    let ms = |ms| Seconds::from_ms(ms).unwrap();
    let prior = Profile::of(ms(10.0), Scv::ZERO).with_reload(ms(4.0), None);
    let mut estimator = ServiceEstimator::new(Some((&prior, 16.0)));
    assert_eq!((estimator.samples(), estimator.mean()), (16, Some(0.01)));
    for at in 0..32 {
        estimator.observe(0.0102, if at % 2 == 0 { 0.005 } else { 0.0 });
    }
    let mut learned = prior.clone();
    estimator.apply(&mut learned);
    assert!(learned.service.mean() > 0.0100 && learned.service.mean() < 0.0102);
    let overhead = learned.reload.unwrap().overhead.get();
    assert!(overhead > 0.004 && overhead < 0.005, "{overhead}");
    for nonsense in [f64::NAN, -1.0, f64::INFINITY, 1e9, 0.0] {
        let before = estimator.mean();
        estimator.observe(nonsense, nonsense);
        assert_eq!(estimator.mean(), before, "{nonsense}");
    }
}

#[test]
fn arrivals_are_told_apart_by_rate_and_regularity() {
    let (mut random, mut poisson, mut periodic) =
        (random(1), ArrivalEstimator::default(), ArrivalEstimator::default());
    let mut now = 0.0;
    for at in 0..5000 {
        now += Exp::new(50.0).unwrap().sample(&mut random);
        poisson.arrived(now);
        periodic.arrived(f64::from(at) * 0.02);
    }
    assert!((poisson.rate(now) / 50.0 - 1.0).abs() < 0.25 && (poisson.scv() - 1.0).abs() < 0.4);
    assert!((periodic.rate(4999.0 * 0.02) / 50.0 - 1.0).abs() < 1e-3 && periodic.scv() < 1e-6);
    assert!(poisson.rate(now + 10.0) < 0.11, "none came for ten seconds");
    assert_eq!(ArrivalEstimator::default().rate(1.0), 0.0);
}

#[test]
fn the_error_of_a_rate_is_known() {
    for (mean, spread) in [(0.02, 0.0), (0.02, 1.0), (3.0, 1.0)] {
        let (mut within, mut errors) = (0, 0.0);
        for seed in 0..200 {
            let (mut random, mut arrivals, mut now) = (random(seed), ArrivalEstimator::default(), 0.0);
            for _ in 0..1000 {
                now += mean * (1.0 - spread + spread * Draw::Exponential.sample(&mut random));
                arrivals.arrived(now);
            }
            let error = arrivals.rate_error();
            within += u32::from((arrivals.rate(now) * mean - 1.0).abs() <= 2.0 * error + 1e-9);
            errors += error / 200.0;
        }
        assert!(within >= 185, "{mean} s, {spread}: {within} of 200 within two standard errors of {errors}");
        assert!(errors <= 0.06, "{errors}");
    }
    assert!(ArrivalEstimator::default().rate_error() > 0.2, "nothing is known yet");
}

#[test]
fn a_night_without_requests_is_forgotten_in_the_morning_and_the_pauses_of_bursts_are_not() {
    let (mut random, mut arrivals, mut now) = (random(3), ArrivalEstimator::default(), 0.0);
    let mut come = |arrivals: &mut ArrivalEstimator, pause: f64, count: u32| {
        now += pause;
        for _ in 0..count {
            now += 0.01 * Draw::Exponential.sample(&mut random);
            arrivals.arrived(now);
        }
        (arrivals.rate(now), arrivals.scv())
    };
    come(&mut arrivals, 0.0, 1000);
    let (rate, scv) = come(&mut arrivals, 30_000.0, 1000);
    assert!((rate / 100.0 - 1.0).abs() < 0.3, "{rate} per second");
    assert!(scv < 4.0, "{scv}");
    // 100 in a second, then ten seconds none: 9.1 per second.
    let (mut rates, mut scvs) = (0.0, 0.0);
    for at in 0..40 {
        let (rate, scv) = come(&mut arrivals, 10.0, 100);
        if at >= 20 {
            (rates, scvs) = (rates + rate / 20.0, scvs + scv / 20.0);
        }
    }
    assert!((rates / 9.1 - 1.0).abs() < 0.3 && scvs > 20.0, "{rates} per second, {scvs}");
}

#[test]
fn what_runs_together_is_told_by_a_line_whatever_the_sizes_are() {
    for (fixed, each) in [(4.0, 1.0), (0.0, 2.0), (5.0, 0.0)] {
        let (mut random, mut batches) = (random(6), BatchEstimator::default());
        for at in 0..4000 {
            let size = 1 + random.random_range(0..8);
            let spread = Draw::Lognormal(0.2).sample(&mut random);
            let fault = if at % 300 == 299 { 50.0 } else { 1.0 };
            batches.observe(size, (fixed + each * f64::from(size)) * spread * fault);
        }
        let (a, b) = batches.line().unwrap();
        assert!((a - fixed).abs() < 0.5 && (b - each).abs() < 0.15, "{a} + {b}·n, not {fixed} + {each}·n");
        assert!(a >= 0.0 && b >= 0.0);
    }
    let mut batches = BatchEstimator::default();
    assert_eq!(batches.line(), None);
    for _ in 0..50 {
        batches.observe(4, 0.02);
    }
    let (fixed, each) = batches.line().unwrap();
    assert!(fixed < 1e-3 && (fixed + 4.0 * each - 0.02).abs() < 1e-4, "nothing is gained until it is seen");
    let before = batches;
    for (size, nonsense) in [(0, 1.0), (1, f64::NAN), (1, -1.0), (1, 0.0), (1, f64::INFINITY)] {
        batches.observe(size, nonsense);
    }
    assert_eq!((batches.line(), batches.rejected()), (before.line(), 5));
}

/// A session whose inferences of several take 4 ms and 1 ms for each, times `factor`.
fn batched(
    session: &mut SessionEstimator,
    random: &mut Random,
    sizes: [u32; 2],
    factor: f64,
    count: u32,
) -> u32 {
    let drifts = (0..count).filter(|&at| {
        let size = sizes[(random.random::<u32>() % 2) as usize];
        let work = factor * (0.004 + 0.001 * f64::from(size)) * Draw::Lognormal(0.05).sample(random);
        let seen = Completed {
            waited: 0.0,
            occupied: work,
            work_alone: work,
            reload: 0.0,
            sojourn: work,
            conforming: true,
        };
        session.completed_together(f64::from(at), size, seen, None).is_some()
    });
    drifts.count() as u32
}

#[test]
fn larger_batches_are_no_drift_and_slower_ones_are() {
    let (mut random, mut session) = (random(8), SessionEstimator::batching(None, None));
    batched(&mut session, &mut random, [1, 2], 1.0, 1000);
    assert_eq!(batched(&mut session, &mut random, [7, 8], 1.0, 2000), 0);
    let mut learned = profile();
    learned.batching = Some(Batching {
        size_max: NonZeroU32::new(8).unwrap(),
        fixed: Seconds::ZERO,
        per_item: Seconds::ZERO,
        delay_max: Seconds::ZERO,
    });
    session.apply(&mut learned);
    let Batching { fixed, per_item, .. } = learned.batching.unwrap();
    assert!((fixed.ms() - 4.0).abs() < 0.4 && (per_item.ms() - 1.0).abs() < 0.06, "{fixed:?} {per_item:?}");
    assert!((learned.service.mean() - 0.005).abs() < 5e-4, "one alone takes 5 ms");
    assert_eq!(batched(&mut session, &mut random, [1, 8], 2.0, 200), 1);
    session.apply(&mut learned);
    let Batching { fixed, per_item, .. } = learned.batching.unwrap();
    assert!((fixed.ms() - 8.0).abs() < 1.0 && (per_item.ms() - 2.0).abs() < 0.2, "{fixed:?} {per_item:?}");
    // What was learned is where the next one begins.
    let again = SessionEstimator::batching(Some((&learned, 100.0)), None);
    let mut restored = profile();
    restored.batching = learned.batching;
    again.apply(&mut restored);
    let off = |a: Seconds, b: Seconds| (a.get() - b.get()).abs();
    let batching = restored.batching.unwrap();
    assert!(off(batching.fixed, fixed) < 1e-4 && off(batching.per_item, per_item) < 1e-5, "{restored:?}");
    assert!((restored.service.mean() / learned.service.mean() - 1.0).abs() < 0.01);
}

#[test]
fn one_answer_that_was_long_under_way_hardly_moves_the_path() {
    let (mut random, mut session) = (random(2), SessionEstimator::new(None, None));
    let answer = |session: &mut SessionEstimator, path: f64| {
        let seen = Completed {
            waited: 0.001,
            occupied: 0.004,
            work_alone: 0.004,
            reload: 0.0,
            sojourn: 0.005 + path,
            conforming: true,
        };
        session.completed(0.0, seen, None);
    };
    for _ in 0..2000 {
        answer(&mut session, 1e-4 * Draw::Lognormal(0.5).sample(&mut random));
    }
    let before = session.path_mean();
    assert!((before / 1e-4 - 1.0).abs() < 4.0 * session.path_error() && session.path_error() < 0.06);
    answer(&mut session, 1.0);
    assert!(session.path_mean() / before < 1.05);
}

#[test]
fn the_margin_covers_what_a_prediction_falls_short_of_and_goes_again() {
    let (mut random, mut margin) = (random(5), Margin::new(0.99));
    let p99 = -(0.01_f64.ln());
    let run = |margin: &mut Margin, random: &mut Random, predicted: f64, count: u32| {
        let (mut within, mut factors) = (0, 0.0);
        for _ in 0..count {
            let sojourn = Draw::Exponential.sample(random);
            within += u32::from(sojourn <= predicted * margin.factor());
            margin.observe(sojourn, predicted);
            factors += margin.factor() / f64::from(count);
        }
        (f64::from(within) / f64::from(count), factors)
    };
    let (_, right) = run(&mut margin, &mut random, p99, 20_000);
    assert!(right < 1.06, "a right prediction is lengthened by {right}");
    run(&mut margin, &mut random, 0.7 * p99, 2000);
    let (covered, factor) = run(&mut margin, &mut random, 0.7 * p99, 20_000);
    assert!(covered >= 0.985 && factor > 1.3 && factor < 1.7, "{covered} covered by {factor}");
    let (_, right) = run(&mut margin, &mut random, 2.0 * p99, 20_000);
    assert!(right < 1.05 && margin.factor() == 1.0);
    assert!(margin.coverage() > 0.9 && margin.coverage() < 1.0);
}

#[test]
fn a_session_counts_only_what_was_within_its_terms() {
    let mut session = SessionEstimator::new(None, Some(0.9));
    let seen = Completed {
        waited: 1.0,
        occupied: 2.0,
        work_alone: 2.0,
        reload: 0.0,
        sojourn: 3.5,
        conforming: true,
    };
    for at in 0..100 {
        session.arrived(f64::from(at));
        session.completed(f64::from(at), Completed { conforming: at % 2 == 0, ..seen }, Some(3.0));
    }
    assert_eq!(session.observed().count(), 50);
    assert_eq!((session.observed().mean(), session.observed().quantile(0.99)), (3.5, 3.5));
    assert_eq!(session.margin().unwrap().coverage(), 0.0);
    assert!(session.margin().unwrap().factor() > 1.1);
    assert!(session.path_mean() > 0.1 && session.path_mean() <= 0.5);
    assert_eq!((session.alone(), session.age(101.0)), (2.0, Some(2.0)));
    assert_eq!(session.samples(), 91);
}
