//! A runtime that does what no runtime should. A model file's one word says what.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use edgemux_runtime_api::error::{LoadError, OpenError, RunError};
use edgemux_runtime_api::host;
use edgemux_runtime_api::runtime::{
    Cancel, DeviceKind, DeviceSpec, Instance, Memory, Model, Outputs, Probe, Runtime, Timing,
};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, TensorView};

struct Misbehaving;

impl Runtime for Misbehaving {
    fn probe() -> Probe {
        Probe {
            runtime: "misbehaving".into(),
            version: "1".into(),
            formats: vec!["word".into()],
            devices: vec![DeviceKind::Cpu],
            problem: None,
        }
    }

    fn open(device: &DeviceSpec) -> Result<Self, OpenError> {
        match device.options.as_str() {
            "panic" => panic!("no device today"),
            _ => Ok(Self),
        }
    }

    fn load(&self, file: &Path) -> Result<Arc<dyn Model>, LoadError> {
        let word = std::fs::read_to_string(file).map_err(|error| LoadError::Read {
            file: file.display().to_string(),
            reason: error.to_string(),
        })?;
        match word.as_str() {
            "panic-at-load" => panic!("the parser fell over"),
            "abort-at-load" => std::process::abort(),
            "essay-at-load" => {
                Err(LoadError::Invalid { file: file.display().to_string(), reason: "é".repeat(100_000) })
            }
            _ => Ok(Arc::new(Word { signature: signature(&word), word })),
        }
    }
}

fn signature(word: &str) -> Signature {
    let count = if word == "vast-signature" { 10_000 } else { 1 };
    let tensor = |n: usize| TensorSpec { name: format!("x{n}"), datatype: DataType::Uint8, shape: vec![-1] };
    let outputs = (0..count).map(tensor).collect();
    Signature { inputs: vec![tensor(0)], outputs, decoupled: word == "three-responses" }
}

struct Word {
    word: String,
    signature: Signature,
}

impl Model for Word {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>, RunError> {
        match self.word.as_str() {
            "panic-at-instantiate" => panic!("no memory for an instance"),
            "fail-at-instantiate" => Err(RunError::Failed("no instance today".into())),
            _ => Ok(Box::new(OneWord { model: self, runs: 0 })),
        }
    }
}

struct OneWord {
    model: Arc<Word>,
    runs: u32,
}

impl Instance for OneWord {
    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut dyn Outputs,
        _cancel: &Cancel,
    ) -> Result<Timing, RunError> {
        self.runs += 1;
        let first = inputs[0].bytes.first().copied().unwrap_or_default();
        match (self.model.word.as_str(), first) {
            ("panic", 1) => panic!("the kernel fell over"),
            ("panic-oddly", 1) => std::panic::panic_any(7_u32),
            ("panic-after-output", 1) => {
                outputs.buffer(0, &[100_000], 100_000)?;
                panic!("the kernel fell over");
            }
            ("abort", 1) => std::process::abort(),
            ("essay", 1) => return Err(RunError::Failed("é".repeat(100_000))),
            ("lost", 1) => return Err(RunError::DeviceLost("fell off the bus".into())),
            ("no-such-output", 1) => {
                outputs.buffer(9, &[1], 1)?;
            }
            ("vast-output", 1) => {
                outputs.buffer(0, &[3 << 30], 3 << 30)?;
            }
            ("three-responses", _) => {
                for n in 0..2_u8 {
                    if let Some(buffer) = outputs.buffer(0, &[1], 1)? {
                        buffer[0] = n;
                    }
                    outputs.next_response()?;
                }
            }
            _ => {}
        }
        let runs = self.runs.to_le_bytes();
        if let Some(buffer) = outputs.buffer(0, &[4], 4)? {
            buffer.copy_from_slice(&runs);
        }
        Ok(Timing::default())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match host::main::<Misbehaving>(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("misbehaving-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
