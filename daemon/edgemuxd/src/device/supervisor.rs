//! Keeps one worker of a device alive and its sessions loaded in it.
//!
//! One task per worker owns the list of its sessions. Loads go one after the other. When the worker dies, a new one is
//! started at once (then ever later, [`Backoff`]) and given the sessions again; a model that was running whenever its
//! worker crashed is blamed, and quarantined at the limit ([`CrashLedger`]). A worker that is one session's own ends with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use edgemux_multiplexer::{Event, SessionId};
use edgemux_runtime_api::client::{Death, LaneError, LaneEvent, LaneReader, LoadFailure, SpawnError, Worker};
use edgemux_runtime_api::error::{LoadError, RunError};
use edgemux_runtime_api::runtime::DeviceSpec;
use edgemux_runtime_api::supervise::{Backoff, BackoffPolicy, CrashLedger};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::sandbox;
use super::warm_up::warm_up;
use super::workers::WorkerKey;
use super::{Device, Failure, Purpose};
use crate::config::{self, Current};
use crate::runtimes::RuntimeKind;
use crate::session::{Loaded, Session, State, Step};

/// Loads and unloads that may wait for the one under way.
pub(super) const COMMANDS_WAITING_MAX: usize = 64;

/// A worker must greet within this time.
const GREETING_PATIENCE: Duration = Duration::from_secs(30);
/// How often a worker is looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Ticks of the watch between two pings.
const TICKS_PER_PING: u64 = 5;
/// A worker that leaves a ping unanswered for so long is hung.
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// What a supervisor is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Load { session: Arc<Session>, done: oneshot::Sender<Result<(), LoadProblem>> },
    Unload { session: SessionId, done: oneshot::Sender<()> },
}

/// Why a session did not become ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadProblem {
    /// The runtime refused the model.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The model crashed its worker once too often.
    #[error("quarantined: it crashed its worker {0} times; mend the model, then load it again")]
    Quarantined(usize),
    /// It did not load in time.
    #[error("it was not loaded within {0:?}; the worker was killed")]
    Slow(Duration),
    /// There is no worker to load it.
    #[error("the worker does not start: {0}")]
    NoWorker(String),
    /// The session was unloaded, or the daemon is stopping.
    #[error("it was given up before it was ready")]
    Stopping,
}

/// A worker as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// The runtime.
    pub runtime: &'static str,
    /// The session it is for, where sessions are isolated.
    pub session: Option<String>,
    /// The process, 0 while there is none.
    pub pid: u32,
    /// Starts after the first.
    pub restarts: u32,
    /// `starting`, `up`, or why it is not.
    pub state: String,
    /// Version of the runtime's library.
    pub version: String,
}

struct Supervisor {
    device: Arc<Device>,
    key: WorkerKey,
    spec: DeviceSpec,
    /// Is it a worker on a GPU, and has the operator not said which it is to take?
    sees_one_gpu: bool,
    current: Current,
    commands: mpsc::Receiver<Command>,
    sessions: Vec<Supervised>,
    /// The session being loaded: the one to blame if the worker dies over it.
    loading: Option<SessionId>,
    starts: u32,
    origin: Instant,
    /// Whoever unloaded the session whose own worker this was, and waits for its memory.
    parting: Option<oneshot::Sender<()>>,
}

struct Supervised {
    session: Arc<Session>,
    ledger: CrashLedger,
    /// Whoever waits for its first load.
    done: Option<oneshot::Sender<Result<(), LoadProblem>>>,
    /// Loaded in the present worker.
    loaded: bool,
}

/// Why a worker's time ended.
enum End {
    Died,
    /// It is of no more use: the daemon stops, or the session whose own it was is no more.
    Stopped,
}

pub(super) fn start(
    device: Arc<Device>,
    key: WorkerKey,
    config: &config::Device,
    current: Current,
    commands: mpsc::Receiver<Command>,
) {
    let options = config.options(key.runtime);
    let sees_one_gpu =
        key.runtime == RuntimeKind::Torch && !options.is_some_and(|options| options.contains_key("index"));
    let options = options.map(serde_json::to_string).transpose().ok().flatten().unwrap_or_default();
    let spec = DeviceSpec { name: config.name.clone(), kind: config.kind, threads: config.threads, options };
    let supervisor = Supervisor {
        device,
        key,
        spec,
        sees_one_gpu,
        current,
        commands,
        sessions: Vec::new(),
        loading: None,
        starts: 0,
        origin: Instant::now(),
        parting: None,
    };
    tokio::spawn(supervisor.run());
}

impl Supervisor {
    async fn run(mut self) {
        self.keep_alive().await;
        if self.key.session.is_some() {
            self.device.worker_gone(self.key);
        }
        if let Some(unloaded) = self.parting.take() {
            let _ = unloaded.send(());
        }
    }

