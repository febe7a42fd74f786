//! `edgemux load-test` against a server whose times are known.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::process::Stdio;
use std::time::Duration;

use fake::start;
use serde_json::{Value, json};

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("{of} is no number"))
}

#[tokio::test]
async fn closed_loop_sends_as_many_requests_as_asked() {
    let server = start().await;
    let result = server.json(0, &["load-test", "copy", "--concurrency", "4", "--requests", "200"]).await;
    let model = &result["models"][0];
    assert_eq!(result["loop"], "closed");
    assert_eq!(
        (&model["sent"], &model["succeeded"], &model["failed"]),
        (&json!(200), &json!(200), &json!(0))
    );
    assert_eq!(model["concurrency"], 4);
    assert!(number(&model["latency_ms"]["p50"]) <= number(&model["latency_ms"]["p99"]));
    // The server says that each request waited for 1 ms and was served for 2.
    assert_eq!(model["server"], json!({"queue_ms": 1.0, "service_ms": 2.0}));
    assert_eq!(*server.inferences.borrow(), 203, "three of them unmeasured");
}

#[tokio::test]
async fn open_loop_keeps_the_rate_whatever_the_server_does() {
    let server = start().await;
    let arguments = ["load-test", "slow", "--rate-hz", "100", "--seconds", "2", "--arrivals", "periodic"];
    let result = server.json(0, &arguments).await;
    let model = &result["models"][0];
    assert_eq!((&result["loop"], &result["arrivals"]), (&json!("open"), &json!("periodic")));
    let sent = number(&model["sent"]);
    assert!((199.0..=200.0).contains(&sent), "{sent}");
    assert!((number(&model["achieved_rate_hz"]) - 100.0).abs() < 10.0, "{model}");
    assert!(number(&model["latency_ms"]["p50"]) >= 50.0, "{model}");
    assert_eq!(model["outstanding_limit_hits"], 0);
}

#[tokio::test]
async fn waiting_for_a_slow_server_is_part_of_the_latency() {
    let server = start().await;
    // One at a time at 50 ms each, and 100 asked per second: each request waits for all before it.
    let arguments = ["load-test", "slow", "--rate-hz", "100", "--requests", "20", "--max-outstanding", "1"];
    let result = server.json(0, &[&arguments[..], &["--arrivals", "periodic"]].concat()).await;
    let model = &result["models"][0];
    assert_eq!(model["succeeded"], 20);
    assert!(number(&model["latency_ms"]["max"]) > 800.0, "{model}");
    assert!(number(&model["send_delay_ms"]["max"]) > 750.0, "{model}");
    assert!(number(&model["outstanding_limit_hits"]) >= 19.0, "{model}");
}

#[tokio::test]
async fn what_could_not_be_sent_in_time_is_counted() {
    let server = start().await;
    let arguments = ["load-test", "slow", "--rate-hz", "200", "--seconds", "1", "--max-outstanding", "2"];
    let output = server.edgemux(&[&arguments[..], &["--arrivals", "periodic"]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("were under way, the limit (--max-outstanding)"), "{text}");
    let result = server.json(0, &[&arguments[..], &["--arrivals", "periodic"]].concat()).await;
    let model = &result["models"][0];
    let (sent, skipped) = (number(&model["sent"]), number(&model["skipped"]));
    assert!((199.0..=200.0).contains(&(sent + skipped)), "{sent} {skipped}");
    assert!(skipped > 100.0, "{model}");
    assert!(number(&model["elapsed_s"]) < 3.0, "{model}");
}

#[tokio::test]
async fn several_models_are_driven_at_once() {
    let server = start().await;
    let arguments =
        ["load-test", "--model", "copy=50", "--model", "slow=20", "--seconds", "1", "--seed", "3"];
    let result = server.json(0, &arguments).await;
    let models = result["models"].as_array().unwrap();
    assert_eq!((&models[0]["model"], &models[1]["model"]), (&json!("copy"), &json!("slow")));
    for (model, rate) in models.iter().zip([50.0, 20.0]) {
        assert_eq!(model["asked_rate_hz"], rate);
        assert!((number(&model["sent"]) - rate).abs() < 4.0 * f64::sqrt(rate), "{model}");
    }
    let again = server.json(0, &arguments).await;
    assert_eq!(again["models"][0]["sent"], models[0]["sent"], "the same seed gives the same schedule");
}

#[tokio::test]
async fn errors_are_counted_by_their_code() {
    let server = start().await;
    let run = ["load-test", "flaky", "--warm-up", "0", "--requests", "20"];
    let result = server.json(0, &run).await;
    let model = &result["models"][0];
    assert_eq!((&model["succeeded"], &model["failed"]), (&json!(10), &json!(10)));
    assert_eq!(model["errors"], json!({"UNAVAILABLE": {"count": 10, "message": "the worker is gone"}}));
    let result = server.json(0, &[&run[..], &["--streaming"]].concat()).await;
    assert_eq!(result["models"][0]["errors"]["IN_STREAM"]["count"], 10);
}

#[tokio::test]
async fn a_run_without_one_success_fails() {
    let server = start().await;
    let run = ["load-test", "stuck", "--warm-up", "0", "--requests", "2", "--timeout-ms", "50"];
    for arguments in [&run[..], &[&run[..], &["--streaming"]].concat()] {
        let result = server.json(1, arguments).await;
        assert_eq!(result["models"][0]["errors"]["DEADLINE_EXCEEDED"]["count"], 2);
        assert_eq!(result["models"][0]["latency_ms"]["p50"], json!(null));
    }
    // What fails at once is told as an error, before anything is measured.
    let refused = server.json(1, &["load-test", "thrice", "--requests", "2"]).await;
    assert_eq!(refused["error"]["code"], "UNIMPLEMENTED");
}

#[tokio::test]
async fn streaming_matches_answers_to_requests_and_waits_for_the_last_of_several() {
    let server = start().await;
    for model in ["copy", "thrice"] {
        let arguments = ["load-test", model, "--streaming", "--concurrency", "8", "--requests", "100"];
        let result = server.json(0, &arguments).await;
        assert_eq!(result["models"][0]["succeeded"], 100, "{model}");
        assert_eq!(result["streaming"], true);
    }
    let open = ["load-test", "copy", "--streaming", "--rate-hz", "200", "--seconds", "1"];
    let result = server.json(0, &open).await;
    assert_eq!(result["models"][0]["failed"], 0);
    assert!(number(&result["models"][0]["succeeded"]) > 120.0);
}

#[tokio::test]
async fn an_interrupt_ends_the_run_with_the_figures_so_far() {
    let server = start().await;
    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
        .args(["--server", &server.address, "--json", "load-test", "copy", "--seconds", "600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    server.inferences_reach(50).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(result["interrupted"], true);
    assert!(number(&result["models"][0]["succeeded"]) > 40.0);
}
