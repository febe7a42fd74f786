//! How the configuration names a piece of hardware.

use std::fmt;
use std::str::FromStr;

use edgemux_runtime_api::runtime::DeviceKind;
use serde::{Deserialize, Serialize};

/// A piece of hardware of this node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU with memory of its own.
    Nvidia(Gpu),
    /// A Jetson's integrated GPU.
    Jetson,
    /// A Coral on PCIe: the N of `/dev/apex_N`.
    CoralPci(u32),
    /// A Coral on USB.
    CoralUsb(Port),
}

/// Which NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// In the driver's order, from 0.
    Index(u32),
    /// `GPU-…`, which stays the same whatever else is plugged in.
    Uuid(String),
}

/// Which Coral on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// In order of their ports, from 0.
    Index(u32),
    /// The kernel's name of the port, for example `1-2.4`: bus 1, port 2 of it, port 4 of the hub there.
    Path(String),
}

/// Text that names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no source: write cpu, nvidia:0, nvidia:GPU-UUID, jetson, coral-pci:0, coral-usb:0 or coral-usb:1-2 (a port)"
)]
pub struct NoSource(String);

impl Source {
    /// The kind of device that it can be.
    pub fn kind(&self) -> DeviceKind {
        match self {
            Self::Cpu => DeviceKind::Cpu,
            Self::Nvidia(_) | Self::Jetson => DeviceKind::Gpu,
            Self::CoralPci(_) | Self::CoralUsb(_) => DeviceKind::Edgetpu,
        }
    }
}

impl FromStr for Source {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, NoSource> {
        let wrong = || NoSource(text.to_owned());
        let (kind, which) = text.split_once(':').unwrap_or((text, ""));
        // Digits alone: `parse` would take a sign.
        let digits = !which.is_empty() && which.bytes().all(|byte| byte.is_ascii_digit());
        let index = || which.parse().map_err(|_| wrong());
        match (kind, which) {
            ("cpu", "") if text == kind => Ok(Self::Cpu),
            ("jetson", "") if text == kind => Ok(Self::Jetson),
            ("nvidia", _) if digits => Ok(Self::Nvidia(Gpu::Index(index()?))),
            ("nvidia", uuid) if is_uuid(uuid) => Ok(Self::Nvidia(Gpu::Uuid(uuid.to_owned()))),
            ("coral-pci", _) if digits => Ok(Self::CoralPci(index()?)),
            ("coral-usb", _) if digits => Ok(Self::CoralUsb(Port::Index(index()?))),
            ("coral-usb", port) if is_port(port) => Ok(Self::CoralUsb(Port::Path(port.to_owned()))),
            _ => Err(wrong()),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let digits = text.strip_prefix("GPU-").unwrap_or_default();
    (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// BUS-PORT, then .PORT for every hub.
pub(super) fn is_port(text: &str) -> bool {
    let is_number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(bus, ports)| is_number(bus) && ports.split('.').all(is_number))
}

impl TryFrom<String> for Source {
    type Error = NoSource;

    fn try_from(text: String) -> Result<Self, NoSource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Nvidia(Gpu::Index(index)) => write!(f, "nvidia:{index}"),
            Self::Nvidia(Gpu::Uuid(uuid)) => write!(f, "nvidia:{uuid}"),
            Self::Jetson => f.write_str("jetson"),
            Self::CoralPci(index) => write!(f, "coral-pci:{index}"),
            Self::CoralUsb(Port::Index(index)) => write!(f, "coral-usb:{index}"),
            Self::CoralUsb(Port::Path(path)) => write!(f, "coral-usb:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "cpu",
            "jetson",
            "nvidia:0",
            "nvidia:GPU-5e1f3a60-0b1c-4f57-9c1d-0123456789ab",
            "coral-pci:1",
            "coral-usb:0",
            "coral-usb:1-2.4",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_nothing_is_refused_with_what_could_be_written() {
        for text in [
            "",
            "gpu:0",
            "nvidia",
            "nvidia:",
            "nvidia:-1",
            "nvidia:+1",
            "nvidia:GPU-",
            "nvidia:GPU-../x",
            "jetson:0",
            "jetson:",
            "cpu:",
            "coral-pci:x",
            "coral-pci:99999999999",
            "coral-usb:1-",
            "coral-usb:../1-2",
            "coral-usb:usb1",
        ] {
            let error = text.parse::<Source>().expect_err(text).to_string();
            assert!(error.contains("coral-pci:0"), "{error}");
        }
    }
}
