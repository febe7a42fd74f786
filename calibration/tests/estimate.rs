//! What is learned from samples, how fast, and how sure.
#![allow(clippy::unwrap_used, reason = "a test that cannot draw its samples has failed")]

use edgemux_calibration::estimate::{
    ArrivalEstimator, Completed, Margin, ServiceEstimator, SessionEstimator, Trajectory,
};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::SpeedUp;
use edgemux_calibration::units::{Scv, Seconds};
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

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

/// Requests of mean 1 arrive at `rate` and are served together by φ; a trajectory that begins with another curve hears of
/// it. Returns it, and the mean work that it found in the last half of the requests.
fn together(phi: &[f64], rate: f64, requests: usize) -> (Trajectory, f64) {
    let (mut random, mut trajectory) = (random(2), Trajectory::new(&SpeedUp::none(), phi.len()));
    // Work left, and the trajectory's at the start.
    let mut present: Vec<(f64, f64)> = Vec::new();
    let (mut now, mut next, mut done, mut found) = (0.0, 0.0, 0, 0.0);
    while done < requests {
        let n = present.len();
        let speed = if n == 0 { 0.0 } else { phi[n - 1] / n as f64 };
        let least = present.iter().map(|request| request.0).fold(f64::INFINITY, f64::min);
        let ends = now + least / speed.max(1e-300);
        let arrives = n < phi.len() && next <= ends;
        let then: f64 = if arrives { next } else { ends };
        let then = then.max(now);
        present.iter_mut().for_each(|request| request.0 -= (then - now) * speed);
        now = then;
        if arrives {
            present.push((Draw::Lognormal(0.3).sample(&mut random), trajectory.started(now)));
            next = now + Exp::new(rate).unwrap().sample(&mut random);
        } else {
            let at = present.iter().enumerate().min_by(|a, b| a.1.0.total_cmp(&b.1.0)).unwrap().0;
            let (_, before) = present.swap_remove(at);
            let work = trajectory.finished(now) - before;
            trajectory.completed(1.0);
            done += 1;
            found += if done > requests / 2 { work / (requests - requests / 2) as f64 } else { 0.0 };
        }
    }
    (trajectory, found)
}

#[test]
fn how_requests_slow_one_another_down_is_learned_and_what_each_takes_alone_is_still_told() {
    for (phi, rate) in [
        ([1.0, 1.5, 1.7, 1.7], 1.2),
        ([1.0, 1.5, 1.7, 1.7], 0.8),
        ([1.0, 1.0, 1.0, 1.0], 0.7),
        ([1.0, 2.0, 3.0, 4.0], 2.5),
    ] {
        let (trajectory, work) = together(&phi, rate, 40_000);
        let learned = trajectory.speed_up();
        for (at, &phi) in phi.iter().enumerate() {
            let off = learned.at(at + 1) / phi - 1.0;
            assert!(off.abs() < 0.08, "φ({}) = {} instead of {phi} at {rate}", at + 1, learned.at(at + 1));
        }
        assert!((work - 1.0).abs() < 0.03, "a request takes {work} alone, it is said");
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
