//! What a session declares: rate, objective, priority, kinds of device. Without a rate it runs as best effort.

use edgemux_runtime_api::runtime::DeviceKind;
use serde::Deserialize;

/// Terms of a session, as `model.toml` writes them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Terms {
    /// The version wanted; none means the newest.
    pub version: Option<u64>,
    /// Requests per second, above 0, at most 1,000,000.
    pub rate_hz: Option<f64>,
    /// Requests that may come at once, at least 1.
    pub burst: Option<f64>,
    /// The latency to be kept.
    pub objective: Option<Objective>,
    /// 1 is served first, larger numbers later, 0 last.
    pub priority: u32,
    /// Kinds of device it may run on; none means any.
    pub devices: Vec<DeviceKind>,
}

/// A latency objective.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Objective {
    /// In (0, 1); absent means the mean.
    pub quantile: Option<f64>,
    /// Milliseconds, above 0.
    pub latency_ms: f64,
}

/// Terms that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key} = {value}: {want}")]
pub struct TermsError {
    key: &'static str,
    value: f64,
    want: &'static str,
}

impl Terms {
    /// Checks every range.
    pub fn check(&self) -> Result<(), TermsError> {
        let check = |key, value: Option<f64>, max: f64, at_least_one: bool, want| match value {
            // Written so that NaN is out of range.
            Some(value) if !(value > 0.0 && value <= max && (!at_least_one || value >= 1.0)) => {
                Err(TermsError { key, value, want })
            }
            _ => Ok(()),
        };
        check("rate-hz", self.rate_hz, 1e6, false, "above 0, at most 1000000 requests per second")?;
        check("burst", self.burst, 1e6, true, "1 to 1000000 requests")?;
        if let Some(Objective { quantile, latency_ms }) = self.objective {
            check("latency-ms", Some(latency_ms), 1e9, false, "above 0, at most 1000000000 milliseconds")?;
            let below_one = 1.0 - f64::EPSILON;
            check("quantile", quantile, below_one, false, "above 0 and below 1")?;
        }
        Ok(())
    }
}
