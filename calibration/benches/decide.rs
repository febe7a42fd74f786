//! What a prediction and an admission decision cost, allocations counted.
//!
//! `cargo bench -p edgemux-calibration --bench decide`

#![allow(clippy::expect_used, reason = "a benchmark that cannot make its system has failed")]

use std::num::NonZeroU32;

use divan::{AllocProfiler, Bencher, black_box};
use edgemux_calibration::admission::{Policy, decide};
use edgemux_calibration::predict::{Effort, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, Slicing, System};
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Seconds};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn seconds(s: f64) -> Seconds {
    Seconds::new(s).expect("in range")
}

/// Sessions of 5 to 60 ms under a p99 objective, the device busy 60 % of the time together with a newcomer.
fn system(kind: DeviceKind, sessions: usize) -> System {
    let mut device = Device::new("device", kind);
    if kind == DeviceKind::EdgeTpu {
        device.on_chip = 8 << 20;
    } else {
        device.mode = Mode::Concurrent { width: NonZeroU32::new(1 << 16).expect("not 0") };
    }
    let sessions = (0..sessions).map(|at| {
        let service = 0.005 + 0.055 * at as f64 / sessions as f64;
        let objective = Objective { statistic: Statistic::Quantile(Quantile::P99), latency: seconds(2.0) };
        let overhead = if kind == DeviceKind::EdgeTpu { 0.015 } else { 0.0 };
        let rate = 0.6 / (sessions as f64 * (service + overhead));
        Session {
            name: format!("session-{at}"),
            profile: Profile::new(ServiceTime::constant(seconds(service)))
                .with_reload(seconds(overhead), None),
            terms: Terms::poisson(Hertz::new(rate).expect("in range"), Some(objective)),
        }
    });
    System { device, host: Host::idle(NonZeroU32::new(4).expect("not 0")), sessions: sessions.collect() }
}

#[divan::bench(args = [1, 8, 32])]
fn predict_edgetpu(bencher: Bencher<'_, '_>, sessions: usize) {
    let (system, mut predictor) = (system(DeviceKind::EdgeTpu, sessions), Predictor::new(Effort::Formula));
    bencher.bench_local(|| predictor.predict(black_box(&system)).expect("stable"));
}

#[divan::bench(args = [1, 8, 32])]
fn predict_sharing(bencher: Bencher<'_, '_>, sessions: usize) {
    let (system, mut predictor) = (system(DeviceKind::Gpu, sessions), Predictor::new(Effort::Formula));
    bencher.bench_local(|| predictor.predict(black_box(&system)).expect("stable"));
}

fn decision(bencher: Bencher<'_, '_>, kind: DeviceKind, sessions: usize) {
    let (mut system, mut predictor) = (system(kind, sessions), Predictor::new(Effort::Formula));
    let newcomer = system.sessions.pop().expect("at least one");
    let policy = Policy { largest_rate: false, ..Policy::default() };
    bencher.bench_local(|| {
        let verdict =
            decide(&mut predictor, black_box(&system), None, &newcomer, &policy).expect("a decision");
        assert!(verdict.admitted);
        verdict
    });
}

#[divan::bench(args = [1, 8, 32])]
fn decide_edgetpu(bencher: Bencher<'_, '_>, sessions: usize) {
    decision(bencher, DeviceKind::EdgeTpu, sessions);
}

#[divan::bench(args = [1, 8, 32])]
fn decide_sharing(bencher: Bencher<'_, '_>, sessions: usize) {
    decision(bencher, DeviceKind::Gpu, sessions);
}

/// 16 devices of 32 sessions, a newcomer tried on each.
#[divan::bench]
fn decide_on_a_node_of_512(bencher: Bencher<'_, '_>) {
    let mut predictor = Predictor::new(Effort::Formula);
    let mut system = system(DeviceKind::EdgeTpu, 32);
    let newcomer = system.sessions.pop().expect("at least one");
    let policy = Policy { largest_rate: false, ..Policy::default() };
    bencher.bench_local(|| {
        let decide = |_| {
            decide(&mut predictor, black_box(&system), None, &newcomer, &policy).expect("a decision").admitted
        };
        assert_eq!((0..16).map(decide).filter(|&admitted| admitted).count(), 16);
    });
}

/// Sessions in turn, for which no formula holds, whose objectives are `wide` times what is predicted. The newcomer asks
/// for `asks` times the rate of that prediction.
fn simulated(bencher: Bencher<'_, '_>, sessions: usize, wide: f64, asks: f64, policy: &Policy) {
    let mut system = system(DeviceKind::Gpu, sessions);
    system.device.mode = Mode::TimeSliced(Slicing::RoundRobin { quantum: seconds(0.01) });
    let longest = policy.simulation.expect("may be simulated");
    let predicted = Predictor::new(Effort::Simulate(longest)).predict(&system).expect("stable");
    for (session, predicted) in system.sessions.iter_mut().zip(&predicted.sessions) {
        let latency = seconds(wide * predicted.quantile(Quantile::P99));
        session.terms.objective = Some(Objective { statistic: Statistic::Quantile(Quantile::P99), latency });
    }
    let mut newcomer = system.sessions.pop().expect("at least one");
    newcomer.terms.rate = Hertz::new(asks * newcomer.terms.rate.get()).expect("in range");
    let mut predictor = Predictor::new(Effort::Formula);
    bencher.bench_local(|| {
        let verdict =
            decide(&mut predictor, black_box(&system), None, &newcomer, policy).expect("a decision");
        assert_eq!(verdict.admitted, wide > 1.0 && asks <= 1.0);
        assert_eq!(verdict.largest_rate.is_some(), policy.largest_rate);
        verdict
    });
}

/// The short simulation decides.
#[divan::bench(args = [8, 32], sample_count = 10, sample_size = 1)]
fn simulate_once(bencher: Bencher<'_, '_>, sessions: usize) {
    simulated(bencher, sessions, 1.5, 1.0, &Policy { largest_rate: false, ..Policy::default() });
}

/// Nor does the longest decide: as long as one mode at one rate ever takes.
#[divan::bench(args = [8, 32], sample_count = 10, sample_size = 1)]
fn simulate_to_the_last(bencher: Bencher<'_, '_>, sessions: usize) {
    simulated(bencher, sessions, 1.0, 1.0, &Policy { largest_rate: false, ..Policy::default() });
}

/// Far too much is asked for, and the largest rate is looked for.
#[divan::bench(args = [8, 32], sample_count = 3, sample_size = 1)]
fn simulate_for_the_largest_rate(bencher: Bencher<'_, '_>, sessions: usize) {
    simulated(bencher, sessions, 1.2, sessions as f64 / 2.0, &Policy::default());
}
