//! The emulated accelerator's worker: a stand-in for hardware that is not there.

use std::process::ExitCode;

use edgemux_runtime_api::host;
use edgemux_runtime_emulator::Emulator;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match host::main::<Emulator>(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edgemux-runtime-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}
