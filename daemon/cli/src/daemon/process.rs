//! A daemon of our own: started on free ports, watched until it is ready, stopped by SIGTERM.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use edgemux_client::ServerAddress;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::DaemonError;

const READY_S_MAX: u64 = 60;
const STOP_S_MAX: Duration = Duration::from_secs(20);
/// How much of the log an error shows.
const LOG_LINES: usize = 25;

/// A running daemon; it is killed if it is dropped without having been stopped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    pub(crate) address: ServerAddress,
}

// === impl Daemon ===

impl Daemon {
    /// Starts the binary over `folder`, which holds the configuration `edgemuxd.toml` and the model repository `models` and
    /// takes the state and the log, and returns once it is ready.
    pub(crate) async fn start(binary: &Path, folder: &Path) -> Result<Self, DaemonError> {
        let log = folder.join("edgemuxd.log");
        let log_file = File::create(&log).map_err(DaemonError::Folder)?;
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--model-repository"])
            .arg(folder.join("models"))
            .arg("--state-dir")
            .arg(folder.join("state"))
            .arg("--config")
            .arg(folder.join("edgemuxd.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // Ctrl-C in a terminal goes to this command, which then stops the daemon in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| DaemonError::Start { binary: binary.to_owned(), cause })?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let ready = tokio::time::timeout(Duration::from_secs(READY_S_MAX), until_ready(lines)).await;
        let address = match ready {
            Ok(Said::Ready(Some(address))) => address,
            Ok(Said::Ready(None)) => return Err(DaemonError::NoAddress { log: tail(&log) }),
            Ok(Said::Nothing) => {
                let status = child
                    .wait()
                    .await
                    .map_err(|cause| DaemonError::Start { binary: binary.to_owned(), cause })?;
                return Err(DaemonError::Ended { status, log: tail(&log) });
            }
            Err(_) => return Err(DaemonError::NotReady { seconds: READY_S_MAX, log: tail(&log) }),
        };
        Ok(Self { child, log, address })
    }

    /// Asks the daemon to end, and sees that it does.
    pub(crate) async fn stop(mut self) -> Result<(), DaemonError> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that has just ended by itself is met by the wait below.
            let _ = kill_process(pid, Signal::TERM);
        }
        let what = match tokio::time::timeout(STOP_S_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => {
                let killed = self.child.kill().await;
                let killed =
                    killed.map_or_else(|cause| format!("nor be killed: {cause}"), |()| "killed".to_owned());
                format!("still there after {} s; {killed}", STOP_S_MAX.as_secs())
            }
        };
        Err(DaemonError::Stop { what, log: tail(&self.log) })
    }

    /// The end of the log, for an error message.
    pub(crate) fn log(&self) -> String {
        tail(&self.log)
    }
}

/// What the daemon's stdout came to.
enum Said {
    Ready(Option<ServerAddress>),
    Nothing,
}

/// Reads stdout until the line `edgemuxd: ready`; what comes after is read and thrown away, so that the pipe never fills.
async fn until_ready(lines: Option<Lines<BufReader<ChildStdout>>>) -> Said {
    let Some(mut lines) = lines else { return Said::Nothing };
    let mut address = None;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(listening) = line.strip_prefix("edgemuxd: listening on ") {
            address = listening.parse().ok();
        } else if line == "edgemuxd: ready" {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Said::Ready(address);
        }
    }
    Said::Nothing
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|cause| format!("(the log cannot be read: {cause})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
