//! `/metrics` shows what Triton's dashboards ask for, and what admission, policing and calibration know.

use std::collections::BTreeMap;

use edgemux_proto::edgemux::v1::Terms;
use edgemux_tests::{Daemon, Emulated, PATIENCE, Poisson, Setup, echo, eventually, get, terms};

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";

/// Every sample by its name and labels, as the text has them.
async fn samples(daemon: &Daemon) -> BTreeMap<String, f64> {
    let (_, text) = get(daemon.metrics(), "/metrics").await;
    let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains('{'));
    let samples = lines.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

#[tokio::test]
async fn what_is_promised_predicted_seen_and_refused_is_counted() {
    let daemon = Setup::bare(DEVICE)
        .emulated("a", Emulated::new(5.0).not_at_start())
        .emulated("b", Emulated::new(20.0).not_at_start())
        .start()
        .await;
    let client = daemon.client().await;
    client.admit(&Terms { burst: 5.0, ..terms("a", 20.0, 0.99, 2_000.0) }).await;
    assert!(client.load_with(&terms("b", 1000.0, 0.99, 500.0)).await.is_err());
    let flood = Poisson { request: echo("a", [1.0; 4]), rate_hz: 200.0, count: 100, seed: 1 };
    let seen = flood.run(client.clone()).await;
    assert!(seen.refused > 0 && !seen.latencies.is_empty());
    let a = "model=\"a\",version=\"1\",device=\"gpu0\"";
    let predicted = format!("edgemux_session_predicted_latency_seconds{{{a},quantile=\"0.99\"}}");
    let shown = async || samples(&daemon).await.contains_key(&predicted).then_some(());
    eventually("a prediction is shown", PATIENCE, shown).await;
    let samples = samples(&daemon).await;
    let sample = |name: &str, labels: &str| {
        let key = format!("{name}{{{labels}}}");
        *samples.get(&key).unwrap_or_else(|| panic!("no {key} in {samples:#?}"))
    };
    let answered = seen.latencies.len() as f64;
    for name in ["nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count"] {
        assert_eq!(sample(name, a), answered, "{name}");
    }
    assert_eq!(sample("nv_inference_request_failure", a), seen.refused as f64);
    assert_eq!(
        sample("edgemux_excess_requests_total", &format!("{a},treatment=\"refused\"")),
        seen.refused as f64
    );
    assert_eq!(sample("edgemux_session_declared_rate_hz", a), 20.0);
    assert_eq!(sample("edgemux_session_objective_seconds", a), 2.0);
    assert_eq!(sample("edgemux_admissions_total", "verdict=\"admitted\",reason=\"\""), 1.0);
    assert_eq!(sample("edgemux_admissions_total", "verdict=\"refused\",reason=\"stability\""), 1.0);
    assert_eq!(sample("edgemux_device_multiplexing", "device=\"gpu0\",mode=\"exclusive\""), 1.0);
    assert_eq!(sample("edgemux_device_fenced", "device=\"gpu0\""), 0.0);
    assert_eq!(sample("edgemux_session_slo_at_risk", a), 0.0);
    assert_eq!(sample("edgemux_drift_events_total", a), 0.0);
    for quantile in ["0.5", "0.95", "0.99"] {
        let labels = format!("{a},quantile=\"{quantile}\"");
        for name in ["edgemux_session_predicted_latency_seconds", "edgemux_session_observed_latency_seconds"]
        {
            let latency = sample(name, &labels);
            assert!((0.005..10.0).contains(&latency), "{name} {quantile}: {latency} s");
        }
    }
    let utilisation = sample("edgemux_device_predicted_utilisation", "device=\"gpu0\"");
    // 20/s of 5 ms and what handing over takes.
    assert!((0.1..0.5).contains(&utilisation), "{utilisation}");
    for name in ["edgemux_session_coverage_ratio", "edgemux_session_objective_kept_ratio"] {
        assert!((0.0..=1.0).contains(&sample(name, a)), "{name}");
    }
    assert!(sample("edgemux_session_margin_ratio", a) >= 1.0);
    assert!(sample("edgemux_calibration_age_seconds", a) < 60.0);
    assert!(sample("edgemux_device_utilisation", "device=\"gpu0\"") <= 1.0);
}
