//! What holds of every prediction, over random mixes.

mod mixes;

use edgemux_calibration::admission::Summary;
use edgemux_calibration::predict::{Effort, PredictError, Prediction, Predictor};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::System;
use edgemux_calibration::units::{Hertz, Quantile};
use mixes::{KINDS, Kind, load, mix};
use proptest::prelude::*;

fn predict(system: &System) -> Result<Prediction, PredictError> {
    Predictor::new(Effort::Formula).predict(system)
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(KINDS.to_vec())
}

fn levels() -> [Quantile; 3] {
    [Quantile::P50, Quantile::P95, Quantile::P99]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn latencies_are_numbers_in_order(kind in kinds(), seed in 0..1000_u64) {
        match predict(&mix(kind, seed)) {
            Ok(prediction) => {
                prop_assert!((0.0..1.0).contains(&prediction.utilisation.device));
                for (session, system) in prediction.sessions.iter().zip(&mix(kind, seed).sessions) {
                    let [p50, p95, p99] = levels().map(|q| session.quantile(q));
                    prop_assert!(session.mean().is_finite() && p99.is_finite());
                    prop_assert!(session.mean() >= system.profile.service.mean() * (1.0 - 1e-9));
                    prop_assert!(p50 <= p95 && p95 <= p99, "{p50} {p95} {p99}");
                }
            }
            Err(PredictError::NoFormula(_)) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// Where hardly anybody waits, all quantiles are at one jump, and each is found to a hundred-thousandth.
    #[test]
    fn what_is_told_of_a_latency_is_in_order_however_little_there_is_to_do(seed in 0..1000_u64, rho in 1e-4..0.05_f64) {
        for kind in [Kind::FirstCome, Kind::FirstComeVaried, Kind::Ranks] {
            let mut system = mix(kind, seed);
            load(&mut system, rho);
            for session in &predict(&system).unwrap().sessions {
                let told = Summary::of(session);
                prop_assert!(told.p50 <= told.p95 && told.p95 <= told.p99, "{told:?}");
            }
        }
    }

    /// Work is neither lost nor made: the device is busy as long as what arrives takes.
    #[test]
    fn utilisation_is_the_sum_of_the_work(seed in 0..1000_u64, rho in 0.05..0.95_f64) {
        for kind in [Kind::FirstCome, Kind::FirstComeVaried, Kind::Reloads, Kind::Groups, Kind::Ranks, Kind::Sharing] {
            let mut system = mix(kind, seed);
            load(&mut system, rho);
            let prediction = predict(&system).unwrap();
            prop_assert!((prediction.utilisation.device / rho - 1.0).abs() < 1e-9, "{kind:?}");
        }
    }

    #[test]
    fn there_is_an_answer_exactly_when_the_device_keeps_up(kind in kinds(), seed in 0..1000_u64, rho in 0.1..2.0_f64) {
        // Where reloads depend on the order, a load in order of arrival says nothing.
        prop_assume!(kind != Kind::Runs && kind != Kind::Stages);
        let mut system = mix(kind, seed);
        load(&mut system, rho);
        match predict(&system) {
            Ok(_) => prop_assert!(rho < 1.0),
            Err(PredictError::Unstable { utilisation, .. }) => {
                prop_assert!(rho >= 1.0 - 1e-9 && (utilisation / rho - 1.0).abs() < 1e-6, "{utilisation} {rho}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// More requests never make anyone faster, where nothing is reloaded. (With reloads they may: a session that runs
    /// more often finds its parameters in place more often.)
    #[test]
    fn latency_rises_with_every_rate(seed in 0..1000_u64, which in 0..8_usize, more in 1.02..1.5_f64) {
        for kind in [Kind::FirstCome, Kind::FirstComeVaried, Kind::Ranks, Kind::Sharing, Kind::SpeedUp] {
            let mut system = mix(kind, seed);
            load(&mut system, 0.6);
            let before = predict(&system).unwrap();
            let at = which % system.sessions.len();
            let rate = &mut system.sessions[at].terms.rate;
            *rate = Hertz::new(rate.get() * more).unwrap();
            let after = predict(&system).unwrap();
            for (before, after) in before.sessions.iter().zip(&after.sessions) {
                prop_assert!(after.mean() >= before.mean() * (1.0 - 1e-9), "{kind:?}");
                for q in levels() {
                    // The grid's own error.
                    prop_assert!(after.quantile(q) >= before.quantile(q) * 0.99, "{kind:?} {q:?}");
                }
            }
        }
    }

    /// The same in seconds or in minutes.
    #[test]
    fn a_change_of_unit_changes_nothing(kind in kinds(), seed in 0..1000_u64, factor in 0.05..20.0_f64) {
        let system = mix(kind, seed);
        let mut scaled = system.clone();
        let scale = |service: &ServiceTime| service.scaled(factor);
        for session in &mut scaled.sessions {
            let profile = &mut session.profile;
            profile.service = scale(&profile.service);
            profile.cpu_before = scale(&profile.cpu_before);
            profile.cpu_after = scale(&profile.cpu_after);
            if let Some(reload) = &mut profile.reload {
                reload.overhead = reload.overhead.scaled(factor);
            }
            session.terms.rate = Hertz::new(session.terms.rate.get() / factor).unwrap();
        }
        if let Some(bus) = &mut scaled.device.bus {
            *bus = edgemux_calibration::system::Bus::new(bus.bytes_per_s() / factor).unwrap();
        }
        if let (Ok(one), Ok(other)) = (predict(&system), predict(&scaled)) {
            for (one, other) in one.sessions.iter().zip(&other.sessions) {
                prop_assert!((one.mean() * factor / other.mean() - 1.0).abs() < 1e-6);
                for q in levels() {
                    let ratio = one.quantile(q) * factor / other.quantile(q);
                    prop_assert!((ratio - 1.0).abs() < 1e-3, "{kind:?} {q:?} {ratio}");
                }
            }
        }
    }
}

/// A session of one name does not depend on the others' order.
#[test]
fn the_order_of_sessions_does_not_matter() {
    for kind in KINDS {
        let system = mix(kind, 3);
        let mut turned = system.clone();
        turned.sessions.reverse();
        if let (Ok(one), Ok(other)) = (predict(&system), predict(&turned)) {
            for (one, other) in one.sessions.iter().zip(other.sessions.iter().rev()) {
                let (a, b) = (one.quantile(Quantile::P95), other.quantile(Quantile::P95));
                assert!((a / b - 1.0).abs() < 1e-4, "{kind:?}: {a} {b}");
            }
        }
    }
}
