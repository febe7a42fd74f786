//! Sessions as they are told.

use serde::Serialize;

use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};
use crate::view::{Latency, Session, Terms};

/// All sessions.
#[derive(Debug, Serialize)]
pub(super) struct Sessions {
    pub(super) sessions: Vec<Session>,
}

// === impl Report for Sessions ===

impl Report for Sessions {
    fn text(&self) -> String {
        if self.sessions.is_empty() {
            return "no sessions: load a model with `edgemux load NAME` (`edgemux models` lists them)\n"
                .to_owned();
        }
        let mut text = load(&self.sessions).to_string();
        let promised: Vec<&Session> = self
            .sessions
            .iter()
            .filter(|session| session.terms.as_ref().is_some_and(Terms::is_guaranteed))
            .collect();
        if !promised.is_empty() {
            text.push_str(&format!("\n{}", promises(&promised)));
        }
        for session in promised.iter().filter(|session| session.slo_at_risk) {
            text.push_str(&format!("\n{} is at risk: {}\n", session.id, session.at_risk_reason));
        }
        text
    }
}

fn load(sessions: &[Session]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("SESSION"),
        left("DEVICE"),
        left("RUNTIME"),
        left("STATE"),
        left("TERMS"),
        right("RATE/s"),
        right("QUEUED"),
        right("DONE"),
        right("FAILED"),
        right("POLICED"),
        right("QUEUE ms"),
        right("SERVICE ms"),
        right("MEMORY"),
        right("CRASHES"),
        left("REASON"),
    ]);
    for session in sessions {
        table.push([
            session.title(),
            session.device.clone(),
            session.runtime.clone(),
            session.state.to_owned(),
            session.terms_text(),
            format::rate(session.observed_rate_hz),
            session.queued.to_string(),
            session.succeeded.to_string(),
            session.failed.to_string(),
            session.policed_text(),
            format::ms(Some(session.mean_queue_ms)),
            format::ms(Some(session.mean_service_ms)),
            format::bytes(session.memory_bytes),
            session.crashes.to_string(),
            session.reason.clone(),
        ]);
    }
    table
}

/// What was predicted, over what was seen.
fn promises(sessions: &[&Session]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("SESSION"),
        left("OBJECTIVE"),
        left("LATENCY ms"),
        right("P50"),
        right("P95"),
        right("P99"),
        right("KEPT"),
        right("COVERAGE"),
        right("MARGIN"),
        right("SAMPLES"),
        left("AT RISK"),
    ]);
    for session in sessions {
        let mut predicted = vec![
            session.id.clone(),
            session.terms.as_ref().and_then(Terms::objective).unwrap_or_default(),
            "predicted".to_owned(),
        ];
        predicted.extend(quantiles(session.predicted));
        predicted.extend([
            session.kept_text(),
            session.coverage.map_or_else(|| "-".to_owned(), format::share),
            session.margin.map_or_else(|| "-".to_owned(), |margin| format!("×{margin:.2}")),
            session.observed_samples.to_string(),
            if session.slo_at_risk { "yes" } else { "no" }.to_owned(),
        ]);
        table.push(predicted);
        let observed = [String::new(), String::new(), "observed".to_owned()];
        table.push(observed.into_iter().chain(quantiles(session.observed)));
    }
    table
}

fn quantiles(of: Option<Latency>) -> [String; 3] {
    [of.map(|of| of.p50_ms), of.map(|of| of.p95_ms), of.map(|of| of.p99_ms)].map(format::ms)
}
