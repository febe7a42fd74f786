//! Nodes and sessions to test with.

use edgemux_cluster_api::node::{
    Accelerator, AcceleratorKind, AcceleratorNode, AcceleratorNodeSpec, AcceleratorNodeStatus, ModelProfile,
    Multiplexing, NodeSession, READY,
};
use edgemux_cluster_api::objective::LatencyObjective;
use edgemux_cluster_api::session::{InferenceSession, InferenceSessionSpec, ModelReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

pub(crate) const DIGEST: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

pub(crate) fn accelerator(name: &str) -> Accelerator {
    Accelerator {
        name: name.into(),
        kind: match name {
            name if name.starts_with("gpu") => AcceleratorKind::Gpu,
            name if name.starts_with("tpu") => AcceleratorKind::EdgeTpu,
            _ => AcceleratorKind::Cpu,
        },
        hardware: "Emulated".into(),
        power_mode: "default".into(),
        multiplexing: Multiplexing::Exclusive,
        multiplexing_auto: false,
        width: 4,
        quantum_micros: 5_000,
        memory_bytes: 1 << 30,
        load_permille: 0,
        busy_permille: 0,
        speed_up_permille: vec![1000],
        fenced: None,
    }
}

pub(crate) fn profile(accelerator: &str, service_micros: i64) -> ModelProfile {
    ModelProfile {
        digest: DIGEST.into(),
        accelerator: accelerator.into(),
        power_mode: "default".into(),
        samples: 1_000,
        service_micros,
        service_cv_permille: 20,
        reload_micros: 0,
        memory_at_rest_bytes: 10 << 20,
        memory_peak_bytes: 20 << 20,
    }
}

pub(crate) fn node(name: &str, epoch: &str, accelerators: Vec<Accelerator>) -> AcceleratorNode {
    let spec = AcceleratorNodeSpec { endpoint: format!("http://{name}:8001"), unschedulable: false };
    let mut node = AcceleratorNode::new(name, spec);
    node.metadata.resource_version = Some("1".into());
    let profiles = accelerators.iter().map(|device| profile(&device.name, 5_000)).collect();
    node.status = Some(AcceleratorNodeStatus {
        epoch: epoch.into(),
        accelerators,
        profiles,
        models: vec!["detector/1".into()],
        conditions: vec![Condition {
            type_: READY.into(),
            status: "True".into(),
            reason: "Reached".into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }],
        ..AcceleratorNodeStatus::default()
    });
    node
}

pub(crate) fn there(uid: &str, reservation: &str, accelerator: &str) -> NodeSession {
    NodeSession {
        name: "shop.detector/1".into(),
        model: "detector/1".into(),
        digest: DIGEST.into(),
        accelerator: accelerator.into(),
        state: "Ready".into(),
        rate_millihertz: 10_000,
        objective: Some(objective()),
        uid: uid.into(),
        reservation: reservation.into(),
        at_risk: None,
    }
}

pub(crate) fn objective() -> LatencyObjective {
    LatencyObjective { latency_micros: 50_000, quantile_permille: Some(990) }
}

pub(crate) fn session(name: &str) -> InferenceSession {
    let model = ModelReference { name: "detector".into(), version: None, digest: None };
    let spec = InferenceSessionSpec {
        model,
        rate_millihertz: Some(10_000),
        burst: None,
        objective: Some(objective()),
        kinds: Vec::new(),
        node_selector: Default::default(),
        priority: 0,
        replicas: 1,
    };
    let mut session = InferenceSession::new(name, spec);
    session.metadata.namespace = Some("shop".into());
    session.metadata.uid = Some(format!("uid-of-{name}"));
    session.metadata.generation = Some(1);
    session.metadata.resource_version = Some("1".into());
    session
}
