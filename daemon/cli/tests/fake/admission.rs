//! Admission by the model's name.

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::admission_server::Admission;
use edgemux_proto::edgemux::v1::alternative::Change;
use tonic::{Request, Response, Status};

use super::node::{Call, Node, latency, terms};

/// - `refused` and `segmenter` are not admitted, for the sake of `promised`
/// - `absent` is not in the repository
/// - `fragile` is admitted, and cannot be loaded
/// - `stuck` is admitted, and its loading never ends
/// - all else is admitted
fn verdict(asked: &v1::Terms) -> Result<v1::Verdict, Status> {
    let model = asked.model.as_str();
    let refused = matches!(model, "refused" | "segmenter");
    if model == "absent" {
        return Err(Status::not_found("no folder `absent` in the repository"));
    }
    let newcomer = v1::TenantPrediction {
        session: format!("{model}/1"),
        terms: Some(asked.clone()),
        before: None,
        after: if refused { None } else { latency(5.0, 9.0, 11.0) },
        objective_holds: !refused,
        with_margin_ms: 12.0,
    };
    let neighbour = v1::TenantPrediction {
        session: "promised/3".into(),
        terms: Some(terms("promised")),
        before: latency(5.5, 14.0, 20.0),
        after: latency(6.5, 21.0, if refused { 70.0 } else { 31.0 }),
        objective_holds: !refused,
        with_margin_ms: if refused { 72.0 } else { 33.0 },
    };
    let reason = v1::Reason {
        kind: v1::reason::Kind::Objective.into(),
        device: "gpu0".into(),
        session: "promised/3".into(),
        wanted: 60.0,
        predicted: 70.0,
        message: "the p99 of promised/3 would be 70 ms, not 60".into(),
    };
    let best_effort = asked.objective.is_none();
    Ok(v1::Verdict {
        admitted: !refused,
        device: "gpu0".into(),
        multiplexing: v1::Multiplexing::TimeSliced.into(),
        tenants: if best_effort { Vec::new() } else { vec![neighbour, newcomer] },
        memory_bytes: 12 << 20,
        memory_capacity_bytes: 1 << 30,
        utilisation: 0.625,
        reasons: if refused { vec![reason] } else { Vec::new() },
        largest_admissible_rate_hz: if refused { 13.579 } else { 0.0 },
        method: if best_effort { String::new() } else { "ranked".into() },
        slack: if refused { -0.2 } else { 0.3 },
        alternatives: if refused {
            [Change::RateHz(13.579), Change::LatencyMs(81.23)]
                .map(|change| v1::Alternative { change: Some(change) })
                .into()
        } else {
            Vec::new()
        },
        best_effort,
    })
}

#[tonic::async_trait]
impl Admission for Node {
    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let terms = request.into_inner().terms.ok_or_else(|| Status::invalid_argument("no terms"))?;
        let verdict = Some(verdict(&terms)?);
        self.note(Call::Evaluate(terms))?;
        Ok(Response::new(v1::EvaluateResponse { verdict }))
    }

    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let request = request.into_inner();
        let terms = request.terms.clone().ok_or_else(|| Status::invalid_argument("no terms"))?;
        let verdict = verdict(&terms)?;
        let reservation = if verdict.admitted { terms.model } else { String::new() };
        self.note(Call::Reserve(request))?;
        Ok(Response::new(v1::ReserveResponse {
            verdict: Some(verdict),
            reservation,
            expires_in_s: 60.0,
            ..Default::default()
        }))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let model = request.into_inner().reservation;
        self.note(Call::Commit(model.clone()))?;
        match model.as_str() {
            "stuck" => std::future::pending().await,
            "fragile" => return Err(Status::invalid_argument("fragile/1/model.onnx: not an ONNX file")),
            _ => {}
        }
        let session = v1::Session {
            id: format!("{model}/1"),
            terms: Some(terms(&model)),
            device: "gpu0".into(),
            state: v1::SessionState::Ready.into(),
            predicted: latency(5.0, 9.0, 11.0),
            model,
            ..Default::default()
        };
        self.loaded.lock().unwrap().push(session.clone());
        Ok(Response::new(v1::CommitResponse { session: Some(session) }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        self.note(Call::Release(request.into_inner().reservation))?;
        Ok(Response::new(v1::ReleaseResponse {}))
    }
}
