//! What is made from Rust: definitions from the resources' types, roles from the table of who may do what.

use anyhow::{Context, Result, bail};

use super::{folder, read};
use crate::run::{cargo_output, say};

const FILES: [(&str, &str); 2] = [("crds", "base/crds.yaml"), ("rbac", "base/rbac.yaml")];

pub(super) fn write() -> Result<()> {
    for (what, file) in FILES {
        let path = folder().join(file);
        std::fs::write(&path, made(what)?).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("wrote deploy/kubernetes/{file}"));
    }
    Ok(())
}

pub(super) fn check() -> Result<()> {
    for (what, file) in FILES {
        if read(file)? != made(what)? {
            bail!("deploy/kubernetes/{file} is out of date: cluster/api has changed. Run `cargo xtask docs`");
        }
    }
    Ok(())
}

fn made(what: &str) -> Result<String> {
    let command =
        ["run", "--quiet", "--package", "edgemux-cluster-api", "--example", "manifests", "--", what];
    Ok(String::from_utf8(cargo_output(&command)?)?)
}
