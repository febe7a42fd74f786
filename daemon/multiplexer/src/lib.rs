//! Who runs next on a device, and who has to wait or is turned away.
//!
//! A [`Multiplexer`] holds the queues of the sessions that share one device. It is told what happens and answers with
//! what to do; it has no clock, no socket and no lock, so a test can drive it through any history.
//!
//! | mode | |
//! |---|---|
//! | [`Mode::Exclusive`] | one request at a time, run to completion; bounded runs of one reload group |
//! | [`Mode::TimeSliced`] | one at a time, sessions in turn: deficit round robin in device time |
//! | [`Mode::Concurrent`] | several at a time |
//!
//! In each, guaranteed sessions come before best effort, then the session's priority counts, then the time of the slot that
//! a request's arrival makes (see [`SMOOTH_BURST`]); time-sliced, the turns of sessions in place of the last. Which of a
//! session's requests takes its slot is decided by their own priorities, deadlines and arrivals, so that no client's deadlines
//! take another tenant's place.
//!
//! Best effort runs when no guaranteed request waits and, where there are guaranteed sessions, when none is in service: what
//! they are promised allows for one best-effort request that is there before them. It is not interrupted. If the one that
//! has waited longest has waited for [`STARVATION_BOUND`] it is served next whatever else waits, once in
//! [`BEST_EFFORT_PERIOD`]. So the n-th of those that wait begins after at most
//! `STARVATION_BOUND + n · (BEST_EFFORT_PERIOD + the longest request)`, time in which the device may run nothing apart.
//!
//! Requests so short that the way to the worker takes longer than they do are handed over ahead of time in exclusive mode,
//! up to [`AHEAD_MAX`] of expected work, so that the worker need not wait for the daemon. They run one after the other all
//! the same; a newcomer of higher rank waits for at most that much more.
//!
//! An event costs time that grows with the logarithm of what waits, and with the few requests that are in service.
#![forbid(unsafe_code)]

mod dispatch;
mod event;
mod in_service;
mod police;
mod queue;
mod ready;
mod round_robin;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub use self::event::{Action, Event, Refusal};
use self::in_service::InService;
pub use self::police::{RATE_TOLERANCE, SMOOTH_BURST};
use self::queue::Place;
use self::ready::{Line, Ready};
use self::session::{Arrival, Session};
pub use self::settings::{Batching, Excess, Mode, Policing, Priority, Settings};

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
/// Best effort that has waited so long is served before all others.
pub const STARVATION_BOUND: Duration = Duration::from_secs(10);
/// But at most once in this time.
pub const BEST_EFFORT_PERIOD: Duration = Duration::from_secs(1);

/// The queues of one device and who is in service.
#[derive(Debug)]
pub struct Multiplexer {
    mode: Mode,
    /// Of the latest event.
    now: Duration,
    fenced: bool,
    sessions: BTreeMap<SessionId, Session>,
    /// How many of them are guaranteed.
    guaranteed: usize,
    ready: Ready,
    waiting: HashMap<RequestId, (Line, Place)>,
    in_service: InService,
    /// When best effort was last served before its turn.
    rescued: Option<Duration>,
    /// The number of the last arrival.
    arrivals: u64,
}

