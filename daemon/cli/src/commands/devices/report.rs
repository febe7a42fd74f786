//! Devices as they are told.

use serde::Serialize;

use crate::format;
use crate::output::Report;
use crate::table::{Align, Table};
use crate::view::Device;

/// All devices.
#[derive(Debug, Serialize)]
pub(super) struct Devices {
    pub(super) devices: Vec<Device>,
}

/// One that was changed, as it is now.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    pub(super) device: Device,
}

// === impl Report for Devices ===

impl Report for Devices {
    fn text(&self) -> String {
        if self.devices.is_empty() {
            return "no devices: the daemon's configuration names none that is here\n".to_owned();
        }
        let mut text = format!("{}\n{}", devices(&self.devices), workers(&self.devices));
        if self.devices.iter().any(|device| device.hardware.is_some()) {
            text.push_str(&format!("\n{}", hardware(&self.devices)));
        }
        text
    }
}

// === impl Report for Changed ===

impl Report for Changed {
    fn text(&self) -> String {
        devices(std::slice::from_ref(&self.device)).to_string()
    }
}

fn devices(of: &[Device]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("DEVICE"),
        left("KIND"),
        left("MULTIPLEXING"),
        left("WITH"),
        right("SESSIONS"),
        right("QUEUED"),
        right("IN SERVICE"),
        right("BUSY"),
        right("PREDICTED"),
        right("MEMORY"),
        left("FENCED"),
    ]);
    for device in of {
        table.push([
            device.name.clone(),
            device.kind.to_owned(),
            device.mode(),
            device.parameter_text(),
            device.sessions.to_string(),
            device.queued.to_string(),
            device.in_service.to_string(),
            format::percent(device.utilisation),
            format::percent(device.predicted_utilisation),
            device.memory_text(),
            device.fence_text(),
        ]);
    }
    table
}

/// Of the devices that have a source.
fn hardware(of: &[Device]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("DEVICE"),
        left("SOURCE"),
        left("HARDWARE"),
        left("DRIVER"),
        left("POWER MODE"),
        right("CELSIUS"),
        right("MHZ"),
        right("MEMORY USED"),
    ]);
    let dash =
        |shown: Option<String>| shown.filter(|shown| !shown.is_empty()).unwrap_or_else(|| "-".to_owned());
    for (device, hardware) in of.iter().filter_map(|device| Some((device, device.hardware.as_ref()?))) {
        table.push([
            device.name.clone(),
            hardware.source.clone(),
            dash(Some(hardware.name.clone())),
            dash(Some(hardware.driver_version.clone())),
            dash(Some(hardware.power_mode.clone())),
            dash(hardware.temperature_c.map(format::short)),
            dash(hardware.clock_mhz.map(|mhz| format!("{mhz:.0}"))),
            dash(hardware.memory_text()),
        ]);
    }
    table
}

fn workers(of: &[Device]) -> Table {
    let right = |title| (title, Align::Right);
    let left = |title| (title, Align::Left);
    let mut table = Table::new(&[
        left("DEVICE"),
        left("RUNTIME"),
        left("FOR"),
        left("VERSION"),
        left("STATE"),
        right("PID"),
        right("RESTARTS"),
    ]);
    for device in of {
        for worker in &device.workers {
            table.push([
                device.name.clone(),
                worker.runtime.clone(),
                worker.session.clone().unwrap_or_else(|| "all".to_owned()),
                worker.runtime_version.clone(),
                worker.state.clone(),
                worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                worker.restarts.to_string(),
            ]);
        }
    }
    table
}
