//! Coral edgeTPUs, on PCIe and on USB.
//!
//! On USB one begins as a loader (1a6e:089a). The first that opens it loads its firmware, upon which it leaves the bus and
//! comes back on the same port under another number (18d1:9302): the port is what stays.

use super::permission::denied;
use super::source::{Port, Source, is_port};
use super::tree::Tree;
use super::{Absent, Found, Reading};

const APEX: &str = "sys/class/apex";
const USB: &str = "sys/bus/usb/devices";
const LOADER: (&str, &str) = ("1a6e", "089a");
const READY: (&str, &str) = ("18d1", "9302");

pub(super) fn on_pci(tree: &Tree) -> Vec<Found> {
    let numbers = tree.names("dev").into_iter().filter_map(|name| name.strip_prefix("apex_")?.parse().ok());
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(|number| find_on_pci(tree, number).ok()).collect()
}

pub(super) fn find_on_pci(tree: &Tree, number: u32) -> Result<Found, Absent> {
    let (node, shown) = (format!("dev/apex_{number}"), format!("{APEX}/apex_{number}"));
    // In a container the node may outlive the device.
    if !tree.exists(&node) || tree.exists(APEX) && !tree.exists(&shown) {
        return Err(Absent::Pci(number));
    }
    let (problem, remedy) = denied(tree, &[&node]).map(|found| (found.what, found.remedy)).unzip();
    Ok(Found {
        source: Source::CoralPci(number),
        index: None,
        name: "Coral edgeTPU on PCIe".to_owned(),
        driver: tree.text(&format!("{shown}/driver_version")),
        firmware_loaded: None,
        plugged: None,
        problem,
        remedy,
        reading: Reading { temperature_c: tree.number(&format!("{shown}/temp"), 1e3), ..Reading::default() },
    })
}

/// In order of their ports.
pub(super) fn on_usb(tree: &Tree) -> Vec<Found> {
    let mut ports = tree.names(USB);
    ports.retain(|name| is_port(name));
    ports.sort_by_key(|port| numbers(port));
    let corals = ports.into_iter().filter_map(|port| at_port(tree, port).ok());
    let indexed =
        |(index, found): (u32, Found)| Found { index: Some(Source::CoralUsb(Port::Index(index))), ..found };
    (0..).zip(corals).map(indexed).collect()
}

pub(super) fn find_on_usb(tree: &Tree, port: &Port) -> Result<Found, Absent> {
    match port {
        Port::Path(path) => at_port(tree, path.clone()),
        Port::Index(index) => {
            let (found, wanted) = (on_usb(tree), *index as usize);
            let count = found.len();
            found.into_iter().nth(wanted).ok_or(Absent::Usb { index: *index, count })
        }
    }
}

fn at_port(tree: &Tree, port: String) -> Result<Found, Absent> {
    let text = |file: &str| tree.text(&format!("{USB}/{port}/{file}"));
    let ids = (text("idVendor").unwrap_or_default(), text("idProduct").unwrap_or_default());
    let ids = (ids.0.as_str(), ids.1.as_str());
    if ids != LOADER && ids != READY {
        return Err(Absent::Port(port));
    }
    let number = |file: &str| text(file)?.parse::<u32>().ok();
    let node = number("busnum").zip(number("devnum"));
    let node = node.map(|(bus, device)| format!("dev/bus/usb/{bus:03}/{device:03}"));
    let denied = node.and_then(|node| denied(tree, &[&node]));
    let (problem, remedy) = denied.map(|found| (found.what, found.remedy)).unzip();
    Ok(Found {
        name: "Coral edgeTPU on USB".to_owned(),
        index: None,
        driver: None,
        firmware_loaded: Some(ids == READY),
        plugged: number("devnum"),
        problem,
        remedy,
        reading: Reading::default(),
        source: Source::CoralUsb(Port::Path(port)),
    })
}

/// Ports by number, so that 1-10 comes after 1-2.
fn numbers(port: &str) -> Vec<u32> {
    port.split(['-', '.']).filter_map(|number| number.parse().ok()).collect()
}
