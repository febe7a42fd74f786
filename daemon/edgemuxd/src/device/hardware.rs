//! What a device knows of its hardware: how it is, and whether it is there.
//!
//! Hardware that is gone fences its device. What its workers had is answered, what waits is refused, and the workers end:
//! nobody knows when it is back, and what they have open is nothing by then. When it is back, they start again, their
//! sessions are loaded and warmed up, and only then is the fence lifted. An operator's fence is another matter: it stays
//! until an operator lifts it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use edgemux_calibration::estimate::SpeedUpEstimator;
use edgemux_calibration::system::SpeedUp;
use edgemux_multiplexer::Event;
use tokio::sync::watch;

use super::Device;
use super::inner::Inner;
use super::workers::WorkerKey;
use crate::discovery::{DEFAULT_POWER_MODE, Found, Gpu, Source, Watched};

#[derive(Debug)]
pub(super) struct Hardware {
    known: Mutex<Known>,
    /// Counts how often what workers have open has become nothing.
    plugging: AtomicU32,
    /// May workers start?
    there: watch::Sender<bool>,
}

#[derive(Debug)]
struct Known {
    /// By which name it is looked for; none of a device without hardware.
    source: Option<Source>,
    /// As it is, while it is there.
    shown: Option<Found>,
    /// The last that was seen.
    power_mode: String,
    /// Bytes for models, as it was last seen to say.
    memory_bytes: Option<u64>,
}

/// Why hardware cannot be used by clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    reason: String,
    /// None while it is gone.
    returning: Option<Returning>,
}

/// It is there again, and its workers start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Returning {
    /// Workers that have neither started nor failed to.
    pending: BTreeSet<WorkerKey>,
    /// Has any of them warmed up its sessions?
    any: bool,
}

