//! The demo's result.

use serde::Serialize;

use super::node::{APPLICANTS, GPU, LAST};
use crate::commands::admit::Admission;
use crate::format;
use crate::generator::LoadResult;
use crate::output::Report;
use crate::table::{Align, Table};
use crate::view::{Device, Latency};

/// A demo's figures.
#[derive(Debug, Serialize)]
pub(super) struct Demo {
    seconds: f64,
    seed: u64,
    /// The part of the time for which the sessions of the emulated device kept it busy.
    utilisation: Option<f64>,
    /// Who was admitted, in the order of admission.
    sessions: Vec<Tenant>,
    /// Every answer of admission, the refusal too.
    admissions: Vec<Admission>,
    devices: Vec<Device>,
}

/// One who was admitted: what was promised, what was predicted, what was seen.
#[derive(Debug, Serialize)]
pub(super) struct Tenant {
    #[serde(flatten)]
    pub(super) run: LoadResult,
    /// The objective: so much at most ...
    #[serde(rename = "objective_ms")]
    pub(super) latency_ms: f64,
    /// ... for this part of all requests.
    pub(super) quantile: f64,
    /// When the last was admitted: with everybody there.
    pub(super) predicted: Option<Latency>,
    /// The part of all requests that was within the objective's latency, as the clients saw it.
    pub(super) objective_kept: Option<f64>,
}

// === impl Demo ===

impl Demo {
    pub(super) fn new(
        seconds: f64,
        seed: u64,
        sessions: Vec<Tenant>,
        admissions: Vec<Admission>,
        devices: Vec<Device>,
    ) -> Self {
        let on_gpu = |tenant: &&Tenant| {
            admissions.iter().any(|admission| {
                let device = admission.verdict.device.as_deref();
                admission.model == tenant.run.model && device == Some(GPU)
            })
        };
        let utilisation = sessions.iter().filter(on_gpu).map(|tenant| tenant.run.utilisation).sum();
        Self { seconds, seed, utilisation, sessions, admissions, devices }
    }

    /// Whether all but the last were admitted and all of their requests answered.
    pub(super) fn complete(&self) -> bool {
        let refused = |admission: &Admission| admission.session.is_none();
        let as_told = self.admissions.iter().all(|admission| refused(admission) == (admission.model == LAST));
        let answered = |tenant: &Tenant| tenant.run.failed == 0 && tenant.run.succeeded > 0;
        self.admissions.len() == APPLICANTS.len() && as_told && self.sessions.iter().all(answered)
    }
}

// === impl Report for Demo ===

impl Report for Demo {
    fn text(&self) -> String {
        let remarks: Vec<String> = self.sessions.iter().flat_map(|tenant| tenant.run.remarks()).collect();
        let predicted = self.devices.iter().find(|device| device.name == GPU);
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), format::percent);
        let mut text = format!(
            "\n{}{}\nPredicted is what each was told that it would see, beside all who were admitted. Observed is what the clients \
             saw, from the\nmoment each request was due, with its way over gRPC and back, which is not predicted. {GPU} was busy for \
             {} of the\ntime; {} were predicted.\n\n",
            self.table(),
            remarks.concat(),
            share(self.utilisation),
            share(predicted.map(|device| device.predicted_utilisation)),
        );
        for admission in self.admissions.iter().filter(|admission| admission.session.is_none()) {
            let why = admission.verdict.reasons.first().map_or("", |reason| reason.message.as_str());
            text.push_str(&format!("{} was refused: {why}\n", admission.model));
            if let Some(rate_hz) = admission.verdict.largest_admissible_rate_hz {
                let rate = format::short_down(rate_hz);
                text.push_str(&format!("  up to {rate} requests/s it would have been admitted\n"));
            }
        }
        if !self.complete() {
            text.push_str(&format!(
                "The demo did not go as it should: all but {LAST} are admitted, and no request fails.\n"
            ));
        }
        text
    }
}

impl Demo {
    fn table(&self) -> Table {
        let right = |title| (title, Align::Right);
        let left = |title| (title, Align::Left);
        let mut table = Table::new(&[
            left("SESSION"),
            right("SENT/s"),
            left("OBJECTIVE"),
            left("LATENCY ms"),
            right("MEAN"),
            right("P50"),
            right("P95"),
            right("P99"),
            right("KEPT"),
            right("SENT"),
            right("FAILED"),
        ]);
        for Tenant { run, latency_ms, quantile, predicted, objective_kept } in &self.sessions {
            let mut row = vec![
                format!("{}/{}", run.model, run.version),
                format::rate(run.achieved_rate_hz),
                format!("p{} ≤ {latency_ms} ms", quantile * 100.0),
                "predicted".to_owned(),
            ];
            let predicted = predicted.map_or([None; 4], |latency| latency.figures().map(Some));
            row.extend(predicted.map(format::ms));
            row.extend([
                objective_kept.map_or_else(|| "-".to_owned(), format::share),
                run.sent.to_string(),
                run.failed.to_string(),
            ]);
            table.push(row);
            let mut row = vec![String::new(), String::new(), String::new(), "observed".to_owned()];
            let seen = run.latency_ms;
            row.extend([seen.mean, seen.p50, seen.p95, seen.p99].map(format::ms));
            table.push(row);
        }
        table
    }
}
