//! One device: what drives it, how it is shared, what its workers are kept from.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use edgemux_multiplexer::Mode;
use edgemux_runtime_api::runtime::DeviceKind;
use serde::Deserialize;

use super::{ConfigError, range, within};
use crate::discovery::Source;
use crate::runtimes::RuntimeKind;

/// How a device is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Multiplexing {
    /// One request at a time, run to completion.
    Exclusive,
    /// Sessions take turns in device time.
    TimeSliced,
    /// Several requests together.
    Concurrent,
    /// Admission chooses the one that leaves every objective most room.
    Auto,
}

/// Who shares a worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// All sessions of a runtime on a device.
    #[default]
    Runtime,
    /// Nobody: each session has a worker of its own, and on a GPU a context, between which the driver slices time.
    Session,
}

/// What workers are kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxKind {
    /// The network, other processes, and files that are neither models nor libraries nor the device's.
    Files,
    /// The network and other processes.
    Network,
    /// Nothing.
    None,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Device {
    /// The operator's name for it: letters, digits, `.`, `_`, `-`; at most 64.
    pub name: String,
    /// `cpu`, `gpu` or `edgetpu`.
    pub kind: DeviceKind,
    /// The hardware behind it, for example `nvidia:0`: from then on its own, watched, and described by what it shows.
    #[serde(default)]
    pub source: Option<Source>,
    /// The runtimes that drive it, for example `["onnx"]`.
    pub runtimes: Vec<String>,
    /// Whether sessions have workers, and so contexts on the device, of their own.
    #[serde(default)]
    pub isolation: Isolation,
    /// Processor threads that one request may use; 0 leaves it to the runtime; at most 1024.
    #[serde(default)]
    pub threads: u32,
    /// How it is shared; by default `auto` for an accelerator and `exclusive` for the processor.
    #[serde(default)]
    pub multiplexing: Option<Multiplexing>,
    /// `concurrent`: most requests in service together; 1 to 64. By default 4 on a GPU, else 1.
    #[serde(default)]
    pub width: Option<NonZeroU32>,
    /// `time-sliced`: device time that a session earns per round, milliseconds; 0.01 to 10,000. By default 10.
    #[serde(default)]
    pub quantum_ms: Option<f64>,
    /// `exclusive` on an edgeTPU: most requests of one co-compiled group in a row; 1 to 1024. By default 1.
    #[serde(default)]
    pub run_max: Option<NonZeroU32>,
    /// Memory for models in bytes, by which admission goes; by default what an emulated device or the hardware says, else
    /// unlimited.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// What its workers are kept from; by default everything that can be, but on a GPU files, whose drivers open many.
    #[serde(default)]
    pub sandbox: Option<SandboxKind>,
    /// Files and folders that its workers may read besides the model repository and the system's libraries.
    #[serde(default)]
    pub sandbox_read: Vec<PathBuf>,
    /// Most bytes of memory of a worker's own; at least 64 MiB. No limit by default.
    #[serde(default)]
    pub worker_memory_bytes: Option<u64>,
    /// Options of the emulator.
    #[serde(default)]
    pub emulator: Option<toml::Table>,
    /// Options of the runtime `torch`.
    #[serde(default)]
    pub torch: Option<toml::Table>,
    /// Options of the runtime `tflite`.
    #[serde(default)]
    pub tflite: Option<toml::Table>,
    /// Options of the runtime `edgetpu`.
    #[serde(default)]
    pub edgetpu: Option<toml::Table>,
}

impl Device {
    /// Options of one of its runtimes.
    pub fn options(&self, runtime: RuntimeKind) -> Option<&toml::Table> {
        match runtime {
            RuntimeKind::Onnx => None,
            RuntimeKind::Emulator => self.emulator.as_ref(),
            RuntimeKind::Torch => self.torch.as_ref(),
            RuntimeKind::Tflite => self.tflite.as_ref(),
            RuntimeKind::Edgetpu => self.edgetpu.as_ref(),
        }
    }

    /// How it is shared.
    pub fn multiplexing(&self) -> Multiplexing {
        self.multiplexing.unwrap_or(match self.kind {
            DeviceKind::Cpu => Multiplexing::Exclusive,
            DeviceKind::Gpu | DeviceKind::Edgetpu => Multiplexing::Auto,
        })
    }

    /// What its workers are kept from.
    pub fn sandbox(&self) -> SandboxKind {
        self.sandbox.unwrap_or(match self.kind {
            DeviceKind::Cpu | DeviceKind::Edgetpu => SandboxKind::Files,
            DeviceKind::Gpu => SandboxKind::Network,
        })
    }

