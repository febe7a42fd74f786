//! A device, its host and the sessions on it: what a prediction or a simulation is made of.

use std::num::NonZeroU32;

use crate::profile::Profile;
use crate::terms::Terms;
use crate::units::{RangeError, Seconds};

/// The most sessions on one device.
pub const SESSIONS_MAX: usize = 4096;

/// Everything that shares one device.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// The device.
    pub device: Device,
    /// The processor beside it.
    pub host: Host,
    /// Those who use it.
    pub sessions: Vec<Session>,
}

/// One model served under terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// What it is called in messages.
    pub name: String,
    /// What it costs.
    pub profile: Profile,
    /// What it declared.
    pub terms: Terms,
}

/// Kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// Processor cores.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A Coral edgeTPU.
    EdgeTpu,
}

/// An accelerator.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// What it is called in messages.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// How it is shared.
    pub mode: Mode,
    /// Memory for models, bytes.
    pub memory: u64,
    /// On-chip memory that holds the parameters of one group of models at a time, bytes; 0 where there is none, and then
    /// nothing is ever reloaded.
    pub on_chip: u64,
    /// Total speed by the number of requests in service.
    pub speed_up: SpeedUp,
    /// Transfers as a stage of their own, first come first served; none where they keep the device busy.
    pub bus: Option<Bus>,
    /// Work of unknown amount that runs whenever no session has anything to run: best effort without declared rates.
    pub background: Option<Background>,
}

/// Work below everybody's rank, of which there may always be more: one request of it at a time, never interrupted, and
/// begun only while no session has a request on the device or waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Background {
    /// The longest that one request of it holds the device.
    pub hold: Seconds,
}

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// One request on the device, run to completion: by rank, then by arrival.
    Exclusive {
        /// Most requests of one reload group in a row while one of another group and the same rank waits. 1 keeps the
        /// order of arrival.
        run_max: NonZeroU32,
    },
    /// Sessions take turns.
    TimeSliced(Slicing),
    /// Several requests in service, which share the device's total speed equally; the rest wait by rank, then arrival.
    Concurrent {
        /// Most requests in service.
        width: NonZeroU32,
    },
}

/// Who slices the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slicing {
    /// The multiplexer: deficit round robin over sessions, whole requests, best rank first.
    RoundRobin {
        /// Device time that a session with something to run earns per round.
        quantum: Seconds,
    },
    /// The driver: every session has one request at a time on the device, and these share it equally.
    Driver,
}

/// Transfers to the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bus {
    /// Bandwidth, bytes per second, 1 to 10¹³.
    bytes_per_s: f64,
}

/// The processor of the node, shared by all devices' sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Cores.
    pub cores: NonZeroU32,
    /// Cores kept busy on average by what is not in this system, 0 to `cores`.
    pub busy: f64,
}

/// φ(n): total speed with n requests in service, φ(1) = 1.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeedUp {
    curve: Vec<f64>,
    /// Relative standard errors of φ(1), φ(2), …; none where the curve is known exactly.
    errors: Vec<f64>,
}

/// A system that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SystemError {
    /// Nobody uses it.
    #[error("no session: there is nothing to predict")]
    Empty,
    /// Too many.
    #[error("{0} sessions on one device: at most {SESSIONS_MAX}")]
    TooMany(usize),
    /// A speed-up curve that is none.
    #[error(
        "speed-up curve: φ({n}) = {value}, but φ(1) = 1 and each further step adds 0 to 1, up to 1024 of them"
    )]
    SpeedUp {
        /// Requests in service.
        n: usize,
        /// What was given.
        value: f64,
    },
    /// A service time of nothing: it cannot be scheduled by.
    #[error("session {session}: a mean service time of 0")]
    NoService {
        /// Which.
        session: String,
    },
    /// A number out of range.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl SpeedUp {
    /// No gain from running requests together.
    #[must_use]
    pub fn none() -> Self {
        Self { curve: vec![1.0], errors: Vec::new() }
    }

    /// φ(1), φ(2), …; the last holds for all above. φ(1) is 1 and no step is negative or gives more than one request's
    /// worth of speed.
    ///
    /// # Errors
    /// A curve that is not so.
    pub fn new(curve: Vec<f64>) -> Result<Self, SystemError> {
        if curve.is_empty() || curve.len() > 1024 {
            return Err(SystemError::SpeedUp { n: curve.len(), value: f64::NAN });
        }
        let mut before = 0.0;
        for (at, &value) in curve.iter().enumerate() {
            let fits = (value - before) >= 0.0 && value - before <= 1.0 + 1e-9;
            if !fits || (at == 0 && value != 1.0) {
                return Err(SystemError::SpeedUp { n: at + 1, value });
            }
            before = value;
        }
        Ok(Self { curve, errors: Vec::new() })
    }

    /// The same as it was measured: each with its relative standard error, 0 to 1.
    ///
    /// # Errors
    /// A curve or an error that is not so.
    pub fn measured(points: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, SystemError> {
        let (curve, errors): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        if let Some(&value) = errors.iter().find(|error| !(0.0..=1.0).contains(*error)) {
            let quantity = "relative standard error of a speed-up";
            return Err(RangeError { quantity, value, want: "0 to 1" }.into());
        }
        Ok(Self { errors, ..Self::new(curve)? })
    }

    /// The curve of `cores` equal servers: φ(n) = min(n, cores).
    #[must_use]
    pub fn cores(cores: NonZeroU32) -> Self {
        let curve = (1..=cores.get().min(1024)).map(f64::from).collect();
        Self { curve, errors: Vec::new() }
    }

    /// φ(n); 0 for n = 0.
    #[must_use]
    pub fn at(&self, n: usize) -> f64 {
        match n {
            0 => 0.0,
            n => self.curve.get(n - 1).or(self.curve.last()).copied().unwrap_or(1.0),
        }
    }

    /// Relative standard error of φ(n); none where the curve is known exactly.
    #[must_use]
    pub fn error(&self, n: usize) -> Option<f64> {
        self.errors.get(n.max(1) - 1).or(self.errors.last()).copied()
    }

    /// The curve `deviations` standard errors lower, as far as one can be: more in service are never slower in all.
    #[must_use]
    pub fn pessimistic(&self, deviations: f64) -> Self {
        let mut curve = Vec::with_capacity(self.curve.len());
        for (at, &phi) in self.curve.iter().enumerate() {
            let lower = phi * (1.0 - deviations * self.error(at + 1).unwrap_or(0.0));
            let before = curve.last().copied();
            curve.push(before.map_or(1.0, |before| lower.clamp(before, before + 1.0)));
        }
        Self { curve, errors: Vec::new() }
    }

    /// Where the curve has become flat: φ(n) = φ(len) for all n ≥ len.
    #[must_use]
    pub fn len(&self) -> usize {
        self.curve.len()
    }

    /// Never; a curve has at least φ(1).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The most speed there is with at most `width` in service.
    #[must_use]
    pub fn most(&self, width: NonZeroU32) -> f64 {
        self.at((width.get() as usize).min(self.curve.len()))
    }

    /// Whether running together gains nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.curve.iter().all(|&phi| phi == 1.0)
    }
}

