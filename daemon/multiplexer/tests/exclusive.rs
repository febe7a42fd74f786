//! What the exclusive policy promises, over scripted and over random histories.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use edgemux_multiplexer::{
    AHEAD_REQUESTS_MAX, Action, Event, Multiplexer, Priority, Refusal, RequestId, SessionId,
};
use proptest::prelude::*;

/// The end of a request that took long enough not to be worth handing over ahead of time.
fn finished(request: RequestId) -> Event {
    Event::Finished { request, service: Some(Duration::from_millis(5)) }
}

/// A multiplexer with a hand on its clock.
#[derive(Default)]
struct Bench {
    multiplexer: Multiplexer,
    now: Duration,
}

impl Bench {
    fn with_sessions(sessions: &[SessionId]) -> Self {
        let mut bench = Self::default();
        for &session in sessions {
            bench.tell(Event::Added { session, worker: session / 2, queue_limit: 3 });
            bench.tell(Event::Resumed(session));
        }
        bench
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.multiplexer.handle(self.now, event, &mut actions);
        actions
    }

    fn arrive(&mut self, request: RequestId, session: SessionId) -> Vec<Action> {
        self.arrive_with(request, session, 0, None)
    }

    fn arrive_with(
        &mut self,
        request: RequestId,
        session: SessionId,
        priority: u32,
        deadline_ms: Option<u64>,
    ) -> Vec<Action> {
        let deadline = deadline_ms.map(Duration::from_millis);
        self.tell(Event::Arrived { request, session, priority: Priority::new(priority), deadline })
    }
}

#[test]
fn requests_of_all_sessions_run_one_at_a_time_in_their_order_of_arrival() {
    let mut bench = Bench::with_sessions(&[1, 2]);
    assert_eq!(bench.arrive(10, 1), [Action::Dispatch(10)]);
    assert_eq!(bench.arrive(11, 2), []);
    assert_eq!(bench.arrive(12, 1), []);
    assert_eq!(bench.tell(finished(10)), [Action::Dispatch(11)]);
    assert_eq!(bench.tell(finished(11)), [Action::Dispatch(12)]);
    assert_eq!(bench.tell(finished(12)), []);
}

#[test]
fn a_higher_priority_overtakes_and_none_declared_comes_last() {
    let mut bench = Bench::with_sessions(&[1, 2]);
    bench.arrive(1, 1);
    bench.arrive_with(2, 1, 0, None);
    bench.arrive_with(3, 1, 7, None);
    bench.arrive_with(4, 2, 1, None);
    bench.arrive_with(5, 2, 7, None);
    let mut order = Vec::new();
    let mut running = 1;
    while let [Action::Dispatch(next)] = bench.tell(finished(running))[..] {
        order.push(next);
        running = next;
    }
    assert_eq!(order, [4, 3, 5, 2]);
}

#[test]
fn an_expired_request_never_reaches_the_device() {
    let mut bench = Bench::with_sessions(&[1]);
    bench.arrive(1, 1);
    bench.arrive_with(2, 1, 0, Some(5));
    bench.arrive_with(3, 1, 0, Some(50));
    bench.now = Duration::from_millis(5);
    assert_eq!(bench.tell(finished(1)), [Action::Expire(2), Action::Dispatch(3)]);
}

#[test]
fn a_full_queue_refuses_and_leaves_the_others_their_room() {
    let mut bench = Bench::with_sessions(&[1, 2]);
    for request in 1..=4 {
        bench.arrive(request, 1);
    }
    assert_eq!(bench.arrive(5, 1), [Action::Refuse(5, Refusal::QueueFull)]);
    assert_eq!(bench.arrive(6, 2), []);
    assert_eq!(bench.multiplexer.waiting(1), 3);
}

