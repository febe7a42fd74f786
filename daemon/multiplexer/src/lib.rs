//! Who runs next on a device.
//!
//! A [`Multiplexer`] holds the queues of the sessions that share one device. It is told what happens and answers with
//! what to do; it has no clock, no socket and no lock, so a test can drive it through any history.
//!
//! The one policy so far is *exclusive*: one request on the device at a time, run to completion; the next is the
//! waiting request of the highest priority that arrived first.
//!
//! Requests so short that the way to the worker takes longer than they do are handed over ahead of time, up to
//! [`AHEAD_MAX`] of expected work, so that the worker need not wait for the daemon. They run one after the other all the
//! same; a newcomer of higher priority waits for at most that much more.
#![forbid(unsafe_code)]

mod queue;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::queue::{Queue, Rank};

/// A request, unique on its device and never used again.
pub type RequestId = u64;
/// A session, unique in the daemon and never used again.
pub type SessionId = u32;

/// Where a session runs: requests are only handed over ahead of time to the worker that has the device.
pub type WorkerId = u32;

/// The most expected service time that a worker holds when a request is handed over ahead of time.
pub const AHEAD_MAX: Duration = Duration::from_micros(250);
/// The most requests that a worker holds.
pub const AHEAD_REQUESTS_MAX: usize = 8;

/// Requests of priority 1 run first, larger numbers later, 0 (nothing declared) last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u32);

