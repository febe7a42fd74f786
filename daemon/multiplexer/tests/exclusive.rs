//! One request at a time: the order between sessions and within them, hand-over ahead of time, runs of one group, and what
//! happens to sessions.

mod common;

use common::*;
use edgemux_multiplexer::{AHEAD_REQUESTS_MAX, Action, Event, Mode, Priority, Refusal, RequestId, Settings};

fn fcfs(sessions: &[Settings]) -> Bench {
    Bench::new(Mode::default(), sessions)
}

#[test]
fn requests_of_all_sessions_run_one_at_a_time_in_their_order_of_arrival() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    assert_eq!(bench.arrive(10, 0), [starts(10)]);
    assert_eq!(bench.arrive(11, 1), []);
    assert_eq!(bench.arrive(12, 0), []);
    assert_eq!(bench.finish(10), [starts(11)]);
    assert_eq!(bench.finish(11), [starts(12)]);
    assert_eq!(bench.finish(12), []);
}

#[test]
fn sessions_of_higher_priority_come_first_and_none_declared_comes_last() {
    let of = |priority| Settings { priority: Priority::new(priority), ..guaranteed() };
    let mut bench = fcfs(&[of(0), of(7), of(1)]);
    bench.arrive(1, 0);
    for (request, session) in [(2, 0), (3, 1), (4, 2), (5, 1)] {
        bench.arrive(request, session);
    }
    assert_eq!(bench.run_down(), [4, 3, 5, 2]);
}

#[test]
fn priorities_and_deadlines_of_requests_reorder_their_own_session_only() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    bench.arrive(1, 0);
    bench.arrive_with(2, 0, 0, None);
    bench.arrive(3, 1);
    bench.arrive_with(4, 0, 0, Some(900));
    bench.arrive_with(5, 0, 3, None);
    bench.arrive_with(6, 0, 3, Some(800));
    bench.arrive_with(7, 0, 1, None);
    bench.arrive_with(8, 1, 1, Some(700));
    // Slots: 2 of session 0, 3 of 1, 4 to 7 of 0, 8 of 1. Session 0's order: 7, 6, 5, 4, 2; session 1's: 8, 3.
    assert_eq!(bench.run_down(), [7, 8, 6, 5, 4, 2, 3]);
}

#[test]
fn an_expired_request_never_reaches_the_device() {
    let mut bench = fcfs(&[guaranteed()]);
    bench.arrive(1, 0);
    bench.arrive_with(2, 0, 0, Some(5));
    bench.arrive_with(3, 0, 0, Some(50));
    bench.now = ms(5);
    assert_eq!(bench.finish(1), [Action::Expire(2), starts(3)]);
}

#[test]
fn a_request_that_expires_leaves_its_slot_to_its_session() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    bench.arrive(1, 0);
    bench.arrive_with(2, 0, 0, Some(5));
    bench.arrive(3, 1);
    bench.arrive(4, 0);
    bench.now = ms(5);
    assert_eq!(bench.finish(1), [Action::Expire(2), starts(4)], "it takes the slot of 2, before that of 3");
}

#[test]
fn a_full_queue_refuses_and_leaves_the_others_their_room() {
    let limited = Settings { queue_limit: 3, expected: Some(ms(20)), ..guaranteed() };
    let mut bench = fcfs(&[limited; 2]);
    for request in 1..=4 {
        bench.arrive(request, 0);
    }
    let retry_after = ms(60);
    assert_eq!(bench.arrive(5, 0), [Action::Refuse(5, Refusal::QueueFull { retry_after })]);
    assert_eq!(bench.arrive(6, 1), []);
    assert_eq!(bench.multiplexer.waiting(0), 3);
}

#[test]
fn a_cancelled_request_leaves_the_queue_and_one_in_service_keeps_the_device() {
    let mut bench = fcfs(&[guaranteed()]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    bench.arrive(3, 0);
    assert_eq!(bench.tell(Event::Cancelled(2)), []);
    assert_eq!(bench.tell(Event::Cancelled(1)), []);
    assert_eq!(bench.multiplexer.in_service(0), 1);
    assert_eq!(bench.finish(1), [starts(3)]);
    assert_eq!(bench.finish(1), [], "a second end of the same request is no event");
}

#[test]
fn a_cancelled_request_gives_up_the_last_slot_of_its_session() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    bench.arrive(3, 1);
    bench.arrive(4, 0);
    bench.tell(Event::Cancelled(2));
    assert_eq!(bench.run_down(), [4, 3]);
}