impl Hardware {
    pub(super) fn new(watched: &Watched) -> Self {
        let seen = watched.seen();
        let power_mode = seen.and_then(|found| found.reading.power_mode_key());
        let known = Known {
            source: watched.source().cloned(),
            power_mode: power_mode.unwrap_or_else(|| DEFAULT_POWER_MODE.to_owned()),
            memory_bytes: seen.and_then(memory_bytes),
            shown: seen.cloned(),
        };
        let there = watch::Sender::new(watched.absence().is_none());
        Self { known: Mutex::new(known), plugging: AtomicU32::new(0), there }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn memory_bytes(found: &Found) -> Option<u64> {
    found.reading.memory?.for_models_bytes
}

impl Absence {
    pub(super) fn gone(reason: &str) -> Self {
        Self { reason: reason.to_owned(), returning: None }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn is_returning(&self) -> bool {
        self.returning.is_some()
    }
}

impl Device {
    /// Its hardware, while that is there and of those that show anything.
    pub fn hardware(&self) -> Option<Found> {
        self.hardware.known().shown.clone()
    }

    /// How its hardware is named, whether or not it is there.
    pub fn source(&self) -> Option<Source> {
        self.hardware.known().source.clone()
    }

    /// The UUID of its NVIDIA GPU, if it is one that is there.
    pub(super) fn gpu_uuid(&self) -> Option<String> {
        match &self.hardware.known().shown.as_ref()?.source {
            Source::Nvidia(Gpu::Uuid(uuid)) => Some(uuid.clone()),
            _ => None,
        }
    }

    /// The power mode, by which what is learned is filed.
    pub fn power_mode(&self) -> String {
        self.hardware.known().power_mode.clone()
    }

    /// Bytes for models; none where it is not limited.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes.or_else(|| self.hardware.known().memory_bytes)
    }

    /// Takes note of how its hardware is. Returns whether the power mode is another, which is not taken over yet.
    pub(crate) fn saw(&self, found: &Found) -> Option<String> {
        let mut known = self.hardware.known();
        known.source = Some(found.source.clone());
        known.shown = Some(found.clone());
        known.memory_bytes = memory_bytes(found).or(known.memory_bytes);
        found.reading.power_mode_key().filter(|mode| *mode != known.power_mode)
    }

    /// From now on it runs in this power mode; how requests slow one another down there begins with `speed_up`, or with
    /// what it was.
    pub(crate) fn change_power_mode(&self, mode: &str, speed_up: Option<SpeedUp>) {
        mode.clone_into(&mut self.hardware.known().power_mode);
        let mut inner = self.lock();
        let begin = speed_up.unwrap_or_else(|| inner.speed_up.speed_up());
        inner.speed_up = SpeedUpEstimator::new(&begin, self.lanes);
    }

    /// Its hardware is gone: nothing reaches it. Unless its workers are to wait for it, they end.
    pub(crate) fn lost(&self, reason: &str, workers_wait: bool) {
        tracing::warn!(device = %self.name, reason, "its hardware is gone: fenced");
        self.hardware.known().shown = None;
        let mut inner = self.lock();
        inner.absence = Some(Absence::gone(reason));
        self.enclose(inner);
        if !workers_wait {
            self.hardware.there.send_replace(false);
            self.end_workers();
        }
    }

    /// Its hardware is there again. If it is as it was, everything goes on; else its workers start anew.
    pub(crate) fn found_again(&self, as_it_was: bool) {
        tracing::warn!(device = %self.name, as_it_was, "its hardware is back");
        let mut inner = self.lock();
        let keys: BTreeSet<_> = self.workers.keys().into_iter().collect();
        let reason = inner.absence.as_ref().map_or("", Absence::reason);
        // Without workers, as where each session has its own and there is none, there is nothing to wait for.
        inner.absence = (!as_it_was && !keys.is_empty()).then(|| Absence {
            reason: format!("its hardware is back and its sessions are not warmed up yet; before: {reason}"),
            returning: Some(Returning { pending: keys, any: false }),
        });
        self.enclose(inner);
        if !as_it_was {
            self.end_workers();
        }
        self.hardware.there.send_replace(true);
    }

    fn end_workers(&self) {
        self.hardware.plugging.fetch_add(1, Ordering::Relaxed);
        for key in self.workers.keys() {
            // Sessions that are suspended before anything else is decided get nothing to run.
            self.handle(Event::WorkerDown(key.id()));
        }
        let workers: Vec<_> = self.lock().workers.values().cloned().collect();
        workers.iter().for_each(|worker| worker.kill());
    }

    /// Tells the multiplexer what the fences are now.
    pub(super) fn enclose(&self, inner: MutexGuard<'_, Inner>) {
        let closed = inner.is_closed();
        self.decide(inner, Instant::now(), Event::Fenced(closed));
    }

    /// Becomes true when workers may start.
    pub(super) fn there(&self) -> watch::Receiver<bool> {
        self.hardware.there.subscribe()
    }

    /// Another number means that what a worker opened before is gone.
    pub(super) fn plugging(&self) -> u32 {
        self.hardware.plugging.load(Ordering::Relaxed)
    }

    /// Is its hardware gone?
    pub(super) fn is_gone(&self) -> bool {
        self.lock().absence.as_ref().is_some_and(|absence| !absence.is_returning())
    }

    /// Is its hardware back, and not in use yet?
    pub(super) fn is_returning(&self) -> bool {
        self.lock().absence.as_ref().is_some_and(Absence::is_returning)
    }

    /// The sessions of this worker are warmed up on hardware that is back.
    pub(super) fn recovered(&self, key: WorkerKey) {
        self.settle(key, true);
    }

    /// This worker does not start, or is over: the others do not wait for it.
    pub(super) fn not_recovered(&self, key: WorkerKey) {
        self.settle(key, false);
    }

    fn settle(&self, key: WorkerKey, recovered: bool) {
        let alone = self.workers.keys().is_empty();
        let mut inner = self.lock();
        let Some(returning) = inner.absence.as_mut().and_then(|absence| absence.returning.as_mut()) else {
            return;
        };
        returning.pending.remove(&key);
        returning.any |= recovered || alone;
        if returning.any && returning.pending.is_empty() {
            tracing::warn!(device = %self.name, "its sessions are warmed up: no longer fenced");
            inner.absence = None;
            self.enclose(inner);
        }
    }
}
