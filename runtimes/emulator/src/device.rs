//! The emulated device as threads meet it: they bring work, and sleep until it is done.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edgemux_runtime_api::error::{LoadError, RunError};
use edgemux_runtime_api::runtime::Cancel;

use crate::options::Options;
use crate::schedule::{Group, Schedule, Spent, Ticket, Work};

/// How often a sleeping request looks whether it was cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(5);
/// A sleep ends this much early, and the rest is spun away: waking up takes about that long.
const SPIN_NS: f64 = 40_000.0;

/// One device, shared by all models loaded on it.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) options: Options,
    opened: Instant,
    state: Mutex<State>,
    /// Somebody left before their time, or the device vanished: whoever sleeps must think again.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    vanished: bool,
    memory_used_bytes: u64,
    groups: HashMap<String, Group>,
    last_group: u64,
}

impl Device {
    pub(crate) fn new(options: Options) -> Self {
        let state = State {
            schedule: Schedule::new(options.sharing.clone()),
            vanished: false,
            memory_used_bytes: 0,
            groups: HashMap::new(),
            last_group: 0,
        };
        Self { options, opened: Instant::now(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Sets aside memory for a model; [`Device::free`] gives it back.
    pub(crate) fn allocate(&self, needed_bytes: u64) -> Result<(), LoadError> {
        let mut state = self.state();
        let limit = self.options.memory_bytes.unwrap_or(u64::MAX);
        let available_bytes = limit.saturating_sub(state.memory_used_bytes);
        if needed_bytes > available_bytes {
            return Err(LoadError::Memory { needed_bytes, available_bytes });
        }
        state.memory_used_bytes += needed_bytes;
        Ok(())
    }

    pub(crate) fn free(&self, bytes: u64) {
        let mut state = self.state();
        state.memory_used_bytes = state.memory_used_bytes.saturating_sub(bytes);
    }

    /// The group of that name, or one of a model's own.
    pub(crate) fn group(&self, name: Option<&str>) -> Group {
        let mut state = self.state();
        if let Some(group) = name.and_then(|name| state.groups.get(name)) {
            return *group;
        }
        state.last_group += 1;
        let group = Group(state.last_group);
        if let Some(name) = name {
            state.groups.insert(name.to_owned(), group);
        }
        group
    }

    /// From now on the device does not answer anyone.
    pub(crate) fn vanish(&self) {
        self.state().vanished = true;
        self.changed.notify_all();
    }

    /// Brings work to the device. The answer must be waited for with [`Visit::finish`], or dropped to give it up.
    pub(crate) fn enter(&self, work: Work) -> Result<Visit<'_>, RunError> {
        let mut state = self.state();
        if state.vanished {
            return Err(lost());
        }
        let ticket = state.schedule.arrive(self.now_ns(), work);
        Ok(Visit { device: self, ticket, over: false })
    }

    fn now_ns(&self) -> f64 {
        self.opened.elapsed().as_nanos() as f64
    }

    /// The arithmetic panics nowhere, so a poisoned lock still holds a whole state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets this thread's sleeps end on time: by default the system may add 50 µs to gather wake-ups.
pub(crate) fn sleep_precisely() {
    // A kernel that refuses costs precision, nothing else.
    let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
}

fn lost() -> RunError {
    RunError::DeviceLost("the emulated device vanished, as its model file asks".into())
}

/// One request on the device.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    device: &'a Device,
    ticket: Ticket,
    over: bool,
}

impl Visit<'_> {
    /// Waits until only `left_ns` of the work is left. With no `cancel`, nothing but the device's end cuts it short.
    pub(crate) fn until(&self, left_ns: f64, cancel: Option<&Cancel>) -> Result<(), RunError> {
        self.wait(cancel, |schedule| {
            let due_ns = schedule.predict(self.ticket, left_ns);
            if due_ns <= schedule.now_ns() { Ok(()) } else { Err(due_ns) }
        })
    }

    /// Waits until the work is done.
    pub(crate) fn finish(mut self, cancel: Option<&Cancel>) -> Result<Spent, RunError> {
        let spent = self.wait(cancel, |schedule| {
            schedule.collect(self.ticket).ok_or_else(|| schedule.predict(self.ticket, 0.0))
        })?;
        self.over = true;
        Ok(spent)
    }

    /// `look` gives what is waited for, or the time at which to look again.
    fn wait<T>(
        &self,
        cancel: Option<&Cancel>,
        mut look: impl FnMut(&mut Schedule) -> Result<T, f64>,
    ) -> Result<T, RunError> {
        let mut state = self.device.state();
        loop {
            let now_ns = self.device.now_ns();
            state.schedule.advance(now_ns);
            let due_ns = match look(&mut state.schedule) {
                Ok(found) => return Ok(found),
                Err(due_ns) => due_ns,
            };
            if state.vanished {
                return Err(lost());
            }
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Err(RunError::Cancelled);
            }
            let wait_ns = due_ns - now_ns;
            if wait_ns <= SPIN_NS {
                drop(state);
                while self.device.now_ns() < due_ns {
                    std::hint::spin_loop();
                }
                state = self.device.state();
            } else {
                let sleep = CANCEL_LOOK.min(Duration::from_nanos((wait_ns - SPIN_NS) as u64));
                let woken = self.device.changed.wait_timeout(state, sleep);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.over {
            let now_ns = self.device.now_ns();
            self.device.state().schedule.abandon(now_ns, self.ticket);
            self.device.changed.notify_all();
        }
    }
}