#[test]
fn a_cancelled_request_leaves_the_queue_and_one_in_service_keeps_the_device() {
    let mut bench = Bench::with_sessions(&[1]);
    bench.arrive(1, 1);
    bench.arrive(2, 1);
    bench.arrive(3, 1);
    assert_eq!(bench.tell(Event::Cancelled(2)), []);
    assert_eq!(bench.tell(Event::Cancelled(1)), []);
    assert_eq!(bench.multiplexer.in_service(1), 1);
    assert_eq!(bench.tell(finished(1)), [Action::Dispatch(3)]);
    assert_eq!(bench.tell(finished(1)), [], "a second end of the same request is no event");
}

#[test]
fn the_sessions_of_a_dead_worker_wait_while_others_run() {
    let mut bench = Bench::with_sessions(&[1, 2]);
    bench.tell(Event::WorkerDown(0));
    assert_eq!(bench.arrive(1, 1), []);
    assert_eq!(bench.arrive(2, 2), [Action::Dispatch(2)]);
    assert_eq!(bench.tell(finished(2)), []);
    assert_eq!(bench.tell(Event::Resumed(1)), [Action::Dispatch(1)]);
}

#[test]
fn a_closed_session_runs_what_waits_and_then_reports_itself_drained() {
    let mut bench = Bench::with_sessions(&[1]);
    bench.arrive(1, 1);
    bench.arrive(2, 1);
    assert_eq!(bench.tell(Event::Closed(1)), []);
    assert_eq!(bench.arrive(3, 1), [Action::Refuse(3, Refusal::Closed)]);
    assert_eq!(bench.tell(finished(1)), [Action::Dispatch(2)]);
    assert_eq!(bench.tell(finished(2)), [Action::Drained(1)]);

    let mut idle = Bench::with_sessions(&[1]);
    assert_eq!(idle.tell(Event::Closed(1)), [Action::Drained(1)]);
}

#[test]
fn a_removed_session_refuses_what_waits() {
    let mut bench = Bench::with_sessions(&[1, 2]);
    bench.arrive(1, 2);
    bench.arrive(2, 1);
    assert_eq!(bench.tell(Event::Removed(1)), [Action::Refuse(2, Refusal::NoSession)]);
    assert_eq!(bench.arrive(3, 1), [Action::Refuse(3, Refusal::NoSession)]);
}

#[test]
fn short_requests_are_handed_over_ahead_of_time_up_to_the_bound() {
    let mut bench = Bench::with_sessions(&[2, 3, 4]);
    let short = |request| Event::Finished { request, service: Some(Duration::from_micros(100)) };
    for (request, session) in [(1, 2), (2, 3), (3, 4)] {
        assert_eq!(bench.arrive(request, session), [Action::Dispatch(request)]);
        assert_eq!(bench.tell(short(request)), []);
    }
    assert_eq!(bench.arrive(11, 2), [Action::Dispatch(11)]);
    assert_eq!(bench.arrive(12, 3), [Action::Dispatch(12)], "200 of 250 microseconds");
    assert_eq!(bench.arrive(13, 2), [], "it would be 300");
    assert_eq!(bench.multiplexer.on_device(), Some(11));
    assert_eq!(bench.tell(short(11)), [Action::Dispatch(13)]);
    assert_eq!(bench.multiplexer.on_device(), Some(12));
    assert_eq!(bench.tell(short(12)), []);
    assert_eq!(bench.arrive(14, 4), [], "another worker's request waits until the device is free");
    assert_eq!(bench.tell(short(13)), [Action::Dispatch(14)]);
}

