//! Which accelerators this node has, and how they are: what the kernel and the vendors' libraries say, nothing more.
//!
//! Everything is looked up below one root, `/` but for tests, and anew each time: hardware comes and goes.

mod coral;
mod held;
mod jetson;
mod lock;
mod nvidia;
mod permission;
mod processor;
mod source;
mod tree;
mod watched;

use std::path::Path;

use serde::Serialize;

pub use self::lock::{Lock, LockError, Locks};
use self::nvidia::Nvidia;
pub use self::processor::Node;
use self::processor::Processor;
pub use self::source::{Gpu, NoSource, Port, Source};
use self::tree::Tree;
pub use self::watched::{Change, Hardware, Watched};

/// The power mode of a device that shows none.
pub const DEFAULT_POWER_MODE: &str = "default";
/// Longest name of a power mode, bytes.
const POWER_MODE_BYTES_MAX: usize = 64;

/// A piece of hardware that is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Found {
    /// The name by which it is always found again, whatever else is plugged in.
    pub source: Source,
    /// Its name by number, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Source>,
    /// What its maker calls it.
    pub name: String,
    /// Version of its driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Has it been opened since it was plugged in? Of what loads firmware upon that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware_loaded: Option<bool>,
    /// Another number is another plugging-in.
    #[serde(skip)]
    pub plugged: Option<u32>,
    /// Why it cannot be used though it is there, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How it is.
    #[serde(flatten)]
    pub reading: Reading,
}

/// How a piece of hardware is at this moment, as far as it shows that.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reading {
    /// Its temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// The clock of what computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<f64>,
    /// What an operator has set of its power: a limit, a mode, a governor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mode: Option<String>,
    /// Its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// Memory of a device, or of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// What there is.
    pub total_bytes: u64,
    /// What anybody has taken of it.
    pub used_bytes: u64,
    /// What models can have at most; none where nothing says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_models_bytes: Option<u64>,
}

/// Hardware that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// No driver that answers.
    #[error("no NVIDIA driver: {0}")]
    Driver(String),
    /// A driver, and not this GPU.
    #[error("NVIDIA GPU {gpu}: {why}")]
    Gpu {
        /// Which.
        gpu: String,
        /// What the driver says.
        why: String,
    },
    /// Another kind of board.
    #[error("this node is no Jetson")]
    Jetson,
    /// No such number.
    #[error("no Coral on PCIe: /dev/apex_{0} is not there")]
    Pci(u32),
    /// Fewer than that.
    #[error("no Coral {index} on USB: {count} are plugged in")]
    Usb {
        /// Which, from 0.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// Nothing there, or something else.
    #[error("no Coral on USB port {0}")]
    Port(String),
}

/// All that was looked for.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// What is there.
    pub devices: Vec<Listed>,
    /// What is not, and why as far as that can be told.
    pub absent: Vec<String>,
}

/// A piece of hardware in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// The hardware.
    #[serde(flatten)]
    pub found: Found,
    /// The process id of the daemon that owns it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<u32>,
}

/// The machine that is looked at.
#[derive(Debug)]
pub struct Machine {
    tree: Tree,
    nvidia: Nvidia,
    processor: Processor,
}

impl Machine {
    /// The machine below `root`.
    pub fn new(root: &Path) -> Self {
        let tree = Tree::new(root);
        Self { nvidia: Nvidia::new(&tree), processor: Processor::new(), tree }
    }

    /// Where the locks of its hardware are.
    pub fn locks(&self) -> Locks {
        Locks::new(&self.tree)
    }

    /// All of it. Blocks on drivers.
    pub fn inventory(&self) -> Inventory {
        let mut devices = vec![self.processor.find(&self.tree)];
        let mut absent = Vec::new();
        match self.nvidia.all() {
            Ok(gpus) => devices.extend(gpus),
            Err(why) => absent.push(why.to_string()),
        }
        match jetson::find(&self.tree) {
            Ok(gpu) => devices.push(gpu),
            Err(why) => absent.push(why.to_string()),
        }
        let (pci, usb) = (coral::on_pci(&self.tree), coral::on_usb(&self.tree));
        for (bus, found) in [("PCIe", &pci), ("USB", &usb)] {
            if found.is_empty() {
                absent.push(format!("no Coral on {bus}"));
            }
        }
        devices.extend(pci.into_iter().chain(usb));
        let held_by = |found: &Found| lock::holder(&self.tree, &found.source);
        let listed = devices.into_iter().map(|found| Listed { held_by: held_by(&found), found });
        Inventory { devices: listed.collect(), absent }
    }

    /// One piece of it, or why it is not there. Blocks on its driver.
    pub fn find(&self, source: &Source) -> Result<Found, Absent> {
        match source {
            Source::Cpu => Ok(self.processor.find(&self.tree)),
            Source::Nvidia(gpu) => self.nvidia.find(gpu),
            Source::Jetson => jetson::find(&self.tree),
            Source::CoralPci(number) => coral::find_on_pci(&self.tree, *number),
            Source::CoralUsb(port) => coral::find_on_usb(&self.tree, port),
        }
    }

    /// The node as a whole.
    pub fn node(&self) -> Node {
        self.processor.node()
    }
}

impl Reading {
    /// [`Self::power_mode`] as profiles are filed under it.
    pub fn power_mode_key(&self) -> Option<String> {
        let shown = self.power_mode.as_deref()?;
        let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let key: String = shown.chars().take(POWER_MODE_BYTES_MAX).map(kept).collect();
        (!key.is_empty()).then_some(key)
    }
}

#[cfg(test)]
mod tests;
