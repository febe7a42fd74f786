//! `edgemux demo`: with a stand-in for the daemon, which makes every way of failing possible.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fake::{edgemux_with, start};
use serde_json::Value;

/// A script that one test has open for writing cannot be run by a process that another test forks meanwhile.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A shell script in the daemon's place.
fn stand_in(folder: &Path, script: &str) -> String {
    let path = folder.join("edgemuxd");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Says that it listens where the server of the test does, notes what it was given, and ends on SIGTERM.
fn good(folder: &Path, address: &str, on_term: &str) -> String {
    let noted = folder.join("noted");
    let script = format!(
        "echo \"$@\" > {noted}\n\
         find \"$6\" -name model.onnx -size +50k | wc -l >> {noted}\n\
         trap '{on_term}' TERM\n\
         echo 'edgemuxd: listening on {address}'\n\
         echo 'edgemuxd: metrics on 127.0.0.1:1'\n\
         echo 'edgemuxd: ready'\n\
         while :; do sleep 0.1; done",
        noted = noted.display()
    );
    stand_in(folder, &script)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn a_demo_drives_both_models_and_leaves_nothing_behind() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let daemon = good(folder.path(), &server.address, "exit 0");
    let variables = [("EDGEMUXD", daemon.as_str()), ("TMPDIR", temporary.path().to_str().unwrap())];
    let output = edgemux_with(&["demo", "--seconds", "1", "--seed", "5", "--json"], &variables).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("loaded mobilenet_tiny/1"), "{stderr}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    fake::assert_documented(&result);
    let sessions = result["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for (session, name) in sessions.iter().zip(["mobilenet_tiny", "keywords"]) {
        assert_eq!(session["model"], name);
        assert!(session["succeeded"].as_u64().unwrap() > 0);
        // 2 ms of service, a quarter of the device each.
        assert_eq!(session["asked_rate_hz"], 125.0);
    }
    let noted = fs::read_to_string(folder.path().join("noted")).unwrap();
    assert!(noted.starts_with("--listen 127.0.0.1:0 --metrics 127.0.0.1:0 --model-repository "), "{noted}");
    assert!(noted.trim_end().ends_with("\n2"), "both models were there when the daemon started: {noted}");
    assert!(is_empty(temporary.path()), "the temporary folder is gone");
}

#[tokio::test]
async fn a_demo_says_why_it_failed_and_shows_the_daemons_log() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let ended_badly = "echo bad end >&2; exit 3";
    let folder = |name: &str| {
        let made = folder.path().join(name);
        fs::create_dir(&made).unwrap();
        made
    };
    for (daemon, said) in [
        (
            stand_in(&folder("early"), "echo out of luck >&2; exit 4"),
            &["ended before it was ready", "out of luck"][..],
        ),
        (
            stand_in(&folder("silent"), "echo edgemuxd: ready; sleep 0.2"),
            &["without having said where it listens"],
        ),
        (good(&folder("deaf"), "127.0.0.1:1", "exit 0"), &["no edgemuxd at 127.0.0.1:1"]),
        (good(&folder("bad"), &server.address, ended_badly), &["after SIGTERM", "bad end", "exit status: 3"]),
        (
            "/nonexistent/edgemuxd".to_owned(),
            &["no `edgemuxd` at /nonexistent/edgemuxd", "cargo build --release"],
        ),
    ] {
        let variables = [("EDGEMUXD", daemon.as_str()), ("TMPDIR", temporary.path().to_str().unwrap())];
        let output = edgemux_with(&["demo", "--seconds", "0.2"], &variables).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for said in said {
            assert!(stderr.contains(said), "{said}\n{stderr}");
        }
        assert!(is_empty(temporary.path()), "the temporary folder is gone");
    }
}

#[tokio::test]
async fn an_interrupted_demo_stops_its_daemon_and_cleans_up() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let stopped = folder.path().join("stopped");
    let daemon = good(folder.path(), &server.address, &format!("touch {}; exit 0", stopped.display()));
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
        .args(["demo", "--seconds", "600"])
        .env("EDGEMUXD", daemon)
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    server.inferences_reach(150).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("interrupted"));
    assert!(stopped.exists(), "the daemon was asked to end");
    assert!(is_empty(temporary.path()), "the temporary folder is gone");
}
