//! What was decided, and why.

use crate::predict::{Latency, Prediction};
use crate::system::{Mode, Session};
use crate::terms::{Objective, Statistic};
use crate::units::{Hertz, Quantile, Seconds};

/// The part of an objective's slack that requests may wait for others to run with.
const BATCH_DELAY: f64 = 0.5;

/// A decision with everything it rests on.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the newcomer may come in.
    pub admitted: bool,
    /// The mode under which the predictions hold.
    pub mode: Mode,
    /// All sessions, the newcomer last.
    pub tenants: Vec<TenantOutlook>,
    /// Memory with the newcomer.
    pub memory: MemoryUse,
    /// Share of time that the device would be busy; 1 or more where it would not keep up.
    pub utilisation: f64,
    /// The least relative distance of a predicted latency from its objective, margins aside: 0.2 leaves a fifth, below 0
    /// one is missed; infinite where nobody has an objective.
    pub slack: f64,
    /// Why not; empty if admitted.
    pub reasons: Vec<Reason>,
    /// The largest rate at which the newcomer would be admitted, if any, as far as that was looked for.
    pub largest_rate: Option<Hertz>,
    /// What else could be had.
    pub alternatives: Vec<Alternative>,
    /// The prediction it rests on, with its method and margin; none where the system would not be stable.
    pub prediction: Option<Prediction>,
}

/// One session before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantOutlook {
    /// Which.
    pub session: String,
    /// What it was promised, or wants.
    pub objective: Option<Objective>,
    /// Without the newcomer; none for the newcomer.
    pub before: Option<Summary>,
    /// With it; none where the system would not be stable.
    pub after: Option<Summary>,
    /// The objective's statistic with the newcomer, s.
    pub predicted: Option<f64>,
    /// The same with the margin that has to fit, s.
    pub with_margin: Option<f64>,
    /// Whether the objective holds with the margin. Best effort has nothing to hold.
    pub holds: bool,
}

/// Latency in s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Device memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// What all models hold while loaded.
    pub at_rest: u64,
    /// The most they need while running.
    pub peak: u64,
    /// What there is.
    pub capacity: u64,
}

/// Why a newcomer is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// An objective would break.
    Objective {
        /// Whose.
        session: String,
        /// What it is about.
        statistic: Statistic,
        /// Promised or wanted, s.
        wanted: f64,
        /// Predicted, s.
        predicted: f64,
        /// The same with the margin that has to fit, s.
        with_margin: f64,
    },
    /// Models do not fit into memory.
    Memory {
        /// Bytes needed at the peak.
        needed: u64,
        /// Bytes there are.
        capacity: u64,
    },
    /// A stage would be too busy, or not keep up.
    Utilisation {
        /// What the stage is called.
        stage: &'static str,
        /// The share of time that it would be busy.
        utilisation: f64,
        /// The most it may be.
        most: f64,
    },
    /// No formula decides and simulation is switched off.
    Undecided(String),
}

/// What could be had instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alternative {
    /// The same at this rate.
    Rate(Hertz),
    /// The same rate with an objective of this latency.
    Latency(Seconds),
}

impl Summary {
    /// Of a predicted latency.
    #[must_use]
    pub fn of(latency: &Latency) -> Self {
        // Quantiles are found to a hundred-thousandth, at a jump from either side of it.
        let p50 = latency.quantile(Quantile::P50);
        let p95 = latency.quantile(Quantile::P95).max(p50);
        Self { mean: latency.mean(), p50, p95, p99: latency.quantile(Quantile::P99).max(p95) }
    }
}

impl TenantOutlook {
    /// The longest that requests of this session should wait for others to run with, if it batches and was predicted to
    /// wait for none: half of what the latency with margin leaves of the objective, 0 where it does not hold. The other
    /// half is for what comes in between: whoever waited for more may find the device taken. None without an objective, as
    /// there is nothing to take it from.
    #[must_use]
    pub fn batch_delay(&self) -> Option<Seconds> {
        let wanted = self.objective?.latency.get();
        let left = self.with_margin.filter(|_| self.holds).map_or(0.0, |latency| wanted - latency);
        Some(Seconds::clamped(BATCH_DELAY * left))
    }
}

impl Verdict {
    /// Finds what a refused newcomer could have instead.
    pub(super) fn find_alternatives(&mut self, newcomer: &Session) {
        if self.admitted {
            return;
        }
        self.alternatives.extend(self.largest_rate.map(Alternative::Rate));
        // A wider objective helps where the newcomer's own is all that breaks.
        if let [Reason::Objective { session, with_margin, .. }] = self.reasons.as_slice()
            && *session == newcomer.name
            && let Ok(latency) = Seconds::new(*with_margin)
        {
            self.alternatives.push(Alternative::Latency(latency));
        }
    }
}
