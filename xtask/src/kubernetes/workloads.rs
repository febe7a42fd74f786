//! What runs in a cluster: by which account, held in how, and with what it mounts.

use std::collections::BTreeSet;

use serde_json::Value;

/// A component says so where a container has to be privileged.
const PRIVILEGED: &str = "coral-pcie";

/// What is wrong with these objects, which are of `place`. `bare`: kustomize has not filled in namespaces and images yet.
pub(super) fn check(place: &str, objects: &[Value], bare: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let accounts: BTreeSet<_> =
        of_kind(objects, "ServiceAccount").filter_map(|o| o["metadata"]["name"].as_str()).collect();
    for object in objects {
        let [kind, name, namespace] = ["/kind", "/metadata/name", "/metadata/namespace"]
            .map(|at| object.pointer(at).and_then(Value::as_str).unwrap_or_default());
        if kind.is_empty() || name.is_empty() || object["apiVersion"].as_str().is_none() {
            wrong.push(format!("{place}: an object without a kind, an apiVersion or a name: {object}"));
        }
        if !seen.insert((kind, namespace, name)) {
            wrong.push(format!("{place}: {kind} {name} is there twice"));
        }
        let spec = &object["spec"]["template"]["spec"];
        if spec.is_null() {
            continue;
        }
        let mut tell = |what: String| wrong.push(format!("{place}: {kind} {name}: {what}"));
        let account = spec["serviceAccountName"].as_str().unwrap_or_default();
        if !accounts.contains(account) {
            tell(format!("the account {account:?} is not there"));
        }
        if object["spec"]["selector"]["matchLabels"].as_object().is_none_or(|wanted| {
            wanted
                .iter()
                .any(|(key, value)| object["spec"]["template"]["metadata"]["labels"].get(key) != Some(value))
        }) {
            tell("its selector does not choose its pods".into());
        }
        if spec["securityContext"]["seccompProfile"]["type"] != "RuntimeDefault" {
            tell("no seccomp profile".into());
        }
        let volumes: BTreeSet<_> =
            list(&spec["volumes"]).filter_map(|volume| volume["name"].as_str()).collect();
        for container in list(&spec["containers"]) {
            let called = container["name"].as_str().unwrap_or_default();
            container_is_held(
                container,
                place,
                &mut |what| tell(format!("container {called}: {what}")),
                bare,
            );
            for mount in list(&container["volumeMounts"]).filter_map(|mount| mount["name"].as_str()) {
                if !volumes.contains(mount) {
                    tell(format!("container {called} mounts {mount}, which is no volume"));
                }
            }
        }
    }
    wrong
}

fn container_is_held(container: &Value, place: &str, tell: &mut impl FnMut(String), bare: bool) {
    let context = &container["securityContext"];
    let dropped = list(&context["capabilities"]["drop"]).any(|capability| capability == "ALL");
    let privileged = context["privileged"] == true;
    if privileged && !place.contains(PRIVILEGED) {
        tell("is privileged".into());
    }
    if !privileged && (context["allowPrivilegeEscalation"] != false || !dropped) {
        tell("may gain rights".into());
    }
    if context["readOnlyRootFilesystem"] != true {
        tell("may write to its image".into());
    }
    if container["resources"]["requests"]["memory"].is_null() {
        tell("requests no memory".into());
    }
    let image = container["image"].as_str().unwrap_or_default();
    let tagged = image.rsplit_once(':').is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest");
    if !bare && !tagged {
        tell(format!("the image {image:?} is of no version"));
    }
    if container["livenessProbe"].is_null() {
        tell("is never found to hang".into());
    }
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_held_in_is_told() {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "a" } });
        let workload = |container: Value| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
                "spec": {
                    "selector": { "matchLabels": { "x": "y" } },
                    "template": { "metadata": { "labels": { "x": "y" } }, "spec": {
                        "serviceAccountName": "a",
                        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
                        "containers": [container],
                    } },
                },
            })
        };
        let good = json!({
            "name": "c", "image": "i:1", "livenessProbe": {}, "resources": { "requests": { "memory": "1Mi" } },
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            },
        });
        let of = |container: Value| check("p", &[account.clone(), workload(container)], false);
        assert_eq!(of(good.clone()), [""; 0]);
        let change = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            of(changed).join("; ")
        };
        assert!(change("image", json!("i:latest")).contains("of no version"));
        assert!(change("securityContext", json!({ "privileged": true })).contains("is privileged"));
        assert!(change("volumeMounts", json!([{ "name": "v" }])).contains("mounts v"));
        assert!(change("livenessProbe", Value::Null).contains("hang"));
        assert!(check("p", &[workload(good)], false)[0].contains("account"));
    }
}
