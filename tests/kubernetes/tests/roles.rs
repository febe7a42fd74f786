//! The shipped roles allow what the table says, and nothing else; a publisher writes of its own node alone.

use edgemux_cluster_api::access::{Access, CONTROLLER, NAMESPACE, OF_CONTROLLER, OF_PUBLISHER, PUBLISHER, allows};
use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_cluster_api::session::InferenceSession;
use edgemux_kubernetes_tests::{ControlPlane, assets, client};
use edgemux_tests::{PATIENCE, eventually};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

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

async fn may(admin: &Client, account: &str, group: &str, resource: &str, verb: &str, namespace: &str) -> bool {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_writes_of_its_own_node_alone_and_no_sessions() {
    let Some(assets) = assets("a_publisher_writes_of_its_own_node_alone_and_no_sessions") else { return };
    let control = ControlPlane::start(&assets).await;
    let admin = control.admin().await;
    let publisher = client(&control.publisher("edge-1").await).await;
    let nodes: Api<AcceleratorNode> = Api::all(publisher.clone());
    let leases: Api<Lease> = Api::namespaced(publisher.clone(), NAMESPACE);
    let params = PatchParams::apply("edgemux-publisher").force();
    let node = |name: &str, spec| {
        json!({ "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "name": name }, "spec": spec })
    };
    let lease = |name: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": 5 },
        })
    };
    let own = Patch::Apply(node("edge-1", json!({ "endpoint": "http://h:1" })));
    eventually("its own node is taken", PATIENCE, async || {
        nodes.patch("edge-1", &params, &own).await.map_err(|error| eprintln!("{error}")).ok()
    })
    .await;
    leases.patch("edge-1", &params, &Patch::Apply(lease("edge-1"))).await.unwrap();

    let other = Patch::Apply(node("edge-2", json!({ "endpoint": "http://h:1" })));
    // The policy comes into force a little later than it is written.
    let said = eventually("another's node is refused", PATIENCE, async || {
        nodes.patch("edge-2", &params, &other).await.err().map(message)
    })
    .await;
    assert!(said.contains("a publisher on node edge-1 may not write of edge-2"), "{said}");
    let admin_nodes: Api<AcceleratorNode> = Api::all(admin.clone());
    let of_edge_2 = node("edge-2", json!({ "endpoint": "http://h:2" }));
    admin_nodes.patch("edge-2", &PatchParams::apply("admin").force(), &Patch::Apply(of_edge_2)).await.unwrap();
    let status = json!({
        "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "name": "edge-2" },
        "status": { "epoch": "forged" },
    });
    let said = message(nodes.patch_status("edge-2", &params, &Patch::Apply(&status)).await.unwrap_err());
    assert!(said.contains("may not write of edge-2"), "{said}");
    let said = message(leases.patch("edge-2", &params, &Patch::Apply(lease("edge-2"))).await.unwrap_err());
    assert!(said.contains("may not write of edge-2"), "{said}");
    let leader = lease("edgemux-controller");
    let said = message(leases.patch("edgemux-controller", &params, &Patch::Apply(leader)).await.unwrap_err());
    assert!(said.contains("may not write of edgemux-controller"), "{said}");
    let cordoned = node("edge-1", json!({ "endpoint": "http://h:1", "unschedulable": true }));
    let said = message(nodes.patch("edge-1", &params, &Patch::Apply(cordoned)).await.unwrap_err());
    assert!(said.contains("may not change unschedulable"), "{said}");

    // A token that is of no pod is of no node.
    let unbound = client(&control.account(PUBLISHER).await).await;
    let said = message(Api::<AcceleratorNode>::all(unbound).patch("edge-1", &params, &own).await.unwrap_err());
    assert!(said.contains("does not say on which node"), "{said}");

    let sessions: Api<InferenceSession> = Api::namespaced(publisher.clone(), "default");
    for said in [
        sessions.list(&Default::default()).await.map(drop).unwrap_err(),
        sessions.delete("x", &DeleteParams::default()).await.map(drop).unwrap_err(),
        sessions.patch_status("x", &params, &Patch::Apply(json!({}))).await.map(drop).unwrap_err(),
        nodes.delete("edge-1", &DeleteParams::default()).await.map(drop).unwrap_err(),
        nodes.list(&Default::default()).await.map(drop).unwrap_err(),
        Api::<Secret>::namespaced(publisher.clone(), NAMESPACE).list(&Default::default()).await.map(drop).unwrap_err(),
        Api::<Lease>::namespaced(publisher.clone(), "default")
            .patch("edge-1", &params, &Patch::Apply(lease("edge-1")))
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(matches!(&said, kube::Error::Api(status) if status.is_forbidden()), "{said}");
    }
}
