//! `edgemux devices`: the node's devices and the workers that run on them.

use edgemux_proto::edgemux::v1;
use serde::Serialize;

use super::{Context, Outcome};
use crate::error::Error;
use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};

/// List the devices, how they are shared, and their workers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// All devices.
#[derive(Debug, Serialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Debug, Serialize)]
struct Device {
    name: String,
    /// `cpu`, `gpu`, `edgetpu`
    kind: &'static str,
    /// `exclusive`, `time-sliced`, `concurrent`, `auto`
    multiplexing: &'static str,
    fenced: bool,
    fence_reason: String,
    sessions: u32,
    queued: u32,
    in_service: u32,
    /// A fraction of one, over the last seconds.
    utilisation: f64,
    workers: Vec<Worker>,
}

#[derive(Debug, Serialize)]
struct Worker {
    runtime: String,
    runtime_version: String,
    state: String,
    /// Absent while it is not running.
    pid: Option<u32>,
    restarts: u32,
}

pub(crate) async fn run(_: Args, context: &Context<'_>) -> Result<Outcome, Error> {
    let devices = context.connect().await?.devices().await?;
    context.output.report(&Devices { devices: devices.into_iter().map(Device::from_wire).collect() })?;
    Ok(Outcome::Done)
}

// === impl Device ===

impl Device {
    fn from_wire(wire: v1::Device) -> Self {
        Self {
            kind: kind(wire.kind()),
            multiplexing: multiplexing(wire.multiplexing()),
            name: wire.name,
            fenced: wire.fenced,
            fence_reason: wire.fence_reason,
            sessions: wire.sessions,
            queued: wire.queued,
            in_service: wire.in_service,
            utilisation: wire.utilisation,
            workers: wire.workers.into_iter().map(Worker::from_wire).collect(),
        }
    }
}

impl Worker {
    fn from_wire(wire: v1::Worker) -> Self {
        Self {
            runtime: wire.runtime,
            runtime_version: wire.runtime_version,
            state: wire.state,
            pid: (wire.pid != 0).then_some(wire.pid),
            restarts: wire.restarts,
        }
    }
}

fn kind(kind: v1::DeviceKind) -> &'static str {
    match kind {
        v1::DeviceKind::Unspecified => "unknown",
        v1::DeviceKind::Cpu => "cpu",
        v1::DeviceKind::Gpu => "gpu",
        v1::DeviceKind::Edgetpu => "edgetpu",
    }
}

fn multiplexing(mode: v1::Multiplexing) -> &'static str {
    match mode {
        v1::Multiplexing::Unspecified => "unknown",
        v1::Multiplexing::Exclusive => "exclusive",
        v1::Multiplexing::TimeSliced => "time-sliced",
        v1::Multiplexing::Concurrent => "concurrent",
        v1::Multiplexing::Auto => "auto",
    }
}

// === impl Report for Devices ===

impl Report for Devices {
    fn text(&self) -> String {
        if self.devices.is_empty() {
            return "no devices: the daemon's configuration names none that is here\n".to_owned();
        }
        let right = |title| (title, Align::Right);
        let left = |title| (title, Align::Left);
        let mut table = Table::new(&[
            left("DEVICE"),
            left("KIND"),
            left("MULTIPLEXING"),
            right("SESSIONS"),
            right("QUEUED"),
            right("IN SERVICE"),
            right("BUSY"),
            left("FENCED"),
        ]);
        let mut workers = Table::new(&[
            left("DEVICE"),
            left("RUNTIME"),
            left("VERSION"),
            left("STATE"),
            right("PID"),
            right("RESTARTS"),
        ]);
        for device in &self.devices {
            table.push([
                device.name.clone(),
                device.kind.to_owned(),
                device.multiplexing.to_owned(),
                device.sessions.to_string(),
                device.queued.to_string(),
                device.in_service.to_string(),
                format::percent(device.utilisation),
                if device.fenced { format!("yes: {}", device.fence_reason) } else { "no".to_owned() },
            ]);
            for worker in &device.workers {
                workers.push([
                    device.name.clone(),
                    worker.runtime.clone(),
                    worker.runtime_version.clone(),
                    worker.state.clone(),
                    worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                    worker.restarts.to_string(),
                ]);
            }
        }
        format!("{table}\n{workers}")
    }
}
