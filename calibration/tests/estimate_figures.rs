//! What the estimators promise, in figures, over many seeds; `-- --nocapture` shows them.
#![allow(clippy::unwrap_used, reason = "a test that cannot draw its samples has failed")]

use edgemux_calibration::archive::{Archive, Entry, Key};
use edgemux_calibration::estimate::{
    Completed, Margin, Presence, ServiceEstimator, SessionEstimator, SpeedUpEstimator, Start,
};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::SpeedUp;
use edgemux_calibration::units::Seconds;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp1, LogNormal};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

/// Draws of mean 1.
#[derive(Clone, Copy, Debug)]
enum Draw {
    /// But for a thousandth.
    Constant,
    /// Of this coefficient of variation.
    Lognormal(f64),
    Exponential,
    /// Three in a hundred take almost six times as long as the rest.
    TwoModes,
}

use Draw::{Constant, Exponential, Lognormal, TwoModes};

const ALL: [Draw; 6] = [Constant, Lognormal(0.1), Lognormal(0.5), Lognormal(1.0), Exponential, TwoModes];

impl Draw {
    fn sample(self, random: &mut Random) -> f64 {
        match self {
            Constant => 1.0 + 1e-3 * (random.random::<f64>() - 0.5),
            Lognormal(cv) => {
                let variance = (1.0 + cv * cv).ln();
                LogNormal::new(-variance / 2.0, variance.sqrt()).unwrap().sample(random)
            }
            Exponential => Exp1.sample(random),
            TwoModes if random.random::<f64>() < 0.03 => 5.0,
            TwoModes => 0.85 / 0.97,
        }
    }
}

fn random(seed: u64) -> Random {
    Random::seed_from_u64(seed)
}

fn learned(estimator: &ServiceEstimator) -> Profile {
    let mut profile = Profile::new(ServiceTime::constant(Seconds::ZERO));
    estimator.apply(&mut profile);
    profile
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn quantile(values: &mut [f64], quantile: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((quantile * values.len() as f64) as usize).min(values.len() - 1)]
}

#[test]
fn no_honest_tail_is_cut_and_no_outlier_counts() {
    for draw in ALL {
        let (mut random, mut clean, mut spoiled) =
            (random(9), ServiceEstimator::new(None), ServiceEstimator::new(None));
        let (mut truth, mut seen, mut with_outliers) = (0.0, 0.0, 0.0);
        for at in 0..300_000 {
            let sample = draw.sample(&mut random);
            clean.observe(sample, 0.0);
            let spoil = random.random::<f64>() < 0.005;
            spoiled.observe(if spoil { 100.0 } else { sample }, 0.0);
            if at >= 3000 {
                truth += sample;
                seen += clean.mean().unwrap();
                with_outliers += spoiled.mean().unwrap();
            }
        }
        let (bias, moved) = (seen / truth - 1.0, with_outliers / seen - 1.0);
        println!("{draw:?}: biased by {bias:+.4}, moved by outliers by {moved:+.4}");
        assert!(bias.abs() < 0.01, "{draw:?}: biased by {bias}");
        assert!(moved.abs() < 0.03, "{draw:?}: moved by {moved}");
    }
}

#[test]
fn slow_first_requests_are_soon_forgotten() {
    let (mut random, mut estimator) = (random(1), ServiceEstimator::new(None));
    for at in 0..64 {
        estimator.observe(if at < 3 { 100.0 } else { Lognormal(0.1).sample(&mut random) }, 0.0);
    }
    let mean = estimator.mean().unwrap();
    assert!((mean - 1.0).abs() < 0.05, "{mean}");
}

#[test]
fn what_is_frequent_is_no_outlier() {
    // One in ten takes fifty times as long: mean 5.9.
    let (mut random, mut estimator) = (random(1), ServiceEstimator::new(None));
    for _ in 0..5000 {
        estimator.observe(if random.random::<f64>() < 0.1 { 50.0 } else { 1.0 }, 0.0);
    }
    let mean = estimator.mean().unwrap();
    assert!((mean / 5.9 - 1.0).abs() < 0.25, "{mean}");
}

