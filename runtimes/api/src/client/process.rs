//! A worker process: started, greeted, given models, and waited for.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command as Process};
use tokio::sync::{Notify, oneshot, watch};

use super::lane::{Lane, LaneReader};
use super::wire::Wire;
use crate::error::{LoadError, OpenError};
use crate::protocol::{
    Command, MESSAGE_BYTES_MAX, ProtocolError, Reply, RequestId, SessionId, VERSION, decode, encode,
};
use crate::runtime::{Details, DeviceSpec, Memory, Probe};
use crate::socket;
use crate::tensor::Signature;

/// How to start a runtime's worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The binary.
    pub program: PathBuf,
    /// What makes it a worker, for example `worker onnx`.
    pub arguments: Vec<OsString>,
    /// What it finds in its environment besides the daemon's own, for example the one GPU that it may see.
    pub environment: Vec<(OsString, OsString)>,
}

impl WorkerCommand {
    /// A binary that is a worker as it is.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }
}

/// Why a worker did not come up.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The process could not be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// The binary.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// No socket for it.
    #[error("cannot make the worker's socket: {0}")]
    Socket(#[from] io::Error),
    /// It did not say hello in time.
    #[error("the worker did not greet within {0:?}")]
    Silent(Duration),
    /// It left before it said hello.
    #[error("the worker left before it greeted")]
    Left,
    /// It speaks something else.
    #[error("the worker's greeting: {0}")]
    Greeting(#[from] ProtocolError),
    /// It speaks another version.
    #[error("the worker speaks protocol {worker}, this daemon {VERSION}: install both from one release")]
    Version {
        /// What the worker speaks.
        worker: u32,
    },
    /// It could not take charge of the device.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The worker has died, or is dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker is gone")]
pub struct WorkerGone;

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// The runtime refused it.
    #[error(transparent)]
    Refused(#[from] LoadError),
    /// The worker died over it.
    #[error("the worker died while it loaded the model")]
    Gone(#[from] WorkerGone),
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// As the system reports it; `None` if it could not be had.
    pub status: Option<ExitStatus>,
}

impl Death {
    /// Was it killed from outside, by SIGKILL or SIGTERM? Such a death says nothing about the model that was running.
    pub fn from_outside(&self) -> bool {
        const KILL: i32 = rustix::process::Signal::KILL.as_raw();
        const TERM: i32 = rustix::process::Signal::TERM.as_raw();
        matches!(self.status.and_then(|status| status.signal()), Some(KILL | TERM))
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => status.fmt(f),
            None => f.write_str("unknown status"),
        }
    }
}

/// A worker that has greeted. Dropping it kills the process.
#[derive(Debug)]
pub struct Worker {
    pid: u32,
    probe: Probe,
    control: Arc<Control>,
    kill: Arc<Notify>,
    death: watch::Receiver<Option<Death>>,
    lanes: Vec<Arc<Lane>>,
}

impl Worker {
    /// Starts a worker for `device` with `lanes` lanes and waits for its greeting.
    pub async fn spawn(
        command: &WorkerCommand,
        device: &DeviceSpec,
        lanes: usize,
        patience: Duration,
    ) -> Result<(Self, Vec<LaneReader>), SpawnError> {
        let (ours, theirs) = socket::pair().map_err(io::Error::from)?;
        let child = Process::new(&command.program)
            .args(&command.arguments)
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            // The socket is the worker's standard input: the one way to pass it on without `unsafe`.
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| SpawnError::Start { program: command.program.display().to_string(), error })?;
        let control = Arc::new(Control::new(ours)?);
        let greeting = control.greet(device);
        let probe =
            tokio::time::timeout(patience, greeting).await.map_err(|_| SpawnError::Silent(patience))??;

        let mut ends = Vec::new();
        for _ in 0..lanes {
            let (ours, theirs) = socket::pair().map_err(io::Error::from)?;
            control.send(&Command::OpenLane, &[theirs.as_fd()]).map_err(|_| SpawnError::Left)?;
            ends.push(Arc::new(Lane::new(ours)?));
        }
        let readers = ends.iter().map(|lane| LaneReader::new(Arc::clone(lane))).collect();
        let kill = Arc::new(Notify::new());
        let (died, death) = watch::channel(None);
        let pid = child.id().unwrap_or_default();
        tokio::spawn(watch_over(child, Arc::clone(&control), Arc::clone(&kill), died));
        Ok((Self { pid, probe, control, kill, death, lanes: ends }, readers))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the runtime said of itself.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Its lanes.
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// Loads the model in `file` as `session`.
    pub async fn load(
        &self,
        session: SessionId,
        file: &Path,
    ) -> Result<(Signature, Memory, Details), LoadFailure> {
        let file = file.to_str().ok_or_else(|| LoadError::Read {
            file: file.display().to_string(),
            reason: "its name is not UTF-8".into(),
        })?;
        let answer = self.control.expect(Expected::Load(session));
        self.control.send(&Command::Load { session, file: file.to_owned() }, &[])?;
        match answer.await {
            Ok(Reply::Loaded { signature, memory, details, .. }) => Ok((signature, memory, details)),
            Ok(Reply::LoadFailed { error, .. }) => Err(error.into()),
            Ok(_) | Err(_) => Err(WorkerGone.into()),
        }
    }

    /// Drops a session; returns when its memory is free.
    pub async fn unload(&self, session: SessionId) -> Result<(), WorkerGone> {
        let answer = self.control.expect(Expected::Unload(session));
        self.control.send(&Command::Unload { session }, &[])?;
        answer.await.map(drop).map_err(|_| WorkerGone)
    }

    /// Tells the worker that nobody waits for `request` any more.
    pub fn cancel(&self, lane: usize, request: RequestId) {
        // A worker that is gone has cancelled everything.
        let _ = self.control.send(&Command::Cancel { lane: lane as u32, request }, &[]);
    }

    /// Asks for a sign of life.
    pub async fn ping(&self, nonce: u64) -> Result<(), WorkerGone> {
        let answer = self.control.expect(Expected::Ping(nonce));
        self.control.send(&Command::Ping { nonce }, &[])?;
        answer.await.map(drop).map_err(|_| WorkerGone)
    }

    /// Ends the process by SIGKILL.
    pub fn kill(&self) {
        self.kill.notify_one();
    }

    /// Ends the process politely: it leaves at once, whatever it is doing.
    pub fn stop(&self) {
        let _ = self.control.send(&Command::Stop, &[]);
    }

    /// Waits until the process is gone and reaped.
    pub async fn dead(&self) -> Death {
        let mut death = self.death.clone();
        match death.wait_for(Option::is_some).await {
            Ok(death) => death.unwrap_or(Death { status: None }),
            Err(_) => Death { status: None },
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill.notify_one();
    }
}

/// Reaps the process, and kills it if it is to die or says what cannot be.
async fn watch_over(
    mut child: Child,
    control: Arc<Control>,
    kill: Arc<Notify>,
    died: watch::Sender<Option<Death>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill.notified() => {
            let _ = child.start_kill();
            child.wait().await
        }
        () = control.listen() => {
            // Its socket is closed or it talks nonsense; either way it is of no more use.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    locked(&control.expected).clear();
    died.send_replace(Some(Death { status: status.ok() }));
}

// === the control socket ===

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Expected {
    Load(SessionId),
    Unload(SessionId),
    Ping(u64),
}

#[derive(Debug)]
struct Control {
    socket: Wire,
    expected: Mutex<HashMap<Expected, oneshot::Sender<Reply>>>,
}

impl Control {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: Wire::new(socket)?, expected: Mutex::default() })
    }

    fn send(&self, command: &Command, files: &[BorrowedFd<'_>]) -> Result<(), WorkerGone> {
        let mut bytes = Vec::new();
        encode(command, &mut bytes).map_err(|_| WorkerGone)?;
        self.socket.send(&bytes, files).map_err(|_| WorkerGone)
    }

    fn expect(&self, what: Expected) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        locked(&self.expected).insert(what, sender);
        receiver
    }

    async fn greet(&self, device: &DeviceSpec) -> Result<Probe, SpawnError> {
        let hello = Command::Hello { version: VERSION, device: device.clone() };
        self.send(&hello, &[]).map_err(|_| SpawnError::Left)?;
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let len = match self.socket.receive(&mut buffer, |message| (message.len(), false)).await {
            Ok(0) => return Err(SpawnError::Left),
            received => received.map_err(io::Error::from)?,
        };
        match decode(&buffer[..len])? {
            Reply::Hello { version: VERSION, probe } => Ok(probe),
            Reply::Hello { version, .. } => Err(SpawnError::Version { worker: version }),
            Reply::OpenFailed(error) => Err(error.into()),
            _ => Err(SpawnError::Left),
        }
    }

    /// Hands replies to those who wait for them; returns when the worker is gone or makes no sense.
    async fn listen(&self) {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let Ok(len @ 1..) = self.socket.receive(&mut buffer, |message| (message.len(), false)).await
            else {
                return;
            };
            let reply = match decode(&buffer[..len]) {
                Ok(reply) => reply,
                Err(error) => {
                    tracing::error!(%error, "a worker's reply makes no sense; it is killed");
                    return;
                }
            };
            let expected = match &reply {
                Reply::Loaded { session, .. } | Reply::LoadFailed { session, .. } => Expected::Load(*session),
                Reply::Unloaded { session } => Expected::Unload(*session),
                Reply::Pong { nonce } => Expected::Ping(*nonce),
                Reply::Hello { .. } | Reply::OpenFailed(_) => return,
            };
            let waiting = locked(&self.expected).remove(&expected);
            if let Some(waiting) = waiting {
                // Whoever asked may have given up.
                let _ = waiting.send(reply);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === probing ===

/// Why a runtime gave no account of itself.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be run.
    #[error("cannot run {program}: {error}")]
    Run {
        /// The binary.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// It did not end in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// It failed.
    #[error("it ended with {status}: {said}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// The end of its standard error.
        said: String,
    },
    /// It printed something else.
    #[error("it printed no account of itself: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Runs a runtime once with `--probe`. A crash of its libraries is an error here, never of this process.
pub async fn probe(command: &WorkerCommand, patience: Duration) -> Result<Probe, ProbeError> {
    let run = Process::new(&command.program)
        .args(&command.arguments)
        .arg("--probe")
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(patience, run)
        .await
        .map_err(|_| ProbeError::Silent(patience))?
        .map_err(|error| ProbeError::Run { program: command.program.display().to_string(), error })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or_default().to_owned();
        return Err(ProbeError::Failed { status: output.status, said });
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
