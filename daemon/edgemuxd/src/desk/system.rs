//! A device and those who hold a place on it, as predictions take them.

use std::num::NonZeroU32;

use edgemux_calibration::profile::{self, Profile};
use edgemux_calibration::system::{
    Background, Device, DeviceKind, Host, Mode, Session, Slicing, SpeedUp, System,
};
use edgemux_calibration::terms::{Objective, Priority, Statistic, Terms as Declared};
use edgemux_calibration::units::{Hertz, Quantile, RangeError, Scv, Seconds};
use edgemux_multiplexer as multiplexer;
use edgemux_runtime_api::runtime;

use crate::config::{Multiplexing, Sharing};
use crate::terms::{Batching, Excess, Terms};

/// On-chip memory of an edgeTPU, bytes. Coral's page on the compiler, <https://coral.ai/docs/edgetpu/compiler/>, tells of
/// about 8 MiB.
const ON_CHIP: u64 = 8 << 20;

/// Standard deviations above its mean that a best-effort inference is taken to hold the device.
const HOLD_DEVIATIONS: f64 = 2.0;

/// One who has a place on a device.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    /// `MODEL/VERSION`.
    pub(crate) name: String,
    pub(crate) terms: Terms,
    /// What it costs there, as far as is known.
    pub(crate) profile: Option<Profile>,
    /// Guaranteed in its terms, but run as best effort for now.
    pub(crate) demoted: bool,
}

/// What a device is, as predictions take it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) kind: runtime::DeviceKind,
    pub(crate) mode: multiplexer::Mode,
    pub(crate) multiplexing: Multiplexing,
    pub(crate) sharing: Sharing,
    /// Bytes; none where it is not limited.
    pub(crate) memory: Option<u64>,
    pub(crate) speed_up: SpeedUp,
}

impl Tenant {
    pub(crate) fn is_guaranteed(&self) -> bool {
        self.terms.guarantee().is_some() && !self.demoted
    }

    /// May there be work of its that is below everybody's rank?
    fn has_best_effort(&self) -> bool {
        !self.is_guaranteed() || self.terms.excess == Excess::BestEffort
    }

    /// As predictions take it, if it is guaranteed and its cost is known.
    pub(crate) fn session(&self) -> Result<Option<Session>, RangeError> {
        let (Some((rate, objective)), Some(profile)) = (self.terms.guarantee(), &self.profile) else {
            return Ok(None);
        };
        let statistic = match objective.quantile {
            Some(quantile) => Statistic::Quantile(Quantile::new(quantile)?),
            None => Statistic::Mean,
        };
        let objective = Objective { statistic, latency: Seconds::from_ms(objective.latency_ms)? };
        let terms = Declared {
            rate: Hertz::new(rate)?,
            // Predictions are for arrivals at the declared rate; what exceeds it is policed.
            burst: 1,
            arrivals: Scv::ONE,
            objective: Some(objective),
            priority: Priority(self.terms.priority),
        };
        let mut profile = profile.clone();
        profile.batching = self.terms.batching.map(|asked| together(&profile, asked));
        Ok(Some(Session { name: self.name.clone(), profile, terms }))
    }
}

impl Place {
    /// The modes that admission may choose from.
    pub(crate) fn modes(&self) -> Vec<Mode> {
        if self.multiplexing != Multiplexing::Auto {
            return vec![mode(self.sharing.mode(self.multiplexing))];
        }
        let mut modes = vec![Mode::FIRST_COME];
        if self.sharing.run_max > NonZeroU32::MIN {
            modes.push(Mode::Exclusive { run_max: self.sharing.run_max });
        }
        if !self.sharing.driver_slices {
            modes.push(mode(self.sharing.mode(Multiplexing::TimeSliced)));
        }
        if self.sharing.width > NonZeroU32::MIN && self.kind != runtime::DeviceKind::Edgetpu {
            modes.push(mode(self.sharing.mode(Multiplexing::Concurrent)));
        }
        modes
    }