/// Delays until a step is noticed, relative errors of the mean after 60 samples, and of mean and standard deviation
/// after 200; over 200 seeds. And how often another step was seen, though there was none, in 3,000 samples.
struct Steps {
    delays: Vec<f64>,
    after_60: Vec<f64>,
    mean_after_200: Vec<f64>,
    tail_after_200: Vec<f64>,
    more: usize,
}

fn step(draw: Draw, factor: f64) -> Steps {
    let mut steps =
        Steps { delays: vec![], after_60: vec![], mean_after_200: vec![], tail_after_200: vec![], more: 0 };
    let true_tail = {
        let mut random = random(1000);
        let mut draws: Vec<f64> = (0..200_000).map(|_| draw.sample(&mut random)).collect();
        let mean = mean(draws.iter().copied());
        let scv = self::mean(draws.iter_mut().map(|x| (*x - mean).powi(2)));
        1.0 + 2.33 * scv.sqrt()
    };
    for seed in 0..200 {
        let (mut random, mut estimator) = (random(seed), ServiceEstimator::new(None));
        for _ in 0..1000 {
            estimator.observe(draw.sample(&mut random), 0.0);
        }
        let mut noticed = None;
        for at in 1..=3000 {
            if estimator.observe(factor * draw.sample(&mut random), 0.0).is_some() {
                steps.more += usize::from(noticed.is_some());
                noticed = noticed.or(Some(at));
            }
            let service = || learned(&estimator).service;
            if at == 60 {
                steps.after_60.push((service().mean() / factor - 1.0).abs());
            } else if at == 200 {
                let (mean, scv) = (service().mean() / factor, service().scv());
                steps.mean_after_200.push(mean - 1.0);
                steps.tail_after_200.push(mean * (1.0 + 2.33 * scv.sqrt()) / true_tail - 1.0);
            }
        }
        steps.delays.push(noticed.map_or(f64::INFINITY, f64::from));
    }
    steps
}

#[test]
fn a_step_is_noticed_within_some_tens_of_samples_and_learned() {
    for (draw, factor, mean_delay, after_60) in [
        (Constant, 2.0, 10.0, 0.01),
        (Constant, 0.5, 10.0, 0.01),
        (Constant, 1.1, 20.0, 0.01),
        (Lognormal(0.1), 2.0, 10.0, 0.1),
        (Lognormal(0.1), 0.5, 10.0, 0.1),
        (Lognormal(0.1), 1.1, 40.0, 0.1),
        (Lognormal(0.5), 2.0, 20.0, 0.1),
        (Lognormal(0.5), 0.5, 20.0, 0.1),
        (Lognormal(1.0), 2.0, 60.0, 0.5),
        (Lognormal(1.0), 0.5, 60.0, 0.9),
        (Exponential, 2.0, 60.0, 0.5),
        (Exponential, 0.5, 60.0, 0.9),
    ] {
        let mut steps = step(draw, factor);
        let delay = mean(steps.delays.iter().copied());
        let (median, most) = (quantile(&mut steps.delays, 0.5), quantile(&mut steps.delays, 0.95));
        let error = quantile(&mut steps.after_60, 0.5);
        let bias = mean(steps.mean_after_200.iter().copied());
        let tail = mean(steps.tail_after_200.iter().copied());
        println!(
            "{draw:?} × {factor}: noticed after {delay:.1} (median {median}, 95 % {most}); median error after 60 \
             {error:.3}; after 200 mean {bias:+.3}, tail {tail:+.3}; {} more alarms",
            steps.more
        );
        assert!(delay <= mean_delay, "{draw:?} × {factor}: noticed after {delay}");
        assert!(error <= after_60, "{draw:?} × {factor}: {error} off after 60");
        assert!(bias.abs() < 0.05, "{draw:?} × {factor}: {bias} off after 200");
        assert!(tail.abs() < 0.2, "{draw:?} × {factor}: tail {tail} off after 200");
        assert!(steps.more <= 40, "{draw:?} × {factor}: {} more alarms in 200 runs", steps.more);
    }
}

