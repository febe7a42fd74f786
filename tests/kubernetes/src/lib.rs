//! What the tests with a real API server share: etcd and kube-apiserver as processes of their own, the shipped definitions, roles
//! and admission policy in them, and daemons, publishers and controllers under those roles.
//!
//! `KUBEBUILDER_ASSETS` names the folder with `etcd` and `kube-apiserver`; without it every test says loudly that it was skipped,
//! and passes. The programs are found beside the tests, in `target/PROFILE`, or where `EDGEMUXD`, `EDGEMUX_PUBLISHER` and
//! `EDGEMUX_CONTROLLER` say.

mod assets;
mod certificates;
mod control_plane;
mod manifests;
mod node;
mod program;

pub use self::assets::{Assets, assets, skipped};
pub use self::control_plane::{ControlPlane, client, free_ports, kubeconfig};
pub use self::manifests::shipped;
pub use self::node::EdgeNode;
pub use self::program::{Program, binary};
