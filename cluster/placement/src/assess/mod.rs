//! Would a node keep its promises with this load?

mod corrected;
mod paper;

pub use corrected::{Corrected, Undecided};
pub use paper::Paper;

use crate::catalogue::Catalogue;
use crate::load::Load;

/// Judges loads.
pub trait Assess {
    /// What becomes of a node under this load, or the first promise that it would break.
    ///
    /// # Errors
    /// A load under which some promise breaks.
    fn assess(&mut self, catalogue: &Catalogue, load: &Load) -> Result<Outlook, Breach>;
}

/// A load that a node can bear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// Share of time for which the device is busy.
    pub utilisation: f64,
    /// The least relative distance of a latency from its objective, 0 to 1.
    pub slack: f64,
}

/// The first thing that breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Breach {
    /// More memory than there is.
    Memory,
    /// More work than the limit.
    Utilisation,
    /// An objective.
    Objective,
}

/// How full a node may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Of its memory, as a fraction of 1.
    pub memory: f64,
    /// Share of time for which its device may be busy.
    pub utilisation: f64,
}

impl Limits {
    /// The paper's.
    pub const PAPER: Self = Self { memory: 0.8, utilisation: 0.8 };

    /// Memory that may be used on a node of this load's kind, bytes.
    #[must_use]
    pub fn memory_of(&self, catalogue: &Catalogue, load: &Load) -> f64 {
        catalogue.kind(load.kind()).device.memory as f64 * self.memory
    }

    /// Checks the memory.
    ///
    /// # Errors
    /// Too little of it.
    pub fn check_memory(&self, catalogue: &Catalogue, load: &Load) -> Result<(), Breach> {
        if load.memory() as f64 <= self.memory_of(catalogue, load) { Ok(()) } else { Err(Breach::Memory) }
    }
}
