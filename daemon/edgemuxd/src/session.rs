//! A session: one version of one model on one device, and the states it goes through.
//!
//! ```text
//! loading ──▶ warming ──▶ ready ──▶ draining ──▶ gone
//!    ▲  │        │          │           │
//!    │  └────────┴──────────┼───────────┴──▶ failed
//!    └──────────────────────┘ its worker died
//! ```

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgemux_calibration::profile::{Group, Profile};
use edgemux_multiplexer::SessionId;
use edgemux_runtime_api::runtime::{Details, Memory};
use edgemux_runtime_api::tensor::Signature;
use tokio::sync::watch;

use crate::device::is_batchable;
use crate::live::Live;
use crate::repository::ModelFile;
use crate::runtimes::RuntimeKind;
use crate::statistics::Statistics;
use crate::terms::Terms;

/// A model in a worker's memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What it takes and gives.
    pub signature: Signature,
    /// What it holds.
    pub memory: Memory,
    /// What else is known of it.
    pub details: Details,
}

/// Where a session is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its worker reads the model file.
    Loading,
    /// It runs requests of its own before clients'.
    Warming(Arc<Loaded>),
    /// It takes requests.
    Ready(Arc<Loaded>),
    /// It takes no more; those it has still run.
    Draining(Arc<Loaded>),
    /// It is unloaded.
    Gone,
    /// It cannot run, and why.
    Failed(String),
}

/// What moves a session on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The worker has loaded the model.
    Loaded(Arc<Loaded>),
    /// The warm-up is over.
    Warmed,
    /// The worker died; a new one will load the model again.
    WorkerDied,
    /// It is to go.
    Drain,
    /// It is unloaded.
    Unloaded,
    /// It failed, and why.
    Fail(String),
}

/// A step that the state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session that is {state} cannot take the step {step:?}")]
pub struct IllegalStep {
    state: &'static str,
    step: Step,
}

impl State {
    /// The state after `step`.
    pub fn after(&self, step: Step) -> Result<Self, IllegalStep> {
        Ok(match (self, step) {
            (Self::Loading, Step::Loaded(loaded)) => Self::Warming(loaded),
            (Self::Warming(loaded), Step::Warmed) => Self::Ready(Arc::clone(loaded)),
            (Self::Loading | Self::Warming(_) | Self::Ready(_), Step::WorkerDied) => Self::Loading,
            (Self::Warming(loaded) | Self::Ready(loaded), Step::Drain) => Self::Draining(Arc::clone(loaded)),
            (Self::Draining(loaded), Step::Drain) => Self::Draining(Arc::clone(loaded)),
            // Nothing runs and nothing waits that a drain could wait for.
            (Self::Loading | Self::Failed(_), Step::Drain) => Self::Gone,
            (Self::Draining(_), Step::Unloaded | Step::WorkerDied) => Self::Gone,
            (Self::Gone, Step::Drain | Step::Unloaded | Step::WorkerDied) => Self::Gone,
            (Self::Loading | Self::Warming(_) | Self::Ready(_) | Self::Draining(_), Step::Fail(reason)) => {
                Self::Failed(reason)
            }
            (state, step) => return Err(IllegalStep { state: state.name(), step }),
        })
    }

    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Warming(_) => "warming",
            Self::Ready(_) => "ready",
            Self::Draining(_) => "draining",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }

    /// The model, where one is loaded.
    pub fn loaded(&self) -> Option<&Arc<Loaded>> {
        match self {
            Self::Warming(loaded) | Self::Ready(loaded) | Self::Draining(loaded) => Some(loaded),
            Self::Loading | Self::Gone | Self::Failed(_) => None,
        }
    }

    /// Will it never run again?
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Gone | Self::Failed(_))
    }
}

/// One version of one model on one device.
#[derive(Debug)]
pub struct Session {
    /// Its number, never used again.
    pub id: SessionId,
    /// The model file.
    pub file: ModelFile,
    /// Its terms.
    pub terms: Terms,
    /// Name of its device.
    pub device: String,
    /// What runs it there.
    pub runtime: RuntimeKind,
    state: watch::Sender<State>,
    /// The signature it had when it was last ready: one that is being loaded again after a crash can be asked still.
    known: Mutex<Option<Arc<Loaded>>>,
    statistics: Mutex<Statistics>,
    live: Mutex<Live>,
    output_bytes: AtomicUsize,
    crashes: AtomicU32,
}

