//! Who is next: small cases by hand, and the shares that a mode promises.

use std::num::NonZeroUsize;

use super::*;
use crate::simulate::{Excess, Order};
use crate::system::Slicing;
use crate::terms::Priority;

fn round_robin(quantum: f64) -> Mode {
    Mode::TimeSliced(Slicing::RoundRobin { quantum: seconds(quantum) })
}

#[test]
fn one_at_a_time_in_order_as_by_hand() {
    let system = system(Mode::FIRST_COME, [poisson(1.0, 1.0), poisson(1.0, 2.0)]);
    // 0: 0–1. 1: 0.5 waits, 1–3. 0: 2 waits, 3–4. 1: 7–9.
    let seen = replay(&system, &[trace([0.0, 2.0]), trace([0.5, 7.0])]);
    exactly(seen.sessions[0].sojourn.mean(), (1.0 + 2.0) / 2.0);
    exactly(seen.sessions[1].sojourn.mean(), (2.5 + 2.0) / 2.0);
    exactly(seen.utilisation, 6.0 / 9.0);
    assert!(seen.stable);
}

#[test]
fn the_nearest_deadline_goes_first() {
    let far = with_objective(poisson(1.0, 1.0), 10.0);
    let near = with_objective(poisson(1.0, 1.0), 2.0);
    let system = system(Mode::FIRST_COME, [far, near]);
    let arrivals = [trace([0.0, 0.1]), trace([0.2])];
    for (order, want) in [(Order::Arrival, [1.45, 2.8]), (Order::Deadline, [1.95, 1.8])] {
        let scenario = Scenario { arrivals: &arrivals, order, warm_up: 0, ..Scenario::new(&system, 10) };
        let seen = simulate(&scenario).unwrap();
        exactly(seen.sessions[0].sojourn.mean(), want[0]);
        exactly(seen.sessions[1].sojourn.mean(), want[1]);
    }
}

#[test]
fn rank_goes_before_arrival_and_nothing_is_interrupted() {
    let urgent = with_objective(poisson(1.0, 1.0), 9.0);
    let mut early = poisson(1.0, 1.0);
    early.terms.priority = Priority(1);
    let system = system(Mode::FIRST_COME, [poisson(1.0, 1.0), early, urgent]);
    let seen = replay(&system, &[trace([0.0, 0.1]), trace([0.2]), trace([0.3])]);
    let means: Vec<_> = seen.sessions.iter().map(|session| session.sojourn.mean()).collect();
    exactly(means[0], (1.0 + 3.9) / 2.0);
    exactly(means[1], 2.8);
    exactly(means[2], 1.7);
}

#[test]
fn a_driver_shares_between_sessions_and_not_between_requests() {
    // 0 has two of 1, 1 has one of 3: 0 ends at 2 and 4, 1 at 5.
    let system = system(Mode::TimeSliced(Slicing::Driver), [poisson(1.0, 1.0), poisson(1.0, 3.0)]);
    let seen = replay(&system, &[trace([0.0, 0.0]), trace([0.0])]);
    exactly(seen.sessions[0].sojourn.mean(), 3.0);
    exactly(seen.sessions[1].sojourn.mean(), 5.0);
    exactly(seen.in_service, (2.0 * 4.0 + 1.0) / 5.0);
}

#[test]
fn no_more_than_the_width_are_in_service() {
    // Three of 1 at once, two in service at total speed 1: the first ends at 2 with the second, the third at 3.
    let width = NonZeroU32::new(2).unwrap();
    let system = system(Mode::Concurrent { width }, [poisson(1.0, 1.0)]);
    let seen = replay(&system, &[trace([0.0, 0.0, 0.0])]);
    exactly(seen.sessions[0].sojourn.mean(), (2.0 + 2.0 + 3.0) / 3.0);
}

#[test]
fn a_batch_waits_for_others_but_not_for_long() {
    let session = batched(poisson(1.0, 1.0), 3, 1.0, 0.5, 1.0);
    for mode in [Mode::FIRST_COME, round_robin(0.01), SHARED, Mode::TimeSliced(Slicing::Driver)] {
        let system = system(mode, [session.clone()]);
        // Two leave at 1 and take 2; three are full at 5.2 and take 2.5; five of which two wait again.
        let seen = replay(&system, &[trace([0.0, 0.2, 5.0, 5.1, 5.2])]);
        exactly(seen.sessions[0].sojourn.mean(), (3.0 + 2.8 + 2.7 + 2.6 + 2.5) / 5.0);
        assert_eq!((seen.sessions[0].inferences, seen.sessions[0].batch_mean()), (2, Some(2.5)));
    }
}