    /// Bytes for models; none where nothing here says so.
    pub fn memory_bytes(&self) -> Option<u64> {
        let emulated = || self.emulator.as_ref()?.get("memory-bytes")?.as_integer()?.try_into().ok();
        self.memory_bytes.or_else(emulated)
    }

    /// The parameters of each mode.
    pub fn sharing(&self) -> Sharing {
        // What an emulated device runs one after the other is not run together by handing it over together.
        let emulated = self.runtimes.iter().all(|name| name == RuntimeKind::Emulator.name());
        let sharing = self.emulator.as_ref().and_then(|options| options.get("sharing")?.as_str());
        let alone = emulated && matches!(sharing, None | Some("exclusive"));
        let by_kind = match self.kind {
            DeviceKind::Gpu if !alone => 4,
            DeviceKind::Gpu | DeviceKind::Cpu | DeviceKind::Edgetpu => 1,
        };
        Sharing {
            width: self.width.or(NonZeroU32::new(by_kind)).unwrap_or(NonZeroU32::MIN),
            quantum: Duration::from_secs_f64(self.quantum_ms.unwrap_or(10.0) / 1e3),
            run_max: self.run_max.unwrap_or(NonZeroU32::MIN),
            driver_slices: self.isolation == Isolation::Session,
        }
    }

    pub(super) fn check(&self, at: usize) -> Result<(), ConfigError> {
        let key = |field: &str| format!("device[{at}].{field}");
        if !crate::repository::is_name(&self.name) {
            return range(
                &key("name"),
                &self.name,
                "1 to 64 letters, digits, '.', '_' or '-', not '.' or '..'",
            );
        }
        if self.runtimes.is_empty() {
            return range(&key("runtimes"), "[]", "at least one runtime");
        }
        for runtime in &self.runtimes {
            if RuntimeKind::from_name(runtime).is_none() {
                let want = "a runtime of this release: onnx, emulator, torch, tflite or edgetpu";
                return range(&key("runtimes"), runtime, want);
            }
        }
        if let Some(source) = self.source.as_ref().filter(|source| source.kind() != self.kind) {
            let want =
                "hardware of the device's kind: nvidia and jetson are gpu, coral-pci and coral-usb edgetpu";
            return range(&key("source"), &source.to_string(), want);
        }
        within(&key("threads"), self.threads, 0, 1024, "0 to 1024")?;
        if let Some(bytes) = self.worker_memory_bytes {
            within(&key("worker-memory-bytes"), bytes, 1 << 26, 1 << 50, "67108864 (64 MiB) or more")?;
        }
        if let Some(path) = self.sandbox_read.iter().find(|path| !path.is_absolute()) {
            return range(&key("sandbox-read"), &path.display().to_string(), "paths that begin with '/'");
        }
        self.sharing_in_range(&key)
    }

    fn sharing_in_range(&self, key: &impl Fn(&str) -> String) -> Result<(), ConfigError> {
        if let Some(width) = self.width {
            within(&key("width"), width.get(), 1, WIDTH_MAX, "1 to 64 requests")?;
        }
        if let Some(quantum) = self.quantum_ms {
            within(&key("quantum-ms"), quantum, QUANTUM_MS.0, QUANTUM_MS.1, "0.01 to 10000 milliseconds")?;
        }
        if let Some(run_max) = self.run_max {
            within(&key("run-max"), run_max.get(), 1, RUN_MAX, "1 to 1024 requests")?;
        }
        Ok(())
    }
}

/// Most requests in service together.
pub const WIDTH_MAX: u32 = 64;

/// Shortest and longest quantum, milliseconds.
pub const QUANTUM_MS: (f64, f64) = (0.01, 10_000.0);

/// Longest run of one co-compiled group.
pub const RUN_MAX: u32 = 1024;

/// The parameters of each mode of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Most requests in service together.
    pub width: NonZeroU32,
    /// Of time slices.
    pub quantum: Duration,
    /// Most requests of one reload group in a row.
    pub run_max: NonZeroU32,
    /// Whether time slices are the driver's, between contexts that sessions have of their own: then requests of several are
    /// with the device at once.
    pub driver_slices: bool,
}

impl Sharing {
    /// The mode of this name; `auto` begins with the first that admission looks at.
    pub fn mode(self, multiplexing: Multiplexing) -> Mode {
        match multiplexing {
            Multiplexing::Exclusive | Multiplexing::Auto => Mode::Exclusive { run_max: self.run_max },
            Multiplexing::TimeSliced if self.driver_slices => Mode::Concurrent { width: self.width },
            Multiplexing::TimeSliced => Mode::TimeSliced { quantum: self.quantum },
            Multiplexing::Concurrent => Mode::Concurrent { width: self.width },
        }
    }
}
