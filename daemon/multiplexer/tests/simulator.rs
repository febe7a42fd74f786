//! The multiplexer against the simulator whose predictions it has to keep: the same arrivals, the same times on the device,
//! and every session's sojourn times have to be the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its system has failed")]

mod common;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use common::*;
use edgemux_calibration::profile::{self, Group, Profile};
use edgemux_calibration::service::ServiceTime;
use edgemux_calibration::simulate::{Arrivals, Scenario, Sketch, simulate};
use edgemux_calibration::system::{
    Device, DeviceKind, Host, Mode as Sharing, Session, Slicing, SpeedUp, System,
};
use edgemux_calibration::terms::{self, Objective, Statistic, Terms};
use edgemux_calibration::units::{Hertz, Seconds};
use edgemux_multiplexer::{Mode, Priority, Settings};

/// One session of both.
#[derive(Clone, Copy)]
struct Tenant {
    rate_hz: f64,
    service: Duration,
    /// What a request takes more after one of another group.
    reload: Duration,
    /// Time that each request of a batch adds to `service`.
    per_item: Duration,
    settings: Settings,
}

impl Tenant {
    fn new(rate_hz: f64, service_us: u64, settings: Settings) -> Self {
        // No whole number of microseconds, so that nothing ever happens at the same moment.
        let service = us(service_us) + Duration::from_nanos(137 + service_us % 89);
        let settings = Settings { expected: Some(service), ..settings };
        Self { rate_hz, service, reload: Duration::ZERO, per_item: Duration::ZERO, settings }
    }

    fn session(&self, name: usize, priority: u32) -> Session {
        let seconds = |time: Duration| Seconds::clamped(time.as_secs_f64());
        let mut profile = Profile::new(ServiceTime::constant(seconds(self.service)))
            .with_reload(seconds(self.reload), self.settings.group.map(Group));
        profile.batching = self.settings.batching.map(|batching| profile::Batching {
            size_max: batching.size_max,
            fixed: seconds(self.service),
            per_item: seconds(self.per_item),
            delay_max: seconds(batching.delay_max),
        });
        let objective = Objective { statistic: Statistic::Mean, latency: Seconds::clamped(9.0) };
        let terms = Terms {
            priority: terms::Priority(priority),
            ..Terms::poisson(Hertz::new(self.rate_hz).unwrap(), self.settings.guaranteed.then_some(objective))
        };
        Session { name: name.to_string(), profile, terms }
    }
}

/// Runs both on 20,000 requests and holds mean, largest and 99th percentile of every session against each other.
fn compare(name: &str, mode: Mode, sharing: Sharing, tenants: &[(Tenant, u32)]) {
    let total: f64 = tenants.iter().map(|(tenant, _)| tenant.rate_hz).sum();
    let mut random = Random(0xED6E);
    let times: Vec<_> = tenants
        .iter()
        .map(|(tenant, _)| random.poisson(tenant.rate_hz, (20_000.0 * tenant.rate_hz / total) as usize))
        .collect();

    let mut device = Device::new("device", DeviceKind::Gpu);
    device.mode = sharing;
    device.on_chip = 1 << 20;
    // Two that run together do not slow each other down.
    device.speed_up = SpeedUp::cores(number(2));
    let sessions = tenants.iter().enumerate().map(|(at, (tenant, priority))| tenant.session(at, *priority));
    let system = System { device, host: Host::idle(number(4)), sessions: sessions.collect() };
    let traces: Vec<_> = times
        .iter()
        .map(|times| Arrivals::Trace(times.iter().map(|at| at.as_secs_f64()).collect()))
        .collect();
    let count = times.iter().map(Vec::len).sum::<usize>() as u64;
    let scenario = Scenario { arrivals: &traces, warm_up: 0, ..Scenario::new(&system, count) };
    let expected = simulate(&scenario).unwrap();

    let settings: Vec<_> = tenants
        .iter()
        .map(|&(tenant, priority)| Settings { priority: Priority::new(priority), ..tenant.settings })
        .collect();
    // Parameters as libedgetpu keeps them: those of one group, each session's from its first inference on.
    let (mut resident, mut residency) = (None, 0_u64);
    let mut loaded = HashMap::new();
    let run = Bench::new(mode, &settings).run(&merge(&times), |session, size| {
        let tenant = &tenants[session as usize].0;
        let group = tenant.settings.group.ok_or(session);
        if resident.replace(group) != Some(group) {
            residency += 1;
        }
        let stays = loaded.insert(session, residency) == Some(residency);
        let reload = if stays { Duration::ZERO } else { tenant.reload };
        let items = if tenant.settings.batching.is_some() { size as u32 } else { 0 };
        tenant.service + reload + items * tenant.per_item
    });

    for (at, expected) in expected.sessions.iter().enumerate() {
        let mut seen = Sketch::default();
        run.of(at as u32).iter().for_each(|served| seen.record(served.sojourn().as_secs_f64()));
        assert_eq!(seen.count(), times[at].len() as u64);
        assert_eq!(expected.completed, seen.count());
        let expected = &expected.sojourn;
        let figures = [
            ("mean", expected.mean(), seen.mean()),
            ("p99", expected.quantile(0.99), seen.quantile(0.99)),
            ("max", expected.max(), seen.max()),
        ];
        for (figure, expected, seen) in figures {
            let off = (seen / expected - 1.0).abs();
            assert!(off < 1e-6, "{name}, session {at}, {figure}: {seen} s, the simulator says {expected} s");
        }
    }
}

