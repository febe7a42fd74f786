//! The rules that Kubernetes checks, evaluated here: those of the definitions, and those of the policy that holds a publisher to its
//! own node. What a real API server makes of them is in `tests/kubernetes`.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

use cel::{Context, Program, Value as CelValue};
use edgemux_cluster_api::crds;
use kube::core::cel::Validator;
use serde_json::{Value, json};

// === definitions ===

/// What the rules of a kind say of an object; empty of a good one.
fn said(kind: &str, spec: &Value) -> String {
    let all = crds::all();
    let definition = all.iter().find(|definition| definition.spec.names.kind == kind).unwrap();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    match Validator::new().validate(&schema, &json!({ "spec": spec }), None) {
        Ok(()) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn a_session_has_a_rate_and_an_objective_or_neither() {
    let objective = json!({ "latencyMicros": 5 });
    let model = json!({ "name": "detector" });
    assert_eq!(said("InferenceSession", &json!({ "model": model })), "");
    assert_eq!(
        said("InferenceSession", &json!({ "model": model, "rateMillihertz": 1, "objective": objective })),
        ""
    );
    for spec in
        [json!({ "model": model, "rateMillihertz": 1 }), json!({ "model": model, "objective": objective })]
    {
        assert!(said("InferenceSession", &spec).contains("a rate and an objective go together"), "{spec}");
    }
}

#[test]
fn models_names_and_digests_are_held_to_their_forms() {
    let of = |model: Value| said("InferenceSession", &json!({ "model": model }));
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(of(json!({ "name": "a.b_c-D9", "digest": digest })), "");
    for name in ["", "a b", "a/b", ".", "..", "ä"] {
        assert!(of(json!({ "name": name })).contains("a model's name is"), "{name:?}");
    }
    for digest in [digest.to_uppercase(), digest[1..].to_owned(), format!("{digest}0")] {
        assert!(of(json!({ "name": "m", "digest": digest })).contains("64 hexadecimal digits"), "{digest}");
    }
}

#[test]
fn an_endpoint_is_a_url_with_a_port() {
    let of = |endpoint: &str| said("AcceleratorNode", &json!({ "endpoint": endpoint }));
    for endpoint in ["http://10.0.0.7:8001", "https://edge-1:8001", "https://[fd00::7]:8001"] {
        assert_eq!(of(endpoint), "");
    }
    for endpoint in ["", "h:1", "http://h", "http://:1/", "http://h:1/x", "http://h:123456", "ftp://h:1"] {
        assert!(of(endpoint).contains("an endpoint is"), "{endpoint}");
    }
}

// === the publisher's policy ===

const POLICY: &str = include_str!("../../../deploy/kubernetes/base/admission-policy.yaml");
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

fn policy() -> Value {
    serde_saphyr::from_multiple::<Value>(POLICY).unwrap().swap_remove(0)
}

/// Who asks, for what.
#[derive(Clone)]
struct Asked {
    user: Value,
    resource: &'static str,
    object: Value,
    old: Value,
}

fn publisher(extra: Value) -> Value {
    let mut user = json!({ "username": "system:serviceaccount:edgemux-system:edgemux-publisher" });
    if !extra.is_null() {
        user["extra"] = extra;
    }
    user
}

fn node(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn asked(resource: &'static str, object: Value) -> Asked {
    Asked { user: publisher(json!({ NODE_NAME: ["edge-1"] })), resource, object, old: Value::Null }
}

fn evaluate(expression: &Value, context: &Context<'_>) -> CelValue {
    let expression = expression.as_str().unwrap();
    Program::compile(expression)
        .unwrap()
        .execute(context)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// What the policy says; nothing if it lets the request pass, or has no say in it.
fn verdict(asked: &Asked) -> Option<String> {
    let policy = policy();
    let mut context = Context::default();
    let request = json!({ "userInfo": asked.user, "resource": { "resource": asked.resource } });
    context.add_variable("request", request).unwrap();
    context.add_variable("object", asked.object.clone()).unwrap();
    context.add_variable("oldObject", asked.old.clone()).unwrap();
    let list = |key: &str| policy["spec"][key].as_array().unwrap().clone();
    if list("matchConditions")
        .iter()
        .any(|one| evaluate(&one["expression"], &context) != CelValue::Bool(true))
    {
        return None;
    }
    let mut variables = serde_json::Map::new();
    for variable in list("variables") {
        let CelValue::String(value) = evaluate(&variable["expression"], &context) else {
            panic!("{variable}")
        };
        variables.insert(variable["name"].as_str().unwrap().into(), json!(value.as_str()));
    }
    context.add_variable("variables", Value::Object(variables)).unwrap();
    let failed = list("validations")
        .into_iter()
        .find(|one| evaluate(&one["expression"], &context) != CelValue::Bool(true))?;
    Some(match failed["message"].as_str() {
        Some(message) => message.to_owned(),
        None => match evaluate(&failed["messageExpression"], &context) {
            CelValue::String(message) => message.to_string(),
            other => panic!("{other:?}"),
        },
    })
}

#[test]
fn a_publisher_may_write_of_its_own_node() {
    let endpoint = json!({ "endpoint": "http://h:1", "unschedulable": false });
    assert_eq!(verdict(&asked("acceleratornodes", node("edge-1", endpoint.clone()))), None);
    let lease = json!({ "metadata": { "name": "edge-1" }, "spec": { "leaseDurationSeconds": 20 } });
    assert_eq!(verdict(&asked("leases", lease)), None);
    let cordoned = node("edge-1", json!({ "endpoint": "http://h:1", "unschedulable": true }));
    let kept = Asked { old: cordoned.clone(), ..asked("acceleratornodes", cordoned) };
    assert_eq!(verdict(&kept), None, "what the operator has set does not keep the status from being written");
}

#[test]
fn a_publisher_may_not_write_of_another_node_nor_lead_nor_cordon() {
    for (resource, name) in
        [("acceleratornodes", "edge-2"), ("leases", "edge-2"), ("leases", "edgemux-controller")]
    {
        let said = verdict(&asked(resource, node(name, json!({})))).unwrap();
        assert_eq!(said, format!("a publisher on node edge-1 may not write of {name}"));
    }
    let cordoned = asked("acceleratornodes", node("edge-1", json!({ "unschedulable": true })));
    assert_eq!(verdict(&cordoned).unwrap(), "a publisher may not change unschedulable");
    let uncordoned = Asked { old: cordoned.object, ..asked("acceleratornodes", node("edge-1", json!({}))) };
    assert_eq!(
        verdict(&Asked { object: node("edge-1", json!({ "unschedulable": false })), ..uncordoned }).unwrap(),
        "a publisher may not change unschedulable"
    );
}

#[test]
fn a_token_that_names_no_node_writes_nothing() {
    let own = asked("acceleratornodes", node("edge-1", json!({})));
    for user in [publisher(Value::Null), publisher(json!({ "authentication.kubernetes.io/pod-name": ["p"] }))]
    {
        let said = verdict(&Asked { user, ..own.clone() }).unwrap();
        assert!(said.contains("does not say on which node"), "{said}");
    }
}

#[test]
fn others_are_none_of_the_policys() {
    let user = json!({ "username": "system:serviceaccount:edgemux-system:edgemux-controller" });
    let leader = json!({ "metadata": { "name": "edgemux-controller" }, "spec": {} });
    assert_eq!(verdict(&Asked { user, ..asked("leases", leader) }), None);
}
