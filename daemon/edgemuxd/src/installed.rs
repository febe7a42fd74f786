//! Which runtimes are installed, and what each says of itself: `edgemuxd runtimes`.

use std::path::PathBuf;
use std::time::Duration;

use edgemux_runtime_api::client::probe;
use edgemux_runtime_api::runtime::DeviceKind;
use serde::Serialize;

use crate::runtimes::RuntimeKind;

/// Longest that a runtime may take to say what it is: libraries of a gigabyte are read from a cold disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime of this release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// Its name.
    pub runtime: &'static str,
    /// What the model files are called that it runs.
    pub model_file: &'static str,
    /// Its binary; none if it is not installed.
    pub program: Option<PathBuf>,
    /// What it is and by which libraries, as far as it came to say so.
    pub version: Option<String>,
    /// Kinds of device that it can drive here.
    pub devices: Vec<DeviceKind>,
    /// Why it cannot run, or not drive all that it could.
    pub problem: Option<String>,
}

/// Every runtime of this release. Each is run in a process of its own, so that one that crashes is no more than a problem.
pub async fn all() -> Vec<Installed> {
    let mut all = Vec::with_capacity(RuntimeKind::ALL.len());
    for runtime in RuntimeKind::ALL {
        all.push(one(runtime, PATIENCE).await);
    }
    all
}

async fn one(runtime: RuntimeKind, patience: Duration) -> Installed {
    let unknown = Installed {
        runtime: runtime.name(),
        model_file: runtime.format().file_name(),
        program: None,
        version: None,
        devices: Vec::new(),
        problem: None,
    };
    let command = match runtime.command() {
        Ok(command) => command,
        Err(error) => return Installed { problem: Some(error.to_string()), ..unknown },
    };
    let program = command.program.canonicalize().unwrap_or_else(|_| command.program.clone());
    let there = Installed { program: Some(program), ..unknown };
    match probe(&command, patience).await {
        Ok(said) => {
            Installed { version: Some(said.version), devices: said.devices, problem: said.problem, ..there }
        }
        Err(error) => Installed { problem: Some(error.to_string()), ..there },
    }
}
