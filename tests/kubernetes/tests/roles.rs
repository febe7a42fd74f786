//! The shipped roles allow what the table says, and nothing else; a publisher writes of its own node alone.

use edgemux_cluster_api::access::{
    Access, CONTROLLER, NAMESPACE, OF_CONTROLLER, OF_PUBLISHER, PUBLISHER, allows,
};
use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_cluster_api::session::InferenceSession;
use edgemux_kubernetes_tests::{ControlPlane, assets, client, eventually, skipped};
use edgemux_tests::PATIENCE;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Every resource of the table, and some that nobody is to touch.
const RESOURCES: [(&str, &str); 14] = [
    ("edgemux.dev", "acceleratornodes"),
    ("edgemux.dev", "acceleratornodes/status"),
    ("edgemux.dev", "inferencesessions"),
    ("edgemux.dev", "inferencesessions/status"),
    ("edgemux.dev", "inferencesessions/scale"),
    ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"),
    ("", "events"),
    ("", "secrets"),
    ("", "pods"),
    ("", "nodes"),
    ("", "configmaps"),
    ("", "serviceaccounts/token"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
];

async fn may(
    admin: &Client,
    account: &str,
    group: &str,
    resource: &str,
    verb: &str,
    namespace: &str,
) -> bool {
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource,
        verb: Some(verb.into()),
        namespace: Some(namespace.into()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{NAMESPACE}:{account}")),
        groups: Some(vec!["system:serviceaccounts".into(), "system:authenticated".into()]),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.is_some_and(|status| status.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_may_do_what_the_table_says_and_nothing_else() {
    let Some(assets) = assets("accounts_may_do_what_the_table_says_and_nothing_else") else { return };
    let control = ControlPlane::start(&assets).await;
    let admin = control.admin().await;
    let tables: [(&str, &[Access]); 2] = [(CONTROLLER, OF_CONTROLLER), (PUBLISHER, OF_PUBLISHER)];
    // The authoriser follows the roles a little later than they are written.
    eventually("roles are in force", PATIENCE, async || {
        may(&admin, PUBLISHER, "edgemux.dev", "acceleratornodes", "patch", "").await.then_some(())
    })
    .await;
    for (account, table) in tables {
        for access in table {
            assert!(RESOURCES.contains(&(access.group, access.resource)), "{access:?} is not asked for here");
        }
        for (group, resource) in RESOURCES {
            for verb in VERBS {
                for namespace in ["", NAMESPACE, "default"] {
                    let expected = allows(table, group, resource, verb, Some(namespace));
                    let allowed = may(&admin, account, group, resource, verb, namespace).await;
                    assert_eq!(allowed, expected, "{account}: {verb} {resource}.{group} in {namespace:?}");
                }
            }
        }
    }
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => panic!("{error}"),
    }
}

fn node(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "name": name }, "spec": spec })
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": 5 },
    })
}

fn by_publisher() -> PatchParams {
    PatchParams::apply("edgemux-publisher").force()
}

