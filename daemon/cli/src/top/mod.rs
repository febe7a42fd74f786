//! What `edgemux top` shows: a node at one moment, as text or on a terminal.

mod app;
mod columns;
mod details;
mod draw;
mod live;
mod screen;

use edgemux_client::ServerAddress;
use serde::Serialize;

use self::columns::{Cells, DEVICES, SESSIONS};
use crate::client::Client;
use crate::output::Report;
use crate::rpc::RpcError;
use crate::table::{Table, printable};
use crate::view::{Device, Session};

pub(crate) use live::live;

/// Devices and sessions at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
    server: String,
    devices: Vec<Device>,
    sessions: Vec<Session>,
}

// === impl Snapshot ===

impl Snapshot {
    pub(crate) async fn take(client: &Client, server: &ServerAddress) -> Result<Self, RpcError> {
        let (devices, sessions) = tokio::try_join!(client.devices(), client.sessions())?;
        Ok(Self {
            server: server.to_string(),
            devices: devices.into_iter().map(Device::from_wire).collect(),
            sessions: sessions.into_iter().map(Session::from_wire).collect(),
        })
    }

    fn device_cells(&self) -> Vec<Cells> {
        let held = |device: &Device| {
            let here = self.sessions.iter().filter(|session| session.device == device.name);
            here.map(|session| session.memory_bytes).sum()
        };
        self.devices.iter().map(|device| columns::device(device, held(device))).collect()
    }

    /// `2 devices, 3 sessions, 1 at risk`
    fn summary(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut text =
            format!("{}, {}", count(self.devices.len(), "device"), count(self.sessions.len(), "session"));
        match self.sessions.iter().filter(|session| session.slo_at_risk).count() {
            0 => {}
            at_risk => text.push_str(&format!(", {at_risk} at risk")),
        }
        text
    }
}

// === impl Report for Snapshot ===

