//! Random systems for the tests: seeded, so that a number names one.
#![allow(dead_code, reason = "every test takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its mix has failed")]

use std::num::NonZeroU32;

use edgemux_calibration::profile::{Group, Profile};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::system::{Device, DeviceKind, Host, Mode, Session, Slicing, SpeedUp, System};
use edgemux_calibration::terms::{Priority, Terms};
use edgemux_calibration::units::{Hertz, Scv, Seconds};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Kinds of mix, each a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One at a time in order, nothing reloads.
    FirstCome,
    /// The same with service times that vary.
    FirstComeVaried,
    /// edgeTPU, every session a group of its own.
    Reloads,
    /// edgeTPU, sessions compiled together.
    Groups,
    /// edgeTPU with up to four same-model runs.
    Runs,
    /// Two ranks.
    Ranks,
    /// Periodic and bursty arrivals.
    Arrivals,
    /// Everything in service at once at constant speed.
    Sharing,
    /// The same with a speed-up.
    SpeedUp,
    /// At most two to four in service, with a speed-up.
    Bounded,
    /// The driver slices between sessions.
    Driver,
    /// Deficit round robin.
    RoundRobin,
    /// One at a time, with processor and bus stages.
    Stages,
}

pub(crate) const KINDS: [Kind; 13] = [
    Kind::FirstCome,
    Kind::FirstComeVaried,
    Kind::Reloads,
    Kind::Groups,
    Kind::Runs,
    Kind::Ranks,
    Kind::Arrivals,
    Kind::Sharing,
    Kind::SpeedUp,
    Kind::Bounded,
    Kind::Driver,
    Kind::RoundRobin,
    Kind::Stages,
];

pub(crate) fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn seconds(s: f64) -> Seconds {
    Seconds::new(s).unwrap()
}

fn width(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A mix of 1 to 8 sessions, service times over two decades, rates skewed up to a hundredfold, ρ = .2 to .9.
pub(crate) fn mix(kind: Kind, seed: u64) -> System {
    let mut rng = rng(seed.wrapping_mul(1_000_003) + kind as u64);
    // Of stages beside the device: from a fast bus and many cores to slow and few.
    let slowness: u32 = rng.random_range(0..6);
    let least = if matches!(kind, Kind::FirstCome | Kind::FirstComeVaried | Kind::Sharing) { 1 } else { 2 };
    let n: usize = rng.random_range(least..=8);
    let edgetpu = matches!(kind, Kind::Reloads | Kind::Groups | Kind::Runs);
    let mut device = Device::new("device", if edgetpu { DeviceKind::EdgeTpu } else { DeviceKind::Gpu });
    if edgetpu {
        device.on_chip = 8 << 20;
    }
    device.mode = match kind {
        Kind::Runs => Mode::Exclusive { run_max: width(rng.random_range(2..=4)) },
        Kind::Sharing | Kind::SpeedUp => Mode::Concurrent { width: width(100_000) },
        Kind::Bounded => Mode::Concurrent { width: width(rng.random_range(2..=4)) },
        Kind::Driver => Mode::TimeSliced(Slicing::Driver),
        Kind::RoundRobin => {
            Mode::TimeSliced(Slicing::RoundRobin { quantum: seconds(rng.random_range(0.001..0.05)) })
        }
        _ => Mode::FIRST_COME,
    };
    if matches!(kind, Kind::SpeedUp | Kind::Bounded) {
        let gain: f64 = rng.random_range(0.2..0.8);
        let steps = rng.random_range(2..=6);
        device.speed_up =
            SpeedUp::new((0..steps).map(|k| (0..=k).map(|j| gain.powi(j)).sum()).collect()).unwrap();
    }
    let sessions = (0..n).map(|at| {
        let mean = 0.002 * 100_f64.powf(rng.random());
        let service = match kind {
            Kind::FirstComeVaried => {
                ServiceTime::gamma(seconds(mean), Scv::new(10_f64.powf(rng.random_range(-3.0..0.3))).unwrap())
            }
            _ => ServiceTime::constant(seconds(mean)),
        };
        let mut profile = Profile::new(service);
        if edgetpu {
            let group = (kind == Kind::Groups).then(|| Group(rng.random_range(0..3)));
            profile = profile.with_reload(seconds(rng.random_range(0.005..0.03)), group);
        }
        let mut terms = Terms::poisson(Hertz::new(100_f64.powf(rng.random())).unwrap(), None);
        match kind {
            Kind::Ranks => terms.priority = Priority(rng.random_range(1..=2)),
            Kind::Arrivals => {
                terms.arrivals = Scv::new([0.0, 0.3, 1.0, 4.0][rng.random_range(0..4)]).unwrap()
            }
            Kind::Stages => {
                profile.cpu_before = ServiceTime::constant(seconds(mean * rng.random_range(0.1..0.8)));
                profile.cpu_after = ServiceTime::constant(seconds(mean * rng.random_range(0.05..0.3)));
                profile.bytes_moved = rng.random_range(10_000..500_000);
            }
            _ => {}
        }
        Session { name: format!("s{at}"), profile, terms }
    });
    let sessions = sessions.collect();
    if kind == Kind::Stages {
        device.bus = Some(edgemux_calibration::system::Bus::new(20e9 / 3_f64.powi(slowness as i32)).unwrap());
    }
    let mut system = System { device, host: Host::idle(width(12 - 2 * slowness)), sessions };
    let rho = rng.random_range(0.2..0.9);
    load(&mut system, rho);
    system
}

/// Scales all rates so that the device is busy `rho` of the time in order of arrival (of its speed at full width).
pub(crate) fn load(system: &mut System, rho: f64) {
    let groups = system.groups();
    let total: f64 = system.sessions.iter().map(|s| s.terms.rate.get()).sum();
    let mut shares = vec![0.0; groups.len()];
    for (session, &group) in system.sessions.iter().zip(&groups) {
        shares[group] += session.terms.rate.get() / total;
    }
    let several = groups.iter().any(|&g| g != groups[0]);
    let work: f64 = system
        .sessions
        .iter()
        .zip(&groups)
        .map(|(s, &g)| {
            let own = s.terms.rate.get() / total;
            let resident = if several { own / (1.0 - shares[g] + own) } else { 1.0 };
            s.terms.rate.get() * (s.profile.service.mean() + (1.0 - resident) * system.overhead(s))
        })
        .sum();
    let most = match system.device.mode {
        Mode::Concurrent { width } => system.device.speed_up.most(width),
        _ => 1.0,
    };
    for session in &mut system.sessions {
        let rate = session.terms.rate.get() * rho * most / work;
        session.terms.rate = Hertz::new(rate).unwrap();
    }
}
