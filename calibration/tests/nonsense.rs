//! Garbage in: a typed error or a finite answer, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

use std::num::NonZeroU32;

use edgemux_calibration::admission::{Policy, decide};
use edgemux_calibration::predict::{Effort, Predictor, Simulation};
use edgemux_calibration::profile::{Batching, Group, Profile, Uncertainty};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Bus, Device, DeviceKind, Host, Mode, Session, Slicing, SpeedUp, System};
use edgemux_calibration::terms::{Objective, Priority, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};
use proptest::prelude::*;

/// Any bits at all, and the numbers that break things.
fn any_number() -> impl Strategy<Value = f64> {
    let edges =
        vec![0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, f64::MIN_POSITIVE, f64::MAX, f64::NAN, f64::INFINITY];
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(edges),
        (-30.0..30.0_f64).prop_map(|e| 10_f64.powf(e)),
    ]
}

/// Within the range of the quantity, over its whole width.
fn seconds() -> impl Strategy<Value = Seconds> {
    prop_oneof![Just(Seconds::ZERO), (-12.0..6.0_f64).prop_map(|e| Seconds::new(10_f64.powf(e)).unwrap())]
}

fn service() -> impl Strategy<Value = ServiceTime> {
    prop_oneof![
        seconds().prop_map(ServiceTime::constant),
        (seconds(), -6.0..4.0_f64)
            .prop_map(|(s, e)| ServiceTime::gamma(s, Scv::new(10_f64.powf(e)).unwrap())),
        prop::collection::vec((0.01..1.0_f64, seconds()), 1..5)
            .prop_map(|atoms| ServiceTime::atoms(atoms).unwrap()),
    ]
}

fn profile() -> impl Strategy<Value = Profile> {
    let reload = prop::option::of((seconds(), prop::option::of(0..3_u32)));
    let batching = prop::option::weighted(0.1, (1..9_u32, seconds(), seconds(), seconds()));
    (service(), reload, service(), any::<u64>(), batching, 0.0..1.0_f64).prop_map(
        |(service, reload, cpu, bytes_moved, batching, error)| {
            let mut profile = Profile::new(service);
            if let Some((overhead, group)) = reload {
                profile = profile.with_reload(overhead, group.map(Group));
            }
            profile.cpu_after = cpu;
            profile.bytes_moved = bytes_moved;
            profile.uncertainty = Uncertainty::new(error, error).unwrap();
            profile.batching = batching.map(|(size, fixed, per_item, delay_max)| Batching {
                size_max: NonZeroU32::new(size).unwrap(),
                fixed,
                per_item,
                delay_max,
            });
            profile
        },
    )
}

fn terms() -> impl Strategy<Value = Terms> {
    let objective = prop::option::of((prop::option::of(1e-6..0.999_999_f64), seconds()));
    (-6.0..6.0_f64, prop::sample::select(vec![0.0, 0.5, 1.0, 1e4]), objective, 0..3_u32).prop_map(
        |(rate, arrivals, objective, priority)| Terms {
            rate: Hertz::new(10_f64.powf(rate)).unwrap(),
            burst: 1,
            arrivals: Scv::new(arrivals).unwrap(),
            objective: objective.map(|(quantile, latency)| Objective {
                statistic: quantile
                    .map_or(Statistic::Mean, |q| Statistic::Quantile(Quantile::new(q).unwrap())),
                latency,
            }),
            priority: Priority(priority),
        },
    )
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        (1..5_u32).prop_map(|n| Mode::Exclusive { run_max: NonZeroU32::new(n).unwrap() }),
        (1..u32::MAX).prop_map(|n| Mode::Concurrent { width: NonZeroU32::new(n).unwrap() }),
        Just(Mode::TimeSliced(Slicing::Driver)),
        seconds().prop_map(|quantum| Mode::TimeSliced(Slicing::RoundRobin { quantum })),
    ]
}

