//! What the compiled model says of its weights is shown, and what bringing them to the chip costs is measured.
//!
//! The fake device takes 2 ms for a run and 6 ms for a reload.

use edgemux_runtime_api::runtime::{Details, OnChip, Timing};

use crate::bench::Bench;

const TIMES: &str = r#""delegate-options": {"service-us": "2000", "reload-us": "6000"}"#;

/// What a busy machine may make of 6 ms; whoever does not reload is told exactly 0.
const MS: std::ops::Range<f64> = 2.0..100.0;

fn is_a_reload(timing: Timing) -> bool {
    MS.contains(&(timing.reload_ns as f64 / 1e6)) && timing.reload_ns <= timing.infer_ns
}

fn shown<'a>(details: &'a Details, name: &str) -> Option<&'a str> {
    details.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn what_the_compiler_says_of_the_weights_is_shown() {
    let mut bench = Bench::spawn("").await.unwrap();
    let (_, details) = bench.load("together_1").await.unwrap();
    assert_eq!(details.on_chip, Some(OnChip { cached_bytes: 3000, streamed_bytes: 500, group: Some(22) }));
    for (name, value) in [
        ("edgetpu.operators", "1"),
        ("edgetpu.operators_on_processor", "0"),
        ("edgetpu.cached_bytes", "3000"),
        ("edgetpu.streamed_bytes", "500"),
        ("edgetpu.group", "0000000000000016"),
    ] {
        assert_eq!(shown(&details, name), Some(value), "{name}");
    }
    let (_, mixed) = bench.load("mixed").await.unwrap();
    assert_eq!(shown(&mixed, "edgetpu.operators_on_processor"), Some("1"));
    assert_eq!((shown(&mixed, "x.scale"), shown(&mixed, "y.zero_point")), (Some("0.5"), Some("10")));
    let (_, unknown) = bench.load("echo").await.unwrap();
    assert_eq!((unknown.on_chip, shown(&unknown, "edgetpu.cached_bytes")), (None, None));
}

#[tokio::test]
async fn the_overhead_is_measured_when_a_second_model_is_loaded() {
    let mut bench = Bench::spawn(TIMES).await.unwrap();
    let (_, first) = bench.load("alone").await.unwrap();
    assert_eq!(shown(&first, "edgetpu.reload_ms"), None, "there is nobody to take turns with");
    let (session, second) = bench.load("together_1").await.unwrap();
    let ms: f64 = shown(&second, "edgetpu.reload_ms").unwrap().parse().unwrap();
    println!("a reload of 6 ms is measured as {ms} ms");
    assert!(MS.contains(&ms), "{ms}");
    // The daemon's first request sees it too: that is how the daemon learns of it.
    assert!(is_a_reload(bench.echoed(session, &[1.0]).await));
    assert_eq!(bench.echoed(session, &[2.0]).await.reload_ns, 0);
}

#[tokio::test]
async fn a_request_that_waited_for_weights_is_told_so_and_no_other() {
    let mut bench = Bench::spawn(TIMES).await.unwrap();
    let (alone, _) = bench.load("alone").await.unwrap();
    let (together, _) = bench.load("together_1").await.unwrap();
    let (friend, _) = bench.load("together_2").await.unwrap();
    let (streamed, _) = bench.load("streamed").await.unwrap();
    for _ in 0..3 {
        // Another group took the chip: its own weights first.
        assert!(is_a_reload(bench.echoed(alone, &[1.0]).await));
        assert_eq!(bench.echoed(alone, &[2.0]).await.reload_ns, 0);
        // Compiled together: each waits once, then both are there.
        assert!(is_a_reload(bench.echoed(together, &[3.0]).await));
        assert!(is_a_reload(bench.echoed(friend, &[4.0]).await));
        assert_eq!(bench.echoed(together, &[5.0]).await.reload_ns, 0);
        assert_eq!(bench.echoed(friend, &[6.0]).await.reload_ns, 0);
        // It caches nothing, so it waits for nothing; and takes the chip from everybody.
        assert_eq!(bench.echoed(streamed, &[7.0]).await.reload_ns, 0);
        assert!(is_a_reload(bench.echoed(together, &[8.0]).await));
    }
}

#[tokio::test]
async fn measuring_can_be_left_out() {
    let mut bench = Bench::spawn(&format!(r#""measure-reload": false, {TIMES}"#)).await.unwrap();
    bench.load("alone").await.unwrap();
    let (session, second) = bench.load("together_1").await.unwrap();
    assert_eq!(shown(&second, "edgetpu.reload_ms"), None);
    // The first run waits; how long a run takes without is not known yet.
    assert_eq!(bench.echoed(session, &[1.0]).await.reload_ns, 0);
}
