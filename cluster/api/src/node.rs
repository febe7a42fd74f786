//! A node with accelerators, as its publisher sees it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objective::LatencyObjective;

/// Name of the condition: the publisher reaches the node's daemon.
pub const READY: &str = "Ready";

/// A node of the cluster on which edgemuxd owns accelerators. Its name is the Kubernetes node's, and so is that of the Lease by
/// which its publisher shows that it is alive.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, CustomResource, KubeSchema)]
#[kube(
    group = "edgemux.dev",
    version = "v1alpha1",
    kind = "AcceleratorNode",
    status = "AcceleratorNodeStatus",
    derive = "PartialEq",
    shortname = "an",
    category = "edgemux",
    doc = "A node on which edgemuxd owns accelerators",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
    printcolumn(name = "Cordoned", type_ = "boolean", json_path = ".spec.unschedulable"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorNodeSpec {
    /// Where the node's daemon is asked, as the controller and applications reach it.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/]+:[0-9]{1,5}$')").message("an endpoint is http://HOST:PORT or https://HOST:PORT"))]
    pub endpoint: String,
    /// Takes no new sessions; those that are there stay.
    #[serde(default)]
    pub unschedulable: bool,
}

/// What the publisher last saw.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorNodeStatus {
    /// Of the daemon's run: with another one, reservations and sessions of the last are gone.
    #[serde(default)]
    pub epoch: String,
    /// Its devices.
    #[serde(default)]
    pub accelerators: Vec<Accelerator>,
    /// What runs or is being loaded there, whoever asked for it.
    #[serde(default)]
    pub sessions: Vec<NodeSession>,
    /// What models cost on its devices, as far as was ever measured there.
    #[serde(default)]
    pub profiles: Vec<ModelProfile>,
    /// What its model repository holds, as `NAME/VERSION`.
    #[serde(default)]
    pub models: Vec<String>,
    /// [`READY`].
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum AcceleratorKind {
    /// The processor.
    Cpu,
    /// A GPU.
    Gpu,
    /// A Coral edgeTPU.
    EdgeTpu,
}

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Multiplexing {
    /// One request at a time, to its end.
    Exclusive,
    /// Deficit round robin in device time.
    TimeSliced,
    /// Several requests in service together.
    Concurrent,
}

/// A device of the node.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accelerator {
    /// As the daemon calls it.
    pub name: String,
    /// What it is.
    pub kind: AcceleratorKind,
    /// What its maker calls it; empty where nobody knows. What models cost is compared among devices of one hardware.
    #[serde(default)]
    pub hardware: String,
    /// `default` where the hardware shows none.
    #[serde(default)]
    pub power_mode: String,
    /// How it is shared now.
    pub multiplexing: Multiplexing,
    /// Whether admission may choose another way of sharing it.
    #[serde(default)]
    pub multiplexing_auto: bool,
    /// Most requests in service together.
    #[serde(default)]
    pub width: i64,
    /// Of time slices; microseconds.
    #[serde(default)]
    pub quantum_micros: i64,
    /// What models may take, bytes; 0: not limited.
    #[serde(default)]
    pub memory_bytes: i64,
    /// Share of time for which it will be busy under all declared rates; permille.
    #[serde(default)]
    pub load_permille: i64,
    /// Share of time for which it was busy lately; permille.
    #[serde(default)]
    pub busy_permille: i64,
    /// Total speed by the number of requests in service, 1 first; permille of one alone.
    #[serde(default)]
    pub speed_up_permille: Vec<i64>,
    /// Why it takes no requests; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced: Option<String>,
}

/// A session of the node's daemon.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSession {
    /// As it is called by clients, `NAME/VERSION`.
    pub name: String,
    /// The repository's model that it runs, `NAME/VERSION`.
    pub model: String,
    /// SHA-256 of the model's file, hexadecimal; empty before it was read.
    #[serde(default)]
    pub digest: String,
    /// On which device.
    pub accelerator: String,
    /// `Loading`, `Warming`, `Ready`, `Draining`, `Gone` or `Failed`.
    pub state: String,
    /// Declared rate; 0 of best effort. Thousandths of a request per second.
    #[serde(default)]
    pub rate_millihertz: i64,
    /// What it is promised; absent of best effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<LatencyObjective>,
    /// Whose reservation it came of, and which; empty where it was loaded in another way.
    #[serde(default)]
    pub uid: String,
    /// See `uid`.
    #[serde(default)]
    pub reservation: String,
    /// Why its objective is no longer predicted to hold; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<String>,
}

/// What a model costs on a device of the node.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelProfile {
    /// SHA-256 of the model's file, hexadecimal.
    pub digest: String,
    /// The device.
    pub accelerator: String,
    /// In which power mode.
    #[serde(default)]
    pub power_mode: String,
    /// The profile's version: how many requests it was learned from.
    #[serde(default)]
    pub samples: i64,
    /// Mean time of a request alone on the device; microseconds.
    pub service_micros: i64,
    /// Its coefficient of variation; permille.
    #[serde(default)]
    pub service_cv_permille: i64,
    /// What a request takes longer after one of another model; microseconds.
    #[serde(default)]
    pub reload_micros: i64,
    /// What it takes while it is loaded; bytes.
    #[serde(default)]
    pub memory_at_rest_bytes: i64,
    /// What it takes while it runs; bytes.
    #[serde(default)]
    pub memory_peak_bytes: i64,
}
