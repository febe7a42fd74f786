//! `edgemux devices` and `edgemux sessions`: what is listed, and what is changed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use edgemux_proto::edgemux::v1::{FenceRequest, Multiplexing, SetMultiplexingRequest};
use fake::node::Call;
use fake::start;
use serde_json::{Value, json};

#[tokio::test]
async fn a_device_shows_how_it_is_shared_and_what_was_asked_for() {
    let server = start().await;
    let devices = server.json(0, &["devices"]).await;
    let gpu = &devices["devices"][1];
    assert_eq!(
        (&gpu["multiplexing"], &gpu["configured_multiplexing"], &gpu["width"]),
        (&json!("concurrent"), &json!("auto"), &json!(4))
    );
    assert_eq!(devices["devices"][0]["memory_capacity_bytes"], Value::Null, "not limited");
    assert_eq!(devices["devices"][0]["hardware"], Value::Null, "it has no source");
    assert_eq!(gpu["hardware"]["temperature_c"], json!(61.0));
    assert_eq!(gpu["hardware"]["clock_mhz"], Value::Null, "not shown");
    let text = String::from_utf8(server.edgemux(&["devices"]).await.stdout).unwrap();
    for part in ["concurrent (auto)", "width 4", "42 %", "1.0 GiB", "NVIDIA T4", "70W", "61", "3.0 GiB of 16"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn a_mode_is_set_and_what_is_not_said_stays() {
    let mut server = start().await;
    let line = "devices set-mode gpu0 time-sliced --quantum 2.5";
    let told = server.json(0, &line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(told["device"]["multiplexing"], "time-sliced");
    let asked = SetMultiplexingRequest {
        device: "gpu0".into(),
        multiplexing: Multiplexing::TimeSliced.into(),
        quantum_ms: 2.5,
        ..Default::default()
    };
    assert_eq!(server.calls.try_recv().unwrap(), Call::SetMultiplexing(asked));
    let line = "devices set-mode gpu0 concurrent --width 9";
    let told = server.json(1, &line.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(told["error"]["code"], "INVALID_ARGUMENT");
    let told = server.json(1, &["devices", "set-mode", "gpu7", "auto"]).await;
    assert_eq!(told["error"]["code"], "NOT_FOUND");
    assert!(told["error"]["message"].as_str().unwrap().contains("`edgemux devices`"), "{told}");
}

#[tokio::test]
async fn a_device_is_fenced_with_a_reason_and_comes_back() {
    let mut server = start().await;
    let told = server.json(0, &["devices", "fence", "gpu0", "--reason", "being swapped"]).await;
    assert_eq!(
        (&told["device"]["fenced"], &told["device"]["fence_reason"]),
        (&json!(true), &json!("being swapped"))
    );
    let asked = FenceRequest { device: "gpu0".into(), reason: "being swapped".into() };
    assert_eq!(server.calls.try_recv().unwrap(), Call::Fence(asked));
    let text = String::from_utf8(server.edgemux(&["devices", "unfence", "gpu0"]).await.stdout).unwrap();
    assert!(text.lines().last().unwrap().ends_with("no"), "{text}");
    assert_eq!(server.calls.try_recv().unwrap(), Call::Unfence("gpu0".into()));
}

#[tokio::test]
async fn a_session_shows_its_terms_and_how_they_are_kept() {
    let server = start().await;
    let told = server.json(0, &["sessions", "promised/3"]).await;
    let session = &told["sessions"][0];
    assert_eq!((&session["terms"]["rate_hz"], &session["terms"]["quantile"]), (&json!(40.0), &json!(0.99)));
    assert_eq!(
        (&session["predicted"]["p99_ms"], &session["observed"]["p99_ms"]),
        (&json!(20.0), &json!(90.25))
    );
    assert_eq!((&session["objective_kept"], &session["slo_at_risk"]), (&json!(0.97), &json!(true)));
    let told = server.json(0, &["sessions"]).await;
    assert_eq!(told["sessions"][0]["objective_kept"], Value::Null, "nothing was promised");
    let text = String::from_utf8(server.edgemux(&["sessions"]).await.stdout).unwrap();
    for part in [
        "40.0/s, p99 ≤ 60 ms",
        "88 refused",
        "97.0 %",
        "×1.25",
        "90.25",
        "promised/3 is at risk: its p99 is predicted to be 71 ms",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let told = server.json(1, &["sessions", "nobody/1"]).await;
    assert_eq!(told["error"]["code"], "NOT_FOUND");
}
