//! Counts and times of one session since it was loaded, as the protocol reports them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgemux_runtime_api::runtime::Timing;

/// How often something happened and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

impl Total {
    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.ns = self.ns.saturating_add(ns);
    }

    /// Milliseconds on average; 0 before the first.
    pub fn mean_ms(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.ns as f64 / self.count as f64 / 1e6 }
    }
}

/// One session's counts and times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests that were answered, arrival to answer.
    pub success: Total,
    /// Inferences that answered them: several requests may run together.
    pub executions: u64,
    /// Requests that were not, arrival to answer.
    pub fail: Total,
    /// Waiting for the device.
    pub queue: Total,
    /// Inputs to the device.
    pub compute_input: Total,
    /// On the device.
    pub compute_infer: Total,
    /// Outputs from the device.
    pub compute_output: Total,
    /// Milliseconds since the Unix epoch at the last success; 0 before the first.
    pub last_inference_ms: u64,
}

impl Statistics {
    /// A request was answered.
    pub fn succeeded(&mut self, waited: Duration, took: Duration, timing: Timing) {
        self.executions += 1;
        self.succeeded_beside(waited, took, timing);
    }

    /// A request was answered that ran in another's inference.
    pub fn succeeded_beside(&mut self, waited: Duration, took: Duration, timing: Timing) {
        self.success.add(nanoseconds(took));
        self.queue.add(nanoseconds(waited));
        self.compute_input.add(timing.input_ns);
        self.compute_infer.add(timing.infer_ns);
        self.compute_output.add(timing.output_ns);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_inference_ms = now.as_millis() as u64;
    }

    /// A request was not answered.
    pub fn failed(&mut self, took: Duration) {
        self.fail.add(nanoseconds(took));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_counts_once_in_every_stage_and_a_failure_in_none() {
        let mut statistics = Statistics::default();
        let timing = Timing { input_ns: 1, infer_ns: 20, reload_ns: 5, output_ns: 300 };
        statistics.succeeded(Duration::from_nanos(7), Duration::from_nanos(400), timing);
        statistics.failed(Duration::from_nanos(9));
        assert_eq!(statistics.success, Total { count: 1, ns: 400 });
        assert_eq!(statistics.fail, Total { count: 1, ns: 9 });
        assert_eq!(statistics.queue, Total { count: 1, ns: 7 });
        assert_eq!(statistics.compute_output, Total { count: 1, ns: 300 });
        assert!(statistics.last_inference_ms > 0);
    }

    #[test]
    fn a_mean_of_nothing_is_nothing() {
        assert_eq!(Total::default().mean_ms(), 0.0);
    }
}
