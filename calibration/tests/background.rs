//! Beside background work every latency is predicted with one whole inference of it on top. Against the simulator, in which
//! a best-effort session that keeps the device busy stands for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

use edgemux_calibration::admission::{Policy, decide, review};
use edgemux_calibration::predict::{Effort, Predictor};
use edgemux_calibration::profile::Profile;
use edgemux_calibration::simulate::{Scenario, simulate};
use edgemux_calibration::system::{Background, Device, DeviceKind, Host, Mode, Session, System};
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};
use std::num::NonZeroU32;

fn ms(ms: f64) -> Seconds {
    Seconds::from_ms(ms).unwrap()
}

fn session(name: &str, service_ms: f64, rate: f64, p99_ms: Option<f64>) -> Session {
    let objective = p99_ms
        .map(|latency| Objective { statistic: Statistic::Quantile(Quantile::P99), latency: ms(latency) });
    Session {
        name: name.to_owned(),
        profile: Profile::of(ms(service_ms), Scv::ZERO),
        terms: Terms::poisson(Hertz::new(rate).unwrap(), objective),
    }
}

fn system(sessions: Vec<Session>, mode: Mode) -> System {
    let device = Device { mode, ..Device::new("d", DeviceKind::Gpu) };
    System { device, host: Host::idle(NonZeroU32::new(4).unwrap()), sessions }
}

#[test]
fn a_guaranteed_session_sees_no_more_than_is_predicted_beside_a_device_kept_busy() {
    let guaranteed = || session("a", 5.0, 40.0, Some(100.0));
    for hold_ms in [2.0, 20.0, 60.0] {
        // 0.2 of the time is for the guaranteed one: the rest, and nearly all of it, for best effort.
        let filler = session("filler", hold_ms, 0.78 / (hold_ms / 1e3), None);
        let seen = system(vec![guaranteed(), filler], Mode::FIRST_COME);
        let outcome = simulate(&Scenario { seed: 3, ..Scenario::new(&seen, 400_000) }).unwrap();
        let observed = &outcome.sessions[0].sojourn;
        let mut alone = system(vec![guaranteed()], Mode::FIRST_COME);
        let without = Predictor::new(Effort::Formula).predict(&alone).unwrap();
        alone.device.background = Some(Background { hold: ms(hold_ms) });
        let with = Predictor::new(Effort::Formula).predict(&alone).unwrap();
        let (without, with) = (&without.sessions[0], &with.sessions[0]);
        assert!(observed.quantile(0.5) > without.quantile(Quantile::P50), "it is felt");
        for quantile in [Quantile::P50, Quantile::P95, Quantile::P99] {
            let (seen, predicted) = (observed.quantile(quantile.get()), with.quantile(quantile));
            assert!(seen <= predicted, "hold {hold_ms} ms: {seen} s seen, {predicted} s predicted");
            assert!((predicted - without.quantile(quantile) - hold_ms / 1e3).abs() < 1e-12);
        }
        assert!(observed.mean() <= with.mean());
    }
}

#[test]
fn a_reload_is_always_paid_beside_background_work() {
    let mut edgetpu = system(vec![session("a", 5.0, 20.0, Some(100.0))], Mode::FIRST_COME);
    edgetpu.device.on_chip = 8 << 20;
    edgetpu.sessions[0].profile = edgetpu.sessions[0].profile.clone().with_reload(ms(3.0), None);
    let alone = Predictor::new(Effort::Formula).predict(&edgetpu).unwrap();
    assert!((alone.utilisation.device - 0.1).abs() < 1e-9, "alone it stays in place");
    edgetpu.device.background = Some(Background { hold: ms(1.0) });
    let beside = Predictor::new(Effort::Formula).predict(&edgetpu).unwrap();
    assert!((beside.utilisation.device - 0.16).abs() < 1e-9, "{}", beside.utilisation.device);
}

#[test]
fn a_second_look_finds_who_no_longer_fits_and_a_shortfall_narrows_the_room() {
    let mut there = system(vec![session("a", 5.0, 40.0, Some(20.0))], Mode::FIRST_COME);
    let mut predictor = Predictor::new(Effort::Formula);
    let policy = Policy { largest_rate: false, ..Policy::default() };
    assert!(review(&mut predictor, &there, None, &policy).unwrap().admitted);
    there.sessions[0].profile.uncertainty.shortfall = 1.0;
    let late = review(&mut predictor, &there, None, &policy).unwrap();
    assert!(!late.admitted && !late.tenants[0].holds);
    assert!(late.tenants[0].with_margin.unwrap() > 1.9 * late.tenants[0].predicted.unwrap());
    there.sessions[0].profile.uncertainty.shortfall = 0.0;
    there.device.background = Some(Background { hold: ms(50.0) });
    assert!(!review(&mut predictor, &there, None, &policy).unwrap().admitted);
    let newcomer = session("b", 1.0, 1.0, Some(500.0));
    assert!(!decide(&mut predictor, &there, None, &newcomer, &policy).unwrap().admitted);
}
