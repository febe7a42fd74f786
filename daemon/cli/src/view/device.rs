//! A device, how it is shared, and its workers.

use edgemux_proto::edgemux::v1;
use serde::Serialize;

use crate::format;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// `cpu`, `gpu`, `edgetpu`
    pub(crate) kind: &'static str,
    /// How it is shared now: `exclusive`, `time-sliced`, `concurrent`
    pub(crate) multiplexing: &'static str,
    /// What the operator asked for: the same, or `auto`
    pub(crate) configured_multiplexing: &'static str,
    /// Most requests in service together.
    pub(crate) width: u32,
    /// Of time slices.
    pub(crate) quantum_ms: f64,
    /// Most requests of one reload group in a row.
    pub(crate) run_max: u32,
    pub(crate) fenced: bool,
    pub(crate) fence_reason: String,
    pub(crate) sessions: u32,
    pub(crate) queued: u32,
    pub(crate) in_service: u32,
    /// A fraction of one, over the last seconds.
    pub(crate) utilisation: f64,
    /// The same under the declared rates of all guaranteed sessions.
    pub(crate) predicted_utilisation: f64,
    /// Absent where it is not limited.
    pub(crate) memory_capacity_bytes: Option<u64>,
    /// Each session has a worker of its own.
    pub(crate) isolates_sessions: bool,
    /// The hardware behind it, where it has a source.
    pub(crate) hardware: Option<Hardware>,
    pub(crate) workers: Vec<Worker>,
}

/// What the hardware of a device shows of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Hardware {
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) driver_version: String,
    pub(crate) power_mode: String,
    pub(crate) temperature_c: Option<f64>,
    pub(crate) clock_mhz: Option<f64>,
    pub(crate) memory_total_bytes: Option<u64>,
    pub(crate) memory_used_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Worker {
    pub(crate) runtime: String,
    pub(crate) runtime_version: String,
    pub(crate) state: String,
    /// The one session that it runs, where sessions are isolated.
    pub(crate) session: Option<String>,
    /// Absent while it is not running.
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
}

// === impl Device ===

impl Device {
    pub(crate) fn from_wire(wire: v1::Device) -> Self {
        Self {
            kind: kind(wire.kind()),
            multiplexing: multiplexing(wire.multiplexing()),
            configured_multiplexing: multiplexing(wire.configured_multiplexing()),
            isolates_sessions: wire.isolates_sessions,
            hardware: (!wire.source.is_empty()).then_some(Hardware {
                source: wire.source,
                name: wire.hardware_name,
                driver_version: wire.driver_version,
                power_mode: wire.power_mode,
                temperature_c: wire.temperature_c,
                clock_mhz: wire.clock_mhz,
                memory_total_bytes: wire.memory_total_bytes,
                memory_used_bytes: wire.memory_used_bytes,
            }),
            name: wire.name,
            width: wire.width,
            quantum_ms: wire.quantum_ms,
            run_max: wire.run_max,
            fenced: wire.fenced,
            fence_reason: wire.fence_reason,
            sessions: wire.sessions,
            queued: wire.queued,
            in_service: wire.in_service,
            utilisation: wire.utilisation,
            predicted_utilisation: wire.predicted_utilisation,
            memory_capacity_bytes: (wire.memory_capacity_bytes > 0).then_some(wire.memory_capacity_bytes),
            workers: wire.workers.into_iter().map(Worker::from_wire).collect(),
        }
    }

    /// `exclusive`, or with what was asked for: `concurrent (auto)`
    pub(crate) fn mode(&self) -> String {
        match self.configured_multiplexing {
            configured if configured == self.multiplexing || configured == UNKNOWN => {
                self.multiplexing.to_owned()
            }
            configured => format!("{} ({configured})", self.multiplexing),
        }
    }

    /// The number that matters in its mode: `width 4`, `quantum 10 ms`, `runs of 3`; a dash where none does.
    pub(crate) fn parameter_text(&self) -> String {
        match self.multiplexing {
            "concurrent" => format!("width {}", self.width),
            "time-sliced" => format!("quantum {} ms", format::short(self.quantum_ms)),
            "exclusive" if self.run_max > 1 => format!("runs of {}", self.run_max),
            _ => "-".to_owned(),
        }
    }

    /// `no`, or the reason why it is out of service.
    pub(crate) fn fence_text(&self) -> String {
        match (self.fenced, self.fence_reason.as_str()) {
            (false, _) => "no".to_owned(),
            (true, "") => "yes".to_owned(),
            (true, reason) => format!("yes: {reason}"),
        }
    }

    /// What is behind it and how that is, in a line: `NVIDIA T4 (nvidia:0), driver 570.1, 70W, 61 °C, 1590 MHz, 3.0 GiB of
    /// 16.0 GiB used`
    pub(crate) fn hardware_text(&self) -> Option<String> {
        let hardware = self.hardware.as_ref()?;
        if hardware.name.is_empty() {
            return Some(format!("{}, which is not there", hardware.source));
        }
        let mut parts = vec![format!("{} ({})", hardware.name, hardware.source)];
        if !hardware.driver_version.is_empty() {
            parts.push(format!("driver {}", hardware.driver_version));
        }
        // What shows no mode is in its default one.
        if !matches!(hardware.power_mode.as_str(), "" | "default") {
            parts.push(hardware.power_mode.clone());
        }
        parts.extend(hardware.temperature_c.map(|celsius| format!("{} °C", format::short(celsius))));
        parts.extend(hardware.clock_mhz.map(|mhz| format!("{mhz:.0} MHz")));
        parts.extend(hardware.memory_text().map(|memory| format!("{memory} used")));
        Some(parts.join(", "))
    }

    pub(crate) fn memory_text(&self) -> String {
        self.memory_capacity_bytes.map_or_else(|| "-".to_owned(), format::bytes)
    }
}

impl Hardware {
    /// What is used of how much.
    pub(crate) fn memory_text(&self) -> Option<String> {
        let (used, total) = self.memory_used_bytes.zip(self.memory_total_bytes)?;
        Some(format!("{} of {}", format::bytes(used), format::bytes(total)))
    }
}

impl Worker {
    fn from_wire(wire: v1::Worker) -> Self {
        Self {
            runtime: wire.runtime,
            runtime_version: wire.runtime_version,
            state: wire.state,
            session: (!wire.session.is_empty()).then_some(wire.session),
            pid: (wire.pid != 0).then_some(wire.pid),
            restarts: wire.restarts,
        }
    }
}

/// Said of a server that is newer or older than this command.
const UNKNOWN: &str = "unknown";

pub(super) fn kind(kind: v1::DeviceKind) -> &'static str {
    match kind {
        v1::DeviceKind::Unspecified => UNKNOWN,
        v1::DeviceKind::Cpu => "cpu",
        v1::DeviceKind::Gpu => "gpu",
        v1::DeviceKind::Edgetpu => "edgetpu",
    }
}

pub(super) fn multiplexing(mode: v1::Multiplexing) -> &'static str {
    match mode {
        v1::Multiplexing::Unspecified => UNKNOWN,
        v1::Multiplexing::Exclusive => "exclusive",
        v1::Multiplexing::TimeSliced => "time-sliced",
        v1::Multiplexing::Concurrent => "concurrent",
        v1::Multiplexing::Auto => "auto",
    }
}
