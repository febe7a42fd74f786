//! What was measured of a session on its device.

use edgemux_proto::edgemux::v1;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Profile {
    /// `MODEL/VERSION`
    pub(crate) session: String,
    pub(crate) model_digest: String,
    pub(crate) device: String,
    pub(crate) power_mode: String,
    pub(crate) samples: u64,
    pub(crate) service_mean_ms: f64,
    /// Coefficient of variation of the service time.
    pub(crate) service_cv: f64,
    /// Relative standard error of `service_mean_ms`.
    pub(crate) service_error: f64,
    /// What it costs to bring the model back onto the device.
    pub(crate) reload_ms: f64,
    pub(crate) reload_error: f64,
    /// Time of a request outside queue and device.
    pub(crate) path_ms: f64,
    pub(crate) rate_hz: f64,
    /// c_a²: variance of the time between arrivals over its squared mean; 1 for Poisson arrivals.
    pub(crate) arrival_scv: f64,
    pub(crate) drift_events: u64,
    /// Service time after the last drift over that before; absent if there was none.
    pub(crate) last_drift_factor: Option<f64>,
    /// Since the last sample; absent before the first.
    pub(crate) age_s: Option<f64>,
    /// φ(1), φ(2), … of the device: total speed by the number of requests in service.
    pub(crate) speed_up: Vec<f64>,
    pub(crate) memory_at_rest_bytes: u64,
    pub(crate) memory_peak_bytes: u64,
}

// === impl Profile ===

impl Profile {
    pub(crate) fn from_wire(wire: v1::CalibrationProfile) -> Self {
        Self {
            session: wire.session,
            model_digest: wire.model_digest,
            device: wire.device,
            power_mode: wire.power_mode,
            samples: wire.samples,
            service_mean_ms: wire.service_mean_ms,
            service_cv: wire.service_cv,
            service_error: wire.service_error,
            reload_ms: wire.reload_ms,
            reload_error: wire.reload_error,
            path_ms: wire.path_ms,
            rate_hz: wire.rate_hz,
            arrival_scv: wire.arrival_scv,
            drift_events: wire.drift_events,
            last_drift_factor: (wire.last_drift_factor > 0.0).then_some(wire.last_drift_factor),
            age_s: (wire.samples > 0).then_some(wire.age_s),
            speed_up: wire.speed_up,
            memory_at_rest_bytes: wire.memory_at_rest_bytes,
            memory_peak_bytes: wire.memory_peak_bytes,
        }
    }

    /// How often the service time changed for good, and by how much the last time: `2, last ×1.35`
    pub(crate) fn drift_text(&self) -> String {
        match self.last_drift_factor {
            Some(factor) => format!("{}, last ×{factor:.2}", self.drift_events),
            None => self.drift_events.to_string(),
        }
    }
}
