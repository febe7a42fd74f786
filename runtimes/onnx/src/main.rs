//! The worker that runs ONNX models on the processor.

use std::process::ExitCode;

use edgemux_runtime_api::host;
use edgemux_runtime_onnx::Onnx;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match host::main::<Onnx>(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemux-runtime-onnx: {error}");
            ExitCode::FAILURE
        }
    }
}