fn system() -> impl Strategy<Value = System> {
    let sessions = prop::collection::vec((profile(), terms()), 0..6);
    (mode(), any::<bool>(), prop::option::of(0.0..13.0_f64), 1..64_u32, -1.0..70.0_f64, sessions).prop_map(
        |(mode, on_chip, bus, cores, busy, sessions)| {
            let mut device = Device::new("device", DeviceKind::EdgeTpu);
            device.mode = mode;
            device.on_chip = u64::from(on_chip);
            device.bus = bus.map(|e| Bus::new(10_f64.powf(e)).unwrap());
            device.speed_up = SpeedUp::new(vec![1.0, 1.5]).unwrap();
            let sessions = sessions.into_iter().enumerate();
            let sessions =
                sessions.map(|(at, (profile, terms))| Session { name: format!("s{at}"), profile, terms });
            System {
                device,
                host: Host { cores: NonZeroU32::new(cores).unwrap(), busy },
                sessions: sessions.collect(),
            }
        },
    )
}

proptest! {

    #[test]
    fn constructors_refuse_or_hold(a in any_number(), b in any_number(), c in any_number()) {
        for seconds in [Seconds::new(a), Seconds::from_ms(b)] {
            prop_assert!(seconds.is_err() || seconds.is_ok_and(|s| (0.0..=1e6).contains(&s.get())));
        }
        if let Ok(service) = ServiceTime::from_moments(a, b, c) {
            let [m1, m2, m3] = service.moments();
            prop_assert!((m1 / a - 1.0).abs() < 1e-6 && (m2 / b - 1.0).abs() < 1e-6, "{m1} {m2} {m3}");
        }
        let _ = Seconds::new(b).map(|s| ServiceTime::atoms([(a, s), (c, s)]));
        if let Ok(speed_up) = SpeedUp::new(vec![a, b, c]) {
            prop_assert!(speed_up.at(1) == 1.0 && (1.0..=3.1).contains(&speed_up.at(9)));
        }
        let measured = SpeedUp::measured([(1.0, 0.0), (1.7, a), (2.4, b), (c, 0.0)]);
        for (curve, deviations) in measured.iter().flat_map(|curve| [(curve, 0.0), (curve, 2.0), (curve, 10.0)]) {
            let lower = curve.pessimistic(deviations);
            prop_assert!((1..6).all(|n| lower.at(n) <= curve.at(n) + 1e-12), "{lower:?}");
            prop_assert!(SpeedUp::new((1..5).map(|n| lower.at(n)).collect()).is_ok(), "{lower:?}");
        }
        prop_assert!(Bus::new(a).is_err() || (1.0..=1e13).contains(&a));
        prop_assert!(Uncertainty::new(a, b).is_err() || (0.0..=1.0).contains(&a));
    }

    #[test]
    fn any_system_is_predicted_in_numbers_or_refused(system in system()) {
        let run = Simulation { requests: 2_000, seed: 1 };
        for effort in [Effort::Quick, Effort::Formula, Effort::Needed(run)] {
            if let Ok(prediction) = Predictor::new(effort).predict(&system) {
                prop_assert!(prediction.utilisation.device.is_finite());
                for session in &prediction.sessions {
                    for value in [session.mean(), session.quantile(Quantile::P50), session.quantile(Quantile::P99)] {
                        prop_assert!(value.is_finite() && value >= 0.0, "{effort:?} {value}");
                    }
                }
            }
        }
    }

    #[test]
    fn any_newcomer_is_admitted_or_refused_for_a_reason(system in system(), profile in profile(), terms in terms()) {
        let newcomer = Session { name: "newcomer".to_owned(), profile, terms };
        let policy = Policy { simulation: Some(Simulation { requests: 2_000, seed: 1 }), ..Policy::default() };
        if let Ok(verdict) = decide(&mut Predictor::new(Effort::Formula), &system, None, &newcomer, &policy) {
            prop_assert_eq!(verdict.admitted, verdict.reasons.is_empty());
            prop_assert_eq!(verdict.tenants.len(), system.sessions.len() + 1);
            prop_assert!(!verdict.utilisation.is_nan());
        }
    }
}
