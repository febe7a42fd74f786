//! The server's own account of a model: how long requests waited, and how long they were served.

use std::time::Duration;

use edgemux_proto::inference::{InferStatistics, StatisticDuration};
use serde::Serialize;

use crate::client::Client;
use crate::model::ModelInfo;

/// Totals since the model was loaded, or between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ServerTimes {
    pub(crate) requests: u64,
    queue_ns: u64,
    service_ns: u64,
}

/// Mean times on the server, in milliseconds; absent where it keeps no statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ServerMeans {
    /// In the session's queue.
    pub(crate) queue_ms: Option<f64>,
    /// On the device, copies in and out included.
    pub(crate) service_ms: Option<f64>,
}

/// Reads the totals; zero where the server keeps none.
pub(crate) async fn server_times(client: &Client, model: &ModelInfo) -> ServerTimes {
    let statistics = client.model_statistics(&model.name, &model.version).await.unwrap_or_default();
    let of_model = statistics.into_iter().filter_map(|entry| entry.inference_stats);
    of_model.map(|stats| ServerTimes::of(&stats)).fold(ServerTimes::default(), ServerTimes::plus)
}

// === impl ServerTimes ===

impl ServerTimes {
    fn of(stats: &InferStatistics) -> Self {
        let ns = |duration: &Option<StatisticDuration>| duration.as_ref().map_or(0, |duration| duration.ns);
        Self {
            requests: stats.success.as_ref().map_or(0, |success| success.count),
            queue_ns: ns(&stats.queue),
            service_ns: ns(&stats.compute_input) + ns(&stats.compute_infer) + ns(&stats.compute_output),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            queue_ns: self.queue_ns + other.queue_ns,
            service_ns: self.service_ns + other.service_ns,
        }
    }

    /// What came after an earlier reading. A model loaded anew counts from zero.
    pub(crate) fn since(self, before: &Self) -> Self {
        if self.requests < before.requests {
            return self;
        }
        Self {
            requests: self.requests - before.requests,
            queue_ns: self.queue_ns.saturating_sub(before.queue_ns),
            service_ns: self.service_ns.saturating_sub(before.service_ns),
        }
    }

    fn mean_ms(&self, ns: u64) -> Option<f64> {
        (self.requests > 0).then(|| ns as f64 / 1e6 / self.requests as f64)
    }

    pub(crate) fn means(&self) -> ServerMeans {
        ServerMeans { queue_ms: self.mean_ms(self.queue_ns), service_ms: self.mean_ms(self.service_ns) }
    }

    /// The part of `elapsed` for which the model kept its device busy.
    pub(crate) fn utilisation(&self, elapsed: Duration) -> f64 {
        if elapsed.is_zero() { 0.0 } else { self.service_ns as f64 / elapsed.as_nanos() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_what_happened_between_two_readings() {
        let before = ServerTimes { requests: 10, queue_ns: 50_000_000, service_ns: 20_000_000 };
        let after = ServerTimes { requests: 14, queue_ns: 58_000_000, service_ns: 32_000_000 };
        let between = after.since(&before);
        assert_eq!(between.means(), ServerMeans { queue_ms: Some(2.0), service_ms: Some(3.0) });
        assert!((between.utilisation(Duration::from_millis(24)) - 0.5).abs() < 1e-9);
        assert_eq!(before.since(&after), before, "loaded anew");
        assert_eq!(after.since(&after).means().queue_ms, None);
    }
}
