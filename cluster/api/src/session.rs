//! An application's model under its terms, which is to run somewhere in the cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::AcceleratorKind;
use crate::objective::{Latency, LatencyObjective};

/// Condition: every replica has a place on some node.
pub const ADMITTED: &str = "Admitted";
/// Condition: every replica is loaded and takes requests.
pub const READY: &str = "Ready";
/// Condition: the objective is no longer predicted to hold on some node.
pub const SLO_AT_RISK: &str = "SLOAtRisk";

/// A model that is to be served under terms. A node's daemon decides whether it can; the controller asks the likeliest first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "edgemux.dev",
    version = "v1alpha1",
    kind = "InferenceSession",
    namespaced,
    status = "InferenceSessionStatus",
    derive = "PartialEq",
    shortname = "isn",
    category = "edgemux",
    doc = "A model that is to be served under terms, on whichever node keeps them",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.readyReplicas"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.placements[*].node"),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.placements[*].endpoint",
        priority = 1
    ),
    printcolumn(
        name = "At risk",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"SLOAtRisk\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.rateMillihertz) == has(self.objective)").message("a rate and an objective go together; without both the session is best effort"))]
pub struct InferenceSessionSpec {
    /// What is served.
    pub model: ModelReference,
    /// Requests of all replicas together, in thousandths of a request per second. Absent: best effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_i64))]
    pub rate_millihertz: Option<i64>,
    /// Requests that may come at once beyond the rate; absent: the node's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: Option<i64>,
    /// What is to be kept. Absent: best effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<LatencyObjective>,
    /// Kinds of device that may run it; none: any.
    #[serde(default)]
    #[schemars(length(max = 3))]
    pub kinds: Vec<AcceleratorKind>,
    /// Labels that an AcceleratorNode must have.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// 1 is served, and placed, first; larger numbers later; 0 last.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i64,
    /// Nodes that share the rate, each an equal part.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 64))]
    pub replicas: i64,
}

/// A model of the nodes' repositories.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelReference {
    /// Its name.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._-]{1,64}$') && self != '.' && self != '..'").message("a model's name is 1 to 64 letters, digits, '.', '_' or '-'"))]
    pub name: String,
    /// A whole number of at least 1; absent: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<i64>,
    /// SHA-256 of its file, hexadecimal: a node with another file refuses. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')").message("a digest is 64 hexadecimal digits in lower case"))]
    pub digest: Option<String>,
}

/// What the controller has made of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceSessionStatus {
    /// The generation of the spec that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// In a word.
    #[serde(default)]
    pub phase: Phase,
    /// Its places.
    #[serde(default)]
    pub placements: Vec<Placement>,
    /// How many of them take requests.
    #[serde(default)]
    pub ready_replicas: i64,
    /// Why nodes did not take it, when it was last asked for; the first sixteen.
    #[serde(default)]
    pub rejections: Vec<Rejection>,
    /// [`ADMITTED`], [`READY`], [`SLO_AT_RISK`].
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// In a word, how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Not looked at yet.
    #[default]
    Pending,
    /// A place is held, or being loaded.
    Placing,
    /// Every replica takes requests.
    Ready,
    /// Some replicas take requests, others have no place.
    Degraded,
    /// No node takes it.
    Refused,
    /// It is being deleted.
    Releasing,
}

/// A place on a node.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Which replica it is for, from 0.
    pub replica: i64,
    /// How far it is.
    pub state: PlacementState,
    /// The AcceleratorNode.
    pub node: String,
    /// The node's device.
    #[serde(default)]
    pub device: String,
    /// Where clients ask.
    pub endpoint: String,
    /// The model name that clients ask for there.
    pub session_name: String,
    /// Under which the node's daemon was asked; of this place alone.
    pub uid: String,
    /// The generation of the spec that it was asked under.
    pub generation: i64,
    /// The daemon's name for the place.
    #[serde(default)]
    pub reservation: String,
    /// The daemon's run that holds it.
    #[serde(default)]
    pub epoch: String,
    /// What was predicted when it was admitted; absent of best effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Latency>,
    /// Why the node's daemon no longer predicts the objective to hold; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<String>,
}

/// How far a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum PlacementState {
    /// Asked for: whether the node holds it is found out by asking again.
    Asking,
    /// Held, not loaded yet.
    Reserved,
    /// Takes requests.
    Ready,
    /// To be given back, since another has taken its part.
    Leaving,
}

/// A node that did not take it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The AcceleratorNode.
    pub node: String,
    /// Its device; empty where none was looked at.
    #[serde(default)]
    pub device: String,
    /// `Objective`, `Memory`, `Stability`, `NoRuntime`, `NoProfile`, `Undecided`, `Fenced`, `NoModel`, `Unreachable`, …
    pub reason: String,
    /// In words.
    pub message: String,
    /// The largest rate that the node would have taken; absent where none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_rate_millihertz: Option<i64>,
}

fn one() -> i64 {
    1
}
