//! What the daemon decided about a newcomer, and what it rests on.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::alternative::Change;
use edgemux_proto::edgemux::v1::reason::Kind;
use serde::Serialize;

use super::device::multiplexing;
use super::{Latency, Terms};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) admitted: bool,
    /// Whether it runs without a guarantee.
    pub(crate) best_effort: bool,
    /// Of a refusal the device that came nearest; absent if none can run the model.
    pub(crate) device: Option<String>,
    pub(crate) multiplexing: &'static str,
    /// How latencies were predicted; absent where nobody has an objective.
    pub(crate) method: Option<String>,
    /// Least relative distance of a predicted latency from its objective; absent where nobody has one.
    pub(crate) slack: Option<f64>,
    /// A fraction of one.
    pub(crate) utilisation: f64,
    pub(crate) memory_bytes: u64,
    /// Absent where it is not limited.
    pub(crate) memory_capacity_bytes: Option<u64>,
    /// Every guaranteed tenant of the device, the newcomer too.
    pub(crate) tenants: Vec<Tenant>,
    /// Why not, of every device that was looked at; empty if admitted.
    pub(crate) reasons: Vec<Reason>,
    /// Absent if no rate would be admitted, or none was looked for.
    pub(crate) largest_admissible_rate_hz: Option<f64>,
    pub(crate) alternatives: Vec<Alternative>,
}

/// One tenant before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tenant {
    pub(crate) session: String,
    pub(crate) terms: Option<Terms>,
    /// Absent for the newcomer.
    pub(crate) before: Option<Latency>,
    /// Absent where the device would not keep up.
    pub(crate) after: Option<Latency>,
    pub(crate) objective_holds: bool,
    /// The objective's statistic with the margin that has to fit; absent without an objective.
    pub(crate) with_margin_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reason {
    /// `objective`, `memory`, `stability`, `no-runtime`, `no-profile`, `undecided`, `fenced`
    pub(crate) kind: &'static str,
    /// Empty for the whole node.
    pub(crate) device: String,
    /// Whose objective would break; empty otherwise.
    pub(crate) session: String,
    /// Milliseconds, bytes or a share of time; 0 where the reason is about no number.
    pub(crate) wanted: f64,
    pub(crate) predicted: f64,
    pub(crate) message: String,
}

/// What could be had instead: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Alternative {
    pub(crate) rate_hz: Option<f64>,
    pub(crate) latency_ms: Option<f64>,
}

// === impl Verdict ===

impl Verdict {
    pub(crate) fn from_wire(wire: v1::Verdict) -> Self {
        Self {
            multiplexing: multiplexing(wire.multiplexing()),
            admitted: wire.admitted,
            best_effort: wire.best_effort,
            device: Some(wire.device).filter(|device| !device.is_empty()),
            slack: Some(wire.slack).filter(|slack| slack.is_finite() && !wire.method.is_empty()),
            method: Some(wire.method).filter(|method| !method.is_empty()),
            utilisation: wire.utilisation,
            memory_bytes: wire.memory_bytes,
            memory_capacity_bytes: (wire.memory_capacity_bytes > 0).then_some(wire.memory_capacity_bytes),
            tenants: wire.tenants.into_iter().map(Tenant::from_wire).collect(),
            reasons: wire.reasons.into_iter().map(Reason::from_wire).collect(),
            largest_admissible_rate_hz: Some(wire.largest_admissible_rate_hz).filter(|rate| *rate > 0.0),
            alternatives: wire
                .alternatives
                .into_iter()
                .filter_map(|other| other.change)
                .map(Alternative::of)
                .collect(),
        }
    }
}

impl Tenant {
    fn from_wire(wire: v1::TenantPrediction) -> Self {
        Self {
            session: wire.session,
            terms: wire.terms.and_then(Terms::from_wire),
            before: wire.before.as_ref().map(Latency::from_wire),
            after: wire.after.as_ref().map(Latency::from_wire),
            objective_holds: wire.objective_holds,
            with_margin_ms: (wire.with_margin_ms > 0.0).then_some(wire.with_margin_ms),
        }
    }
}

impl Reason {
    fn from_wire(wire: v1::Reason) -> Self {
        let kind = match wire.kind() {
            Kind::Unspecified => "unknown",
            Kind::Objective => "objective",
            Kind::Memory => "memory",
            Kind::Stability => "stability",
            Kind::NoRuntime => "no-runtime",
            Kind::NoProfile => "no-profile",
            Kind::Undecided => "undecided",
            Kind::Fenced => "fenced",
        };
        Self {
            kind,
            device: wire.device,
            session: wire.session,
            wanted: wire.wanted,
            predicted: wire.predicted,
            message: wire.message,
        }
    }
}

impl Alternative {
    fn of(change: Change) -> Self {
        match change {
            Change::RateHz(rate_hz) => Self { rate_hz: Some(rate_hz), latency_ms: None },
            Change::LatencyMs(latency_ms) => Self { rate_hz: None, latency_ms: Some(latency_ms) },
        }
    }
}