    async fn keep_alive(&mut self) {
        if self.key.session.is_some() {
            let Some(Command::Load { session, done }) = self.commands.recv().await else { return };
            self.add(session, done);
        }
        let mut backoff = Backoff::new(BackoffPolicy::default());
        loop {
            if matches!(self.until_there().await, End::Stopped) {
                return;
            }
            let plugging = self.device.plugging();
            self.report(0, "starting".into(), String::new());
            let started = Instant::now();
            match self.spawn().await {
                Ok((worker, readers)) => {
                    let worker = Arc::new(worker);
                    let hung = self.put_in_charge(&worker, readers);
                    if self.device.plugging() != plugging {
                        // It has opened what is not there any more.
                        worker.kill();
                    }
                    let end = self.serve(&worker).await;
                    if matches!(end, End::Stopped) {
                        worker.stop();
                        worker.dead().await;
                        self.device.worker_down(self.key, &worker);
                        return;
                    }
                    let death = worker.dead().await;
                    let blamed = self.device.worker_down(self.key, &worker);
                    self.after_death(death, hung.load(Ordering::Relaxed), blamed);
                }
                Err(error) => self.after_failed_start(&error),
            }
            // One that ended with its hardware says nothing of how the next will fare.
            let gone = self.device.is_gone();
            let wait = if gone { Duration::ZERO } else { backoff.after_death(started.elapsed()) };
            if matches!(self.wait(wait).await, End::Stopped) {
                return;
            }
        }
    }

    async fn spawn(&mut self) -> Result<(Worker, Vec<LaneReader>), SpawnError> {
        self.starts += 1;
        let mut command = self.key.runtime.command()?;
        if let Some(uuid) = self.device.gpu_uuid().filter(|_| self.sees_one_gpu) {
            // CUDA counts GPUs in another order than the driver's own library: the worker is shown only this one.
            command.environment.push(("CUDA_VISIBLE_DEVICES".into(), uuid.into()));
        }
        let config = self.current.get();
        let models = config.model_repository.as_deref().unwrap_or(Path::new(""));
        if let Some(device) = config.device.iter().find(|device| device.name == self.device.name) {
            sandbox::enclose(&mut command, device, self.key.runtime, models);
        }
        Worker::spawn(&command, &self.spec, self.device.lanes, GREETING_PATIENCE).await
    }

    /// Starts the tasks that live as long as the worker does. The answer becomes true if it is killed for hanging.
    fn put_in_charge(&self, worker: &Arc<Worker>, readers: Vec<LaneReader>) -> Arc<AtomicBool> {
        let hung = Arc::new(AtomicBool::new(false));
        self.device.worker_up(self.key, Arc::clone(worker));
        for reader in readers {
            tokio::spawn(read_lane(Arc::clone(&self.device), self.key, Arc::clone(worker), reader));
        }
        let watch = watch(
            Arc::clone(&self.device),
            self.key,
            Arc::clone(worker),
            self.current.clone(),
            Arc::clone(&hung),
        );
        tokio::spawn(watch);
        self.report(worker.pid(), "up".into(), worker.probe().version.clone());
        hung
    }

    /// Loads what is to be loaded and obeys commands until the worker dies.
    async fn serve(&mut self, worker: &Arc<Worker>) -> End {
        // Hardware that is back is for clients when everybody is warmed up, and not before.
        let returning = self.device.is_returning();
        if returning {
            self.refuse_waiting();
        }
        for at in 0..self.sessions.len() {
            if self.bring_up(worker, at, !returning).await.is_err() {
                return End::Died;
            }
        }
        if returning {
            self.device.recovered(self.key);
            self.sessions.iter_mut().for_each(Supervised::ready);
        }
        self.sessions.retain(|supervised| !supervised.session.state().is_over());
        loop {
            if self.is_over() {
                return End::Stopped;
            }
            tokio::select! {
                biased;
                _ = worker.dead() => return End::Died,
                command = self.commands.recv() => match command {
                    None => return End::Stopped,
                    Some(Command::Load { session, done }) => {
                        self.add(session, done);
                        if self.bring_up(worker, self.sessions.len() - 1, true).await.is_err() {
                            return End::Died;
                        }
                        self.sessions.retain(|supervised| !supervised.session.state().is_over());
                    }
                    Some(Command::Unload { session, done }) => {
                        let loaded = self.remove(session);
                        if self.is_over() {
                            self.parting = Some(done);
                            return End::Stopped;
                        }
                        if loaded && worker.unload(session).await.is_err() {
                            let _ = done.send(());
                            return End::Died;
                        }
                        let _ = done.send(());
                    }
                },
            }
        }
    }

