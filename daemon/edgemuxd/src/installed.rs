//! Which runtimes are installed, and what each says of itself: `edgemuxd runtimes`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgemux_runtime_api::client::{ProbeError, probe};
use edgemux_runtime_api::runtime::DeviceKind;
use futures_util::future::join_all;
use serde::Serialize;

use crate::runtimes::RuntimeKind;

/// What a shell and the loader of shared libraries end a program with that they could not start.
const NOT_STARTED: i32 = 127;

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
    /// Endings of the model files that it says it runs.
    pub formats: Vec<String>,
    /// Kinds of device that it can drive here.
    pub devices: Vec<DeviceKind>,
    /// Why it cannot run, or not drive all that it could.
    pub problem: Option<String>,
    /// What to do about that, where it does not say so itself.
    pub remedy: Option<String>,
}

/// Every runtime of this release, each of which has `patience` to answer. Each is run in a process of its own, so that one
/// that crashes or hangs is no more than a problem.
pub async fn all(patience: Duration) -> Vec<Installed> {
    join_all(RuntimeKind::ALL.map(|runtime| one(runtime, patience))).await
}

async fn one(runtime: RuntimeKind, patience: Duration) -> Installed {
    let unknown = Installed {
        runtime: runtime.name(),
        model_file: runtime.format().file_name(),
        program: None,
        version: None,
        formats: Vec::new(),
        devices: Vec::new(),
        problem: None,
        remedy: None,
    };
    let command = match runtime.command() {
        Ok(command) => command,
        Err(error) => return Installed { problem: Some(error.to_string()), ..unknown },
    };
    let program = command.program.canonicalize().unwrap_or_else(|_| command.program.clone());
    match probe(&command, patience).await {
        Ok(said) => Installed {
            program: Some(program),
            version: Some(said.version),
            formats: said.formats,
            devices: said.devices,
            problem: said.problem,
            ..unknown
        },
        Err(error) => Installed {
            problem: Some(error.to_string()),
            remedy: Some(remedy(&error, &program)),
            program: Some(program),
            ..unknown
        },
    }
}

fn remedy(error: &ProbeError, program: &Path) -> String {
    let program = program.display();
    match error {
        ProbeError::Run { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("let everybody run it: `chmod a+rx {program}`")
        }
        ProbeError::Run { .. } => format!(
            "install it anew, for this kind of machine ({}) and with the loader that it asks for",
            std::env::consts::ARCH
        ),
        ProbeError::Failed { status, .. } if status.code() == Some(NOT_STARTED) => {
            "install what it misses, or name the folder where that is in LD_LIBRARY_PATH".to_owned()
        }
        ProbeError::Silent(_) => format!("run `{program} --probe` yourself and see what it waits for"),
        ProbeError::Failed { .. } => format!("run `{program} --probe` yourself and see all that it says"),
        ProbeError::Unreadable(_) => "install it and the daemon from one release".to_owned(),
    }
}
