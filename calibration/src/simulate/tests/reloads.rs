//! Parameter reloads: the table of `queueing.md`, who reloads how often, and runs of one group.

use super::*;
use crate::profile::Group;

fn edgetpu<const N: usize>(run_max: u32, sessions: [(f64, f64, f64, Option<u32>); N]) -> System {
    let session = |(rate, service, overhead, group): (f64, f64, f64, Option<u32>)| {
        let session = poisson(rate, service);
        Session {
            profile: session.profile.clone().with_reload(seconds(overhead), group.map(Group)),
            ..session
        }
    };
    let mode = Mode::Exclusive { run_max: NonZeroU32::new(run_max).unwrap() };
    let mut system = system(mode, sessions.map(session));
    system.device.on_chip = 8 << 20;
    system
}

fn reload_share(observed: &Observed) -> f64 {
    observed.reloads as f64 / observed.inferences as f64
}

#[test]
fn two_models_wait_as_long_as_the_table_says() {
    // Service, overhead, share of the requests; the wait in s.
    let mobilenet_inception = [(16.62, 0.00491, 0.0128, None), (3.455, 0.12513, 0.01943, None)];
    let equal = [(20.0, 0.005, 0.02, None), (20.0, 0.005, 0.02, None)];
    for (sessions, wait) in [(mobilenet_inception, 0.0959), (equal, 0.01626)] {
        let all: f64 = sessions.iter().map(|s| s.0).sum();
        let seen = run(&edgetpu(1, sessions));
        for (observed, (rate, service, overhead, _)) in seen.sessions.iter().zip(sessions) {
            let seen = observed.sojourn.mean() - service - (1.0 - rate / all) * overhead;
            assert!((seen / wait - 1.0).abs() < 0.02, "{seen}, expected {wait}");
        }
    }
}

#[test]
fn who_is_alone_in_its_group_reloads_after_anyone_else() {
    let seen =
        run(&edgetpu(1, [(60.0, 0.002, 0.004, None), (30.0, 0.003, 0.001, None), (10.0, 0.01, 0.0, None)]));
    for (observed, share) in seen.sessions.iter().zip([0.6, 0.3, 0.1]) {
        let reloads = reload_share(observed);
        assert!((reloads - (1.0 - share)).abs() < 0.005, "{reloads} with a share of {share}");
    }
}

#[test]
fn members_of_a_group_reload_once_after_others_ran() {
    let rates = [40.0, 20.0, 30.0];
    let seen = run(&edgetpu(
        1,
        [(40.0, 0.002, 0.004, Some(7)), (20.0, 0.003, 0.001, Some(7)), (30.0, 0.001, 0.002, None)],
    ));
    let others: f64 = 30.0;
    for (observed, rate) in seen.sessions.iter().zip(rates).take(2) {
        let want = others / (others + rate);
        assert!((reload_share(observed) - want).abs() < 0.006, "{}, expected {want}", reload_share(observed));
    }
    assert!((reload_share(&seen.sessions[2]) - 60.0 / 90.0).abs() < 0.006);
}

#[test]
fn one_group_loads_once_and_a_device_without_memory_never() {
    let mut system = edgetpu(1, [(40.0, 0.002, 0.004, Some(0)), (20.0, 0.003, 0.001, Some(0))]);
    let scenario = Scenario { warm_up: 0, ..Scenario::new(&system, 10_000) };
    let seen = simulate(&scenario).unwrap();
    assert_eq!(seen.sessions.iter().map(|session| session.reloads).collect::<Vec<_>>(), [1, 1]);
    system.device.on_chip = 0;
    assert!(run(&system).sessions.iter().all(|session| session.reloads == 0));
}

#[test]
fn a_run_ends_after_so_many_while_another_waits() {
    // By hand: 0 at 0–1, then its next two before 1, which waits since 0.1, then 1 at 3–4, then 0's last.
    let system = edgetpu(3, [(1.0, 1.0, 0.0, None), (1.0, 1.0, 0.0, None)]);
    let seen = replay(&system, &[trace([0.0, 0.2, 0.3, 0.4]), trace([0.1])]);
    exactly(seen.sessions[0].sojourn.mean(), (1.0 + 1.8 + 2.7 + 4.6) / 4.0);
    exactly(seen.sessions[1].sojourn.mean(), 3.9);
}

#[test]
fn runs_save_reloads_and_time_under_load() {
    let sessions = [(25.0, 0.005, 0.02, None), (25.0, 0.005, 0.02, None)];
    let (plain, runs) = (run(&edgetpu(1, sessions)), run(&edgetpu(8, sessions)));
    for (plain, runs) in plain.sessions.iter().zip(&runs.sessions) {
        assert!(reload_share(runs) < 0.9 * reload_share(plain));
        assert!(runs.sojourn.mean() < 0.8 * plain.sojourn.mean());
    }
}

#[test]
fn a_better_rank_is_not_kept_waiting_by_a_run() {
    let mut system = edgetpu(100, [(1.0, 1.0, 0.0, None), (1.0, 1.0, 0.0, None)]);
    system.sessions[1] = with_objective(system.sessions[1].clone(), 5.0);
    let seen = replay(&system, &[trace([0.0, 0.0, 0.0, 0.0]), trace([0.5])]);
    exactly(seen.sessions[1].sojourn.mean(), 1.5);
}

#[test]
fn turns_are_paid_for_with_the_reload() {
    // Overloaded: half the device time each, reloads included, so the one that loads longer serves less.
    let sessions = [(200.0, 0.01, 0.0, None), (200.0, 0.01, 0.03, None)];
    let mut system = edgetpu(1, sessions);
    system.device.mode = Mode::TimeSliced(crate::system::Slicing::RoundRobin { quantum: seconds(0.04) });
    let queue_max = std::num::NonZeroUsize::new(100).unwrap();
    let seen = simulate(&Scenario { queue_max, ..Scenario::new(&system, 100_000) }).unwrap();
    let time = |observed: &Observed, overhead: f64| {
        observed.inferences as f64 * 0.01 + observed.reloads as f64 * overhead
    };
    let (free, loaded) = (time(&seen.sessions[0], 0.0), time(&seen.sessions[1], 0.03));
    assert!((free / loaded - 1.0).abs() < 0.02, "{free} {loaded}");
    assert!(seen.sessions[0].completed > 2 * seen.sessions[1].completed);
}
