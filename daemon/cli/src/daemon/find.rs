//! Finds the daemon's binary: the one named in `EDGEMUXD`, or the one beside this command.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::DaemonError;

const ENVIRONMENT: &str = "EDGEMUXD";
const VERSION_S_MAX: Duration = Duration::from_secs(10);

pub(crate) fn find() -> Result<PathBuf, DaemonError> {
    let path = match std::env::var_os(ENVIRONMENT).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe().map_err(DaemonError::Here)?.with_file_name("edgemuxd"),
    };
    if path.is_file() { Ok(path) } else { Err(DaemonError::NotFound(path)) }
}

/// What the binary shows as JSON when it is run with these arguments.
pub(crate) async fn shown<T: DeserializeOwned>(
    binary: &Path,
    arguments: &[&str],
    limit: Duration,
) -> Result<T, DaemonError> {
    let failed =
        |what: String| DaemonError::Shown { binary: binary.to_owned(), arguments: arguments.join(" "), what };
    let asked = Command::new(binary).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| failed(format!("no answer within {} s", limit.as_secs())))?
        .map_err(|cause| DaemonError::Start { binary: binary.to_owned(), cause })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
        return Err(failed(format!("{}: {said}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// What the binary answers to `--version`, without its name.
pub(crate) async fn version(binary: &Path) -> Result<String, DaemonError> {
    let silent = |what: String| DaemonError::Version { binary: binary.to_owned(), what };
    let asked = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_S_MAX, asked)
        .await
        .map_err(|_| silent(format!("no answer within {} s", VERSION_S_MAX.as_secs())))?
        .map_err(|cause| DaemonError::Start { binary: binary.to_owned(), cause })?;
    if !output.status.success() {
        return Err(silent(output.status.to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().trim_start_matches("edgemuxd").trim().to_owned())
}
