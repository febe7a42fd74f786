//! Where the distribution is known in closed form, the predictor gives it.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

use std::num::NonZeroU32;

use edgemux_calibration::predict::{Effort, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, System};
use edgemux_calibration::terms::Terms;
use edgemux_calibration::units::{Hertz, Quantile, Seconds};

fn system(mode: Mode, sessions: impl IntoIterator<Item = (f64, ServiceTime)>) -> System {
    let mut device = Device::new("device", DeviceKind::Gpu);
    device.mode = mode;
    let sessions = sessions.into_iter().enumerate().map(|(at, (rate, service))| Session {
        name: format!("s{at}"),
        profile: Profile::new(service),
        terms: Terms::poisson(Hertz::new(rate).unwrap(), None),
    });
    System { device, host: Host::idle(NonZeroU32::MIN), sessions: sessions.collect() }
}

fn sharing() -> Mode {
    Mode::Concurrent { width: NonZeroU32::new(1 << 20).unwrap() }
}

fn constant(s: f64) -> ServiceTime {
    ServiceTime::constant(Seconds::new(s).unwrap())
}

fn exponential(s: f64) -> ServiceTime {
    ServiceTime::exponential(Seconds::new(s).unwrap())
}

fn quantiles(system: &System, at: usize) -> impl Fn(f64) -> f64 + use<> {
    let prediction = Predictor::new(Effort::Formula).predict(system).unwrap();
    let latency = prediction.sessions[at].clone();
    move |q| latency.quantile(Quantile::new(q).unwrap())
}

#[track_caller]
fn near(ours: f64, exact: f64, relative: f64) {
    assert!((ours / exact - 1.0).abs() <= relative, "{ours} instead of {exact}");
}

/// M/M/1, first come first served: T is exponential with rate μ − λ.
#[test]
fn exponential_service_in_order() {
    for rho in [0.2, 0.5, 0.8, 0.9] {
        let quantile = quantiles(&system(Mode::FIRST_COME, [(rho / 0.01, exponential(0.01))]), 0);
        for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
            near(quantile(q), -(1.0_f64 - q).ln() * 0.01 / (1.0 - rho), 0.01);
        }
    }
}

/// M/D/1: P(W ≤ t) = (1 − ρ)·Σ_{k ≤ t/D} e^{−λ(kD−t)}·(λ(kD − t))ᵏ/k! (Erlang 1909, Crommelin 1932).
#[test]
fn constant_service_in_order() {
    let below = |rho: f64, t: f64| {
        let terms = (0..=t.floor() as i32).map(|k| {
            let x = rho * (f64::from(k) - t);
            let factorial: f64 = (1..=k).map(f64::from).product();
            (-x).exp() * x.powi(k) / factorial
        });
        (1.0 - rho) * terms.sum::<f64>()
    };
    for rho in [0.2, 0.5, 0.8] {
        let quantile = quantiles(&system(Mode::FIRST_COME, [(rho / 0.02, constant(0.02))]), 0);
        for q in [0.9, 0.95, 0.99] {
            // A sojourn is the wait and one service.
            let wait = quantile(q) / 0.02 - 1.0;
            assert!((below(rho, wait) - q).abs() < 2e-3, "ρ {rho} q {q}: {}", below(rho, wait));
        }
    }
}

/// Processor sharing: s/(1 − ρ) on average, whatever the others' service times are; and the distribution that is inverted
/// has that mean.
#[test]
fn sharing_is_insensitive() {
    for other in [constant(0.05), exponential(0.05)] {
        let system = system(sharing(), [(20.0, constant(0.01)), (8.0, other)]);
        let prediction = Predictor::new(Effort::Formula).predict(&system).unwrap();
        near(prediction.sessions[0].mean(), 0.01 / 0.4, 1e-9);
        let area: f64 = (0..2000)
            .map(|i| prediction.sessions[0].quantile(Quantile::new((f64::from(i) + 0.5) / 2000.0).unwrap()))
            .sum();
        near(area / 2000.0, 0.01 / 0.4, 0.01);
    }
}

/// M/M/1 under processor sharing: Var T = (2 + ρ)/(2 − ρ)·E[T]² (Coffman, Muntz and Trotter 1970).
#[test]
fn exponential_service_sharing() {
    for rho in [0.3, 0.6, 0.8] {
        let quantile = quantiles(&system(sharing(), [(rho / 0.01, exponential(0.01))]), 0);
        let points = 4000;
        let moment = |k| {
            let each = (0..points).map(|i| quantile((f64::from(i) + 0.5) / f64::from(points)).powi(k));
            each.sum::<f64>() / f64::from(points)
        };
        let mean = moment(1);
        near(mean, 0.01 / (1.0 - rho), 0.01);
        // The tail beyond the last point is missing from a sum over quantiles: a few percent of the variance.
        near(moment(2) - mean * mean, (2.0 + rho) / (2.0 - rho) * mean * mean, 0.04);
    }
}
