//! `edgemux doctor` on the runtimes: which are installed, what each drives, and why not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fake::edgemux_with;
use serde_json::Value;

/// A runtime that is a script.
fn runtime(folder: &Path, name: &str, script: &str, mode: u32) {
    let path = folder.join(format!("edgemux-runtime-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn checks(folder: &Path) -> Vec<Value> {
    let daemon = std::env::current_exe().unwrap().parent().unwrap().with_file_name("edgemuxd");
    assert!(daemon.exists(), "no {}: build it with `cargo build -p edgemuxd`", daemon.display());
    let (daemon, folder) = (daemon.to_str().unwrap(), folder.to_str().unwrap());
    let variables = [("EDGEMUXD", daemon), ("EDGEMUX_RUNTIME_DIR", folder)];
    // No server is there, which is a failure of its own.
    let output = edgemux_with(&["--json", "--server", "127.0.0.1:1", "doctor"], &variables).await;
    assert_eq!(output.status.code(), Some(1));
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    fake::assert_documented(&diagnosis);
    diagnosis["checks"].as_array().unwrap().clone()
}

fn find<'a>(checks: &'a [Value], name: &str) -> (&'a str, &'a str) {
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {checks:#?}"));
    (check["grade"].as_str().unwrap(), check["finding"].as_str().unwrap())
}

#[tokio::test]
async fn each_runtime_says_what_it_is_what_it_drives_and_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let said = |devices: &str, problem: &str| {
        format!(
            r#"echo '{{"runtime":"x","version":"libx 7.1","formats":["x"],"devices":[{devices}],"problem":{problem}}}'"#
        )
    };
    runtime(folder.path(), "torch", &said(r#""cpu""#, r#""libcuda.so.1 is not there""#), 0o755);
    runtime(folder.path(), "tflite", "echo 'libtensorflowlite_c.so: cannot open' >&2; exit 127", 0o755);
    runtime(folder.path(), "edgetpu", &said("", "null"), 0o644);
    let checks = checks(folder.path()).await;

    let (grade, finding) = find(&checks, "runtime:onnx");
    assert!(grade == "ok" && finding.contains("rten") && finding.contains("drives cpu"), "{finding}");
    let (grade, finding) = find(&checks, "runtime:torch");
    assert!(grade == "warn" && finding.contains("libx 7.1") && finding.contains("model.pt"), "{finding}");
    assert!(finding.contains("drives cpu") && finding.contains("libcuda.so.1 is not there"), "{finding}");
    let (grade, finding) = find(&checks, "runtime:tflite");
    assert!(grade == "fail" && finding.contains("libtensorflowlite_c.so: cannot open"), "{finding}");
    let (grade, finding) = find(&checks, "runtime:edgetpu");
    assert!(grade == "fail" && finding.contains("denied"), "{finding}");
    let (grade, finding) = find(&checks, "hardware:cpu");
    assert!(grade == "ok" && finding.contains("onnx, torch can drive it"), "{finding}");
}

#[tokio::test]
async fn a_runtime_that_prints_nonsense_is_a_finding_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    runtime(folder.path(), "torch", "echo hello", 0o755);
    runtime(folder.path(), "tflite", "kill -SEGV $$", 0o755);
    let checks = checks(folder.path()).await;
    let (grade, finding) = find(&checks, "runtime:torch");
    assert!(grade == "fail" && finding.contains("no account of itself"), "{finding}");
    let (grade, finding) = find(&checks, "runtime:tflite");
    assert!(grade == "fail" && finding.contains("SIGSEGV"), "{finding}");
}
