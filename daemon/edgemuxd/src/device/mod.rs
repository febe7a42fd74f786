//! A device: the multiplexer that decides, the requests it decides about, and the workers that run them.
//!
//! One lock guards both, and it is held for the decision only: what is to be done is done after it is given back. The
//! task that causes a decision also carries it out, so that a request passes through no actor on its way.

mod request;
mod supervisor;
mod utilisation;
mod warm_up;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgemux_multiplexer::{Action, Event, Multiplexer, Priority, RequestId, SessionId, WorkerId};
use edgemux_runtime_api::client::{InputTensor, Job, LaneError, OutputTarget, OutputTensor, Worker};
use edgemux_runtime_api::error::RunError;
use edgemux_runtime_api::runtime::{DeviceKind, Timing};
use tokio::sync::{mpsc, oneshot};

pub use self::request::{Answer, Failure, Response, Ticket};
use self::request::{Pending, Responder};
pub use self::supervisor::{LoadProblem, WorkerStatus};
use self::utilisation::Utilisation;
use crate::config;
use crate::embedded::Embedded;
use crate::session::Session;

/// The only lane, while one request at a time is on a device.
const LANE: usize = 0;

/// One device of the node.
#[derive(Debug)]
pub struct Device {
    /// The operator's name for it.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    origin: Instant,
    queue_limit: usize,
    inner: Mutex<Inner>,
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
    /// Scratch, kept for its capacity.
    actions: Vec<Action>,
}

/// What a decision asks of the world outside the lock.
enum Effect {
    Start(RequestId, Arc<Worker>, Job),
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
    /// Whether the session's statistics count it.
    pub counted: bool,
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
}

impl Device {
    /// Makes the device and starts its supervisors, each of which starts its worker.
    pub fn start(
        config: &config::Device,
        supervision: &config::Supervision,
        queue_limit: usize,
    ) -> Arc<Self> {
        let mut supervisors = BTreeMap::new();
        let mut receivers = Vec::new();
        for runtime in config.runtimes.iter().filter_map(|name| Embedded::from_name(name)) {
            let (sender, receiver) = mpsc::channel(supervisor::COMMANDS_WAITING_MAX);
            supervisors.insert(runtime.name(), sender);
            receivers.push((runtime, receiver));
        }
        let origin = Instant::now();
        let device = Arc::new(Self {
            name: config.name.clone(),
            kind: config.kind,
            origin,
            queue_limit,
            inner: Mutex::new(Inner {
                multiplexer: Multiplexer::default(),
                requests: HashMap::new(),
                last_request: 0,
                workers: HashMap::new(),
                status: BTreeMap::new(),
                drains: HashMap::new(),
                utilisation: Utilisation::new(origin),
                actions: Vec::new(),
            }),
            supervisors,
        });
        for (runtime, commands) in receivers {
            supervisor::start(Arc::clone(&device), runtime, config, supervision, commands);
        }
        device
    }

    /// Can it run models of this runtime?
    pub fn runs(&self, runtime: Embedded) -> bool {
        self.supervisors.contains_key(runtime.name())
    }

