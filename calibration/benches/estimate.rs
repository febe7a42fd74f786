//! What one request costs the estimators, allocations counted.
//!
//! `cargo bench -p edgemux-calibration --bench estimate`

#![allow(clippy::expect_used, reason = "a benchmark that cannot make its curve has failed")]

use std::hint::black_box;

use divan::{AllocProfiler, Bencher};
use edgemux_calibration::estimate::{
    Completed, Presence, ServiceEstimator, SessionEstimator, SpeedUpEstimator,
};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::SpeedUp;
use edgemux_calibration::units::Seconds;
use rand::SeedableRng;
use rand_distr::{Distribution, Exp1};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Times in s of mean 5 ms, drawn beforehand; a power of two of them.
fn times() -> Vec<f64> {
    let mut random = Random::seed_from_u64(1);
    let draw = |_| -> f64 { Exp1.sample(&mut random) };
    (0..4096).map(draw).map(|time: f64| 0.005 * time).collect()
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn service(bencher: Bencher<'_, '_>) {
    let (times, mut estimator, mut at) = (times(), ServiceEstimator::new(None), 0);
    bencher.bench_local(|| {
        at += 1;
        black_box(estimator.observe(times[at % 4096], 0.0))
    });
}

/// All that is done for request `at` of a session that is promised a quantile.
fn answer(estimator: &mut SessionEstimator, at: usize, work: f64) {
    let now = at as f64 * 0.01;
    estimator.arrived(now);
    let seen = Completed {
        waited: 0.001,
        occupied: work,
        work_alone: work,
        reload: 0.0,
        sojourn: work + 0.0012,
        conforming: true,
    };
    black_box(estimator.completed(now, seen, Some(0.025)));
}

#[divan::bench(sample_count = 200, sample_size = 1000)]
fn session(bencher: Bencher<'_, '_>) {
    let (times, mut estimator, mut at) = (times(), SessionEstimator::new(None, Some(0.99)), 0);
    bencher.bench_local(|| {
        at += 1;
        answer(&mut estimator, at, times[at % 4096]);
    });
}

/// 10⁷ of them: nothing is allocated.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn ten_million(bencher: Bencher<'_, '_>) {
    let (times, mut estimator) = (times(), SessionEstimator::new(None, Some(0.99)));
    bencher.bench_local(|| (0..10_000_000).for_each(|at| answer(&mut estimator, at, times[at % 4096])));
}

/// The same for the device's speed-up curve, solving for it now and then included.
#[divan::bench(args = [2, 4, 8, 32], sample_count = 200, sample_size = 1000)]
fn together(bencher: Bencher<'_, '_>, width: usize) {
    let (times, mut at, mut now) = (times(), 0, 0.0);
    let (mut presence, mut estimator) = (Presence::default(), SpeedUpEstimator::new(&SpeedUp::none(), width));
    let mut starts: Vec<_> = (0..width).map(|_| presence.started(now)).collect();
    bencher.bench_local(|| {
        at += 1;
        now += times[at % 4096];
        let place = at % width;
        let stay = presence.finished(now, &starts[place]);
        estimator.observe(stay.beside, &stay.occupied[..width], 0.005);
        starts[place] = presence.started(now);
        black_box(estimator.work(&stay.occupied[..width]))
    });
}

/// Not for every request: what is asked twice a second.
#[divan::bench]
fn apply(bencher: Bencher<'_, '_>) {
    let mut estimator = ServiceEstimator::new(None);
    for time in times() {
        estimator.observe(time, 0.0);
    }
    let mut profile = Profile::new(ServiceTime::constant(Seconds::new(0.005).expect("in range")));
    bencher.bench_local(|| estimator.apply(black_box(&mut profile)));
}

/// Nor is the curve with its errors.
#[divan::bench(args = [2, 8, 32])]
fn speed_up(bencher: Bencher<'_, '_>, width: usize) {
    let mut estimator = SpeedUpEstimator::new(&SpeedUp::none(), width);
    for (at, time) in times().into_iter().enumerate() {
        let (mut occupied, beside) = ([0.0; 32], 1 + at % width);
        occupied[beside - 1] = time * beside as f64;
        estimator.observe(beside, &occupied[..width], 0.005);
    }
    bencher.bench_local(|| black_box(estimator.speed_up()));
}
