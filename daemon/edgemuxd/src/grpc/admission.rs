//! `edgemux.v1.Admission`: asks whether a model may run, and holds its place.

use std::sync::Arc;

use edgemux_calibration::admission::{Alternative, Summary};
use edgemux_calibration::system::Mode;
use edgemux_proto::edgemux::v1::admission_server::Admission;
use edgemux_proto::edgemux::v1::{
    self as wire, CommitRequest, CommitResponse, EvaluateRequest, EvaluateResponse, ReleaseRequest,
    ReleaseResponse, ReserveRequest, ReserveResponse,
};
use edgemux_runtime_api::runtime::DeviceKind;
use tonic::{Request, Response, Status};

use super::gate::known;
use super::operations::{Operations, terms};
use super::status::brief;
use crate::access::Caller;
use crate::desk::{Reason, ReservationError, TenantView, Verdict, Why};
use crate::node::{Ask, LoadError, Wanted};
use crate::terms::{Batching, Excess, Objective, Terms};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Admission for Operations {
    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Answer<EvaluateResponse> {
        let (caller, EvaluateRequest { terms }) = known(request)?;
        let ask = self.ask(&caller, terms, "", "")?;
        let verdict = self.node.evaluate(&ask).await?;
        Ok(Response::new(EvaluateResponse { verdict: Some(self::verdict(&verdict.seen_by(&caller))) }))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Answer<ReserveResponse> {
        let (caller, asked) = known(request)?;
        let ReserveRequest { uid, generation, terms, ttl_s, session_name, model_digest } = asked;
        let ask = self.ask(&caller, terms, &session_name, &model_digest)?;
        let uid = caller.scoped(&uid);
        // A caller who goes away in the middle may come back and find its place.
        let node = Arc::clone(&self.node);
        let reserving = tokio::spawn(async move { node.reserve(&uid, generation, &ask, ttl_s).await });
        let reserved = reserving.await.map_err(|gone| Status::internal(gone.to_string()))??;
        let (reservation, left) = reserved.held.unwrap_or_default();
        Ok(Response::new(ReserveResponse {
            verdict: Some(self::verdict(&reserved.verdict.seen_by(&caller))),
            reservation,
            expires_in_s: left.as_secs_f64(),
            epoch: self.node.desk.ledger().epoch().to_owned(),
        }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Answer<CommitResponse> {
        let (caller, CommitRequest { reservation }) = known(request)?;
        self.own_reservation(&caller, &reservation)?;
        let node = Arc::clone(&self.node);
        let committing = tokio::spawn(async move { node.commit(&reservation).await });
        let session = committing.await.map_err(|gone| Status::internal(gone.to_string()))??;
        Ok(Response::new(CommitResponse { session: Some(self.session(&session)) }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Answer<ReleaseResponse> {
        let (caller, ReleaseRequest { reservation }) = known(request)?;
        self.own_reservation(&caller, &reservation)?;
        self.node.release(&reservation).await?;
        Ok(Response::new(ReleaseResponse {}))
    }
}

impl Operations {
    /// Reservations of others' models are not there.
    fn own_reservation(&self, caller: &Caller, reservation: &str) -> Result<(), Status> {
        let ledger = self.node.desk.ledger();
        match ledger.model_of(reservation) {
            Some(model) if !caller.may_use(model) => {
                Err(LoadError::from(ReservationError::Unknown(reservation.to_owned())).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Terms of nothing but a model's name are those of the repository.
    fn ask(
        &self,
        caller: &Caller,
        asked: Option<wire::Terms>,
        session_name: &str,
        digest: &str,
    ) -> Result<Ask, Status> {
        let asked =
            asked.ok_or_else(|| Status::invalid_argument("no terms: at least the model is needed"))?;
        let (model, version) = (asked.model.clone(), asked.version.clone());
        let given = from_wire(asked)?;
        let given = (given != Terms::default()).then_some(given);
        if !digest.is_empty() && !is_digest(digest) {
            let message = format!("model_digest '{digest}': 64 hexadecimal digits, or none");
            return Err(brief(Status::invalid_argument(message)));
        }
        let said = |text| Some(text).filter(|text: &&str| !text.is_empty());
        Ok(self.node.ask(
            caller,
            Wanted {
                model: &model,
                version: said(&version),
                terms: given,
                alone: false,
                session_name: said(session_name),
                digest: said(digest),
            },
        )?)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn from_wire(asked: wire::Terms) -> Result<Terms, Status> {
    let invalid = |message: &str| Status::invalid_argument(message.to_owned());
    let excess = match asked.excess() {
        wire::Excess::Unspecified | wire::Excess::Refuse => Excess::Refuse,
        wire::Excess::BestEffort => Excess::BestEffort,
    };
    // Not by the accessor, which passes over numbers that it does not know.
    let kind = |&kind: &i32| wire::DeviceKind::try_from(kind).ok().and_then(kind_from_wire);
    let devices: Option<Vec<_>> = asked.devices.iter().map(kind).collect();
    let objective = asked.objective.map(|objective| {
        let quantile = match objective.statistic {
            Some(wire::objective::Statistic::Quantile(quantile)) => Some(quantile),
            Some(wire::objective::Statistic::Mean(true)) => None,
            Some(wire::objective::Statistic::Mean(false)) | None => {
                return Err(invalid("an objective is about a quantile, or about the mean: say which"));
            }
        };
        Ok(Objective { quantile, latency_ms: objective.latency_ms })
    });
    let terms = Terms {
        // The version is looked up on its own.
        version: None,
        // 0 is what is not said; anything else is checked.
        rate_hz: Some(asked.rate_hz).filter(|&rate| rate != 0.0),
        burst: Some(asked.burst).filter(|&burst| burst != 0.0),
        objective: objective.transpose()?,
        priority: asked.priority,
        devices: devices.ok_or_else(|| invalid("a kind of device is cpu, gpu or edgetpu"))?,
        excess,
        batching: asked
            .batching
            .map(|batching| Batching { size_max: batching.size_max, delay_max_ms: batching.delay_max_ms }),
    };
    terms.check().map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(terms)
}

fn kind_from_wire(kind: wire::DeviceKind) -> Option<DeviceKind> {
    match kind {
        wire::DeviceKind::Unspecified => None,
        wire::DeviceKind::Cpu => Some(DeviceKind::Cpu),
        wire::DeviceKind::Gpu => Some(DeviceKind::Gpu),
        wire::DeviceKind::Edgetpu => Some(DeviceKind::Edgetpu),
    }
}

/// A verdict as it is sent.
pub(super) fn verdict(verdict: &Verdict) -> wire::Verdict {
    wire::Verdict {
        admitted: verdict.admitted,
        device: verdict.device.clone(),
        multiplexing: mode(verdict.mode).into(),
        tenants: verdict.tenants.iter().map(tenant).collect(),
        memory_bytes: verdict.memory_bytes,
        utilisation: verdict.utilisation,
        reasons: verdict.reasons.iter().map(reason).collect(),
        largest_admissible_rate_hz: verdict.largest_rate_hz.unwrap_or_default(),
        memory_capacity_bytes: verdict.memory_capacity_bytes.unwrap_or_default(),
        method: verdict.method.clone(),
        slack: verdict.slack,
        alternatives: verdict.alternatives.iter().map(alternative).collect(),
        best_effort: verdict.best_effort,
    }
}

/// A mode as it is sent.
pub(super) fn mode(mode: Mode) -> wire::Multiplexing {
    match mode {
        Mode::Exclusive { .. } => wire::Multiplexing::Exclusive,
        Mode::TimeSliced(_) => wire::Multiplexing::TimeSliced,
        Mode::Concurrent { .. } => wire::Multiplexing::Concurrent,
    }
}

/// Latency as it is sent.
pub(super) fn latency(summary: &Summary) -> wire::LatencyPrediction {
    wire::LatencyPrediction {
        mean_ms: summary.mean * 1e3,
        p50_ms: summary.p50 * 1e3,
        p95_ms: summary.p95 * 1e3,
        p99_ms: summary.p99 * 1e3,
    }
}

fn tenant(tenant: &TenantView) -> wire::TenantPrediction {
    let (model, _) = tenant.session.split_once('/').unwrap_or((&tenant.session, ""));
    wire::TenantPrediction {
        session: tenant.session.clone(),
        terms: Some(terms(model, &tenant.terms)),
        before: tenant.before.as_ref().map(latency),
        after: tenant.after.as_ref().map(latency),
        objective_holds: tenant.holds,
        with_margin_ms: tenant.with_margin.unwrap_or_default() * 1e3,
    }
}

fn reason(reason: &Reason) -> wire::Reason {
    wire::Reason {
        kind: match reason.why {
            Why::Objective => wire::reason::Kind::Objective,
            Why::Memory => wire::reason::Kind::Memory,
            Why::Stability => wire::reason::Kind::Stability,
            Why::NoProfile => wire::reason::Kind::NoProfile,
            Why::Undecided => wire::reason::Kind::Undecided,
            Why::Fenced => wire::reason::Kind::Fenced,
        }
        .into(),
        device: reason.device.clone(),
        session: reason.session.clone(),
        wanted: reason.wanted,
        predicted: reason.predicted,
        message: reason.message.clone(),
    }
}

fn alternative(alternative: &Alternative) -> wire::Alternative {
    wire::Alternative {
        change: Some(match alternative {
            Alternative::Rate(rate) => wire::alternative::Change::RateHz(rate.get()),
            Alternative::Latency(latency) => wire::alternative::Change::LatencyMs(latency.ms()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> wire::Terms {
        let statistic = Some(wire::objective::Statistic::Quantile(0.99));
        let objective = Some(wire::Objective { statistic, latency_ms: 60.0 });
        wire::Terms { model: "a".into(), rate_hz: 40.0, objective, ..wire::Terms::default() }
    }

    #[test]
    fn terms_come_through_and_are_sent_back_as_they_were() {
        let mut asked = wire::Terms { burst: 3.0, priority: 2, ..asked() };
        asked.set_excess(wire::Excess::BestEffort);
        asked.devices = vec![wire::DeviceKind::Gpu.into()];
        let read = from_wire(asked.clone()).unwrap();
        assert_eq!(read.guarantee().map(|(rate, _)| rate), Some(40.0));
        assert_eq!(terms("a", &read), asked);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for change in [
            |t: &mut wire::Terms| t.rate_hz = -1.0,
            |t: &mut wire::Terms| t.rate_hz = f64::NAN,
            |t: &mut wire::Terms| t.rate_hz = 1e9,
            |t: &mut wire::Terms| t.rate_hz = 0.0,
            |t: &mut wire::Terms| t.burst = 0.5,
            |t: &mut wire::Terms| t.devices = vec![99],
            |t: &mut wire::Terms| t.devices = vec![0],
            |t: &mut wire::Terms| t.objective.as_mut().unwrap().statistic = None,
            |t: &mut wire::Terms| t.objective.as_mut().unwrap().latency_ms = 0.0,
            |t: &mut wire::Terms| {
                t.objective.as_mut().unwrap().statistic = Some(wire::objective::Statistic::Quantile(1.0));
            },
            |t: &mut wire::Terms| {
                t.batching = Some(wire::Batching { size_max: 8, delay_max_ms: Some(f64::NAN) });
            },
            |t: &mut wire::Terms| t.batching = Some(wire::Batching { size_max: 1, delay_max_ms: None }),
        ] {
            let mut terms = asked();
            change(&mut terms);
            assert!(from_wire(terms.clone()).is_err(), "{terms:?}");
        }
    }
}
