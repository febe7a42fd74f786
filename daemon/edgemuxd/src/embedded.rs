//! The runtimes that are part of this binary: a worker is the daemon's own binary run again.

use std::ffi::OsString;
use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::host;
use edgemux_runtime_emulator::Emulator;
use edgemux_runtime_onnx::Onnx;

/// A runtime in this binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// ONNX models on the processor.
    Onnx,
    /// An emulated accelerator.
    Emulator,
}

impl Embedded {
    /// Every embedded runtime.
    pub const ALL: [Self; 2] = [Self::Onnx, Self::Emulator];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Emulator => "emulator",
        }
    }

    /// The model file that it runs: `model.` and this.
    pub const fn format(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Emulator => "emu.toml",
        }
    }

    /// The runtime of this name, if it is part of this binary.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// How to start its worker.
    pub fn command(self) -> std::io::Result<WorkerCommand> {
        // The link stays good when an upgrade replaces the file under a running daemon.
        let program = PathBuf::from("/proc/self/exe");
        let program = if program.exists() { program } else { std::env::current_exe()? };
        Ok(WorkerCommand { program, arguments: vec![OsString::from("worker"), OsString::from(self.name())] })
    }

    /// Is the worker: `arguments` follow the runtime's name.
    pub fn run_worker(self, arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Onnx => host::main::<Onnx>(arguments),
            Self::Emulator => host::main::<Emulator>(arguments),
        }
    }
}
