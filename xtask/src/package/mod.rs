//! Debian packages: builds what they hold, generates the rest beside it, and has cargo-deb put them together.
//!
//! What is in each is in `[package.metadata.deb]` of its crate. Generated files lie in `package/` beside the binaries, where the
//! metadata's paths below `target/release/` lead.

mod build;
mod libc;
mod third_party;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::build::Target;
use crate::native;
use crate::run::{cargo, cargo_command, cargo_output, root, run, say};

/// A package, by the crate whose metadata describes it.
struct Package {
    of: &'static str,
    /// The crates whose binaries it holds.
    crates: &'static [&'static str],
    features: &'static [&'static str],
    /// What it links against, of the native parts.
    native: &'static [&'static str],
}

const PACKAGES: &[Package] = &[
    Package { of: "edgemuxd", crates: &["edgemuxd", "edgemux"], features: &[], native: &[] },
    Package {
        of: "edgemux-runtime-torch",
        crates: &["edgemux-runtime-torch"],
        features: &["libtorch"],
        native: &["torch"],
    },
    Package {
        of: "edgemux-runtime-tflite",
        crates: &["edgemux-runtime-tflite"],
        features: &["libtensorflowlite"],
        native: &["tflite"],
    },
    Package {
        of: "edgemux-runtime-edgetpu",
        crates: &["edgemux-runtime-edgetpu"],
        features: &[],
        native: &[],
    },
];

const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// Makes the packages for an architecture, as Rust calls it, and prints where they are: in `out`, or else in `debian` of cargo's
/// target directory. cargo-deb removes those of other revisions from there.
pub(crate) fn make(architecture: &str, revision: &str, out: Option<&str>) -> Result<()> {
    there_is_cargo_deb()?;
    if let Some(out) = out {
        std::fs::create_dir_all(root().join(out)).with_context(|| format!("cannot make {out}"))?;
    }
    let metadata = metadata()?;
    let target =
        Target::of(architecture, Path::new(metadata["target_directory"].as_str().unwrap_or("target")))?;
    for package in PACKAGES {
        say(&format!("building for the package of {}", package.of));
        target.build(package.crates, package.features, package.native)?;
    }
    say("manual, completions, licences");
    let folder = target.binaries().join("package");
    generate(&target, &folder)?;
    for package in PACKAGES {
        third_party::write(package.of, package.crates, &folder.join("third-party"))?;
        libc::compare(&target, package.crates, of_crate(&metadata, package.of)?)?;
    }
    let library = native::library(architecture, "tflite", "libtensorflowlite_c.so")?;
    copy(&library, &folder.join("tflite/libtensorflowlite_c.so"))?;
    for package in PACKAGES {
        say(&format!("the package of {}", package.of));
        let mut deb = cargo_command();
        deb.args(["deb", "--no-build", "--locked", "--strip", "--profile", build::PROFILE]);
        deb.args(["--package", package.of, "--deb-revision", revision]);
        if let Some(out) = out {
            deb.arg("--output").arg(out);
        }
        run(deb.args(target.arguments()))?;
    }
    Ok(())
}

fn there_is_cargo_deb() -> Result<()> {
    let there = cargo_command().args(["deb", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        bail!("cargo-deb puts the packages together, and is not here: cargo install cargo-deb --locked");
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    let metadata = cargo_output(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    Ok(serde_json::from_slice(&metadata)?)
}

/// What a crate's manifest says of its package.
fn of_crate<'a>(metadata: &'a Value, name: &str) -> Result<&'a Value> {
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == *name);
    let deb = package.map(|package| &package["metadata"]["deb"]).filter(|deb| deb.is_object());
    deb.with_context(|| format!("the manifest of {name} has no [package.metadata.deb]"))
}

/// Pages of the manual and completions are the same for every architecture, and are written by binaries that run here.
fn generate(target: &Target, folder: &Path) -> Result<()> {
    let binaries = match target.runs_here() {
        true => target.binaries(),
        false => {
            cargo(&["build", "--package", "edgemuxd", "--package", "edgemux"])?;
            target.root().join("debug")
        }
    };
    pages_and_completions(&binaries, folder)?;
    // cargo-deb compresses no page that lies among built files.
    files(&folder.join("man"))?.iter().try_for_each(|page| compress(page))
}

/// Has the daemon and the command of `binaries` write their pages into `man`, and completions into `completions`.
pub(crate) fn pages_and_completions(binaries: &Path, folder: &Path) -> Result<()> {
    let (man, completions) = (empty(folder.join("man"))?, empty(folder.join("completions"))?);
    run(Command::new(binaries.join("edgemux")).arg("man").arg(&man))?;
    run(Command::new(binaries.join("edgemuxd")).arg("man").arg(&man))?;
    for shell in SHELLS {
        let output = Command::new(binaries.join("edgemux")).args(["completions", shell]).output()?;
        let file = completions.join(format!("edgemux.{shell}"));
        std::fs::write(&file, output.stdout).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Makes the folder anew, so that nothing of another version stays in it.
fn empty(folder: PathBuf) -> Result<PathBuf> {
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The files of a folder.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Puts a compressed file in a file's place, the same bytes each time.
fn compress(file: &Path) -> Result<()> {
    run(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(file))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::copy(from, to))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_runtimes_fit_daemons_of_the_same_protocol_alone() -> Result<()> {
        let protocol = std::fs::read_to_string(root().join("runtimes/api/src/protocol.rs"))?;
        let version = protocol.split_once("pub const VERSION: u32 = ").context("no VERSION")?.1;
        let version = version.split_once(';').context("no number")?.0;
        let metadata = metadata()?;
        let name = format!("edgemux-workers-{version}");
        for package in PACKAGES {
            let deb = of_crate(&metadata, package.of)?;
            let field = if package.of == "edgemuxd" { "provides" } else { "depends" };
            let said = deb[field].as_str().unwrap_or_default();
            assert!(
                said.split(", ").any(|word| word == name),
                "{}: {field} = {said:?}, not {name}",
                package.of
            );
        }
        Ok(())
    }
}
