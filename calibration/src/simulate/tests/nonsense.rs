//! What cannot be is refused by name.

use super::*;
use crate::simulate::{ArrivalsError, REQUESTS_MAX, SimulateError};
use crate::system::{Slicing, SystemError};

fn refused(system: &System, change: impl FnOnce(&mut Scenario<'_>)) -> SimulateError {
    let mut scenario = Scenario::new(system, 100);
    change(&mut scenario);
    simulate(&scenario).unwrap_err()
}

fn refused_arrivals(arrivals: Arrivals) -> ArrivalsError {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 0.1)]);
    let arrivals = [arrivals];
    match simulate(&Scenario { arrivals: &arrivals, ..Scenario::new(&system, 100) }) {
        Err(SimulateError::Arrival { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_system_that_cannot_be_is_refused() {
    let mut empty = system(Mode::FIRST_COME, []);
    assert_eq!(refused(&empty, |_| ()), SimulateError::System(SystemError::Empty));
    empty.sessions.push(poisson(1.0, 0.0));
    assert!(matches!(refused(&empty, |_| ()), SimulateError::System(SystemError::NoService { .. })));
    let mut busy = system(Mode::FIRST_COME, [poisson(1.0, 0.1)]);
    busy.host.busy = f64::NAN;
    assert!(matches!(refused(&busy, |_| ()), SimulateError::System(SystemError::Range(_))));
}

#[test]
fn too_few_and_too_many_requests_are_refused() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 0.1)]);
    for (warm_up, requests) in [(0, 0), (10, 0), (1, REQUESTS_MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        let error = refused(&system, |scenario| (scenario.warm_up, scenario.requests) = (warm_up, requests));
        assert_eq!(error, SimulateError::Requests { warm_up, requests });
    }
}

#[test]
fn arrivals_for_other_sessions_than_there_are_are_refused() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 0.1)]);
    let arrivals = [trace([0.0]), trace([0.0])];
    let error = simulate(&Scenario { arrivals: &arrivals, ..Scenario::new(&system, 1) }).unwrap_err();
    assert_eq!(error, SimulateError::Arrivals { given: 2, sessions: 1 });
}

#[test]
fn arrivals_that_cannot_be_are_refused() {
    for (times, at) in [
        ([0.0, 2.0, 1.0], 2),
        ([0.0, f64::NAN, 1.0], 1),
        ([f64::INFINITY, 0.0, 0.0], 0),
        ([-1.0, 0.0, 0.0], 0),
        ([0.0, 0.0, 1e300], 2),
    ] {
        assert!(
            matches!(refused_arrivals(trace(times)), ArrivalsError::Trace { at: seen, .. } if seen == at)
        );
    }
    let rate = Hertz::new(1.0).unwrap();
    for jitter in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(refused_arrivals(Arrivals::Periodic { rate, jitter }), ArrivalsError::Jitter(_)));
    }
    let burst = Arrivals::OnOff { rate_on: rate, on_mean: Seconds::ZERO, off_mean: seconds(1.0) };
    assert_eq!(refused_arrivals(burst), ArrivalsError::Burst(0.0));
}

#[test]
fn turns_of_no_length_are_refused() {
    let mode = Mode::TimeSliced(Slicing::RoundRobin { quantum: Seconds::ZERO });
    assert_eq!(refused(&system(mode, [poisson(1.0, 0.1)]), |_| ()), SimulateError::Quantum);
}

#[test]
fn a_trace_that_is_empty_or_too_short_ends_the_run() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 0.1)]);
    let seen = replay(&system, &[trace([])]);
    assert_eq!((seen.sessions[0].arrived, seen.utilisation, seen.stable), (0, 0.0, true));
    assert_eq!(replay(&system, &[trace([3.0])]).sessions[0].completed, 1);
}