impl Report for Snapshot {
    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.server, self.summary());
        let table = |columns: &[columns::Column], rows: Vec<Cells>| {
            let titles: Vec<_> = columns.iter().map(|column| (column.title, column.align)).collect();
            let mut table = Table::new(&titles);
            rows.into_iter().for_each(|row| table.push(row.into_iter().map(|cell| cell.text)));
            format!("\n{table}")
        };
        if !self.devices.is_empty() {
            text.push_str(&table(&DEVICES, self.device_cells()));
            let shown =
                self.devices.iter().filter_map(|device| Some((&device.name, device.hardware_text()?)));
            shown.for_each(|(name, hardware)| {
                text.push_str(&format!("{}\n", printable(&format!("{name}: {hardware}"))))
            });
        }
        if !self.sessions.is_empty() {
            text.push_str(&table(&SESSIONS, self.sessions.iter().map(columns::session).collect()));
            text.push_str("latencies: as observed lately / as predicted, ms\n");
        }
        for session in self.sessions.iter().filter(|session| !session.why().is_empty()) {
            let is = if session.slo_at_risk { "at risk" } else { session.state };
            text.push_str(&format!("{} is {is}: {}\n", session.id, session.why()));
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod examples {
    use edgemux_proto::edgemux::v1::objective::Statistic;
    use edgemux_proto::edgemux::v1::{self, LatencyPrediction};

    use super::*;

    fn latency(p50_ms: f64, p95_ms: f64, p99_ms: f64) -> Option<LatencyPrediction> {
        Some(LatencyPrediction { mean_ms: p50_ms, p50_ms, p95_ms, p99_ms })
    }

    /// One session as promised, one at risk that sends too much, one as best effort; a device is fenced.
    pub(crate) fn node() -> Snapshot {
        let device = |name: &str, kind: v1::DeviceKind| v1::Device {
            name: name.into(),
            kind: kind.into(),
            multiplexing: v1::Multiplexing::Exclusive.into(),
            configured_multiplexing: v1::Multiplexing::Exclusive.into(),
            width: 1,
            workers: vec![v1::Worker {
                runtime: "emulator".into(),
                state: "up".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let gpu = v1::Device {
            configured_multiplexing: v1::Multiplexing::Auto.into(),
            multiplexing: v1::Multiplexing::Concurrent.into(),
            width: 4,
            sessions: 2,
            queued: 3,
            in_service: 2,
            utilisation: 0.5,
            predicted_utilisation: 0.45,
            memory_capacity_bytes: 1 << 30,
            source: "nvidia:GPU-5e1f3a60".into(),
            hardware_name: "NVIDIA T4".into(),
            driver_version: "570.1".into(),
            power_mode: "70W".into(),
            temperature_c: Some(61.0),
            clock_mhz: Some(1590.0),
            memory_total_bytes: Some(16 << 30),
            memory_used_bytes: Some(3 << 30),
            ..device("gpu0", v1::DeviceKind::Gpu)
        };
        let fenced = v1::Device {
            fenced: true,
            fence_reason: "being swapped".into(),
            source: "coral-pci:0".into(),
            power_mode: "default".into(),
            ..device("tpu0", v1::DeviceKind::Edgetpu)
        };
        let session = |id: &str, rate_hz: f64| v1::Session {
            id: id.into(),
            device: "gpu0".into(),
            runtime: "emulator".into(),
            state: v1::SessionState::Ready.into(),
            terms: Some(v1::Terms {
                rate_hz,
                objective: Some(v1::Objective {
                    statistic: Some(Statistic::Quantile(0.99)),
                    latency_ms: 60.0,
                }),
                ..Default::default()
            }),
            succeeded: 1200,
            memory_bytes: 12 << 20,
            objective_kept: 1.0,
            coverage: 0.992,
            margin: 1.0,
            predicted: latency(5.5, 14.0, 20.0),
            observed: latency(5.4, 13.5, 19.0),
            observed_samples: 400,
            observed_rate_hz: rate_hz,
            ..Default::default()
        };
        let at_risk = v1::Session {
            observed_rate_hz: 99.0,
            observed: latency(12.0, 55.0, 80.0),
            objective_kept: 0.97,
            excess_refused: 88,
            queued: 3,
            slo_at_risk: true,
            at_risk_reason: "its p99 is predicted to be 71 ms, above 60 ms".into(),
            ..session("segmenter/2", 10.0)
        };
        let best_effort = v1::Session {
            terms: None,
            predicted: None,
            observed: None,
            observed_samples: 0,
            margin: 0.0,
            ..session("logger/1", 4.5)
        };
        Snapshot {
            server: "127.0.0.1:8001".into(),
            devices: [gpu, fenced].into_iter().map(Device::from_wire).collect(),
            sessions: [session("detector/1", 40.0), at_risk, best_effort]
                .into_iter()
                .map(Session::from_wire)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_it_shows_everything_as_text() {
        let text = examples::node().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "127.0.0.1:8001: 2 devices, 3 sessions, 1 at risk");
        let find = |name: &str| *lines.iter().find(|line| line.starts_with(name)).unwrap();
        for (name, parts) in [
            ("gpu0", &["concurrent (auto)", "50 %", "45 %", "36.0 MiB of 1.0 GiB", "emulator up"][..]),
            ("tpu0", &["exclusive", "fenced: being swapped"]),
            (
                "gpu0:",
                &[
                    "NVIDIA T4 (nvidia:GPU-5e1f3a60), driver 570.1, 70W, 61 °C, 1590 MHz, 3.0 GiB of 16.0 GiB used",
                ],
            ),
            ("tpu0:", &["coral-pci:0, which is not there"]),
            ("detector/1", &["40.0 of 40.0", "p99 ≤ 60 ms", "100.0 %", "5.40/5.50", "19.00/20.00"]),
            ("segmenter/2", &["99.0 of 10.0", "97.0 %", "80.00/20.00", "88 refused", "yes"]),
            ("logger/1", &["best effort", "4.5"]),
            ("segmenter/2 is at risk", &["its p99 is predicted to be 71 ms"]),
        ] {
            for part in parts {
                let line = if name.contains(" is ") { *lines.last().unwrap() } else { find(name) };
                assert!(line.contains(part), "{part} in {line}");
            }
        }
    }
}