    /// Without a worker: obeys what can be obeyed for `wait`.
    async fn wait(&mut self, wait: Duration) -> End {
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            if self.is_over() {
                return End::Stopped;
            }
            tokio::select! {
                () = &mut over => return End::Died,
                command = self.commands.recv() => match command {
                    None => return End::Stopped,
                    Some(Command::Load { session, done }) => self.add(session, done),
                    Some(Command::Unload { session, done }) => {
                        self.remove(session);
                        let _ = done.send(());
                    }
                },
            }
        }
    }

    /// While its hardware is gone there is no worker, and nothing waits for one.
    async fn until_there(&mut self) -> End {
        let mut there = self.device.there();
        if *there.borrow_and_update() {
            return End::Died;
        }
        self.report(0, "waits for its hardware".into(), String::new());
        self.refuse_waiting();
        loop {
            if self.is_over() {
                return End::Stopped;
            }
            tokio::select! {
                // The sender lives in the device.
                _ = there.changed() => if *there.borrow_and_update() {
                    return End::Died;
                },
                command = self.commands.recv() => match command {
                    None => return End::Stopped,
                    Some(Command::Load { session, done }) => {
                        self.add(session, done);
                        self.refuse_waiting();
                    }
                    Some(Command::Unload { session, done }) => {
                        self.remove(session);
                        let _ = done.send(());
                    }
                },
            }
        }
    }

    /// A first load is told at once; sessions that were ready wait for better times, their requests do not.
    fn refuse_waiting(&mut self) {
        let reason = self.device.snapshot().fenced.unwrap_or_default();
        self.give_up_waiting(&format!("its device is fenced: {reason}"));
    }

    /// Has the session whose own worker this is come to its end?
    fn is_over(&self) -> bool {
        self.key.session.is_some() && self.sessions.is_empty()
    }

    fn give_up_waiting(&mut self, why: &str) {
        for supervised in &mut self.sessions {
            if supervised.done.is_some() {
                fail(&self.device, supervised, LoadProblem::NoWorker(why.to_owned()));
            } else {
                supervised.session.forget();
                self.device.flush(&supervised.session);
            }
        }
        self.sessions.retain(|supervised| !supervised.session.state().is_over());
    }

    fn add(&mut self, session: Arc<Session>, done: oneshot::Sender<Result<(), LoadProblem>>) {
        let limits = &self.current.get().supervision;
        let ledger = CrashLedger::new(limits.crash_limit, limits.crash_window());
        self.sessions.push(Supervised { session, ledger, done: Some(done), loaded: false });
    }

    /// Forgets a session; was it loaded?
    fn remove(&mut self, session: SessionId) -> bool {
        match self.sessions.iter().position(|supervised| supervised.session.id == session) {
            Some(at) => self.sessions.remove(at).loaded,
            None => false,
        }
    }

    /// Loads and warms one session, which then is `ready` or only waits to be. An error is the worker's death.
    async fn bring_up(&mut self, worker: &Arc<Worker>, at: usize, ready: bool) -> Result<(), ()> {
        let supervised = &mut self.sessions[at];
        let session = Arc::clone(&supervised.session);
        if session.state().is_over() {
            return Ok(());
        }
        let limits = self.current.get().supervision.clone();
        self.loading = Some(session.id);
        let load = worker.load(session.id, &session.file.path);
        let (signature, memory, details) = match tokio::time::timeout(limits.load_timeout(), load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(LoadFailure::Refused(error))) => {
                self.loading = None;
                fail(&self.device, supervised, LoadProblem::Refused(error));
                return Ok(());
            }
            Ok(Err(LoadFailure::Gone(_))) => return Err(()),
            Err(_) => {
                self.loading = None;
                fail(&self.device, supervised, LoadProblem::Slow(limits.load_timeout()));
                worker.kill();
                return Err(());
            }
        };
        supervised.loaded = true;
        let loaded = Arc::new(Loaded { signature, memory, details });
        session.step(Step::Loaded(Arc::clone(&loaded)));
        // Now it is known whether its requests can run together.
        self.device.entitle(&session);
        self.device.handle(Event::Resumed(session.id));
        let warmed =
            warm_up(&self.device, &session, &loaded.signature, limits.warm_up_requests, Purpose::WarmUp);
        let warmed = tokio::select! {
            biased;
            // What it had is answered by whoever serves it, which is this task.
            _ = worker.dead() => return Err(()),
            warmed = tokio::time::timeout(limits.load_timeout(), warmed) => warmed,
        };
        match warmed {
            Ok(Ok(())) => {}
            // It was unloaded meanwhile: that command comes next.
            Ok(Err(Failure::Refused(_))) => {}
            Ok(Err(_)) => return Err(()),
            Err(_) => {
                tracing::warn!(session = %session.name(), "not warmed up: the device is fenced or has no time for it")
            }
        }
        self.loading = None;
        if ready {
            supervised.ready();
        }
        Ok(())
    }

    /// Says who is to blame, and whether anybody is quarantined.
    fn after_death(&mut self, death: Death, hung: bool, on_device: Option<SessionId>) {
        let suspects = [on_device, self.loading.take()];
        let blame = (hung || !death.from_outside()) && !self.device.is_gone();
        tracing::warn!(
            device = %self.device.name, runtime = self.key.runtime.name(), %death, hung,
            ?suspects, "the worker is dead"
        );
        let state = if hung { "hung and killed".to_owned() } else { format!("died: {death}") };
        self.report(0, state, String::new());
        let now = self.origin.elapsed();
        for supervised in &mut self.sessions {
            supervised.loaded = false;
            if supervised.session.state().is_over() {
                continue;
            }
            supervised.session.step(Step::WorkerDied);
            if supervised.session.state().is_over() {
                // It was draining: there is nothing to come back for.
                self.device.remove(supervised.session.id);
                continue;
            }
            if blame && suspects.contains(&Some(supervised.session.id)) {
                supervised.session.count_crash();
                if supervised.ledger.crashed(now) {
                    let problem = LoadProblem::Quarantined(supervised.ledger.crashes());
                    fail(&self.device, supervised, problem);
                }
            }
        }
        self.sessions.retain(|supervised| !supervised.session.state().is_over());
    }

    fn after_failed_start(&mut self, error: &SpawnError) {
        tracing::error!(device = %self.device.name, runtime = self.key.runtime.name(), %error, "no worker");
        self.report(0, error.to_string(), String::new());
        self.give_up_waiting(&error.to_string());
        self.device.not_recovered(self.key);
    }

    fn report(&self, pid: u32, state: String, version: String) {
        let own = self.sessions.first().filter(|_| self.key.session.is_some());
        let status = WorkerStatus {
            runtime: self.key.runtime.name(),
            session: own.map(|supervised| supervised.session.name()),
            pid,
            restarts: self.starts.saturating_sub(1),
            state,
            version,
        };
        self.device.set_status(self.key, status);
    }
}

