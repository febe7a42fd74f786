//! What a publisher writes, and what it makes of every answer and of none.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

#[allow(dead_code, reason = "each file of tests uses what it needs")]
mod common;

use std::time::Duration;

use clap::Parser;
use edgemux_publisher::args::Args;
use edgemux_publisher::board::{Action, Outcome};
use edgemux_publisher::cluster::Cluster;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use self::common::{Answer, ApiServer, Asked, refusal, takes};

fn args() -> Args {
    Args::parse_from([
        "edgemux-publisher",
        "--node=edge-1",
        "--endpoint=http://10.0.0.7:8001",
        "--label=site=north",
    ])
}

fn tell() -> Action {
    Action::Tell(Box::default())
}

fn wall() -> Timestamp {
    "2026-01-02T03:04:05.678901Z".parse().unwrap()
}

fn server(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> (ApiServer, Cluster) {
    let (server, client) = ApiServer::new(answer);
    (server, Cluster::new(client, &args()))
}

#[tokio::test]
async fn a_node_is_applied_with_its_endpoint_and_never_with_what_is_the_operators() {
    let (server, mut cluster) = server(takes);
    assert!(matches!(cluster.perform(&Action::Declare, wall()).await, Outcome::Done(None)));
    let asked = server.last("node").unwrap();
    assert_eq!(asked.path, "/apis/edgemux.dev/v1alpha1/acceleratornodes/edge-1");
    assert!(asked.query.contains("fieldManager=edgemux-publisher") && !asked.query.contains("force=true"));
    assert_eq!(asked.body["spec"], json!({ "endpoint": "http://10.0.0.7:8001" }));
    assert_eq!(
        asked.body["metadata"]["labels"],
        json!({
            "app.kubernetes.io/managed-by": "edgemux-publisher",
            "kubernetes.io/hostname": "edge-1",
            "site": "north",
        })
    );
}

#[tokio::test]
async fn an_endpoint_that_an_operator_has_set_stays_and_the_node_is_published_all_the_same() {
    let (server, mut cluster) = server(|asked| match asked.body.get("spec") {
        Some(_) => refusal(409, "Conflict", "conflict with \"kubectl-edit\": .spec.endpoint"),
        None => takes(asked),
    });
    assert!(matches!(cluster.perform(&Action::Declare, wall()).await, Outcome::Done(None)));
    let bodies: Vec<_> = server.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[1].get("spec").is_none());

    server.answer(|_| refusal(409, "Conflict", "even the labels are another's"));
    assert_eq!(cluster.perform(&Action::Declare, wall()).await, Outcome::Done(None));
}

#[tokio::test]
async fn the_status_that_a_node_had_comes_back_with_it() {
    let (_server, mut cluster) = server(|asked| {
        let (code, mut object) = takes(asked)?;
        object["status"] = json!({ "epoch": "e" });
        Some((code, object))
    });
    let Outcome::Done(Some(status)) = cluster.perform(&Action::Declare, wall()).await else { panic!() };
    assert_eq!(status.epoch, "e");
}

#[tokio::test]
async fn a_status_is_the_publishers_whoever_has_written_it() {
    let (server, mut cluster) = server(takes);
    assert_eq!(cluster.perform(&tell(), wall()).await, Outcome::Done(None));
    let asked = server.last("status").unwrap();
    assert_eq!(asked.path, "/apis/edgemux.dev/v1alpha1/acceleratornodes/edge-1/status");
    assert!(asked.query.contains("force=true"));
    assert!(asked.body.get("spec").is_none());
}

#[tokio::test]
async fn a_lease_is_of_the_nodes_name_and_says_since_when_and_how_long() {
    let (server, mut cluster) = server(takes);
    assert_eq!(cluster.perform(&Action::Renew, wall()).await, Outcome::Done(None));
    let later = wall() + Duration::from_secs(5);
    assert_eq!(cluster.perform(&Action::Renew, later).await, Outcome::Done(None));
    let asked = server.last("lease").unwrap();
    assert_eq!(asked.path, "/apis/coordination.k8s.io/v1/namespaces/edgemux-system/leases/edge-1");
    assert_eq!(
        asked.body["spec"],
        json!({
            "acquireTime": "2026-01-02T03:04:05.678901Z",
            "holderIdentity": "edge-1",
            "leaseDurationSeconds": 20,
            "renewTime": "2026-01-02T03:04:10.678901Z",
        })
    );
}

#[tokio::test]
async fn no_answer_ends_a_publisher() {
    let (server, mut cluster) = server(takes);
    for (code, reason, outcome) in [
        (400, "BadRequest", Outcome::Failed),
        (401, "Unauthorized", Outcome::Failed),
        (403, "Forbidden", Outcome::Failed),
        (404, "NotFound", Outcome::Missing),
        (409, "Conflict", Outcome::Failed),
        (413, "RequestEntityTooLarge", Outcome::Failed),
        (422, "Invalid", Outcome::Failed),
        (429, "TooManyRequests", Outcome::Failed),
        (500, "InternalError", Outcome::Failed),
        (503, "ServiceUnavailable", Outcome::Failed),
        (504, "Timeout", Outcome::Failed),
    ] {
        server.answer(move |_| refusal(code, reason, "made up"));
        for action in [tell(), Action::Renew] {
            assert_eq!(cluster.perform(&action, wall()).await, outcome, "{code} for {action:?}");
        }
        if code != 409 {
            assert_eq!(cluster.perform(&Action::Declare, wall()).await, outcome, "{code}");
        }
    }
    // Neither a proxy's page nor half of an object.
    server.answer(|_| Some((502, json!("<html>"))));
    assert_eq!(cluster.perform(&tell(), wall()).await, Outcome::Failed);
    server.answer(|_| Some((200, json!({ "kind": "AcceleratorNode" }))));
    assert_eq!(cluster.perform(&tell(), wall()).await, Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_says_nothing_is_given_up_and_asked_again() {
    let (server, mut cluster) = server(|_| None);
    let begun = tokio::time::Instant::now();
    assert_eq!(cluster.perform(&Action::Renew, wall()).await, Outcome::Failed);
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    server.answer(takes);
    assert_eq!(cluster.perform(&Action::Renew, wall()).await, Outcome::Done(None));
}
