//! The seam in three steps: a [`Runtime`] owns a device, a [`Model`] is loaded on it, an [`Instance`] runs requests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::{LoadError, OpenError, RunError};
use crate::tensor::{Signature, TensorView};

/// What kind of accelerator a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The node's processor cores.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A Coral edgeTPU.
    Edgetpu,
}

impl DeviceKind {
    /// The name used in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Edgetpu => "edgetpu",
        }
    }
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The device a worker is to drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// The operator's name for it.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Processor threads that one request may use; 0 leaves it to the runtime.
    pub threads: u32,
    /// Options of the runtime's own, as a JSON object; empty for none.
    pub options: String,
}

/// What a runtime says of itself when it is run once with `--probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The runtime's name, for example `onnx`.
    pub runtime: String,
    /// Version of the library behind it.
    pub version: String,
    /// File name endings of the models it runs, for example `onnx`.
    pub formats: Vec<String>,
    /// Kinds of device it can drive here.
    pub devices: Vec<DeviceKind>,
    /// Why it cannot run here, if so.
    pub problem: Option<String>,
}

/// Device memory of a loaded model, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Held for as long as the model is loaded.
    pub at_rest_bytes: u64,
    /// Needed on top while a request runs.
    pub peak_bytes: u64,
}

/// What else is known of a loaded model, beside its signature and its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Names and values that the model's configuration shows as they are, for example what an integer of a tensor is
    /// worth.
    pub parameters: Vec<(String, String)>,
    /// How its weights lie on a device that has a memory of its own for them.
    pub on_chip: Option<OnChip>,
}

/// The weights of a model on a device that caches them on its chip, as an edgeTPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnChip {
    /// Bytes that stay on the chip until a model of another group runs; 0 if it caches nothing.
    pub cached_bytes: u64,
    /// Bytes that cross to the chip at every run.
    pub streamed_bytes: u64,
    /// Models of the same group were compiled together, and leave each other's weights where they are. `None`: a group of
    /// its own.
    pub group: Option<u64>,
}

/// Where one request's time went inside the worker, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Bringing the inputs to the device.
    pub input_ns: u64,
    /// Running, parameter reload included.
    pub infer_ns: u64,
    /// The part of `infer_ns` that reloaded parameters.
    pub reload_ns: u64,
    /// Bringing the outputs back.
    pub output_ns: u64,
}

/// A runtime that has taken charge of one device.
pub trait Runtime: Sized + Send + Sync + 'static {
    /// What this runtime is and can do on this machine. Must not touch a device.
    fn probe() -> Probe;

    /// Takes charge of `device`.
    fn open(device: &DeviceSpec) -> Result<Self, OpenError>;

    /// Loads the model in `file`.
    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError>;
}

/// A model on the device, shared by the instances that run it.
pub trait Model: Send + Sync {
    /// Its inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Its memory on the device.
    fn memory(&self) -> Memory;

    /// What else is known of it. By default nothing.
    fn details(&self) -> Details {
        Details::default()
    }

    /// State to run requests with; called once for each lane that serves this model, on that lane's thread.
    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError>;
}

/// Runs one request at a time.
pub trait Instance: Send {
    /// Runs one request. `inputs` are in the signature's order and fit it.
    ///
    /// Outputs are written where [`Outputs::buffer`] says. A decoupled model ends each response but the last with
    /// [`Outputs::next_response`]. Long runs should give up with [`RunError::Cancelled`] once `cancel` says so.
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        cancel: &Cancel,
    ) -> Result<Timing, RunError>;
}

/// Where a running instance puts its outputs.
pub trait Outputs {
    /// Room for output `index` of the signature with a concrete `shape` and `bytes` of contents, or `None` if nobody
    /// wants that output.
    fn buffer(&mut self, index: usize, shape: &[i64], bytes: usize) -> Result<Option<&mut [u8]>, RunError>;

    /// Sends the outputs written so far as one response, with more to come.
    fn next_response(&mut self) -> Result<(), RunError>;
}

/// The requests of one lane that it was told to give up, each at its number modulo the length: of the few that a lane has
/// at once none hides another. Numbers are never used again, so a late word harms nobody.
pub(crate) type Cancelled = Arc<[AtomicU64; 16]>;

/// Tells a running instance that nobody waits for its request any more.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    pub(crate) cancelled: Cancelled,
    pub(crate) request: u64,
}

impl Cancel {
    /// Has the running request been cancelled?
    pub fn is_cancelled(&self) -> bool {
        let slot = &self.cancelled[self.request as usize % self.cancelled.len()];
        self.request != 0 && slot.load(Ordering::Relaxed) == self.request
    }
}
