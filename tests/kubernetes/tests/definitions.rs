//! A real API server takes the definitions as they are shipped, and holds objects to their rules, each with its message.

use edgemux_cluster_api::node::AcceleratorNode;
use edgemux_cluster_api::session::InferenceSession;
use edgemux_kubernetes_tests::{ControlPlane, assets, shipped};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn session(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "model": { "name": "detector" },
        "rateMillihertz": 20_000,
        "objective": { "latencyMicros": 50_000, "quantilePermille": 990 },
    });
    change(&mut spec);
    json!({ "apiVersion": "edgemux.dev/v1alpha1", "kind": "InferenceSession", "metadata": { "generateName": "s-" }, "spec": spec })
}

fn node(spec: &Value) -> Value {
    json!({ "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "generateName": "n-" }, "spec": spec })
}

/// What the API server says of an object, which is not kept; nothing of a good one.
async fn said(client: &Client, object: &Value) -> Option<String> {
    let (kind, namespace) = match object["kind"].as_str() {
        Some("AcceleratorNode") => ("acceleratornodes", ""),
        _ => ("inferencesessions", "namespaces/default/"),
    };
    let path = format!("/apis/edgemux.dev/v1alpha1/{namespace}{kind}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(object.to_string().into_bytes()).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(error) => panic!("{error}"),
    }
}

async fn refuses(client: &Client, message: &str, object: Value) {
    let said = said(client, &object)
        .await
        .unwrap_or_else(|| panic!("it is taken, and not refused with {message:?}: {object}"));
    assert!(said.contains(message), "{said:?}, and not {message:?}");
}

async fn takes(client: &Client, object: Value) {
    assert_eq!(said(client, &object).await, None, "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_held_to_the_rules_of_their_definitions() {
    let Some(assets) = assets("objects_are_held_to_the_rules_of_their_definitions") else { return };
    let control = ControlPlane::start(&assets).await;
    let client = &control.admin().await;

    takes(client, session(|_| ())).await;
    takes(
        client,
        session(|spec| spec["model"] = json!({ "name": "a.b_c-D", "version": 3, "digest": DIGEST })),
    )
    .await;
    takes(client, session(|spec| *spec = json!({ "model": { "name": "m" } }))).await;
    takes(client, session(|spec| spec["objective"] = json!({ "latencyMicros": 1 }))).await;
    takes(client, session(|spec| spec["kinds"] = json!(["Cpu", "Gpu", "EdgeTpu"]))).await;
    takes(client, session(|spec| spec["nodeSelector"] = json!({ "site": "north" }))).await;
    takes(client, session(|spec| spec["replicas"] = json!(0))).await;

    let together = "a rate and an objective go together";
    refuses(client, together, session(|spec| drop(spec.as_object_mut().unwrap().remove("objective")))).await;
    refuses(client, together, session(|spec| drop(spec.as_object_mut().unwrap().remove("rateMillihertz"))))
        .await;
    for name in ["", "a b", "../x", ".", "..", &"m".repeat(65)] {
        let said =
            said(client, &session(|spec| spec["model"]["name"] = json!(name))).await.expect("it is refused");
        assert!(said.contains("a model's name is 1 to 64") || said.contains("64"), "{name:?}: {said}");
    }
    let digest = "a digest is 64 hexadecimal digits in lower case";
    refuses(client, digest, session(|spec| spec["model"]["digest"] = json!(DIGEST.to_uppercase()))).await;
    refuses(client, digest, session(|spec| spec["model"]["digest"] = json!("abc"))).await;
    for (path, value, message) in [
        ("/model/version", json!(0), "spec.model.version"),
        ("/rateMillihertz", json!(0), "spec.rateMillihertz"),
        ("/rateMillihertz", json!(1_000_000_001), "spec.rateMillihertz"),
        ("/rateMillihertz", json!(0.5), "spec.rateMillihertz"),
        ("/burst", json!(0), "spec.burst"),
        ("/objective/latencyMicros", json!(0), "spec.objective.latencyMicros"),
        ("/objective/latencyMicros", json!(3_600_000_001_i64), "spec.objective.latencyMicros"),
        ("/objective/quantilePermille", json!(1000), "spec.objective.quantilePermille"),
        ("/objective/quantilePermille", json!(0), "spec.objective.quantilePermille"),
        ("/kinds", json!(["Npu"]), "spec.kinds"),
        ("/kinds", json!(["Cpu", "Cpu", "Cpu", "Cpu"]), "spec.kinds"),
        ("/priority", json!(-1), "spec.priority"),
        ("/replicas", json!(65), "spec.replicas"),
        ("/replicas", json!(-1), "spec.replicas"),
        ("/latency", json!(5), "unknown field"),
    ] {
        let bad = session(|spec| {
            let (parent, key) = path.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[key] = value;
        });
        refuses(client, message, bad).await;
    }

    takes(client, node(&json!({ "endpoint": "http://10.0.0.7:8001" }))).await;
    takes(client, node(&json!({ "endpoint": "https://[fd00::7]:8001", "unschedulable": true }))).await;
    for endpoint in ["10.0.0.7:8001", "http://10.0.0.7", "http://h:8001/x", "ftp://h:1", "http://:1 ", ""] {
        refuses(client, "an endpoint is http://HOST:PORT", node(&json!({ "endpoint": endpoint }))).await;
    }
    refuses(client, "spec.endpoint", node(&json!({}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_taken_and_defaults_are_filled_in() {
    let Some(assets) = assets("examples_are_taken_and_defaults_are_filled_in") else { return };
    let control = ControlPlane::start(&assets).await;
    let client = control.admin().await;
    let sessions: Api<InferenceSession> = Api::namespaced(client.clone(), "default");
    for file in ["examples/inference-session.yaml", "examples/best-effort.yaml"] {
        for object in shipped(file) {
            let made = create(&sessions, object).await;
            assert!(made.spec.replicas >= 1, "{file}");
        }
    }
    let detector = sessions.get("detector").await.unwrap();
    assert_eq!((detector.spec.replicas, detector.spec.priority, detector.status), (1, 1, None));

    // A status is a resource of its own: who writes the spec does not write it.
    let patch = json!({ "status": { "phase": "Ready" } });
    let patched = sessions.patch("detector", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.status, None);
    let patched =
        sessions.patch_status("detector", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert!(patched.status.is_some());

    // By `kubectl scale` and what does as it does.
    let scale = json!({ "spec": { "replicas": 3 } });
    sessions.patch_scale("detector", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    assert_eq!(sessions.get("detector").await.unwrap().spec.replicas, 3);

    let nodes: Api<AcceleratorNode> = Api::all(client);
    let object = json!({
        "apiVersion": "edgemux.dev/v1alpha1", "kind": "AcceleratorNode", "metadata": { "name": "n" },
        "spec": { "endpoint": "http://h:1" },
    });
    let node = nodes.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    assert!(!node.spec.unschedulable);
}

async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource<Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + serde::Serialize
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}
