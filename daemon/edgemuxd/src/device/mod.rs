//! A device: the multiplexer that decides, the requests it decides about, and the workers that run them.
//!
//! One lock guards both, and it is held for the decision only: what is to be done is done after it is given back. The
//! task that causes a decision also carries it out, so that a request passes through no actor on its way.

mod batch;
mod request;
mod supervisor;
mod timer;
mod utilisation;
mod warm_up;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgemux_calibration::estimate::{Completed, Presence, SpeedUpEstimator, Stay};
use edgemux_calibration::system::SpeedUp;
use edgemux_multiplexer::{
    Action, Event, Mode, Multiplexer, Policing, Priority, Refusal, RequestId, SessionId, Settings, WorkerId,
};
use edgemux_runtime_api::client::{InputTensor, Job, LaneError, OutputTarget, OutputTensor, Worker};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{DeviceKind, Timing};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::batch::is_batchable;
pub use self::request::{Answer, Failure, Response, Ticket};
use self::request::{Beside, Pending, Responder};
pub use self::supervisor::{LoadProblem, WorkerStatus};
use self::utilisation::Utilisation;
use crate::config::{self, Multiplexing, Sharing};
use crate::runtimes::{Format, RuntimeKind};
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
    /// Bytes for models; none where it is not limited.
    pub memory_bytes: Option<u64>,
    origin: Instant,
    queue_limit: usize,
    inner: Mutex<Inner>,
    /// When the multiplexer is to be woken.
    wake: watch::Sender<Option<Duration>>,
    /// In the operator's order.
    runtimes: Vec<RuntimeKind>,
    supervisors: BTreeMap<&'static str, mpsc::Sender<supervisor::Command>>,
}

#[derive(Debug)]
struct Inner {
    multiplexer: Multiplexer,
    requests: HashMap<RequestId, Pending>,
    last_request: RequestId,
    workers: HashMap<&'static str, Arc<Worker>>,
    status: BTreeMap<&'static str, WorkerStatus>,
    drains: HashMap<SessionId, oneshot::Sender<()>>,
    utilisation: Utilisation,
    /// Who was in service with how many, for how long.
    presence: Presence,
    /// How requests in service slow one another down.
    speed_up: SpeedUpEstimator,
    multiplexing: Multiplexing,
    sharing: Sharing,
    predicted_utilisation: f64,
    /// Why nothing is to reach the device, if so.
    fenced: Option<String>,
    /// Scratch, kept for its capacity.
    actions: Vec<Action>,
    /// The requests of the batch that is being put together.
    batch: Vec<RequestId>,
}

/// What a decision asks of the world outside the lock.
enum Effect {
    Start(RequestId, Arc<Worker>, usize, Job),
    Answer(Responder, Answer),
    Drained(oneshot::Sender<()>),
}

