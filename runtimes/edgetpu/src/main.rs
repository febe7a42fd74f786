//! The worker that runs models on an edgeTPU.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match edgemux_runtime_edgetpu::main(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemux-runtime-edgetpu: {error}");
            ExitCode::FAILURE
        }
    }
}
