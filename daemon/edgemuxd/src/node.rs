//! The node: its devices, its model repository, and the sessions that serve its models.

mod admission;
mod follow;
mod hardware;
mod second_look;
mod trial;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use edgemux_calibration::system::SpeedUp;
use edgemux_multiplexer::SessionId;
use tokio::sync::{Mutex, Notify, watch};

use crate::access::{Access, Caller};
use crate::config::{Config, Current, LoadAtStart};
use crate::desk::{self, Desk, Held, PlaceId, Profiles, ReservationError, Verdict};
use crate::device::{Device, LoadProblem};
use crate::discovery::{self, DEFAULT_POWER_MODE, Hardware};
use crate::regions::Regions;
use crate::repository::{Repository, RepositoryError};
use crate::session::{Session, State, Step};
use crate::status::{self, History, Journal};
use crate::terms::TermsError;

use self::admission::Hold;
pub(crate) use self::admission::{Ask, Wanted};

/// How many samples what is known of a newcomer counts for.
const PRIOR_SAMPLES: u64 = 16;

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not to be had from the repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// No device can run it.
    #[error(
        "model '{model}' needs a device of kind {kinds} with the runtime {runtime}; this node has: {has}"
    )]
    NoDevice {
        /// The model.
        model: String,
        /// The runtime that its file needs.
        runtime: String,
        /// Kinds that its terms allow.
        kinds: String,
        /// The node's devices.
        has: String,
    },
    /// Admission has no place for it.
    #[error("model '{model}' is not admitted: {}", verdict.why_not())]
    NotAdmitted {
        /// The model.
        model: String,
        /// Why.
        verdict: Box<Verdict>,
    },
    /// Another's session has the name.
    #[error("'{name}' is the name of a session that {whose}: take another name, or release that one first")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        whose: String,
    },
    /// The repository's file is not the one that is wanted.
    #[error("model '{model}' of this node's repository has the SHA-256 {found}, not {wanted}")]
    OtherFile {
        /// The model.
        model: String,
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// Its place was given up meanwhile.
    #[error("its place was given up before it was loaded")]
    NoPlace,
    /// It is not the caller's.
    #[error("model '{model}' is not of tenant '{tenant}': its models are named in the configuration")]
    NotYours {
        /// The model.
        model: String,
        /// Who asks.
        tenant: String,
    },
    /// The caller has as many as it may.
    #[error("tenant '{tenant}' has {most} sessions and reservations, as many as it may")]
    TooManySessions {
        /// Who asks.
        tenant: String,
        /// Its share.
        most: usize,
    },
    /// Its terms cannot be.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// A reservation that is not to be had.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// It ran, and nothing could be measured.
    #[error(
        "model '{0}' cannot be admitted: its cost could not be measured on zeros; load it without terms and send it requests first"
    )]
    NotMeasured(String),
    /// It was found and could not be made ready.
    #[error("model '{model}' cannot be loaded: {problem}")]
    Problem {
        /// The model.
        model: String,
        /// Why.
        problem: LoadProblem,
    },
}

/// Why a request finds no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// Nothing by that name.
    #[error("Request for unknown model: '{0}' is not found")]
    Unknown(String),
    /// Not that version of it.
    #[error("Request for unknown model: '{model}' version {version} is not found")]
    UnknownVersion {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// It is there, but not ready.
    #[error("Request for model '{model}' which is not ready: {reason}")]
    NotReady {
        /// The model.
        model: String,
        /// Its state, or why it failed.
        reason: String,
    },
}

type Sessions = HashMap<String, BTreeMap<u64, Arc<Session>>>;