/// A request as it is handed in.
#[derive(Debug)]
pub struct Submission {
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
    /// Workers, by runtime.
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
        supervision: &config::Supervision,
        queue_limit: usize,
        speed_up: SpeedUp,
    ) -> Arc<Self> {
        let sharing = config.sharing();
        let mut supervisors = BTreeMap::new();
        let mut receivers = Vec::new();
        let runtimes: Vec<_> =
            config.runtimes.iter().filter_map(|name| RuntimeKind::from_name(name)).collect();
        for &runtime in &runtimes {
            let (sender, receiver) = mpsc::channel(supervisor::COMMANDS_WAITING_MAX);
            supervisors.insert(runtime.name(), sender);
            receivers.push((runtime, receiver));
        }
        let origin = Instant::now();
        let device = Arc::new(Self {
            name: config.name.clone(),
            kind: config.kind,
            lanes: sharing.width.get() as usize,
            memory_bytes: config.memory_bytes(),
            origin,
            queue_limit,
            wake: watch::Sender::new(None),
            inner: Mutex::new(Inner {
                multiplexer: Multiplexer::new(sharing.mode(config.multiplexing())),
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
            supervisors,
        });
        for (runtime, commands) in receivers {
            supervisor::start(Arc::clone(&device), runtime, config, supervision, commands);
        }
        tokio::spawn(timer::run(Arc::downgrade(&device), device.wake.subscribe(), origin));
        device
    }

    /// Which of its runtimes runs such a file, if one does.
    pub fn runtime_for(&self, format: Format) -> Option<RuntimeKind> {
        self.runtimes.iter().copied().find(|runtime| runtime.format() == format)
    }

    /// Loads and warms `session`; returns when it is ready.
    pub async fn load(&self, session: &Arc<Session>) -> Result<(), LoadProblem> {
        let supervisor = self.supervisors.get(session.runtime.name()).ok_or(LoadProblem::Stopping)?;
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
        let Some(supervisor) = self.supervisors.get(session.runtime.name()) else { return };
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
        let Some(pending) = inner.requests.get_mut(&request) else { return };
        if pending.is_with_worker() {
            // It keeps the device until the worker gives it up or is done with it.
            pending.responder = None;
            let (runtime, lane) = (pending.session.runtime.name(), pending.lane);
            if let Some(worker) = inner.workers.get(runtime).cloned() {
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

    /// A worker has a response; the device is free again if it is the last.
    fn responded(&self, request: RequestId, outputs: Vec<OutputTensor>, last: bool, timing: Timing) {
        let now = Instant::now();
        let mut inner = self.lock();
        if !last {
            if let Some(pending) = inner.requests.get_mut(&request) {
                pending.respond(Response { outputs, last });
            }
            return;
        }
        let Some(pending) = inner.requests.remove(&request) else { return };
        let started = pending.started.unwrap_or(pending.arrived);
        let stay = inner.leave(&pending, now, self.seconds(now));
        let alone = stay.map_or(0.0, |stay| inner.speed_up.work(&stay.occupied));
        let beside = inner.take_beside(&pending);
        let usual = self.learn(&pending, started, now, alone, timing);
        if let Some(stay) = stay.filter(|_| self.lanes > 1) {
            inner.speed_up.observe(stay.beside, &stay.occupied, usual);
        }
        // What a request that runs beside others takes says nothing about what it keeps the device from them.
        let service = Duration::from_nanos(timing.input_ns + timing.infer_ns + timing.output_ns);
        let service = service.min(Duration::from_secs_f64(alone.max(0.0)));
        let finished =
            inner.is_whole(&pending).then_some(Event::Finished { request, service: Some(service) });
        if let Some(event) = finished {
            self.decide(inner, now, event);
        } else {
            inner.enter(now, self.seconds(now));
            drop(inner);
        }
        if beside.is_empty() {
            if let Some(responder) = pending.responder {
                responder.send(Ok(Response { outputs, last }));
            }
            return;
        }
        self.answer_batch(pending, beside, &outputs, now, timing);
    }

    /// Gives each of those that ran together its part.
    fn answer_batch(
        &self,
        leader: Pending,
        members: Vec<(Pending, i64)>,
        outputs: &[OutputTensor],
        now: Instant,
        timing: Timing,
    ) {
        let rows = match &leader.beside {
            Beside::Leads(members) => members.iter().map(|&(_, rows)| rows).collect::<Vec<_>>(),
            Beside::Nobody | Beside::Follows(_) | Beside::Before(_) => Vec::new(),
        };
        let parts = batch::split(outputs, &rows);
        let started = leader.started.unwrap_or(leader.arrived);
        for (member, _) in &members {
            if member.purpose == Purpose::Client {
                let (waited, took) = (started - member.arrived, now - member.arrived);
                member.session.statistics().succeeded(waited, took, timing);
                member.session.live().answered(took.as_secs_f64(), member.conforming);
            }
        }
        let all = std::iter::once(leader).chain(members.into_iter().map(|(member, _)| member));
        match parts {
            Some(parts) => {
                for (pending, outputs) in all.zip(parts) {
                    if let Some(responder) = pending.responder {
                        responder.send(Ok(Response { outputs, last: true }));
                    }
                }
            }
            None => {
                let message =
                    "the model does not give a row for each row of a batch: load it without batching";
                for responder in all.filter_map(|pending| pending.responder) {
                    responder.send(Err(Failure::Run(RunError::Failed(message.to_owned()))));
                }
            }
        }
    }

    /// A request in service has come to nothing.
    fn failed(&self, request: RequestId, failure: Failure) {
        let now = Instant::now();
        let mut inner = self.lock();
        let Some(pending) = inner.requests.remove(&request) else { return };
        inner.leave(&pending, now, self.seconds(now));
        let members = inner.take_beside(&pending);
        let finished = inner.is_whole(&pending);
        let all = std::iter::once(pending).chain(members.into_iter().map(|(member, _)| member));
        let all: Vec<_> = all.collect();
        all.iter().for_each(Pending::count_failure);
        if finished {
            self.decide(inner, now, Event::Finished { request, service: None });
        } else {
            inner.enter(now, self.seconds(now));
            drop(inner);
        }
        for responder in all.into_iter().filter_map(|pending| pending.responder) {
            responder.send(Err(failure.clone()));
        }
    }

    /// Sets what runs the sessions of `runtime`: from now on they can be resumed.
    fn worker_up(&self, runtime: RuntimeKind, worker: Arc<Worker>) {
        self.lock().workers.insert(runtime.name(), worker);
    }

    /// `worker` is of no more use: nothing more is sent to it. One that was replaced already is nobody's concern.
    fn worker_failed(&self, runtime: RuntimeKind, worker: &Arc<Worker>) {
        let inner = self.lock();
        if inner.workers.get(runtime.name()).is_some_and(|present| Arc::ptr_eq(present, worker)) {
            self.decide(inner, Instant::now(), Event::WorkerDown(worker_id(runtime)));
        }
    }

    /// The worker of `runtime` is dead: the requests it had are answered, its sessions wait. Returns the session whose
    /// request was on the device.
    fn worker_down(&self, runtime: RuntimeKind, worker: &Arc<Worker>) -> Option<SessionId> {
        self.worker_failed(runtime, worker);
        self.lock().workers.remove(runtime.name());
        let inner = self.lock();
        let lost: Vec<_> = inner.with_worker(runtime).map(|(request, _)| request).collect();
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

    /// How long the request that has been in service longest on `runtime` has been.
    fn longest_in_service(&self, runtime: RuntimeKind) -> Option<Duration> {
        let inner = self.lock();
        inner.with_worker(runtime).filter_map(|(_, pending)| pending.started).map(|at| at.elapsed()).max()
    }

    /// Refuses everything that waits for `session`, which is on this device no more. A drain has no more to wait for.
    fn remove(&self, session: SessionId) {
        self.lock().drains.remove(&session);
        self.handle(Event::Removed(session));
    }

    /// Makes a queue for `session`, suspended.
    fn add(&self, session: &Session) {
        let worker = worker_id(session.runtime);
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
            queue_limit: self.queue_limit,
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
            group: None,
            batching: terms.batching.filter(|_| session.is_batchable()).map(|batching| {
                edgemux_multiplexer::Batching {
                    size_max: NonZeroU32::new(batching.size_max).unwrap_or(NonZeroU32::MIN),
                    delay_max: Duration::from_secs_f64(batching.delay_max_ms / 1e3),
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
        let fenced = reason.is_some();
        tracing::warn!(device = %self.name, ?reason, "fence");
        self.lock().fenced = reason;
        self.handle(Event::Fenced(fenced));
    }

    /// Is every request kept from it?
    pub fn is_fenced(&self) -> bool {
        self.lock().fenced.is_some()
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

    /// Takes note of a request's times. Returns what its session's requests take alone, on average, s.
    fn learn(&self, pending: &Pending, started: Instant, now: Instant, alone: f64, timing: Timing) -> f64 {
        let reload = Duration::from_nanos(timing.reload_ns).as_secs_f64();
        let (waited, took) = (started - pending.arrived, now - pending.arrived);
        let mut live = pending.session.live();
        match pending.purpose {
            Purpose::Client => pending.session.statistics().succeeded(waited, took, timing),
            Purpose::Trial => {}
            Purpose::WarmUp => {
                live.warmed_up(alone - reload, reload);
                return 0.0;
            }
        }
        live.completed(
            self.seconds(now),
            Completed {
                waited: waited.as_secs_f64(),
                occupied: (now - started).as_secs_f64(),
                work_alone: (alone - reload).max(0.0),
                reload,
                sojourn: took.as_secs_f64(),
                conforming: pending.conforming,
            },
        );
        live.estimator().alone()
    }

    /// Refuses everything that waits for `session` and starts its queue anew, suspended.
    fn flush(&self, session: &Session) {
        self.handle(Event::Removed(session.id));
        self.add(session);
    }

    fn set_status(&self, status: WorkerStatus) {
        self.lock().status.insert(status.runtime, status);
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
            fenced: inner.fenced.clone(),
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
        inner.enter(now, self.seconds(now));
        let mut effects = Vec::with_capacity(actions.len());
        actions.drain(..).for_each(|action| inner.effect(action, &mut effects));
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

/// A worker as the multiplexer knows it: a device has at most one per runtime.
fn worker_id(runtime: RuntimeKind) -> WorkerId {
    runtime as WorkerId
}

impl Inner {
    fn with_worker(&self, runtime: RuntimeKind) -> impl Iterator<Item = (RequestId, &Pending)> {
        self.requests
            .iter()
            .filter(move |(_, pending)| pending.is_with_worker() && pending.session.runtime == runtime)
            .map(|(&request, pending)| (request, pending))
    }

    fn effect(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Dispatch { request, lane, more } => {
                self.batch.push(request);
                if !more {
                    self.start(lane, effects);
                }
            }
            Action::Demoted(request) => {
                if let Some(pending) = self.requests.get_mut(&request) {
                    pending.conforming = false;
                    pending.session.live().demoted_one();
                }
            }
            Action::Refuse(request, refusal) => {
                if let (Refusal::Excess { .. }, Some(pending)) = (refusal, self.requests.get(&request)) {
                    pending.session.live().refused_one();
                }
                effects.extend(self.turn_away(request, Failure::Refused(refusal)));
            }
            Action::Expire(request) => effects.extend(self.turn_away(request, Failure::Expired)),
            Action::Drained(session) => effects.extend(self.drains.remove(&session).map(Effect::Drained)),
        }
    }

    /// Starts the requests in `batch`: together if they fit together, else one after the other.
    fn start(&mut self, lane: usize, effects: &mut Vec<Effect>) {
        let batch = std::mem::take(&mut self.batch);
        let mut jobs = Vec::with_capacity(batch.len());
        let mut worker = None;
        for request in &batch {
            let Some(pending) = self.requests.get_mut(request) else { continue };
            let Some(job) = pending.job.take() else { continue };
            pending.lane = lane;
            // Without a worker the session would be suspended: one that just died is about to be noticed, and its
            // death answers this request.
            worker = self.workers.get(pending.session.runtime.name()).cloned();
            jobs.push(job);
        }
        self.batch = batch;
        self.batch.clear();
        let Some(worker) = worker else { return };
        let together = if jobs.len() > 1 { batch::combine(&jobs) } else { None };
        match together {
            Some((job, rows)) => {
                let members: Vec<_> = jobs.iter().map(|job| job.request).zip(rows).collect();
                for &(member, _) in &members[1..] {
                    if let Some(pending) = self.requests.get_mut(&member) {
                        pending.beside = Beside::Follows(job.request);
                        pending.has_turn = false;
                    }
                }
                if let Some(leader) = self.requests.get_mut(&job.request) {
                    leader.beside = Beside::Leads(members);
                }
                effects.push(Effect::Start(job.request, worker, lane, job));
            }
            None => {
                for (job, next) in jobs.iter().zip(jobs.iter().skip(1)) {
                    if let Some(pending) = self.requests.get_mut(&job.request) {
                        pending.beside = Beside::Before(next.request);
                    }
                    if let Some(pending) = self.requests.get_mut(&next.request) {
                        pending.has_turn = false;
                    }
                }
                let starts =
                    jobs.into_iter().map(|job| Effect::Start(job.request, Arc::clone(&worker), lane, job));
                effects.extend(starts);
            }
        }
    }

    /// Takes out those that ran in the same inference as `leader`, but for itself.
    fn take_beside(&mut self, leader: &Pending) -> Vec<(Pending, i64)> {
        match &leader.beside {
            Beside::Leads(members) => members
                .iter()
                .skip(1)
                .filter_map(|&(member, rows)| Some((self.requests.remove(&member)?, rows)))
                .collect(),
            Beside::Nobody | Beside::Follows(_) | Beside::Before(_) => Vec::new(),
        }
    }

    /// Is the batch that a request was part of at its end with it? If not, the next of it has its turn.
    fn is_whole(&mut self, pending: &Pending) -> bool {
        match pending.beside {
            Beside::Nobody | Beside::Leads(_) => true,
            Beside::Follows(leader) => !self.requests.contains_key(&leader),
            Beside::Before(next) => match self.requests.get_mut(&next) {
                Some(next) => {
                    next.has_turn = true;
                    false
                }
                None => true,
            },
        }
    }

    /// Takes note of those that have the device from now on: one that was handed over ahead of time has it when the one
    /// before it ends.
    fn enter(&mut self, now: Instant, seconds: f64) {
        for request in self.multiplexer.on_device() {
            if let Some(pending) = self.requests.get_mut(&request)
                && pending.started.is_none()
                && pending.has_turn
            {
                pending.started = Some(now);
                pending.start = Some(self.presence.started(seconds));
            }
        }
    }

    /// A request has left the device, if it ever had it. Returns how long it was there with how many.
    fn leave(&mut self, pending: &Pending, now: Instant, seconds: f64) -> Option<Stay> {
        let (started, start) = (pending.started?, pending.start.as_ref()?);
        let busy = now.saturating_duration_since(started);
        // Of several in service each counts for its share.
        let share = self.presence.in_service().max(1) as u32;
        self.utilisation.busy(busy / share);
        Some(self.presence.finished(seconds, start))
    }

    fn turn_away(&mut self, request: RequestId, failure: Failure) -> Option<Effect> {
        let pending = self.requests.remove(&request)?;
        pending.count_failure();
        pending.responder.map(|responder| Effect::Answer(responder, Err(failure)))
    }
}