impl Priority {
    /// From the number that clients and configuration use.
    pub fn new(declared: u32) -> Self {
        Self(declared.wrapping_sub(1))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session takes its place, suspended; at most `queue_limit` of its requests may wait.
    Added {
        /// The session.
        session: SessionId,
        /// The worker that runs it.
        worker: WorkerId,
        /// The most requests that may wait.
        queue_limit: usize,
    },
    /// The session can run.
    Resumed(SessionId),
    /// The worker cannot run anything for now; the requests of its sessions wait.
    WorkerDown(WorkerId),
    /// The session takes no more requests; those that wait still run.
    Closed(SessionId),
    /// The session is gone; those that wait are refused.
    Removed(SessionId),
    /// A request arrived.
    Arrived {
        /// The request.
        request: RequestId,
        /// Its session.
        session: SessionId,
        /// Its priority.
        priority: Priority,
        /// When it is of no more use, on the clock of `now`.
        deadline: Option<Duration>,
    },
    /// Nobody waits for this request any more. One that is in service runs on until it is finished.
    Cancelled(RequestId),
    /// The device is done with this request, one way or the other.
    Finished {
        /// The request.
        request: RequestId,
        /// Its time on the device, if it ran to its end.
        service: Option<Duration>,
    },
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many requests wait as may.
    QueueFull,
    /// The session is draining.
    Closed,
    /// The session is not, or no more, on this device.
    NoSession,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start this request on the device.
    Dispatch(RequestId),
    /// Answer that it was refused.
    Refuse(RequestId, Refusal),
    /// Answer that its deadline passed while it waited.
    Expire(RequestId),
    /// A closed session has nothing waiting and nothing in service.
    Drained(SessionId),
}

/// The queues of one device and who is in service.
#[derive(Debug, Default)]
pub struct Multiplexer {
    sessions: HashMap<SessionId, Session>,
    /// The first waiting request of every session that can run.
    heads: BTreeSet<(Rank, SessionId)>,
    waiting: HashMap<RequestId, (SessionId, Rank)>,
    /// With the worker, in the order in which they run: the first is on the device.
    in_service: VecDeque<(RequestId, SessionId)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Session {
    worker: WorkerId,
    queue: Queue,
    running: bool,
    closed: bool,
    /// Expected service time; none before the first request has finished.
    service: Option<Duration>,
}

impl Session {
    /// A longer time is believed at once, a shorter one little by little.
    fn observe(&mut self, service: Duration) {
        self.service = Some(match self.service {
            Some(expected) if service < expected => expected - (expected - service) / 8,
            _ => service,
        });
    }
}

impl Multiplexer {
    /// Takes note of `event` at `now` and appends what is to be done about it to `actions`.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Added { session, worker, queue_limit } => {
                let queue = Queue::new(queue_limit);
                let new = Session { worker, queue, running: false, closed: false, service: None };
                self.sessions.entry(session).or_insert(new);
            }
            Event::Resumed(session) => self.set_running(session, true),
            Event::WorkerDown(worker) => {
                let its = self.sessions.iter().filter(|(_, state)| state.worker == worker);
                for session in its.map(|(&session, _)| session).collect::<Vec<_>>() {
                    self.set_running(session, false);
                }
            }
            Event::Closed(session) => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.closed = true;
                }
                self.report_drained(session, actions);
            }
            Event::Removed(session) => self.remove(session, actions),
            Event::Arrived { request, session, priority, deadline } => {
                self.arrive(request, session, priority, deadline, actions);
            }
            Event::Cancelled(request) => {
                if let Some(session) = self.take_waiting(request) {
                    self.report_drained(session, actions);
                }
            }
            Event::Finished { request, service } => self.finish(request, service, actions),
        }
        self.dispatch(now, actions);
    }

    /// Requests of this session that wait.
    pub fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |state| state.queue.len())
    }

    /// Requests of this session with the worker.
    pub fn in_service(&self, session: SessionId) -> usize {
        self.in_service.iter().filter(|(_, running)| *running == session).count()
    }

    /// The request on the device.
    pub fn on_device(&self) -> Option<RequestId> {
        self.in_service.front().map(|&(request, _)| request)
    }

    fn finish(&mut self, request: RequestId, service: Option<Duration>, actions: &mut Vec<Action>) {
        let Some(at) = self.in_service.iter().position(|&(running, _)| running == request) else { return };
        let Some((_, session)) = self.in_service.remove(at) else { return };
        if let (Some(state), Some(service)) = (self.sessions.get_mut(&session), service) {
            state.observe(service);
        }
        self.report_drained(session, actions);
    }

    /// Does the device have room for a request of `session`, or is it worth handing over ahead of time?
    fn has_room_for(&self, session: SessionId) -> bool {
        let expected = |session| {
            let state = self.sessions.get(&session)?;
            state.service.map(|service| (state.worker, service))
        };
        let Some(&(_, on_device)) = self.in_service.front() else { return true };
        let (Some((worker, service)), Some((running_on, _))) = (expected(session), expected(on_device))
        else {
            return false;
        };
        let held: Option<Duration> =
            self.in_service.iter().map(|&(_, held)| expected(held).map(|(_, service)| service)).sum();
        worker == running_on
            && self.in_service.len() < AHEAD_REQUESTS_MAX
            && held.is_some_and(|held| held + service <= AHEAD_MAX)
    }

    fn arrive(
        &mut self,
        request: RequestId,
        session: SessionId,
        priority: Priority,
        deadline: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        let refusal = match self.sessions.get(&session) {
            None => Refusal::NoSession,
            Some(state) if state.closed => Refusal::Closed,
            Some(state) if state.queue.is_full() => Refusal::QueueFull,
            Some(_) => {
                self.arrivals += 1;
                let rank = Rank { priority, arrival: self.arrivals };
                self.waiting.insert(request, (session, rank));
                self.change_queue(session, |queue| queue.push(rank, request, deadline));
                return;
            }
        };
        actions.push(Action::Refuse(request, refusal));
    }

    /// Starts the best waiting request while there is room; those found expired on the way are answered so.
    fn dispatch(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(&(rank, session)) = self.heads.first() {
            if !self.has_room_for(session) {
                return;
            }
            let Some(taken) = self.change_queue(session, |queue| queue.take(rank)).flatten() else { return };
            self.waiting.remove(&taken.request);
            if taken.deadline.is_some_and(|deadline| deadline <= now) {
                actions.push(Action::Expire(taken.request));
                self.report_drained(session, actions);
            } else {
                self.in_service.push_back((taken.request, session));
                actions.push(Action::Dispatch(taken.request));
            }
        }
    }

    fn take_waiting(&mut self, request: RequestId) -> Option<SessionId> {
        let (session, rank) = self.waiting.remove(&request)?;
        self.change_queue(session, |queue| queue.take(rank));
        Some(session)
    }

    fn remove(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        self.set_running(session, false);
        if let Some(mut state) = self.sessions.remove(&session) {
            while let Some(taken) = state.queue.take_first() {
                self.waiting.remove(&taken.request);
                actions.push(Action::Refuse(taken.request, Refusal::NoSession));
            }
        }
    }

    fn report_drained(&self, session: SessionId, actions: &mut Vec<Action>) {
        if self.sessions.get(&session).is_some_and(|state| state.closed && state.queue.len() == 0)
            && self.in_service(session) == 0
        {
            actions.push(Action::Drained(session));
        }
    }

    fn set_running(&mut self, session: SessionId, running: bool) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if let (Some(rank), true) = (state.queue.first(), state.running != running) {
            if running {
                self.heads.insert((rank, session));
            } else {
                self.heads.remove(&(rank, session));
            }
        }
        state.running = running;
    }

    /// Changes a session's queue and keeps `heads` in step with it.
    fn change_queue<T>(&mut self, session: SessionId, change: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let state = self.sessions.get_mut(&session)?;
        let before = state.queue.first();
        let answer = change(&mut state.queue);
        let after = state.queue.first();
        if state.running && before != after {
            if let Some(rank) = before {
                self.heads.remove(&(rank, session));
            }
            if let Some(rank) = after {
                self.heads.insert((rank, session));
            }
        }
        Some(answer)
    }
}
