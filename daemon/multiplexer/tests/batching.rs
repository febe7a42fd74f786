//! Requests of one session that run together.

mod common;

use common::*;
use edgemux_multiplexer::{Action, Event, Excess, Mode, Policing, Settings};

#[test]
fn requests_that_wait_leave_together() {
    let mut bench = Bench::new(Mode::default(), &[batched(3, ms(0)), guaranteed()]);
    assert_eq!(bench.arrive(0, 1), [starts(0)]);
    for request in 1..=4 {
        bench.arrive(request, 0);
    }
    assert_eq!(bench.finish(0), starts_together(0, &[1, 2, 3]));
    assert_eq!(bench.on_device(), [1, 2, 3]);
    assert_eq!((bench.multiplexer.in_service(0), bench.multiplexer.waiting(0)), (3, 1));
    assert_eq!(bench.finish(2), [starts(4)], "any of them ends all");
    assert_eq!(bench.on_device(), [4]);
    assert_eq!(bench.finish(1), [], "and only once");
}

#[test]
fn a_free_device_waits_for_a_batch_until_its_oldest_has_waited_long_enough() {
    let mut bench = Bench::new(Mode::default(), &[batched(3, ms(10))]);
    assert_eq!(bench.arrive(1, 0), []);
    assert_eq!(bench.multiplexer.wake_at(), Some(ms(10)));
    bench.now = ms(6);
    assert_eq!(bench.arrive(2, 0), []);
    assert_eq!(bench.multiplexer.wake_at(), Some(ms(10)));
    bench.now = ms(10);
    assert_eq!(bench.tell(Event::Woken), starts_together(0, &[1, 2]));
    assert_eq!(bench.multiplexer.wake_at(), None);
}

#[test]
fn a_full_batch_leaves_at_once() {
    let mut bench = Bench::new(Mode::default(), &[batched(2, ms(10))]);
    assert_eq!(bench.arrive(1, 0), []);
    assert_eq!(bench.arrive(2, 0), starts_together(0, &[1, 2]));
}

#[test]
fn others_run_while_a_batch_waits_for_more() {
    let mut bench = Bench::new(Mode::default(), &[batched(3, ms(10)), best_effort()]);
    assert_eq!(bench.arrive(1, 0), []);
    assert_eq!(bench.arrive(2, 1), [starts(2)]);
    assert_eq!(bench.multiplexer.wake_at(), None, "the device is not free");
    bench.now = ms(5);
    assert_eq!(bench.finish(2), []);
    assert_eq!(bench.multiplexer.wake_at(), Some(ms(10)));
}

#[test]
fn the_expired_and_the_cancelled_are_in_no_batch() {
    let mut bench = Bench::new(Mode::default(), &[batched(3, ms(0)), guaranteed()]);
    bench.arrive(0, 1);
    bench.arrive(1, 0);
    bench.arrive_with(2, 0, 0, Some(1));
    bench.arrive_with(3, 0, 1, None);
    bench.arrive(4, 0);
    bench.arrive(5, 0);
    bench.tell(Event::Cancelled(4));
    bench.now = ms(1);
    let mut expected = vec![Action::Expire(2)];
    expected.extend(starts_together(0, &[3, 1, 5]));
    assert_eq!(bench.finish(0), expected);
}

#[test]
fn what_is_within_the_terms_and_what_is_not_run_apart() {
    let policing = Some(Policing { rate_hz: 1.0, burst: 2.0, excess: Excess::BestEffort });
    let sessions = [Settings { policing, ..batched(9, ms(0)) }, guaranteed()];
    let mut bench = Bench::new(Mode::default(), &sessions);
    bench.arrive(0, 1);
    for request in 1..=4 {
        bench.arrive(request, 0);
    }
    assert_eq!(bench.finish(0), starts_together(0, &[1, 2]));
    assert_eq!(bench.finish(1), starts_together(0, &[3, 4]));
}

#[test]
fn batches_run_side_by_side_on_lanes_of_their_own() {
    let mut bench = Bench::new(concurrent(2), &[batched(2, ms(5)), guaranteed()]);
    bench.arrive(1, 0);
    assert_eq!(bench.arrive(2, 0), starts_together(0, &[1, 2]));
    bench.arrive(3, 0);
    assert_eq!(bench.arrive(4, 0), starts_together(1, &[3, 4]));
    assert_eq!(bench.arrive(5, 1), [], "two in service");
    assert_eq!(bench.on_device(), [1, 2, 3, 4]);
    assert_eq!(bench.finish(2), [starts(5)]);
}

#[test]
fn a_session_that_is_closed_waits_for_nobody() {
    let mut bench = Bench::new(Mode::default(), &[batched(3, ms(10))]);
    bench.arrive(1, 0);
    assert_eq!(bench.tell(Event::Closed(0)), [starts(1)]);
    assert_eq!(bench.finish(1), [Action::Drained(0)]);
}
