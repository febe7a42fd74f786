//! Best effort takes what is left, and at last gets something.

mod common;

use std::time::Duration;

use common::*;
use edgemux_multiplexer::{Action, BEST_EFFORT_PERIOD, Event, Mode, Priority, STARVATION_BOUND, Settings};

#[test]
fn best_effort_runs_when_no_guaranteed_request_waits() {
    for mode in [Mode::default(), Mode::TimeSliced { quantum: ms(1) }, concurrent(1)] {
        let mut bench = Bench::new(mode, &[best_effort(), guaranteed()]);
        assert_eq!(bench.arrive(1, 0), [starts(1)], "{mode:?}");
        for (request, session) in [(2, 0), (3, 1), (4, 0), (5, 1)] {
            assert_eq!(bench.arrive(request, session), [], "{mode:?}");
        }
        assert_eq!(bench.run_down(), [3, 5, 2, 4], "{mode:?}");
    }
}

/// A guaranteed session that always has more to run than the device does in `seconds`, each in `service`.
fn flood(seconds: u64, service: Duration) -> Vec<Duration> {
    let count = Duration::from_secs(seconds).as_nanos() / service.as_nanos();
    vec![Duration::ZERO; count as usize]
}

#[test]
fn best_effort_is_not_starved_beyond_the_bound() {
    let (long, longest) = (ms(70), ms(300));
    for mode in [Mode::default(), Mode::TimeSliced { quantum: ms(10) }, concurrent(1), concurrent(3)] {
        let late = Priority::new(9);
        let sessions = [guaranteed(), best_effort(), Settings { priority: late, ..best_effort() }];
        let width = if mode == concurrent(3) { 3 } else { 1 };
        // The better of the best-effort sessions alone would keep the other from the device.
        let flood = flood(16 * width, long);
        let arrivals = merge(&[flood, vec![ms(1); 3], vec![Duration::ZERO; 2]]);
        let service = |session, _| if session == 0 { long } else { longest };
        let run = Bench::new(mode, &sessions).run(&arrivals, service);
        let mut started: Vec<_> =
            run.served.iter().filter(|served| served.session > 0).map(|served| served.started).collect();
        started.sort_unstable();
        assert_eq!(started.len(), 5);
        for (n, &at) in (1..).zip(&started) {
            assert!(at >= STARVATION_BOUND, "{mode:?}: it is below all others until then");
            let most = ms(1) + STARVATION_BOUND + n * (BEST_EFFORT_PERIOD + longest);
            assert!(at <= most, "{mode:?}: the {n}th at {at:?}");
        }
        for (before, after) in started.iter().zip(&started[1..]) {
            assert!(*after - *before >= BEST_EFFORT_PERIOD, "{mode:?}: {before:?} {after:?}");
        }
    }
}

#[test]
fn beside_guaranteed_requests_in_service_best_effort_waits() {
    let mut bench = Bench::new(concurrent(4), &[guaranteed(), best_effort()]);
    assert_eq!(bench.arrive(1, 0), [starts(1)]);
    assert_eq!(bench.arrive(2, 1), []);
    assert_eq!(bench.arrive(3, 1), []);
    assert_eq!(bench.finish(1), [starts(2)], "and one at a time");
    assert_eq!(bench.arrive(4, 0), [Action::Dispatch { request: 4, lane: 1, more: false }]);
    assert_eq!(bench.finish(2), []);
    assert_eq!(bench.finish(4), [starts(3)]);
}

#[test]
fn best_effort_alone_has_the_whole_device() {
    let mut bench = Bench::new(concurrent(2), &[best_effort()]);
    assert_eq!(bench.arrive(1, 0), [starts(1)]);
    assert_eq!(bench.arrive(2, 0), [Action::Dispatch { request: 2, lane: 1, more: false }]);
}

#[test]
fn best_effort_that_waits_beside_others_is_woken_at_the_bound() {
    let mut bench = Bench::new(concurrent(4), &[guaranteed(), best_effort()]);
    bench.now = ms(3);
    bench.arrive(1, 0);
    bench.arrive(2, 1);
    bench.arrive(3, 1);
    assert_eq!(bench.multiplexer.wake_at(), Some(ms(3) + STARVATION_BOUND));
    bench.now = ms(2) + STARVATION_BOUND;
    assert_eq!(bench.tell(Event::Woken), []);
    bench.now = ms(3) + STARVATION_BOUND;
    assert_eq!(bench.tell(Event::Woken), [Action::Dispatch { request: 2, lane: 1, more: false }]);
    assert_eq!(bench.multiplexer.wake_at(), None, "one at a time");
    bench.finish(2);
    let again = ms(3) + STARVATION_BOUND + BEST_EFFORT_PERIOD;
    assert_eq!(bench.multiplexer.wake_at(), Some(again), "and one in a second");
    bench.now = again;
    assert_eq!(bench.tell(Event::Woken), [Action::Dispatch { request: 3, lane: 1, more: false }]);
}
