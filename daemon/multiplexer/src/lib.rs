//! Who runs next on a device.
//!
//! A [`Multiplexer`] holds the queues of the sessions that share one device. It is told what happens and answers with
//! what to do; it has no clock, no socket and no lock, so a test can drive it through any history.
//!
//! The one policy so far is *exclusive*: one request on the device at a time, run to completion; the next is the
//! waiting request of the highest priority that arrived first.
#![forbid(unsafe_code)]

mod queue;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use self::queue::{Queue, Rank};

/// A request, unique on its device and never used again.
pub type RequestId = u64;
/// A session, unique in the daemon and never used again.
pub type SessionId = u32;

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
        /// The most requests that may wait.
        queue_limit: usize,
    },
    /// The session can run.
    Resumed(SessionId),
    /// The session cannot run for now; its requests wait.
    Suspended(SessionId),
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
    Finished(RequestId),
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
    in_service: Option<(RequestId, SessionId)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Session {
    queue: Queue,
    running: bool,
    closed: bool,
}

impl Multiplexer {
    /// Takes note of `event` at `now` and appends what is to be done about it to `actions`.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Added { session, queue_limit } => {
                let new = Session { queue: Queue::new(queue_limit), running: false, closed: false };
                self.sessions.entry(session).or_insert(new);
            }
            Event::Resumed(session) => self.set_running(session, true),
            Event::Suspended(session) => self.set_running(session, false),
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
            Event::Finished(request) => {
                if let Some((_, session)) = self.in_service.take_if(|(running, _)| *running == request) {
                    self.report_drained(session, actions);
                }
            }
        }
        self.dispatch(now, actions);
    }

    /// Requests of this session that wait.
    pub fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |state| state.queue.len())
    }

    /// Requests of this session in service.
    pub fn in_service(&self, session: SessionId) -> usize {
        usize::from(self.in_service.is_some_and(|(_, running)| running == session))
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

    /// Starts the best waiting request if the device is free; those found expired on the way are answered so.
    fn dispatch(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while self.in_service.is_none() {
            let Some(&(rank, session)) = self.heads.first() else { return };
            let Some(taken) = self.change_queue(session, |queue| queue.take(rank)).flatten() else { return };
            self.waiting.remove(&taken.request);
            if taken.deadline.is_some_and(|deadline| deadline <= now) {
                actions.push(Action::Expire(taken.request));
                self.report_drained(session, actions);
            } else {
                self.in_service = Some((taken.request, session));
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
