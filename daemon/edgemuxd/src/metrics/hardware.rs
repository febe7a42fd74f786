//! How the devices' hardware is, and the node. What shows nothing has no line.

use std::fmt::Write;

use super::describe;
use crate::discovery::Found;
use crate::node::Node;

/// A gauge of every device's hardware: name, help, value where there is one.
type Gauge = (&'static str, &'static str, fn(&Found) -> Option<f64>);

const GAUGES: [Gauge; 4] = [
    ("edgemux_device_temperature_celsius", "Temperature of a device", |found| found.reading.temperature_c),
    ("edgemux_device_clock_hertz", "Clock of what computes in a device", |found| {
        Some((found.reading.clock_mhz? * 1e6).round())
    }),
    ("edgemux_device_memory_total_bytes", "Memory of a device", |found| {
        Some(found.reading.memory?.total_bytes as f64)
    }),
    ("edgemux_device_memory_used_bytes", "Memory of a device that anybody has taken", |found| {
        Some(found.reading.memory?.used_bytes as f64)
    }),
];

pub(super) fn of_devices(text: &mut String, node: &Node) {
    let shown: Vec<_> = node.devices.iter().filter_map(|device| Some((device, device.hardware()?))).collect();
    for (name, help, value) in GAUGES {
        describe(text, name, "gauge", help);
        for (device, found) in &shown {
            if let Some(value) = value(found) {
                let _ = writeln!(text, "{name}{{device=\"{}\"}} {value}", device.name);
            }
        }
    }
    let name = "edgemux_device_info";
    describe(text, name, "gauge", "1 for the hardware of a device");
    for (device, found) in &shown {
        let (hardware, driver) = (escaped(&found.name), escaped(found.driver.as_deref().unwrap_or_default()));
        let (device, source) = (&device.name, &found.source);
        let _ = writeln!(
            text,
            "{name}{{device=\"{device}\",source=\"{source}\",name=\"{hardware}\",driver=\"{driver}\"}} 1"
        );
    }
    let name = "edgemux_device_power_mode";
    describe(text, name, "gauge", "1 for the power mode by which what is learned of a device is filed");
    for device in &node.devices {
        let _ = writeln!(text, "{name}{{device=\"{}\",mode=\"{}\"}} 1", device.name, device.power_mode());
    }
}

pub(super) fn of_node(text: &mut String, node: &Node) {
    let figures = node.figures();
    for (name, help, value) in [
        ("edgemux_node_cpu_utilisation", "Share of all cores that was busy", figures.cpu_utilisation),
        ("edgemux_node_memory_total_bytes", "Memory of the node", figures.memory.total_bytes as f64),
        (
            "edgemux_node_memory_used_bytes",
            "Memory of the node that is not available",
            figures.memory.used_bytes as f64,
        ),
    ] {
        describe(text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
}

/// Hardware is named by others.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }
}
