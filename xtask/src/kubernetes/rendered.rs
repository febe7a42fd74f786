//! What kubectl makes of base, overlays and examples. It asks no cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{folder, parsed, workloads};

const NAMESPACE: &str = "edgemux-system";
/// Kinds of ours that lie in no namespace.
const WITHOUT_NAMESPACE: [&str; 6] = [
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// kubectl, if it is here and knows kustomize.
pub(super) fn kubectl() -> Option<PathBuf> {
    let mut asked = Command::new("kubectl");
    let asked = asked.args(["kustomize", "--help"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success()).then(|| "kubectl".into())
}

/// What is wrong with what it makes.
pub(super) fn check(kubectl: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for place in places()? {
        let objects = render(kubectl, &place)?;
        let name = place.strip_prefix(folder()).unwrap_or(&place).display().to_string();
        if name != "examples" {
            wrong.extend(workloads::check(&name, &objects, false));
            wrong.extend(objects.iter().filter_map(|object| misplaced(&name, object)));
            wrong.extend(components(&name, &objects));
        }
    }
    for component in std::fs::read_dir(folder().join("components"))? {
        let component = component?.file_name().to_string_lossy().into_owned();
        let objects = with_component(kubectl, &component)?;
        wrong.extend(workloads::check(&format!("base with {component}"), &objects, false));
    }
    Ok(wrong)
}

fn places() -> Result<Vec<PathBuf>> {
    let overlays = std::fs::read_dir(folder().join("overlays"))?;
    let mut places: Vec<_> = overlays.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    places.extend(["base", "examples"].map(|name| folder().join(name)));
    places.sort();
    Ok(places)
}

fn render(kubectl: &Path, place: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(kubectl);
    let output = command.arg("kustomize").arg(place).output().context("cannot run kubectl")?;
    if !output.status.success() {
        bail!("kubectl kustomize {}: {}", place.display(), String::from_utf8_lossy(&output.stderr));
    }
    parsed(&String::from_utf8(output.stdout)?).with_context(|| format!("what {} renders to", place.display()))
}

/// Each component does by itself, not only as our overlays put them together.
fn with_component(kubectl: &Path, component: &str) -> Result<Vec<Value>> {
    // Kustomizations reach others by relative paths only.
    let work = tempfile::tempdir().context("a temporary folder")?;
    let copied = work.path().join("kubernetes");
    copy(&folder(), &copied)?;
    let place = work.path().join("together");
    std::fs::create_dir(&place)?;
    std::fs::write(
        place.join("kustomization.yaml"),
        format!("resources: [../kubernetes/base]\ncomponents: [../kubernetes/components/{component}]\n"),
    )?;
    render(kubectl, &place)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn misplaced(place: &str, object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let wanted = if WITHOUT_NAMESPACE.contains(&kind) { None } else { Some(NAMESPACE) };
    let namespace = object["metadata"]["namespace"].as_str();
    (namespace != wanted)
        .then(|| format!("{place}: {kind} {} lies in {namespace:?}", object["metadata"]["name"]))
}

/// Where the host has the daemon, the pod has the publisher alone, and reaches the host's socket.
fn components(place: &str, objects: &[Value]) -> Vec<String> {
    let daemon_set = objects.iter().find(|object| object["kind"] == "DaemonSet");
    let Some(spec) = daemon_set.map(|set| &set["spec"]["template"]["spec"]) else {
        return vec![format!("{place}: no DaemonSet")];
    };
    let mut names: Vec<_> =
        spec["containers"].as_array().into_iter().flatten().map(|c| c["name"].as_str()).collect();
    let expected: &[_] = match place {
        "overlays/host-daemon" | "overlays/microk8s" => &[Some("publisher")],
        _ => &[Some("edgemuxd"), Some("publisher")],
    };
    names.sort();
    let mut wrong = Vec::new();
    if names != expected {
        wrong.push(format!("{place}: containers {names:?}"));
    }
    let run = spec["volumes"].as_array().into_iter().flatten().find(|volume| volume["name"] == "run");
    let on_host = run.is_some_and(|run| run["hostPath"]["path"] == "/run/edgemux");
    if on_host != (expected.len() == 1) {
        wrong.push(format!("{place}: /run/edgemux is {run:?}"));
    }
    wrong
}
