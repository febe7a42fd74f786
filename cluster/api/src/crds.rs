//! The definitions as Kubernetes takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::node::AcceleratorNode;
use crate::session::InferenceSession;

/// All definitions.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![AcceleratorNode::crd(), InferenceSession::crd()]
}
