//! The plain HTTP side: `/healthz` and `/metrics`.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::node::Node;
use crate::session::{Session, State};
use crate::statistics::Statistics;

/// The routes, over a node.
pub fn routes(node: Arc<Node>) -> Router {
    Router::new().route("/healthz", get(health)).route("/metrics", get(metrics)).with_state(node)
}

async fn health(Shared(node): Shared<Arc<Node>>) -> (StatusCode, &'static str) {
    if node.is_started() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
}

async fn metrics(Shared(node): Shared<Arc<Node>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], exposition(&node))
}

/// A counter of every session: name, help, value.
type Counter = (&'static str, &'static str, fn(&Statistics) -> u64);

const COUNTERS: [Counter; 8] = [
    ("nv_inference_request_success", "Requests answered", |s| s.success.count),
    ("nv_inference_request_failure", "Requests not answered", |s| s.fail.count),
    ("nv_inference_count", "Inferences performed", |s| s.success.count),
    ("nv_inference_exec_count", "Model executions performed", |s| s.success.count),
    ("nv_inference_request_duration_us", "Microseconds from arrival to answer", |s| s.success.ns / 1000),
    ("nv_inference_queue_duration_us", "Microseconds of waiting", |s| s.queue.ns / 1000),
    ("nv_inference_compute_input_duration_us", "Microseconds of input handling", |s| {
        s.compute_input.ns / 1000
    }),
    ("nv_inference_compute_infer_duration_us", "Microseconds on the device", |s| s.compute_infer.ns / 1000),
];

fn exposition(node: &Node) -> String {
    let sessions: Vec<_> =
        node.sessions().iter().map(|session| (labels(session), session.statistics().clone())).collect();
    let mut text = String::new();
    // Writing to a string does not fail.
    for (name, help, value) in COUNTERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (labels, statistics) in &sessions {
            let _ = writeln!(text, "{name}{{{labels}}} {}", value(statistics));
        }
    }
    gauge(&mut text, "edgemux_session_ready", "1 where a session takes requests");
    for session in node.sessions() {
        let ready = u8::from(matches!(session.state(), State::Ready(_)));
        let _ = writeln!(text, "edgemux_session_ready{{{}}} {ready}", labels(&session));
    }
    gauge(&mut text, "edgemux_device_utilisation", "Share of the last seconds that a device was in service");
    for device in &node.devices {
        let utilisation = device.snapshot().utilisation;
        let _ = writeln!(text, "edgemux_device_utilisation{{device=\"{}\"}} {utilisation}", device.name);
    }
    text
}

fn gauge(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// Names hold no character that would need escaping.
fn labels(session: &Session) -> String {
    format!(
        "model=\"{}\",version=\"{}\",device=\"{}\"",
        session.file.model, session.file.version, session.device
    )
}
