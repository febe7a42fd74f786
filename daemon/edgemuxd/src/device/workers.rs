//! Which worker runs whom: one for all sessions of a runtime, or one for each session where the operator isolates them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgemux_multiplexer::{SessionId, WorkerId};
use tokio::sync::mpsc;

use super::supervisor::{self, COMMANDS_WAITING_MAX, Command};
use super::{Device, LoadProblem};
use crate::config::{self, Current, Isolation};
use crate::runtimes::RuntimeKind;
use crate::session::Session;

/// A worker of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkerKey {
    pub(super) runtime: RuntimeKind,
    /// The one session that it runs; none where all of the runtime share it.
    pub(super) session: Option<SessionId>,
}

impl WorkerKey {
    /// The worker that runs `session`.
    pub(super) fn of(session: &Session, isolation: Isolation) -> Self {
        let own = isolation == Isolation::Session;
        Self { runtime: session.runtime, session: own.then_some(session.id) }
    }

    /// As the multiplexer knows it. On one device all workers are shared, or none is.
    pub(super) fn id(self) -> WorkerId {
        self.session.unwrap_or(self.runtime as WorkerId)
    }
}

/// The supervisors of a device's workers, and what it takes to start another.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) isolation: Isolation,
    config: config::Device,
    current: Current,
    supervisors: Mutex<BTreeMap<WorkerKey, mpsc::Sender<Command>>>,
}

impl Workers {
    pub(super) fn new(config: &config::Device, current: Current) -> Self {
        Self { isolation: config.isolation, config: config.clone(), current, supervisors: Mutex::default() }
    }

    /// The workers that are started, or that are to be when their hardware is there.
    pub(super) fn keys(&self) -> Vec<WorkerKey> {
        self.supervisors().keys().copied().collect()
    }

    /// Whoever commands this worker, if it is supervised.
    pub(super) fn supervisor(&self, key: WorkerKey) -> Option<mpsc::Sender<Command>> {
        self.supervisors().get(&key).cloned()
    }

    /// The last command has been obeyed.
    pub(super) fn gone(&self, key: WorkerKey) {
        self.supervisors().remove(&key);
    }

    fn supervisors(&self) -> MutexGuard<'_, BTreeMap<WorkerKey, mpsc::Sender<Command>>> {
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    /// Has each session a worker of its own?
    pub fn isolates_sessions(&self) -> bool {
        self.workers.isolation == Isolation::Session
    }

    /// Starts the worker of a runtime that all its sessions share.
    pub(super) fn start_shared(self: &Arc<Self>, runtime: RuntimeKind) {
        self.supervise(WorkerKey { runtime, session: None });
    }

    /// Whoever is to load `session`.
    pub(super) fn supervisor_for(
        self: &Arc<Self>,
        session: &Session,
    ) -> Result<mpsc::Sender<Command>, LoadProblem> {
        let key = WorkerKey::of(session, self.workers.isolation);
        match self.workers.supervisor(key) {
            Some(supervisor) => Ok(supervisor),
            None if key.session.is_some() => Ok(self.supervise(key)),
            None => Err(LoadProblem::Stopping),
        }
    }

    fn supervise(self: &Arc<Self>, key: WorkerKey) -> mpsc::Sender<Command> {
        let (sender, receiver) = mpsc::channel(COMMANDS_WAITING_MAX);
        self.workers.supervisors().insert(key, sender.clone());
        let Workers { config, current, .. } = &self.workers;
        supervisor::start(Arc::clone(self), key, config, current.clone(), receiver);
        sender
    }
}
