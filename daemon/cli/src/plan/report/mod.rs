//! The plan as it is told: as text, as CSV, as JSON.

mod build;
mod csv;
mod text;

use serde::Serialize;

/// A plan with everything that is said of it.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) file: String,
    pub(crate) admitted: usize,
    pub(crate) refused: usize,
    pub(crate) applications: Vec<ApplicationRow>,
    pub(crate) devices: Vec<DeviceRow>,
}

/// What became of an application.
#[derive(Debug, Serialize)]
pub(crate) struct ApplicationRow {
    pub(crate) application: String,
    pub(crate) model: String,
    #[serde(flatten)]
    pub(crate) asked: Asked,
    pub(crate) admitted: bool,
    /// `null` where it was refused.
    pub(crate) device: Option<String>,
    /// The mode at its admission; a later one may have changed it.
    pub(crate) multiplexing: Option<&'static str>,
    /// What each device said.
    pub(crate) offers: Vec<OfferRow>,
}

/// The part of the terms that predictions are held against.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Asked {
    pub(crate) rate_hz: f64,
    pub(crate) latency_ms: Option<f64>,
    /// `null` where the mean must keep the latency, or nothing has to.
    pub(crate) quantile: Option<f64>,
    #[serde(skip)]
    pub(crate) words: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfferRow {
    pub(crate) device: String,
    pub(crate) admitted: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) largest_rate_hz: Option<f64>,
    pub(crate) smallest_latency_ms: Option<f64>,
    /// In words; none where nothing else was looked for.
    #[serde(skip)]
    pub(crate) alternatives: Option<Vec<String>>,
}

/// A device with its sessions.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceRow {
    pub(crate) device: String,
    pub(crate) kind: &'static str,
    pub(crate) multiplexing: &'static str,
    #[serde(skip)]
    pub(crate) mode: String,
    /// Fractions of one.
    pub(crate) utilisation: f64,
    pub(crate) processor_utilisation: f64,
    pub(crate) bus_utilisation: f64,
    /// Held by loaded models.
    pub(crate) memory_bytes: u64,
    pub(crate) memory_peak_bytes: u64,
    /// `null` where the file names none.
    pub(crate) memory_capacity_bytes: Option<u64>,
    pub(crate) method: &'static str,
    #[serde(skip)]
    pub(crate) method_words: String,
    pub(crate) known_error: Errors,
    /// Three standard errors of the simulation beside it.
    pub(crate) simulated_error: Option<Errors>,
    pub(crate) sessions: Vec<SessionRow>,
}

/// Relative errors, as fractions of one.
#[derive(Debug, Serialize)]
pub(crate) struct Errors {
    pub(crate) mean: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    #[serde(skip)]
    pub(crate) words: String,
}

/// One session's prediction.
#[derive(Debug, Serialize)]
pub(crate) struct SessionRow {
    pub(crate) session: String,
    #[serde(flatten)]
    pub(crate) asked: Asked,
    #[serde(flatten)]
    pub(crate) predicted: Figures,
    /// How far the objective's statistic stays below it, as a fraction of it.
    pub(crate) slack: Option<f64>,
    /// Whether it does with the known error on top; `null` for best effort.
    pub(crate) holds: Option<bool>,
    pub(crate) simulated: Option<Figures>,
    /// How far the prediction is above the simulation, as a fraction of that.
    pub(crate) difference: Option<Differences>,
}

/// Latency in ms.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Differences {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
}
