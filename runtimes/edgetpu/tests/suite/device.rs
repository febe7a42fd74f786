//! Which device is opened, and what is said where there is none.

use std::os::unix::process::ExitStatusExt;

use edgemux_runtime_api::client::{SpawnError, WorkerCommand, probe};
use edgemux_runtime_api::error::OpenError;

use crate::bench::{Bench, FAKE, PATIENCE, command, options, tensorflow_lite};

/// Why the device cannot be opened.
async fn refused(more: &str) -> String {
    match Bench::spawn(more).await.map(|bench| bench.worker.pid()) {
        Err(SpawnError::Open(OpenError::Device(reason))) => reason,
        other => panic!("{more}: {other:?}"),
    }
}

#[tokio::test]
async fn the_device_that_is_asked_for_is_opened_and_no_other() {
    let there = r#""delegate-options": {"there": "usb:0,usb:1,pci:0"}"#;
    for asked in [r#""bus": "usb""#, r#""bus": "usb", "index": 1"#, r#""bus": "pci""#] {
        assert!(Bench::spawn(&format!("{asked}, {there}")).await.is_ok(), "{asked}");
    }
    for (asked, named) in [
        (r#""bus": "usb", "index": 2"#, "usb:2"),
        (r#""bus": "pci", "index": 1"#, "pci:1"),
        (r#""index": 0"#, ":0"),
    ] {
        let reason = refused(&format!("{asked}, {there}")).await;
        assert!(reason.contains(&format!("{named:?}")) && reason.contains("plugged in"), "{asked}: {reason}");
    }
}

#[tokio::test]
async fn a_library_that_is_not_there_is_named() {
    let reason = refused(r#""delegate-options": {"fault": "refuses"}"#).await;
    assert!(reason.contains("does not open device \":0\""), "{reason}");
    for (option, file) in
        [("delegate", "/nowhere/libedgetpu.so.1"), ("tensorflow-lite", "/nowhere/libtensorflowlite_c.so")]
    {
        let other = match option {
            "delegate" => format!(r#""tensorflow-lite": "{}""#, tensorflow_lite()),
            _ => format!(r#""delegate": "{FAKE}""#),
        };
        let device = crate::bench::device(&format!(r#"{{"{option}": "{file}", {other}}}"#));
        let spawned = edgemux_runtime_api::client::Worker::spawn(&command(), &device, 1, PATIENCE).await;
        match spawned.map(|(worker, _)| worker.pid()) {
            Err(SpawnError::Open(OpenError::Device(reason))) => assert!(reason.contains(file), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    // A library, but not TensorFlow Lite.
    let device = crate::bench::device(&format!(r#"{{"tensorflow-lite": "{FAKE}", "delegate": "{FAKE}"}}"#));
    let spawned = edgemux_runtime_api::client::Worker::spawn(&command(), &device, 1, PATIENCE).await;
    match spawned.map(|(worker, _)| worker.pid()) {
        Err(SpawnError::Open(OpenError::Device(reason))) => {
            assert!(reason.contains("is without TfLite"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn libraries_that_crash_together_are_a_message_not_a_dead_worker() {
    let reason = refused(r#""delegate-options": {"fault": "crashes"}"#).await;
    for said in ["signal 11", "not of one release", "TensorFlow Lite 2.", "libedgetpu fake 1"] {
        assert!(reason.contains(said), "{said:?} is not in {reason:?}");
    }
}

#[tokio::test]
async fn a_device_that_hangs_when_it_is_opened_is_given_up() {
    let reason = refused(r#""trial-seconds": 1, "delegate-options": {"fault": "hangs"}"#).await;
    assert!(reason.contains("within 1 s"), "{reason}");
}

#[tokio::test]
async fn the_probe_tells_both_versions_and_what_is_missing() {
    let good = probe(&command(), PATIENCE).await.unwrap();
    assert!(
        good.version.contains("TensorFlow Lite 2.") && good.version.contains("libedgetpu fake 1"),
        "{good:?}"
    );
    let WorkerCommand { program, mut arguments } = command();
    arguments[1] = "EDGETPU_LIBRARY_PATH=/nowhere/libedgetpu.so.1".into();
    let bad = probe(&WorkerCommand { program, arguments }, PATIENCE).await.unwrap();
    assert!(bad.devices.is_empty(), "{bad:?}");
    assert!(bad.problem.is_some_and(|problem| problem.contains("/nowhere/libedgetpu.so.1")));
}

#[test]
fn a_trial_says_what_is_wrong_and_ends_with_its_parent() {
    let trial = |options: &str| {
        let program = env!("CARGO_BIN_EXE_edgemux-runtime-edgetpu");
        std::process::Command::new(program).args(["--trial", options]).output().unwrap()
    };
    let good = trial(&options(""));
    assert!(good.status.success() && good.stdout.is_empty(), "{good:?}");
    let bad = trial(&options(r#""delegate-options": {"fault": "refuses"}"#));
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stdout).contains("plugged in"), "{bad:?}");
    let crashed = trial(&options(r#""delegate-options": {"fault": "crashes"}"#));
    assert_eq!(crashed.status.signal(), Some(11));
}
