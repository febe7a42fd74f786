//! Dependencies between the workspace's crates point one way. What is not listed here is forbidden.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::cargo_output;

/// Each crate and the crates of the workspace that it may use. Tests may use what they test with.
const ALLOWED: &[(&str, &[&str])] = &[
    ("edgemux-calibration", &[]),
    ("edgemux-publisher", &["edgemux-client", "edgemux-cluster-api", "edgemux-proto"]),
    ("edgemux-placement", &["edgemux-calibration"]),
    ("edgemux-cluster-api", &[]),
    (
        "edgemux-controller",
        &[
            "edgemux-calibration",
            "edgemux-client",
            "edgemux-cluster-api",
            "edgemux-placement",
            "edgemux-proto",
        ],
    ),
    ("edgemux-proto", &[]),
    ("edgemux-runtime-api", &[]),
    ("edgemux-multiplexer", &[]),
    ("edgemux-manual", &[]),
    ("edgemux-client", &[]),
    ("edgemux-runtime-onnx", &["edgemux-runtime-api"]),
    ("edgemux-runtime-emulator", &["edgemux-runtime-api"]),
    ("edgemux-tflite-common", &["edgemux-runtime-api"]),
    ("edgemux-runtime-tflite", &["edgemux-runtime-api", "edgemux-tflite-common"]),
    ("edgemux-runtime-edgetpu", &["edgemux-runtime-api", "edgemux-tflite-common"]),
    ("edgemux-runtime-torch", &["edgemux-runtime-api"]),
    ("edgemux-runtime-conformance", &["edgemux-runtime-api"]),
    (
        "edgemuxd",
        &[
            "edgemux-calibration",
            "edgemux-manual",
            "edgemux-multiplexer",
            "edgemux-proto",
            "edgemux-runtime-api",
            "edgemux-runtime-emulator",
            "edgemux-runtime-onnx",
            "edgemux-tflite-common",
        ],
    ),
    (
        "edgemux",
        &["edgemux-calibration", "edgemux-client", "edgemux-manual", "edgemux-placement", "edgemux-proto"],
    ),
    ("edgemux-tests", &["edgemux-proto", "edgemux-runtime-api"]),
    ("edgemux-kubernetes-tests", &["edgemux-cluster-api", "edgemux-proto", "edgemux-tests"]),
    ("xtask", &[]),
];

/// Crates that must stay free of an asynchronous runtime and of sockets, whatever way they might come in.
const WITHOUT_IO: &[&str] = &["edgemux-calibration", "edgemux-multiplexer", "edgemux-placement"];

pub(crate) fn check() -> Result<()> {
    let metadata = cargo_output(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!("{name} is not listed in xtask/src/edges.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let ours = dependency["path"].is_string();
            if ours && dependency["kind"].as_str() != Some("dev") && !allowed.contains(&used) {
                wrong.push(format!("{name} must not depend on {used}"));
            }
        }
    }
    for name in WITHOUT_IO {
        let tree =
            cargo_output(&["tree", "--locked", "--package", name, "--edges", "normal", "--prefix", "none"])?;
        let tree = String::from_utf8_lossy(&tree);
        for line in
            tree.lines().filter(|line| ["tokio ", "mio ", "tonic "].iter().any(|used| line.starts_with(used)))
        {
            wrong.push(format!("{name} must do no IO, but uses {line}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}
