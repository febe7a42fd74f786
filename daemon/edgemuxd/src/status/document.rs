//! What the page shows, as one JSON document. It is the page's own and may change with it; programs ask gRPC or `/metrics`.

use std::sync::Arc;
use std::time::Instant;

use edgemux_calibration::admission::Summary;
use edgemux_multiplexer::Mode;
use serde::Serialize;

use super::history::{PERIOD, POINTS_MAX, Point};
use super::journal::{Entry, unix_s};
use crate::config::Multiplexing;
use crate::device::Device;
use crate::node::Node;
use crate::session::{Session, State};
use crate::terms::statistic_name;

#[derive(Debug, Serialize)]
pub(super) struct Document {
    version: &'static str,
    unix_s: f64,
    uptime_s: f64,
    ready: bool,
    /// Of `history`: seconds between two points, and how many there are at most.
    period_s: u64,
    points_max: usize,
    devices: Vec<DeviceView>,
    sessions: Vec<SessionView>,
    /// Newest first.
    journal: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct DeviceView {
    name: String,
    kind: String,
    hardware: Option<String>,
    mode: String,
    configured: &'static str,
    utilisation: f64,
    predicted_utilisation: f64,
    queued: usize,
    in_service: usize,
    fenced: Option<String>,
    memory_bytes: Option<u64>,
    temperature_c: Option<f64>,
    power_mode: Option<String>,
    workers: Vec<WorkerView>,
    /// Share of time in service, oldest first.
    history: Vec<f32>,
}

#[derive(Debug, Serialize)]
struct WorkerView {
    runtime: &'static str,
    session: Option<String>,
    state: String,
    restarts: u32,
}

#[derive(Debug, Serialize)]
struct SessionView {
    name: String,
    device: String,
    runtime: &'static str,
    state: &'static str,
    /// Why it cannot run, if so.
    reason: String,
    declared_hz: Option<f64>,
    /// `mean` or `p99`, and its milliseconds.
    objective: Option<(String, f64)>,
    rate_hz: f64,
    queued: usize,
    in_service: usize,
    succeeded: u64,
    failed: u64,
    memory_bytes: u64,
    predicted: Option<Latency>,
    observed: Option<Latency>,
    /// Share of the requests within the terms that kept the objective.
    kept: Option<f64>,
    margin: f64,
    excess_refused: u64,
    excess_best_effort: u64,
    drifts: u64,
    demoted: bool,
    at_risk: Option<String>,
    history: Vec<Point>,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

impl From<Summary> for Latency {
    fn from(seconds: Summary) -> Self {
        let Summary { mean, p50, p95, p99 } = seconds;
        Self { mean: mean * 1e3, p50: p50 * 1e3, p95: p95 * 1e3, p99: p99 * 1e3 }
    }
}

/// The node as it is now.
pub(super) fn of(node: &Node) -> Document {
    Document {
        version: env!("CARGO_PKG_VERSION"),
        unix_s: unix_s(),
        uptime_s: node.started_at.elapsed().as_secs_f64(),
        ready: node.is_started(),
        period_s: PERIOD.as_secs(),
        points_max: POINTS_MAX,
        devices: node.devices.iter().map(|device| view(node, device)).collect(),
        sessions: node.sessions().iter().map(|session| of_session(node, session)).collect(),
        journal: node.journal.entries(),
    }
}

/// How a device is shared, in words.
pub(super) fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive { .. } => "exclusive".to_owned(),
        Mode::TimeSliced { quantum } => format!("time-sliced, {} ms", quantum.as_secs_f64() * 1e3),
        Mode::Concurrent { width } => format!("concurrent, {width} at once"),
    }
}

fn view(node: &Node, device: &Arc<Device>) -> DeviceView {
    let (snapshot, found) = (device.snapshot(), device.hardware());
    let workers = snapshot.workers.into_iter().map(|worker| WorkerView {
        runtime: worker.runtime,
        session: worker.session,
        state: worker.state,
        restarts: worker.restarts,
    });
    DeviceView {
        name: device.name.clone(),
        kind: device.kind.to_string(),
        hardware: found.as_ref().map(|found| found.name.clone()),
        mode: mode(snapshot.mode),
        configured: match snapshot.multiplexing {
            Multiplexing::Exclusive => "exclusive",
            Multiplexing::TimeSliced => "time-sliced",
            Multiplexing::Concurrent => "concurrent",
            Multiplexing::Auto => "auto",
        },
        utilisation: snapshot.utilisation,
        predicted_utilisation: device.predicted_utilisation(),
        queued: snapshot.queued,
        in_service: snapshot.in_service,
        fenced: snapshot.fenced,
        memory_bytes: device.memory_bytes(),
        temperature_c: found.as_ref().and_then(|found| found.reading.temperature_c),
        power_mode: found.and_then(|found| found.reading.power_mode),
        workers: workers.collect(),
        history: node.history.of_device(&device.name),
    }
}

fn of_session(node: &Node, session: &Session) -> SessionView {
    let device = node.device(&session.device);
    let now = device.map_or(0.0, |device| device.seconds(Instant::now()));
    let (queued, in_service) = device.map_or((0, 0), |device| device.load_of(session.id));
    // Requests that are answered wait for this lock: nothing is computed under it.
    let live = session.live();
    let (kept, policed, forecast, drifts) = (live.kept(), live.policed(), live.forecast(), live.drifts());
    let (margin, demoted, at_risk) = (live.margin(), live.is_demoted(), live.at_risk().map(str::to_owned));
    let (observed, rate_hz) = (live.estimator().observed().clone(), live.estimator().rate(now));
    drop(live);
    let statistics = session.statistics().clone();
    let state = session.state();
    let objective = session.terms.guarantee().map(|(_, objective)| objective);
    let objective = objective.map(|objective| (statistic_name(objective.quantile), objective.latency_ms));
    SessionView {
        name: session.name(),
        device: session.device.clone(),
        runtime: session.runtime.name(),
        state: state.name(),
        memory_bytes: state.loaded().map_or(0, |loaded| loaded.memory.at_rest_bytes),
        reason: if let State::Failed(reason) = state { reason } else { String::new() },
        declared_hz: session.terms.rate_hz,
        objective,
        rate_hz,
        queued,
        in_service,
        succeeded: statistics.success.count,
        failed: statistics.fail.count,
        predicted: forecast.map(|forecast| forecast.latency.into()),
        observed: (observed.count() > 0).then(|| Latency {
            mean: observed.mean() * 1e3,
            p50: observed.quantile(0.5) * 1e3,
            p95: observed.quantile(0.95) * 1e3,
            p99: observed.quantile(0.99) * 1e3,
        }),
        kept: (kept.all > 0).then(|| kept.kept as f64 / kept.all as f64),
        margin,
        excess_refused: policed.refused,
        excess_best_effort: policed.best_effort,
        drifts: drifts.count,
        demoted,
        at_risk,
        history: node.history.of_session(session.id),
    }
}
