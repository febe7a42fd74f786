//! What was seen.

use super::sketch::Sketch;

/// What a run has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Of each session, in the order of the system.
    pub sessions: Vec<Observed>,
    /// Fraction of the time in which the device was busy.
    pub utilisation: f64,
    /// Inferences in service, averaged over time.
    pub in_service: f64,
    /// Whether the system keeps up with what arrives, as far as the run can tell: it held fewer than
    /// [`super::BACKLOG_MAX`] requests, and of the n that were measured no more than √n + n/500 were dropped or added to
    /// the backlog. The backlog is taken at its lowest in the first and in the last sixteenth of the run, which a stable
    /// system's returns to however bursty its arrivals are. Where a single session is overloaded all is unstable.
    pub stable: bool,
}

/// What a run has shown of one session: of the requests that arrived while it was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Requests that arrived.
    pub arrived: u64,
    /// Of these: completed.
    pub completed: u64,
    /// Turned away by policing.
    pub refused: u64,
    /// Found the queue full.
    pub dropped: u64,
    /// Still inside at the end.
    pub inside: u64,
    /// Of those let in: beyond the terms, and run as best effort.
    pub demoted: u64,
    /// Inferences begun, each for a batch of one or more.
    pub inferences: u64,
    /// Requests in these.
    pub batched: u64,
    /// Of these inferences: those that found their parameters dropped, on a device that reloads.
    pub reloads: u64,
    /// From arrival to the very end.
    pub sojourn: Sketch,
    /// How sure the sojourn's figures are.
    pub errors: StandardErrors,
}

/// Standard errors of the sojourn's figures in seconds, from 16 consecutive batches of the run; infinite where fewer than
/// two of them saw a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandardErrors {
    /// Of the mean.
    pub mean: f64,
    /// Of the median.
    pub p50: f64,
    /// Of the 95th percentile.
    pub p95: f64,
    /// Of the 99th percentile.
    pub p99: f64,
}

impl Observed {
    /// Mean number of requests in an inference; none without inferences.
    #[must_use]
    pub fn batch_mean(&self) -> Option<f64> {
        (self.inferences > 0).then(|| self.batched as f64 / self.inferences as f64)
    }
}

impl Default for StandardErrors {
    fn default() -> Self {
        Self { mean: f64::INFINITY, p50: f64::INFINITY, p95: f64::INFINITY, p99: f64::INFINITY }
    }
}