impl Bus {
    /// A bus of this bandwidth.
    ///
    /// # Errors
    /// A bandwidth out of range.
    pub fn new(bytes_per_s: f64) -> Result<Self, RangeError> {
        if (1.0..=1e13).contains(&bytes_per_s) {
            Ok(Self { bytes_per_s })
        } else {
            let want = "1 to 1e13 bytes per second";
            Err(RangeError { quantity: "bus bandwidth", value: bytes_per_s, want })
        }
    }

    /// How long a transfer takes alone, s.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a bandwidth is not known to 2⁻⁵³")]
    pub fn transfer(&self, bytes: u64) -> f64 {
        bytes as f64 / self.bytes_per_s
    }

    /// Bandwidth, bytes per second.
    #[must_use]
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes_per_s
    }
}

impl Host {
    /// A host with nothing else on it.
    #[must_use]
    pub fn idle(cores: NonZeroU32) -> Self {
        Self { cores, busy: 0.0 }
    }
}

impl Mode {
    /// One at a time in the order of arrival.
    pub const FIRST_COME: Self = Self::Exclusive { run_max: NonZeroU32::MIN };
}

impl Device {
    /// A device of this kind, exclusive, first come first served, without on-chip memory, speed-up or bus.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: DeviceKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: Mode::FIRST_COME,
            memory: u64::MAX,
            on_chip: 0,
            speed_up: SpeedUp::none(),
            bus: None,
            background: None,
        }
    }
}

impl System {
    /// Checks what the types do not: the number of sessions, and that each takes time.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SystemError> {
        if self.sessions.is_empty() {
            return Err(SystemError::Empty);
        }
        if self.sessions.len() > SESSIONS_MAX {
            return Err(SystemError::TooMany(self.sessions.len()));
        }
        let cores = f64::from(self.host.cores.get());
        if !(0.0..=cores).contains(&self.host.busy) {
            let want = "0 to the number of cores";
            return Err(RangeError { quantity: "number of busy cores", value: self.host.busy, want }.into());
        }
        for session in &self.sessions {
            let batch = session.profile.batching.map(|b| b.fixed.get() + b.per_item.get());
            if batch.unwrap_or_else(|| session.profile.service.mean()) <= 0.0 {
                return Err(SystemError::NoService { session: session.name.clone() });
            }
        }
        Ok(())
    }

    /// The reload group of each session as small consecutive numbers; sessions without one get their own.
    #[must_use]
    pub fn groups(&self) -> Vec<usize> {
        let mut seen = std::collections::BTreeMap::new();
        let mut next = 0;
        self.sessions
            .iter()
            .map(|session| {
                let mut new = || {
                    next += 1;
                    next - 1
                };
                match session.profile.reload.and_then(|reload| reload.group) {
                    Some(group) => *seen.entry(group).or_insert_with(new),
                    None => new(),
                }
            })
            .collect()
    }

    /// Reload overhead of a session on this device, s; 0 where the device reloads nothing.
    #[must_use]
    pub fn overhead(&self, session: &Session) -> f64 {
        match session.profile.reload {
            Some(reload) if self.device.on_chip > 0 => reload.overhead.get(),
            _ => 0.0,
        }
    }
}