impl Session {
    /// A session that is about to load; `prior` is what is known of its cost, and from how many samples.
    pub fn new(
        id: SessionId,
        file: ModelFile,
        terms: Terms,
        device: String,
        prior: Option<(Profile, u64)>,
    ) -> Self {
        Self {
            live: Mutex::new(Live::new(prior, &terms)),
            runtime: file.format.runtime(),
            id,
            file,
            terms,
            device,
            state: watch::Sender::new(State::Loading),
            known: Mutex::default(),
            statistics: Mutex::default(),
            output_bytes: AtomicUsize::new(0),
            crashes: AtomicU32::new(0),
        }
    }

    /// Models of the same group keep one another's weights on the chip; none: a group of its own.
    pub fn group(&self) -> Option<u32> {
        let group = |loaded: &Arc<Loaded>| loaded.details.on_chip.and_then(|on_chip| on_chip.group);
        let loaded = self.state().loaded().cloned().or_else(|| locked(&self.known).clone());
        // The compiler draws 64 random bits; half of them tell groups apart as well.
        loaded.as_ref().and_then(group).map(|group| (group ^ group >> 32) as u32)
    }

    /// `MODEL/VERSION`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.file.model, self.file.version)
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Hears of every state from now on.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Takes a step; one that the state does not allow changes nothing and is logged.
    pub fn step(&self, step: Step) {
        self.state.send_if_modified(|state| match state.after(step) {
            Ok(next) => {
                let reason = if let State::Failed(reason) = &next { reason.as_str() } else { "" };
                tracing::info!(session = %self.name(), from = state.name(), to = next.name(), reason, "session");
                if let State::Ready(loaded) = &next {
                    *locked(&self.known) = Some(Arc::clone(loaded));
                    self.output_bytes.fetch_max(static_output_bytes(&loaded.signature), Ordering::Relaxed);
                }
                *state = next;
                true
            }
            Err(illegal) => {
                tracing::warn!(session = %self.name(), %illegal, "session");
                false
            }
        });
    }

    /// The model as requests may use it: ready, or being loaded again after a crash.
    pub fn serving(&self) -> Option<Arc<Loaded>> {
        match &*self.state.borrow() {
            State::Ready(loaded) => Some(Arc::clone(loaded)),
            State::Loading | State::Warming(_) => locked(&self.known).clone(),
            State::Draining(_) | State::Gone | State::Failed(_) => None,
        }
    }

    /// Takes no more requests until it is ready again: its worker will not be back soon.
    pub fn forget(&self) {
        *locked(&self.known) = None;
    }

