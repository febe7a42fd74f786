//! Whatever the system: no panic, no number that is none, nothing lost, and no work undone.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::profile::Group;
use crate::simulate::{Excess, Order};
use crate::system::{Bus, Slicing, SpeedUp};
use crate::terms::Priority;

fn modes() -> impl Strategy<Value = Mode> {
    let count = || (1_u32..5).prop_map(|n| NonZeroU32::new(n).unwrap());
    prop_oneof![
        count().prop_map(|run_max| Mode::Exclusive { run_max }),
        count().prop_map(|width| Mode::Concurrent { width }),
        Just(Mode::TimeSliced(Slicing::Driver)),
        (-6.0..1.0).prop_map(|exponent| {
            Mode::TimeSliced(Slicing::RoundRobin { quantum: seconds(f64::powf(10.0, exponent)) })
        }),
    ]
}

prop_compose! {
    /// Shares of the load, service times and all else of a session, the load itself to be scaled.
    fn sessions()(
        share in 0.01..1.0,
        mean in -5.0..2.0,
        scv in prop_oneof![Just(0.0), 0.0..4.0],
        arrivals in prop_oneof![Just(0.0), Just(1.0), 0.0..5.0],
        reload in prop::option::of((0.0..2.0, prop::option::of(0_u32..2))),
        cpu in prop::array::uniform2(prop_oneof![Just(0.0), 0.0..1.0]),
        bytes in prop_oneof![Just(0_u64), 0_u64..1000],
        batching in prop::option::of((1_u32..6, 0.0..2.0)),
        objective in prop::option::of(0.0..10.0),
        priority in 0_u32..3,
        burst in 1_u32..5,
    ) -> Session {
        let mean = f64::powf(10.0, mean);
        let mut session = varied(share / mean, mean, scv);
        session.terms.arrivals = Scv::new(arrivals).unwrap();
        session.terms.priority = Priority(priority);
        session.terms.burst = burst;
        let [before, after] = cpu.map(|part| ServiceTime::exponential(seconds(part * mean)));
        session.profile.cpu_before = before;
        session.profile.cpu_after = after;
        session.profile.bytes_moved = bytes;
        if let Some((overhead, group)) = reload {
            session.profile = session.profile.with_reload(seconds(overhead * mean), group.map(Group));
        }
        if let Some((size_max, delay)) = batching {
            session = batched(session, size_max, mean / 2.0, mean / 2.0, delay * mean);
        }
        match objective {
            Some(latency) => with_objective(session, latency),
            None => session,
        }
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_system_breaks_a_run(
        mode in modes(),
        mut sessions in prop::collection::vec(sessions(), 1..6),
        load in 0.05..3.0_f64,
        on_chip in prop::bool::ANY,
        policing in prop::option::of(prop_oneof![Just(Excess::BestEffort), Just(Excess::Refuse)]),
        order in prop_oneof![Just(Order::Arrival), Just(Order::Deadline)],
        queue_max in 1_usize..200,
        cores in 1_u32..5,
        seed in any::<u64>(),
    ) {
        let n = sessions.len() as f64;
        for session in &mut sessions {
            session.terms.rate = Hertz::new(session.terms.rate.get() * load / n).unwrap();
        }
        let mut system = system(mode, sessions);
        system.device.on_chip = u64::from(on_chip);
        system.device.speed_up = SpeedUp::new(vec![1.0, 1.5]).unwrap();
        system.device.bus = Some(Bus::new(1e4).unwrap());
        system.host = Host { busy: 0.5, ..Host::idle(NonZeroU32::new(cores).unwrap()) };
        let queue_max = NonZeroUsize::new(queue_max).unwrap();
        let scenario = Scenario { policing, order, queue_max, seed, ..Scenario::new(&system, 3000) };
        let seen = simulate(&scenario).unwrap();

        prop_assert!((0.0..=1.0 + 1e-9).contains(&seen.utilisation), "{}", seen.utilisation);
        prop_assert!(seen.in_service >= seen.utilisation - 1e-9 && seen.in_service.is_finite());
        let most = match mode {
            Mode::Concurrent { width } => f64::from(width.get()),
            Mode::TimeSliced(Slicing::Driver) => n,
            Mode::Exclusive { .. } | Mode::TimeSliced(Slicing::RoundRobin { .. }) => 1.0,
        };
        prop_assert!(seen.in_service <= most + 1e-9, "{} in service", seen.in_service);
        let mut arrived = 0;
        for (session, observed) in system.sessions.iter().zip(&seen.sessions) {
            arrived += observed.arrived;
            let gone = observed.completed + observed.refused + observed.dropped;
            prop_assert_eq!(observed.arrived, gone + observed.inside);
            prop_assert!(observed.reloads <= observed.inferences && observed.inferences <= observed.batched);
            let most = session.profile.batching.map_or(1, |batching| u64::from(batching.size_max.get()));
            prop_assert!(observed.batched <= most * observed.inferences);
            let sojourn = &observed.sojourn;
            let figures = [0.01, 0.5, 0.95, 0.99, 1.0].map(|q| sojourn.quantile(q));
            prop_assert!(figures.is_sorted() && sojourn.mean() <= figures[4] * (1.0 + 1e-9), "{:?}", figures);
            let errors = observed.errors;
            for error in [errors.mean, errors.p50, errors.p95, errors.p99] {
                prop_assert!(error >= 0.0);
            }
        }
        prop_assert_eq!(arrived, 3000);
        prop_assert_eq!(simulate(&scenario).unwrap(), seen);
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn an_exclusive_device_is_busy_as_long_as_there_is_work(
        turns in prop::bool::ANY,
        sessions in prop::collection::vec((0.05..1.0, -4.0..1.0, 0.0..2.0, 0_u32..3), 1..6),
        load in 0.1..0.85_f64,
    ) {
        let total: f64 = sessions.iter().map(|session| session.0).sum();
        let sessions = sessions.into_iter().map(|(share, mean, scv, priority)| {
            let mean = f64::powf(10.0, mean);
            let mut session = varied(load * share / total / mean, mean, scv);
            session.terms.priority = Priority(priority);
            session
        });
        let mode = if turns {
            Mode::TimeSliced(Slicing::RoundRobin { quantum: seconds(0.01) })
        } else {
            Mode::FIRST_COME
        };
        let system = system(mode, sessions);
        // By work, not by requests: the session of the longest requests decides how sure the load is.
        let rate = |session: &Session| session.terms.rate.get();
        let all: f64 = system.sessions.iter().map(rate).sum();
        let least = system.sessions.iter().map(rate).fold(f64::INFINITY, f64::min);
        let requests = ((20_000.0 * all / least) as u64).min(100_000);
        let expected = requests as f64 * least / all;
        let seen = simulate(&Scenario::new(&system, requests)).unwrap();
        let tolerance = 6.0 * (3.0 / expected.max(1.0)).sqrt();
        prop_assert!((seen.utilisation - load).abs() < tolerance * load, "{} with a load of {load}", seen.utilisation);
    }
}
