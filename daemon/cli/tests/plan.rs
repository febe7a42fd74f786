//! `edgemux plan` and `edgemux experiment`, as a user runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::fs;
use std::process::Output;

use fake::{assert_documented, edgemux};
use serde_json::Value;

const CORAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/plan/coral.toml");
const NANO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/plan/jetson-nano.toml");

fn text(output: &Output, exit: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn json(exit: i32, arguments: &[&str]) -> Value {
    let output = edgemux(&[&["--json"], arguments].concat()).await;
    let object = serde_json::from_str(&text(&output, exit)).expect("one JSON object on stdout");
    assert_documented(&object);
    object
}

fn application<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let rows = plan["applications"].as_array().unwrap();
    rows.iter().find(|row| row["application"] == name).unwrap()
}

#[tokio::test]
async fn the_coral_example_refuses_one_application_for_what_it_would_do_to_others() {
    let plan = json(3, &["plan", CORAL]).await;
    assert_eq!((&plan["admitted"], &plan["refused"]), (&4.into(), &1.into()));
    let refused = application(&plan, "inspection");
    let offer = &refused["offers"][0];
    let reasons = offer["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|reason| {
            let reason = reason.as_str().unwrap();
            reason.starts_with("the p95 of door-camera would be ")
                && reason.ends_with("its objective is 200 ms")
        }),
        "{reasons:?}"
    );
    let most = offer["largest_rate_hz"].as_f64().unwrap();
    assert!((0.3..2.0).contains(&most), "it asked for 2 per second: {most}");

    let shown = text(&edgemux(&["plan", CORAL]).await, 3);
    assert!(shown.contains("inspection is refused:\n  coral0: the p95 of door-camera would be"), "{shown}");
    assert!(shown.contains("coral0 could take it with up to"), "{shown}");
}

#[tokio::test]
async fn the_nano_example_refuses_one_application() {
    let plan = json(3, &["plan", NANO]).await;
    assert_eq!((&plan["admitted"], &plan["refused"]), (&4.into(), &1.into()));
    assert_eq!(application(&plan, "scene")["admitted"], false);
    for session in plan["devices"][0]["sessions"].as_array().unwrap() {
        assert!(session["holds"].is_null() || session["holds"] == true, "{session}");
    }
}

#[tokio::test]
async fn simulation_and_prediction_agree_within_the_known_error() {
    for file in [CORAL, NANO] {
        let plan = json(3, &["plan", file, "--simulate", "--requests", "400000", "--seed", "7"]).await;
        let device = &plan["devices"][0];
        for session in device["sessions"].as_array().unwrap() {
            for statistic in ["mean", "p95", "p99"] {
                let of = |errors: &str| device[errors][statistic].as_f64().unwrap();
                let allowed = of("known_error") + of("simulated_error");
                let difference = session["difference"][statistic].as_f64().unwrap();
                assert!(difference.abs() <= allowed, "{statistic} {difference} {allowed} {session}");
            }
        }
        let again = json(3, &["plan", file, "--simulate", "--requests", "400000", "--seed", "7"]).await;
        assert_eq!(plan, again, "a seed repeats a run");
    }
}

#[tokio::test]
async fn once_the_refused_application_is_gone_all_are_admitted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    let example = text(&edgemux(&["plan", "--example", "coral"]).await, 0);
    assert_eq!(example, fs::read_to_string(CORAL).unwrap());
    fs::write(&file, example.replace("rate-hz = 2\nlatency-ms = 1000", "rate-hz = 0.2\nlatency-ms = 1000"))
        .unwrap();
    let shown = text(&edgemux(&["plan", file.to_str().unwrap()]).await, 0);
    assert!(shown.contains("5 of 5 applications admitted"), "{shown}");
}

#[tokio::test]
async fn csv_is_a_table() {
    let csv = text(&edgemux(&["plan", CORAL, "--csv"]).await, 3);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 6, "{csv}");
    assert!(lines[0].starts_with("application,model,admitted,device,"), "{csv}");
    assert!(
        lines[1].starts_with("door-camera,ssd-mobilenet-v2,true,coral0,edgetpu,exclusive,4,200,0.95,"),
        "{csv}"
    );
}

#[tokio::test]
async fn a_broken_file_and_a_broken_line_end_with_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    let broken = fs::read_to_string(CORAL).unwrap().replace("rate-hz = 8", "rate-hz = nan");
    fs::write(&file, &broken).unwrap();
    let path = file.to_str().unwrap();
    let line = 1 + broken.lines().position(|line| line == "rate-hz = nan").unwrap();
    let object = json(1, &["plan", path]).await;
    assert_eq!(object["error"]["code"], "FILE");
    let message = object["error"]["message"].as_str().unwrap();
    assert_eq!(message, format!("{path}:{line}: rate-hz = NaN is no rate: 0.000001 to 1000000 per second"));
    for arguments in [&["plan"][..], &["plan", path, "--plot", "a.pdf"], &["plan", path, "--csv", "--json"]] {
        assert_eq!(edgemux(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}

#[cfg(feature = "plot")]
#[tokio::test]
async fn plots_are_what_their_names_say() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, png) = (folder.path().join("load.svg"), folder.path().join("load.png"));
    for file in [&svg, &png] {
        text(&edgemux(&["plan", CORAL, "--plot", file.to_str().unwrap()]).await, 3);
    }
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for said in ["door-camera, p95", "latency, ms", "load, % of what the device can bear", "coral0"] {
        assert!(svg.contains(said), "{said}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "every place is a number");
    let png = fs::read(png).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&png[16..24], [1720_u32.to_be_bytes(), 840_u32.to_be_bytes()].concat(), "width and height");
    let nowhere = folder.path().join("none/load.svg");
    let object = json(1, &["plan", CORAL, "--plot", nowhere.to_str().unwrap()]).await;
    assert_eq!(object["error"]["code"], "WRITE");
}

#[tokio::test]
async fn the_published_measurements_are_met_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made");
    let published = json(0, &["experiment", "published", "--out", out.to_str().unwrap()]).await;
    assert_eq!(published["points"].as_array().unwrap().len(), 20);
    let corrected = published["summaries"].as_array().unwrap();
    let corrected = corrected.iter().find(|summary| summary["profile"] == "corrected").unwrap();
    let error = |at: usize, of: &str| corrected["ours"][at][of].as_f64().unwrap();
    assert!(error(0, "mean_error") <= 0.034 && error(0, "worst_error") <= 0.09, "{corrected}");
    assert!(error(1, "mean_error") <= 0.065 && error(2, "mean_error") <= 0.1, "{corrected}");
    let mut files = vec!["published.csv", "published.md"];
    if cfg!(feature = "plot") {
        files.extend(["published.svg", "published.png"]);
    }
    for name in files {
        assert!(fs::metadata(out.join(name)).unwrap().len() > 1000, "{name}");
    }
}
