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
    /// What becomes of requests beyond rate and burst.
    pub excess: Excess,
    /// Requests run together; none runs each alone.
    pub batching: Option<Batching>,
}

/// What becomes of requests beyond the terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Excess {
    /// They are refused, with the time after which to try again.
    #[default]
    Refuse,
    /// They run when no guaranteed request waits.
    BestEffort,
}

/// Requests of one session run together.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Batching {
    /// Most requests in one inference, 2 to 1024.
    pub size_max: u32,
    /// The longest that a request waits for others while the device is free, milliseconds; 0 takes what is there. Absent:
    /// half of what the objective leaves room for.
    pub delay_max_ms: Option<f64>,
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

/// What an objective is about, in short: `mean`, `p99`, `p99.9`.
pub fn statistic_name(quantile: Option<f64>) -> String {
    match quantile {
        // Quantiles are written with few digits: rounding takes binary's rest off again.
        Some(quantile) => format!("p{}", (quantile * 1e6).round() / 1e4),
        None => "mean".to_owned(),
    }
}

/// Terms that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TermsError {
    /// A number out of its range.
    #[error("{key} = {value}: {want}")]
    Range {
        /// Its key.
        key: &'static str,
        /// What was given.
        value: f64,
        /// What it may be.
        want: &'static str,
    },
    /// Nobody can say what latency requests of unknown number will have.
    #[error("an objective needs a rate: say at most how many requests per second are sent (rate-hz)")]
    ObjectiveWithoutRate,
}

/// The burst that a session may send if its terms name none: what Poisson arrivals at the declared rate stay within, bar one
/// request in a thousand.
const BURST: f64 = 50.0;

impl Terms {
    /// Checks every range.
    pub fn check(&self) -> Result<(), TermsError> {
        let check = |key, value: Option<f64>, max: f64, at_least_one: bool, want| match value {
            // Written so that NaN is out of range.
            Some(value) if !(value > 0.0 && value <= max && (!at_least_one || value >= 1.0)) => {
                Err(TermsError::Range { key, value, want })
            }
            _ => Ok(()),
        };
        check("rate-hz", self.rate_hz, 1e6, false, "above 0, at most 1000000 requests per second")?;
        check("burst", self.burst, 1e6, true, "1 to 1000000 requests")?;
        if let Some(Objective { quantile, latency_ms }) = self.objective {
            check("latency-ms", Some(latency_ms), 1e9, false, "above 0, at most 1000000000 milliseconds")?;
            let below_one = 1.0 - f64::EPSILON;
            check("quantile", quantile, below_one, false, "above 0 and below 1")?;
            if self.rate_hz.is_none() {
                return Err(TermsError::ObjectiveWithoutRate);
            }
        }
        if let Some(Batching { size_max, delay_max_ms }) = self.batching {
            let size = f64::from(size_max);
            if !(2..=1024).contains(&size_max) {
                return Err(TermsError::Range { key: "size-max", value: size, want: "2 to 1024 requests" });
            }
            // 0 is a delay too.
            check(
                "delay-max-ms",
                delay_max_ms.map(|delay| delay + 1e-9),
                1e6,
                false,
                "0 to 1000000 milliseconds",
            )?;
        }
        Ok(())
    }

    /// The guarantee that is asked for: rate in requests per second, and objective. None is best effort.
    pub fn guarantee(&self) -> Option<(f64, Objective)> {
        self.rate_hz.zip(self.objective)
    }

    /// Requests that may come at once.
    pub fn burst(&self) -> f64 {
        self.burst.unwrap_or(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statistic_is_named_without_binarys_rest() {
        for (quantile, name) in [
            (None, "mean"),
            (Some(0.5), "p50"),
            (Some(0.29), "p29"),
            (Some(0.99), "p99"),
            (Some(0.999), "p99.9"),
        ] {
            assert_eq!(statistic_name(quantile), name);
        }
    }
}
