//! The worker that runs TensorFlow Lite models on the processor.

use std::process::ExitCode;

use edgemux_runtime_api::host;
use edgemux_runtime_tflite::Tflite;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match host::main::<Tflite>(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemux-runtime-tflite: {error}");
            ExitCode::FAILURE
        }
    }
}