fn exclusive(run_max: u32) -> (Mode, Sharing) {
    (runs_of(run_max), Sharing::Exclusive { run_max: number(run_max) })
}

#[test]
fn exclusive_by_arrival() {
    let tenants = [(30.0, 7_000), (55.0, 9_000), (10.0, 20_000)];
    let tenants = tenants.map(|(rate, service)| (Tenant::new(rate, service, guaranteed()), 0));
    let (mode, sharing) = exclusive(1);
    compare("by arrival", mode, sharing, &tenants);
}

#[test]
fn exclusive_by_rank() {
    let tenants = [
        (Tenant::new(30.0, 7_000, guaranteed()), 2),
        (Tenant::new(45.0, 9_000, guaranteed()), 0),
        (Tenant::new(10.0, 20_000, guaranteed()), 1),
        (Tenant::new(5.0, 15_000, best_effort()), 1),
        (Tenant::new(3.0, 11_000, best_effort()), 0),
    ];
    let (mode, sharing) = exclusive(1);
    compare("by rank", mode, sharing, &tenants);
}

#[test]
fn exclusive_in_runs_of_one_group() {
    let tenant = |rate, service, group, reload| {
        let settings = Settings { group, ..guaranteed() };
        Tenant { reload, ..Tenant::new(rate, service, settings) }
    };
    let tenants = [
        (tenant(25.0, 7_000, Some(1), ms(6)), 0),
        (tenant(20.0, 5_000, Some(1), ms(3)), 0),
        (tenant(25.0, 6_000, Some(2), ms(7)), 0),
        (tenant(12.0, 4_000, Some(2), ms(5)), 1),
        (tenant(9.0, 8_000, None, ms(4)), 0),
    ];
    for run_max in [1, 2, 4, 16] {
        let (mode, sharing) = exclusive(run_max);
        compare(&format!("runs of {run_max}"), mode, sharing, &tenants);
    }
}

#[test]
fn exclusive_in_batches() {
    let tenant = |rate, size, delay| {
        let settings = Settings { batching: batched(size, delay).batching, ..guaranteed() };
        Tenant { per_item: us(1_300), ..Tenant::new(rate, 6_000, settings) }
    };
    let tenants = [
        (tenant(60.0, 4, us(12_345)), 0),
        (tenant(50.0, 8, us(3_210)), 0),
        (Tenant::new(30.0, 9_000, guaranteed()), 0),
        (tenant(10.0, 2, us(7_654)), 1),
    ];
    let (mode, sharing) = exclusive(1);
    compare("batches", mode, sharing, &tenants);
}

#[test]
fn time_sliced_by_deficit_round_robin() {
    let tenants = [
        (Tenant::new(30.0, 7_000, guaranteed()), 0),
        (Tenant::new(35.0, 9_000, guaranteed()), 0),
        (Tenant::new(9.0, 20_000, guaranteed()), 0),
        (Tenant::new(20.0, 3_000, guaranteed()), 1),
        (Tenant::new(4.0, 10_000, best_effort()), 0),
    ];
    for quantum_us in [100, 2_700, 10_000, 33_000] {
        let sharing = Slicing::RoundRobin { quantum: Seconds::clamped(us(quantum_us).as_secs_f64()) };
        let mode = Mode::TimeSliced { quantum: us(quantum_us) };
        compare(&format!("quantum {quantum_us} µs"), mode, Sharing::TimeSliced(sharing), &tenants);
    }
}

#[test]
fn two_at_a_time() {
    let tenants = [(60.0, 7_000, 0), (95.0, 9_000, 0), (25.0, 20_000, 1)];
    let tenants =
        tenants.map(|(rate, service, priority)| (Tenant::new(rate, service, guaranteed()), priority));
    let width = NonZeroU32::new(2).unwrap();
    compare("two at a time", Mode::Concurrent { width }, Sharing::Concurrent { width }, &tenants);
}