#[test]
fn others_run_while_a_batch_still_waits() {
    let session = batched(with_objective(poisson(1.0, 1.0), 9.0), 2, 1.0, 0.0, 1.0);
    let system = system(Mode::FIRST_COME, [session, poisson(1.0, 0.4)]);
    let seen = replay(&system, &[trace([0.0]), trace([0.1, 0.9])]);
    exactly(seen.sessions[1].sojourn.mean(), 0.4);
    // Ripe at 1 but the device is taken until 1.3.
    exactly(seen.sessions[0].sojourn.mean(), 2.3);
}

#[test]
fn overloaded_sessions_get_equal_device_time_in_turns() {
    let sessions = [poisson(900.0, 0.002), poisson(100.0, 0.019), varied(300.0, 0.007, 1.0)];
    for quantum in [1e-5, 0.003, 0.02, 0.5] {
        let system = system(round_robin(quantum), sessions.clone());
        let queue_max = NonZeroUsize::new(300).unwrap();
        let seen = simulate(&Scenario { queue_max, ..Scenario::new(&system, 400_000) }).unwrap();
        assert!(!seen.stable);
        exactly(seen.utilisation, 1.0);
        let times: Vec<_> = seen
            .sessions
            .iter()
            .zip([0.002, 0.019, 0.007])
            .map(|(session, service)| session.completed as f64 * service)
            .collect();
        let share = times.iter().sum::<f64>() / 3.0;
        for time in &times {
            assert!((time / share - 1.0).abs() < 0.03, "quantum {quantum}: {times:?}");
        }
    }
}

#[test]
fn a_light_session_does_not_wait_behind_a_flood_in_turns() {
    let sessions = [poisson(10.0, 0.005), poisson(400.0, 0.005)];
    let queue_max = NonZeroUsize::new(500).unwrap();
    let p99 = |mode| {
        let system = system(mode, sessions.clone());
        let seen = simulate(&Scenario { queue_max, ..Scenario::new(&system, 400_000) }).unwrap();
        seen.sessions[0].sojourn.quantile(0.99)
    };
    let in_turns = p99(round_robin(0.005));
    assert!(in_turns < 0.02, "{in_turns}");
    assert!(p99(Mode::FIRST_COME) > 1.0);
}

#[test]
fn turns_of_a_single_session_are_the_order_of_arrival() {
    let session = varied(70.0, 0.01, 2.0);
    let in_order = run(&system(Mode::FIRST_COME, [session.clone()]));
    for quantum in [1e-6, 0.01, 1.0] {
        assert_eq!(run(&system(round_robin(quantum), [session.clone()])), in_order);
    }
}

#[test]
fn policing_lets_in_no_more_than_rate_and_burst() {
    let mut session = poisson(10.0, 0.001);
    session.terms.burst = 20;
    let system = system(Mode::FIRST_COME, [session]);
    // A flood over 100 s, at a hundred times the rate declared.
    let arrivals = [Arrivals::Periodic { rate: Hertz::new(1000.0).unwrap(), jitter: 0.3 }];
    let scenario = Scenario {
        arrivals: &arrivals,
        policing: Some(Excess::Refuse),
        warm_up: 0,
        ..Scenario::new(&system, 100_000)
    };
    let seen = simulate(&scenario).unwrap();
    let session = &seen.sessions[0];
    assert!((1018..=1021).contains(&session.completed), "{}", session.completed);
    assert_eq!(session.completed + session.refused, 100_000);
    assert!(seen.stable, "who is refused is no backlog");
}

#[test]
fn what_is_beyond_the_terms_delays_others_by_no_more_than_one_request() {
    let mut sessions = [poisson(20.0, 0.01), poisson(20.0, 0.01)];
    // Its own bursts are within its terms.
    sessions[0].terms.burst = 1_000_000;
    let system = system(Mode::FIRST_COME, sessions);
    let rates = |flood: f64| [20.0, flood].map(|rate| Arrivals::Poisson { rate: Hertz::new(rate).unwrap() });
    let run = |flood, policing| {
        let queue_max = NonZeroUsize::new(100).unwrap();
        let arrivals = &rates(flood);
        simulate(&Scenario { arrivals, policing, queue_max, ..Scenario::new(&system, 200_000) }).unwrap()
    };
    let flooded = run(500.0, Some(Excess::BestEffort));
    let quiet = run(20.0, Some(Excess::Refuse));
    let mean = flooded.sessions[0].sojourn.mean();
    assert!(mean < quiet.sessions[0].sojourn.mean() + 0.01, "{mean}");
    assert!(flooded.sessions[1].demoted > 0 && flooded.utilisation > 0.99);
    assert!(run(500.0, None).sessions[0].sojourn.mean() > 0.5);
}