/// Writes its own node by what a publisher is; roles come into force a little later than they are written.
async fn writes_its_own(nodes: &Api<AcceleratorNode>, leases: &Api<Lease>) {
    let own = Patch::Apply(node("edge-1", &json!({ "endpoint": "http://h:1" })));
    eventually("its own node is taken", PATIENCE, async || {
        nodes.patch("edge-1", &by_publisher(), &own).await.map_err(|error| eprintln!("{error}")).ok()
    })
    .await;
    leases.patch("edge-1", &by_publisher(), &Patch::Apply(lease("edge-1"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_reads_nothing_and_writes_no_sessions() {
    let Some(assets) = assets("a_publisher_reads_nothing_and_writes_no_sessions") else { return };
    let control = ControlPlane::start(&assets).await;
    let publisher = client(&control.publisher("edge-1").await).await;
    let nodes: Api<AcceleratorNode> = Api::all(publisher.clone());
    let leases: Api<Lease> = Api::namespaced(publisher.clone(), NAMESPACE);
    writes_its_own(&nodes, &leases).await;
    let sessions: Api<InferenceSession> = Api::namespaced(publisher.clone(), "default");
    let elsewhere: Api<Lease> = Api::namespaced(publisher.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(publisher.clone(), NAMESPACE);
    let (all, at_once) = (ListParams::default(), DeleteParams::default());
    let session = json!({ "apiVersion": "edgemux.dev/v1alpha1", "kind": "InferenceSession", "metadata": { "name": "x" } });
    for error in [
        sessions.list(&all).await.map(drop).unwrap_err(),
        sessions.delete("x", &at_once).await.map(drop).unwrap_err(),
        sessions.patch_status("x", &by_publisher(), &Patch::Apply(&session)).await.map(drop).unwrap_err(),
        nodes.delete("edge-1", &at_once).await.map(drop).unwrap_err(),
        nodes.list(&all).await.map(drop).unwrap_err(),
        secrets.list(&all).await.map(drop).unwrap_err(),
        elsewhere
            .patch("edge-1", &by_publisher(), &Patch::Apply(lease("edge-1")))
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_writes_of_its_own_node_alone() {
    let Some(assets) = assets("a_publisher_writes_of_its_own_node_alone") else { return };
    let control = ControlPlane::start(&assets).await;
    if !control.has_policies() {
        return skipped(
            "a_publisher_writes_of_its_own_node_alone",
            "this API server has no ValidatingAdmissionPolicy",
        );
    }
    let admin = control.admin().await;
    let publisher = client(&control.publisher("edge-1").await).await;
    let nodes: Api<AcceleratorNode> = Api::all(publisher.clone());
    let leases: Api<Lease> = Api::namespaced(publisher.clone(), NAMESPACE);
    writes_its_own(&nodes, &leases).await;

    let other = Patch::Apply(node("edge-2", &json!({ "endpoint": "http://h:1" })));
    // The policy comes into force a little later than it is written.
    let said = eventually("another's node is refused", PATIENCE, async || {
        nodes.patch("edge-2", &by_publisher(), &other).await.err().map(message)
    })
    .await;
    assert!(said.contains("a publisher on node edge-1 may not write of edge-2"), "{said}");
    let of_edge_2 = node("edge-2", &json!({ "endpoint": "http://h:2" }));
    let by_admin = PatchParams::apply("admin").force();
    Api::<AcceleratorNode>::all(admin).patch("edge-2", &by_admin, &Patch::Apply(of_edge_2)).await.unwrap();
    let status = json!({
        "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "name": "edge-2" },
        "status": { "epoch": "forged" },
    });
    let cordoned = node("edge-1", &json!({ "endpoint": "http://h:1", "unschedulable": true }));
    for (error, expected) in [
        (
            nodes.patch_status("edge-2", &by_publisher(), &Patch::Apply(&status)).await.map(drop),
            "may not write of edge-2",
        ),
        (
            leases.patch("edge-2", &by_publisher(), &Patch::Apply(lease("edge-2"))).await.map(drop),
            "may not write of edge-2",
        ),
        (
            leases.patch(CONTROLLER, &by_publisher(), &Patch::Apply(lease(CONTROLLER))).await.map(drop),
            "may not write of edgemux-controller",
        ),
        (
            nodes.patch("edge-1", &by_publisher(), &Patch::Apply(cordoned)).await.map(drop),
            "may not change unschedulable",
        ),
    ] {
        let said = message(error.unwrap_err());
        assert!(said.contains(expected), "{said}");
    }

    // A token that is of no pod is of no node.
    let unbound: Api<AcceleratorNode> = Api::all(client(&control.account(PUBLISHER).await).await);
    let own = Patch::Apply(node("edge-1", &json!({ "endpoint": "http://h:1" })));
    let said = message(unbound.patch("edge-1", &by_publisher(), &own).await.unwrap_err());
    assert!(said.contains("does not say on which node"), "{said}");
}
