//! A loaded model, and how it fares.

use edgemux_proto::edgemux::v1;
use serde::Serialize;

use super::{Latency, Terms};
use crate::format;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Session {
    /// `MODEL/VERSION`
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) version: String,
    /// The repository's model that it runs, where it has a name of its own; else empty.
    pub(crate) source_model: String,
    /// SHA-256 of the model's file; empty before it was read.
    pub(crate) model_digest: String,
    /// The reservation that it came of, and by whom; empty where it was loaded in another way.
    pub(crate) reservation: String,
    pub(crate) uid: String,
    pub(crate) device: String,
    pub(crate) runtime: String,
    /// `loading`, `warming`, `ready`, `draining`, `gone`, `failed`
    pub(crate) state: &'static str,
    /// Why it failed; empty otherwise.
    pub(crate) reason: String,
    /// Absent for best effort.
    pub(crate) terms: Option<Terms>,
    pub(crate) queued: u32,
    pub(crate) in_service: u32,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) mean_queue_ms: f64,
    pub(crate) mean_service_ms: f64,
    /// Crashes of the worker put down to this session.
    pub(crate) crashes: u32,
    /// Absent for best effort and before the first prediction.
    pub(crate) predicted: Option<Latency>,
    /// Lately, of requests within the terms; absent where there were none.
    pub(crate) observed: Option<Latency>,
    /// Requests behind `observed`.
    pub(crate) observed_samples: u64,
    pub(crate) observed_rate_hz: f64,
    /// Share of requests within the terms that kept the objective's latency; absent without a quantile to keep, or a
    /// request.
    pub(crate) objective_kept: Option<f64>,
    /// Share of requests within the terms that were no longer than the predicted quantile; absent as above.
    pub(crate) coverage: Option<f64>,
    /// Factor by which the prediction is lengthened because it fell short; absent where nothing is predicted.
    pub(crate) margin: Option<f64>,
    /// Requests beyond the terms.
    pub(crate) excess_refused: u64,
    pub(crate) excess_best_effort: u64,
    /// The objective is no longer predicted to hold.
    pub(crate) slo_at_risk: bool,
    pub(crate) at_risk_reason: String,
}

// === impl Session ===

impl Session {
    pub(crate) fn from_wire(wire: v1::Session) -> Self {
        let state = state(wire.state());
        let terms = wire.terms.and_then(Terms::from_wire);
        let ran = wire.succeeded + wire.failed > 0;
        let promised = |terms: &Terms| terms.is_guaranteed() && terms.quantile.is_some();
        let measured = ran && terms.as_ref().is_some_and(promised);
        Self {
            state,
            id: wire.id,
            model: wire.model,
            version: wire.version,
            source_model: wire.source_model,
            model_digest: wire.model_digest,
            reservation: wire.reservation,
            uid: wire.uid,
            device: wire.device,
            runtime: wire.runtime,
            reason: wire.reason,
            terms,
            queued: wire.queued,
            in_service: wire.in_service,
            succeeded: wire.succeeded,
            failed: wire.failed,
            memory_bytes: wire.memory_bytes,
            mean_queue_ms: wire.mean_queue_ms,
            mean_service_ms: wire.mean_service_ms,
            crashes: wire.crashes,
            predicted: wire.predicted.as_ref().map(Latency::from_wire),
            observed: wire.observed.as_ref().filter(|_| wire.observed_samples > 0).map(Latency::from_wire),
            observed_samples: wire.observed_samples,
            observed_rate_hz: wire.observed_rate_hz,
            objective_kept: measured.then_some(wire.objective_kept),
            coverage: (measured && wire.predicted.is_some()).then_some(wire.coverage),
            margin: (wire.margin > 0.0).then_some(wire.margin),
            excess_refused: wire.excess_refused,
            excess_best_effort: wire.excess_best_effort,
            slo_at_risk: wire.slo_at_risk,
            at_risk_reason: wire.at_risk_reason,
        }
    }

    /// Its name, and the model that it runs where that is called otherwise.
    pub(crate) fn title(&self) -> String {
        match self.source_model.as_str() {
            "" => self.id.clone(),
            source => format!("{} (model {source})", self.id),
        }
    }

