//! What `/metrics` shows, in Prometheus' text format: Triton's names for what Triton counts too, and our own.

mod hardware;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use crate::device::WorkerStatus;
use crate::node::Node;
use crate::session::{Session, State};
use crate::statistics::Statistics;

/// A counter of every session: name, help, value.
type Counter = (&'static str, &'static str, fn(&Statistics) -> u64);

const COUNTERS: [Counter; 9] = [
    ("nv_inference_request_success", "Requests answered", |s| s.success.count),
    ("nv_inference_request_failure", "Requests not answered", |s| s.fail.count),
    ("nv_inference_count", "Inferences performed", |s| s.success.count),
    ("nv_inference_exec_count", "Model executions performed", |s| s.executions),
    ("nv_inference_request_duration_us", "Microseconds from arrival to answer", |s| s.success.ns / 1000),
    ("nv_inference_queue_duration_us", "Microseconds of waiting", |s| s.queue.ns / 1000),
    ("nv_inference_compute_input_duration_us", "Microseconds of input handling", |s| {
        s.compute_input.ns / 1000
    }),
    ("nv_inference_compute_infer_duration_us", "Microseconds on the device", |s| s.compute_infer.ns / 1000),
    ("nv_inference_compute_output_duration_us", "Microseconds of output handling", |s| {
        s.compute_output.ns / 1000
    }),
];

/// A gauge of every session: name, help, value where there is one. The argument is the time in s on its device's clock.
type Gauge = (&'static str, &'static str, fn(&Session, f64) -> Option<f64>);

const GAUGES: [Gauge; 10] = [
    ("edgemux_session_ready", "1 where a session takes requests", |session, _| {
        Some(if matches!(session.state(), State::Ready(_)) { 1.0 } else { 0.0 })
    }),
    ("edgemux_session_declared_rate_hz", "Requests per second that the terms declare", |session, _| {
        session.terms.rate_hz
    }),
    ("edgemux_session_arrival_rate_hz", "Requests per second lately", |session, now| {
        Some(session.live().estimator().rate(now))
    }),
    ("edgemux_session_objective_seconds", "Latency that the terms promise", |session, _| {
        session.terms.guarantee().map(|(_, objective)| objective.latency_ms / 1e3)
    }),
    ("edgemux_session_objective_quantile", "Share of requests that have to keep it", |session, _| {
        session.terms.guarantee()?.1.quantile
    }),
    (
        "edgemux_session_objective_kept_ratio",
        "Share of requests within the terms that kept it",
        |session, _| {
            let kept = session.live().kept();
            (kept.all > 0).then(|| kept.kept as f64 / kept.all as f64)
        },
    ),
    (
        "edgemux_session_coverage_ratio",
        "Share of requests within the terms that were no longer than the predicted quantile",
        |session, _| session.live().estimator().margin().map(|margin| margin.coverage()),
    ),
    (
        "edgemux_session_margin_ratio",
        "Factor by which the prediction is lengthened because it fell short",
        |session, _| Some(session.live().margin()),
    ),
    ("edgemux_session_slo_at_risk", "1 where the objective is no longer predicted to hold", |session, _| {
        Some(if session.live().at_risk().is_some() { 1.0 } else { 0.0 })
    }),
    ("edgemux_calibration_age_seconds", "Time since the cost was last learned from", |session, now| {
        session.live().estimator().age(now)
    }),
];

/// Everything, as it is now.
pub fn exposition(node: &Node) -> String {
    let sessions = node.sessions();
    let mut text = String::new();
    of_sessions(&mut text, node, &sessions);
    waiting(&mut text, node, &sessions);
    latencies(&mut text, &sessions);
    policed(&mut text, &sessions);
    admissions(&mut text, node);
    of_devices(&mut text, node);
    workers(&mut text, node);
    hardware::of_devices(&mut text, node);
    hardware::of_node(&mut text, node);
    text
}

// Writing to a string does not fail.
fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn of_sessions(text: &mut String, node: &Node, sessions: &[Arc<Session>]) {
    let counted: Vec<_> = sessions.iter().map(|s| (labels(s), s.statistics().clone())).collect();
    for (name, help, value) in COUNTERS {
        describe(text, name, "counter", help);
        for (labels, statistics) in &counted {
            let _ = writeln!(text, "{name}{{{labels}}} {}", value(statistics));
        }
    }
    let now = Instant::now();
    for (name, help, value) in GAUGES {
        describe(text, name, "gauge", help);
        for session in sessions {
            let now = node.device(&session.device).map_or(0.0, |device| device.seconds(now));
            if let Some(value) = value(session, now) {
                let _ = writeln!(text, "{name}{{{}}} {value}", labels(session));
            }
        }
    }
}

fn waiting(text: &mut String, node: &Node, sessions: &[Arc<Session>]) {
    let loads: Vec<_> = sessions
        .iter()
        .filter_map(|session| Some((labels(session), node.device(&session.device)?.load_of(session.id))))
        .collect();
    let name = "nv_inference_pending_request_count";
    describe(text, name, "gauge", "Requests that wait in the queue");
    for (labels, (queued, _)) in &loads {
        let _ = writeln!(text, "{name}{{{labels}}} {queued}");
    }
    let name = "edgemux_session_in_service_requests";
    describe(text, name, "gauge", "Requests that are with the device");
    for (labels, (_, in_service)) in &loads {
        let _ = writeln!(text, "{name}{{{labels}}} {in_service}");
    }
    let name = "edgemux_session_crashes_total";
    describe(text, name, "counter", "Crashes of its worker that were put down to a session");
    for session in sessions {
        let _ = writeln!(text, "{name}{{{}}} {}", labels(session), session.crashes());
    }
}