impl Supervised {
    /// A session that is warmed up takes requests, and whoever waits for that is told.
    fn ready(&mut self) {
        if matches!(self.session.state(), State::Warming(_)) {
            self.session.step(Step::Warmed);
            if let Some(done) = self.done.take() {
                let _ = done.send(Ok(()));
            }
        }
    }
}

/// Fails a session for good and tells whoever waits for it.
fn fail(device: &Device, supervised: &mut Supervised, problem: LoadProblem) {
    supervised.session.step(Step::Fail(problem.to_string()));
    device.remove(supervised.session.id);
    if let Some(done) = supervised.done.take() {
        let _ = done.send(Err(problem));
    }
}

/// Carries a lane's outcomes to the device until the worker is gone.
async fn read_lane(device: Arc<Device>, key: WorkerKey, worker: Arc<Worker>, mut reader: LaneReader) {
    loop {
        match reader.next().await {
            Ok(LaneEvent::Response { request, outputs, last, timing }) => {
                device.responded(request, outputs, last, timing);
                if !last {
                    // Whoever takes the responses has a turn between two that the model gave at once.
                    tokio::task::yield_now().await;
                }
            }
            Ok(LaneEvent::Failed { request, error }) => {
                let lost = matches!(error, RunError::DeviceLost(_));
                if lost {
                    // Before the next request is chosen.
                    device.worker_failed(key, &worker);
                }
                device.failed(request, Failure::Run(error));
                if lost {
                    tracing::error!(device = %device.name, "the device is lost; its worker is replaced");
                    worker.kill();
                    return;
                }
            }
            Err(error) => {
                if !matches!(error, LaneError::Gone) {
                    tracing::error!(device = %device.name, %error, "the worker is given up");
                }
                device.worker_failed(key, &worker);
                worker.kill();
                return;
            }
        }
    }
}

/// Kills the worker when a request is on the device for too long or a ping stays unanswered.
async fn watch(
    device: Arc<Device>,
    key: WorkerKey,
    worker: Arc<Worker>,
    current: Current,
    hung: Arc<AtomicBool>,
) {
    let shortest = current.get().supervision.hang_timeout();
    let mut ticks = tokio::time::interval(WATCH_PERIOD.min(shortest / 4).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = 0_u64;
    loop {
        tokio::select! {
            biased;
            _ = worker.dead() => return,
            _ = ticks.tick() => {}
        }
        device.tick();
        tick += 1;
        let overdue = device.has_overdue(key, &current.get().supervision);
        let silent = tick.is_multiple_of(TICKS_PER_PING)
            && tokio::time::timeout(PING_PATIENCE, worker.ping(tick)).await.is_err();
        if overdue || silent {
            tracing::error!(device = %device.name, runtime = key.runtime.name(), overdue, silent, "hung; it is killed");
            hung.store(true, Ordering::Relaxed);
            worker.kill();
            return;
        }
    }
}