#[test]
fn one_long_request_ends_handing_over_ahead_of_time_at_once() {
    let mut bench = Bench::with_sessions(&[1]);
    bench.arrive(1, 1);
    bench.tell(Event::Finished { request: 1, service: Some(Duration::from_micros(1)) });
    bench.arrive(2, 1);
    assert_eq!(bench.arrive(3, 1), [Action::Dispatch(3)]);
    assert_eq!(bench.tell(finished(2)), []);
    assert_eq!(bench.arrive(4, 1), []);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        session: SessionId,
        priority: u32,
        lives_ms: Option<u64>,
    },
    Cancel(u64),
    /// The first with the worker is done after so many microseconds.
    Finish(u64),
    WorkerDown(u32),
    Resume(SessionId),
    Close(SessionId),
    Remove(SessionId),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..4_u32;
    prop_oneof![
        8 => (session.clone(), 0..4_u32, proptest::option::of(0..40_u64))
            .prop_map(|(session, priority, lives_ms)| Step::Arrive { session, priority, lives_ms }),
        2 => any::<u64>().prop_map(Step::Cancel),
        6 => (1..400_u64).prop_map(Step::Finish),
        1 => (0..2_u32).prop_map(Step::WorkerDown),
        2 => session.clone().prop_map(Step::Resume),
        1 => session.clone().prop_map(Step::Close),
        1 => session.prop_map(Step::Remove),
        3 => (1..20_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: one outcome per request, requests run in the order they were started in, nothing expired
    /// reaches the device, and it is never idle while a session that can run has a request waiting.
    #[test]
    fn every_history_keeps_the_invariants(steps in proptest::collection::vec(step(), 1..300)) {
        let mut bench = Bench::with_sessions(&[0, 1, 2, 3]);
        let mut deadlines = HashMap::new();
        let mut waiting: HashMap<RequestId, SessionId> = HashMap::new();
        let mut running: Vec<RequestId> = Vec::new();
        let mut suspended: HashSet<SessionId> = HashSet::new();
        let mut next = 0;
        for step in steps {
            let event = match step {
                Step::Wait(ms) => {
                    bench.now += Duration::from_millis(ms);
                    continue;
                }
                Step::Arrive { session, priority, lives_ms } => {
                    next += 1;
                    let deadline = lives_ms.map(|ms| bench.now + Duration::from_millis(ms));
                    deadlines.insert(next, deadline);
                    waiting.insert(next, session);
                    Event::Arrived { request: next, session, priority: Priority::new(priority), deadline }
                }
                Step::Cancel(pick) => {
                    if next == 0 { continue }
                    let request = pick % next + 1;
                    waiting.remove(&request);
                    Event::Cancelled(request)
                }
                Step::Finish(service_us) => {
                    if running.is_empty() { continue }
                    let service = Some(Duration::from_micros(service_us));
                    Event::Finished { request: running.remove(0), service }
                }
                Step::WorkerDown(worker) => {
                    suspended.extend([2 * worker, 2 * worker + 1]);
                    Event::WorkerDown(worker)
                }
                Step::Resume(session) => { suspended.remove(&session); Event::Resumed(session) }
                Step::Close(session) => Event::Closed(session),
                Step::Remove(session) => Event::Removed(session),
            };
            for action in bench.tell(event) {
                match action {
                    Action::Dispatch(request) => {
                        prop_assert!(waiting.remove(&request).is_some(), "{} was not waiting", request);
                        prop_assert!(deadlines[&request].is_none_or(|deadline| deadline > bench.now));
                        running.push(request);
                        prop_assert!(running.len() <= AHEAD_REQUESTS_MAX);
                    }
                    Action::Expire(request) => {
                        prop_assert!(waiting.remove(&request).is_some());
                        prop_assert!(deadlines[&request].is_some_and(|deadline| deadline <= bench.now));
                    }
                    Action::Refuse(request, _) => prop_assert!(waiting.remove(&request).is_some()),
                    Action::Drained(session) => {
                        prop_assert!(!waiting.values().any(|&waits| waits == session));
                    }
                }
            }
            prop_assert_eq!(bench.multiplexer.on_device(), running.first().copied(), "they run in their order");
            prop_assert_eq!(running.len(), (0..4).map(|s| bench.multiplexer.in_service(s)).sum::<usize>());
            for session in 0..4 {
                let counted = waiting.values().filter(|&&waits| waits == session).count();
                prop_assert_eq!(bench.multiplexer.waiting(session), counted);
                prop_assert!(!running.is_empty() || suspended.contains(&session) || counted == 0, "idle device");
            }
        }
    }
}
