//! What is made from Rust: definitions from the resources' types, roles from the table of who may do what.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{folder, read};
use crate::programs::Programs;
use crate::run::{cargo_command, output, say};

const FILES: [(&str, &str); 2] = [("crds", "base/crds.yaml"), ("rbac", "base/rbac.yaml")];

pub(super) fn write() -> Result<()> {
    let made = |what| {
        let example =
            ["run", "--quiet", "--package", "edgemux-cluster-api", "--example", "manifests", "--", what];
        output(cargo_command().args(example))
    };
    for (what, file) in FILES {
        let path = folder().join(file);
        std::fs::write(&path, made(what)?).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("wrote deploy/kubernetes/{file}"));
    }
    Ok(())
}

pub(super) fn check(programs: &Programs) -> Result<()> {
    let made = |what| output(Command::new(programs.path("examples/manifests")).arg(what));
    for (what, file) in FILES {
        if read(file)?.as_bytes() != made(what)? {
            bail!("deploy/kubernetes/{file} is out of date: cluster/api has changed. Run `cargo xtask docs`");
        }
    }
    Ok(())
}