    /// The device with its guaranteed tenants; the others are what runs in the background and what takes memory.
    pub(crate) fn system(&self, tenants: &[Tenant]) -> Result<System, RangeError> {
        let mut device = Device::new(self.name.clone(), kind(self.kind));
        device.mode = mode(self.mode);
        device.memory = self.memory.unwrap_or(u64::MAX);
        device.speed_up = self.speed_up.clone();
        if device.kind == DeviceKind::EdgeTpu {
            device.on_chip = ON_CHIP;
        }
        let mut sessions = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            if tenant.is_guaranteed() {
                sessions.extend(tenant.session()?);
            } else if let Some(profile) = &tenant.profile {
                // What is left of the memory is for the others.
                device.memory = device.memory.saturating_sub(profile.memory.peak);
            }
        }
        let best_effort = tenants.iter().filter(|tenant| tenant.has_best_effort());
        let hold = best_effort.filter_map(|tenant| tenant.profile.as_ref()).map(hold).reduce(f64::max);
        device.background = hold.map(|hold| Background { hold: Seconds::clamped(hold) });
        let cores = std::thread::available_parallelism().ok().and_then(|cores| cores.try_into().ok());
        Ok(System { device, host: Host::idle(cores.unwrap_or(NonZeroU32::MIN)), sessions })
    }
}

/// What several requests take together: as was learned, else no less than one after the other.
fn together(profile: &Profile, asked: Batching) -> profile::Batching {
    let alone = Seconds::clamped(profile.service.mean());
    let (fixed, per_item) =
        profile.batching.map_or((Seconds::ZERO, alone), |known| (known.fixed, known.per_item));
    profile::Batching {
        size_max: NonZeroU32::new(asked.size_max).unwrap_or(NonZeroU32::MIN),
        fixed,
        per_item,
        // What is left of an objective is divided up once the latency without waiting is known.
        delay_max: Seconds::clamped(asked.delay_max_ms.unwrap_or(0.0) / 1e3),
    }
}

/// How long one inference holds the device, s: its mean and two standard deviations, and its reload; of a session whose
/// requests run together, an inference of as many as may.
fn hold(profile: &Profile) -> f64 {
    let reload = profile.reload.map_or(0.0, |reload| reload.overhead.get());
    let mean = match &profile.batching {
        Some(batching) => batching.fixed.get() + batching.per_item.get() * f64::from(batching.size_max.get()),
        None => profile.service.mean(),
    };
    mean * (1.0 + HOLD_DEVIATIONS * profile.service.scv().sqrt()) + reload
}

/// A mode as predictions know it.
pub(crate) fn mode(mode: multiplexer::Mode) -> Mode {
    match mode {
        multiplexer::Mode::Exclusive { run_max } => Mode::Exclusive { run_max },
        multiplexer::Mode::TimeSliced { quantum } => {
            Mode::TimeSliced(Slicing::RoundRobin { quantum: Seconds::clamped(quantum.as_secs_f64()) })
        }
        multiplexer::Mode::Concurrent { width } => Mode::Concurrent { width },
    }
}

/// A mode as the multiplexer knows it. The driver slices time by itself: several requests are with it at once.
pub(crate) fn policy(mode: Mode, sharing: Sharing) -> multiplexer::Mode {
    match mode {
        Mode::Exclusive { run_max } => multiplexer::Mode::Exclusive { run_max },
        Mode::TimeSliced(Slicing::RoundRobin { .. }) => {
            multiplexer::Mode::TimeSliced { quantum: sharing.quantum }
        }
        Mode::TimeSliced(Slicing::Driver) => multiplexer::Mode::Concurrent { width: sharing.width },
        Mode::Concurrent { width } => multiplexer::Mode::Concurrent { width },
    }
}

fn kind(kind: runtime::DeviceKind) -> DeviceKind {
    match kind {
        runtime::DeviceKind::Cpu => DeviceKind::Cpu,
        runtime::DeviceKind::Gpu => DeviceKind::Gpu,
        runtime::DeviceKind::Edgetpu => DeviceKind::EdgeTpu,
    }
}