    /// Loads and warms `session`; returns when it is ready.
    pub async fn load(&self, session: &Arc<Session>) -> Result<(), LoadProblem> {
        let supervisor = self.supervisors.get(session.file.runtime.name()).ok_or(LoadProblem::Stopping)?;
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
        let Some(supervisor) = self.supervisors.get(session.file.runtime.name()) else { return };
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
        let priority = Priority::new(match submission.priority {
            0 => session.terms.priority,
            declared => declared,
        });
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
            counted: submission.counted,
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
            let runtime = pending.session.file.runtime.name();
            if let Some(worker) = inner.workers.get(runtime).cloned() {
                drop(inner);
                worker.cancel(LANE, request);
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
        inner.utilisation.busy(now.saturating_duration_since(started));
        if pending.counted {
            let (waited, took) = (started - pending.arrived, now - pending.arrived);
            pending.session.statistics().succeeded(waited, took, timing);
        }
        let service = Duration::from_nanos(timing.input_ns + timing.infer_ns + timing.output_ns);
        self.decide(inner, now, Event::Finished { request, service: Some(service) });
        if let Some(responder) = pending.responder {
            responder.send(Ok(Response { outputs, last }));
        }
    }

    /// A request in service has come to nothing.
    fn failed(&self, request: RequestId, failure: Failure) {
        let now = Instant::now();
        let mut inner = self.lock();
        let Some(pending) = inner.requests.remove(&request) else { return };
        inner.utilisation.busy(now.saturating_duration_since(pending.started.unwrap_or(now)));
        pending.count_failure();
        self.decide(inner, now, Event::Finished { request, service: None });
        if let Some(responder) = pending.responder {
            responder.send(Err(failure));
        }
    }

    /// Sets what runs the sessions of `runtime`: from now on they can be resumed.
    fn worker_up(&self, runtime: Embedded, worker: Arc<Worker>) {
        self.lock().workers.insert(runtime.name(), worker);
    }

    /// `worker` is of no more use: nothing more is sent to it. One that was replaced already is nobody's concern.
    fn worker_failed(&self, runtime: Embedded, worker: &Arc<Worker>) {
        let inner = self.lock();
        if inner.workers.get(runtime.name()).is_some_and(|present| Arc::ptr_eq(present, worker)) {
            self.decide(inner, Instant::now(), Event::WorkerDown(worker_id(runtime)));
        }
    }

    /// The worker of `runtime` is dead: the requests it had are answered, its sessions wait. Returns the session whose
    /// request was on the device.
    fn worker_down(&self, runtime: Embedded, worker: &Arc<Worker>) -> Option<SessionId> {
        self.worker_failed(runtime, worker);
        self.lock().workers.remove(runtime.name());
        let inner = self.lock();
        let lost: Vec<_> = inner.with_worker(runtime).map(|(request, _)| request).collect();
        let on_device = inner.multiplexer.on_device().filter(|request| lost.contains(request));
        let blamed =
            on_device.and_then(|request| inner.requests.get(&request)).map(|pending| pending.session.id);
        drop(inner);
        for request in lost {
            self.failed(request, Failure::WorkerDied);
        }
        blamed
    }

    /// How long the request that has been in service longest on `runtime` has been.
    fn longest_in_service(&self, runtime: Embedded) -> Option<Duration> {
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
        let worker = worker_id(session.file.runtime);
        self.handle(Event::Added { session: session.id, worker, queue_limit: self.queue_limit });
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
        }
    }

    fn handle(&self, event: Event) {
        self.decide(self.lock(), Instant::now(), event);
    }

    /// Lets the multiplexer decide, gives the lock back, and does what was decided.
    fn decide(&self, mut inner: MutexGuard<'_, Inner>, now: Instant, event: Event) {
        let mut actions = std::mem::take(&mut inner.actions);
        inner.multiplexer.handle(now.saturating_duration_since(self.origin), event, &mut actions);
        // One that was handed over ahead of time starts when the one before it ends.
        let on_device = inner.multiplexer.on_device();
        if let Some(pending) = on_device.and_then(|request| inner.requests.get_mut(&request)) {
            pending.started.get_or_insert(now);
        }
        let effects: Vec<_> = actions.drain(..).filter_map(|action| inner.effect(action)).collect();
        inner.actions = actions;
        drop(inner);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Answer(responder, answer) => responder.send(answer),
            Effect::Drained(drained) => drop(drained.send(())),
            Effect::Start(request, worker, job) => {
                let started = match worker.lanes().get(LANE) {
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
fn worker_id(runtime: Embedded) -> WorkerId {
    runtime as WorkerId
}

impl Inner {
    fn with_worker(&self, runtime: Embedded) -> impl Iterator<Item = (RequestId, &Pending)> {
        self.requests
            .iter()
            .filter(move |(_, pending)| pending.is_with_worker() && pending.session.file.runtime == runtime)
            .map(|(&request, pending)| (request, pending))
    }

    fn effect(&mut self, action: Action) -> Option<Effect> {
        match action {
            Action::Dispatch(request) => {
                let pending = self.requests.get_mut(&request)?;
                let job = pending.job.take()?;
                // Without a worker the session would be suspended: one that just died is about to be noticed, and its
                // death answers this request.
                let worker = self.workers.get(pending.session.file.runtime.name())?;
                Some(Effect::Start(request, Arc::clone(worker), job))
            }
            Action::Refuse(request, refusal) => self.turn_away(request, Failure::Refused(refusal)),
            Action::Expire(request) => self.turn_away(request, Failure::Expired),
            Action::Drained(session) => self.drains.remove(&session).map(Effect::Drained),
        }
    }

    fn turn_away(&mut self, request: RequestId, failure: Failure) -> Option<Effect> {
        let pending = self.requests.remove(&request)?;
        pending.count_failure();
        pending.responder.map(|responder| Effect::Answer(responder, Err(failure)))
    }
}
