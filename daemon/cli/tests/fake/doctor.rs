//! The doctor's answer, and runtimes that are scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Nobody listens there.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

pub(crate) fn script(path: &Path, text: &str, mode: u32) {
    executable(path, &format!("#!/bin/sh\n{text}\n"), mode);
}

/// Written by another process: one that this process starts beside would have it open for writing for a moment, and what is
/// open for writing cannot be run.
pub(crate) fn executable(path: &Path, text: &str, mode: u32) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf %s \"$1\" > \"$0\" && chmod \"$2\" \"$0\""]).arg(path);
    assert!(shell.arg(text).arg(format!("{mode:o}")).status().unwrap().success());
}

/// A runtime that is a script.
pub(crate) fn runtime(folder: &Path, name: &str, text: &str) {
    script(&folder.join(format!("edgemux-runtime-{name}")), text, 0o755);
}

/// What a runtime prints of itself.
pub(crate) fn says(devices: &str, problem: &str) -> String {
    let text = format!(
        r#"{{"runtime":"x","version":"libx 7.1","formats":["x"],"devices":[{devices}],"problem":{problem}}}"#
    );
    format!("echo '{text}'")
}

pub(crate) fn edgemuxd() -> PathBuf {
    let daemon = std::env::current_exe().unwrap().parent().unwrap().with_file_name("edgemuxd");
    assert!(daemon.exists(), "no {}: build it with `cargo build -p edgemuxd`", daemon.display());
    daemon
}

/// The doctor's answer.
pub(crate) struct Diagnosis(pub(crate) Value);

impl Diagnosis {
    /// Of the daemon's binary `daemon`, runtimes in `folder` and a server.
    pub(crate) async fn of(daemon: &Path, folder: &Path, server: &str) -> Self {
        Self::asked(daemon, folder, server, &[]).await
    }

    pub(crate) async fn asked(daemon: &Path, folder: &Path, server: &str, how: &[&str]) -> Self {
        let variables =
            [("EDGEMUXD", daemon.to_str().unwrap()), ("EDGEMUX_RUNTIME_DIR", folder.to_str().unwrap())];
        let arguments = [&["--json", "--server", server, "doctor"], how].concat();
        let output = super::edgemux_with(&arguments, &variables).await;
        let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
        super::assert_documented(&diagnosis);
        let failed = diagnosis["grade"] == "fail";
        assert_eq!(output.status.code(), Some(i32::from(failed)), "the exit code says whether all is well");
        Self(diagnosis)
    }

    pub(crate) fn check(&self, name: &str) -> &Value {
        let mut checks = self.0["checks"].as_array().unwrap().iter();
        checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {:#?}", self.0))
    }

    /// Asserts the grade of a check and parts of what it says and advises.
    pub(crate) fn assert(&self, name: &str, grade: &str, parts: &[&str]) {
        let check = self.check(name);
        let text = format!("{} -> {}", check["finding"], check["advice"]);
        assert_eq!(check["grade"], grade, "{check:#}");
        for part in parts {
            assert!(text.contains(part), "{part}: {check:#}");
        }
    }

    pub(crate) fn has_hardware(&self, prefix: &str) -> bool {
        let mut all = self.0["hardware"].as_array().unwrap().iter();
        all.any(|one| one["source"].as_str().unwrap().starts_with(prefix))
    }
}
