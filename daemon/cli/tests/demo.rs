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
use serde_json::{Value, json};

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
         find \"$6\" -name model.emu.toml | wc -l >> {noted}\n\
         grep -c device \"${{10}}\" >> {noted}\n\
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
async fn a_demo_admits_drives_refuses_and_leaves_nothing_behind() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let server = start().await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let daemon = good(folder.path(), &server.address, "exit 0");
    let variables = [("EDGEMUXD", daemon.as_str()), ("TMPDIR", temporary.path().to_str().unwrap())];
    let output = edgemux_with(&["demo", "--seconds", "1", "--seed", "5", "--json"], &variables).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("$ edgemux admit detector --rate 50 --burst 200 --latency 80 --quantile 0.99\n"),
        "{stderr}"
    );
    assert!(stderr.contains("segmenter is not admitted"), "{stderr}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    fake::assert_documented(&result);
    let sessions = result["sessions"].as_array().unwrap();
    let names: Vec<_> = sessions.iter().map(|session| session["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["detector", "classifier", "keywords", "mobilenet_tiny"]);
    for session in sessions {
        assert!(session["succeeded"].as_u64().unwrap() > 0);
        assert_eq!(session["predicted"]["p99_ms"], 11.0);
        // The server of this test answers at once; the machine may be busy.
        assert!(session["objective_kept"].as_f64().unwrap() > 0.5, "{session}");
    }
    assert_eq!((&sessions[0]["asked_rate_hz"], &sessions[0]["objective_ms"]), (&json!(50.0), &json!(80.0)));
    let last = result["admissions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["model"], &last["verdict"]["admitted"]), (&json!("segmenter"), &json!(false)));
    assert_eq!(last["verdict"]["largest_admissible_rate_hz"], 13.579);
    let noted = fs::read_to_string(folder.path().join("noted")).unwrap();
    assert!(noted.starts_with("--listen 127.0.0.1:0 --metrics 127.0.0.1:0 --model-repository "), "{noted}");
    assert!(
        noted.trim_end().ends_with("\n2\n3\n2"),
        "its models and devices were there when it started: {noted}"
    );
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
