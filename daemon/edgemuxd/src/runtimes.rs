//! The runtimes: which model files each runs, and how its worker is started.
//!
//! Two are part of this binary: their worker is the daemon's own binary run again. The others are binaries of their own, so
//! that the daemon links no vendor's library; they are looked for beside the daemon, then in [`FOLDER`].

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use edgemux_runtime_api::client::WorkerCommand;
use edgemux_runtime_api::host;
use edgemux_runtime_emulator::Emulator;
use edgemux_runtime_onnx::Onnx;

/// Where packages put the runtimes' binaries.
pub const FOLDER: &str = "/usr/lib/edgemux";
/// Names another folder, looked in before all others.
pub const FOLDER_VARIABLE: &str = "EDGEMUX_RUNTIME_DIR";

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeKind {
    /// ONNX models on the processor; part of this binary.
    Onnx,
    /// An emulated accelerator; part of this binary.
    Emulator,
    /// TorchScript models on the processor or a GPU.
    Torch,
    /// TensorFlow Lite models on the processor.
    Tflite,
    /// TensorFlow Lite models compiled for an edgeTPU.
    Edgetpu,
}

/// What a model file holds. Its name tells; that a `.tflite` is compiled for an edgeTPU can also be seen only inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ONNX.
    Onnx,
    /// A description of a model for the emulator.
    Emulated,
    /// TorchScript.
    TorchScript,
    /// TensorFlow Lite.
    Tflite,
    /// TensorFlow Lite, compiled for an edgeTPU.
    EdgetpuTflite,
}

impl Format {
    /// Every format, in the order in which files are looked for.
    pub const ALL: [Self; 5] =
        [Self::Onnx, Self::Emulated, Self::TorchScript, Self::Tflite, Self::EdgetpuTflite];

    /// What the file is called; an edgeTPU's as its compiler calls what it makes of `model.tflite`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Onnx => "model.onnx",
            Self::Emulated => "model.emu.toml",
            Self::TorchScript => "model.pt",
            Self::Tflite => "model.tflite",
            Self::EdgetpuTflite => "model_edgetpu.tflite",
        }
    }

    /// The name of the format, without what it runs on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Emulated => "emu_toml",
            Self::TorchScript => "pt",
            Self::Tflite | Self::EdgetpuTflite => "tflite",
        }
    }

    /// The runtime that runs it.
    pub const fn runtime(self) -> RuntimeKind {
        match self {
            Self::Onnx => RuntimeKind::Onnx,
            Self::Emulated => RuntimeKind::Emulator,
            Self::TorchScript => RuntimeKind::Torch,
            Self::Tflite => RuntimeKind::Tflite,
            Self::EdgetpuTflite => RuntimeKind::Edgetpu,
        }
    }
}

impl RuntimeKind {
    /// Every runtime.
    pub const ALL: [Self; 5] = [Self::Onnx, Self::Emulator, Self::Torch, Self::Tflite, Self::Edgetpu];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Emulator => "emulator",
            Self::Torch => "torch",
            Self::Tflite => "tflite",
            Self::Edgetpu => "edgetpu",
        }
    }

    /// The model files that it runs.
    pub const fn format(self) -> Format {
        match self {
            Self::Onnx => Format::Onnx,
            Self::Emulator => Format::Emulated,
            Self::Torch => Format::TorchScript,
            Self::Tflite => Format::Tflite,
            Self::Edgetpu => Format::EdgetpuTflite,
        }
    }

    /// The runtime of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// The names of all runtimes.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// How to start its worker.
    ///
    /// # Errors
    /// There is no such binary.
    pub fn command(self) -> io::Result<WorkerCommand> {
        if matches!(self, Self::Onnx | Self::Emulator) {
            // The link stays good when an upgrade replaces the file under a running daemon.
            let program = PathBuf::from("/proc/self/exe");
            let program = if program.exists() { program } else { std::env::current_exe()? };
            let arguments = vec![OsString::from("worker"), OsString::from(self.name())];
            return Ok(WorkerCommand { arguments, ..WorkerCommand::new(program) });
        }
        let binary = format!("edgemux-runtime-{}", self.name());
        let found =
            folders().into_iter().map(|folder| folder.join(&binary)).find(|program| program.is_file());
        match found {
            Some(program) => Ok(WorkerCommand::new(program)),
            None => {
                let folders: Vec<_> = folders().iter().map(|folder| folder.display().to_string()).collect();
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!(
                        "{binary} is in none of {}: install it there, or name its folder in {FOLDER_VARIABLE}",
                        folders.join(", ")
                    ),
                ))
            }
        }
    }

    /// Is the worker of a runtime that is part of this binary: `arguments` follow its name.
    ///
    /// # Errors
    /// What ended it; or the runtime is a binary of its own.
    pub fn run_worker(self, arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
        match self {
            Self::Onnx => host::main::<Onnx>(arguments),
            Self::Emulator => host::main::<Emulator>(arguments),
            Self::Torch | Self::Tflite | Self::Edgetpu => {
                Err(format!("this runtime is a binary of its own: edgemux-runtime-{}", self.name()).into())
            }
        }
    }
}

/// Where runtimes that are binaries of their own may be.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    named.into_iter().chain(beside).chain([PathBuf::from(FOLDER)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtime_has_a_name_of_its_own_and_every_format_a_runtime() {
        for runtime in RuntimeKind::ALL {
            assert_eq!(RuntimeKind::from_name(runtime.name()), Some(runtime));
        }
        assert_eq!(RuntimeKind::from_name("cuda"), None);
        assert!(Format::ALL.into_iter().all(|format| format.runtime().format() == format));
    }

    #[test]
    fn a_runtime_that_is_not_installed_is_said_with_where_it_was_looked_for() {
        // Tests run from a folder of their own, where no runtime is.
        let error = RuntimeKind::Edgetpu.command().unwrap_err().to_string();
        assert!(error.contains("edgemux-runtime-edgetpu") && error.contains(FOLDER), "{error}");
        assert!(error.contains(FOLDER_VARIABLE), "{error}");
    }
}
