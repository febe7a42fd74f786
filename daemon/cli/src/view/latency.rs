//! Latency, predicted or observed.

use edgemux_proto::edgemux::v1;
use serde::Serialize;

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

// === impl Latency ===

impl Latency {
    pub(crate) fn from_wire(wire: &v1::LatencyPrediction) -> Self {
        Self { mean_ms: wire.mean_ms, p50_ms: wire.p50_ms, p95_ms: wire.p95_ms, p99_ms: wire.p99_ms }
    }

    /// Mean, p50, p95, p99.
    pub(crate) fn figures(&self) -> [f64; 4] {
        [self.mean_ms, self.p50_ms, self.p95_ms, self.p99_ms]
    }
}
