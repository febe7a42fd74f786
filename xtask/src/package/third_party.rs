//! The licences of the crates that are part of a package's binaries: which crate is under which, and their texts, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::compress;
use crate::run::cargo_output;

/// What crates call the files with their licences.
const NAMES: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Writes `folder/NAME.gz`, for what these crates of the workspace are made of.
pub(super) fn write(name: &str, crates: &[&str], folder: &Path) -> Result<()> {
    let metadata = cargo_output(&["metadata", "--format-version", "1", "--all-features", "--locked"])?;
    let text = text(&serde_json::from_slice(&metadata)?, crates)?;
    let file = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .with_context(|| format!("cannot write {}", file.display()))?;
    compress(&file)
}

fn text(metadata: &Value, crates: &[&str]) -> Result<String> {
    let packages: BTreeMap<_, _> =
        array(&metadata["packages"]).map(|package| (string(&package["id"]), package)).collect();
    let mut list =
        String::from("Crates that are part of these binaries, and the licences that each offers:\n\n");
    // Each text, and whose it is.
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in reached(metadata, crates) {
        let package = packages.get(id).with_context(|| format!("cargo metadata does not describe {id}"))?;
        if package["source"].is_null() {
            continue;
        }
        let crate_name = format!("{} {}", string(&package["name"]), string(&package["version"]));
        writeln!(list, "{crate_name}: {}", package["license"].as_str().unwrap_or("see its text"))?;
        let folder = Path::new(string(&package["manifest_path"])).parent().unwrap_or(Path::new("/"));
        for text in licences(folder)? {
            texts.entry(text).or_default().insert(crate_name.clone());
        }
    }
    for (text, whose) in texts {
        let whose: Vec<_> = whose.into_iter().collect();
        write!(list, "\n{}\n{}:\n\n{}\n", "-".repeat(80), whose.join(", "), text.trim())?;
    }
    Ok(list)
}

/// The packages that these crates are built of: not what builds them, nor what tests them.
fn reached<'a>(metadata: &'a Value, crates: &[&str]) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<_, _> =
        array(&metadata["resolve"]["nodes"]).map(|node| (string(&node["id"]), node)).collect();
    let roots = array(&metadata["packages"])
        .filter(|package| package["source"].is_null() && crates.contains(&string(&package["name"])));
    let mut waiting: Vec<_> = roots.map(|package| string(&package["id"])).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !reached.insert(id) {
            continue;
        }
        for dependency in nodes.get(id).into_iter().flat_map(|node| array(&node["deps"])) {
            if array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                waiting.push(string(&dependency["pkg"]));
            }
        }
    }
    reached
}

/// The texts of licences in a crate's folder.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    let is_licence = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        NAMES.iter().any(|start| name.starts_with(start))
    };
    let licences = files.iter().filter(|path| is_licence(path));
    Ok(licences.filter_map(|path| std::fs::read_to_string(path).ok()).collect())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_built_in_is_listed_with_its_text_and_what_only_builds_or_tests_is_not() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("LICENSE-MIT"), "Do what you like.\n")?;
        std::fs::write(folder.path().join("lib.rs"), "code")?;
        let package = |name: &str, source| {
            let manifest = folder.path().join("Cargo.toml");
            json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": source, "manifest_path": manifest})
        };
        let to = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let deps = [to("used", Value::Null), to("builder", json!("build")), to("tester", json!("dev"))];
        let metadata = json!({
            "packages": [
                package("ours", Value::Null), package("used", json!("registry")), package("deeper", json!("registry")),
                package("builder", json!("registry")), package("tester", json!("registry")),
            ],
            "resolve": {"nodes": [
                {"id": "ours", "deps": deps},
                {"id": "used", "deps": [to("deeper", Value::Null), to("used", Value::Null)]},
            ]},
        });
        let text = text(&metadata, &["ours"])?;
        assert!(text.contains("deeper 1.0.0: MIT\nused 1.0.0: MIT\n"), "{text}");
        assert!(text.ends_with("deeper 1.0.0, used 1.0.0:\n\nDo what you like.\n"), "{text}");
        for other in ["builder", "tester", "ours", "code"] {
            assert!(!text.contains(other), "{other} is in {text}");
        }
        Ok(())
    }
}
