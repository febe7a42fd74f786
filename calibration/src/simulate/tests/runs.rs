//! Promises about a run as such: repeatable, everything accounted for, bounded.

use std::num::NonZeroUsize;

use super::*;
use crate::simulate::{BACKLOG_MAX, Excess};

#[test]
fn the_same_seed_gives_the_same_bits() {
    let system = system(SHARED, [varied(20.0, 0.02, 2.0), poisson(10.0, 0.03)]);
    let run = |seed| simulate(&Scenario { seed, ..Scenario::new(&system, 50_000) }).unwrap();
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn every_request_is_accounted_for() {
    let system = system(Mode::FIRST_COME, [poisson(80.0, 0.01), poisson(60.0, 0.01)]);
    for policing in [None, Some(Excess::Refuse), Some(Excess::BestEffort)] {
        let queue_max = NonZeroUsize::new(20).unwrap();
        let scenario = Scenario { policing, queue_max, ..Scenario::new(&system, 100_000) };
        let seen = simulate(&scenario).unwrap();
        for session in &seen.sessions {
            let Observed { arrived, completed, refused, dropped, inside, .. } = *session;
            assert_eq!(arrived, completed + refused + dropped + inside);
            assert_eq!(completed, session.sojourn.count());
        }
        assert_eq!(seen.sessions.iter().map(|session| session.arrived).sum::<u64>(), 100_000);
    }
}

#[test]
fn a_stable_system_serves_all_that_is_measured() {
    let seen = run(&system(Mode::FIRST_COME, [poisson(40.0, 0.01), varied(40.0, 0.01, 1.0)]));
    for session in &seen.sessions {
        assert_eq!((session.completed, session.inside), (session.arrived, 0));
    }
}

#[test]
fn the_queue_is_as_long_as_it_is_allowed() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 10.0)]);
    let arrivals = [trace([0.0, 1.0, 2.0, 3.0, 4.0])];
    let queue_max = NonZeroUsize::new(2).unwrap();
    let scenario = Scenario { arrivals: &arrivals, queue_max, warm_up: 0, ..Scenario::new(&system, 5) };
    let seen = simulate(&scenario).unwrap();
    assert_eq!((seen.sessions[0].completed, seen.sessions[0].dropped), (3, 2));
}

#[test]
fn what_cannot_keep_up_is_called_unstable() {
    let outcome = |rho: f64| run(&system(Mode::FIRST_COME, [varied(rho / 0.01, 0.01, 1.0)]));
    for rho in [0.5, 0.9, 0.98] {
        assert!(outcome(rho).stable, "{rho}");
    }
    for rho in [1.02, 1.5, 10.0] {
        assert!(!outcome(rho).stable, "{rho}");
    }
}

#[test]
fn a_starved_session_is_called_unstable_too() {
    let urgent = with_objective(poisson(90.0, 0.01), 1.0);
    assert!(!run(&system(Mode::FIRST_COME, [urgent, poisson(20.0, 0.01)])).stable);
}

#[test]
fn a_flood_ends_the_run_before_it_fills_the_memory() {
    for mode in [SHARED, Mode::FIRST_COME] {
        let mut session = poisson(1e6, 1e3);
        session.profile.cpu_after = ServiceTime::constant(seconds(1.0));
        let seen = run_long(&system(mode, [session]));
        assert!(!seen.stable);
        assert!(seen.sessions[0].arrived <= BACKLOG_MAX as u64);
    }
}

fn run_long(system: &System) -> Outcome {
    simulate(&Scenario { warm_up: 0, ..Scenario::new(system, 1_000_000_000) }).unwrap()
}
