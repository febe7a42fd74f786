//! The shipped manifests, given to an API server as they are.

use std::path::Path;

use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_tests::PATIENCE;
use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Client, discovery};
use serde_json::{Value, json};

use crate::assets::root;
use crate::eventually;

/// The objects of a file below `deploy/kubernetes`.
#[must_use]
pub fn shipped(file: &str) -> Vec<Value> {
    let path = root().join("deploy/kubernetes").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let documents = serde_saphyr::from_multiple::<Value>(&text);
    documents.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Gives all objects of a file to the API server.
pub(crate) async fn apply(client: &Client, file: &str) {
    for object in shipped(file) {
        // What was just defined takes a moment to be known.
        eventually(&format!("{} of {file} is taken", object["metadata"]["name"]), PATIENCE, async || {
            apply_one(client, &object).await.map_err(|error| eprintln!("{file}: {error}")).ok()
        })
        .await;
    }
}

async fn apply_one(client: &Client, object: &Value) -> kube::Result<()> {
    let (api, name) = api_of(client, object).await?;
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(object)).await.map(drop)
}

async fn create(client: &Client, object: &Value) -> kube::Result<()> {
    let (api, _) = api_of(client, object).await?;
    let object = serde_json::from_value(object.clone()).expect("an object");
    api.create(&PostParams::default(), &object).await.map(drop)
}

async fn api_of<'a>(client: &Client, object: &'a Value) -> kube::Result<(Api<DynamicObject>, &'a str)> {
    let types: TypeMeta = serde_json::from_value(object.clone()).expect("apiVersion and kind");
    let kind = GroupVersionKind::try_from(&types).expect("an apiVersion");
    let (resource, _) = discovery::pinned_kind(client, &kind).await?;
    let name = object["metadata"]["name"].as_str().expect("a name");
    let api = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, name))
}

/// Waits until what was defined can be asked for.
pub(crate) async fn established(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in edgemux_cluster_api::crds::all() {
        let name = definition.metadata.name.expect("a name");
        eventually(&format!("{name} is established"), PATIENCE, async || {
            let conditions = definitions.get(&name).await.ok()?.status?.conditions?;
            conditions.iter().any(|c| c.type_ == "Established" && c.status == "True").then_some(())
        })
        .await;
    }
}

/// Has the API server pass on what is of our group to a server of its own.
pub(crate) async fn pass_on(admin: &Client, port: u16, ca: &Path) {
    let ca = std::fs::read(ca).expect("the authority's certificate");
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "extensions", "namespace": "kube-system" },
            "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "port": port, "protocol": "TCP" }] },
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1alpha1.edgemux.dev" },
            "spec": {
                "group": edgemux_cluster_api::GROUP, "version": "v1alpha1",
                "groupPriorityMinimum": 1000, "versionPriority": 15,
                "service": { "name": "extensions", "namespace": "kube-system", "port": port },
                "caBundle": ByteString(ca),
            },
        }),
    ];
    for object in &objects {
        eventually(&format!("{} is taken", object["kind"]), PATIENCE, async || {
            create(admin, object).await.map_err(|error| eprintln!("{error}")).ok()
        })
        .await;
    }
}

/// Waits until our group is served.
pub(crate) async fn served(admin: &Client) {
    let nodes: Api<AcceleratorNode> = Api::all(admin.clone());
    eventually("AcceleratorNodes can be asked for", PATIENCE, async || {
        nodes.list(&ListParams::default()).await.ok()
    })
    .await;
}