impl Multiplexer {
    /// Without sessions.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            now: Duration::ZERO,
            fenced: false,
            sessions: BTreeMap::new(),
            guaranteed: 0,
            ready: Ready::new(mode),
            waiting: HashMap::new(),
            in_service: InService::default(),
            rescued: None,
            arrivals: 0,
        }
    }

    /// How the device is shared.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes note of `event` at `now`, which does not go back, and appends what is to be done about it to `actions`.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::Added { session, worker, settings } => {
                if !self.sessions.contains_key(&session) {
                    self.guaranteed += usize::from(settings.guaranteed);
                    self.sessions.insert(session, Session::new(self.now, worker, settings));
                }
            }
            Event::Changed { session, settings } => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    self.guaranteed -= usize::from(state.settings.guaranteed);
                    self.guaranteed += usize::from(settings.guaranteed);
                    state.change(self.now, settings);
                    self.place(session);
                }
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
                    self.place(session);
                }
                self.report_drained(session, actions);
            }
            Event::Removed(session) => self.remove(session, actions),
            Event::Arrived { request, session, priority, deadline } => {
                self.arrive(request, session, priority, deadline, actions);
            }
            Event::Cancelled(request) => self.cancel(request, actions),
            Event::Finished { request, service } => self.finish(request, service, actions),
            Event::ModeChanged(mode) => self.change_mode(mode),
            Event::Fenced(fenced) => self.fenced = fenced,
            Event::Woken => {}
        }
        self.dispatch(actions);
    }

    /// Requests of this session that wait.
    pub fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, Session::waiting)
    }

    /// Requests of this session with the worker.
    pub fn in_service(&self, session: SessionId) -> usize {
        self.in_service.iter().filter(|running| running.line.session == session).count()
    }

    /// The requests that the device works on: of those handed over to run one after the other only the first, of a batch
    /// all.
    pub fn on_device(&self) -> impl Iterator<Item = RequestId> {
        self.in_service.on_device().map(|running| running.request)
    }

    fn arrive(
        &mut self,
        request: RequestId,
        session: SessionId,
        priority: Priority,
        deadline: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        if self.waiting.contains_key(&request) || self.in_service.contains(request) {
            return;
        }
        let Some(state) = self.sessions.get_mut(&session) else {
            actions.push(Action::Refuse(request, Refusal::NoSession));
            return;
        };
        self.arrivals += 1;
        match state.arrive(self.now, self.arrivals, request, priority, deadline) {
            Arrival::Refused(refusal) => actions.push(Action::Refuse(request, refusal)),
            Arrival::Waits { excess, place, gave_way } => {
                if let Some(other) = gave_way {
                    actions.push(Action::Refuse(other, state.full()));
                    self.waiting.remove(&other);
                }
                if excess {
                    actions.push(Action::Demoted(request));
                }
                self.waiting.insert(request, (Line { session, excess }, place));
                self.place(session);
            }
        }
    }

    fn cancel(&mut self, request: RequestId, actions: &mut Vec<Action>) {
        let Some((line, place)) = self.waiting.remove(&request) else { return };
        if let Some(state) = self.sessions.get_mut(&line.session) {
            state.queue_mut(line.excess).remove(place);
            self.place(line.session);
            self.report_drained(line.session, actions);
        }
    }

    fn finish(&mut self, request: RequestId, service: Option<Duration>, actions: &mut Vec<Action>) {
        let Some(done) = self.in_service.take(request) else { return };
        let session = done.line.session;
        if let Some(service) = service {
            self.ready.settle(done.line, done.paid, service.as_secs_f64() - done.cost);
            if let Some(state) = self.sessions.get_mut(&session) {
                state.observe(service);
                self.place(session);
            }
        }
        self.report_drained(session, actions);
    }

    fn remove(&mut self, session: SessionId, actions: &mut Vec<Action>) {
        self.set_running(session, false);
        let Some(mut state) = self.sessions.remove(&session) else { return };
        self.guaranteed -= usize::from(state.settings.guaranteed);
        for excess in [false, true] {
            while let Some(request) = state.queue_mut(excess).take_first() {
                self.waiting.remove(&request);
                actions.push(Action::Refuse(request, Refusal::NoSession));
            }
        }
    }

    fn change_mode(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        (self.mode, self.ready) = (mode, Ready::new(mode));
        self.in_service.forget_payments();
        // As if they had come in the order in which it is their turn.
        let mut order = Vec::with_capacity(self.sessions.len());
        for (&session, state) in &mut self.sessions {
            let stands = std::mem::take(&mut state.stands);
            order.push((stands.into_iter().flatten().map(|stand| stand.rank).min(), session));
        }
        order.sort_unstable();
        order.into_iter().for_each(|(_, session)| self.place(session));
    }

    fn set_running(&mut self, session: SessionId, running: bool) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.running = running;
            self.place(session);
        }
    }

    fn report_drained(&self, session: SessionId, actions: &mut Vec<Action>) {
        if self.sessions.get(&session).is_some_and(|state| state.closed && state.is_empty())
            && self.in_service(session) == 0
        {
            actions.push(Action::Drained(session));
        }
    }

    /// Puts a session's lines where they belong now.
    fn place(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        for excess in [false, true] {
            let line = Line { session, excess };
            let stand = state.stand(self.now, line);
            let before = std::mem::replace(&mut state.stands[usize::from(excess)], stand);
            if before != stand {
                self.ready.place(line, before, stand);
            }
        }
    }
}

impl Default for Multiplexer {
    fn default() -> Self {
        Self::new(Mode::default())
    }
}
