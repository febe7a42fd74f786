//! Builds for this machine or, with Debian's cross-compilers, for another.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::native;
use crate::run::{cargo_command, run};

/// The profile of what packages ship.
pub(super) const PROFILE: &str = "dist";
const CLANG: &str = "BINDGEN_EXTRA_CLANG_ARGS";

/// What is built for, and where.
pub(super) struct Target {
    architecture: String,
    root: PathBuf,
}

impl Target {
    /// For an architecture, below cargo's target directory.
    pub(super) fn of(architecture: &str, root: &Path) -> Result<Self> {
        let target = Self { architecture: architecture.to_owned(), root: root.to_owned() };
        let compilers = [target.tool("gcc"), target.tool("g++"), target.tool("strip")];
        for tool in compilers.iter().filter(|_| !target.runs_here()) {
            let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
            if asked.is_err() {
                bail!(
                    "{tool} is missing; building for {architecture} here takes, of Debian, gcc-{0} and g++-{0}, and \
                     `rustup target add {1}`",
                    target.tuple().replace('_', "-"),
                    target.triple()
                );
            }
        }
        Ok(target)
    }

    pub(super) fn runs_here(&self) -> bool {
        self.architecture == std::env::consts::ARCH
    }

    /// Cargo's target directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the binaries are.
    pub(super) fn binaries(&self) -> PathBuf {
        let root = if self.runs_here() { self.root.clone() } else { self.root.join(self.triple()) };
        root.join(PROFILE)
    }

    /// What tells cargo, and cargo-deb, of it.
    pub(super) fn arguments(&self) -> Vec<String> {
        if self.runs_here() { Vec::new() } else { vec!["--target".into(), self.triple()] }
    }

    /// Builds these crates by themselves, so that no other's features are in them.
    pub(super) fn build(&self, crates: &[&str], features: &[&str], parts: &[&str]) -> Result<()> {
        let mut build = cargo_command();
        build.args(["build", "--locked", "--profile", PROFILE]).args(self.arguments());
        for name in crates {
            build.args(["--package", name]);
        }
        for feature in features {
            build.args(["--features", feature]);
        }
        if !parts.is_empty() {
            // Bindings are generated here, whatever they are for.
            native::environment(&["libclang"])?.apply(&mut build)?;
            native::environment_for(&self.architecture, parts)?.apply(&mut build)?;
        }
        if !self.runs_here() {
            self.cross(&mut build);
        }
        run(&mut build)
    }

    fn cross(&self, build: &mut Command) {
        let triple = self.triple();
        let variable = triple.replace('-', "_");
        build
            .env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), self.tool("gcc"))
            .env(format!("CC_{variable}"), self.tool("gcc"))
            .env(format!("CXX_{variable}"), self.tool("g++"));
        // With the target's own C library's headers.
        let mut clang = format!("--target={triple} -I/usr/{}/include", self.tuple());
        for (_, value) in build.get_envs().filter(|(key, _)| *key == CLANG) {
            clang = format!("{clang} {}", value.unwrap_or_default().to_string_lossy());
        }
        build.env(CLANG, clang);
    }

    fn triple(&self) -> String {
        format!("{}-unknown-linux-gnu", self.architecture)
    }

    /// As Debian's compilers are called.
    fn tuple(&self) -> String {
        format!("{}-linux-gnu", self.architecture)
    }

    fn tool(&self, name: &str) -> String {
        format!("{}-{name}", self.tuple())
    }
}
