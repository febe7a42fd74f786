//! `edgemux experiment cluster`, as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]
mod fake;

use std::fs;
use std::path::Path;

use fake::{assert_documented, edgemux};
use serde_json::Value;

async fn run(out: &Path, arguments: &[&str]) -> Value {
    let out = ["--json", "experiment", "cluster", "--out", out.to_str().unwrap()];
    let output = edgemux(&[&out, arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let object = serde_json::from_slice(&output.stdout).expect("one JSON object on stdout");
    assert_documented(&object);
    object
}

#[tokio::test]
async fn ours_violates_nothing_where_knapsacks_do_and_the_same_seeds_give_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (once, again) = (folder.path().join("once"), folder.path().join("again"));
    let small = ["--seeds", "2", "--nodes", "2", "--apps-per-node", "8"];
    let report = run(&once, &small).await;
    let mean = |row: &Value, of: &str| row[of]["mean"].as_f64().unwrap();
    let (mut ours, mut knapsacks) = (0.0, 0.0);
    for row in report["rows"].as_array().unwrap() {
        assert!(
            mean(row, "clean") <= mean(row, "hosted") && mean(row, "first") <= mean(row, "clean"),
            "{row}"
        );
        assert_eq!(mean(row, "kept") + mean(row, "violations"), mean(row, "hosted"), "{row}");
        match row["policy"].as_str().unwrap() {
            "ours" => ours += mean(row, "violations"),
            policy if policy.ends_with("memory") => knapsacks += mean(row, "violations"),
            _ => {}
        }
    }
    assert_eq!(ours, 0.0);
    assert!(knapsacks > 10.0, "{knapsacks}");
    for row in report["small"].as_array().unwrap() {
        let (online, batch) = (mean(row, "online"), mean(row, "batch"));
        let (exact, relaxed) = (mean(row, "exact"), mean(row, "relaxed"));
        assert!(online <= exact && batch <= exact && exact <= relaxed + 1e-6, "{row}");
    }
    let mut files = vec!["cluster.csv", "cluster-runs.csv", "cluster-bound.csv", "cluster.md"];
    if cfg!(feature = "plot") {
        files.extend(["cluster.svg", "cluster.png"]);
    }
    for name in files {
        assert!(fs::metadata(once.join(name)).unwrap().len() > 500, "{name}");
    }

    run(&again, &small).await;
    // All but the times of decisions, which come last.
    let figures = |folder: &Path| -> Vec<String> {
        let text = fs::read_to_string(folder.join("cluster-runs.csv")).unwrap();
        text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
    };
    assert_eq!(figures(&once), figures(&again));
    // Eight settings, thirteen policies, two seeds, and the titles.
    assert_eq!(figures(&once).len(), 8 * 13 * 2 + 1);
}
