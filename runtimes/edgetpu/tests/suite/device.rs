//! Which device is opened, and what is said where there is none.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use edgemux_runtime_api::client::{SpawnError, Worker, probe};
use edgemux_runtime_api::error::OpenError;

use crate::bench::{Bench, FAKE, PATIENCE, WORKER, command, device, options, tensorflow_lite};

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
async fn a_library_that_is_not_there_or_is_another_is_named() {
    let tensorflow_lite = tensorflow_lite();
    for (delegate, tensorflow_lite, said) in [
        ("/nowhere/libedgetpu.so.1", tensorflow_lite.as_str(), "/nowhere/libedgetpu.so.1"),
        (FAKE, "/nowhere/libtensorflowlite_c.so", "/nowhere/libtensorflowlite_c.so"),
        (&tensorflow_lite, &tensorflow_lite, "tflite_plugin_create_delegate"),
        (FAKE, FAKE, "is without TfLite"),
    ] {
        let options = format!(r#"{{"delegate": "{delegate}", "tensorflow-lite": "{tensorflow_lite}"}}"#);
        match Worker::spawn(&command(), &device(&options), 1, PATIENCE).await.map(|(worker, _)| worker.pid())
        {
            Err(SpawnError::Open(OpenError::Device(reason))) => assert!(reason.contains(said), "{reason}"),
            other => panic!("{options}: {other:?}"),
        }
    }
    let reason = refused(r#""delegate-options": {"fault": "refuses"}"#).await;
    assert!(reason.contains("does not open device \":0\""), "{reason}");
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
    let mut without = command();
    without.environment[1].1 = "/nowhere/libedgetpu.so.1".into();
    let bad = probe(&without, PATIENCE).await.unwrap();
    assert!(bad.devices.is_empty(), "{bad:?}");
    assert!(bad.problem.is_some_and(|problem| problem.contains("/nowhere/libedgetpu.so.1")));
}

#[test]
fn a_trial_says_what_is_wrong() {
    let trial = |options: &str| Command::new(WORKER).args(["--trial", options]).output().unwrap();
    let good = trial(&options(""));
    assert!(good.status.success() && good.stdout.is_empty(), "{good:?}");
    let bad = trial(&options(r#""delegate-options": {"fault": "refuses"}"#));
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stdout).contains("plugged in"), "{bad:?}");
    let crashed = trial(&options(r#""delegate-options": {"fault": "crashes"}"#));
    assert_eq!(crashed.status.signal(), Some(11));
}

#[test]
fn a_trial_that_hangs_ends_with_the_process_that_waits_for_it() {
    let hangs = options(r#""delegate-options": {"fault": "hangs"}"#);
    let script = r#""$0" --trial "$1" & echo $!; wait"#;
    let mut parent =
        Command::new("sh").args(["-c", script, WORKER, &hangs]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let trial = PathBuf::from("/proc").join(line.trim());
    let read = |file: &str| std::fs::read_to_string(trial.join(file)).unwrap_or_default();
    // Whoever inherits it may leave what is left of it.
    let gone = || read("stat").is_empty() || read("stat").contains(") Z ");
    let patience = Instant::now() + PATIENCE;
    while !read("maps").contains("libfakedelegate") {
        assert!(!gone() && Instant::now() < patience, "the delegate is not opened");
        std::thread::yield_now();
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    while !gone() {
        assert!(Instant::now() < patience, "it is still there");
        std::thread::yield_now();
    }
}
