//! What the daemon's binary says of this machine: its runtimes and its hardware. No daemon has to run for that.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::daemon::{self, DaemonError};

/// How long the list of hardware may take: drivers are asked for it.
const HARDWARE_S_MAX: Duration = Duration::from_secs(60);
/// On top of what the slowest runtime may take.
const RUNTIMES_S_MORE: Duration = Duration::from_secs(30);

/// Runtimes and hardware.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) runtimes: Vec<Runtime>,
    pub(super) hardware: Vec<Hardware>,
    /// What there is none of, and why as far as that can be told.
    pub(super) absent: Vec<String>,
}

/// A runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"))]
pub(super) struct Runtime {
    pub(super) runtime: String,
    /// What its model files are called.
    pub(super) model_file: String,
    /// Endings of model files that it says it runs.
    pub(super) formats: Vec<String>,
    /// Its binary; none if it is not installed.
    pub(super) program: Option<String>,
    pub(super) version: Option<String>,
    /// Kinds of device that it can drive here.
    pub(super) devices: Vec<String>,
    /// Why it does not run, or not drive all that it could.
    pub(super) problem: Option<String>,
    pub(super) remedy: Option<String>,
}

/// A piece of hardware.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "kebab-case"))]
pub(super) struct Hardware {
    pub(super) source: String,
    pub(super) name: String,
    /// Why it cannot be used by this user.
    pub(super) problem: Option<String>,
    pub(super) remedy: Option<String>,
    /// The process id of the daemon that owns it.
    pub(super) held_by: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Inventory {
    devices: Vec<Hardware>,
    absent: Vec<String>,
}

// === impl Machine ===

impl Machine {
    /// Asks the binary; each runtime has `patience` to answer.
    pub(super) async fn look(binary: &Path, patience: Duration) -> Result<Self, DaemonError> {
        let seconds = patience.as_secs().to_string();
        let asked = ["runtimes", "--patience", &seconds];
        let (runtimes, inventory): (Vec<Runtime>, Inventory) = tokio::try_join!(
            daemon::shown(binary, &asked, patience + RUNTIMES_S_MORE),
            daemon::shown(binary, &["devices"], HARDWARE_S_MAX),
        )?;
        Ok(Self { runtimes, hardware: inventory.devices, absent: inventory.absent })
    }
}

// === impl Runtime ===

impl Runtime {
    /// Kinds of device that it is made for, whether or not it can drive one here.
    pub(super) fn made_for(&self) -> &'static [&'static str] {
        match self.runtime.as_str() {
            "torch" => &["cpu", "gpu"],
            "edgetpu" => &["edgetpu"],
            // It stands in for hardware, and so drives none.
            "emulator" => &[],
            _ => &["cpu"],
        }
    }

    /// Is it a part of the daemon's own binary?
    pub(super) fn is_built_in(&self) -> bool {
        matches!(self.runtime.as_str(), "onnx" | "emulator")
    }

    pub(super) fn drives(&self, hardware: &Hardware) -> bool {
        let kind = hardware.kind();
        self.made_for().contains(&kind) && self.devices.iter().any(|driven| driven == kind)
    }
}

// === impl Hardware ===

impl Hardware {
    /// As the configuration names kinds.
    pub(super) fn kind(&self) -> &'static str {
        match self.source.split(':').next() {
            Some("cpu") => "cpu",
            Some("coral-pci" | "coral-usb") => "edgetpu",
            _ => "gpu",
        }
    }

    /// `coral-pci:0 (Coral edgeTPU on PCIe)`
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.source, self.name)
    }
}

#[cfg(test)]
pub(super) mod examples {
    use super::*;

    pub(in super::super) fn runtime(name: &str, devices: &[&str], problem: Option<&str>) -> Runtime {
        Runtime {
            runtime: name.into(),
            model_file: format!("model.{name}"),
            formats: vec![name.into()],
            program: Some(format!("/usr/lib/edgemux/edgemux-runtime-{name}")),
            version: Some("lib 7.1".into()),
            devices: devices.iter().map(|&kind| kind.into()).collect(),
            problem: problem.map(Into::into),
            remedy: None,
        }
    }

    pub(in super::super) fn not_installed(name: &str) -> Runtime {
        let problem = Some("it is in none of /x".into());
        Runtime { program: None, version: None, formats: Vec::new(), problem, ..runtime(name, &[], None) }
    }

    pub(in super::super) fn hardware(source: &str) -> Hardware {
        Hardware { source: source.into(), name: "it".into(), problem: None, remedy: None, held_by: None }
    }
}