/// The whole node.
#[derive(Debug)]
pub struct Node {
    current: Current,
    access: RwLock<Arc<Access>>,
    /// Its models.
    pub repository: Repository,
    /// Its devices.
    pub devices: Vec<Arc<Device>>,
    /// Shared memory that clients have registered.
    pub regions: Regions,
    /// Who may come in.
    pub(crate) desk: Desk,
    sessions: RwLock<Sessions>,
    last_session: AtomicU32,
    /// One load or unload at a time.
    turn: Mutex<()>,
    /// Have all models that load at start been dealt with?
    started: watch::Sender<bool>,
    /// Counts changes of any session or device, for those who watch.
    changes: watch::Sender<u64>,
    /// Asks for a second look before the next one is due.
    looks: Notify,
    /// Held while what was learned is put into the store, and while a power mode changes.
    filing: std::sync::Mutex<()>,
    /// The machine as a whole.
    figures: watch::Sender<discovery::Node>,
    /// When it was started.
    pub(crate) started_at: Instant,
    /// The last events.
    pub(crate) journal: Journal,
    /// The last minutes.
    pub(crate) history: History,
}

impl Node {
    /// Makes the node and starts its devices' workers. Nothing is loaded yet.
    pub fn start(config: Config, repository: Repository, hardware: Hardware) -> Arc<Self> {
        let state_dir = config.state_dir.clone().unwrap_or_default();
        let profiles = Arc::new(Profiles::open(&state_dir));
        let current = Current::new(config);
        let config = current.get();
        let start = |(device, watched): (&crate::config::Device, &discovery::Watched)| {
            let mode = watched.seen().and_then(|found| found.reading.power_mode_key());
            let mode = mode.as_deref().unwrap_or(DEFAULT_POWER_MODE);
            let speed_up = profiles.speed_up(&device.name, mode).unwrap_or_else(SpeedUp::none);
            Device::start(device, &current, speed_up, watched)
        };
        let devices = config.device.iter().zip(hardware.watched()).map(start).collect();
        let node = Arc::new(Self {
            desk: Desk::new(current.clone(), profiles),
            looks: Notify::new(),
            regions: Regions::new(current.clone()),
            access: RwLock::new(Arc::new(Access::new(&config, None))),
            current,
            repository,
            devices,
            sessions: RwLock::default(),
            last_session: AtomicU32::new(0),
            turn: Mutex::default(),
            started: watch::Sender::new(false),
            changes: watch::Sender::new(0),
            filing: std::sync::Mutex::default(),
            figures: watch::Sender::default(),
            started_at: Instant::now(),
            journal: Journal::default(),
            history: History::default(),
        });
        tokio::spawn(second_look::run(Arc::downgrade(&node)));
        tokio::spawn(status::watch(Arc::downgrade(&node)));
        tokio::spawn(follow::run(Arc::downgrade(&node)));
        tokio::spawn(hardware::run(Arc::downgrade(&node), hardware));
        node
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.current.get()
    }

    /// Who may call, as it is now.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes by `config` from now on, which differs from the present one in nothing that only a start can change. Requests
    /// that are under way end as they began.
    pub fn reconfigure(&self, config: Config) {
        let former = self.config();
        {
            let mut access = self.access.write().unwrap_or_else(PoisonError::into_inner);
            *access = Arc::new(Access::new(&config, Some(&access)));
        }
        self.current.set(config);
        let config = self.config();
        for (device, (before, now)) in self.devices.iter().zip(former.device.iter().zip(&config.device)) {
            // What an operator has set meanwhile stays, unless the file says something new.
            let is_shared = |device: &crate::config::Device| (device.multiplexing(), device.sharing());
            if is_shared(before) != is_shared(now) {
                device.configure(now.multiplexing(), now.sharing());
            }
        }
        for session in self.sessions() {
            if let Some(device) = self.device(&session.device) {
                device.entitle(&session);
            }
        }
        self.look_soon();
    }

    /// Loads what the configuration says is loaded at start and is not. A model that fails is logged and shown, no more.
    pub async fn load_at_start(&self) {
        let models = match self.repository.models() {
            Ok(models) => models,
            Err(error) => {
                tracing::error!(%error, "the model repository");
                BTreeMap::new()
            }
        };
        for model in models.into_keys() {
            let wanted = match self.config().load_at_start {
                LoadAtStart::All => true,
                LoadAtStart::None => false,
                LoadAtStart::Declared => !matches!(self.repository.declared(&model), Ok(None)),
            };
            let is_loaded = self.read().contains_key(&model);
            if wanted
                && !is_loaded
                && let Err(error) =
                    self.load(&Caller::daemon(), Wanted { model: &model, ..Wanted::default() }).await
            {
                tracing::error!(%error, "at start");
            }
        }
        self.started.send_replace(true);
    }