    /// `20.0/s, p99 ≤ 50 ms`, or that nothing is promised.
    pub(crate) fn terms_text(&self) -> String {
        self.terms.as_ref().map_or_else(|| "best effort".to_owned(), Terms::text)
    }

    /// The share of requests that kept the objective; of one about the mean, whether it does; a dash without any.
    pub(crate) fn kept_text(&self) -> String {
        match (self.objective_kept, self.keeps_objective()) {
            (Some(share), _) => format::share(share),
            (None, Some(true)) => "yes".to_owned(),
            (None, Some(false)) => "no".to_owned(),
            (None, None) => "-".to_owned(),
        }
    }

    /// Requests beyond the terms: how many were refused, and how many ran as best effort; a dash for neither.
    pub(crate) fn policed_text(&self) -> String {
        match (self.excess_refused, self.excess_best_effort) {
            (0, 0) => "-".to_owned(),
            (refused, 0) => format!("{refused} refused"),
            (0, demoted) => format!("{demoted} best effort"),
            (refused, demoted) => format!("{refused} refused, {demoted} best effort"),
        }
    }

    /// Whether the objective was kept by what was seen so far: the share that a quantile asks for, or the mean.
    pub(crate) fn keeps_objective(&self) -> Option<bool> {
        let terms = self.terms.as_ref()?;
        match terms.quantile {
            Some(quantile) => Some(self.objective_kept? >= quantile),
            None => Some(self.observed?.mean_ms <= terms.latency_ms?),
        }
    }

    /// Why it failed or is at risk; empty otherwise.
    pub(crate) fn why(&self) -> &str {
        if self.reason.is_empty() { &self.at_risk_reason } else { &self.reason }
    }
}

/// The name of a session's state.
pub(crate) fn state(state: v1::SessionState) -> &'static str {
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

#[cfg(test)]
mod tests {
    use edgemux_proto::edgemux::v1::objective::Statistic;

    use super::*;

    fn session(statistic: Statistic, kept: f64, mean_ms: f64) -> Session {
        let objective = v1::Objective { statistic: Some(statistic), latency_ms: 50.0 };
        Session::from_wire(v1::Session {
            terms: Some(v1::Terms { rate_hz: 20.0, objective: Some(objective), ..Default::default() }),
            succeeded: 100,
            objective_kept: kept,
            observed: Some(v1::LatencyPrediction { mean_ms, ..Default::default() }),
            observed_samples: 100,
            ..Default::default()
        })
    }

    #[test]
    fn an_objective_is_kept_by_its_own_statistic() {
        assert_eq!(session(Statistic::Quantile(0.99), 0.995, 60.0).keeps_objective(), Some(true));
        assert_eq!(session(Statistic::Quantile(0.99), 0.985, 40.0).keeps_objective(), Some(false));
        let mean = session(Statistic::Mean(true), 0.5, 49.0);
        assert_eq!(
            (mean.keeps_objective(), mean.objective_kept, mean.kept_text().as_str()),
            (Some(true), None, "yes")
        );
        assert_eq!(session(Statistic::Quantile(0.99), 0.995, 60.0).kept_text(), "99.5 %");
        assert_eq!(session(Statistic::Mean(true), 0.99, 51.0).keeps_objective(), Some(false));
    }

    #[test]
    fn a_name_of_its_own_is_told_with_the_model() {
        let session = |source: &str| v1::Session {
            id: "shop.camera/1".into(),
            source_model: source.into(),
            ..Default::default()
        };
        assert_eq!(Session::from_wire(session("")).title(), "shop.camera/1");
        assert_eq!(Session::from_wire(session("a")).title(), "shop.camera/1 (model a)");
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let session = Session::from_wire(v1::Session {
            observed: Some(v1::LatencyPrediction::default()),
            ..Default::default()
        });
        assert_eq!((session.observed, session.objective_kept, session.coverage), (None, None, None));
        assert_eq!((session.margin, session.keeps_objective()), (None, None));
    }
}
