//! Publishers under their shipped role: a real daemon's state comes into a real cluster, and goes on doing so.

use std::time::Duration;

use edgemux_cluster_api::access::NAMESPACE;
use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_kubernetes_tests::{ControlPlane, EdgeNode, assets, eventually};
use edgemux_proto::edgemux::v1::FenceRequest;
use edgemux_tests::{Emulated, PATIENCE, terms};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

fn is_ready(node: &AcceleratorNode, status: &str) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == status)
}

fn reason(node: &AcceleratorNode) -> &str {
    &node.status.as_ref().unwrap().conditions[0].reason
}

fn epoch(node: &AcceleratorNode) -> &str {
    &node.status.as_ref().unwrap().epoch
}

async fn renewed(admin: &Client, name: &str) -> Option<Timestamp> {
    let leases: Api<Lease> = Api::namespaced(admin.clone(), NAMESPACE);
    Some(leases.get_opt(name).await.ok()??.spec?.renew_time?.0)
}

async fn is_renewed_again(admin: &Client, name: &str) {
    let before = renewed(admin, name).await;
    eventually("the Lease is renewed", PATIENCE, async || {
        (renewed(admin, name).await > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_published_whatever_restarts() {
    let Some(assets) = assets("a_node_is_published_whatever_restarts") else { return };
    let mut control = ControlPlane::start(&assets).await;
    let admin = control.admin().await;
    let mut node = EdgeNode::start(&control, "edge-1", &[("detector", Emulated::new(4.0))]).await;

    let published = node.published(&admin, "it is ready", |node| is_ready(node, "True")).await;
    assert_eq!(published.spec.endpoint, node.endpoint());
    assert_eq!(published.metadata.labels.as_ref().unwrap()["kubernetes.io/hostname"], "edge-1");
    let status = published.status.as_ref().unwrap();
    assert_eq!(status.accelerators.len(), 1);
    assert_eq!(status.models, ["detector/1"]);
    let first = epoch(&published).to_owned();
    is_renewed_again(&admin, "edge-1").await;

    // A session comes, and a device is fenced.
    let client = node.client().await;
    client.admit(&terms("detector", 20.0, 0.99, 100.0)).await;
    let has_session = |node: &AcceleratorNode| {
        node.status.iter().flat_map(|status| &status.sessions).any(|session| session.state == "Ready")
    };
    node.published(&admin, "its session is there", has_session).await;
    let fence = FenceRequest { device: "gpu0".into(), reason: "too hot".into() };
    client.devices.clone().fence(fence).await.unwrap();
    node.published(&admin, "its device is fenced", |node| {
        node.status.as_ref().unwrap().accelerators[0].fenced.as_deref() == Some("too hot")
    })
    .await;

    // The API server goes and comes back.
    control.stop_apiserver().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(node.publisher().is_running());
    control.start_apiserver().await;
    is_renewed_again(&admin, "edge-1").await;

    // The daemon is killed: nobody vouches for it, and what was known stays.
    node.kill_daemon().await;
    let away = node.published(&admin, "it is away", |node| is_ready(node, "False")).await;
    assert_eq!((reason(&away), epoch(&away)), ("DaemonUnreachable", first.as_str()));
    let last = renewed(&admin, "edge-1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(renewed(&admin, "edge-1").await, last);

    // Its next run is another one, without what the last had.
    node.start_daemon().await;
    let again = node.published(&admin, "it is back", |node| is_ready(node, "True")).await;
    assert_ne!(epoch(&again), first);
    assert!(again.status.as_ref().unwrap().sessions.is_empty());
    is_renewed_again(&admin, "edge-1").await;

    // The publisher ends as an operator ends it, and another takes over.
    node.stop_publisher().await;
    let stopped = node.published(&admin, "it says so", |node| is_ready(node, "False")).await;
    assert_eq!((reason(&stopped), epoch(&stopped)), ("Stopping", epoch(&again)));
    node.start_publisher();
    node.published(&admin, "it is ready once more", |node| is_ready(node, "True")).await;
    assert!(control.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_sets_stays() {
    let Some(assets) = assets("what_an_operator_sets_stays") else { return };
    let control = ControlPlane::start(&assets).await;
    let admin = control.admin().await;
    let nodes: Api<AcceleratorNode> = Api::all(admin.clone());
    let mut node = EdgeNode::start(&control, "edge-1", &[]).await;
    node.published(&admin, "it is ready", |node| is_ready(node, "True")).await;

    let by_hand = PatchParams { field_manager: Some("kubectl-patch".into()), ..PatchParams::default() };
    let set = json!({ "spec": { "endpoint": "http://proxy:9", "unschedulable": true } });
    nodes.patch("edge-1", &by_hand, &Patch::Merge(&set)).await.unwrap();
    node.stop_publisher().await;
    node.start_publisher();
    let kept = node.published(&admin, "it is ready again", |node| is_ready(node, "True")).await;
    assert_eq!((kept.spec.endpoint.as_str(), kept.spec.unschedulable), ("http://proxy:9", true));

    // One that is deleted while its publisher runs is there again once there is something to tell.
    nodes.delete("edge-1", &DeleteParams::default()).await.unwrap();
    node.kill_daemon().await;
    node.start_daemon().await;
    let again = node.published(&admin, "it is there again", |node| is_ready(node, "True")).await;
    assert_eq!((again.spec.endpoint, again.spec.unschedulable), (node.endpoint(), false));
}
