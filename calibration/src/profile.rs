//! What a model costs on a device, as measured, and how sure the measurement is.

use std::num::NonZeroU32;

use crate::service::ServiceTime;
use crate::units::{RangeError, Scv, Seconds};

/// The cost of one model on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Time on the device with the parameters in place and the device to itself.
    pub service: ServiceTime,
    /// What it takes to bring the parameters back after another model has run; none where the device keeps them.
    pub reload: Option<Reload>,
    /// Time on a processor core before the device (decoding, scaling, copying).
    pub cpu_before: ServiceTime,
    /// Time on a processor core after the device.
    pub cpu_after: ServiceTime,
    /// Bytes moved over the device's bus per request as a stage of its own. Copies that keep the device busy belong to
    /// `service`.
    pub bytes_moved: u64,
    /// Memory the model takes.
    pub memory: Memory,
    /// How requests are run together; none where each runs alone.
    pub batching: Option<Batching>,
    /// How sure the figures are.
    pub uncertainty: Uncertainty,
}

/// Parameter reloads of a device whose on-chip memory holds the parameters of one group of models at a time (edgeTPU).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    /// Extra time of an inference that follows one of another group. 0 for a model that keeps no parameters on chip: it
    /// drops the others' all the same.
    pub overhead: Seconds,
    /// Models compiled together share a group and keep each other's parameters. None: a group of its own.
    pub group: Option<Group>,
}

/// Models that were compiled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u32);

/// Device memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held while loaded.
    pub at_rest: u64,
    /// Held while running, that at rest included.
    pub peak: u64,
}

/// Requests of one session run together in one inference, which takes `fixed + per_item · size`. It replaces the
/// profile's service time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batching {
    /// Most requests in one inference.
    pub size_max: NonZeroU32,
    /// Time that does not depend on the size.
    pub fixed: Seconds,
    /// Time that each request adds.
    pub per_item: Seconds,
    /// The longest that the first request waits for others while the device is free; 0 takes what is there.
    pub delay_max: Seconds,
}

/// Relative standard errors of the estimates; 0 means known exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Uncertainty {
    /// Of the mean service time.
    pub service: f64,
    /// Of the reload overhead.
    pub reload: f64,
    /// How much longer than predicted the latency was lately seen to be: 0.1 is a tenth, at least 0. A decision lengthens
    /// the prediction by it.
    pub shortfall: f64,
}

impl Uncertainty {
    /// Checks the range.
    ///
    /// # Errors
    /// A value that is not in 0 to 1.
    pub fn new(service: f64, reload: f64) -> Result<Self, RangeError> {
        for value in [service, reload] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RangeError { quantity: "relative standard error", value, want: "0 to 1" });
            }
        }
        Ok(Self { service, reload, shortfall: 0.0 })
    }
}

impl Profile {
    /// A profile of nothing but its service time.
    #[must_use]
    pub fn new(service: ServiceTime) -> Self {
        Self {
            service,
            reload: None,
            cpu_before: ServiceTime::constant(Seconds::ZERO),
            cpu_after: ServiceTime::constant(Seconds::ZERO),
            bytes_moved: 0,
            memory: Memory::default(),
            batching: None,
            uncertainty: Uncertainty::default(),
        }
    }

    /// A profile of this mean service time and spread.
    #[must_use]
    pub fn of(mean: Seconds, scv: Scv) -> Self {
        Self::new(ServiceTime::gamma(mean, scv))
    }

    /// The same with a reload overhead.
    #[must_use]
    pub fn with_reload(self, overhead: Seconds, group: Option<Group>) -> Self {
        Self { reload: Some(Reload { overhead, group }), ..self }
    }

    /// The profile with every uncertain time `deviations` standard errors longer.
    #[must_use]
    pub fn pessimistic(&self, deviations: f64) -> Self {
        let service = 1.0 + deviations * self.uncertainty.service;
        let reload = 1.0 + deviations * self.uncertainty.reload;
        Self {
            service: self.service.scaled(service),
            reload: self.reload.map(|r| Reload { overhead: r.overhead.scaled(reload), ..r }),
            batching: self.batching.map(|b| Batching {
                fixed: b.fixed.scaled(service),
                per_item: b.per_item.scaled(service),
                ..b
            }),
            ..self.clone()
        }
    }
}
