//! The figures of one model's run.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::recorder::ErrorCount;
use super::server_times::{ServerMeans, ServerTimes};
use super::{Demand, Limits, Sent, Target};
use crate::format;
use crate::table::{Align, Table, printable};

/// Milliseconds; absent where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// One model's figures: what was asked, what was sent, what came back.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoadResult {
    pub(crate) model: String,
    pub(crate) version: String,
    /// Requests per second asked for; absent in closed loop.
    pub(crate) asked_rate_hz: Option<f64>,
    /// Clients in closed loop; absent in open loop.
    pub(crate) concurrency: Option<usize>,
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Failures by gRPC status (`IN_STREAM` for errors within a stream).
    pub(crate) errors: BTreeMap<String, ErrorCount>,
    /// From the start to the last answer.
    pub(crate) elapsed_s: f64,
    /// Requests sent per second while sending.
    pub(crate) achieved_rate_hz: f64,
    /// Successes per second.
    pub(crate) throughput_hz: f64,
    /// Of successes. In open loop from the moment each was due, in closed loop from its sending.
    pub(crate) latency_ms: LatencySummary,
    /// From due to sent: how late this command was.
    pub(crate) send_delay_ms: LatencySummary,
    /// The limit of requests under way at once (open loop).
    pub(crate) outstanding_limit: usize,
    /// How often a request fell due while the limit was reached.
    pub(crate) outstanding_limit_hits: u64,
    /// Requests that fell due and were never sent, because of the limit.
    pub(crate) skipped: u64,
    pub(crate) server: ServerMeans,
    /// The part of the time for which the model kept its device busy, by the server's statistics.
    pub(crate) utilisation: Option<f64>,
    #[serde(skip)]
    elapsed: std::time::Duration,
}

// === impl LoadResult ===

impl LoadResult {
    pub(super) fn new(target: &Target, limits: Limits, sent: &Sent, start: Instant) -> Self {
        let records = target.recorder.lock();
        let elapsed = records.last.map_or(sent.sending, |last| last - start).max(sent.sending);
        let per_second = |count: u64, seconds: f64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let (asked_rate_hz, concurrency, planned) = match target.demand {
            Demand::Open { rate_hz, .. } => (Some(rate_hz), None, limits.duration),
            Demand::Closed { concurrency } => (None, Some(concurrency), None),
        };
        // The schedule spans the time asked for, though its last request falls due a little before the end.
        let sending_s = sent.sending.max(planned.unwrap_or_default()).as_secs_f64();
        Self {
            model: target.model.name.clone(),
            version: target.model.version.clone(),
            asked_rate_hz,
            concurrency,
            sent: sent.requests,
            succeeded: records.counts.succeeded,
            failed: records.counts.failed,
            errors: records.errors.clone(),
            elapsed_s: elapsed.as_secs_f64(),
            achieved_rate_hz: per_second(sent.requests, sending_s),
            throughput_hz: per_second(records.counts.succeeded, elapsed.as_secs_f64().max(sending_s)),
            latency_ms: records.latency(),
            send_delay_ms: records.delay(),
            outstanding_limit: limits.outstanding,
            outstanding_limit_hits: sent.limit_hits,
            skipped: sent.skipped,
            server: ServerTimes::default().means(),
            utilisation: None,
            elapsed,
        }
    }

    /// Adds what the server's statistics say of the run.
    pub(crate) fn with_server(mut self, times: &ServerTimes) -> Self {
        self.server = times.means();
        self.utilisation = (times.requests > 0).then(|| times.utilisation(self.elapsed));
        self
    }

    /// The table of several models, and what has to be said besides.
    pub(crate) fn table(results: &[Self]) -> String {
        let right = |title| (title, Align::Right);
        let open = results.iter().any(|result| result.asked_rate_hz.is_some());
        let mut table = Table::new(&[
            ("SESSION", Align::Left),
            right(if open { "ASKED/s" } else { "CLIENTS" }),
            right("SENT/s"),
            right("DONE/s"),
            right("MEAN ms"),
            right("P50 ms"),
            right("P95 ms"),
            right("P99 ms"),
            right("MAX ms"),
            right("QUEUE ms"),
            right("SERVICE ms"),
            right("ERRORS"),
        ]);
        for result in results {
            let latency = &result.latency_ms;
            let asked = result.asked_rate_hz.map(format::rate);
            table.push([
                format!("{}/{}", result.model, result.version),
                asked.or_else(|| result.concurrency.map(|clients| clients.to_string())).unwrap_or_default(),
                format::rate(result.achieved_rate_hz),
                format::rate(result.throughput_hz),
                format::ms(latency.mean),
                format::ms(latency.p50),
                format::ms(latency.p95),
                format::ms(latency.p99),
                format::ms(latency.max),
                format::ms(result.server.queue_ms),
                format::ms(result.server.service_ms),
                result.failed.to_string(),
            ]);
        }
        let remarks: Vec<String> = results.iter().flat_map(Self::remarks).collect();
        format!("{table}{}", remarks.concat())
    }

    /// Errors, and what limits the worth of the figures.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let session = format!("{}/{}", self.model, self.version);
        let mut remarks: Vec<String> = self
            .errors
            .iter()
            .map(|(code, error)| {
                format!(
                    "{session}: {} requests failed with {code}: {}\n",
                    error.count,
                    printable(&error.message)
                )
            })
            .collect();
        if self.outstanding_limit_hits > 0 {
            remarks.push(format!(
                "{session}: {} requests fell due while {} were under way, the limit (--max-outstanding), and left late; \
                 {} were never sent. The server cannot keep up with this rate.\n",
                self.outstanding_limit_hits, self.outstanding_limit, self.skipped
            ));
        }
        if let (Some(delay), Some(latency)) = (self.send_delay_ms.p95, self.latency_ms.p95)
            && self.outstanding_limit_hits == 0
            && delay > 0.2 * latency
            && delay > 0.5
        {
            remarks.push(format!(
                "{session}: this command was late itself: one request in twenty left more than {delay:.2} ms after it \
                 was due. The machine is too busy to measure from; use another, or a lower rate.\n"
            ));
        }
        remarks
    }
}