#[test]
fn false_alarms_are_rarer_than_one_in_a_hundred_thousand() {
    for draw in ALL {
        let (mut settled, mut fresh) = (0, 0);
        for seed in 0..4 {
            let (mut random, mut estimator) = (random(seed), ServiceEstimator::new(None));
            for _ in 0..500_000 {
                settled += usize::from(estimator.observe(draw.sample(&mut random), 0.0).is_some());
            }
        }
        for seed in 0..500 {
            let (mut random, mut estimator) = (random(seed), ServiceEstimator::new(None));
            for _ in 0..2000 {
                fresh += usize::from(estimator.observe(draw.sample(&mut random), 0.0).is_some());
            }
        }
        println!("{draw:?}: {settled} in 2,000,000 samples, {fresh} in 500 first 2,000");
        assert!(settled <= 20, "{draw:?}: {settled}");
        assert!(fresh <= 10, "{draw:?}: {fresh}");
    }
}

/// Who comes when.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Poisson arrivals per mean service time.
    Open(f64),
    /// Now one, now all at once, up to so many, when all before are done: as from cameras in step.
    InStep(usize),
}

/// Requests of mean 1 are served together by φ; returns an estimator that began with no speed-up, and the mean work that it
/// found in the last half of them.
fn together(phi: &[f64], load: Load, draw: Draw, requests: usize, seed: u64) -> (SpeedUpEstimator, f64) {
    let (mut random, mut presence) = (random(seed), Presence::default());
    let mut estimator = SpeedUpEstimator::new(&SpeedUp::none(), phi.len());
    let mut present: Vec<(f64, Start)> = Vec::new();
    let mut coming = vec![0.0];
    let (mut now, mut done, mut found) = (0.0_f64, 0, 0.0);
    while done < requests {
        let n = present.len();
        let speed = if n == 0 { 0.0 } else { phi[n - 1] / n as f64 };
        let least = present.iter().map(|request| request.0).fold(f64::INFINITY, f64::min);
        let ends = now + least / speed.max(1e-300);
        let next = coming.last().copied().unwrap_or(f64::INFINITY);
        let arrives = n < phi.len() && next <= ends;
        let then = if arrives { next } else { ends }.max(now);
        present.iter_mut().for_each(|request| request.0 -= (then - now) * speed);
        now = then;
        if arrives {
            coming.pop();
            present.push((draw.sample(&mut random), presence.started(now)));
            if let Load::Open(rate) = load {
                let gap: f64 = Exp1.sample(&mut random);
                coming.push(now + gap / rate);
            }
        } else {
            let first = present.iter().enumerate().min_by(|a, b| a.1.0.total_cmp(&b.1.0)).unwrap().0;
            let (_, start) = present.swap_remove(first);
            let stay = presence.finished(now, &start);
            done += 1;
            found += if done > requests / 2 { estimator.work(&stay.occupied) } else { 0.0 };
            estimator.observe(stay.beside, &stay.occupied, 1.0);
            if let (Load::InStep(most), true) = (load, present.is_empty()) {
                coming = vec![now + 0.1; random.random_range(1..=most)];
            }
        }
    }
    (estimator, found / (requests - requests / 2) as f64)
}

