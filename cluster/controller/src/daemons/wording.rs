//! The resources' words for terms and verdicts, and the daemons'.

use std::time::Duration;

use edgemux_cluster_api::node::AcceleratorKind;
use edgemux_cluster_api::objective::{Latency, LatencyObjective};
use edgemux_cluster_api::session::{InferenceSession, Placement, Rejection};
use edgemux_proto::edgemux::v1 as wire;

use crate::decide::answers::{Answer, Held, rejection};

/// What a daemon is asked for a place.
#[must_use]
pub fn reserve(session: &InferenceSession, place: &Placement, ttl: Duration) -> wire::ReserveRequest {
    wire::ReserveRequest {
        uid: place.uid.clone(),
        generation: u64::try_from(place.generation).unwrap_or_default(),
        terms: Some(terms(session)),
        ttl_s: ttl.as_secs_f64(),
        session_name: place.session_name.clone(),
        model_digest: session.spec.model.digest.clone().unwrap_or_default(),
    }
}

/// A replica's terms: an equal part of the rate.
#[must_use]
pub fn terms(session: &InferenceSession) -> wire::Terms {
    let spec = &session.spec;
    let rate_hz = spec.rate_millihertz.map_or(0.0, |rate| rate as f64 / 1e3 / spec.replicas.max(1) as f64);
    wire::Terms {
        model: spec.model.name.clone(),
        version: spec.model.version.map(|version| version.to_string()).unwrap_or_default(),
        rate_hz,
        burst: spec.burst.map_or(0.0, |burst| burst as f64),
        objective: spec.objective.map(objective),
        priority: u32::try_from(spec.priority).unwrap_or_default(),
        devices: spec.kinds.iter().map(|&kind| kind_of(kind).into()).collect(),
        excess: wire::Excess::Refuse.into(),
        batching: None,
    }
}

/// What an answer to a request for a place means.
#[must_use]
pub fn reserved(response: wire::ReserveResponse) -> Answer {
    let wire::ReserveResponse { verdict, reservation, epoch, .. } = response;
    let verdict = verdict.unwrap_or_default();
    if !verdict.admitted || reservation.is_empty() {
        return Answer::Refused(rejections(&verdict));
    }
    // Of the newcomer nothing was predicted before.
    let newcomer = verdict.tenants.iter().find(|tenant| tenant.before.is_none());
    let prediction = newcomer.and_then(|tenant| tenant.after.as_ref()).map(latency);
    Answer::Held(Held { reservation, epoch, device: verdict.device, prediction })
}

fn rejections(verdict: &wire::Verdict) -> Vec<Rejection> {
    let rate = verdict.largest_admissible_rate_hz;
    let largest_rate_millihertz = (rate > 0.0).then_some((rate * 1e3) as i64);
    let mut rejections: Vec<_> = verdict
        .reasons
        .iter()
        .map(|reason| Rejection {
            device: reason.device.clone(),
            largest_rate_millihertz,
            ..rejection(word(reason.kind()), &reason.message)
        })
        .collect();
    if rejections.is_empty() {
        rejections.push(rejection("Refused", "it gives no reason"));
    }
    rejections
}

fn word(kind: wire::reason::Kind) -> &'static str {
    match kind {
        wire::reason::Kind::Unspecified => "Refused",
        wire::reason::Kind::Objective => "Objective",
        wire::reason::Kind::Memory => "Memory",
        wire::reason::Kind::Stability => "Stability",
        wire::reason::Kind::NoRuntime => "NoRuntime",
        wire::reason::Kind::NoProfile => "NoProfile",
        wire::reason::Kind::Undecided => "Undecided",
        wire::reason::Kind::Fenced => "Fenced",
    }
}

fn objective(objective: LatencyObjective) -> wire::Objective {
    let statistic = match objective.quantile_permille {
        Some(permille) => wire::objective::Statistic::Quantile(permille as f64 / 1e3),
        None => wire::objective::Statistic::Mean(true),
    };
    wire::Objective { statistic: Some(statistic), latency_ms: objective.latency_micros as f64 / 1e3 }
}

