//! What latency is to be kept.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A latency objective: of a quantile, or of the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyObjective {
    /// The latency, from the node's daemon having the request to its having the answer; microseconds.
    #[schemars(range(min = 1, max = 3_600_000_000_i64))]
    pub latency_micros: i64,
    /// Of which quantile, in thousandths: 990 is p99. Absent: of the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999))]
    pub quantile_permille: Option<i64>,
}

/// Latency as it is predicted or was seen; microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Mean.
    pub mean_micros: i64,
    /// Median.
    pub p50_micros: i64,
    /// 95th percentile.
    pub p95_micros: i64,
    /// 99th percentile.
    pub p99_micros: i64,
}