#[test]
fn what_is_unknown_or_comes_twice_changes_nothing() {
    let mut bench = fcfs(&[guaranteed()]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    for event in [
        Event::Finished { request: 9, service: Some(ms(1)) },
        Event::Cancelled(9),
        Event::Changed { session: 9, settings: best_effort() },
        Event::Resumed(9),
        Event::Closed(9),
        Event::Removed(9),
        Event::WorkerDown(9),
        Event::Added { session: 0, worker: 9, settings: best_effort() },
        Event::Woken,
    ] {
        assert_eq!(bench.tell(event), [], "{event:?}");
    }
    assert_eq!((bench.arrive(1, 0), bench.arrive(2, 0)), (vec![], vec![]));
    assert_eq!((bench.multiplexer.waiting(0), bench.multiplexer.in_service(0)), (1, 1));
    assert_eq!(bench.run_down(), [2]);
}

#[test]
fn the_sessions_of_a_dead_worker_wait_while_others_run() {
    let mut bench = fcfs(&[guaranteed(); 3]);
    bench.tell(Event::WorkerDown(0));
    assert_eq!(bench.arrive(1, 1), []);
    assert_eq!(bench.arrive(2, 2), [starts(2)]);
    assert_eq!(bench.finish(2), []);
    assert_eq!(bench.tell(Event::Resumed(1)), [starts(1)]);
}

#[test]
fn a_closed_session_runs_what_waits_and_then_reports_itself_drained() {
    let mut bench = fcfs(&[guaranteed()]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    assert_eq!(bench.tell(Event::Closed(0)), []);
    assert_eq!(bench.arrive(3, 0), [Action::Refuse(3, Refusal::Closed)]);
    assert_eq!(bench.finish(1), [starts(2)]);
    assert_eq!(bench.finish(2), [Action::Drained(0)]);

    let mut idle = fcfs(&[guaranteed()]);
    assert_eq!(idle.tell(Event::Closed(0)), [Action::Drained(0)]);
}

#[test]
fn a_removed_session_refuses_what_waits() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    bench.arrive(1, 1);
    bench.arrive(2, 0);
    assert_eq!(bench.tell(Event::Removed(0)), [Action::Refuse(2, Refusal::NoSession)]);
    assert_eq!(bench.arrive(3, 0), [Action::Refuse(3, Refusal::NoSession)]);
}

#[test]
fn what_a_session_is_entitled_to_now_counts_for_what_waits_too() {
    let mut bench = fcfs(&[guaranteed(); 2]);
    bench.arrive(1, 0);
    bench.arrive(2, 0);
    bench.arrive(3, 1);
    bench.tell(Event::Changed { session: 0, settings: best_effort() });
    assert_eq!(bench.run_down(), [3, 2]);
}

/// Sessions whose requests are known to take 100 microseconds; 2 and 3 share a worker, 4 has another.
fn short(mode: Mode, settings: Settings) -> Bench {
    let settings = Settings { expected: Some(us(100)), ..settings };
    Bench::new(mode, &[settings; 5])
}

#[test]
fn short_requests_are_handed_over_ahead_of_time_up_to_the_bound() {
    let mut bench = short(Mode::default(), guaranteed());
    assert_eq!(bench.arrive(11, 2), [starts(11)]);
    assert_eq!(bench.arrive(12, 3), [starts(12)], "200 of 250 microseconds");
    assert_eq!(bench.arrive(13, 2), [], "it would be 300");
    assert_eq!(bench.on_device(), [11]);
    assert_eq!(bench.finish_after(11, us(100)), [starts(13)]);
    assert_eq!(bench.on_device(), [12]);
    assert_eq!(bench.finish_after(12, us(100)), []);
    assert_eq!(bench.arrive(14, 4), [], "another worker's request waits until the device is free");
    assert_eq!(bench.finish_after(13, us(100)), [starts(14)]);
}

#[test]
fn a_worker_never_holds_more_than_a_few() {
    let mut bench = Bench::new(Mode::default(), &[Settings { expected: Some(us(1)), ..guaranteed() }]);
    let started = (0..20).flat_map(|request| bench.arrive(request, 0)).count();
    assert_eq!(started, AHEAD_REQUESTS_MAX);
}

#[test]
fn one_long_request_ends_handing_over_ahead_of_time_at_once() {
    let mut bench = fcfs(&[guaranteed()]);
    bench.arrive(1, 0);
    bench.finish_after(1, us(1));
    bench.arrive(2, 0);
    assert_eq!(bench.arrive(3, 0), [starts(3)]);
    assert_eq!(bench.finish(2), []);
    assert_eq!(bench.arrive(4, 0), []);
}

#[test]
fn only_what_runs_alone_is_guaranteed_and_keeps_the_parameters_is_handed_over_ahead_of_time() {
    let batches = Settings { batching: batched(2, ms(0)).batching, ..guaranteed() };
    let mut bench = short(Mode::default(), batches);
    bench.arrive(1, 2);
    assert_eq!(bench.arrive(2, 2), [], "a batch may still grow");

    let mut bench = short(Mode::default(), guaranteed());
    bench.tell(Event::Changed { session: 3, settings: best_effort() });
    bench.arrive(1, 2);
    assert_eq!(bench.arrive(2, 3), [], "a guaranteed one may still come");

    let mut bench = short(runs_of(4), guaranteed());
    bench.arrive(1, 2);
    assert_eq!(bench.arrive(2, 3), [], "another group");
    assert_eq!(bench.arrive(3, 2), [starts(3)], "the same group, ahead of it");

    let mut bench = short(Mode::TimeSliced { quantum: ms(1) }, guaranteed());
    bench.arrive(1, 2);
    assert_eq!(bench.arrive(2, 3), []);
}

/// The order of service of requests 1, 2, … of `waiting`, while one of `running` is on the device.
fn order(bench: &mut Bench, running: u32, waiting: &[u32]) -> Vec<RequestId> {
    bench.arrive(0, running);
    for (request, &session) in (1..).zip(waiting) {
        bench.arrive(request, session);
    }
    bench.run_down()
}

#[test]
fn a_run_of_one_group_is_bounded_while_another_waits() {
    let of = |group| Settings { group: Some(group), ..guaranteed() };
    let sessions = [of(7), of(7), of(8)];
    // One of session 0 runs, then two more of its group, the first of them session 1's, before session 2 comes in.
    let mut bench = Bench::new(runs_of(3), &sessions);
    assert_eq!(order(&mut bench, 0, &[2, 1, 0, 1, 2, 2]), [2, 3, 1, 5, 6, 4]);
    let mut bench = Bench::new(runs_of(1), &sessions);
    assert_eq!(order(&mut bench, 0, &[2, 1, 0]), [1, 2, 3]);
}

#[test]
fn a_run_counts_from_when_another_group_waits() {
    let mut bench = Bench::new(runs_of(2), &[guaranteed(); 2]);
    assert_eq!(order(&mut bench, 0, &[0, 0, 0, 0]), [1, 2, 3, 4], "nobody else waits");
    assert_eq!(order(&mut bench, 0, &[1, 0, 0]), [2, 1, 3]);
}

#[test]
fn a_run_never_passes_a_better_class() {
    let of = |priority| Settings { priority: Priority::new(priority), ..guaranteed() };
    let mut bench = Bench::new(runs_of(9), &[of(2), of(2), of(1)]);
    assert_eq!(order(&mut bench, 0, &[1, 0, 2, 0]), [3, 1, 2, 4]);
}

#[test]
fn sessions_without_a_group_keep_nothing_for_one_another() {
    let mut bench = Bench::new(runs_of(3), &[guaranteed(); 3]);
    assert_eq!(order(&mut bench, 0, &[1, 2, 0, 2, 0]), [3, 5, 1, 2, 4]);
}
