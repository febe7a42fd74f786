//! `edgemux sessions`: the models that are loaded, and how they fare.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::objective::Statistic;
use serde::Serialize;

use super::{Context, Outcome};
use crate::error::Error;
use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};

/// List the sessions: their state, terms, load and times
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// All sessions.
#[derive(Debug, Serialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Debug, Serialize)]
struct Session {
    /// `MODEL/VERSION`
    id: String,
    model: String,
    version: String,
    device: String,
    runtime: String,
    /// `loading`, `warming`, `ready`, `draining`, `gone`, `failed`
    state: &'static str,
    /// Why it failed; empty otherwise.
    reason: String,
    /// Absent for best effort.
    terms: Option<Terms>,
    queued: u32,
    in_service: u32,
    succeeded: u64,
    failed: u64,
    memory_bytes: u64,
    mean_queue_ms: f64,
    mean_service_ms: f64,
    /// Crashes of the worker put down to this session.
    crashes: u32,
}

#[derive(Debug, Serialize)]
struct Terms {
    rate_hz: f64,
    burst: f64,
    priority: u32,
    /// Absent where the session has no objective.
    latency_ms: Option<f64>,
    /// The quantile that must keep `latency_ms`; absent where the mean must, or nothing.
    quantile: Option<f64>,
}

pub(crate) async fn run(_: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let sessions = context.connect().await?.sessions().await?;
    context.output.report(&Sessions { sessions: sessions.into_iter().map(Session::from_wire).collect() })?;
    Ok(Outcome::Done)
}

// === impl Session ===

impl Session {
    fn from_wire(wire: v1::Session) -> Self {
        Self {
            state: state(wire.state()),
            id: wire.id,
            model: wire.model,
            version: wire.version,
            device: wire.device,
            runtime: wire.runtime,
            reason: wire.reason,
            terms: wire.terms.and_then(Terms::from_wire),
            queued: wire.queued,
            in_service: wire.in_service,
            succeeded: wire.succeeded,
            failed: wire.failed,
            memory_bytes: wire.memory_bytes,
            mean_queue_ms: wire.mean_queue_ms,
            mean_service_ms: wire.mean_service_ms,
            crashes: wire.crashes,
        }
    }
}

/// The name of a session's state.
pub(super) fn state(state: v1::SessionState) -> &'static str {
    match state {
        v1::SessionState::Unspecified => "unknown",
        v1::SessionState::Loading => "loading",
        v1::SessionState::Warming => "warming",
        v1::SessionState::Ready => "ready",
        v1::SessionState::Draining => "draining",
        v1::SessionState::Gone => "gone",
        v1::SessionState::Failed => "failed",
    }
}

// === impl Terms ===

impl Terms {
    /// Terms that declare nothing are those of best effort.
    fn from_wire(wire: v1::Terms) -> Option<Self> {
        let objective = wire.objective.filter(|objective| objective.latency_ms > 0.0);
        if wire.rate_hz == 0.0 && objective.is_none() && wire.priority == 0 {
            return None;
        }
        let quantile = objective.as_ref().and_then(|objective| match objective.statistic {
            Some(Statistic::Quantile(quantile)) => Some(quantile),
            _ => None,
        });
        let latency_ms = objective.map(|objective| objective.latency_ms);
        Some(Self { rate_hz: wire.rate_hz, burst: wire.burst, priority: wire.priority, latency_ms, quantile })
    }

    /// `20.0/s, p99 <= 50.00 ms`
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if self.rate_hz > 0.0 {
            parts.push(format!("{}/s", format::rate(self.rate_hz)));
        }
        if let Some(latency_ms) = self.latency_ms {
            let statistic =
                self.quantile.map_or_else(|| "mean".to_owned(), |q| format!("p{}", (q * 1e6).round() / 1e4));
            parts.push(format!("{statistic} <= {} ms", format::ms(Some(latency_ms))));
        }
        if self.priority > 0 {
            parts.push(format!("priority {}", self.priority));
        }
        parts.join(", ")
    }
}

// === impl Report for Sessions ===

impl Report for Sessions {
    fn text(&self) -> String {
        if self.sessions.is_empty() {
            return "no sessions: load a model with `edgemux load NAME` (`edgemux models` lists them)\n"
                .to_owned();
        }
        let right = |title| (title, Align::Right);
        let left = |title| (title, Align::Left);
        let mut table = Table::new(&[
            left("SESSION"),
            left("DEVICE"),
            left("RUNTIME"),
            left("STATE"),
            left("TERMS"),
            right("QUEUED"),
            right("DONE"),
            right("FAILED"),
            right("QUEUE ms"),
            right("SERVICE ms"),
            right("MEMORY"),
            right("CRASHES"),
            left("REASON"),
        ]);
        for session in &self.sessions {
            table.push([
                session.id.clone(),
                session.device.clone(),
                session.runtime.clone(),
                session.state.to_owned(),
                session.terms.as_ref().map_or_else(|| "best effort".to_owned(), Terms::text),
                session.queued.to_string(),
                session.succeeded.to_string(),
                session.failed.to_string(),
                format::ms(Some(session.mean_queue_ms)),
                format::ms(Some(session.mean_service_ms)),
                format::bytes(session.memory_bytes),
                session.crashes.to_string(),
                session.reason.clone(),
            ]);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_read_as_what_was_promised() {
        let objective = v1::Objective { statistic: Some(Statistic::Quantile(0.99)), latency_ms: 50.0 };
        let terms = v1::Terms { rate_hz: 20.0, objective: Some(objective), ..Default::default() };
        assert_eq!(Terms::from_wire(terms).unwrap().text(), "20.0/s, p99 <= 50.00 ms");
        let objective = v1::Objective { statistic: Some(Statistic::Mean(true)), latency_ms: 5.0 };
        let terms = v1::Terms { rate_hz: 1.0, objective: Some(objective), priority: 2, ..Default::default() };
        assert_eq!(Terms::from_wire(terms).unwrap().text(), "1.0/s, mean <= 5.00 ms, priority 2");
        assert!(Terms::from_wire(v1::Terms { model: "m".into(), ..Default::default() }).is_none());
    }
}
