//! A device: the multiplexer that decides, the requests it decides about, and the workers that run them.
//!
//! One lock guards both, and it is held for the decision only: what is to be done is done after it is given back. The
//! task that causes a decision also carries it out, so that a request passes through no actor on its way. Of the two locks
//! that are ever held together, the device's is taken before a session's.

mod batch;
mod hardware;
mod inner;
mod outcome;
mod request;
mod sandbox;
mod supervisor;
mod timer;
mod utilisation;
mod warm_up;
mod workers;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgemux_calibration::estimate::{Presence, SpeedUpEstimator};
use edgemux_calibration::system::SpeedUp;
use edgemux_multiplexer::{Event, Mode, Multiplexer, Policing, Priority, RequestId, SessionId, Settings};
use edgemux_runtime_api::client::{InputTensor, Job, LaneError, OutputTarget, Worker};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::DeviceKind;
use tokio::sync::{oneshot, watch};

pub use self::batch::is_batchable;
use self::inner::{Effect, Inner};
pub use self::request::{Answer, Failure, Response, Ticket};
use self::request::{Beside, Pending};
pub use self::supervisor::{LoadProblem, WorkerStatus};
use self::utilisation::Utilisation;
use self::workers::{WorkerKey, Workers};
use crate::config::{self, Current, Isolation, Multiplexing, Sharing};
use crate::discovery::Watched;
use crate::repository::ModelFile;
use crate::runtimes::RuntimeKind;
use crate::session::Session;
use crate::terms::Excess;

/// One device of the node.
#[derive(Debug)]
pub struct Device {
    /// The operator's name for it.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Requests that its workers can run together.
    pub lanes: usize,
    /// Bytes for models that the configuration sets.
    memory_bytes: Option<u64>,
    hardware: hardware::Hardware,
    origin: Instant,
    current: Current,
    inner: Mutex<Inner>,
    /// Is a model measured on it that has no place there? What its tenants see meanwhile was not predicted.
    measuring: AtomicBool,
    /// When the multiplexer is to be woken.
    wake: watch::Sender<Option<Duration>>,
    /// In the operator's order.
    runtimes: Vec<RuntimeKind>,
    workers: Workers,
}

/// A request as it is handed in.
#[derive(Debug)]
pub struct Submission {
    /// When the daemon had it.
    pub received: Instant,
    /// In the signature's order.
    pub inputs: Vec<InputTensor>,
    /// In the signature's order; empty means every output, inline.
    pub outputs: Vec<OutputTarget>,
    /// 1 first, larger later, 0 last.
    pub priority: u32,
    /// When it is of no more use.
    pub deadline: Option<Instant>,
    /// May have more than one response.
    pub decoupled: bool,
    /// Who sends it.
    pub purpose: Purpose,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client: it counts in the session's statistics, and its times are learned from.
    Client,
    /// The daemon, to measure: its times are learned from.
    Trial,
    /// The daemon, to do first-time work: of its times only those of reloads are learned from.
    WarmUp,
}

/// What a device's state page shows.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Workers, by runtime and session.
    pub workers: Vec<WorkerStatus>,
    /// Requests that wait.
    pub queued: usize,
    /// Requests in service.
    pub in_service: usize,
    /// Share of the last seconds that the device was in service.
    pub utilisation: f64,
    /// How it is shared.
    pub mode: Mode,
    /// What was asked for.
    pub multiplexing: Multiplexing,
    /// The parameters of each mode.
    pub sharing: Sharing,
    /// Why nothing is to reach it, if so.
    pub fenced: Option<String>,
    /// Total speed by the number of requests in service.
    pub speed_up: SpeedUp,
}

impl Device {
    /// Makes the device and starts its supervisors, each of which starts its worker.
    pub fn start(
        config: &config::Device,
        current: &Current,
        speed_up: SpeedUp,
        watched: &Watched,
    ) -> Arc<Self> {
        let sharing = config.sharing();
        let runtimes: Vec<_> =
            config.runtimes.iter().filter_map(|name| RuntimeKind::from_name(name)).collect();
        let origin = Instant::now();
        let device = Arc::new(Self {
            name: config.name.clone(),
            kind: config.kind,
            lanes: sharing.width.get() as usize,
            memory_bytes: config.memory_bytes(),
            hardware: hardware::Hardware::new(watched),
            origin,
            current: current.clone(),
            measuring: AtomicBool::new(false),
            wake: watch::Sender::new(None),
            inner: Mutex::new(Inner {
                isolation: config.isolation,
                multiplexer: Multiplexer::new(sharing.mode(config.multiplexing())),
                absence: watched.absence().map(hardware::Absence::gone),
                presence: Presence::default(),
                speed_up: SpeedUpEstimator::new(&speed_up, sharing.width.get() as usize),
                multiplexing: config.multiplexing(),
                sharing,
                predicted_utilisation: 0.0,
                fenced: None,
                requests: HashMap::new(),
                last_request: 0,
                workers: HashMap::new(),
                status: BTreeMap::new(),
                drains: HashMap::new(),
                utilisation: Utilisation::new(origin),
                actions: Vec::new(),
                batch: Vec::new(),
            }),
            runtimes,
            workers: Workers::new(config, current.clone()),
        });
        if config.isolation == Isolation::Runtime {
            device.runtimes.iter().for_each(|&runtime| device.start_shared(runtime));
        }
        if watched.absence().is_some() {
            device.handle(Event::Fenced(true));
        }
        tokio::spawn(timer::run(Arc::downgrade(&device), device.wake.subscribe(), origin));
        device
    }