fn latency(predicted: &wire::LatencyPrediction) -> Latency {
    let micros = |ms: f64| (ms * 1e3).round() as i64;
    Latency {
        mean_micros: micros(predicted.mean_ms),
        p50_micros: micros(predicted.p50_ms),
        p95_micros: micros(predicted.p95_ms),
        p99_micros: micros(predicted.p99_ms),
    }
}

fn kind_of(kind: AcceleratorKind) -> wire::DeviceKind {
    match kind {
        AcceleratorKind::Cpu => wire::DeviceKind::Cpu,
        AcceleratorKind::Gpu => wire::DeviceKind::Gpu,
        AcceleratorKind::EdgeTpu => wire::DeviceKind::Edgetpu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::session;

    #[test]
    fn each_replica_is_asked_for_its_part_of_the_rate() {
        let mut session = session("a");
        session.spec.rate_millihertz = Some(90_500);
        session.spec.replicas = 2;
        session.spec.kinds = vec![AcceleratorKind::EdgeTpu];
        session.spec.model.version = Some(7);
        let terms = terms(&session);
        assert_eq!((terms.rate_hz, terms.version.as_str()), (45.25, "7"));
        assert_eq!(terms.devices, [i32::from(wire::DeviceKind::Edgetpu)]);
        let objective = terms.objective.unwrap();
        assert_eq!(objective.latency_ms, 50.0);
        assert_eq!(objective.statistic, Some(wire::objective::Statistic::Quantile(0.99)));
    }

    #[test]
    fn best_effort_has_neither_rate_nor_objective() {
        let mut session = session("a");
        (session.spec.rate_millihertz, session.spec.objective) = (None, None);
        let terms = terms(&session);
        assert_eq!((terms.rate_hz, terms.objective), (0.0, None));
    }

    #[test]
    fn a_refusal_keeps_every_reason_and_the_largest_rate() {
        let reason = |kind: wire::reason::Kind, message: &str| wire::Reason {
            kind: kind.into(),
            device: "gpu0".into(),
            message: message.into(),
            ..wire::Reason::default()
        };
        let verdict = wire::Verdict {
            reasons: vec![
                reason(wire::reason::Kind::Objective, "p99 of 61 ms, 50 are wanted"),
                reason(wire::reason::Kind::Memory, "too little"),
            ],
            largest_admissible_rate_hz: 12.345_6,
            ..wire::Verdict::default()
        };
        let answer = reserved(wire::ReserveResponse { verdict: Some(verdict), ..Default::default() });
        let Answer::Refused(why) = answer else { panic!("{answer:?}") };
        let said: Vec<_> = why.iter().map(|r| (r.reason.as_str(), r.device.as_str())).collect();
        assert_eq!(said, [("Objective", "gpu0"), ("Memory", "gpu0")]);
        assert_eq!(why[0].largest_rate_millihertz, Some(12_345));
        let silent = reserved(wire::ReserveResponse::default());
        assert!(matches!(silent, Answer::Refused(why) if why.len() == 1));
    }

    #[test]
    fn of_an_admission_the_newcomers_prediction_is_kept() {
        let predicted = |ms| Some(wire::LatencyPrediction { p99_ms: ms, ..Default::default() });
        let tenant = |before, after| wire::TenantPrediction { before, after, ..Default::default() };
        let verdict = wire::Verdict {
            admitted: true,
            device: "gpu0".into(),
            tenants: vec![tenant(predicted(1.0), predicted(2.0)), tenant(None, predicted(41.5))],
            ..wire::Verdict::default()
        };
        let response = wire::ReserveResponse {
            verdict: Some(verdict),
            reservation: "r-1".into(),
            epoch: "e".into(),
            ..Default::default()
        };
        let Answer::Held(held) = reserved(response) else { panic!() };
        assert_eq!(
            (held.reservation.as_str(), held.epoch.as_str(), held.device.as_str()),
            ("r-1", "e", "gpu0")
        );
        assert_eq!(held.prediction.unwrap().p99_micros, 41_500);
    }
}
