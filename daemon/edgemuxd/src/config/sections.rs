//! The tables of the configuration that are about the whole node.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, range, within};

/// Bounds on what is held and taken in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the longest gRPC message taken in; 4 KiB to 2 GiB.
    pub message_bytes: usize,
    /// Requests of one session that may wait; 1 to 1,000,000.
    pub queue_requests: usize,
    /// Streams that one connection may have open; 1 to 100,000.
    pub streams_per_connection: u32,
    /// Requests of one stream that may be under way; 1 to 100,000.
    pub requests_per_stream: usize,
    /// Shared memory regions that may be registered; 1 to 1,000,000.
    pub shared_memory_regions: usize,
    /// Connections that may be open on all sockets together; 1 to 100,000.
    pub connections: usize,
    /// Clients' requests that may be under way on the whole node; 1 to 1,000,000.
    pub requests: usize,
}

/// When a worker or a model is given up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Supervision {
    /// Crashes after which a model is quarantined; 1 to 1000.
    pub crash_limit: usize,
    /// The time within which they count, in seconds; 1 to 10,000,000.
    pub crash_window_s: f64,
    /// A request on the device for longer than this is a hung device, in seconds; 0.01 to 86,400.
    pub hang_timeout_s: f64,
    /// So is one that takes so many times what its session's requests take, and at least a tenth of that time; 2 to 1e6.
    pub hang_factor: f64,
    /// A model that takes longer to load is given up, in seconds; 0.1 to 86,400.
    pub load_timeout_s: f64,
    /// Requests that a session runs before it is ready; 0 to 1000.
    pub warm_up_requests: u32,
}

/// How newcomers are decided about.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Admission {
    /// The most that a device may be busy under the declared rates; above 0, below 1.
    pub utilisation_max: f64,
    /// Standard errors by which uncertain times are taken longer; 0 to 10.
    pub deviations: f64,
    /// Requests of the longest simulation where formulas do not decide; 0 refuses such newcomers; at most 100,000,000.
    pub simulated_requests: u64,
    /// How long a reservation is held if it does not say, in seconds; 1 to 86,400.
    pub reservation_ttl_s: f64,
    /// What becomes of a tenant whose objective is no longer predicted to hold.
    pub at_risk: AtRisk,
}

/// What becomes of a tenant whose objective is no longer predicted to hold. Nobody is ever evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtRisk {
    /// It is marked.
    Mark,
    /// It is marked, and runs as best effort until its objective is predicted to hold again.
    Demote,
}

/// How costs are learned.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Calibration {
    /// Inferences by which a model that was never seen on a device is measured before it is decided about; 1 to 1000.
    pub trial_requests: u32,
    /// The longest that such a measurement goes on, in seconds; 0.01 to 600.
    pub trial_s: f64,
    /// How often what was learned is saved, in seconds; 1 to 86,400.
    pub save_period_s: f64,
}

/// What is told of requests to others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where traces go, by OTLP over gRPC: `http://HOST:PORT`. None are made without it.
    pub otlp_endpoint: Option<String>,
    /// Share of requests that are traced whose callers have not said; 0 to 1.
    pub trace_share: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            queue_requests: 256,
            streams_per_connection: 1024,
            requests_per_stream: 256,
            shared_memory_regions: 1024,
            connections: 1024,
            requests: 8192,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, trace_share: 0.01 }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            crash_limit: 3,
            crash_window_s: 600.0,
            hang_timeout_s: 30.0,
            hang_factor: 100.0,
            load_timeout_s: 300.0,
            warm_up_requests: 2,
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            utilisation_max: 0.95,
            deviations: 2.0,
            simulated_requests: 1_600_000,
            reservation_ttl_s: 60.0,
            at_risk: AtRisk::Mark,
        }
    }
}

impl Default for Calibration {
    fn default() -> Self {
        Self { trial_requests: 16, trial_s: 5.0, save_period_s: 30.0 }
    }
}

impl Supervision {
    /// [`Self::hang_timeout_s`] as a duration.
    pub fn hang_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.hang_timeout_s)
    }

    /// How long a request may be on the device, given what its session's take on average, if that is known.
    pub fn patience(&self, expected: Option<Duration>) -> Duration {
        let most = self.hang_timeout();
        match expected {
            Some(expected) => {
                let times = Duration::try_from_secs_f64(expected.as_secs_f64() * self.hang_factor);
                times.unwrap_or(most).clamp(most / 10, most)
            }
            None => most,
        }
    }

    /// [`Self::load_timeout_s`] as a duration.
    pub fn load_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.load_timeout_s)
    }

    /// [`Self::crash_window_s`] as a duration.
    pub fn crash_window(&self) -> Duration {
        Duration::from_secs_f64(self.crash_window_s)
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("limits.message-bytes", self.message_bytes, 4096, 1 << 31, "4096 to 2147483648 bytes")?;
        within("limits.queue-requests", self.queue_requests, 1, 1_000_000, "1 to 1000000")?;
        within("limits.streams-per-connection", self.streams_per_connection, 1, 100_000, "1 to 100000")?;
        within("limits.requests-per-stream", self.requests_per_stream, 1, 100_000, "1 to 100000")?;
        within("limits.shared-memory-regions", self.shared_memory_regions, 1, 1_000_000, "1 to 1000000")?;
        within("limits.connections", self.connections, 1, 100_000, "1 to 100000")?;
        within("limits.requests", self.requests, 1, 1_000_000, "1 to 1000000")
    }
}

impl Supervision {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("supervision.crash-limit", self.crash_limit, 1, 1000, "1 to 1000")?;
        within("supervision.crash-window-s", self.crash_window_s, 1.0, 1e7, "1 to 10000000 seconds")?;
        within("supervision.hang-timeout-s", self.hang_timeout_s, 0.01, 86_400.0, "0.01 to 86400 seconds")?;
        within("supervision.hang-factor", self.hang_factor, 2.0, 1e6, "2 to 1000000")?;
        within("supervision.load-timeout-s", self.load_timeout_s, 0.1, 86_400.0, "0.1 to 86400 seconds")?;
        within("supervision.warm-up-requests", self.warm_up_requests, 0, 1000, "0 to 1000")
    }
}

impl Admission {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let want = "above 0 and below 1";
        within("admission.utilisation-max", self.utilisation_max, 1e-6, 1.0 - 1e-6, want)?;
        within("admission.deviations", self.deviations, 0.0, 10.0, "0 to 10 standard errors")?;
        within("admission.simulated-requests", self.simulated_requests, 0, 100_000_000, "0 to 100000000")?;
        within("admission.reservation-ttl-s", self.reservation_ttl_s, 1.0, 86_400.0, "1 to 86400 seconds")
    }
}

impl Calibration {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("calibration.trial-requests", self.trial_requests, 1, 1000, "1 to 1000")?;
        within("calibration.trial-s", self.trial_s, 0.01, 600.0, "0.01 to 600 seconds")?;
        within("calibration.save-period-s", self.save_period_s, 1.0, 86_400.0, "1 to 86400 seconds")
    }
}

impl Telemetry {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.otlp_endpoint {
            let uri = endpoint.parse::<tonic::codegen::http::Uri>();
            if !uri.is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some()) {
                return range("telemetry.otlp-endpoint", endpoint, "an address like http://127.0.0.1:4317");
            }
        }
        within("telemetry.trace-share", self.trace_share, 0.0, 1.0, "0 to 1")
    }
}
