//! Whatever happens, in every mode: what the multiplexer promises of every history.
//!
//! The history is kept a second time, in the simplest way, and every action is held against it.

mod common;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use common::*;
use edgemux_multiplexer::{
    AHEAD_REQUESTS_MAX, Action, BEST_EFFORT_PERIOD, Batching, Event, Excess, Mode, Policing, Priority,
    Refusal, RequestId, STARVATION_BOUND, SessionId, Settings,
};
use proptest::prelude::*;

const SESSIONS: SessionId = 5;

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Arrive {
        session: SessionId,
        priority: u32,
        lives_ms: Option<u64>,
    },
    Cancel(u64),
    /// One of those on the device is done, after so many microseconds.
    Finish(usize, u64),
    WorkerDown(u32),
    Resume(SessionId),
    Close(SessionId),
    Remove(SessionId),
    Add(SessionId, Settings),
    Change(SessionId, Settings),
    Mode(Mode),
    Fence(bool),
    Wait(u64),
    /// Until the time that `wake_at` names.
    Wake,
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        (1..4_u32).prop_map(runs_of),
        (0..3000_u64).prop_map(|quantum| Mode::TimeSliced { quantum: us(quantum) }),
        (1..5_u32).prop_map(concurrent),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let excess = prop_oneof![Just(Excess::BestEffort), Just(Excess::Refuse)];
    let policing = (5.0..400.0, 1.0..6.0, excess);
    let policing = policing.prop_map(|(rate_hz, burst, excess)| Policing { rate_hz, burst, excess });
    let batching = (1..4_u32, 0..30_u64);
    let batching =
        batching.prop_map(|(size_max, delay)| Batching { size_max: number(size_max), delay_max: ms(delay) });
    (
        (1..8_usize, any::<bool>(), 0..3_u32),
        proptest::option::of(policing),
        proptest::option::of(0..2_u32),
        proptest::option::weighted(0.3, batching),
        proptest::option::of((1..400_u64).prop_map(us)),
    )
        .prop_map(|((queue_limit, guaranteed, priority), policing, group, batching, expected)| {
            Settings {
                queue_limit,
                guaranteed,
                priority: Priority::new(priority),
                policing,
                group,
                batching,
                expected,
            }
        })
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    prop_oneof![
        30 => (session.clone(), 0..3_u32, proptest::option::weighted(0.3, 0..40_u64))
            .prop_map(|(session, priority, lives_ms)| Step::Arrive { session, priority, lives_ms }),
        4 => any::<u64>().prop_map(Step::Cancel),
        18 => (0..4_usize, 1..400_u64).prop_map(|(which, us)| Step::Finish(which, us)),
        1 => (0..3_u32).prop_map(Step::WorkerDown),
        2 => session.clone().prop_map(Step::Resume),
        1 => session.clone().prop_map(Step::Close),
        1 => session.clone().prop_map(Step::Remove),
        1 => (session.clone(), settings()).prop_map(|(session, settings)| Step::Add(session, settings)),
        2 => (session, settings()).prop_map(|(session, settings)| Step::Change(session, settings)),
        2 => mode().prop_map(Step::Mode),
        1 => any::<bool>().prop_map(Step::Fence),
        6 => prop_oneof![9 => 1..20_u64, 1 => 3_000..12_000_u64].prop_map(Step::Wait),
        4 => Just(Step::Wake),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    session: SessionId,
    excess: bool,
    arrived: Duration,
    deadline: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Batch {
    session: SessionId,
    lane: usize,
    best_effort: bool,
    members: Vec<RequestId>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    settings: Settings,
    running: bool,
    closed: bool,
}

/// The history in the simplest way.
#[derive(Default)]
struct Model {
    bench: Bench,
    fenced: bool,
    sessions: BTreeMap<SessionId, State>,
    waiting: BTreeMap<RequestId, Waiting>,
    /// Of each queue, when they were made.
    slots: BTreeMap<(SessionId, bool), VecDeque<Duration>>,
    in_service: Vec<Batch>,
    last: RequestId,
    /// Requests that have had their outcome.
    done: HashSet<RequestId>,
    rescued: Option<Duration>,
    drained: HashSet<SessionId>,
    opened: Option<Batch>,
    /// Of the present event.
    expired: Vec<Waiting>,
}

type Checked = Result<(), TestCaseError>;

impl Model {
    fn new(mode: Mode, settings: &[Settings]) -> Self {
        let sessions = (0..)
            .zip(settings)
            .map(|(session, &settings)| (session, State { settings, running: true, closed: false }));
        let sessions = sessions.collect();
        Self { bench: Bench::new(mode, settings), sessions, ..Self::default() }
    }

    fn is_best_effort(&self, session: SessionId, excess: bool) -> bool {
        excess || self.sessions.get(&session).is_some_and(|state| !state.settings.guaranteed)
    }

    fn guaranteed_sessions(&self) -> bool {
        self.sessions.values().any(|state| state.settings.guaranteed)
    }

    /// Could it run, if the device were free? With `expired` beside it a batch was full, or had waited for long enough.
    fn is_runnable(&self, waiting: &Waiting, expired: &[Waiting]) -> bool {
        let Some(state) = self.sessions.get(&waiting.session).filter(|state| state.running) else {
            return false;
        };
        let Some(batching) = state.settings.batching.filter(|_| !state.closed) else { return true };
        let is_beside = |other: &&Waiting| (other.session, other.excess) == (waiting.session, waiting.excess);
        let queue = || self.waiting.values().chain(expired).filter(is_beside);
        let oldest = queue().map(|waiting| waiting.arrived).min().unwrap_or_default();
        queue().count() >= batching.size_max.get() as usize || oldest + batching.delay_max <= self.bench.now
    }

    fn on_device(&self) -> Vec<RequestId> {
        let first = self.in_service.iter().position(|batch| batch.lane == 0);
        let on_device = |(at, batch): &(usize, &Batch)| batch.lane != 0 || Some(*at) == first;
        let batches = self.in_service.iter().enumerate().filter(on_device);
        batches.flat_map(|(_, batch)| batch.members.iter().copied()).collect()
    }

    /// What a step is in terms of events, and what it changes by itself.
    fn event(&mut self, step: Step) -> Option<Event> {
        Some(match step {
            Step::Wait(time) => {
                self.bench.now += ms(time);
                return None;
            }
            Step::Wake => {
                self.bench.now = self.bench.multiplexer.wake_at()?;
                Event::Woken
            }
            Step::Arrive { session, priority, lives_ms } => {
                self.last += 1;
                let deadline = lives_ms.map(|lives| self.bench.now + ms(lives));
                let waiting = Waiting { session, excess: false, arrived: self.bench.now, deadline };
                self.waiting.insert(self.last, waiting);
                Event::Arrived { request: self.last, session, priority: Priority::new(priority), deadline }
            }
            Step::Cancel(pick) => {
                let request = pick % self.last.checked_add(1)?;
                if let Some(waiting) = self.waiting.remove(&request) {
                    self.slots(&waiting).pop_back();
                    self.done.insert(request);
                }
                Event::Cancelled(request)
            }
            Step::Finish(which, service_us) => {
                let on_device = self.on_device();
                let request = *on_device.get(which % on_device.len().max(1))?;
                self.in_service.retain(|batch| !batch.members.contains(&request));
                Event::Finished { request, service: (service_us > 20).then(|| us(service_us)) }
            }
            Step::WorkerDown(worker) => {
                for (_, state) in self.sessions.iter_mut().filter(|(session, _)| **session / 2 == worker) {
                    state.running = false;
                }
                Event::WorkerDown(worker)
            }
            Step::Resume(session) => {
                self.sessions.get_mut(&session)?.running = true;
                Event::Resumed(session)
            }
            Step::Close(session) => {
                self.sessions.get_mut(&session)?.closed = true;
                Event::Closed(session)
            }
            Step::Remove(session) => {
                self.sessions.remove(&session);
                self.drained.remove(&session);
                Event::Removed(session)
            }
            Step::Add(session, settings) => {
                let state = State { settings, running: false, closed: false };
                self.sessions.entry(session).or_insert(state);
                Event::Added { session, worker: session / 2, settings }
            }
            Step::Change(session, settings) => {
                self.sessions.get_mut(&session)?.settings = settings;
                Event::Changed { session, settings }
            }
            Step::Mode(mode) => Event::ModeChanged(mode),
            Step::Fence(fenced) => {
                self.fenced = fenced;
                Event::Fenced(fenced)
            }
        })
    }

    fn take(&mut self, step: Step) -> Checked {
        let is_wake = matches!(step, Step::Wake);
        let Some(event) = self.event(step) else { return Ok(()) };
        let arrived = match event {
            Event::Arrived { request, .. } => Some(request),
            _ => None,
        };
        let actions = self.bench.tell(event);
        prop_assert!(!is_wake || !actions.is_empty(), "woken for nothing");
        // Whether it was demoted counts from the start.
        for action in &actions {
            if let Action::Demoted(request) = action {
                prop_assert_eq!(Some(*request), arrived);
                let waiting = self.waiting.get_mut(request);
                waiting.into_iter().for_each(|waiting| waiting.excess = true);
            }
        }
        if let Some(waiting) = arrived.and_then(|request| self.waiting.get(&request).copied()) {
            self.slots(&waiting).push_back(waiting.arrived);
        }
        self.expired.clear();
        for &action in &actions {
            self.act(action, arrived)?;
        }
        prop_assert!(self.opened.is_none(), "a batch that does not end");
        self.look()
    }

    fn act(&mut self, action: Action, arrived: Option<RequestId>) -> Checked {
        match action {
            Action::Dispatch { request, lane, more } => return self.dispatch(request, lane, more),
            Action::Demoted(request) => {
                let session =
                    self.waiting.get(&request).and_then(|waiting| self.sessions.get(&waiting.session));
                let policing = session.and_then(|state| state.settings.policing);
                prop_assert_eq!(policing.map(|policing| policing.excess), Some(Excess::BestEffort));
            }
            Action::Expire(request) => {
                let waiting = self.outcome(request)?;
                self.slots(&waiting).pop_back();
                prop_assert!(waiting.deadline.is_some_and(|deadline| deadline <= self.bench.now));
                self.expired.push(waiting);
            }
            Action::Refuse(request, refusal) => {
                let waiting = self.outcome(request)?;
                self.slots(&waiting).pop_back();
                let state = self.sessions.get(&waiting.session);
                let limit = state.map_or(0, |state| state.settings.queue_limit);
                let others = self.waiting.values().filter(|other| other.session == waiting.session).count();
                match refusal {
                    Refusal::NoSession => prop_assert!(state.is_none()),
                    Refusal::Closed => prop_assert!(state.is_some_and(|state| state.closed)),
                    Refusal::Excess { .. } => prop_assert_eq!(Some(request), arrived),
                    Refusal::QueueFull { retry_after } => {
                        prop_assert!(others >= limit, "{} wait, {} may", others, limit);
                        prop_assert!(retry_after >= ms(1) && retry_after <= Duration::from_secs(60));
                        // Who waited already gives way only if it is beyond the terms.
                        prop_assert!(Some(request) == arrived || waiting.excess);
                    }
                }
            }
            Action::Drained(session) => {
                prop_assert!(!self.waiting.values().any(|waiting| waiting.session == session));
                prop_assert!(!self.in_service.iter().any(|batch| batch.session == session));
                self.drained.insert(session);
            }
        }
        Ok(())
    }

    /// A request has its only outcome.
    fn outcome(&mut self, request: RequestId) -> Result<Waiting, TestCaseError> {
        prop_assert!(self.done.insert(request), "a second outcome");
        let waiting = self.waiting.remove(&request);
        waiting.ok_or_else(|| TestCaseError::fail(format!("{request} did not wait")))
    }

    /// Who starts takes the first slot of its queue; who leaves otherwise, the last.
    fn slots(&mut self, waiting: &Waiting) -> &mut VecDeque<Duration> {
        self.slots.entry((waiting.session, waiting.excess)).or_default()
    }

    fn dispatch(&mut self, request: RequestId, lane: usize, more: bool) -> Checked {
        let is_leader = self.opened.is_none();
        let runnable =
            self.waiting.get(&request).is_some_and(|waiting| self.is_runnable(waiting, &self.expired));
        let waiting = self.outcome(request)?;
        let slot = self.slots(&waiting).pop_front().unwrap_or(Duration::MAX);
        let Waiting { session, excess, deadline, .. } = waiting;
        let state = self.sessions[&session];
        prop_assert!(!self.fenced && state.running && (runnable || !is_leader));
        prop_assert!(deadline.is_none_or(|deadline| deadline > self.bench.now), "expired");
        let best_effort = self.is_best_effort(session, excess);
        if is_leader {
            self.check_room(session, lane)?;
            if best_effort {
                self.check_best_effort(slot)?;
            }
            self.opened = Some(Batch { session, lane, best_effort, members: Vec::new() });
        }
        let Some(mut batch) = self.opened.take() else { return Ok(()) };
        prop_assert_eq!((batch.session, batch.lane, batch.best_effort), (session, lane, best_effort));
        batch.members.push(request);
        let size_max = state.settings.batching.map_or(1, |batching| batching.size_max.get() as usize);
        prop_assert!(batch.members.len() <= size_max);
        if more {
            self.opened = Some(batch);
        } else {
            self.in_service.push(batch);
        }
        Ok(())
    }

    /// May another start, and on this lane?
    fn check_room(&self, session: SessionId, lane: usize) -> Checked {
        let mode = self.bench.multiplexer.mode();
        if let Mode::Concurrent { width } = mode {
            prop_assert!(self.in_service.len() < width.get() as usize, "more than may run");
            let is_free = |lane: usize| self.in_service.iter().all(|batch| batch.lane != lane);
            prop_assert_eq!(Some(lane), (0..).find(|&lane| is_free(lane)));
            return Ok(());
        }
        prop_assert_eq!(lane, 0);
        let Some(first) = self.in_service.first() else { return Ok(()) };
        // Ahead of time.
        prop_assert!(self.in_service.len() < AHEAD_REQUESTS_MAX);
        prop_assert!(self.in_service.iter().all(|batch| batch.lane == 0 && batch.members.len() == 1));
        prop_assert_eq!(first.session / 2, session / 2, "another worker");
        let Mode::Exclusive { run_max } = mode else {
            return Err(TestCaseError::fail("two at a time in turns"));
        };
        let group = |session: SessionId| {
            self.sessions.get(&session).and_then(|state| state.settings.group).ok_or(session)
        };
        prop_assert!(run_max.get() == 1 || group(first.session) == group(session));
        prop_assert!(self.sessions[&session].settings.batching.is_none());
        Ok(())
    }

    /// Best effort starts below all others, or at last.
    fn check_best_effort(&mut self, slot: Duration) -> Checked {
        if !self.guaranteed_sessions() {
            return Ok(());
        }
        prop_assert!(!self.in_service.iter().any(|batch| batch.best_effort), "a second one");
        let guaranteed_waits = self
            .waiting
            .values()
            .any(|other| !self.is_best_effort(other.session, other.excess) && self.is_runnable(other, &[]));
        if guaranteed_waits || !self.in_service.is_empty() {
            let now = self.bench.now;
            prop_assert!(now >= slot + STARVATION_BOUND, "before its turn");
            prop_assert!(self.rescued.is_none_or(|rescued| rescued + BEST_EFFORT_PERIOD <= now));
            self.rescued = Some(now);
        }
        Ok(())
    }

    /// What has to be so between any two events.
    fn look(&self) -> Checked {
        let multiplexer = &self.bench.multiplexer;
        prop_assert_eq!(multiplexer.on_device().collect::<Vec<_>>(), self.on_device());
        for session in 0..SESSIONS {
            let waiting = self.waiting.values().filter(|waiting| waiting.session == session).count();
            prop_assert_eq!(multiplexer.waiting(session), waiting);
            let its = self.in_service.iter().filter(|batch| batch.session == session);
            let in_service = its.map(|batch| batch.members.len()).sum::<usize>();
            prop_assert_eq!(multiplexer.in_service(session), in_service);
            if self.sessions.get(&session).is_some_and(|state| state.closed) && waiting + in_service == 0 {
                prop_assert!(self.drained.contains(&session));
            }
        }
        if self.fenced {
            prop_assert_eq!(multiplexer.wake_at(), None);
            return Ok(());
        }
        prop_assert!(multiplexer.wake_at().is_none_or(|at| at > self.bench.now), "to be woken already");
        let runnable = |waiting: &&Waiting| self.is_runnable(waiting, &[]);
        if self.in_service.is_empty() {
            prop_assert!(!self.waiting.values().any(|waiting| runnable(&waiting)), "an idle device");
            let held =
                |waiting: &Waiting| self.sessions.get(&waiting.session).is_some_and(|state| state.running);
            prop_assert_eq!(multiplexer.wake_at().is_some(), self.waiting.values().any(held));
        }
        if let Mode::Concurrent { width } = multiplexer.mode()
            && self.in_service.len() < width.get() as usize
        {
            let mut runnable = self.waiting.values().filter(runnable);
            let guaranteed = runnable.find(|waiting| !self.is_best_effort(waiting.session, waiting.excess));
            prop_assert!(guaranteed.is_none(), "a free lane");
        }
        Ok(())
    }

    /// Lets everything run that can: nothing is left.
    fn run_down(&mut self) -> Checked {
        self.take(Step::Fence(false))?;
        for session in 0..SESSIONS {
            self.take(Step::Resume(session))?;
        }
        while !self.in_service.is_empty() || !self.waiting.is_empty() {
            let present = self.bench.multiplexer.wake_at().is_some();
            let before = self.waiting.len() + self.in_service.len();
            self.take(if self.in_service.is_empty() { Step::Wake } else { Step::Finish(0, 300) })?;
            prop_assert!(present || self.waiting.len() + self.in_service.len() < before, "nothing moves");
        }
        prop_assert_eq!(self.done.len() as u64, self.last, "one outcome for every request");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(768) })]

    #[test]
    fn every_history_keeps_the_promises(
        mode in mode(),
        settings in proptest::collection::vec(settings(), SESSIONS as usize),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut model = Model::new(mode, &settings);
        for step in steps {
            model.take(step)?;
        }
        model.run_down()?;
    }
}
