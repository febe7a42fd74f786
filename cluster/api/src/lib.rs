//! The resources by which a Kubernetes cluster speaks of edgemux.
//!
//! | resource | scope | who writes it |
//! |---|---|---|
//! | [`node::AcceleratorNode`] | cluster | a node's publisher: what the node has, and what runs there |
//! | [`session::InferenceSession`] | namespace | users write the spec, the controller the status |
//!
//! Quantities are whole numbers, as Kubernetes wants them, and their unit stands in the name: microseconds, millihertz
//! (thousandths of a request per second), bytes, permille (thousandths). The rules that Kubernetes itself checks are
//! written here in CEL beside the fields that they are of; `edgemux-controller crds` prints the definitions.
#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "what is derived for validation declares its types inside of functions")]
#![allow(
    clippy::duplicated_attributes,
    reason = "columns of a definition are of the same type more than once"
)]

pub mod access;
pub mod crds;
pub mod node;
pub mod objective;
pub mod session;

/// The API group.
pub const GROUP: &str = "edgemux.dev";
/// The finaliser by which a session is not gone before every node has given its place back.
pub const FINALIZER: &str = "edgemux.dev/release";