#[test]
fn the_speed_up_is_recovered_without_bias_and_its_error_is_known() {
    for draw in [Constant, Lognormal(0.1), Lognormal(0.3), Exponential] {
        for (phi, load) in [
            (&[1.0, 1.5, 1.7, 1.7][..], Load::Open(1.2)),
            (&[1.0, 1.5, 1.7, 1.7], Load::Open(0.8)),
            (&[1.0, 1.5, 1.7, 1.7], Load::InStep(4)),
            (&[1.0, 1.0, 1.0, 1.0], Load::Open(0.7)),
            (&[1.0, 2.0, 3.0, 4.0], Load::Open(2.5)),
            (&[1.0, 1.6, 1.9, 2.1, 2.2, 2.3, 2.3, 2.3], Load::Open(1.8)),
        ] {
            let runs: Vec<_> = (0..10).map(|seed| together(phi, load, draw, 20_000, seed)).collect();
            let off = |run: &SpeedUpEstimator, n: usize| run.speed_up().at(n) / phi[n - 1] - 1.0;
            let error = |run: &SpeedUpEstimator, n: usize| run.speed_up().error(n).unwrap();
            let (mut bias, mut worst, mut deviations) = (0.0_f64, 0.0_f64, 0.0_f64);
            for n in 2..=phi.len() {
                bias = bias.max(mean(runs.iter().map(|(run, _)| off(run, n))).abs());
                for (run, _) in &runs {
                    worst = worst.max(off(run, n).abs());
                    deviations = deviations.max(off(run, n).abs() / error(run, n));
                }
            }
            let work = mean(runs.iter().map(|(_, work)| *work));
            println!(
                "{draw:?} {phi:?} {load:?}: bias {bias:.3}, worst {worst:.3}, {deviations:.1} standard errors; \
                 work alone {work:.3}"
            );
            let (bias_max, worst_max) = if matches!(draw, Exponential) { (0.07, 0.3) } else { (0.02, 0.1) };
            assert!(bias < bias_max && worst < worst_max, "{draw:?} {phi:?} {load:?}: {bias}, {worst}");
            assert!(deviations < 4.0, "{draw:?} {phi:?} {load:?}: {deviations} standard errors off");
            assert!((work - 1.0).abs() < 0.03, "{draw:?} {phi:?} {load:?}: work {work}");
            if matches!(draw, Constant | Lognormal(0.1)) {
                assert!(worst < 0.05, "{draw:?} {phi:?} {load:?}: {worst}");
            }
        }
    }
}

#[test]
fn a_curve_stays_as_it_was_where_nothing_is_seen() {
    let prior = SpeedUp::new(vec![1.0, 1.5, 1.75]).unwrap();
    let mut estimator = SpeedUpEstimator::new(&prior, 3);
    for _ in 0..1000 {
        estimator.observe(1, &[1.0], 1.0);
    }
    let learned = estimator.speed_up();
    assert!((1..=3).all(|n| learned.at(n) == prior.at(n)));
    assert_eq!(learned.error(1), Some(0.0));
    assert!(learned.error(2) > Some(0.3) && learned.error(3) > Some(0.3), "{learned:?}");
    // What was measured before is not forgotten where nothing is seen.
    let measured = SpeedUp::measured([(1.0, 0.0), (1.5, 0.01), (1.75, 0.02)]).unwrap();
    assert_eq!(SpeedUpEstimator::new(&measured, 3).speed_up(), measured);
    for nonsense in [f64::NAN, -1.0, f64::INFINITY, 1e9] {
        estimator.observe(1, &[nonsense], 1.0);
        estimator.observe(2, &[0.0, 1.0], nonsense);
    }
    estimator.observe(0, &[1.0], 1.0);
    assert_eq!((estimator.samples(), estimator.rejected()), (1000, 9));
}

