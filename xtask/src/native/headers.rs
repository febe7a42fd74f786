//! The headers of TensorFlow Lite's C interface: those that a crate of the workspace brings along, and two of our own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::{cargo_output, root};

/// The crate that brings them.
const CRATE: &str = "edgefirst-tflite-sys";
/// Those of the crate that bindings are made of.
const HEADERS: &[&str] = &[
    "tensorflow/lite/core/c/c_api.h",
    "tensorflow/lite/core/c/c_api_types.h",
    "tensorflow/lite/core/c/common.h",
    "tensorflow/lite/core/c/operator.h",
    "tensorflow/lite/core/async/c/types.h",
    "tensorflow/lite/builtin_ops.h",
    "tensorflow/compiler/mlir/lite/core/c/tflite_types.h",
];
/// Ours, which lie in `runtimes/tflite/headers`.
const OWN: &[&str] = &["tensorflow/lite/c/c_api.h", "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h"];

/// Lays all headers out in `folder`; what is as it should be is left alone, so that nothing is built anew for it.
pub(super) fn lay_out(folder: &Path) -> Result<()> {
    let theirs = crate_folder()?;
    let ours = root().join("runtimes/tflite/headers");
    let all = HEADERS.iter().map(|header| (&theirs, header)).chain(OWN.iter().map(|header| (&ours, header)));
    for (from, header) in all {
        let (from, to) = (from.join(header), folder.join(header));
        let content = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        if std::fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        let parent = to.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&to, content))
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Where cargo keeps the crate's source; it fetches it if it must.
fn crate_folder() -> Result<PathBuf> {
    let metadata = cargo_output(&["metadata", "--format-version", "1", "--all-features"])?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let manifest = packages
        .iter()
        .find(|package| package["name"].as_str() == Some(CRATE))
        .and_then(|package| package["manifest_path"].as_str())
        .with_context(|| format!("cargo metadata does not list {CRATE}"))?;
    Ok(Path::new(manifest).parent().unwrap_or(Path::new("/")).to_owned())
}
