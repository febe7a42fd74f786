//! The manifests in `deploy/kubernetes`: what is made from Rust is up to date, what is named exists, what runs is held in, and
//! kubectl renders every overlay.

mod folders;
mod generated;
mod rendered;
mod workloads;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::programs::Programs;
use crate::run::{root, say};

/// Configurations of edgemuxd that manifests bring.
const CONFIGURATIONS: [&str; 2] = ["base/edgemuxd.toml", "components/insecure/edgemuxd.toml"];

/// Writes what is made from Rust.
pub(crate) fn write() -> Result<()> {
    generated::write()
}

pub(crate) fn check(programs: &Programs) -> Result<()> {
    generated::check(programs)?;
    for file in CONFIGURATIONS {
        programs.check_config(&folder().join(file))?;
    }
    fail(&structure()?)?;
    match rendered::kubectl() {
        Some(kubectl) => fail(&rendered::check(&kubectl)?),
        None => {
            say("NOT CHECKED: what kubectl makes of the overlays, for want of kubectl");
            Ok(())
        }
    }
}

/// All that can be seen without another program.
fn structure() -> Result<Vec<String>> {
    let mut wrong = folders::check(&folder())?;
    let mut base = Vec::new();
    for file in
        ["namespace.yaml", "crds.yaml", "rbac.yaml", "admission-policy.yaml", "controller.yaml", "node.yaml"]
    {
        base.extend(documents(&format!("base/{file}"))?);
    }
    wrong.extend(workloads::check("base", &base, true));
    Ok(wrong)
}

fn fail(wrong: &[String]) -> Result<()> {
    if wrong.is_empty() { Ok(()) } else { bail!("deploy/kubernetes:\n  {}", wrong.join("\n  ")) }
}

fn folder() -> PathBuf {
    root().join("deploy/kubernetes")
}

fn read(file: &str) -> Result<String> {
    let path = folder().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The documents of a file of YAML.
fn documents(file: &str) -> Result<Vec<Value>> {
    parsed(&read(file)?).with_context(|| format!("{file} is no YAML"))
}

fn parsed(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// The texts of a list; none of what is no list.
fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_name_what_exists_and_hold_in_what_runs() {
        fail(&structure().unwrap()).unwrap();
    }

    #[test]
    fn kubectl_renders_every_overlay() {
        match rendered::kubectl() {
            Some(kubectl) => fail(&rendered::check(&kubectl).unwrap()).unwrap(),
            None => say("SKIPPED: kubectl_renders_every_overlay: there is no kubectl here"),
        }
    }
}
