//! Several at a time, changing how the device is shared, and keeping everything from it.

mod common;

use common::*;
use edgemux_multiplexer::{Action, Event, Mode, RequestId};

const TIME_SLICED: Mode = Mode::TimeSliced { quantum: std::time::Duration::from_millis(1) };

fn on(lane: usize, request: RequestId) -> Action {
    Action::Dispatch { request, lane, more: false }
}

#[test]
fn several_run_at_a_time_each_on_the_lowest_lane_that_is_free() {
    let mut bench = Bench::new(concurrent(3), &[guaranteed(); 2]);
    for (request, lane) in [(1, 0), (2, 1), (3, 2)] {
        assert_eq!(bench.arrive(request, (request % 2) as u32), [on(lane, request)]);
    }
    assert_eq!(bench.arrive(4, 0), []);
    assert_eq!(bench.on_device(), [1, 2, 3]);
    assert_eq!(bench.finish(2), [on(1, 4)]);
    assert_eq!(bench.finish(1), []);
    assert_eq!(bench.finish(4), []);
    assert_eq!(bench.arrive(5, 0), [on(0, 5)]);
    assert_eq!(bench.arrive(6, 0), [on(1, 6)]);
}

#[test]
fn from_several_to_one_nothing_starts_before_the_device_is_empty() {
    for mode in [Mode::default(), TIME_SLICED] {
        let mut bench = Bench::new(concurrent(3), &[guaranteed(); 2]);
        for request in 1..=5 {
            bench.arrive(request, (request % 2) as u32);
        }
        assert_eq!(bench.tell(Event::ModeChanged(mode)), []);
        assert_eq!(bench.multiplexer.mode(), mode);
        assert_eq!(bench.finish(1), []);
        assert_eq!(bench.finish(3), []);
        assert_eq!(bench.finish(2), [starts(4)], "{mode:?}");
        assert_eq!(bench.finish(4), [starts(5)]);
    }
}

#[test]
fn fewer_at_a_time_start_only_where_there_is_room() {
    let mut bench = Bench::new(concurrent(4), &[guaranteed()]);
    for request in 1..=6 {
        bench.arrive(request, 0);
    }
    bench.tell(Event::ModeChanged(concurrent(2)));
    assert_eq!((bench.finish(1), bench.finish(2)), (vec![], vec![]));
    assert_eq!(bench.finish(3), [on(0, 5)]);
    assert_eq!(bench.finish(4), [on(1, 6)]);
}

#[test]
fn from_one_to_several_the_others_start_at_once() {
    for mode in [Mode::default(), TIME_SLICED] {
        let mut bench = Bench::new(mode, &[guaranteed(); 2]);
        for request in 1..=4 {
            bench.arrive(request, (request % 2) as u32);
        }
        assert_eq!(bench.tell(Event::ModeChanged(concurrent(3))), [on(1, 2), on(2, 3)], "{mode:?}");
        assert_eq!(bench.on_device(), [1, 2, 3]);
    }
}

#[test]
fn a_session_s_order_outlives_every_change() {
    let modes = [concurrent(1), TIME_SLICED, runs_of(4), Mode::default(), TIME_SLICED, concurrent(1)];
    let mut bench = Bench::new(Mode::default(), &[guaranteed(); 2]);
    for request in 0..=12 {
        bench.arrive_with(request, (request % 2) as u32, (13 - request) as u32, None);
    }
    let mut order = [Vec::new(), Vec::new()];
    for mode in modes.into_iter().cycle() {
        assert_eq!(bench.tell(Event::ModeChanged(mode)), []);
        let Some(&running) = bench.on_device().first() else { break };
        order[(running % 2) as usize].push(running);
        bench.finish(running);
    }
    assert_eq!(order, [vec![0, 12, 10, 8, 6, 4, 2], vec![11, 9, 7, 5, 3, 1]]);
}

#[test]
fn behind_a_fence_what_is_in_service_finishes_and_nothing_starts() {
    for mode in [Mode::default(), TIME_SLICED, concurrent(1)] {
        let mut bench = Bench::new(mode, &[guaranteed(), batched(4, ms(1))]);
        bench.arrive(1, 0);
        bench.arrive(2, 0);
        assert_eq!(bench.tell(Event::Fenced(true)), []);
        assert_eq!(bench.finish(1), []);
        assert_eq!(bench.arrive(3, 0), []);
        bench.arrive(4, 1);
        assert_eq!(bench.multiplexer.wake_at(), None, "nothing can start");
        assert_eq!(bench.tell(Event::Fenced(false)), [starts(2)], "{mode:?}");
        assert_eq!(bench.finish(2), [starts(3)]);
    }
}
