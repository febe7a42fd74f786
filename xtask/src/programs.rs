//! The workspace's programs, built once for everything that runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::native::Environment;
use crate::run::{cargo_output, cargo_with, run};

/// Where the programs are.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Builds them as the tests have them: with other features than theirs most of what the programs are made of would have to
    /// be compiled twice, and kept twice.
    pub(crate) fn build(native: &Environment) -> Result<Self> {
        cargo_with(native, &["test", "--workspace", "--all-features", "--no-run"])?;
        let metadata = cargo_output(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
        let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(Self(Path::new(target).join("debug")))
    }

    /// The folder that holds them.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// The path of one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Has the daemon look at a configuration file.
    pub(crate) fn check_config(&self, file: &Path) -> Result<()> {
        run(Command::new(self.path("edgemuxd")).arg("check-config").arg(file))
    }
}
