//! What became of the requests: latencies in a histogram, errors by their code.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

use super::result::LatencySummary;
use super::sender::Failure;

/// Nanoseconds from one up to an hour, to three digits.
const NS_MAX: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// How often requests failed with one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorCount {
    pub(crate) count: u64,
    /// The first of them, in the server's words.
    pub(crate) message: String,
}

/// Figures of the requests so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

/// Shared by all requests of one model.
#[derive(Debug)]
pub(crate) struct Recorder {
    records: Mutex<Records>,
}

#[derive(Debug)]
pub(super) struct Records {
    pub(super) counts: Counts,
    latency: Histogram<u64>,
    delay: Histogram<u64>,
    pub(super) errors: BTreeMap<String, ErrorCount>,
    pub(super) last: Option<Instant>,
}

// === impl Recorder ===

impl Recorder {
    pub(crate) fn new() -> Result<Self, CreationError> {
        let histogram = || Histogram::new_with_bounds(1, NS_MAX, DIGITS);
        let records = Records {
            counts: Counts::default(),
            latency: histogram()?,
            delay: histogram()?,
            errors: BTreeMap::new(),
            last: None,
        };
        Ok(Self { records: Mutex::new(records) })
    }

    /// Notes a request that was due at `due`, left at `sent` and ended at `now`. Latencies are those of successes: an error
    /// that comes at once would only flatter them.
    pub(super) fn record(&self, due: Instant, sent: Instant, now: Instant, ended: Result<(), Failure>) {
        let mut records = self.lock();
        records.delay.saturating_record(ns(sent - due));
        records.last = records.last.max(Some(now));
        match ended {
            Ok(()) => {
                records.counts.succeeded += 1;
                records.latency.saturating_record(ns(now - due));
            }
            Err(failure) => {
                records.counts.failed += 1;
                let error = ErrorCount { count: 0, message: failure.message };
                records.errors.entry(failure.code).or_insert(error).count += 1;
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The share of all requests that were answered within so many milliseconds of the moment they were due; absent before
    /// the first has ended. One that failed was not.
    pub(crate) fn share_within(&self, latency_ms: f64) -> Option<f64> {
        let records = self.lock();
        let all = records.counts.succeeded + records.counts.failed;
        let within = records.latency.count_between(0, (latency_ms * 1e6) as u64);
        (all > 0).then(|| within.min(all) as f64 / all as f64)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Records> {
        // Counters are whole after every step: a panic elsewhere does not spoil them.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Records ===

impl Records {
    /// From due to answered.
    pub(super) fn latency(&self) -> LatencySummary {
        summary(&self.latency)
    }

    /// From due to sent.
    pub(super) fn delay(&self) -> LatencySummary {
        summary(&self.delay)
    }
}

fn summary(of: &Histogram<u64>) -> LatencySummary {
    let ms = |ns: f64| (!of.is_empty()).then_some(ns / 1e6);
    let quantile = |quantile| ms(of.value_at_quantile(quantile) as f64);
    LatencySummary {
        mean: ms(of.mean()),
        p50: quantile(0.5),
        p95: quantile(0.95),
        p99: quantile(0.99),
        max: ms(of.max() as f64),
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_moment_a_request_was_due() {
        let recorder = Recorder::new().unwrap();
        let due = Instant::now();
        for ms in 1..=100 {
            let sent = due + Duration::from_millis(40);
            recorder.record(due, sent, sent + Duration::from_millis(ms), Ok(()));
        }
        let records = recorder.lock();
        let (latency, delay) = (records.latency(), records.delay());
        for (value, wanted) in
            [(latency.p50, 90.0), (latency.p99, 139.0), (latency.max, 140.0), (delay.p50, 40.0)]
        {
            assert!((value.unwrap() - wanted).abs() < 0.2, "{value:?} {wanted}");
        }
    }

    #[test]
    fn a_request_that_failed_kept_no_objective() {
        let recorder = Recorder::new().unwrap();
        assert_eq!(recorder.share_within(50.0), None);
        let due = Instant::now();
        for ms in [10, 20, 80] {
            recorder.record(due, due, due + Duration::from_millis(ms), Ok(()));
        }
        recorder.record(due, due, due, Err(Failure::new("UNAVAILABLE", "gone")));
        assert_eq!(recorder.share_within(50.0), Some(0.5));
    }

    #[test]
    fn errors_are_counted_by_code_and_keep_the_first_message() {
        let recorder = Recorder::new().unwrap();
        let now = Instant::now();
        for (code, message) in
            [("UNAVAILABLE", "gone"), ("UNAVAILABLE", "still gone"), ("NOT_FOUND", "what?")]
        {
            recorder.record(now, now, now, Err(Failure::new(code, message)));
        }
        let records = recorder.lock();
        assert_eq!(records.counts.failed, 3);
        assert_eq!(records.errors["UNAVAILABLE"], ErrorCount { count: 2, message: "gone".into() });
        assert_eq!(records.latency().p50, None);
    }
}