    /// Its counts and times.
    pub fn statistics(&self) -> MutexGuard<'_, Statistics> {
        locked(&self.statistics)
    }

    /// What is learned of it.
    pub fn live(&self) -> MutexGuard<'_, Live> {
        locked(&self.live)
    }

    /// Can its requests run together?
    pub fn is_batchable(&self) -> bool {
        self.state().loaded().is_some_and(|loaded| is_batchable(&loaded.signature))
    }

    /// What it costs, as far as is known.
    pub fn profile(&self) -> Option<Profile> {
        let memory = self.state().loaded().map(|loaded| loaded.memory);
        let memory = memory.or_else(|| locked(&self.known).as_ref().map(|loaded| loaded.memory));
        let mut profile = self.live().profile(memory.unwrap_or_default())?;
        if let (Some(reload), Some(group)) = (&mut profile.reload, self.group()) {
            reload.group = Some(Group(group));
        }
        Some(profile)
    }

    /// Its worker crashed, and it is to blame.
    pub fn count_crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Crashes of the worker that were put down to it.
    pub fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Bytes of output to expect of a request.
    pub fn output_bytes_hint(&self) -> usize {
        self.output_bytes.load(Ordering::Relaxed)
    }

    /// Takes note of a response's size.
    pub fn saw_output_bytes(&self, bytes: usize) {
        // A load is cheaper than the exclusive access of `fetch_max`, and almost always enough.
        if bytes > self.output_bytes.load(Ordering::Relaxed) {
            self.output_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

fn static_output_bytes(signature: &Signature) -> usize {
    // Alignment between outputs may add a little.
    signature.outputs.iter().filter_map(|output| output.byte_len()).map(|bytes| bytes + 64).sum()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that needs no runtime, for tests.
#[cfg(test)]
pub fn test_session(id: SessionId) -> Session {
    let file = ModelFile {
        model: "m".into(),
        source: None,
        version: 1,
        path: "m/1/model.onnx".into(),
        format: crate::runtimes::Format::Onnx,
    };
    Session::new(id, file, Terms::default(), "cpu0".into(), None)
}

#[cfg(test)]
mod tests {
    use edgemux_runtime_api::runtime::OnChip;

    use super::*;

    fn loaded() -> Arc<Loaded> {
        let signature = Signature { inputs: vec![], outputs: vec![], decoupled: false };
        Arc::new(Loaded { signature, memory: Memory::default(), details: Details::default() })
    }

    #[test]
    fn the_whole_life_in_order() {
        let mut state = State::Loading;
        let life = [Step::Loaded(loaded()), Step::Warmed, Step::Drain, Step::Unloaded];
        let names: Vec<_> = life
            .into_iter()
            .map(|step| {
                state = state.after(step).unwrap();
                state.name()
            })
            .collect();
        assert_eq!(names, ["warming", "ready", "draining", "gone"]);
        assert!(state.is_over());
    }

    #[test]
    fn a_dead_worker_takes_a_session_back_to_loading() {
        for state in [State::Loading, State::Warming(loaded()), State::Ready(loaded())] {
            assert_eq!(state.after(Step::WorkerDied).unwrap(), State::Loading);
        }
        assert_eq!(State::Draining(loaded()).after(Step::WorkerDied).unwrap(), State::Gone);
    }

    #[test]
    fn steps_out_of_turn_are_refused() {
        for (state, step) in [
            (State::Loading, Step::Warmed),
            (State::Loading, Step::Unloaded),
            (State::Ready(loaded()), Step::Loaded(loaded())),
            (State::Ready(loaded()), Step::Unloaded),
            (State::Draining(loaded()), Step::Warmed),
            (State::Gone, Step::Loaded(loaded())),
            (State::Gone, Step::Fail("x".into())),
            (State::Failed("x".into()), Step::Warmed),
            (State::Failed("x".into()), Step::WorkerDied),
        ] {
            assert!(state.after(step.clone()).is_err(), "{} {step:?}", state.name());
        }
    }

    #[test]
    fn a_session_serves_when_ready_and_while_it_recovers_but_not_before() {
        let session = test_session(1);
        assert!(session.serving().is_none());
        session.step(Step::Loaded(loaded()));
        assert!(session.serving().is_none());
        session.step(Step::Warmed);
        assert!(session.serving().is_some());
        session.step(Step::WorkerDied);
        assert!(session.serving().is_some());
        session.step(Step::Fail("no".into()));
        assert!(session.serving().is_none());
    }

    #[test]
    fn models_compiled_together_are_of_one_group_and_others_of_none() {
        let on_chip = |group| Some(OnChip { cached_bytes: 1, streamed_bytes: 0, group });
        let of = |on_chip| {
            let session = test_session(1);
            let details = Details { on_chip, ..Details::default() };
            let signature = Signature { inputs: vec![], outputs: vec![], decoupled: false };
            session.step(Step::Loaded(Arc::new(Loaded { signature, memory: Memory::default(), details })));
            session.live().warmed_up(1e-3, 4e-3);
            let reload = session.profile().and_then(|profile| profile.reload);
            (session.group(), reload.map(|reload| reload.group))
        };
        let (group, predicted) = of(on_chip(Some(0xdead_beef_0000_0001)));
        assert_eq!(predicted, Some(group.map(Group)));
        assert_eq!(group, of(on_chip(Some(0xdead_beef_0000_0001))).0);
        assert_ne!(group, of(on_chip(Some(0xdead_beef_0000_0002))).0);
        assert_eq!(of(on_chip(None)), (None, Some(None)));
        assert_eq!(of(None).0, None);
    }

    #[test]
    fn an_illegal_step_changes_nothing() {
        let session = test_session(1);
        session.step(Step::Warmed);
        assert_eq!(session.state(), State::Loading);
    }
}
