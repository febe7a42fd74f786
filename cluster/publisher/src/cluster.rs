//! The API server: the three writes that a publisher makes, and what became of each.

use std::time::Duration;

use edgemux_cluster_api::node::{AcceleratorNode, AcceleratorNodeStatus};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use crate::args::Args;
use crate::board::{Action, Outcome};

/// Under which the API server remembers what of an object is the publisher's.
pub const FIELD_MANAGER: &str = "edgemux-publisher";
/// An API server that has not answered by then will be asked again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The objects of one node.
#[derive(Debug)]
pub struct Cluster {
    nodes: Api<AcceleratorNode>,
    leases: Api<Lease>,
    name: String,
    endpoint: String,
    labels: Map<String, Value>,
    lease_s: i32,
    /// Since when this publisher holds the Lease.
    acquired: Option<Timestamp>,
    /// The last failure that was logged: the same one is not logged again.
    complaint: Option<String>,
}

/// Why a write came to nothing.
#[derive(Debug)]
enum Failure {
    Api(kube::Error),
    Silent,
}

// === impl Cluster ===

impl Cluster {
    /// The objects of the node that the arguments name, by this client.
    #[must_use]
    pub fn new(client: Client, args: &Args) -> Self {
        let mut labels = Map::from_iter([
            ("app.kubernetes.io/managed-by".to_owned(), json!(FIELD_MANAGER)),
            ("kubernetes.io/hostname".to_owned(), json!(args.node)),
        ]);
        labels.extend(args.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        Self {
            nodes: Api::all(client.clone()),
            leases: Api::namespaced(client, &args.namespace),
            name: args.node.clone(),
            endpoint: args.endpoint.clone(),
            labels,
            lease_s: i32::try_from(args.lease().as_secs()).unwrap_or(i32::MAX),
            acquired: None,
            complaint: None,
        }
    }

    /// Does it. `wall` is the time now.
    pub async fn perform(&mut self, action: &Action, wall: Timestamp) -> Outcome {
        let done = match action {
            Action::Declare => self.declare().await.map(|status| status.map(Box::new)),
            Action::Tell(status) => self.tell(status).await.map(|()| None),
            Action::Renew => self.renew(wall).await.map(|()| None),
        };
        match done {
            Ok(status) => {
                if self.complaint.take().is_some() {
                    info!("the API server takes what it is given again");
                }
                Outcome::Done(status)
            }
            Err(failure) => {
                let complaint = failure.to_string();
                if self.complaint.as_deref() != Some(&complaint) {
                    warn!("cannot {}: {complaint}; going on trying", verb(action));
                    self.complaint = Some(complaint);
                }
                match failure {
                    Failure::Api(kube::Error::Api(status)) if status.is_not_found() => Outcome::Missing,
                    Failure::Api(_) | Failure::Silent => Outcome::Failed,
                }
            }
        }
    }

    /// The node with its endpoint, unless an operator has put another one there: the API server knows who has. Never
    /// `unschedulable`.
    async fn declare(&self) -> Result<Option<AcceleratorNodeStatus>, Failure> {
        let node = |spec: Value| {
            let mut node = json!({
                "apiVersion": "edgemux.dev/v1alpha1",
                "kind": "AcceleratorNode",
                "metadata": { "name": self.name, "labels": self.labels },
            });
            if !spec.is_null() {
                node["spec"] = spec;
            }
            node
        };
        match self.apply(&node(json!({ "endpoint": self.endpoint }))).await {
            Err(Failure::Api(kube::Error::Api(status))) if status.is_conflict() => {
                warn!("what others have set of AcceleratorNode {} is kept: {}", self.name, status.message);
            }
            applied => return applied.map(|node| node.status),
        }
        match self.apply(&node(Value::Null)).await {
            // Even the labels are another's.
            Err(Failure::Api(kube::Error::Api(status))) if status.is_conflict() => Ok(None),
            applied => applied.map(|node| node.status),
        }
    }

    /// Without force: what others have set stays theirs.
    async fn apply(&self, node: &Value) -> Result<AcceleratorNode, Failure> {
        let params = PatchParams::apply(FIELD_MANAGER);
        answered(self.nodes.patch(&self.name, &params, &Patch::Apply(node))).await
    }

    async fn tell(&self, status: &AcceleratorNodeStatus) -> Result<(), Failure> {
        let node = json!({
            "apiVersion": "edgemux.dev/v1alpha1",
            "kind": "AcceleratorNode",
            "metadata": { "name": self.name },
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        answered(self.nodes.patch_status(&self.name, &params, &Patch::Apply(&node))).await.map(drop)
    }

    async fn renew(&mut self, wall: Timestamp) -> Result<(), Failure> {
        let acquired = *self.acquired.get_or_insert(wall);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name.clone()),
                lease_duration_seconds: Some(self.lease_s),
                acquire_time: Some(MicroTime(acquired)),
                renew_time: Some(MicroTime(wall)),
                ..LeaseSpec::default()
            }),
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        answered(self.leases.patch(&self.name, &params, &Patch::Apply(&lease))).await.map(drop)
    }
}

async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER_MAX, call).await.map_err(|_| Failure::Silent)?.map_err(Failure::Api)
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Declare => "make the AcceleratorNode",
        Action::Tell(_) => "write its status",
        Action::Renew => "renew the Lease",
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(kube::Error::Api(status)) => {
                write!(f, "{} {}: {}", status.code, status.reason, status.message)
            }
            Self::Api(error) => {
                // What lies beneath says more than that something failed.
                let mut cause: &dyn std::error::Error = error;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                write!(f, "no answer of the API server: {cause}")
            }
            Self::Silent => write!(f, "no answer of the API server within {} s", ANSWER_MAX.as_secs()),
        }
    }
}