#[test]
fn the_margin_keeps_the_coverage_and_is_small_where_the_prediction_is_right() {
    let p99 = -(0.01_f64.ln());
    for (level, most) in [(1.0, 1.05), (0.7, 1.5), (2.0, 1.01)] {
        let (mut random, mut margin) = (random(1), Margin::new(0.99));
        let (mut covered, mut factors) = (0.0, 0.0);
        for at in 0..60_000 {
            let (sojourn, predicted) = (Exponential.sample(&mut random), level * p99);
            if at >= 3000 {
                covered += f64::from(sojourn <= predicted * margin.factor()) / 57_000.0;
                factors += margin.factor() / 57_000.0;
            }
            margin.observe(sojourn, predicted);
        }
        println!("predicted {level} of p99: {covered:.4} covered by a factor of {factors:.3}");
        assert!(covered >= 0.985 && factors <= most, "{level}: {covered}, {factors}");
        assert!((margin.recent_coverage() - margin.coverage()).abs() < 0.03);
        margin.observe(f64::NAN, 1.0);
        margin.observe(1.0, f64::NAN);
        assert_eq!(margin.rejected(), 2);
    }
}

fn seen(sojourn: f64) -> Completed {
    let (waited, occupied) = (0.2 * sojourn, 0.5 * sojourn);
    Completed { waited, occupied, work_alone: occupied, reload: 0.0, sojourn, conforming: true }
}

#[test]
fn the_last_latencies_are_told_from_those_before() {
    let mut session = SessionEstimator::new(None, None);
    for at in 1..=3000 {
        session.completed(f64::from(at), seen(f64::from(at)), None);
    }
    let observed = session.observed();
    assert_eq!((observed.count(), observed.quantile(0.0), observed.quantile(1.0)), (2048, 953.0, 3000.0));
    assert_eq!(observed.since(3).collect::<Vec<_>>(), [3000.0, 2999.0, 2998.0]);
    assert_eq!((observed.quantile_of_last(100, 0.0), observed.since(5000).count()), (2901.0, 2048));
}

#[test]
fn ten_million_requests_leave_it_as_large_as_it_was() {
    let size = size_of::<SessionEstimator>() + size_of::<[f32; 2048]>();
    let mut session = SessionEstimator::new(None, Some(0.99));
    for at in 0..10_000_000_u32 {
        let now = f64::from(at) * 1e-3;
        session.arrived(now);
        session.completed(now, seen(1e-3 * f64::from(1 + at % 7)), Some(0.01));
    }
    println!("{size} bytes for a session, {} for a device", size_of::<SpeedUpEstimator>());
    assert!(size <= 16 << 10);
    assert!((session.rate(1e4) - 1e3).abs() < 1.0 && session.rejected() == 0);
    let mut profile = Profile::new(ServiceTime::constant(Seconds::ZERO));
    session.apply(&mut profile);
    assert!((profile.service.mean() - 2e-3).abs() < 2e-5);
}

#[test]
fn numbers_that_are_none_are_counted_and_change_nothing() {
    let mut session = SessionEstimator::new(None, Some(0.5));
    session.arrived(0.0);
    session.completed(1.0, seen(1.0), Some(1.0));
    let before = (session.samples(), session.path_mean(), session.observed().count());
    for nonsense in [f64::NAN, -1.0, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let rejected = session.rejected();
        session.completed(1.0, Completed { reload: nonsense, ..seen(nonsense) }, Some(nonsense));
        assert_eq!(
            (session.samples(), session.path_mean(), session.observed().count()),
            before,
            "{nonsense}"
        );
        assert!(session.rejected() > rejected, "{nonsense}");
    }
}

proptest! {
    #[test]
    fn whatever_was_learned_can_be_kept_and_read_again(
        samples in prop::collection::vec((-9.0..6.0_f64, 0.0..1.0_f64), 1..200),
    ) {
        let mut estimator = ServiceEstimator::new(None);
        for (exponent, reload) in samples {
            estimator.observe(10_f64.powf(exponent), reload);
        }
        let key = Key { model_digest: "0".repeat(64), device: "d".into(), power_mode: "m".into() };
        let entry = Entry { key, profile: learned(&estimator), samples: 1, updated_unix_s: 1 };
        let bytes = Archive { entries: vec![entry], devices: vec![] }.to_bytes();
        let back = Archive::from_bytes(&bytes);
        prop_assert!(back.is_ok(), "{:?}", back);
    }
}