    /// Which of the files it runs, if any: that of the first of its runtimes that has one.
    pub fn file_for<'a>(&self, files: &'a [ModelFile]) -> Option<&'a ModelFile> {
        self.runtimes.iter().find_map(|runtime| files.iter().find(|file| file.format == runtime.format()))
    }

    /// Loads and warms `session`; returns when it is ready.
    pub async fn load(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), LoadProblem> {
        let supervisor = self.supervisor_for(session)?;
        self.add(session);
        let (done, loaded) = oneshot::channel();
        let command = supervisor::Command::Load { session: Arc::clone(session), done };
        supervisor.send(command).await.map_err(|_| LoadProblem::Stopping)?;
        loaded.await.unwrap_or(Err(LoadProblem::Stopping))
    }

    /// Takes no more requests for `session`; the answer comes when none waits and none is in service.
    pub fn drain(&self, session: SessionId) -> oneshot::Receiver<()> {
        let (sender, drained) = oneshot::channel();
        self.lock().drains.insert(session, sender);
        self.handle(Event::Closed(session));
        drained
    }

    /// Drops `session`, refusing what still waits; returns when its memory is free.
    pub async fn unload(&self, session: &Session) {
        self.remove(session.id);
        let key = WorkerKey::of(session, self.workers.isolation);
        let Some(supervisor) = self.workers.supervisor(key) else { return };
        let (done, unloaded) = oneshot::channel();
        let command = supervisor::Command::Unload { session: session.id, done };
        if supervisor.send(command).await.is_ok() {
            // A supervisor that is gone took its worker, and so the session, with it.
            let _ = unloaded.await;
        }
    }

    /// Hands in a request. Every request gets its answer from the ticket, a refusal too.
    pub fn submit(self: &Arc<Self>, session: &Arc<Session>, submission: Submission) -> Ticket {
        let arrived = Instant::now();
        let (responder, answers) = request::channel(submission.decoupled);
        let priority = Priority::new(submission.priority);
        if submission.purpose == Purpose::Client {
            session.live().arrived(self.seconds(arrived));
        }
        let deadline = submission.deadline.map(|deadline| deadline.saturating_duration_since(self.origin));
        let mut inner = self.lock();
        inner.last_request += 1;
        let request = inner.last_request;
        let job = Job {
            request,
            session: session.id,
            inputs: submission.inputs,
            outputs: submission.outputs,
            output_bytes_hint: session.output_bytes_hint(),
        };
        let pending = Pending {
            session: Arc::clone(session),
            job: Some(job),
            responder: Some(responder),
            received: submission.received,
            arrived,
            started: None,
            start: None,
            lane: 0,
            conforming: true,
            beside: Beside::Nobody,
            has_turn: true,
            purpose: submission.purpose,
        };
        inner.requests.insert(request, pending);
        let event = Event::Arrived { request, session: session.id, priority, deadline };
        self.decide(inner, arrived, event);
        Ticket::new(Arc::clone(self), request, answers)
    }

    /// Nobody waits for this request any more.
    fn cancel(&self, request: RequestId) {
        let mut inner = self.lock();
        let isolation = self.workers.isolation;
        let Some(pending) = inner.requests.get_mut(&request) else { return };
        if pending.is_with_worker() {
            // It keeps the device until the worker gives it up or is done with it.
            pending.responder = None;
            let (key, lane) = (WorkerKey::of(&pending.session, isolation), pending.lane);
            if let Some(worker) = inner.workers.get(&key).cloned() {
                drop(inner);
                worker.cancel(lane, request);
            }
            return;
        }
        if let Some(pending) = inner.requests.remove(&request) {
            pending.count_failure();
        }
        self.decide(inner, Instant::now(), Event::Cancelled(request));
    }

    /// Sets what runs the sessions of this worker: from now on they can be resumed.
    fn worker_up(&self, key: WorkerKey, worker: Arc<Worker>) {
        self.lock().workers.insert(key, worker);
    }

    /// A worker of one session is over, and not to come back.
    fn worker_gone(&self, key: WorkerKey) {
        self.workers.gone(key);
        self.lock().status.remove(&key);
        self.not_recovered(key);
    }

    /// `worker` is of no more use: nothing more is sent to it. One that was replaced already is nobody's concern.
    fn worker_failed(&self, key: WorkerKey, worker: &Arc<Worker>) {
        let inner = self.lock();
        if inner.workers.get(&key).is_some_and(|present| Arc::ptr_eq(present, worker)) {
            self.decide(inner, Instant::now(), Event::WorkerDown(key.id()));
        }
    }

    /// The worker is dead: the requests it had are answered, its sessions wait. Returns the session whose request was on the
    /// device.
    fn worker_down(&self, key: WorkerKey, worker: &Arc<Worker>) -> Option<SessionId> {
        self.worker_failed(key, worker);
        self.lock().workers.remove(&key);
        let inner = self.lock();
        let lost: Vec<_> = inner.with_worker(key).map(|(request, _)| request).collect();
        // Of several that ran together nobody knows which it was: the one that ran longest is blamed.
        let blamed = lost
            .iter()
            .filter_map(|request| inner.requests.get(request))
            .filter_map(|pending| Some((pending.started?, pending.session.id)))
            .min()
            .map(|(_, session)| session);
        drop(inner);
        for request in lost {
            self.failed(request, Failure::WorkerDied);
        }
        blamed
    }

    /// Is a request of this worker in service for longer than it should be? Several at a time share the device's speed.
    fn has_overdue(&self, key: WorkerKey, limits: &config::Supervision) -> bool {
        let inner = self.lock();
        let together = inner.presence.in_service().max(1) as u32;
        inner.with_worker(key).any(|(_, pending)| {
            let expected = || pending.session.live().expected().map(|alone| alone * together);
            pending.started.is_some_and(|started| {
                let (taken, most) = (started.elapsed(), limits.hang_timeout());
                taken > most || taken > most / 10 && taken > limits.patience(expected())
            })
        })
    }

    /// Refuses everything that waits for `session`, which is on this device no more. A drain has no more to wait for.
    fn remove(&self, session: SessionId) {
        self.lock().drains.remove(&session);
        self.handle(Event::Removed(session));
    }

    /// Makes a queue for `session`, suspended.
    fn add(&self, session: &Session) {
        let worker = WorkerKey::of(session, self.workers.isolation).id();
        self.handle(Event::Added { session: session.id, worker, settings: self.settings(session) });
    }

    /// Lets `session` have what it is entitled to now.
    pub fn entitle(&self, session: &Session) {
        self.handle(Event::Changed { session: session.id, settings: self.settings(session) });
    }

    fn settings(&self, session: &Session) -> Settings {
        let terms = &session.terms;
        let live = session.live();
        let guarantee = terms.guarantee().filter(|_| !live.is_demoted());
        Settings {
            queue_limit: self.current.get().limits.queue_requests,
            guaranteed: guarantee.is_some(),
            priority: Priority::new(terms.priority),
            policing: guarantee.map(|(rate_hz, _)| Policing {
                rate_hz,
                burst: terms.burst(),
                excess: match terms.excess {
                    Excess::Refuse => edgemux_multiplexer::Excess::Refuse,
                    Excess::BestEffort => edgemux_multiplexer::Excess::BestEffort,
                },
            }),
            group: session.group(),
            batching: terms.batching.filter(|_| session.is_batchable()).map(|batching| {
                edgemux_multiplexer::Batching {
                    size_max: NonZeroU32::new(batching.size_max).unwrap_or(NonZeroU32::MIN),
                    delay_max: live.batch_delay(),
                }
            }),
            expected: live.expected(),
        }
    }

    /// Shares the device in another way from now on. What is in service finishes as it began.
    pub fn set_mode(&self, mode: Mode) {
        if self.lock().multiplexer.mode() != mode {
            tracing::info!(device = %self.name, ?mode, "multiplexing");
            self.handle(Event::ModeChanged(mode));
        }
    }

    /// Requests that it runs together as it is shared now.
    fn width(&self) -> u32 {
        match self.lock().multiplexer.mode() {
            Mode::Concurrent { width } => width.get(),
            Mode::Exclusive { .. } | Mode::TimeSliced { .. } => 1,
        }
    }

    /// What the operator asks for from now on.
    pub fn configure(&self, multiplexing: Multiplexing, sharing: Sharing) {
        {
            let mut inner = self.lock();
            (inner.multiplexing, inner.sharing) = (multiplexing, sharing);
        }
        // Under `auto` the present mode stays until admission finds a better one.
        if multiplexing != Multiplexing::Auto {
            self.set_mode(sharing.mode(multiplexing));
        }
    }

    /// Keeps every request from the device, or lets them through again; those in service finish.
    pub fn fence(&self, reason: Option<String>) {
        tracing::warn!(device = %self.name, ?reason, "fence");
        let mut inner = self.lock();
        inner.fenced = reason;
        self.enclose(inner);
    }

    /// Says whether a model is measured on it from now on that has no place there.
    pub fn measure(&self, measuring: bool) {
        self.measuring.store(measuring, Ordering::Relaxed);
    }

    /// Is every request kept from it?
    pub fn is_fenced(&self) -> bool {
        self.lock().why_fenced().is_some()
    }

    /// Runs one request on zeros. An error is the worker's death, or that the session is gone.
    pub async fn run_on_zeros(
        self: &Arc<Self>,
        session: &Arc<Session>,
        purpose: Purpose,
    ) -> Result<(), Failure> {
        match session.state().loaded() {
            Some(loaded) => warm_up::warm_up(self, session, &loaded.signature, 1, purpose).await,
            None => Err(Failure::WorkerDied),
        }
    }

    /// How requests in service slow one another down, and from how many that was learned; none before the first.
    pub fn learned_speed_up(&self) -> Option<(SpeedUp, u64)> {
        let inner = self.lock();
        let samples = inner.speed_up.samples();
        (samples > 0).then(|| (inner.speed_up.speed_up(), samples))
    }

    /// Sets the share of time that guaranteed sessions keep it busy at their declared rates.
    pub fn predict_utilisation(&self, utilisation: f64) {
        self.lock().predicted_utilisation = utilisation;
    }

    /// The share of time that guaranteed sessions keep it busy at their declared rates.
    pub fn predicted_utilisation(&self) -> f64 {
        self.lock().predicted_utilisation
    }

    /// Seconds on the clock by which estimators go.
    pub fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.origin).as_secs_f64()
    }

    /// Refuses everything that waits for `session` and starts its queue anew, suspended.
    fn flush(&self, session: &Session) {
        self.handle(Event::Removed(session.id));
        self.add(session);
    }

    fn set_status(&self, key: WorkerKey, status: WorkerStatus) {
        self.lock().status.insert(key, status);
    }

    fn tick(&self) {
        self.lock().utilisation.tick(Instant::now());
    }

    /// Requests of a session that wait and that are in service.
    pub fn load_of(&self, session: SessionId) -> (usize, usize) {
        let inner = self.lock();
        (inner.multiplexer.waiting(session), inner.multiplexer.in_service(session))
    }

    /// Its state now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let in_service = inner.requests.values().filter(|pending| pending.is_with_worker()).count();
        Snapshot {
            workers: inner.status.values().cloned().collect(),
            queued: inner.requests.len() - in_service,
            in_service,
            utilisation: inner.utilisation.recent(),
            mode: inner.multiplexer.mode(),
            multiplexing: inner.multiplexing,
            sharing: inner.sharing,
            fenced: inner.why_fenced().map(str::to_owned),
            speed_up: inner.speed_up.speed_up(),
        }
    }

    fn handle(&self, event: Event) {
        self.decide(self.lock(), Instant::now(), event);
    }

    /// Lets the multiplexer decide, gives the lock back, and does what was decided.
    fn decide(&self, mut inner: MutexGuard<'_, Inner>, now: Instant, event: Event) {
        let mut actions = std::mem::take(&mut inner.actions);
        inner.multiplexer.handle(now.saturating_duration_since(self.origin), event, &mut actions);
        let mut effects = Vec::with_capacity(actions.len());
        actions.drain(..).for_each(|action| inner.effect(action, &mut effects));
        // Only now is it known who runs as a part of another's inference.
        inner.enter(now, self.seconds(now));
        inner.actions = actions;
        let wake_at = inner.multiplexer.wake_at();
        if *self.wake.borrow() != wake_at {
            self.wake.send_replace(wake_at);
        }
        drop(inner);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Answer(responder, answer) => responder.send(answer),
            Effect::Drained(drained) => drop(drained.send(())),
            Effect::Start(request, worker, lane, job) => {
                let started = match worker.lanes().get(lane) {
                    Some(lane) => lane.start(&job),
                    None => Err(LaneError::Gone),
                };
                match started {
                    Ok(()) => {}
                    Err(error @ (LaneError::Memory(_) | LaneError::Protocol(_))) => {
                        tracing::error!(device = %self.name, %error, "a request could not be started");
                        self.failed(request, Failure::Run(RunError::Failed(error.to_string())));
                    }
                    // The supervisor sees the worker's death and answers for everything it had.
                    Err(LaneError::Gone) => worker.kill(),
                    Err(error) => {
                        tracing::error!(device = %self.name, %error, "the worker is given up");
                        worker.kill();
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under this lock leaves the tables half changed when it panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
