//! How long requests may wait for others to run with: as long as the objectives leave time for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

use std::num::NonZeroU32;

use edgemux_calibration::admission::{Policy, review};
use edgemux_calibration::predict::{Effort, Predictor, Simulation};
use edgemux_calibration::profile::{Batching, Profile};
use edgemux_calibration::simulate::{Outcome, Scenario, simulate};
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, SpeedUp, System};
use edgemux_calibration::terms::{Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Quantile, Scv, Seconds};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Random;

fn ms(ms: f64) -> Seconds {
    Seconds::from_ms(ms).unwrap()
}

fn objective(p99: f64) -> Option<Objective> {
    Some(Objective { statistic: Statistic::Quantile(Quantile::P99), latency: Seconds::new(p99).unwrap() })
}

/// One that batches, and up to three that do not, the device busy 20 to 80 % of the time if none ran together.
fn mix(random: &mut Random, mode: Mode) -> System {
    let fixed = random.random_range(2.0..20.0);
    let per_item = random.random_range(0.1..4.0);
    let mut batching = Profile::of(ms(fixed + per_item), Scv::ZERO);
    batching.batching = Some(Batching {
        size_max: NonZeroU32::new(random.random_range(2..9)).unwrap(),
        fixed: ms(fixed),
        per_item: ms(per_item),
        delay_max: Seconds::ZERO,
    });
    let mut profiles = vec![batching];
    for _ in 0..random.random_range(0..4) {
        profiles.push(Profile::of(ms(random.random_range(1.0..30.0)), Scv::ZERO));
    }
    let load = random.random_range(0.2..0.8) / profiles.len() as f64;
    let sessions = profiles.into_iter().zip(["a", "b", "c", "d"]).map(|(profile, name)| {
        let rate = Hertz::new(load / profile.service.mean()).unwrap();
        Session { name: name.to_owned(), profile, terms: Terms::poisson(rate, objective(1e3)) }
    });
    let sessions = sessions.collect();
    let mut device = Device { mode, ..Device::new("d", DeviceKind::Gpu) };
    if mode != Mode::FIRST_COME {
        device.speed_up = SpeedUp::new(vec![1.0, 1.4]).unwrap();
    }
    System { device, host: Host::idle(NonZeroU32::new(4).unwrap()), sessions }
}

fn seen(system: &System, seed: u64) -> Outcome {
    simulate(&Scenario { seed, ..Scenario::new(system, 200_000) }).unwrap()
}

#[test]
fn waiting_for_half_of_the_slack_breaks_no_objective_and_saves_device_time() {
    let policy = Policy { simulation: Some(Simulation { requests: 200_000, seed: 1 }), ..Policy::default() };
    let mut predictor = Predictor::new(Effort::Formula);
    let (mut waited, mut saved) = (0, 0.0);
    for case in 0..60 {
        let mut random = Random::seed_from_u64(case);
        let width = NonZeroU32::new(2).unwrap();
        let mode = if case % 3 == 2 { Mode::Concurrent { width } } else { Mode::FIRST_COME };
        let mut system = mix(&mut random, mode);
        let before = seen(&system, 100 + case);
        for (session, seen) in system.sessions.iter_mut().zip(&before.sessions) {
            let factor = random.random_range(1.1..4.0);
            session.terms.objective = objective(seen.sojourn.quantile(0.99) * factor);
        }
        let verdict = review(&mut predictor, &system, None, &policy).unwrap();
        if !verdict.admitted {
            continue;
        }
        let delay = verdict.tenants[0].batch_delay().unwrap();
        assert!(delay > Seconds::ZERO, "case {case}: there is room");
        system.sessions[0].profile.batching.as_mut().unwrap().delay_max = delay;
        let after = seen(&system, 200 + case);
        for (session, seen) in system.sessions.iter().zip(&after.sessions) {
            let (p99, wanted) = (seen.sojourn.quantile(0.99), session.terms.objective.unwrap().latency.get());
            assert!(
                p99 - 3.0 * seen.errors.p99 <= wanted,
                "case {case}, {}: {p99} of {wanted}",
                session.name
            );
        }
        waited += 1;
        saved += 1.0 - after.utilisation / before.utilisation;
    }
    let saved = saved / f64::from(waited);
    println!("{waited} mixes, {:.1} % of the device's time saved", 100.0 * saved);
    assert!(waited >= 40 && saved > 0.1, "{waited}: {saved}");
}

#[test]
fn without_an_objective_there_is_nothing_to_wait_for_and_one_that_breaks_leaves_no_time() {
    let mut random = Random::seed_from_u64(7);
    let mut system = mix(&mut random, Mode::FIRST_COME);
    let policy = Policy { simulation: Some(Simulation { requests: 20_000, seed: 1 }), ..Policy::default() };
    let mut predictor = Predictor::new(Effort::Formula);
    system.sessions[0].terms.objective = objective(1e-6);
    let verdict = review(&mut predictor, &system, None, &policy).unwrap();
    assert_eq!(verdict.tenants[0].batch_delay(), Some(Seconds::ZERO));
    system.sessions[0].terms.objective = None;
    let verdict = review(&mut predictor, &system, None, &policy).unwrap();
    assert_eq!(verdict.tenants[0].batch_delay(), None);
}