fn latencies(text: &mut String, sessions: &[Arc<Session>]) {
    let name = "edgemux_session_predicted_latency_seconds";
    describe(text, name, "gauge", "Predicted quantiles of the latency at the declared rates");
    for session in sessions {
        let Some(forecast) = session.live().forecast() else { continue };
        let latency = forecast.latency;
        for (quantile, value) in [("0.5", latency.p50), ("0.95", latency.p95), ("0.99", latency.p99)] {
            let _ = writeln!(text, "{name}{{{},quantile=\"{quantile}\"}} {value}", labels(session));
        }
    }
    let name = "edgemux_session_observed_latency_seconds";
    describe(text, name, "gauge", "Quantiles of the latency of the last requests within the terms");
    for session in sessions {
        // Requests that are answered wait for the lock: nothing is sorted under it.
        let observed = session.live().estimator().observed().clone();
        if observed.count() == 0 {
            continue;
        }
        for quantile in [0.5, 0.95, 0.99] {
            let (labels, value) = (labels(session), observed.quantile(quantile));
            let _ = writeln!(text, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
        }
    }
}

fn policed(text: &mut String, sessions: &[Arc<Session>]) {
    let name = "edgemux_excess_requests_total";
    describe(text, name, "counter", "Requests beyond the terms, by what became of them");
    for session in sessions {
        let policed = session.live().policed();
        let labels = labels(session);
        let _ = writeln!(text, "{name}{{{labels},treatment=\"refused\"}} {}", policed.refused);
        let _ = writeln!(text, "{name}{{{labels},treatment=\"best_effort\"}} {}", policed.best_effort);
    }
    let name = "edgemux_drift_events_total";
    describe(text, name, "counter", "Sudden changes of the service time");
    for session in sessions {
        let _ = writeln!(text, "{name}{{{}}} {}", labels(session), session.live().drifts().count);
    }
}

fn admissions(text: &mut String, node: &Node) {
    let name = "edgemux_admissions_total";
    describe(
        text,
        name,
        "counter",
        "Decisions about loads and reservations, by the first reason of a refusal",
    );
    let counts = node.desk.counts();
    let _ = writeln!(text, "{name}{{verdict=\"admitted\",reason=\"\"}} {}", counts.admitted);
    for (why, count) in counts.refused {
        let _ = writeln!(text, "{name}{{verdict=\"refused\",reason=\"{}\"}} {count}", why.name());
    }
}

fn of_devices(text: &mut String, node: &Node) {
    let snapshots: Vec<_> = node.devices.iter().map(|device| (device, device.snapshot())).collect();
    let name = "edgemux_device_utilisation";
    describe(text, name, "gauge", "Share of the last seconds that a device was in service");
    for (device, snapshot) in &snapshots {
        let _ = writeln!(text, "{name}{{device=\"{}\"}} {}", device.name, snapshot.utilisation);
    }
    let name = "edgemux_device_predicted_utilisation";
    describe(
        text,
        name,
        "gauge",
        "Share of time that the guaranteed sessions keep a device busy at their declared rates",
    );
    for (device, _) in &snapshots {
        let _ = writeln!(text, "{name}{{device=\"{}\"}} {}", device.name, device.predicted_utilisation());
    }
    let name = "edgemux_device_multiplexing";
    describe(text, name, "gauge", "1 for the mode in which a device is shared");
    for (device, snapshot) in &snapshots {
        let mode = match snapshot.mode {
            edgemux_multiplexer::Mode::Exclusive { .. } => "exclusive",
            edgemux_multiplexer::Mode::TimeSliced { .. } => "time-sliced",
            edgemux_multiplexer::Mode::Concurrent { .. } => "concurrent",
        };
        let _ = writeln!(text, "{name}{{device=\"{}\",mode=\"{mode}\"}} 1", device.name);
    }
    let name = "edgemux_device_fenced";
    describe(text, name, "gauge", "1 where nothing is to reach a device");
    for (device, snapshot) in &snapshots {
        let _ =
            writeln!(text, "{name}{{device=\"{}\"}} {}", device.name, u8::from(snapshot.fenced.is_some()));
    }
}

fn workers(text: &mut String, node: &Node) {
    let workers = node.devices.iter().flat_map(|device| {
        let label = |worker: WorkerStatus| {
            let (device, runtime) = (&device.name, worker.runtime);
            let session = worker.session.unwrap_or_default();
            let labels = format!("device=\"{device}\",runtime=\"{runtime}\",session=\"{session}\"");
            (labels, worker.pid, worker.restarts)
        };
        device.snapshot().workers.into_iter().map(label)
    });
    let workers: Vec<_> = workers.collect();
    let name = "edgemux_worker_up";
    describe(text, name, "gauge", "1 where a worker process runs");
    for (labels, pid, _) in &workers {
        let _ = writeln!(text, "{name}{{{labels}}} {}", u8::from(*pid != 0));
    }
    let name = "edgemux_worker_restarts_total";
    describe(text, name, "counter", "Times that a worker was started anew because it had died or was killed");
    for (labels, _, restarts) in &workers {
        let _ = writeln!(text, "{name}{{{labels}}} {restarts}");
    }
}

/// Names hold no character that would need escaping.
fn labels(session: &Session) -> String {
    format!(
        "model=\"{}\",version=\"{}\",device=\"{}\"",
        session.file.model, session.file.version, session.device
    )
}
