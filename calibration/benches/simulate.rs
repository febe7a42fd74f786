//! Requests that the simulator gets through per second, by mode and number of sessions.
#![expect(clippy::unwrap_used, reason = "the numbers are written here, within their ranges")]

use std::num::NonZeroU32;

use divan::Bencher;
use divan::counter::ItemsCount;
use edgemux_calibration::profile::{Batching, Profile};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::simulate::{Scenario, simulate};
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, Slicing, SpeedUp, System};
use edgemux_calibration::terms::Terms;
use edgemux_calibration::units::{Hertz, Seconds};

const REQUESTS: u64 = 200_000;

/// Sessions that share a device used for this fraction of the time; each takes 10 ms, and some of them a little longer.
fn system(mode: Mode, sessions: u32, utilisation: f64) -> System {
    let session = |at: u32| {
        let service = 0.01 * (1.0 + f64::from(at % 4) / 8.0);
        let rate = utilisation / service / f64::from(sessions);
        Session {
            name: at.to_string(),
            profile: Profile::new(ServiceTime::constant(Seconds::new(service).unwrap())),
            terms: Terms::poisson(Hertz::new(rate).unwrap(), None),
        }
    };
    System {
        device: Device { mode, ..Device::new("bench", DeviceKind::Gpu) },
        host: Host::idle(NonZeroU32::MIN),
        sessions: (0..sessions).map(session).collect(),
    }
}

fn run(bencher: Bencher<'_, '_>, system: &System) {
    let scenario = Scenario { warm_up: 0, ..Scenario::new(system, REQUESTS) };
    bencher.counter(ItemsCount::new(REQUESTS)).bench(|| simulate(&scenario).unwrap());
}

#[divan::bench(args = [1, 4, 64, 4096])]
fn first_come(bencher: Bencher<'_, '_>, sessions: u32) {
    run(bencher, &system(Mode::FIRST_COME, sessions, 0.7));
}

#[divan::bench(args = [4, 64])]
fn reload_runs(bencher: Bencher<'_, '_>, sessions: u32) {
    let mode = Mode::Exclusive { run_max: NonZeroU32::new(4).unwrap() };
    let mut system = system(mode, sessions, 0.5);
    system.device.on_chip = 8 << 20;
    for session in &mut system.sessions {
        session.profile = session.profile.clone().with_reload(Seconds::new(0.004).unwrap(), None);
    }
    run(bencher, &system);
}

#[divan::bench(args = [4, 64, 4096])]
fn round_robin(bencher: Bencher<'_, '_>, sessions: u32) {
    // A tenth of what a request takes.
    let quantum = Seconds::new(0.001).unwrap();
    run(bencher, &system(Mode::TimeSliced(Slicing::RoundRobin { quantum }), sessions, 0.7));
}

#[divan::bench(args = [4, 64, 4096])]
fn driver(bencher: Bencher<'_, '_>, sessions: u32) {
    run(bencher, &system(Mode::TimeSliced(Slicing::Driver), sessions, 0.7));
}

#[divan::bench(args = [4, 64])]
fn concurrent(bencher: Bencher<'_, '_>, sessions: u32) {
    let width = NonZeroU32::new(4).unwrap();
    let mut system = system(Mode::Concurrent { width }, sessions, 1.2);
    system.device.speed_up = SpeedUp::new(vec![1.0, 1.6, 2.0]).unwrap();
    run(bencher, &system);
}

#[divan::bench(args = [4, 64])]
fn batching(bencher: Bencher<'_, '_>, sessions: u32) {
    let mut system = system(Mode::FIRST_COME, sessions, 0.7);
    for session in &mut system.sessions {
        session.profile.batching = Some(Batching {
            size_max: NonZeroU32::new(8).unwrap(),
            fixed: Seconds::new(0.004).unwrap(),
            per_item: Seconds::new(0.006).unwrap(),
            delay_max: Seconds::new(0.005).unwrap(),
        });
    }
    run(bencher, &system);
}

#[divan::bench(args = [4, 64])]
fn all_stages(bencher: Bencher<'_, '_>, sessions: u32) {
    let mut system = system(Mode::FIRST_COME, sessions, 0.7);
    system.host = Host::idle(NonZeroU32::new(4).unwrap());
    for session in &mut system.sessions {
        session.profile.cpu_before = ServiceTime::exponential(Seconds::new(0.012).unwrap());
        session.profile.cpu_after = ServiceTime::constant(Seconds::new(0.002).unwrap());
    }
    run(bencher, &system);
}

fn main() {
    divan::main();
}
