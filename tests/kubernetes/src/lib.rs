//! What the tests with a real API server share: etcd and kube-apiserver as processes of their own, the shipped definitions, roles
//! and admission policy in them, and daemons, publishers and controllers under those roles.
//!
//! `KUBEBUILDER_ASSETS` names the folder with `etcd` and `kube-apiserver`; without it every test says loudly that it was skipped,
//! and passes. Where `apiextensions-apiserver` is beside them, it keeps the definitions and their objects, and the API server passes
//! on to it what is of our group: so an API server that knows no rules yet does too. The programs are found beside the tests, in `target/PROFILE`, or where `EDGEMUXD`, `EDGEMUX_PUBLISHER` and
//! `EDGEMUX_CONTROLLER` say.

use std::time::{Duration, Instant};

mod assets;
mod certificates;
mod control_plane;
mod ground;
mod manifests;
mod node;
mod program;

pub use self::assets::{Assets, assets, skipped};
pub use self::control_plane::{ControlPlane, client, free_ports, kubeconfig};
pub use self::ground::{Ground, session};
pub use self::manifests::shipped;
pub use self::node::EdgeNode;
pub use self::program::{Program, binary};

/// An API server is not to be kept from its work by being asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks again and again until there is something to see, and returns it; panics with `what` after `within`.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
