//! The hardware of the configured devices: ours from the start, and looked at again and again.

use super::{Absent, Found, Lock, LockError, Machine, Source};
use crate::config::{self, Config};
use edgemux_runtime_api::runtime::DeviceKind;

/// Looks after which firmware that was being loaded is not expected any more: then it was unplugged.
const LOADING_LOOKS_MAX: u32 = 20;

/// The hardware of all devices, in the configuration's order.
#[derive(Debug)]
pub struct Hardware {
    machine: Machine,
    watched: Vec<Watched>,
}

/// The hardware of one device.
#[derive(Debug, Default)]
pub struct Watched {
    /// None of a device without, as an emulated one.
    source: Option<Source>,
    /// Is it to be ours alone?
    owned: bool,
    lock: Option<Lock>,
    /// As it was seen last.
    seen: Option<Found>,
    /// Why it is not there, if so.
    absence: Option<String>,
    /// Looks since it left the bus while its firmware may have been loading.
    loading: Option<u32>,
}

/// What a look has found to be otherwise than the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It has left the bus, which it does to load its firmware: whoever drives it waits for that.
    Loading(String),
    /// It is gone, and why that is thought.
    Gone(String),
    /// It is there as it was, its firmware loaded.
    Loaded,
    /// It is there, and knows nothing of what was before.
    Back,
    /// It was unplugged and plugged in again since the last look.
    Replaced,
}

/// Why hardware cannot be used.
#[derive(Debug, thiserror::Error)]
enum Missing {
    /// It is not there.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// It is not ours.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Hardware {
    /// Looks for the hardware of all devices and takes what is there. What is not there yet may come; what somebody else
    /// has is an error.
    pub fn take(config: &Config) -> Result<Self, LockError> {
        let machine = Machine::new(&config.device_root);
        let mut watched: Vec<_> = config.device.iter().map(Watched::of).collect();
        for (one, device) in watched.iter_mut().zip(&config.device) {
            let device = &device.name;
            match one.find(&machine) {
                Some(Err(Missing::Lock(error))) => return Err(error),
                Some(Err(Missing::Absent(absent))) => {
                    tracing::warn!(device, reason = %absent, "its hardware is not there: fenced until it is");
                    one.absence = Some(absent.to_string());
                }
                Some(Ok(found)) => {
                    let Found { source, name, driver, reading, .. } = &found;
                    let (driver, mode) = (driver.as_deref(), reading.power_mode.as_deref());
                    tracing::info!(device, %source, name, driver, mode, "hardware");
                    if let Some(problem) = &found.problem {
                        tracing::error!(device, problem, "its hardware is there and cannot be used");
                    }
                    one.seen = Some(found);
                }
                None => {}
            }
        }
        Ok(Self { machine, watched })
    }

    /// The hardware of each device.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// The machine that it is of.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Looks at all of it, or at what can be unplugged alone; what is otherwise than before, for each device. Blocks on
    /// drivers.
    pub fn look(&mut self, all: bool) -> Vec<Change> {
        let machine = &self.machine;
        self.watched
            .iter_mut()
            .map(|one| if all || one.is_pluggable() { one.look(machine) } else { Change::None })
            .collect()
    }
}

impl Watched {
    fn of(device: &config::Device) -> Self {
        let processor = (device.kind == DeviceKind::Cpu).then_some(Source::Cpu);
        let owned = device.source.is_some();
        Self { source: device.source.clone().or(processor), owned, ..Self::default() }
    }

    /// By which name it is looked for; once it was seen, the one that stays.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// As it was seen last.
    pub fn seen(&self) -> Option<&Found> {
        self.seen.as_ref()
    }

    /// Why it is not there, if so.
    pub fn absence(&self) -> Option<&str> {
        self.absence.as_deref()
    }

    fn is_pluggable(&self) -> bool {
        !matches!(self.source, None | Some(Source::Cpu | Source::Jetson))
    }

    fn find(&mut self, machine: &Machine) -> Option<Result<Found, Missing>> {
        let source = self.source.clone()?;
        Some(self.find_one(machine, &source))
    }

    fn find_one(&mut self, machine: &Machine, source: &Source) -> Result<Found, Missing> {
        let found = machine.find(source)?;
        if self.owned && self.lock.is_none() {
            self.lock = Some(machine.locks().take(&found.source)?);
        }
        // From now on it is this one, whatever is plugged in beside it.
        self.source = Some(found.source.clone());
        Ok(found)
    }

    fn look(&mut self, machine: &Machine) -> Change {
        let before = self.seen.as_ref();
        let (was_loaded, plugged) = (before.and_then(|f| f.firmware_loaded), before.and_then(|f| f.plugged));
        let was_there = self.absence.is_none();
        match self.find(machine) {
            None => Change::None,
            Some(Ok(found)) => {
                self.absence = None;
                // It leaves the bus and comes back when whoever drives it loads its firmware.
                let loaded = was_loaded == Some(false) && found.firmware_loaded == Some(true);
                let same_plugging = found.plugged == plugged;
                self.seen = Some(found);
                let waited = self.loading.take().is_some();
                match (was_there, loaded) {
                    (true, true) => Change::None,
                    (true, false) if same_plugging => Change::None,
                    (true, false) => Change::Replaced,
                    (false, true) if waited => Change::Loaded,
                    (false, _) => Change::Back,
                }
            }
            Some(Err(missing)) => {
                let reason = missing.to_string();
                match self.loading {
                    Some(LOADING_LOOKS_MAX) => self.loading = None,
                    Some(looks) => {
                        self.loading = Some(looks + 1);
                        return Change::None;
                    }
                    None if self.absence.as_ref() == Some(&reason) => return Change::None,
                    None if was_there && was_loaded == Some(false) => {
                        self.loading = Some(0);
                        self.absence = Some(reason);
                        let why = "it has left the bus, to load its firmware or for good";
                        return Change::Loading(why.to_owned());
                    }
                    None => {}
                }
                self.absence = Some(reason.clone());
                Change::Gone(reason)
            }
        }
    }
}
