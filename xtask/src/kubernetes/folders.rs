//! Kustomizations and the files beside them: each names what exists, and every file is named.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{parsed, texts};

const KUSTOMIZATION: &str = "kustomization.yaml";

/// What is wrong below `folder`.
pub(super) fn check(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    visit(folder, &mut wrong)?;
    Ok(wrong)
}

fn visit(folder: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let (mut files, mut folders) = (BTreeSet::new(), Vec::new());
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path)
        } else {
            files.insert(path);
        }
    }
    let manifests = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "toml");
    files.retain(manifests);
    if files.remove(&folder.join(KUSTOMIZATION)) {
        for named in named(&folder.join(KUSTOMIZATION))? {
            let path = folder.join(&named);
            let there = path.is_file() || path.join(KUSTOMIZATION).is_file();
            if !files.remove(&path) && !there {
                wrong.push(format!("{}: {named} does not exist", folder.display()));
            }
        }
    }
    wrong.extend(files.iter().map(|file| format!("{} is named by no kustomization", file.display())));
    folders.iter().try_for_each(|folder| visit(folder, wrong))
}

/// Every path that a kustomization names.
fn named(kustomization: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(kustomization)?;
    let all = parsed(&text).with_context(|| format!("{} is no YAML", kustomization.display()))?;
    let mut paths = Vec::new();
    for one in &all {
        paths.extend(texts(&one["resources"]).chain(texts(&one["components"])).map(str::to_owned));
        let lists = |key: &str| one[key].as_array().into_iter().flatten().collect::<Vec<&Value>>();
        for generator in lists("configMapGenerator") {
            // KEY=FILE, or the file's own name as the key.
            let files = texts(&generator["files"]).map(|file| file.rsplit('=').next().unwrap_or(file));
            paths.extend(files.map(str::to_owned));
        }
        paths.extend(
            lists("patches").into_iter().filter_map(|patch| patch["path"].as_str()).map(str::to_owned),
        );
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_and_missing_and_what_is_there_and_not_named_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
        write(
            KUSTOMIZATION,
            "resources: [a.yaml, b.yaml]\nconfigMapGenerator: [{name: x, files: [k=c.toml]}]\n",
        );
        write("a.yaml", "");
        write("c.toml", "");
        write("d.yaml", "");
        let wrong = check(folder.path()).unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].ends_with("b.yaml does not exist") && wrong[1].contains("d.yaml is named by no"),
            "{wrong:?}"
        );
    }
}
