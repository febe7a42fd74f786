//! `edgemux admit`: what is asked of the daemon, what is told, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::process::Stdio;
use std::time::Duration;

use edgemux_proto::edgemux::v1;
use edgemux_proto::edgemux::v1::objective::Statistic;
use fake::node::Call;
use fake::{Running, start};
use serde_json::{Value, json};

const TERMS: [&str; 6] = ["--rate", "40", "--latency", "60", "--quantile", "0.99"];

async fn next(server: &mut Running) -> Call {
    tokio::time::timeout(Duration::from_secs(60), server.calls.recv()).await.expect("a call").unwrap()
}

async fn text(server: &Running, exit: i32, arguments: &[&str]) -> String {
    let output = server.edgemux(arguments).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn a_dry_run_asks_and_holds_nothing() {
    let mut server = start().await;
    let told = server.json(0, &[&["admit", "newcomer/7", "--dry-run"], &TERMS[..]].concat()).await;
    let Call::Evaluate(terms) = next(&mut server).await else { panic!("not an evaluation") };
    let objective = v1::Objective { statistic: Some(Statistic::Quantile(0.99)), latency_ms: 60.0 };
    let wanted = v1::Terms { version: "7".into(), rate_hz: 40.0, ..Default::default() };
    assert_eq!(terms, v1::Terms { model: "newcomer".into(), objective: Some(objective), ..wanted });
    assert!(server.calls.try_recv().is_err(), "nothing else is asked");
    assert_eq!(
        (&told["verdict"]["admitted"], &told["session"], &told["dry_run"]),
        (&json!(true), &Value::Null, &json!(true))
    );
}

#[tokio::test]
async fn what_is_admitted_is_reserved_and_loaded() {
    let mut server = start().await;
    let more =
        ["--burst", "3", "--priority", "2", "--excess", "best-effort", "--device-kind", "gpu", "--ttl", "9"];
    let told = server.json(0, &[&["admit", "newcomer"], &TERMS[..], &more].concat()).await;
    let Call::Reserve(reserved) = next(&mut server).await else { panic!("not a reservation") };
    assert_eq!((reserved.generation, reserved.ttl_s, reserved.uid.is_empty()), (1, 9.0, false));
    let terms = reserved.terms.unwrap();
    assert_eq!((terms.burst, terms.priority, terms.excess()), (3.0, 2, v1::Excess::BestEffort));
    assert_eq!(terms.devices().collect::<Vec<_>>(), [v1::DeviceKind::Gpu]);
    assert_eq!(next(&mut server).await, Call::Commit("newcomer".into()));
    assert_eq!(told["session"]["id"], "newcomer/1");
    assert!(told["load_ms"].as_f64().is_some());
    let tenants = told["verdict"]["tenants"].as_array().unwrap();
    assert_eq!(tenants[0]["before"]["p99_ms"], 20.0);
    assert_eq!(tenants[0]["after"]["p99_ms"], 31.0);
    assert_eq!(tenants[1]["before"], Value::Null);
    assert_eq!(tenants[1]["terms"]["priority"], 2);

    let text = text(&server, 0, &[&["admit", "newcomer"], &TERMS[..]].concat()).await;
    for part in [
        "newcomer is admitted to gpu0, time-sliced",
        "newcomer/1 is ready on gpu0",
        "predicted by ranked",
        "20.00 → 31.00",
        "memory 12.0 MiB of 1.0 GiB",
        "utilisation 62 %",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn a_session_has_the_name_and_the_file_that_are_asked_for() {
    let mut server = start().await;
    let digest = "ab".repeat(32);
    let named = ["--name", "shop.camera", "--digest", &digest];
    server.json(0, &[&["admit", "newcomer"], &TERMS[..], &named].concat()).await;
    let Call::Reserve(reserved) = next(&mut server).await else { panic!("not a reservation") };
    assert_eq!((reserved.session_name.as_str(), reserved.model_digest), ("shop.camera", digest.clone()));
    // A dry run asks for no name that it would not hold.
    text(&server, 2, &[&["admit", "newcomer", "--dry-run"], &TERMS[..], &named].concat()).await;
}

#[tokio::test]
async fn a_refusal_ends_with_3_and_says_why_and_what_could_be_had() {
    let mut server = start().await;
    let refused = [&["admit", "refused"], &TERMS[..]].concat();
    let told = server.json(3, &refused).await;
    assert_eq!(told["error"], Value::Null, "a verdict is a result");
    let verdict = &told["verdict"];
    assert_eq!(verdict["admitted"], false);
    assert_eq!(verdict["largest_admissible_rate_hz"], 13.579);
    assert_eq!(verdict["reasons"][0]["kind"], "objective");
    assert_eq!(verdict["reasons"][0]["session"], "promised/3");
    assert_eq!(
        verdict["alternatives"],
        json!([
            {"rate_hz": 13.579, "latency_ms": null}, {"rate_hz": null, "latency_ms": 81.23}
        ])
    );
    assert_eq!(verdict["tenants"][1]["after"], Value::Null, "the device would not keep up");
    assert!(matches!(next(&mut server).await, Call::Reserve(_)));
    assert!(server.calls.try_recv().is_err(), "nothing is loaded and nothing given back");

    let text = text(&server, 3, &refused).await;
    for part in [
        "refused is not admitted\n",
        "gpu0: the p99 of promised/3 would be 70 ms, not 60",
        // Rounded down: at 13.6 it was not shown to hold.
        "largest admissible rate: 13.5 requests/s",
        // Rounded up.
        "an objective of 81.3 ms",
        "unbounded",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let dry = self::text(&server, 3, &[&refused[..], &["--dry-run"]].concat()).await;
    assert!(dry.starts_with("refused would not be admitted\n"), "{dry}");
}

#[tokio::test]
async fn best_effort_is_told_as_what_it_is() {
    let server = start().await;
    let told = server.json(0, &["admit", "logger", "--dry-run"]).await;
    let verdict = &told["verdict"];
    assert_eq!(
        (&verdict["best_effort"], &verdict["method"], &verdict["slack"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    let text = text(&server, 0, &["admit", "logger", "--dry-run"]).await;
    assert!(text.contains("no latency is promised; --rate and --latency ask for one"), "{text}");
}

#[tokio::test]
async fn a_place_whose_load_fails_or_is_interrupted_is_given_back() {
    let mut server = start().await;
    let told = server.json(1, &[&["admit", "fragile"], &TERMS[..]].concat()).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("not an ONNX file"), "{told}");
    assert!(matches!(next(&mut server).await, Call::Reserve(_)));
    assert_eq!(next(&mut server).await, Call::Commit("fragile".into()));
    assert_eq!(next(&mut server).await, Call::Release("fragile".into()));

    let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgemux"))
        .args(["--server", &server.address, "admit", "stuck"])
        .args(TERMS)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    assert!(matches!(next(&mut server).await, Call::Reserve(_)));
    assert_eq!(next(&mut server).await, Call::Commit("stuck".into()));
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(next(&mut server).await, Call::Release("stuck".into()));
    let ended =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("interrupted"));
}

#[tokio::test]
async fn a_model_that_is_not_there_is_an_error_and_no_refusal() {
    let server = start().await;
    let told = server.json(1, &["admit", "absent"]).await;
    assert_eq!(told["error"]["code"], "NOT_FOUND");
    assert!(told["error"]["message"].as_str().unwrap().contains("`edgemux models`"));
}