    /// Have all models that load at start been dealt with?
    pub fn is_started(&self) -> bool {
        *self.started.borrow()
    }

    /// Waits until they have.
    pub async fn wait_started(&self) {
        // The sender lives in `self`.
        let _ = self.started.subscribe().wait_for(|&started| started).await;
    }

    /// Loads a model, by default its newest version under the terms in its `model.toml`, if admission has a place for it.
    /// One that serves already is replaced once the new session is ready.
    pub(crate) async fn load(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<Arc<Session>, LoadError> {
        let ask = self.ask(caller, wanted)?;
        let (verdict, place) = self.decide(&ask, Hold::Load).await?;
        self.decided(&ask, &verdict);
        let Some(place) = place else {
            let verdict = Box::new(verdict.seen_by(caller));
            return Err(LoadError::NotAdmitted { model: ask.model.model, verdict });
        };
        let session = self.bring_in(place).await?;
        for other in self.others_of(&ask) {
            self.unload_one(&other).await;
        }
        Ok(session)
    }

    /// Loads what has a place.
    pub(crate) async fn bring_in(&self, place: PlaceId) -> Result<Arc<Session>, LoadError> {
        let _turn = self.turn.lock().await;
        let Some(held) = self.desk.ledger().get(place).cloned() else {
            return Err(LoadError::NoPlace);
        };
        let loaded = self.load_into(&held).await;
        match &loaded {
            Ok(session) => self.desk.ledger().serves(place, session.id),
            Err(_) => drop(self.desk.ledger().remove(place)),
        }
        self.looks.notify_one();
        loaded
    }

    /// Asks for a second look at everybody soon.
    pub(crate) fn look_soon(&self) {
        self.looks.notify_one();
        self.changed();
    }

    async fn load_into(&self, held: &Held) -> Result<Arc<Session>, LoadError> {
        let (model, file) = (&held.file.model, &held.file);
        let Some(device) = self.device(&held.device) else { return Err(LoadError::NoPlace) };
        device.set_mode(desk::as_run(held.verdict.mode, device.snapshot().sharing));
        // From now on its file is known by its digest, and so is what is learned of it.
        let digest = self.digest(file).await?;
        let known = self.desk.profiles.get(&digest, &device.name, &device.power_mode());
        let prior = known.or_else(|| held.profile.clone().map(|profile| (profile, PRIOR_SAMPLES)));
        let (id, terms) = (self.next_id(), held.terms.clone());
        let session = Arc::new(Session::new(id, file.clone(), terms, device.name.clone(), prior));
        self.forward_changes(&session);

        let replaced = self.write().get(model).and_then(|versions| versions.get(&file.version)).cloned();
        let serves = replaced.as_ref().is_some_and(|old| matches!(old.state(), State::Ready(_)));
        if !serves {
            if let Some(old) = &replaced {
                self.retire(old).await;
            }
            self.put(&session);
        }
        if let Err(problem) = device.load(&session).await {
            if !session.state().is_over() {
                session.step(Step::Fail(problem.to_string()));
            }
            if session.file.source.is_some() {
                self.forget_session(&session);
            }
            return Err(LoadError::Problem { model: model.clone(), problem });
        }
        self.put(&session);
        if let Some(old) = replaced {
            self.retire(&old).await;
        }
        Ok(session)
    }

    fn next_id(&self) -> SessionId {
        self.last_session.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Drains and unloads every version of a model. An unknown model is no error: it is not loaded.
    pub async fn unload(&self, model: &str) {
        let _turn = self.turn.lock().await;
        let sessions = self.read().get(model).cloned().unwrap_or_default();
        for session in sessions.values() {
            self.retire(session).await;
        }
        self.write().remove(model);
        self.changed();
        self.looks.notify_one();
    }

    /// Drains and unloads one version of a model.
    async fn unload_one(&self, session: &Arc<Session>) {
        let _turn = self.turn.lock().await;
        self.retire(session).await;
        self.forget_session(session);
    }

    /// It is listed no more. Names are made up by clients, so that none may stay behind.
    fn forget_session(&self, session: &Session) {
        let sessions = &mut *self.write();
        if let Some(versions) = sessions.get_mut(&session.file.model)
            && versions.get(&session.file.version).is_some_and(|present| present.id == session.id)
        {
            versions.remove(&session.file.version);
            if versions.is_empty() {
                sessions.remove(&session.file.model);
            }
        }
        self.changed();
    }

    async fn retire(&self, session: &Arc<Session>) {
        let state = session.state();
        if state.is_over() {
            return;
        }
        session.step(Step::Drain);
        if let Some(device) = self.device(&session.device) {
            // Without a loaded model nothing is in service, and what waits could not run.
            if state.loaded().is_some() {
                let grace = Duration::from_secs_f64(self.config().drain_grace_s);
                if tokio::time::timeout(grace, device.drain(session.id)).await.is_err() {
                    tracing::warn!(session = %session.name(), "not drained within the grace; what waits is refused");
                }
            }
            device.unload(session).await;
        }
        if !session.state().is_over() {
            session.step(Step::Unloaded);
        }
        self.remember(session);
        self.desk.ledger().gone(session.id);
    }

    /// The session that serves a request; an empty version asks for the newest that serves.
    pub fn session(&self, model: &str, version: &str) -> Result<Arc<Session>, NoSession> {
        self.with_session(model, version, |session| Ok(Arc::clone(session)))
    }

    /// Gives [`Node::session`] to `submit`, which must not ask the node for sessions again. A session that is replaced
    /// is not closed before those that were given it have returned: loading a model again refuses no request.
    pub fn with_session<T, E: From<NoSession>>(
        &self,
        model: &str,
        version: &str,
        submit: impl FnOnce(&Arc<Session>) -> Result<T, E>,
    ) -> Result<T, E> {
        let sessions = self.read();
        match find(&sessions, model, version) {
            Some(session) => submit(session),
            None => {
                drop(sessions);
                Err(self.not_loaded(model, version).into())
            }
        }
    }

    fn not_loaded(&self, model: &str, version: &str) -> NoSession {
        match self.repository.find(model, version) {
            Ok(_) => NoSession::NotReady {
                model: model.to_owned(),
                reason: "it is in the repository but not loaded; load it first".into(),
            },
            Err(RepositoryError::NoVersion { .. } | RepositoryError::Version(_)) => {
                NoSession::UnknownVersion { model: model.to_owned(), version: version.to_owned() }
            }
            Err(_) => NoSession::Unknown(model.to_owned()),
        }
    }

    /// Every session, in order of model and version.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.read().values().flat_map(BTreeMap::values).cloned().collect();
        sessions.sort_by(|a, b| (&a.file.model, a.file.version).cmp(&(&b.file.model, b.file.version)));
        sessions
    }

    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&Arc<Device>> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The machine as a whole, as it was seen last.
    pub fn figures(&self) -> discovery::Node {
        *self.figures.borrow()
    }

    fn filing(&self) -> MutexGuard<'_, ()> {
        self.filing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts up with every change of a session.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn forward_changes(&self, session: &Session) {
        let (mut states, changes) = (session.watch(), self.changes.clone());
        tokio::spawn(async move {
            while states.changed().await.is_ok() {
                changes.send_modify(|count| *count += 1);
                if states.borrow().is_over() {
                    return;
                }
            }
        });
    }

    fn put(&self, session: &Arc<Session>) {
        let versions = &mut *self.write();
        versions
            .entry(session.file.model.clone())
            .or_default()
            .insert(session.file.version, Arc::clone(session));
        self.changed();
    }

    fn read(&self) -> RwLockReadGuard<'_, Sessions> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Sessions> {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(sessions: &'a Sessions, model: &str, version: &str) -> Option<&'a Arc<Session>> {
    let versions = sessions.get(model)?;
    if version.is_empty() {
        let serving = versions.values().rev().find(|session| session.serving().is_some());
        serving.or_else(|| versions.values().next_back())
    } else {
        versions.get(&version.parse().ok()?)
    }
}
